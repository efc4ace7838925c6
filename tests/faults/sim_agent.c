/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The agent itself: src/cmd/agent.c is part of this file, so that its own sample(), cycle() and what it does on events
 * run here; only its main loop is played by simulate.c.
 */
#include "../../src/cmd/agent.c"

#include "sim.h"

static struct agent agent;
static struct node_options options;

/* ---- in the place of cmd.c ---- */

struct config *cmd_load_config(const char *path, GError **error)
{
	g_autofree char *text = g_strdup_printf("[agent]\nnetns_dir = " SIM_NETNS_DIR "\nnode = sim\nbackend = %s\n"
	                                        "interval = %d\n", sim.backend, sim.interval_s);

	return config_parse(text, strlen(text), "sim.conf", error);
}

void cmd_log(enum cmd_priority priority, const char *format, ...)
{
	g_autofree char *text = NULL;
	va_list arguments;

	if (!sim.trace)
		return;
	va_start(arguments, format);
	text = g_strdup_vprintf(format, arguments);
	va_end(arguments);
	sim_trace("agent: %s", text);
}

char *cmd_escape(const char *text)
{
	return g_strdup(text);
}

int cmd_fail(const char *command, const GError *error)
{
	sim_trace("%s fails: %s", command, error->message);
	return EXIT_FAILED;
}

int cmd_misuse(const char *command, const char *format, ...)
{
	return EXIT_USAGE;
}

bool cmd_parse(const char *command, const char *summary, const char *examples, const GOptionEntry *entries,
               int *argc, char ***argv, int *status)
{
	return true;
}

/* ---- driving it ---- */

static void drop_sources(void)
{
	guint *const sources[] = { &agent.watching[0], &agent.watching[1], &agent.watching[2], &agent.looking,
	                           &agent.polling, &agent.tending };

	for (unsigned i = 0; i < G_N_ELEMENTS(sources); i++)
		g_clear_handle_id(sources[i], g_source_remove);
}

void agent_die(void)
{
	drop_sources();
	kernel_release_all();
	world_forget_looks();
	judge_forgive();
	sim.up = false;
}

static void close_agent(void)
{
	drop_sources();
	node_close(&agent.node);
	agent_die();
}

void agent_start(void)
{
	g_autoptr(GError) error = NULL;

	sim_trace("the agent starts");
	memset(&agent, 0, sizeof agent);
	agent.timer = agent.signals = -1;
	agent.options = &options;
	sim.up = true;
	if (!node_open(&agent.node, &options, &error) || !node_open_books(&agent.node, &error)) {
		cmd_fail("agent", error);
		close_agent();
		return;
	}
	sites_take_kept(&agent.node);
	agent_sample();
}

void agent_sample(void)
{
	sim_trace("sample");
	sim.cycles++;
	sample(&agent);
}

bool agent_wants_look(void)
{
	return agent.looking;
}

void agent_look(void)
{
	sim_trace("look");
	sim.cycles++;
	g_clear_handle_id(&agent.looking, g_source_remove);
	on_look(&agent);
}

void agent_hear(void)
{
	if (agent.watching[0] && (sim.events->len || sim.events_lost))
		on_watch(0, G_IO_IN, &agent);
}

void agent_poll(void)
{
	if (agent.polling && on_poll(&agent) == G_SOURCE_REMOVE)
		agent.polling = 0;
}

void agent_reload(void)
{
	sim_trace("reload: %s, %d s", sim.backend, sim.interval_s);
	sim.cycles++;
	read_anew(&agent);
}

/* SIGTERM: a last sample, and everything stays in the kernel. */
void agent_stop(void)
{
	sim_trace("the agent stops");
	sim.cycles++;
	sample(&agent);
	close_agent();
}

void agent_detach(void)
{
	char *arguments[] = { (char *)"detach", NULL };

	sim_trace("detach");
	sim.cycles++;
	cmd_detach(1, arguments);
	kernel_release_all();
}

int64_t agent_next_sample_us(void)
{
	return period_next_sample(sim.real_us + sim.offset_us, sim.interval_s * SECOND) - sim.offset_us;
}

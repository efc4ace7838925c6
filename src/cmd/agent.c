/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fipmeter agent: meters the node.  cycle() is the program; all else here says when it runs.
 *
 * A cycle runs at each multiple of the interval on the wall clock, on SIGUSR1, and once more on SIGTERM.  When
 * the agent goes, everything stays in the kernel and counts on.
 */
#include "cmd/cycle.h"
#include "cmd/node.h"

#include "core/period.h"
#include "kernel/clock.h"

#include <errno.h>
#include <glib-unix.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define NO_INTERVAL INT_MIN /* on the command line */

struct agent {
	struct node node;
	GMainLoop *loop;
	int timer, signals;
	bool dry_run;
};

/* What stands there is not as we make it, or is not wanted any more. */
static bool is_ruin(const struct site *site)
{
	return !site->found->intact || (!site->plan->meters->len && site->found->generation);
}

/* One sample of the whole node.  False if nothing could be kept; the counters go on, and the next cycle's rows are
 * so much longer. */
static bool cycle(struct node *node, GError **error)
{
	if (!node_look(node, error))                    /* what is there, and what to count */
		return false;
	cycle_read(node);                                /* what stands there, and what it has counted */
	return cycle_take_down(node, is_ruin, error) &&  /* what somebody broke, or nobody needs */
	       cycle_sync(node, error) &&                /* births into the books, then the kernel as planned */
	       cycle_settle(node, error);                /* readings into usage, the dead removed */
}

/* ---- dry run ---- */

static void tell_site(const struct site *site)
{
	unsigned missing = 0;

	for (unsigned i = 0; i < site->plan->meters->len; i++)
		missing += !snapshot_find(site->found, &g_array_index(site->plan->meters, struct planned_meter, i).key);
	if (is_ruin(site))
		cmd_log(CMD_NOTICE, "would remove the table of ours namespace=%s", site->place.ns);
	if (missing)
		cmd_log(CMD_NOTICE, "would create counters meters=%u namespace=%s", missing, site->place.ns);
}

static bool dry_cycle(struct node *node, GError **error)
{
	if (!node_look(node, error))
		return false;
	cycle_read(node);
	for (unsigned i = 0; i < node->sites->len; i++)
		if (!((struct site *)node->sites->pdata[i])->failed)
			tell_site(node->sites->pdata[i]);
	return true;
}

/* ---- when ---- */

static void sample(struct agent *agent)
{
	g_autoptr(GError) error = NULL;
	bool done = agent->dry_run ? dry_cycle(&agent->node, &error) : cycle(&agent->node, &error);

	if (!done)
		node_complain(&agent->node, "this sample, retrying at the next", error->message);
	node_end_cycle(&agent->node);
}

/* An absolute timer on the wall clock, so that a sample stands at the full minute whatever the last one took; it tells
 * when somebody sets the clock (timerfd_create(2), TFD_TIMER_CANCEL_ON_SET). */
static void arm(struct agent *agent)
{
	int64_t due_us = period_next_sample(clock_now().utc_us, agent->node.config->interval_s * INT64_C(1000000));
	struct itimerspec due = {
		.it_value = { .tv_sec = due_us / G_USEC_PER_SEC, .tv_nsec = due_us % G_USEC_PER_SEC * 1000 },
	};

	timerfd_settime(agent->timer, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &due, NULL);
}

static gboolean on_timer(int fd, GIOCondition condition, void *data)
{
	uint64_t expirations;

	if (read(fd, &expirations, sizeof expirations) == sizeof expirations)
		sample(data);
	arm(data);
	return G_SOURCE_CONTINUE;
}

static gboolean on_signal(int fd, GIOCondition condition, void *data)
{
	struct agent *agent = data;
	struct signalfd_siginfo signal;

	if (read(fd, &signal, sizeof signal) != sizeof signal)
		return G_SOURCE_CONTINUE;
	sample(agent);
	if (signal.ssi_signo != SIGUSR1)
		g_main_loop_quit(agent->loop);
	return G_SOURCE_CONTINUE;
}

/* Signals come as events of the loop; GLib's own way to that starts a thread, and setns() wants one alone. */
static bool open_events(struct agent *agent, GError **error)
{
	sigset_t wanted;

	sigemptyset(&wanted);
	sigaddset(&wanted, SIGTERM);
	sigaddset(&wanted, SIGINT);
	sigaddset(&wanted, SIGUSR1);
	sigprocmask(SIG_BLOCK, &wanted, NULL);
	agent->signals = signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
	agent->timer = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	if (agent->signals < 0 || agent->timer < 0) {
		g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno), "signalfd, timerfd: %s",
		            g_strerror(errno));
		return false;
	}
	g_unix_fd_add(agent->signals, G_IO_IN, on_signal, agent);
	g_unix_fd_add(agent->timer, G_IO_IN, on_timer, agent);
	return true;
}

static int run(struct agent *agent)
{
	g_autoptr(GError) error = NULL;

	if (!open_events(agent, &error))
		return cmd_fail("agent", error);
	agent->loop = g_main_loop_new(NULL, FALSE);
	sample(agent);
	cmd_log(CMD_NOTICE, "metering node=%s routers=%u backend=%s interval=%ds", agent->node.name,
	        agent->node.sites ? agent->node.sites->len : 0, agent->node.backend->name,
	        agent->node.config->interval_s);
	arm(agent);
	g_main_loop_run(agent->loop);
	g_main_loop_unref(agent->loop);
	cmd_log(CMD_NOTICE, "stopped, the counters go on node=%s", agent->node.name);
	return EXIT_DONE;
}

static int run_once(struct agent *agent)
{
	g_autoptr(GError) error = NULL;

	if (!(agent->dry_run ? dry_cycle : cycle)(&agent->node, &error))
		return cmd_fail("agent", error);
	return agent->node.unmetered ? EXIT_PARTIAL : EXIT_DONE;
}

int cmd_agent(int argc, char **argv)
{
	struct node_options options = { 0 };
	struct agent agent = { .timer = -1, .signals = -1 };
	gboolean once = FALSE, dry_run = FALSE;
	int interval_s = NO_INTERVAL;
	const GOptionEntry entries[] = {
		NODE_OPTIONS(&options),
		NODE_STATE_OPTION(&options),
		{ "interval", 0, 0, G_OPTION_ARG_INT, &interval_s, "Seconds between samples, 1 to 3600 (60)", "S" },
		{ "once", 0, 0, G_OPTION_ARG_NONE, &once, "One cycle, then end", NULL },
		{ "dry-run", 'n', 0, G_OPTION_ARG_NONE, &dry_run, "Change nothing, say what would be done", NULL },
		{ NULL },
	};
	g_autoptr(GError) error = NULL;
	int status;

	if (!cmd_parse("agent", "Meters this node's routers until it is told to stop.",
	               "  fipmeter agent                 run in the foreground\n"
	               "  fipmeter agent --once          one sample, e.g. from a test\n"
	               "  fipmeter agent --dry-run --once  show what would be set up\n"
	               "Signals: SIGUSR1 takes a sample now; SIGTERM takes a last one and ends.\n"
	               "Exit status: 0 done; 1 failed; 2 wrong usage; 4 (--once) some router is not metered.",
	               entries, &argc, &argv, &status))
		return status;
	if (interval_s != NO_INTERVAL && (interval_s < CONFIG_INTERVAL_MIN || interval_s > CONFIG_INTERVAL_MAX))
		return cmd_misuse("agent", "--interval %d is out of range (right: %d to %d seconds)", interval_s,
		                  CONFIG_INTERVAL_MIN, CONFIG_INTERVAL_MAX);
	options.interval_s = interval_s == NO_INTERVAL ? 0 : interval_s;
	agent.dry_run = dry_run;
	if (!node_open(&agent.node, &options, &error) || (!dry_run && !node_open_books(&agent.node, &error)))
		status = cmd_fail("agent", error);
	else
		status = once ? run_once(&agent) : run(&agent);
	node_close(&agent.node);
	node_options_clear(&options);
	return status;
}

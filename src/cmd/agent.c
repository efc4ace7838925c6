/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fipmeter agent: meters the node.  cycle() is the program; all else here says when it runs.
 *
 * A sample is a cycle over all routers: at each multiple of the interval on the wall clock, on SIGUSR1, and once more on
 * SIGTERM.  In between the agent hears what happens in the routers (look.h), and a cycle runs over those that changed, and
 * the store is tended (upkeep.h).  SIGHUP reads the configuration anew.
 * When the agent goes, everything stays in the kernel and counts on.
 */
#include "cmd/bulletin.h"
#include "cmd/cycle.h"
#include "cmd/look.h"
#include "cmd/sites.h"
#include "cmd/reload.h"
#include "cmd/supervisor.h"
#include "cmd/upkeep.h"

#include "core/period.h"
#include "kernel/capability.h"
#include "kernel/clock.h"

#include <errno.h>
#include <glib-unix.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define GATHER_MS 5    /* from the first event to the look */
#define SPACE_MS 25    /* from one look to the next */
#define RETRY_MS 5     /* for a name that is no namespace yet */
#define POLL_MS 1000   /* of legacy tables */
#define LOOK_ALL_S 300 /* whatever the events said */
#define UPKEEP_MS 200  /* from one step to the next, if there is more to do */

/* What is larger than this goes back to the system when it is freed.  Without it the first such piece that is freed has
 * malloc take all that follow from the heap (mallopt(3), M_MMAP_THRESHOLD), and a heap with holes in it stays large. */
#define LARGE (256 * 1024)

struct agent {
	struct node node;
	const struct node_options *options;
	GMainLoop *loop;
	int timer, signals;
	guint watching[WATCH_FDS], looking, polling; /* sources of the loop; 0: none */
	bool everything;                             /* the next look is at all */
	int64_t looked_us, all_us;                   /* boot clock: the last look, the last one at all */
	struct upkeep upkeep;
	guint tending;                               /* source of the loop; 0: nothing more to do until the next sample */
	char *refused;                               /* why the last reload was not taken; NULL: it was */
	bool dry_run;
};

/* What stands there is not as we make it, or is not wanted any more. */
static bool is_ruin(const struct site *site)
{
	return !site->found->intact || (!site->plan->meters->len && site->found->generation) || cycle_has_turned(site);
}

/* One look at what the turn is about, and all that follows from it; a sample, if that is all.  False if nothing could be
 * kept; the counters go on, and the next cycle's rows are so much longer. */
static bool cycle(struct node *node, enum look which, GError **error)
{
	if (!node_hold(node, error) ||                   /* nobody else meters here */
	    !look(node, which, error))                   /* what is there, and what to count */
		return false;
	if (!cycle_part(node, error) ||                  /* last readings of namespaces that went */
	    !cycle_remains(node, error) ||               /* and of those that went while we were away */
	    !cycle_evict(node, error))                   /* what another back end left */
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

static bool dry_cycle(struct node *node, enum look which, GError **error)
{
	if (!look(node, which, error))
		return false;
	cycle_read(node);
	for (unsigned i = 0; i < node->turn->len; i++) {
		const struct site *site = node->turn->pdata[i];

		if (!site->failed && !site->gone)
			tell_site(site);
	}
	return true;
}

/* ---- cycles ---- */

static gboolean on_look(void *data);
static gboolean on_poll(void *data);
static gboolean on_watch(int fd, GIOCondition condition, void *data);
static gboolean on_upkeep(void *data);

static bool hear(struct agent *agent, bool *everything)
{
	bool any = look_hear(&agent->node, everything);

	for (unsigned i = 0; !agent->node.watch && i < WATCH_FDS; i++)
		g_clear_handle_id(&agent->watching[i], g_source_remove);
	return any;
}

/* Changes come in swarms: what comes within some milliseconds is looked at together, and a router that changes all the
 * time is looked at some forty times a second. */
static void look_soon(struct agent *agent)
{
	int64_t since_ms = (clock_now().boot_us - agent->looked_us) / 1000;

	if (!agent->looking)
		agent->looking = g_timeout_add(since_ms < SPACE_MS ? SPACE_MS - since_ms : GATHER_MS, on_look, agent);
}

/* Takes what is waiting: it happened since the begin of the cycle that has just ended, or now. */
static void listen_now(struct agent *agent)
{
	bool everything;

	if (!hear(agent, &everything))
		return;
	agent->everything |= everything;
	look_soon(agent);
}

/* What stays wrong between cycles. */
static void complain_again(struct agent *agent)
{
	if (agent->refused)
		node_complain(&agent->node, "configuration", agent->refused);
	if (agent->node.upkeep_failure)
		node_complain(&agent->node, "store", agent->node.upkeep_failure);
}

/* A new store waits for no full minute: what was not committed to the old one is read at once. */
static void sample_mended(struct agent *agent)
{
	if (!agent->node.mended)
		return;
	agent->node.mended = false;
	agent->everything = true;
	look_soon(agent);
}

/* One cycle with its end.  Names that wait for their namespace, or for an old one to go, are looked at again soon. */
static void run_cycle(struct agent *agent, enum look which)
{
	struct node *node = &agent->node;
	g_autoptr(GError) error = NULL;

	node->busy_us = clock_now().boot_us;
	if (!(agent->dry_run ? dry_cycle : cycle)(node, which, &error))
		node_complain(node, which == LOOK_HEARD ? "what changed, retrying at the next sample" :
		              "this sample, retrying at the next", error->message);
	complain_again(agent);
	node_end_cycle(node);
	bulletin_post(node, error);
	sites_sweep(node);
	agent->looked_us = clock_now().boot_us;
	sample_mended(agent);
	if (g_hash_table_size(node->pending) && !agent->looking)
		agent->looking = g_timeout_add(RETRY_MS, on_look, agent);
	if (node->again)
		look_soon(agent);
	if (!agent->polling && look_wants_poll(node))
		agent->polling = g_timeout_add(POLL_MS, on_poll, agent);
	listen_now(agent);
}

static void watch_attach(struct agent *agent)
{
	int fds[WATCH_FDS];

	if (!agent->node.watch)
		look_listen(&agent->node);
	if (!agent->node.watch)
		return;
	watch_fds(agent->node.watch, fds);
	for (unsigned i = 0; i < WATCH_FDS; i++)
		agent->watching[i] = g_unix_fd_add(fds[i], G_IO_IN, on_watch, agent);
}

static void tell_supervisor(const struct agent *agent)
{
	const struct node *node = &agent->node;
	g_autofree char *status = g_strdup_printf("metering %u routers by %s%s", g_hash_table_size(node->sites),
		node->usual->name, g_hash_table_size(node->complaints) ? ", with problems: see fipmeter status" : "");

	supervisor_sampled(status, node->config->interval_s * INT64_C(1000000));
}

/* A sample: first what is waiting to be heard, so that it is of routers as they are now. */
static void sample(struct agent *agent)
{
	int64_t now_us = clock_now().boot_us;
	bool everything;

	if (!agent->watching[0])
		watch_attach(agent);
	hear(agent, &everything);
	look_poll(&agent->node, true);
	if (!agent->node.watch || now_us - agent->all_us > LOOK_ALL_S * G_USEC_PER_SEC)
		everything = true;
	if (everything)
		agent->all_us = now_us;
	run_cycle(agent, everything ? LOOK_ALL : LOOK_SAMPLE);
	if (!agent->dry_run && !agent->tending && upkeep_step(&agent->upkeep, &agent->node))
		agent->tending = g_timeout_add(UPKEEP_MS, on_upkeep, agent);
	sample_mended(agent);
	tell_supervisor(agent);
}

/* ---- when ---- */

static gboolean on_look(void *data)
{
	struct agent *agent = data;
	bool everything = agent->everything;

	agent->looking = 0;
	agent->everything = false;
	run_cycle(agent, everything ? LOOK_ALL : LOOK_HEARD);
	return G_SOURCE_REMOVE;
}

static gboolean on_watch(int fd, GIOCondition condition, void *data)
{
	listen_now(data);
	return G_SOURCE_CONTINUE;
}

static gboolean on_poll(void *data)
{
	struct agent *agent = data;

	if (look_poll(&agent->node, false))
		look_soon(agent);
	if (look_wants_poll(&agent->node))
		return G_SOURCE_CONTINUE;
	agent->polling = 0;
	return G_SOURCE_REMOVE;
}

static gboolean on_upkeep(void *data)
{
	struct agent *agent = data;

	if (upkeep_step(&agent->upkeep, &agent->node))
		return G_SOURCE_CONTINUE;
	sample_mended(agent);
	agent->tending = 0;
	return G_SOURCE_REMOVE;
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

/* The configuration as a whole or not at all; either way a sample follows, which looks at everything. */
static void read_anew(struct agent *agent)
{
	struct node *node = &agent->node;
	g_autoptr(GError) error = NULL;

	supervisor_reloading();
	g_clear_pointer(&agent->refused, g_free);
	if (reload(node, agent->options, &error)) {
		cmd_log(CMD_NOTICE, "configuration read anew backend=%s interval=%ds", node->usual->name, node->config->interval_s);
		agent->all_us = INT64_MIN / 2;
		arm(agent);
	} else {
		agent->refused = g_strdup_printf("not taken, going on with the old one: %s", error->message);
	}
	sample(agent);
	supervisor_ready(agent->refused ? "the new configuration was not taken: see fipmeter status" : "configuration read anew");
}

static void stop(struct agent *agent)
{
	supervisor_stopping();
	sample(agent);
	g_main_loop_quit(agent->loop);
}

static gboolean on_signal(int fd, GIOCondition condition, void *data)
{
	struct agent *agent = data;
	struct signalfd_siginfo signal;

	if (read(fd, &signal, sizeof signal) != sizeof signal)
		return G_SOURCE_CONTINUE;
	if (signal.ssi_signo == SIGHUP)
		read_anew(agent);
	else if (signal.ssi_signo == SIGUSR1)
		sample(agent);
	else
		stop(agent);
	return G_SOURCE_CONTINUE;
}

/* Signals come as events of the loop; GLib's own way to that starts a thread, and setns() wants one alone. */
static bool open_events(struct agent *agent, GError **error)
{
	sigset_t wanted;

	sigemptyset(&wanted);
	sigaddset(&wanted, SIGTERM);
	sigaddset(&wanted, SIGINT);
	sigaddset(&wanted, SIGHUP);
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
	sites_take_kept(&agent->node);
	sample(agent);
	cmd_log(CMD_NOTICE, "metering node=%s routers=%u backend=%s interval=%ds", agent->node.name,
	        g_hash_table_size(agent->node.sites), agent->node.usual->name, agent->node.config->interval_s);
	arm(agent);
	supervisor_ready("metering");
	tell_supervisor(agent);
	g_main_loop_run(agent->loop);
	g_main_loop_unref(agent->loop);
	g_free(agent->refused);
	cmd_log(CMD_NOTICE, "stopped, the counters go on node=%s", agent->node.name);
	return EXIT_DONE;
}

static int run_once(struct agent *agent)
{
	g_autoptr(GError) error = NULL;

	if (!(agent->dry_run ? dry_cycle : cycle)(&agent->node, LOOK_ALL, &error))
		return cmd_fail("agent", error);
	if (!agent->dry_run)
		upkeep_step(&agent->upkeep, &agent->node);
	return agent->node.unmetered ? EXIT_PARTIAL : EXIT_DONE;
}

static int check_options(struct node_options *options, const char *interval)
{
	guint64 seconds = 0;

	if (interval && !g_ascii_string_to_unsigned(interval, 10, CONFIG_INTERVAL_MIN, CONFIG_INTERVAL_MAX, &seconds, NULL))
		return cmd_misuse("agent", "--interval '%s' does not do (right: whole seconds from %d to %d)", interval,
		                  CONFIG_INTERVAL_MIN, CONFIG_INTERVAL_MAX);
	options->interval_s = (int)seconds;
	return node_check_options("agent", options);
}

int cmd_agent(int argc, char **argv)
{
	struct node_options options = { 0 };
	struct agent agent = { .timer = -1, .signals = -1, .options = &options };
	gboolean once = FALSE, dry_run = FALSE;
	g_autofree char *interval = NULL;
	const GOptionEntry entries[] = {
		NODE_OPTIONS(&options),
		NODE_STATE_OPTION(&options),
		{ "interval", 0, 0, G_OPTION_ARG_STRING, &interval, "Seconds between samples, 1 to 3600 (60)", "S" },
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
	               "Signals: SIGUSR1 takes a sample now; SIGHUP reads the configuration anew;\n"
	               "SIGTERM takes a last sample and ends.\n"
	               "Exit status: 0 done; 1 failed; 2 wrong usage; 4 (--once) not all metered.",
	               entries, &argc, &argv, &status) || (status = check_options(&options, interval)) != EXIT_DONE) {
		node_options_clear(&options);
		return status;
	}
	agent.dry_run = dry_run;
	mallopt(M_MMAP_THRESHOLD, LARGE);
	if (!node_open(&agent.node, &options, &error) ||
	    !(dry_run ? capability_check_looking(&error) : node_open_books(&agent.node, &error)))
		status = cmd_fail("agent", error);
	else
		status = once ? run_once(&agent) : run(&agent);
	node_close(&agent.node);
	node_options_clear(&options);
	return status;
}

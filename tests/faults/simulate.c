/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * simulate: the agent in a made-up world, one life of some weeks a seed (sim.h).
 *
 *	simulate --seeds 1-10000        those
 *	simulate --seconds 60           fresh ones for a minute; says which
 *	simulate --seed 17 --trace      one, and all that happens in it
 *
 * Quiet time is cheap: the interval between samples is a seed's own, 1 minute to 1 hour, and between samples the world is
 * as busy as it likes.  Seeds run in processes of their own, as a killed agent leaves its memory behind.
 */
#include "sim.h"

#include "core/ledger.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/wait.h>
#include <unistd.h>

#define SEEDS_A_PROCESS 20
#define START_US (INT64_C(1790000000) * SECOND)
#define FAULT "ledger driven by a seeded simulator"

struct sim sim;

/* ---- chance ---- */

/* xoroshiro128+ (D. Blackman, S. Vigna, public domain), seeded by splitmix64. */
static uint64_t splitmix(uint64_t *state)
{
	uint64_t mixed = *state += UINT64_C(0x9e3779b97f4a7c15);

	mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
	return mixed ^ mixed >> 31;
}

static uint64_t rotate(uint64_t value, unsigned by)
{
	return value << by | value >> (64 - by);
}

uint64_t sim_random(uint64_t below)
{
	uint64_t first = sim.random[0], second = sim.random[1], result = first + second;

	second ^= first;
	sim.random[0] = rotate(first, 24) ^ second ^ second << 16;
	sim.random[1] = rotate(second, 37);
	return (result >> 11) % below;
}

bool sim_chance(double probability)
{
	return (double)sim_random(UINT64_C(1) << 50) < probability * (double)(UINT64_C(1) << 50);
}

/* ---- telling ---- */

void sim_trace(const char *format, ...)
{
	g_autofree char *text = NULL;
	va_list arguments;

	if (!sim.trace)
		return;
	va_start(arguments, format);
	text = g_strdup_vprintf(format, arguments);
	va_end(arguments);
	printf("%8" G_GUINT64_FORMAT " %14.6f utc %" G_GINT64_FORMAT "  %s\n", sim.steps, (double)(sim.real_us - START_US) / 1e6,
	       sim.real_us + sim.offset_us, text);
}

void sim_fail(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	sim.verdict = g_strdup_vprintf(format, arguments);
	va_end(arguments);
	sim_trace("FAILS: %s", sim.verdict);
	longjmp(sim.ended, 1);
}

void sim_undeclared(const char *format, ...)
{
	va_list arguments;

	if (sim.undeclared)
		return;
	va_start(arguments, format);
	sim.undeclared = g_strdup_vprintf(format, arguments);
	va_end(arguments);
	sim_trace("UNDECLARED: %s", sim.undeclared);
}

/* ---- moments ---- */

void sim_point(const char *what)
{
	sim.steps++;
	if (sim.in_point || sim.shrill)
		return;
	sim.in_point = true;
	if (sim_chance(0.3))
		world_advance(sim.real_us + 1 + (int64_t)sim_random(sim_chance(0.02) ? 300000 : 2000));
	if (sim_chance(0.1))
		world_traffic();
	if (sim_chance(0.004))
		world_change();
	sim.in_point = false;
	if (sim.kill_in && --sim.kill_in == 0) {
		sim_trace("killed at %s", what);
		sim.kills++;
		longjmp(sim.killed, 1);
	}
}

bool sim_fault(const char *what)
{
	if (sim.shrill || !sim_chance(sim.fault))
		return false;
	sim_trace("fault: %s", what);
	sim.injected++;
	return true;
}

/* ---- the agent's life ---- */

static void be_down(int64_t most_us)
{
	sim.start_at_us = sim.real_us + (int64_t)sim_random((uint64_t)most_us);
}

/* Runs something of the agent's, which may be killed in it. */
static void run(void (*what)(void))
{
	sim.kill_in = !sim.shrill && sim_chance(0.02) ? 1 + (int)sim_random(60) : 0;
	if (setjmp(sim.killed)) {
		sim.in_point = false;
		agent_die();
		be_down(sim_chance(0.8) ? 2 * SECOND : 8 * HOUR);
		return;
	}
	what();
	sim.kill_in = 0;
	if (!sim.up)
		be_down(10 * SECOND);
}

/* Events are heard in a moment, and looked at 5 to 25 ms later. */
static void follow(void)
{
	for (unsigned i = 0; sim.up && i < 20; i++) {
		agent_hear();
		if (!agent_wants_look())
			return;
		world_advance(sim.real_us + 5000 + (int64_t)sim_random(20000));
		run(agent_look);
	}
}

/* Time passes, and the agent does what it has to. */
static void pass(int64_t to_us)
{
	do {
		int64_t next_us = MIN(to_us, world_next_us());

		world_advance(sim.up && sim.poll_us ? MIN(next_us, sim.poll_us) : next_us);
		if (sim.up && sim.poll_us && sim.real_us >= sim.poll_us) {
			sim.poll_us = 0;
			run(agent_poll);
		}
		follow();
	} while (sim.real_us < to_us);
}

/* ---- what happens beside Neutron ---- */

static void begin_era(void)
{
	struct era era = { sim.real_us, sim.offset_us };

	g_array_append_val(sim.eras, era);
}

static void set_clock(void)
{
	static const int64_t steps_us[] = { SECOND, HOUR, 365 * DAY };
	int64_t step_us = steps_us[sim_random(G_N_ELEMENTS(steps_us))] * (sim_random(2) ? 1 : -1);

	sim_trace("the clock is set by %" G_GINT64_FORMAT " s", step_us / SECOND);
	sim.offset_us += step_us;
	begin_era();
	sim.steps_of_clock++;
}

static void restart_later(void)
{
	be_down(sim_chance(0.7) ? 3 * SECOND : 10 * HOUR);
}

static void change_configuration(void)
{
	static const int intervals_s[] = { 600, 1800, 3600 };

	if (sim_random(2))
		sim.backend = g_str_equal(sim.backend, "nft") ? "iptables" : "nft";
	else
		sim.interval_s = intervals_s[sim_random(G_N_ELEMENTS(intervals_s))];
	run(agent_reload);
}

static void incident(bool sets_clock)
{
	uint64_t what = sim_random(100);

	if (what < 15 && sets_clock) {
		set_clock();
	} else if (what < 30) {
		run(agent_stop);
		restart_later();
	} else if (what < 45) {
		sim_trace("kill -9");
		sim.kills++;
		agent_die();
		restart_later();
	} else if (what < 60) {
		change_configuration();
	} else if (what < 68) {
		agent_die();
		world_reboot();
		be_down(40 * SECOND);
	} else if (what < 78) {
		sim_trace("the agent is suspended");
		world_settle();
		follow();
		world_advance(sim.real_us + (int64_t)sim_random(6 * HOUR));
	} else if (what < 88) {
		disk_back_up();
	} else if (what < 96) {
		run(agent_stop);
		if (sim_chance(0.3))
			run(agent_detach);
		disk_accident();
		restart_later();
	} else {
		sim.deaf = !sim.deaf;
		sim_trace("the agent is %s", sim.deaf ? "to be deaf" : "allowed to hear");
	}
}

static void down(void)
{
	world_advance(MAX(sim.start_at_us, sim.real_us + 1));
	if (sim_chance(0.3))
		world_change();
	run(agent_start);
}

/* One thing of all that may come next. */
static void step(bool sets_clock, double restless)
{
	int64_t sample_us = agent_next_sample_us();

	if (!sim.up) {
		down();
		return;
	}
	if (sim_chance(restless)) {
		pass(sim.real_us + (int64_t)sim_random((uint64_t)MAX(sample_us - sim.real_us, 2)));
		for (uint64_t n = 1 + (sim_chance(0.2) ? sim_random(6) : 0); n > 0; n--) {
			world_change();
			follow();
			pass(sim.real_us + (int64_t)sim_random(sim_random(2) ? 150000 : SECOND));
		}
		return;
	}
	if (sim_chance(restless / 8)) {
		incident(sets_clock);
		return;
	}
	pass(sample_us);
	if (sim.up)
		run(agent_sample);
	follow();
}

/* ---- seeds ---- */

struct totals {
	uint64_t seeds, cycles, kills, commits, failures, rows, changes, injected, steps, boots, clock_steps;
	uint64_t true_bytes, billed_bytes, lost_bytes, hidden_bytes, unseen_bytes, astray_bytes, failed, undeclared;
	uint64_t days;
};

static void begin(uint64_t seed, const struct sim *settings)
{
	static const int intervals_s[] = { 60, 600, 1800, 1800, 3600, 3600, 3600, 3600 };
	uint64_t state = seed;

	memset(&sim, 0, sizeof sim);
	sim.trace = settings->trace;
	sim.days = settings->days;
	sim.seed = seed;
	sim.random[0] = splitmix(&state);
	sim.random[1] = splitmix(&state);
	sim.real_us = START_US + (int64_t)sim_random(DAY);
	sim.booted_us = sim.real_us - 100 * SECOND;
	sim.eras = g_array_new(FALSE, FALSE, sizeof(struct era));
	begin_era();
	g_snprintf(sim.boot, sizeof sim.boot, "boot-0");
	sim.backend = sim_random(2) ? "nft" : "iptables";
	sim.interval_s = sim_chance(0.02) ? intervals_s[0] : intervals_s[1 + sim_random(G_N_ELEMENTS(intervals_s) - 1)];
	sim.keeps = sim_random(2);
	sim.fault = sim_random(3) ? (sim_random(2) ? 0.002 : 0.02) : 0;
	disk_init();
	judge_init();
	world_init();
	sim.start_at_us = sim.real_us + SECOND;
}

/* Everything is well again: what is still to be billed is billed now. */
static void end(void)
{
	sim.shrill = true;
	sim.deaf = false;
	for (unsigned i = 0; i < 3; i++) {
		world_settle();
		if (!sim.up)
			run(agent_start);
		sim.real_us = agent_next_sample_us();
		run(agent_sample);
		follow();
	}
	judge_end();
}

static void finish(void)
{
	judge_clear();
	disk_clear();
	world_clear();
	g_array_unref(sim.eras);
}

static void live(uint64_t seed, const struct sim *settings)
{
	volatile bool sets_clock;
	volatile double restless;

	begin(seed, settings);
	sets_clock = sim_random(2);
	restless = sim_random(3) ? 0.1 : 0.4;
	if (!setjmp(sim.ended)) {
		while (sim.real_us < START_US + sim.days * DAY)
			step(sets_clock, restless);
		end();
		if (sim.up)
			agent_stop();
	}
}

static void add(struct totals *to, const struct totals *more)
{
	for (unsigned i = 0; i < sizeof *to / sizeof(uint64_t); i++)
		((uint64_t *)to)[i] += ((const uint64_t *)more)[i];
}

static void take_totals(struct totals *to)
{
	struct totals more = {
		1, sim.cycles, sim.kills, sim.commits, sim.failures, sim.rows, sim.changes, sim.injected, sim.steps, sim.boots,
		sim.steps_of_clock, sim.true_bytes, sim.billed_bytes, sim.lost_bytes, sim.hidden_bytes,
		sim.unseen_bytes, sim.astray_bytes, sim.verdict != NULL, sim.undeclared != NULL, (uint64_t)sim.days,
	};

	add(to, &more);
}

static void one(uint64_t seed, const struct sim *settings, struct totals *totals)
{
	live(seed, settings);
	take_totals(totals);
	if (sim.verdict)
		printf("seed %" G_GUINT64_FORMAT " step %" G_GUINT64_FORMAT ": %s\n", seed, sim.steps, sim.verdict);
	if (sim.undeclared)
		printf("seed %" G_GUINT64_FORMAT " step %" G_GUINT64_FORMAT ", undeclared: %s\n", seed, sim.steps, sim.undeclared);
	fflush(stdout);
	finish();
}

/* Some seeds in a process of their own.  shared is memory that both see. */
static bool some(uint64_t from, uint64_t to, const struct sim *settings, struct totals *totals, uint64_t *shared)
{
	struct totals *theirs = (struct totals *)(shared + 1);
	int status;
	pid_t child;

	memset(shared, 0, sizeof *shared + sizeof *theirs);
	fflush(stdout);
	child = fork();
	if (child == 0) {
		for (uint64_t seed = from; seed <= to; seed++) {
			*shared = seed;
			one(seed, settings, theirs);
		}
		exit(0); /* and not _exit(): gcov writes what it has counted */
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		g_error("fork: %s", g_strerror(errno));
	add(totals, theirs);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return true;
	printf("seed %" G_GUINT64_FORMAT ": the process ended with status %#x\n", *shared, (unsigned)status);
	totals->failed++;
	return false;
}

/* ---- options and results ---- */

static void write_result(const struct totals *totals)
{
	const char *directory = g_getenv("FIPMETER_FAULTS_RESULTS");
	g_autofree char *path = NULL, *text = NULL;
	g_autoptr(GError) error = NULL;

	if (!directory)
		return;
	path = g_build_filename(directory, "simulator.json", NULL);
	text = g_strdup_printf("[{\"fault\": \"" FAULT "\", \"backend\": \"\", \"times\": %" G_GUINT64_FORMAT
		", \"expected_bytes\": %" G_GUINT64_FORMAT ", \"found_bytes\": %" G_GUINT64_FORMAT
		", \"gaps\": null, \"overcounts\": %" G_GUINT64_FORMAT ", \"verdict\": \"%s\", \"note\": \"seeds of %" G_GINT64_FORMAT
		" days; %" G_GUINT64_FORMAT " bytes in declared gaps; %" G_GUINT64_FORMAT
		" hidden by neighbours who set counters back unseen; %" G_GUINT64_FORMAT
		" seeds miss bytes that no gap declares\"}]\n", totals->seeds, totals->true_bytes,
		totals->billed_bytes, totals->failed, totals->failed || totals->undeclared ? "FAILS" : "holds", (int64_t)(totals->seeds ?
		totals->days / totals->seeds : 0), totals->lost_bytes, totals->hidden_bytes, totals->undeclared);
	if (!g_file_set_contents(path, text, -1, &error))
		printf("%s\n", error->message);
}

static void tell(const struct totals *t)
{
	printf("seeds %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " days: %" G_GUINT64_FORMAT " failed, %" G_GUINT64_FORMAT
	       " miss bytes that nothing declares\n"
	       "cycles %" G_GUINT64_FORMAT ", commits %" G_GUINT64_FORMAT ", rows %" G_GUINT64_FORMAT "; changes %" G_GUINT64_FORMAT
	       ", kills %" G_GUINT64_FORMAT ", calls failed %" G_GUINT64_FORMAT ", boots %" G_GUINT64_FORMAT ", clock set %"
	       G_GUINT64_FORMAT "\nbytes: true %" G_GUINT64_FORMAT ", billed %" G_GUINT64_FORMAT ", in declared gaps %"
	       G_GUINT64_FORMAT ", hidden %" G_GUINT64_FORMAT ", unseen %" G_GUINT64_FORMAT ", on another bill for a while %" G_GUINT64_FORMAT "\n", t->seeds,
	       t->seeds ? t->days / t->seeds : 0, t->failed, t->undeclared, t->cycles, t->commits, t->rows, t->changes, t->kills, t->injected,
	       t->boots, t->clock_steps, t->true_bytes, t->billed_bytes, t->lost_bytes, t->hidden_bytes, t->unseen_bytes,
	       t->astray_bytes);
}

/* Addresses order some hash tables: without chance in them a seed runs the same way each time. */
static void fix_addresses(char **argv)
{
	int before = personality(0xffffffff);

	if (before >= 0 && !(before & ADDR_NO_RANDOMIZE) && personality((unsigned long)before | ADDR_NO_RANDOMIZE) >= 0)
		execv("/proc/self/exe", argv);
}

static struct totals run_seeds(uint64_t from, uint64_t to, gint64 seconds, const struct sim *settings)
{
	int64_t until_us = g_get_monotonic_time() + seconds * SECOND;
	struct totals totals = { 0 };
	uint64_t *shared = mmap(NULL, sizeof(uint64_t) + sizeof totals, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
	                        -1, 0);

	for (uint64_t seed = from; seed <= to && (!seconds || g_get_monotonic_time() < until_us); seed += SEEDS_A_PROCESS)
		some(seed, MIN(seed + SEEDS_A_PROCESS - 1, to), settings, &totals, shared);
	return totals;
}

int main(int argc, char **argv)
{
	struct sim settings = { .days = 30 };
	g_autofree char *seeds = NULL;
	gint64 seconds = 0, days = 30, only = -1, undeclared = 0;
	gboolean trace = FALSE;
	const GOptionEntry entries[] = {
		{ "seeds", 0, 0, G_OPTION_ARG_STRING, &seeds, "These seeds", "A-B" },
		{ "seconds", 0, 0, G_OPTION_ARG_INT64, &seconds, "Fresh seeds for so long", "N" },
		{ "seed", 0, 0, G_OPTION_ARG_INT64, &only, "This one", "N" },
		{ "days", 0, 0, G_OPTION_ARG_INT64, &days, "Simulated days of a seed (30)", "N" },
		{ "undeclared", 0, 0, G_OPTION_ARG_INT64, &undeclared, "Of 100 seeds so many may miss bytes in a moment that no gap "
		  "has (0)", "N" },
		{ "trace", 0, 0, G_OPTION_ARG_NONE, &trace, "Tell all that happens", NULL },
		{ NULL },
	};
	g_autoptr(GOptionContext) context = g_option_context_new(NULL);
	g_autoptr(GError) error = NULL;
	uint64_t from = 1, to = 100;
	struct totals totals;

	fix_addresses(argv);
	g_option_context_add_main_entries(context, entries, NULL);
	if (!g_option_context_parse(context, &argc, &argv, &error)) {
		fprintf(stderr, "simulate: %s\n", error->message);
		return 2;
	}
	if (only >= 0)
		from = to = (uint64_t)only;
	else if (seconds)
		from = (uint64_t)g_get_real_time() / 1000, to = from + 10000000;
	else if (seeds && sscanf(seeds, "%" G_GUINT64_FORMAT "-%" G_GUINT64_FORMAT, &from, &to) != 2) {
		fprintf(stderr, "simulate: --seeds A-B\n");
		return 2;
	}
	settings.days = days;
	settings.trace = trace;
	printf("seeds from %" G_GUINT64_FORMAT "\n", from);
	totals = run_seeds(from, to, seconds, &settings);
	tell(&totals);
	write_result(&totals);
	return totals.failed || totals.undeclared > totals.seeds * (uint64_t)undeclared / 100;
}

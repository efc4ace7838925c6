/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The n-th call fails: every open, write, truncation, sync, rename, removal and read of a workload (an opening, births,
 * samples, a checkpoint, sums, a restart), one by one, once and then for the rest of the work.  Nothing crashes, no row is
 * wrong, and once the fault is over samples are taken again and all sums are exact.
 *
 * And a sync that failed is never simply tried again: the kernel takes what it could not write for written, so here the
 * disk loses it for good (power.h).  Whatever is committed after that, and after a restart that read the WAL from the
 * kernel's cache, is there after a power cut all the same.
 *
 * fsync [N]   every n with FIPMETER_FAULTS=full, else N of each kind
 */
#include "power.h"
#include "result.h"
#include "rig.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>

#include "../scratch.h"

#define SEED 7
#define LARGE_TIMES 12 /* of each kind */

static unsigned times;
static struct result results[2];

static const struct failing {
	const char *name;
	enum edge_call call;
	int error;
} kinds[] = {
	{ "open", EDGE_OPEN, EMFILE }, { "write", EDGE_WRITE, ENOSPC }, { "write", EDGE_WRITE, EIO },
	{ "truncate", EDGE_TRUNCATE, EIO }, { "sync", EDGE_SYNC, EIO }, { "sync", EDGE_SYNC, ENOSPC },
	{ "rename", EDGE_RENAME, EIO }, { "unlink", EDGE_UNLINK, EIO }, { "read", EDGE_READ, EIO },
};

struct world {
	char *directory, *image;
};

static void set_up(struct world *world, const void *data)
{
	world->directory = scratch_new();
	world->image = scratch_new();
	edge_skip_syncs(true);
}

static void tear_down(struct world *world, const void *data)
{
	edge_leave();
	rig_remove_files(world->directory);
	rig_remove_files(world->image);
	g_rmdir(world->directory);
	g_rmdir(world->image);
	g_free(world->directory);
	g_free(world->image);
}

/* ---- the workload: what fails is tried again at the next minute ---- */

static void open_if_not(struct rig *rig)
{
	g_autofree char *notice = NULL;

	if (!rig->store)
		rig_open(rig, &notice, NULL);
}

static void sample(struct rig *rig)
{
	rig_pass(rig);
	open_if_not(rig);
	if (rig->store)
		rig_cycle(rig, NULL);
}

/* large: some 70 pages a commit, so that a checkpoint comes in between. */
static void do_work(struct rig *rig, bool large)
{
	sample(rig);
	rig_plan_more(rig, 0, large ? KEYS_MAX : 5);
	rig_plan_more(rig, 1, large ? KEYS_MAX : 5);
	rig_plan_fewer(rig, 2, 1);
	for (unsigned i = 0; i < (large ? 18 : 3); i++)
		sample(rig);
	if (rig->store)
		rig_tend(rig, 0, NULL);
	rig_kill(rig);
	sample(rig);
	rig_close(rig);
	sample(rig);
}

static unsigned count_calls(struct world *world, enum edge_call call, bool large)
{
	struct rig *rig = rig_new(world->directory, 3, SEED);
	unsigned n;

	rig_remove_files(world->directory);
	edge_watch(world->directory);
	edge_fail(call, G_MAXUINT, 0, 0);
	do_work(rig, large);
	n = edge_fail_no_more();
	edge_leave();
	rig_free(rig);
	return n;
}

/* ---- what must hold ---- */

/* What is booked, in files that were set aside too. */
static bool read_all(const char *directory, struct tally *all)
{
	g_autoptr(GDir) files = g_dir_open(directory, 0, NULL);
	const char *name;

	memset(all, 0, sizeof *all);
	while ((name = g_dir_read_name(files))) {
		g_autofree char *path = g_build_filename(directory, name, NULL);
		struct tally one;

		if (!g_str_has_prefix(name, STORE_FILE) || g_str_has_suffix(name, "-wal") || g_str_has_suffix(name, "-shm"))
			continue;
		if (!rig_read_booked(path, &one, NULL))
			return false;
		rig_tally_add(all, &one);
	}
	return true;
}

/* The fault is over: the next sample is in the books, and all before it. */
static char *check(struct world *world, struct rig *rig)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *notice = NULL, *findings = NULL;
	struct tally all;

	if (!rig->store && !rig_open(rig, &notice, &error))
		return g_strdup_printf("does not open: %s", error->message);
	rig_pass(rig);
	if (!rig_cycle(rig, &error) && (!rig->renewal || (g_clear_error(&error), !rig_cycle(rig, &error))))
		return g_strdup_printf("the next sample: %s", error->message);
	findings = rig_findings(rig->store);
	if (*findings)
		return g_strdup_printf("the audit: %s", findings);
	if (!read_all(world->directory, &all))
		return g_strdup("the database cannot be read");
	results[0].expected += rig_tally_bytes(&rig->truth);
	results[0].found += rig_tally_bytes(&all);
	results[0].overcounts += rig_tally_exceeds(&all, &rig->truth);
	if (!rig_tally_equal(&all, &rig->truth))
		return g_strdup_printf("%" G_GUINT64_FORMAT " bytes are booked of %" G_GUINT64_FORMAT, rig_tally_bytes(&all),
		                       rig_tally_bytes(&rig->truth));
	return NULL;
}

static char *try_one(struct world *world, const struct failing *kind, unsigned n, unsigned more, bool large)
{
	struct rig *rig = rig_new(world->directory, 3, SEED);
	char *found;

	rig_remove_files(world->directory);
	edge_watch(world->directory);
	edge_fail(kind->call, n, more, kind->error);
	do_work(rig, large);
	edge_fail_no_more();
	found = check(world, rig);
	rig_free(rig);
	edge_leave();
	return found;
}

/* Of a large workload some calls, of a small one all. */
static void try_kind(struct world *world, const struct failing *kind, bool large)
{
	unsigned calls = count_calls(world, kind->call, large), n = large ? LARGE_TIMES : times ? times : calls;
	unsigned step = MAX(calls / n, 1);

	g_assert_cmpuint(calls, >, 0);
	for (unsigned i = 1 + step / 2; i <= calls; i += step, results[0].times++) {
		unsigned more = results[0].times % 3 ? 0 : G_MAXINT;
		g_autofree char *found = try_one(world, kind, i, more, large);

		if (found && results[0].failures++ < 10)
			g_test_message("%s number %u of %u fails%s: %s: %s", kind->name, i, calls, more ? ", and all behind it" : "",
			               g_strerror(kind->error), found);
	}
}

static void test_every_call(struct world *world, const void *data)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
		try_kind(world, &kinds[i], false);
		if (!times)
			try_kind(world, &kinds[i], true);
	}
	g_test_message("%u failing calls, %u do not hold", results[0].times, results[0].failures);
	results[0].sums = true;
	g_assert_cmpuint(results[0].failures, ==, 0);
}

/* ---- a sync that failed ---- */

/* A sync fails; the agent goes on, is killed, starts again and goes on; then the power is cut. */
static char *lose_a_sync(struct world *world, unsigned n, bool killed)
{
	struct rig *rig = rig_new(world->directory, 3, SEED), *after = rig_new(world->image, 0, SEED);
	GRand *random = g_rand_new_with_seed(n);
	g_autoptr(GError) error = NULL;
	g_autofree char *notice = NULL, *path = g_build_filename(world->image, STORE_FILE, NULL);
	struct tally booked, found;
	struct power *power;
	GArray *record;
	int64_t note;
	char *trouble = NULL;

	rig_remove_files(world->directory);
	rig_remove_files(world->image);
	edge_watch(world->directory);
	edge_record();
	edge_fail(EDGE_SYNC, n, 0, EIO);
	for (unsigned i = 0; i < 6; i++) {
		sample(rig);
		if (killed && i == 3)
			rig_kill(rig);
	}
	edge_fail_no_more();
	sample(rig);
	record = edge_take_record();
	rig_kill(rig);
	edge_watch(world->image);
	power = power_new(record, false);
	power_run_to(power, record->len, &note);
	power_make_image(power, POWER_ALL_LOST, random, world->image);
	rig_copy_kernel(after, rig);
	/* the last sample went well, so all that passed until then is booked */
	if (!rig_open(after, &notice, &error))
		trouble = g_strdup_printf("does not open: %s", error->message);
	else if (notice)
		trouble = g_steal_pointer(&notice);
	else if (!rig_read_booked(path, &found, NULL) || (booked = rig->truth, !rig_tally_equal(&found, &booked)))
		trouble = g_strdup_printf("%" G_GUINT64_FORMAT " bytes are booked of %" G_GUINT64_FORMAT " that were committed",
		                          rig_tally_bytes(&found), rig_tally_bytes(&rig->truth));
	results[1].expected += rig_tally_bytes(&rig->truth);
	results[1].found += trouble ? 0 : rig_tally_bytes(&found);
	rig_free(after);
	rig_free(rig);
	power_free(power);
	g_array_unref(record);
	g_rand_free(random);
	return trouble;
}

static void test_failed_sync(struct world *world, const void *data)
{
	unsigned syncs, failures = 0, tried = 0;

	edge_watch(world->directory);
	edge_fail(EDGE_SYNC, G_MAXUINT, 0, 0);
	{
		struct rig *rig = rig_new(world->directory, 3, SEED);

		for (unsigned i = 0; i < 6; i++)
			sample(rig);
		rig_free(rig);
	}
	syncs = edge_fail_no_more();
	for (unsigned n = 1; n <= syncs; n++)
		for (unsigned killed = 0; killed < 2; killed++, tried++) {
			g_autofree char *found = lose_a_sync(world, n, killed);

			if (found && failures++ < 10)
				g_test_message("sync %u of %u fails%s: %s", n, syncs, killed ? ", then a restart" : "", found);
		}
	g_test_message("%u failed syncs, each followed by a power cut, %u do not hold", tried, failures);
	results[1].times = tried;
	results[1].failures = failures;
	results[1].sums = true;
	g_assert_cmpuint(failures, ==, 0);
}

#define ADD(path, function) g_test_add(path, struct world, NULL, set_up, function, tear_down)

int main(int argc, char **argv)
{
	int status;

	times = result_times(&argc, argv, 6, 0);
	results[0] = (struct result){ .fault = "n-th call fails: open, write, truncate, sync, rename, unlink, read of the store",
	                              .gaps = -1 };
	results[1] = (struct result){ .fault = "an fsync that failed is never simply tried again", .gaps = -1 };
	g_test_init(&argc, &argv, NULL);
	ADD("/fsync/every-call", test_every_call);
	ADD("/fsync/what-a-failed-sync-lost-is-written-again", test_failed_sync);
	status = g_test_run();
	result_write("fsync", results, G_N_ELEMENTS(results));
	return status;
}

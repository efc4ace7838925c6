/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An old backup of the store is put back, while the agent is away and under its hands; and the other things that are done
 * to a store by hand while it is written to: its files moved, removed, overwritten where they stand, put back.  Rows never
 * go into a file that nobody finds again: the next sample is in the file that stands at the path, at the second try at the
 * latest; a new store id begins unless all is still there; nothing that was booked before is billed again.
 *
 * backup [TIMES]   each way, 20 with FIPMETER_FAULTS=full
 */
#include "edge.h"
#include "result.h"
#include "rig.h"

#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../scratch.h"

static unsigned times;
static struct result results[2];

struct world {
	char *directory, *backup, *path;
	struct rig *rig;
	struct tally acked; /* what commits that returned have booked */
};

static void on_commit(struct rig *rig, const struct batch *batch, bool done, void *data)
{
	struct world *world = data;

	if (done)
		rig_tally_book(&world->acked, batch);
}

static void begin(struct world *world, unsigned number)
{
	memset(&world->acked, 0, sizeof world->acked);
	rig_remove_files(world->directory);
	rig_remove_files(world->backup);
	world->rig = rig_new(world->directory, 5 + number % 30, number);
	world->rig->on_commit = on_commit;
	world->rig->data = world;
}

static void open_store(struct world *world, const char *expected)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *notice = NULL;

	rig_open(world->rig, &notice, &error);
	g_assert_no_error(error);
	g_assert_true(expected ? notice && strstr(notice, expected) : !notice);
}

static void samples(struct world *world, unsigned n)
{
	g_autoptr(GError) error = NULL;

	while (n--) {
		rig_pass(world->rig);
		rig_cycle(world->rig, &error);
		g_assert_no_error(error);
	}
}

/* A file of the backup comes back: under its name as another file, or over what stands there. */
static void put_back(struct world *world, const char *name, bool in_place)
{
	g_autofree char *from = g_build_filename(world->backup, name, NULL), *data = NULL;
	g_autofree char *to = g_build_filename(world->directory, name, NULL), *new = g_strconcat(to, ".new", NULL);
	gsize length;
	FILE *file;

	if (!g_file_get_contents(from, &data, &length, NULL))
		return;
	file = fopen(in_place ? to : new, "w");
	g_assert_true(file && fwrite(data, 1, length, file) == length);
	fclose(file);
	if (!in_place)
		g_assert_no_errno(rename(new, to));
}

static void take_backup(struct world *world)
{
	rig_copy_files(world->directory, world->backup);
}

/* before: what the file at the path had when it was put there; acked: what was booked until then, there or elsewhere. */
static void check(struct world *world, struct result *result, const struct tally *before, const struct tally *acked)
{
	g_autofree char *findings = rig_findings(world->rig->store);
	struct tally booked, expected = *before, all = *acked;

	g_assert_cmpstr(findings, ==, "");
	g_assert_true(rig_read_booked(world->path, &booked, NULL));
	/* booked - before = passed - acked */
	rig_tally_add(&expected, &world->rig->truth);
	rig_tally_add(&all, &booked);
	result->expected += rig_tally_bytes(&expected);
	result->found += rig_tally_bytes(&all);
	result->overcounts += rig_tally_exceeds(&all, &expected);
	result->times++;
	g_assert_true(rig_tally_equal(&all, &expected));
}

/* ---- while the agent is away ---- */

/* What the file at the path has as it begins, or goes on; all that was committed, if nothing was told. */
static struct tally read_before(struct world *world, const char *told)
{
	struct tally before;

	g_assert_true(rig_read_booked(world->path, &before, NULL));
	g_assert_true(told || rig_tally_equal(&before, &world->acked));
	return before;
}

/* killed: the -wal is newer than the backup of the database, and stays beside it.  It may have all that the backup lacks. */
static void restore_at_rest(struct world *world, unsigned number, bool killed)
{
	g_autofree char *notice = NULL;
	g_autoptr(GError) error = NULL;
	struct tally before, acked;

	begin(world, number);
	open_store(world, NULL);
	samples(world, 2 + number % 3);
	rig_close(world->rig);
	take_backup(world);
	open_store(world, NULL);
	samples(world, 3);
	rig_close(world->rig);
	if (killed) {
		open_store(world, NULL);
		samples(world, 1);
		rig_kill(world->rig);
	}
	put_back(world, STORE_FILE, number % 2);
	rig_open(world->rig, &notice, &error);
	g_assert_no_error(error);
	g_assert_true(killed || (notice && strstr(notice, "a restored backup?")));
	before = read_before(world, notice);
	acked = world->acked;
	samples(world, 2);
	check(world, &results[0], &before, &acked);
	rig_free(world->rig);
}

static void test_at_rest(struct world *world, const void *data)
{
	for (unsigned i = 0; i < times; i++)
		restore_at_rest(world, i, false);
}

static void test_at_rest_beside_a_wal(struct world *world, const void *data)
{
	for (unsigned i = 0; i < times; i++)
		restore_at_rest(world, i, true);
}

/* ---- under its hands ---- */

enum deed { REPLACE, OVERWRITE, REMOVE, REMOVE_WAL, REMOVE_SHM, MOVE_AWAY, REPLACE_ALL, DEEDS };

static const struct {
	const char *told;
	bool keeps; /* all that was committed is in the file at the path */
} deeds[DEEDS] = {
	[REPLACE] = { "another file was put in its place", false },
	[OVERWRITE] = { "somebody else has written into it", false },
	[REMOVE] = { "it was removed", false },
	[REMOVE_WAL] = { "its -wal was removed", true },
	[REMOVE_SHM] = { "its -shm was removed", true },
	[MOVE_AWAY] = { "it was removed", false },
	[REPLACE_ALL] = { "another file was put in its place", false },
};

static void do_deed(struct world *world, enum deed deed)
{
	g_autofree char *wal = g_strconcat(world->path, "-wal", NULL), *shm = g_strconcat(world->path, "-shm", NULL);
	g_autofree char *elsewhere = g_build_filename(world->backup, "moved.db", NULL);

	switch (deed) {
	case REPLACE:
	case OVERWRITE:
		put_back(world, STORE_FILE, deed == OVERWRITE);
		break;
	case REPLACE_ALL:
		put_back(world, STORE_FILE "-wal", false);
		put_back(world, STORE_FILE, false);
		break;
	case MOVE_AWAY:
		g_assert_no_errno(rename(world->path, elsewhere));
		break;
	case REMOVE:
		g_assert_no_errno(unlink(world->path));
		break;
	case REMOVE_WAL:
	case REMOVE_SHM:
		g_assert_no_errno(unlink(deed == REMOVE_WAL ? wal : shm));
		break;
	case DEEDS:
		g_assert_not_reached();
	}
}

static void disturb(struct world *world, enum deed deed, unsigned number)
{
	g_autofree char *elsewhere = g_build_filename(world->backup, "moved.db", NULL);
	struct tally before, acked, moved, backup;

	begin(world, number + 100 * deed);
	open_store(world, NULL);
	samples(world, 2 + number % 3);
	rig_close(world->rig);
	take_backup(world);
	backup = world->acked;
	open_store(world, NULL);
	samples(world, 2);
	do_deed(world, deed);
	acked = world->acked;
	rig_pass(world->rig);
	g_assert_false(rig_cycle(world->rig, NULL));
	g_assert_true(world->rig->renewal && strstr(world->rig->renewal, deeds[deed].told));
	before = read_before(world, deeds[deed].keeps ? NULL : world->rig->renewal);
	if (deed == REPLACE || deed == REPLACE_ALL)
		g_assert_true(rig_tally_equal(&before, &backup));
	samples(world, 2);
	check(world, &results[1], &before, &acked);
	if (deed == MOVE_AWAY) {
		g_assert_true(rig_read_booked(elsewhere, &moved, NULL));
		g_assert_true(rig_tally_equal(&moved, &acked)); /* the -wal went into it before it was given up */
	}
	/* and it is what the next start finds */
	rig_close(world->rig);
	open_store(world, NULL);
	samples(world, 1);
	check(world, &results[1], &before, &acked);
	rig_free(world->rig);
}

static void test_deed(struct world *world, const void *data)
{
	for (unsigned i = 0; i < times; i++)
		disturb(world, GPOINTER_TO_UINT(data), i);
}

/* ---- */

static void set_up(struct world *world, const void *data)
{
	world->directory = scratch_new();
	world->backup = scratch_new();
	world->path = g_build_filename(world->directory, STORE_FILE, NULL);
	edge_watch(world->directory);
	edge_skip_syncs(true);
}

static void tear_down(struct world *world, const void *data)
{
	edge_leave();
	rig_remove_files(world->directory);
	rig_remove_files(world->backup);
	g_rmdir(world->directory);
	g_rmdir(world->backup);
	g_free(world->directory);
	g_free(world->backup);
	g_free(world->path);
}

#define ADD(path, data, function) g_test_add(path, struct world, GUINT_TO_POINTER(data), set_up, function, tear_down)

int main(int argc, char **argv)
{
	int status;

	times = result_times(&argc, argv, 5, 20);
	results[0] = (struct result){ .fault = "an old backup of the store put back", .gaps = -1, .sums = true };
	results[1] = (struct result){ .fault = "files of the store replaced or removed while the agent runs", .gaps = -1,
	                              .sums = true };
	g_test_init(&argc, &argv, NULL);
	ADD("/backup/while-the-agent-is-away", 0, test_at_rest);
	ADD("/backup/while-it-is-away-beside-a-newer-wal", 0, test_at_rest_beside_a_wal);
	ADD("/backup/in-use/replaced", REPLACE, test_deed);
	ADD("/backup/in-use/overwritten", OVERWRITE, test_deed);
	ADD("/backup/in-use/removed", REMOVE, test_deed);
	ADD("/backup/in-use/wal-removed", REMOVE_WAL, test_deed);
	ADD("/backup/in-use/shm-removed", REMOVE_SHM, test_deed);
	ADD("/backup/in-use/moved-away", MOVE_AWAY, test_deed);
	ADD("/backup/in-use/replaced-with-its-wal", REPLACE_ALL, test_deed);
	status = g_test_run();
	result_write("backup", results, G_N_ELEMENTS(results));
	return status;
}

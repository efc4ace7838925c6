/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The store by its headers, and by SQL past it: what is committed is read back, what fails leaves nothing, one
 * process writes, anybody may read, and the audit finds whatever was changed behind its back.
 */
#include "store_world.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- commit and load ---- */

static void assert_meters_equal(const struct meter *a, const struct meter *b)
{
	g_assert_cmpint(a->id, ==, b->id);
	g_assert_cmpint(meter_key_compare(&a->key, &b->key), ==, 0);
	g_assert_true(a->key.class_name == b->key.class_name);
	g_assert_cmpuint(a->fixed, ==, b->fixed);
	g_assert_cmpuint(a->flags, ==, b->flags);
	g_assert_cmpmem(&a->first_at, sizeof a->first_at, &b->first_at, sizeof b->first_at);
	g_assert_cmpmem(&a->first, sizeof a->first, &b->first, sizeof b->first);
	g_assert_cmpmem(&a->last_at, sizeof a->last_at, &b->last_at, sizeof b->last_at);
	g_assert_cmpmem(&a->last, sizeof a->last, &b->last, sizeof b->last);
	g_assert_cmpint(a->closed_us, ==, b->closed_us);
	g_assert_cmpstr(a->of->tag, ==, b->of->tag);
	g_assert_cmpstr(a->of->boot, ==, b->of->boot);
	g_assert_cmpstr(a->of->node, ==, b->of->node);
	g_assert_cmpstr(a->of->ns, ==, b->of->ns);
	g_assert_cmpstr(a->of->router, ==, b->of->router);
	g_assert_cmpint(a->of->basis, ==, b->of->basis);
	g_assert_cmpmem(&a->of->made_at, sizeof a->of->made_at, &b->of->made_at, sizeof b->of->made_at);
	g_assert_cmpmem(&a->of->read_at, sizeof a->of->read_at, &b->of->read_at, sizeof b->of->read_at);
}

static void load(struct world *world, struct ledger_state *state)
{
	g_autoptr(GError) error = NULL;

	g_assert_true(store_load(world->store, state, &error));
	g_assert_no_error(error);
}

static void test_round_trip(struct world *world, const void *data)
{
	struct ledger_state state;
	struct batch *batch;
	struct meter *meter;

	world_open_silently(world);
	world->of->basis = BASIS_WIRE_SENT;
	world_begin(world, 3);
	world_sample(world);
	meter = world->open->pdata[1];
	meter->flags = FLAG_GAP | FLAG_RESET;
	batch = batch_new();
	g_ptr_array_add(batch->meters, meter_copy(meter));
	meter = meter_copy(world->open->pdata[2]);
	meter->closed_us = world->now.utc_us;
	g_ptr_array_add(batch->meters, meter);
	g_ptr_array_add(batch->coverage, world_new_coverage(world, 0, STATE_METERED));
	g_ptr_array_add(batch->coverage, world_new_coverage(world, FIP, STATE_GAP));
	g_ptr_array_add(batch->coverage, world_new_coverage(world, 0, STATE_STANDBY));
	world_commit(world, batch);
	world_close(world);

	world_open_silently(world);
	load(world, &state);
	g_assert_cmpuint(state.meters->len, ==, 2);
	assert_meters_equal(state.meters->pdata[0], world->open->pdata[0]);
	assert_meters_equal(state.meters->pdata[1], world->open->pdata[1]);
	g_assert_true(((struct meter *)state.meters->pdata[0])->of == ((struct meter *)state.meters->pdata[1])->of);
	g_assert_cmpint(state.next_meter, ==, 4);
	g_assert_cmpint(state.next_coverage, ==, 4);
	g_assert_cmpuint(state.coverage->len, ==, 2);
	for (unsigned i = 0; i < 2; i++) {
		const struct coverage *row = state.coverage->pdata[i];

		g_assert_cmpint(row->seq, ==, row->address ? 2 : 3);
		g_assert_cmpint(row->state, ==, row->address ? STATE_GAP : STATE_STANDBY);
		g_assert_cmpint(row->end_us - row->start_us, ==, MINUTE);
		g_assert_cmpstr(row->reason, ==, "why");
	}
	ledger_state_clear(&state);
	world_assert_clean(world);
	world_assert(world, "SELECT g.basis, out_point, m.basis FROM generation g JOIN meters m ON m.generation = g.tag LIMIT 1",
	             "wire|egress|wire-sent");
	world_assert(world, "SELECT DISTINCT basis FROM usage", "wire-sent");
}

/* A meter that did not move is not written; its generation says how far it was read. */
static void test_read_without_traffic(struct world *world, const void *data)
{
	struct ledger_state state;
	struct batch *batch = batch_new();

	world_open_silently(world);
	world_begin(world, 1);
	world_tick(world);
	world->of->read_at = world->now;
	g_ptr_array_add(batch->generations, generation_ref(world->of));
	world_commit(world, batch);
	load(world, &state);
	g_assert_cmpint(((struct meter *)state.meters->pdata[0])->last_at.utc_us, ==, world->now.utc_us);
	g_assert_cmpint(((struct meter *)state.meters->pdata[0])->first_at.utc_us, ==, NOON);
	ledger_state_clear(&state);
}

static void test_moved_end(struct world *world, const void *data)
{
	struct batch *batch = batch_new();
	struct coverage *row = world_new_coverage(world, 0, STATE_METERED);

	world_open_silently(world);
	g_ptr_array_add(batch->coverage, row);
	world_commit(world, batch);
	batch = batch_new();
	row = world_new_coverage(world, 0, STATE_METERED);
	row->seq = 1;
	row->end_us = NOON + 7 * MINUTE;
	g_ptr_array_add(batch->coverage, row);
	world_commit(world, batch);
	world_assert(world, "SELECT count(*), max(\"end\") - min(start), state, address, reason FROM coverage",
	             "1|420000000|metered||why");
}

static void test_seq_over_reopening(struct world *world, const void *data)
{
	world_open_silently(world);
	world_begin(world, 2);
	for (unsigned i = 0; i < 3; i++) {
		world_sample(world);
		world_close(world);
		world_open_silently(world);
	}
	world_assert(world, "SELECT group_concat(seq), count(DISTINCT store) FROM (SELECT * FROM usage ORDER BY seq)",
	             "1,2,3,4,5,6|1");
	world_assert_clean(world);
}

static void test_views(struct world *world, const void *data)
{
	struct batch *batch = batch_new();
	g_autoptr(GString) flags = g_string_new(NULL);
	g_autofree char *expected = NULL;

	world_open_silently(world);
	world_begin(world, 1);
	world_tick(world);
	world_count(world, batch, world->open->pdata[0], (struct counts){ 1, 2, 3, 4 }, FLAG_ALL);
	world_commit(world, batch);
	for (unsigned flag = 1; flag < FLAG_ALL; flag <<= 1)
		g_string_append_printf(flags, "%s%s", flags->len ? " " : "", flag_name((enum flag)flag));
	expected = g_strdup_printf("1|node|one|floating|198.51.100.101|10.0.1.11|internet|%" G_GINT64_FORMAT "|%"
	                           G_GINT64_FORMAT "|1|2|3|4|skb|%s|1|1|2|3|4", NOON, NOON + MINUTE, flags->str);
	world_assert(world, "SELECT seq, node, router, kind, address, fixed, class, start, \"end\", in_bytes, "
	             "in_packets, out_bytes, out_packets, basis, flags, meter, end_in_bytes, end_in_packets, end_out_bytes, "
	             "end_out_packets FROM usage", expected);
	world_assert(world, "SELECT group_concat(name, ' ') FROM pragma_table_info('usage')",
	             "store seq node router kind address fixed class start end in_bytes in_packets out_bytes "
	             "out_packets basis flags meter end_in_bytes end_in_packets end_out_bytes end_out_packets");
	world_assert(world, "SELECT length(store) FROM usage WHERE store = (SELECT id FROM store)", "32");
	world_assert(world, "SELECT meter, node, router, kind, address, class, first_in_bytes, last_in_bytes, closed "
	             "FROM meters", "1|node|one|floating|198.51.100.101|internet|0|1|0");
}

/* ---- commits that fail ---- */

static void assert_refused(struct world *world, struct batch *batch, const char *message)
{
	static const char state[] = "SELECT (SELECT count(*) FROM usage), (SELECT count(*) FROM meter), "
	                            "(SELECT sum(last_in_bytes) FROM meter), commits FROM store";
	g_autofree char *before = world_ask(world, state);
	g_autoptr(GError) error = NULL;

	g_assert_false(store_commit(world->store, batch, &error));
	g_assert_error(error, STORE_ERROR, STORE_ERROR_FAILED);
	if (!strstr(error->message, message))
		g_error("'%s' is not in '%s'", message, error->message);
	batch_free(batch);
	world_assert(world, state, before);
}

/* Each batch has something good in front, which must be gone with the rest. */
static struct batch *batch_with_row(struct world *world)
{
	struct batch *batch = batch_new();
	struct meter *meter = meter_copy(world->open->pdata[0]);

	world_count(world, batch, meter, (struct counts){ 7, 7, 7, 7 }, 0);
	meter_free(meter);
	return batch;
}

static void test_refusals(struct world *world, const void *data)
{
	struct generation *stranger = generation_new("ffff", "boot", "node", "qrouter-two", "two", BASIS_SKB);
	struct batch *batch;
	struct meter *meter;
	struct usage row;

	world_open_silently(world);
	world_begin(world, 2);
	world_sample(world);

	batch = batch_with_row(world);
	row = g_array_index(batch->usage, struct usage, 0);
	row.meter = 99;
	g_array_append_val(batch->usage, row);
	assert_refused(world, batch, "FOREIGN KEY");

	batch = batch_with_row(world);
	g_array_index(batch->usage, struct usage, 0).counts.in_bytes = UINT64_C(1) << 63;
	assert_refused(world, batch, "meter 1: ");

	batch = batch_with_row(world);
	((struct meter *)batch->meters->pdata[0])->last.out_packets = UINT64_MAX;
	assert_refused(world, batch, "9223372036854775807");

	batch = batch_with_row(world);
	g_ptr_array_add(batch->meters, meter_copy(world->open->pdata[1]));
	((struct meter *)batch->meters->pdata[1])->key.address = 1;
	assert_refused(world, batch, "meter 2 is another one there");

	batch = batch_with_row(world);
	meter = meter_copy(world->open->pdata[1]);
	meter->id = 3;
	g_ptr_array_add(batch->meters, meter);
	assert_refused(world, batch, "UNIQUE");

	batch = batch_with_row(world);
	meter = meter_copy(world->open->pdata[1]);
	generation_unref(meter->of);
	meter->of = stranger;
	g_ptr_array_add(batch->meters, meter);
	assert_refused(world, batch, "generation ffff of namespace qrouter-two is not in it");

	world_sample(world);
	world_assert_clean(world);
	world_assert(world, "SELECT group_concat(seq) FROM (SELECT * FROM usage ORDER BY seq)", "1,2,3,4");
}

static void test_closed_stays_closed(struct world *world, const void *data)
{
	struct batch *batch = batch_new();
	struct meter *meter;

	world_open_silently(world);
	world_begin(world, 1);
	meter = meter_copy(world->open->pdata[0]);
	meter->closed_us = world->now.utc_us;
	g_ptr_array_add(batch->meters, meter);
	world_commit(world, batch);
	assert_refused(world, batch_with_row(world), "has ended");

	/* Its key is free for another meter. */
	batch = batch_new();
	g_ptr_array_add(batch->meters, world_new_meter(world, FIP, "internet"));
	world_commit(world, batch);
	world_assert(world, "SELECT count(*), sum(closed = 0) FROM meters", "2|1");
}

/* ---- processes ---- */

static void test_second_writer(struct world *world, const void *data)
{
	int tell[2], wait_for[2], status;
	char pid_text[24], byte;
	g_autoptr(GError) error = NULL;
	char *notice = NULL;
	pid_t pid;

	g_assert_no_errno(pipe(tell) | pipe(wait_for));
	pid = fork();
	if (!pid) {
		struct store *store = store_open(world->directory, &notice, NULL);

		if (write(tell[1], "x", 1) != 1 || read(wait_for[0], &byte, 1) != 1)
			_exit(2);
		store_close(store);
		_exit(store ? 0 : 1);
	}
	g_assert_cmpint(read(tell[0], &byte, 1), ==, 1);
	g_assert_null(store_open(world->directory, &notice, &error));
	g_assert_error(error, STORE_ERROR, STORE_ERROR_BUSY);
	g_snprintf(pid_text, sizeof pid_text, "pid %d", pid);
	g_assert_nonnull(strstr(error->message, pid_text));
	g_assert_null(notice);
	g_assert_cmpint(write(wait_for[1], "x", 1), ==, 1);
	g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
	g_assert_cmpint(status, ==, 0);
	world_open_silently(world);
	for (unsigned i = 0; i < 2; i++) {
		close(tell[i]);
		close(wait_for[i]);
	}
}

static void count_row(const struct report_line *row, void *data)
{
	++*(unsigned *)data;
}

static unsigned count_rows(struct store *store, const struct usage_filter *filter)
{
	g_autoptr(GError) error = NULL;
	unsigned n = 0;

	g_assert_true(store_each_usage(store, filter, count_row, &n, &error));
	g_assert_no_error(error);
	return n;
}

struct during {
	struct world *world;
	unsigned rows;
};

static void sample_at_first_row(const struct report_line *row, void *data)
{
	struct during *during = data;

	if (!during->rows++)
		world_sample(during->world);
}

/* A reader sees one state, whatever is committed meanwhile, and hinders no commit. */
static void test_reader_during_write(struct world *world, const void *data)
{
	struct usage_filter all = { .until_us = INT64_MAX };
	struct during during = { .world = world };
	g_autoptr(GError) error = NULL;
	struct store *reader;

	world_open_silently(world);
	world_begin(world, 3);
	world_sample(world);
	reader = store_open_reader(world->directory, &error);
	g_assert_no_error(error);
	g_assert_true(store_each_usage(reader, &all, sample_at_first_row, &during, &error));
	g_assert_no_error(error);
	g_assert_cmpuint(during.rows, ==, 3);
	g_assert_cmpuint(count_rows(reader, &all), ==, 6);
	world_close(world);
	g_assert_cmpuint(count_rows(reader, &all), ==, 6);
	store_close(reader);
	world_open_silently(world);
	g_assert_cmpuint(count_rows(world->store, &all), ==, 6);
}

static void test_reader_cannot_write(struct world *world, const void *data)
{
	g_autoptr(GError) error = NULL;
	struct store *reader;
	struct batch *batch;

	world_open_silently(world);
	world_begin(world, 1);
	world_close(world);
	reader = store_open_reader(world->directory, &error);
	g_assert_no_error(error);
	batch = batch_with_row(world);
	g_assert_false(store_commit(reader, batch, &error));
	g_assert_error(error, STORE_ERROR, STORE_ERROR_FAILED);
	batch_free(batch);
	store_close(reader);
}

static void test_missing(struct world *world, const void *data)
{
	g_autofree char *path = world_path(world, STORE_FILE), *below = world_path(world, "none");
	g_autoptr(GError) error = NULL;

	g_assert_null(store_open_reader(world->directory, &error));
	g_assert_error(error, STORE_ERROR, STORE_ERROR_MISSING);
	g_clear_error(&error);
	g_assert_null(store_open_reader(below, &error));
	g_assert_error(error, STORE_ERROR, STORE_ERROR_MISSING);
	g_clear_error(&error);
	g_assert_true(g_file_set_contents(path, "", 0, NULL));
	g_assert_null(store_open_reader(world->directory, &error));
	g_assert_error(error, STORE_ERROR, STORE_ERROR_MISSING);
}

static void test_held_by_stranger(struct world *world, const void *data)
{
	g_autofree char *path = world_path(world, STORE_FILE);
	g_autoptr(GError) error = NULL;
	struct batch *batch;
	sqlite3 *db;

	world_open_silently(world);
	world_begin(world, 1);
	g_assert_cmpint(sqlite3_open(path, &db), ==, SQLITE_OK);
	g_assert_cmpint(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), ==, SQLITE_OK);
	batch = batch_with_row(world);
	g_assert_false(store_commit(world->store, batch, &error));
	g_assert_error(error, STORE_ERROR, STORE_ERROR_BUSY);
	batch_free(batch);
	sqlite3_close(db);
	world_sample(world);
	world_assert_clean(world);
}

/* The WAL is checkpointed as it grows, and empty after the end; it stays for those who may only read. */
static void test_wal(struct world *world, const void *data)
{
	g_autofree char *wal = world_path(world, STORE_FILE "-wal"), *shm = world_path(world, STORE_FILE "-shm");
	GStatBuf file;

	world_open_silently(world);
	world_begin(world, 200);
	for (unsigned i = 0; i < 200; i++)
		world_sample(world);
	g_assert_no_errno(g_stat(wal, &file));
	g_assert_cmpint(file.st_size, >, 0);
	g_assert_cmpint(file.st_size, <, 8 << 20);
	world_close(world);
	g_assert_no_errno(g_stat(wal, &file));
	g_assert_cmpint(file.st_size, ==, 0);
	g_assert_cmpint(file.st_mode & 0777, ==, 0640);
	g_assert_true(g_file_test(shm, G_FILE_TEST_EXISTS));
}

/* ---- questions ---- */

struct seen {
	GString *text;
	int64_t last_us;
};

static void note_row(const struct report_line *row, void *data)
{
	struct seen *seen = data;

	g_assert_cmpint(row->start_us, >=, seen->last_us);
	seen->last_us = row->start_us;
	g_assert_cmpint(row->kind, ==, KIND_FLOATING);
	g_assert_cmpint(row->basis, ==, BASIS_SKB);
	g_assert_cmpuint(row->fixed, ==, FIXED);
	g_string_append_printf(seen->text, "%s%d:%u:%s", seen->text->len ? " " : "",
	                       (int)((row->start_us - NOON) / MINUTE), row->address - FIP, row->class_name);
}

static void assert_rows(struct world *world, struct usage_filter filter, const char *expected)
{
	struct seen seen = { .text = g_string_new(NULL), .last_us = INT64_MIN };
	g_autoptr(GError) error = NULL;

	if (!filter.until_us)
		filter.until_us = INT64_MAX;
	g_assert_true(store_each_usage(world->store, &filter, note_row, &seen, &error));
	g_assert_no_error(error);
	g_assert_cmpstr(seen.text->str, ==, expected);
	g_string_free(seen.text, TRUE);
}

static void test_filter(struct world *world, const void *data)
{
	struct batch *batch = batch_new();

	world_open_silently(world);
	world_begin(world, 2);
	g_ptr_array_add(world->open, world_new_meter(world, FIP, "cloud"));
	g_ptr_array_add(batch->meters, meter_copy(world->open->pdata[2]));
	world_commit(world, batch);
	world_sample(world);
	world_sample(world);

	assert_rows(world, (struct usage_filter){ 0 },
	            "0:0:internet 0:1:internet 0:0:cloud 1:0:internet 1:1:internet 1:0:cloud");
	assert_rows(world, (struct usage_filter){ .until_us = NOON + MINUTE },
	            "0:0:internet 0:1:internet 0:0:cloud");
	assert_rows(world, (struct usage_filter){ .since_us = NOON + MINUTE },
	            "1:0:internet 1:1:internet 1:0:cloud");
	assert_rows(world, (struct usage_filter){ .since_us = NOON + 1, .until_us = NOON + MINUTE }, "");
	assert_rows(world, (struct usage_filter){ .address = FIP + 1 }, "0:1:internet 1:1:internet");
	assert_rows(world, (struct usage_filter){ .address = FIP }, "0:0:internet 0:0:cloud 1:0:internet 1:0:cloud");
	assert_rows(world, (struct usage_filter){ .class_name = "cloud" }, "0:0:cloud 1:0:cloud");
	assert_rows(world, (struct usage_filter){ .address = FIP, .class_name = "cloud", .since_us = NOON + MINUTE },
	            "1:0:cloud");
	assert_rows(world, (struct usage_filter){ .router = "one", .class_name = "cloud" }, "0:0:cloud 1:0:cloud");
	assert_rows(world, (struct usage_filter){ .router = "two" }, "");
	assert_rows(world, (struct usage_filter){ .router = "two", .address = FIP }, "");
}

static void test_known(struct world *world, const void *data)
{
	struct batch *batch = batch_new();
	bool known;

	world_open_silently(world);
	world_begin(world, 1);
	g_ptr_array_add(batch->coverage, world_new_coverage(world, FIP + 7, STATE_GAP));
	g_free(((struct coverage *)batch->coverage->pdata[0])->router);
	((struct coverage *)batch->coverage->pdata[0])->router = g_strdup("two");
	world_commit(world, batch);
	g_assert_true(store_knows_address(world->store, FIP, &known, NULL) && known);
	g_assert_true(store_knows_address(world->store, FIP + 7, &known, NULL) && known);
	g_assert_true(store_knows_address(world->store, FIP + 1, &known, NULL) && !known);
	g_assert_true(store_knows_router(world->store, "one", &known, NULL) && known);
	g_assert_true(store_knows_router(world->store, "two", &known, NULL) && known);
	g_assert_true(store_knows_router(world->store, "three", &known, NULL) && !known);
}

/* ---- the audit ---- */

static const struct {
	const char *plant, *found;
} planted[] = {
	{ "UPDATE usage_fact SET in_bytes = in_bytes + 1 WHERE seq = 3", "rows sum to in_bytes 2001, expected" },
	{ "UPDATE usage_fact SET in_bytes = in_bytes + 1 WHERE seq = 3",
	  "seq 3: it begins at a reading of in_bytes 999" },
	{ "UPDATE usage_fact SET out_packets = 0 WHERE seq = 4", "rows sum to out_packets 5, expected" },
	{ "UPDATE usage_fact SET end_in_packets = 77 WHERE seq = 3",
	  "end at a reading of in_packets 77, expected 20" },
	{ "UPDATE usage_fact SET meter = 1 WHERE seq = 2",
	  "meter 2 (floating 198.51.100.102, internet, router one)" },
	{ "DELETE FROM usage_fact WHERE seq = 2", "seq 1 is followed by 3, expected 2" },
	{ "DELETE FROM usage_fact WHERE seq = 4", "its rows end at seq 3, expected 4" },
	{ "UPDATE usage_fact SET seq = 9 WHERE seq = 4", "seq 3 is followed by 9, expected 4" },
	{ "UPDATE meter SET last_out_bytes = 1001 WHERE meter = 1",
	  "rows sum to out_bytes 1000, expected last - first = 1001 - 0" },
	{ "UPDATE meter SET first_in_bytes = 1 WHERE meter = 1",
	  "seq 1: it begins at a reading of in_bytes 0, expected 1" },
	{ "UPDATE meter SET last_in_bytes = 1 WHERE meter = 3",
	  "rows sum to in_bytes 0, expected last - first = 1 - 0" },
	{ "DELETE FROM meter WHERE meter = 2", "its meter 2 is not in the store" },
	{ "DELETE FROM generation", "its generation is not in the store" },
	{ "DELETE FROM store", "it has rows, but is not in table store" },
	{ "UPDATE usage_fact SET end_us = start_us - 1 WHERE seq = 1", "before its start" },
	{ "UPDATE usage_fact SET in_bytes = 'many' WHERE seq = 1", "in_bytes is no integer: many" },
	{ "UPDATE usage_fact SET in_bytes = 9223372036854775807 WHERE seq < 4", "more than 64 bits hold" },
	{ "UPDATE coverage_fact SET end_us = 5", "coverage 1 of node router one: it ends at 5, before its start" },
	{ "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = "
	  "'CREATE INDEX usage_by_start ON usage_fact (end_us, store, seq, meter)' WHERE name = 'usage_by_start'", "SQLite: row 1 missing from index usage_by_start" },
};

static void test_audit(struct world *world, const void *data)
{
	g_autofree char *plant = g_strconcat("PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF;",
	                                     planted[GPOINTER_TO_UINT(data)].plant, NULL);
	g_autofree char *findings = NULL;
	g_autoptr(GError) error = NULL;
	struct batch *batch = batch_new();
	struct store *reader;

	world_open_silently(world);
	world_begin(world, 2);
	world_sample(world);
	world_sample(world);
	g_ptr_array_add(batch->coverage, world_new_coverage(world, 0, STATE_METERED));
	g_ptr_array_add(batch->meters, world_new_meter(world, FIP + 9, "internet"));
	world_commit(world, batch);
	world_assert_clean(world);
	world_close(world);
	world_sql(world, plant);
	/* Without a store id it cannot be opened: the audit is of what could be. */
	if (strstr(plant, "FROM store"))
		world_sql(world, "INSERT INTO store SELECT 2, hex(randomblob(16)), 0, '', '', 0, 0, 0");
	reader = store_open_reader(world->directory, &error);
	g_assert_no_error(error);
	findings = world_findings(reader);
	if (!strstr(findings, planted[GPOINTER_TO_UINT(data)].found))
		g_error("'%s' is not in:\n%s", planted[GPOINTER_TO_UINT(data)].found, findings);
	store_close(reader);
}

static void test_audit_counts(struct world *world, const void *data)
{
	struct batch *batch = batch_new();
	struct coverage *row;
	struct audit audit;

	world_open_silently(world);
	world_begin(world, 2);
	world_sample(world);
	g_ptr_array_add(batch->coverage, world_new_coverage(world, 0, STATE_METERED));
	row = world_new_coverage(world, 0, STATE_GAP);
	row->start_us += MINUTE / 2;
	g_ptr_array_add(batch->coverage, row);
	world_commit(world, batch);
	g_assert_true(store_audit(world->store, &audit, NULL));
	g_assert_cmpuint(audit.stores, ==, 1);
	g_assert_cmpuint(audit.meters, ==, 2);
	g_assert_cmpuint(audit.open_meters, ==, 2);
	g_assert_cmpuint(audit.rows, ==, 2);
	g_assert_cmpuint(audit.coverage, ==, 2);
	g_assert_cmpuint(audit.bytes, ==, 3000);
	g_assert_cmpuint(audit.packets, ==, 30);
	g_assert_cmpuint(audit.findings.n, ==, 0);
	g_assert_cmpuint(audit.remarks.n, ==, 1);
	audit_clear(&audit);
	/* The audit holds no transaction open. */
	world_sample(world);
}

static void test_audit_is_bounded(struct world *world, const void *data)
{
	struct audit audit;

	world_open_silently(world);
	world_begin(world, 300);
	world_sample(world);
	world_sql(world, "UPDATE usage_fact SET in_bytes = in_bytes - 1");
	g_assert_true(store_audit(world->store, &audit, NULL));
	g_assert_cmpuint(audit.findings.n, ==, 600);
	g_assert_cmpuint(audit.findings.texts->len, ==, AUDIT_TOLD_MAX);
	audit_clear(&audit);
}

/* After a step of the clock rows are in no order of time, and sound nevertheless. */
static void test_audit_after_clock_step(struct world *world, const void *data)
{
	world_open_silently(world);
	world_begin(world, 2);
	world_sample(world);
	world->now.utc_us -= 60 * MINUTE;
	for (unsigned i = 0; i < 2; i++)
		((struct meter *)world->open->pdata[i])->last_at = world->now;
	world_sample(world);
	world_assert_clean(world);
	world_assert(world, "SELECT group_concat(seq) FROM (SELECT seq FROM usage ORDER BY start)", "3,4,1,2");
}

static void test_select_of_the_auditor(struct world *world, const void *data)
{
	static const char select[] =
		"SELECT count(*) FROM (SELECT m.meter FROM meters m LEFT JOIN usage u ON u.meter = m.meter "
		"GROUP BY m.meter HAVING ifnull(sum(u.in_bytes), 0) <> m.last_in_bytes - m.first_in_bytes "
		"OR ifnull(sum(u.out_packets), 0) <> m.last_out_packets - m.first_out_packets)";

	world_open_silently(world);
	world_begin(world, 3);
	world_sample(world);
	world_sample(world);
	world_assert(world, select, "0");
	world_sql(world, "UPDATE usage_fact SET out_packets = out_packets - 1 WHERE seq = 2");
	world_assert(world, select, "1");
}

#define ADD(path, function) g_test_add(path, struct world, NULL, world_set_up, function, world_tear_down)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD("/store/commit/round-trip", test_round_trip);
	ADD("/store/commit/read-without-traffic", test_read_without_traffic);
	ADD("/store/commit/moved-end", test_moved_end);
	ADD("/store/commit/seq-over-reopening", test_seq_over_reopening);
	ADD("/store/commit/views", test_views);
	ADD("/store/commit/refusals", test_refusals);
	ADD("/store/commit/closed-stays-closed", test_closed_stays_closed);
	ADD("/store/processes/second-writer", test_second_writer);
	ADD("/store/processes/reader-during-write", test_reader_during_write);
	ADD("/store/processes/reader-cannot-write", test_reader_cannot_write);
	ADD("/store/processes/missing", test_missing);
	ADD("/store/processes/held-by-stranger", test_held_by_stranger);
	ADD("/store/processes/wal", test_wal);
	ADD("/store/query/filter", test_filter);
	ADD("/store/query/known", test_known);
	for (unsigned i = 0; i < G_N_ELEMENTS(planted); i++) {
		g_autofree char *path = g_strdup_printf("/store/audit/planted/%u", i);

		g_test_add(path, struct world, GUINT_TO_POINTER(i), world_set_up, test_audit, world_tear_down);
	}
	ADD("/store/audit/counts", test_audit_counts);
	ADD("/store/audit/bounded", test_audit_is_bounded);
	ADD("/store/audit/after-clock-step", test_audit_after_clock_step);
	ADD("/store/audit/by-hand", test_select_of_the_auditor);
	return g_test_run();
}

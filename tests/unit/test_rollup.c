/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tests of the store in the long run: sums of hours and days, what goes when its time is over, and files of older formats.
 */
#include "old_format.h"
#include "store_world.h"

#include <signal.h>
#include <sys/resource.h>

#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define FOREVER (10000 * DAY)

struct total {
	struct counts counts;
	uint64_t rows;
};

static void add(const struct report_line *row, void *data)
{
	struct total *total = data;

	counts_add(&total->counts, &row->counts);
	total->rows++;
}

static struct total ask(const struct world *world, enum period per, uint32_t address, int64_t since_us, int64_t until_us)
{
	struct usage_filter filter = { .since_us = since_us, .until_us = until_us, .address = address, .per = per };
	g_autoptr(GError) error = NULL;
	struct total total = { 0 };

	g_assert_true(store_each_usage(world->store, &filter, add, &total, &error));
	g_assert_no_error(error);
	return total;
}

static struct store_keep keep_for(int64_t rows_us, int64_t hours_us)
{
	return (struct store_keep){ .timezone = g_time_zone_new_identifier("Europe/Berlin"), .rows_us = rows_us,
	                            .hours_us = hours_us };
}

/* All that is to do now; returns in how many steps. */
static unsigned tend(struct world *world, struct store_keep keep, int64_t now_us)
{
	g_autoptr(GTimeZone) timezone = keep.timezone;
	g_autoptr(GError) error = NULL;
	unsigned steps = 0;
	bool more = true;

	for (; more; steps++) {
		g_assert_true(store_tend(world->store, &keep, now_us, &more, &error));
		g_assert_no_error(error);
		g_assert_cmpuint(steps, <, 10000);
	}
	return steps;
}

static void settle_timezone(struct world *world)
{
	g_autoptr(GTimeZone) timezone = g_time_zone_new_identifier("Europe/Berlin");
	g_autoptr(GError) error = NULL;

	g_assert_true(store_set_timezone(world->store, timezone, &error));
	g_assert_no_error(error);
}

/* Three addresses over days; rows of random length and size, some of them late by hours. */
static void fill(struct world *world, unsigned samples)
{
	world_open_silently(world);
	settle_timezone(world);
	world_begin(world, 3);
	for (unsigned i = 0; i < samples; i++) {
		struct batch *batch = batch_new();

		world->now.utc_us += g_test_rand_int_range(1, 40) * MINUTE + g_test_rand_int_range(0, 1000000);
		world->of->read_at = world->now;
		g_ptr_array_add(batch->generations, generation_ref(world->of));
		for (unsigned j = 0; j < world->open->len; j++)
			if (g_test_rand_int_range(0, 8)) /* else its next row begins so much earlier */
				world_count(world, batch, world->open->pdata[j],
				            (struct counts){ (guint32)g_test_rand_int(), g_test_rand_int_range(0, 100000), (guint32)g_test_rand_int(), 3 },
				            g_test_rand_int_range(0, FLAG_ALL + 1));
		world_commit(world, batch);
	}
}

static void test_sums_are_the_rows(struct world *world, const void *data)
{
	static const char differing[] =
		"SELECT count(*) FROM (SELECT s.start_us, s.meter FROM %s s LEFT JOIN usage_fact u ON u.meter = s.meter "
		"AND u.start_us >= s.start_us AND u.start_us < s.end_us GROUP BY s.start_us, s.meter HAVING "
		"sum(u.in_bytes) IS NOT s.in_bytes OR sum(u.in_packets) IS NOT s.in_packets OR "
		"sum(u.out_bytes) IS NOT s.out_bytes OR sum(u.out_packets) IS NOT s.out_packets OR "
		"count(*) <> s.usage_rows OR sum(u.end_us > s.end_us) <> s.crossing)";
	g_autofree char *hours = g_strdup_printf(differing, "hour_fact"), *days = g_strdup_printf(differing, "day_fact");

	fill(world, 400);
	world_assert_clean(world);
	tend(world, keep_for(FOREVER, FOREVER), world->now.utc_us);
	world_assert(world, "SELECT rolled_seq = last_seq AND last_seq > 1000 FROM rollup JOIN store USING (store)", "1");
	world_assert(world, hours, "0");
	world_assert(world, days, "0");
	world_assert(world, "SELECT sum(usage_rows) = (SELECT count(*) FROM usage_fact) FROM hour_fact", "1");
	world_assert(world, "SELECT sum(usage_rows) = (SELECT count(*) FROM usage_fact) FROM day_fact", "1");
	/* A day of Berlin in summer begins at 22:00 UTC. */
	world_assert(world, "SELECT min(time(start_us / 1000000, 'unixepoch')) FROM day_fact", "22:00:00");
	world_assert_clean(world);
}

/* Three days of Berlin, the second of which has 23 or 25 hours; a row begins every ten minutes. */
static const struct {
	int64_t start_us; /* midnight in Berlin */
	const char *days, *hours;
} changes[] = {
	{ INT64_C(1774652400000000), "24:144,23:138,24:144", "71|6|6|3600000000|3600000000" },
	{ INT64_C(1792792800000000), "24:144,25:150,24:144", "73|6|6|3600000000|3600000000" },
};

static void test_days_when_clocks_change(struct world *world, const void *data)
{
	unsigned i = GPOINTER_TO_UINT(data), rows = i ? 438 : 426;
	int64_t start_us = changes[i].start_us, changed_us = start_us + DAY, end_us = changed_us + (i ? 25 : 23) * HOUR;

	world->now.utc_us = start_us;
	world->of->made_at = world->of->read_at = world->now;
	world_open_silently(world);
	settle_timezone(world);
	world_begin(world, 1);
	for (unsigned row = 0; row < rows; row++) {
		world->now.utc_us += 9 * MINUTE;
		world_sample(world); /* a minute more */
	}
	for (unsigned round = 0; round < 2; round++) { /* with the rows, and when they are gone */
		tend(world, keep_for(round ? DAY : FOREVER, FOREVER), world->now.utc_us + round * 5 * DAY);
		world_assert(world, "SELECT group_concat(((end_us - start_us) / 3600000000) || ':' || usage_rows) FROM "
		             "(SELECT * FROM day_fact ORDER BY start_us)", changes[i].days);
		world_assert(world, "SELECT count(*), min(usage_rows), max(usage_rows), min(end_us - start_us), "
		             "max(end_us - start_us) FROM hour_fact", changes[i].hours);
		g_assert_cmpuint(ask(world, PERIOD_DAY, 0, changed_us, end_us).counts.in_packets, ==, i ? 1500 : 1380);
		g_assert_cmpuint(ask(world, PERIOD_HOUR, FIP, changed_us, end_us).rows, ==, i ? 25 : 23);
		g_assert_cmpuint(ask(world, PERIOD_TOTAL, 0, end_us, end_us + DAY).counts.in_packets, ==, 1440);
		world_assert_clean(world);
	}
	world_assert(world, "SELECT count(*) FROM usage_fact", "0");
}

/* Every question is answered the same, whether from rows, from sums, or from both. */
static void test_questions(struct world *world, const void *data)
{
	enum { QUESTIONS = 300 };
	struct { enum period per; uint32_t address; int64_t since_us, until_us; struct total total; } asked[QUESTIONS];

	fill(world, 500); /* some 7 days */
	for (unsigned i = 0; i < QUESTIONS; i++) {
		asked[i].per = (enum period)g_test_rand_int_range(PERIOD_INTERVAL, PERIOD_TOTAL + 1);
		asked[i].address = g_test_rand_bit() ? FIP + g_test_rand_int_range(0, 3) : 0;
		asked[i].since_us = NOON + g_test_rand_int_range(-2 * 1440, 4 * 1440) * MINUTE;
		asked[i].until_us = asked[i].since_us + g_test_rand_int_range(1, 7 * 1440) * MINUTE;
		asked[i].until_us = MIN(asked[i].until_us, NOON + 5 * DAY);
		asked[i].total = ask(world, asked[i].per, asked[i].address, asked[i].since_us, asked[i].until_us);
	}
	for (unsigned round = 0; round < 2; round++) {
		tend(world, keep_for(FOREVER, FOREVER), world->now.utc_us);
		for (unsigned i = 0; i < QUESTIONS; i++) {
			struct total again = ask(world, asked[i].per, asked[i].address, asked[i].since_us, asked[i].until_us);

			g_assert_cmpmem(&again.counts, sizeof again.counts, &asked[i].total.counts, sizeof again.counts);
			g_assert_cmpuint(again.rows, <=, asked[i].total.rows);
		}
		world_sample(world); /* far behind all questions: rows that are in no sum yet */
	}
}

static void note_end(const struct report_line *row, void *latest_us)
{
	*(int64_t *)latest_us = MAX(*(int64_t *)latest_us, row->end_us);
}

/* The day is not over and asked for up to now: its sum stands for no row that ends later. */
static void test_a_sum_ends_where_the_question_ends(struct world *world, const void *data)
{
	struct usage_filter filter = { .since_us = 0, .per = PERIOD_TOTAL };
	int64_t latest_us = 0;

	fill(world, 50);
	tend(world, keep_for(FOREVER, FOREVER), world->now.utc_us);
	filter.until_us = world->now.utc_us + MINUTE;
	world_assert(world, "SELECT count(*) > 0 FROM usage_fact, day_fact d WHERE d.end_us > usage_fact.end_us + 60000000", "1");
	g_assert_true(store_each_usage(world->store, &filter, note_end, &latest_us, NULL));
	g_assert_cmpint(latest_us, >, 0);
	g_assert_cmpint(latest_us, <=, filter.until_us);
	/* The same of one address, whose sums are asked for by a statement of their own. */
	filter.address = FIP;
	latest_us = 0;
	g_assert_true(store_each_usage(world->store, &filter, note_end, &latest_us, NULL));
	g_assert_cmpint(latest_us, >, 0);
	g_assert_cmpint(latest_us, <=, filter.until_us);
}

static void test_rows_go_when_their_time_is_over(struct world *world, const void *data)
{
	struct total before, day, after;
	int64_t now_us, old_us;

	fill(world, 600);
	now_us = world->now.utc_us;
	old_us = NOON + DAY;
	before = ask(world, PERIOD_TOTAL, 0, 0, now_us + 1);
	day = ask(world, PERIOD_HOUR, 0, old_us, old_us + HOUR);
	tend(world, keep_for(2 * DAY, FOREVER), now_us);
	world_assert(world, "SELECT min(seq) = dropped_seq + 1 AND dropped_seq > 100 FROM usage_fact, rollup", "1");
	world_assert(world, "SELECT min(start_us) >= rows_from_us - 3600000000 FROM usage_fact, kept", "1");
	world_assert_clean(world);
	after = ask(world, PERIOD_TOTAL, 0, 0, now_us + 1);
	g_assert_cmpmem(&after.counts, sizeof after.counts, &before.counts, sizeof before.counts);
	/* What was a minute is an hour now. */
	after = ask(world, PERIOD_INTERVAL, 0, old_us, old_us + HOUR);
	g_assert_cmpmem(&after.counts, sizeof after.counts, &day.counts, sizeof day.counts);
	/* And it is done once. */
	g_assert_cmpuint(tend(world, keep_for(2 * DAY, FOREVER), now_us), ==, 1);
}

static void test_hours_go_after_the_rows(struct world *world, const void *data)
{
	struct total before, after;
	int64_t now_us;

	fill(world, 900);
	now_us = world->now.utc_us;
	before = ask(world, PERIOD_DAY, FIP, 0, now_us + 1);
	tend(world, keep_for(2 * DAY, 4 * DAY), now_us);
	world_assert(world, "SELECT hours_from_us > 0 AND hours_from_us < rows_from_us FROM kept", "1");
	world_assert(world, "SELECT min(start_us) >= hours_from_us FROM hour_fact, kept", "1");
	world_assert(world, "SELECT min(start_us) < hours_from_us FROM day_fact, kept", "1");
	after = ask(world, PERIOD_DAY, FIP, 0, now_us + 1);
	g_assert_cmpmem(&after.counts, sizeof after.counts, &before.counts, sizeof before.counts);
	world_assert_clean(world);
	/* A row that comes late, of a time for which no hours are kept any more, is in its day. */
	((struct meter *)world->open->pdata[0])->last_at.utc_us = NOON;
	world_sample(world);
	tend(world, keep_for(2 * DAY, 4 * DAY), now_us + HOUR);
	after = ask(world, PERIOD_DAY, FIP, 0, now_us + DAY);
	g_assert_cmpuint(after.counts.in_bytes, ==, before.counts.in_bytes + 1000);
	world_assert_clean(world);
}

static void test_quota(struct world *world, const void *data)
{
	struct store_keep keep = keep_for(FOREVER, FOREVER);
	struct total before, after;
	int64_t now_us;

	fill(world, 3000);
	now_us = world->now.utc_us;
	before = ask(world, PERIOD_TOTAL, 0, 0, now_us + 1);
	keep.quota = 600000;
	tend(world, keep, now_us);
	g_assert_false(store_is_over_quota(world->store));
	world_assert(world, "SELECT rows_from_us > 0 AND hours_from_us = 0 FROM kept", "1");
	world_assert(world, "SELECT count(*) > 100 FROM usage_fact", "1");
	after = ask(world, PERIOD_TOTAL, 0, 0, now_us + 1);
	g_assert_cmpmem(&after.counts, sizeof after.counts, &before.counts, sizeof before.counts);
	/* Not even days fit: rows of the last hours stay, and it is said. */
	keep = keep_for(FOREVER, FOREVER);
	keep.quota = 10000;
	tend(world, keep, now_us);
	g_assert_true(store_is_over_quota(world->store));
	world_assert(world, "SELECT hours_from_us > 0 FROM kept", "1");
	after = ask(world, PERIOD_TOTAL, 0, 0, now_us + 1);
	g_assert_cmpmem(&after.counts, sizeof after.counts, &before.counts, sizeof before.counts);
	world_assert_clean(world);
}

static void test_clock_in_doubt(struct world *world, const void *data)
{
	struct store_keep keep = keep_for(2 * DAY, 4 * DAY);

	fill(world, 300);
	keep.clock_in_doubt = true;
	tend(world, keep, world->now.utc_us + 1000 * DAY);
	world_assert(world, "SELECT dropped_seq FROM rollup", "0");
	world_assert(world, "SELECT hours_from_us FROM kept", "0");
}

/* Killed before what was gathered is written: it is gathered again. */
static void test_killed_in_between(struct world *world, const void *data)
{
	g_autoptr(GTimeZone) timezone = g_time_zone_new_identifier("Europe/Berlin");
	const struct store_keep keep = { .timezone = timezone, .rows_us = FOREVER, .hours_us = FOREVER };
	bool more;

	fill(world, 50);
	for (unsigned i = 0; i < 20; i++) {
		world_sample(world);
		g_assert_true(store_tend(world->store, &keep, world->now.utc_us, &more, NULL));
		if (g_test_rand_bit()) {
			world_close(world);
			world_open_silently(world);
		}
		world_assert_clean(world);
	}
	tend(world, keep_for(FOREVER, FOREVER), world->now.utc_us + HOUR);
	world_assert(world, "SELECT sum(usage_rows) = (SELECT count(*) FROM usage_fact) FROM day_fact", "1");
	world_assert(world, "SELECT rolled_seq = last_seq FROM rollup JOIN store USING (store)", "1");
}

/* 20 times another process holds the write lock, or a snapshot, while the store is tended and written. */
static void test_readers_cost_nothing(struct world *world, const void *data)
{
	g_autofree char *path = NULL;
	struct total before;

	fill(world, 200);
	path = world_path(world, STORE_FILE);
	for (unsigned i = 0; i < 20; i++) {
		struct store_keep keep = keep_for(2 * DAY, 4 * DAY);
		g_autoptr(GTimeZone) timezone = keep.timezone;
		bool locked = i % 4 == 0, more;
		sqlite3 *other;

		before = ask(world, PERIOD_TOTAL, 0, 0, INT64_MAX / 2);
		g_assert_cmpint(sqlite3_open(path, &other), ==, SQLITE_OK);
		g_assert_cmpint(sqlite3_exec(other, locked ? "BEGIN IMMEDIATE" : "BEGIN; SELECT count(*) FROM usage_fact", NULL,
		                             NULL, NULL), ==, SQLITE_OK);
		if (locked) {
			g_autoptr(GError) error = NULL;
			struct batch *batch = batch_new();

			g_ptr_array_add(batch->coverage, world_new_coverage(world, 0, STATE_METERED));
			g_assert_false(store_commit(world->store, batch, &error));
			g_assert_error(error, STORE_ERROR, STORE_ERROR_BUSY);
			world->next_coverage--;
			batch_free(batch);
		} else {
			world_sample(world);
			before.counts.in_bytes += 3000;
		}
		world->now.utc_us += 3 * HOUR; /* so that there is something to sum and to drop */
		store_tend(world->store, &keep, world->now.utc_us, &more, NULL);
		sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL);
		sqlite3_close(other);
		g_assert_cmpuint(ask(world, PERIOD_TOTAL, 0, 0, INT64_MAX / 2).counts.in_bytes, ==, before.counts.in_bytes);
		world_assert_clean(world);
	}
}

/* ---- formats ---- */

#define SCHEMA "SELECT group_concat(name || sql, char(10)) FROM (SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name)"

/* The same file as the schemas up to that format make. */
static void assert_is_format(struct world *world, unsigned format)
{
	g_autofree char *stripped = world_ask(world, SCHEMA), *made = NULL;
	sqlite3 *db;
	sqlite3_stmt *statement;

	g_assert_cmpint(sqlite3_open(":memory:", &db), ==, SQLITE_OK);
	for (unsigned i = 0; i < format; i++)
		g_assert_cmpint(sqlite3_exec(db, schema_steps[i], NULL, NULL, NULL), ==, SQLITE_OK);
	g_assert_cmpint(sqlite3_prepare_v2(db, SCHEMA, -1, &statement, NULL), ==, SQLITE_OK);
	g_assert_cmpint(sqlite3_step(statement), ==, SQLITE_ROW);
	made = g_strdup((const char *)sqlite3_column_text(statement, 0));
	sqlite3_finalize(statement);
	sqlite3_close(db);
	g_assert_cmpstr(stripped, ==, made);
}

static void make_format_3(struct world *world)
{
	g_autofree char *statements = old_format_3();

	world_sql(world, statements);
	assert_is_format(world, 3);
}

static void make_format_2(struct world *world)
{
	make_format_3(world);
	world_sql(world, "DROP VIEW residue; DROP TABLE residue_fact; PRAGMA user_version = 2");
	assert_is_format(world, 2);
}

static void make_format_1(struct world *world)
{
	make_format_2(world);
	world_sql(world, "PRAGMA foreign_keys = OFF; DROP VIEW booked; DROP VIEW hour; DROP VIEW day; DROP TABLE hour_fact; "
	                 "DROP TABLE day_fact; DROP TABLE rollup; DROP TABLE kept; PRAGMA user_version = 1");
	assert_is_format(world, 1);
}

/* A file of each older format: who adds one adds how its predecessor looked. */
static void (*const make_format[])(struct world *world) = { make_format_1, make_format_2, make_format_3 };
G_STATIC_ASSERT(G_N_ELEMENTS(make_format) == SCHEMA_VERSION - 1);

static void test_from_older_format(struct world *world, const void *data)
{
	unsigned format = GPOINTER_TO_UINT(data);
	g_autofree char *notice = NULL, *fresh = NULL, *brought = NULL;
	g_autofree char *told = g_strdup_printf("from format %u to %d", format, SCHEMA_VERSION);
	g_autoptr(GError) error = NULL;
	struct total before, after;
	struct store *reader;

	fill(world, 100);
	before = ask(world, PERIOD_TOTAL, 0, 0, world->now.utc_us + 1);
	fresh = world_ask(world, SCHEMA);
	world_save(world);
	world_close(world);
	make_format[format - 1](world);
	reader = store_open_reader(world->directory, &error);
	g_assert_null(reader);
	g_assert_error(error, STORE_ERROR, STORE_ERROR_VERSION);
	g_assert_nonnull(strstr(error->message, "start this version's agent"));
	notice = world_open(world);
	g_assert_nonnull(strstr(notice, told));
	brought = world_ask(world, SCHEMA);
	g_assert_cmpstr(brought, ==, fresh);
	settle_timezone(world);
	tend(world, keep_for(FOREVER, FOREVER), world->now.utc_us);
	after = ask(world, PERIOD_TOTAL, 0, 0, world->now.utc_us + 1);
	g_assert_cmpmem(&after.counts, sizeof after.counts, &before.counts, sizeof before.counts);
	world_sample(world);
	world_assert_clean(world);
	world_close(world);
	world_open_silently(world);
}

/* No room for the new tables: the file stays what it was, and is brought up when there is room. */
static void test_no_room_for_a_new_format(struct world *world, const void *data)
{
	struct rlimit before, small = { 4096, RLIM_INFINITY };
	g_autofree char *notice = NULL, *version = NULL;
	g_autoptr(GError) error = NULL;
	struct total total;

	fill(world, 100);
	total = ask(world, PERIOD_TOTAL, 0, 0, world->now.utc_us + 1);
	world_save(world);
	world_close(world);
	make_format[GPOINTER_TO_UINT(data) - 1](world);
	g_assert_no_errno(getrlimit(RLIMIT_FSIZE, &before));
	small.rlim_max = before.rlim_max;
	signal(SIGXFSZ, SIG_IGN);
	g_assert_no_errno(setrlimit(RLIMIT_FSIZE, &small));
	g_assert_null(store_open(world->directory, &notice, &error));
	g_assert_no_errno(setrlimit(RLIMIT_FSIZE, &before));
	g_assert_error(error, STORE_ERROR, STORE_ERROR_FAILED);
	g_assert_null(notice);
	version = world_ask(world, "PRAGMA user_version");
	g_assert_cmpint(atoi(version), ==, GPOINTER_TO_UINT(data));
	notice = world_open(world);
	g_assert_nonnull(strstr(notice, "nothing of it is lost"));
	g_assert_cmpuint(ask(world, PERIOD_TOTAL, 0, 0, world->now.utc_us + 1).counts.in_bytes, ==, total.counts.in_bytes);
	world_assert_clean(world);
}

static void test_timezone_is_settled_once(struct world *world, const void *data)
{
	g_autoptr(GTimeZone) utc = g_time_zone_new_utc(), none = NULL, kept = NULL;
	g_autoptr(GError) error = NULL;

	world_open_silently(world);
	none = store_get_timezone(world->store);
	g_assert_null(none);
	settle_timezone(world);
	settle_timezone(world);
	kept = store_get_timezone(world->store);
	g_assert_cmpstr(g_time_zone_get_identifier(kept), ==, "Europe/Berlin");
	g_assert_false(store_set_timezone(world->store, utc, &error));
	g_assert_nonnull(strstr(error->message, "timezone = Europe/Berlin"));
}

/* What an audit finds in the sums. */
static const struct {
	const char *sql, *found;
} planted[] = {
	{ "UPDATE day_fact SET in_bytes = in_bytes + 1 WHERE start_us = (SELECT min(start_us) FROM day_fact)",
	  "its rows sum to in_bytes" },
	{ "UPDATE hour_fact SET out_bytes = out_bytes + 1 WHERE start_us = (SELECT min(start_us) FROM hour_fact)",
	  "its hours sum to out_bytes" },
	{ "DELETE FROM hour_fact WHERE start_us = (SELECT max(start_us) FROM hour_fact)", "its rows sum to in_bytes" },
	{ "DELETE FROM day_fact WHERE start_us = (SELECT max(start_us) FROM day_fact)", "its rows sum to in_bytes" },
	{ "UPDATE rollup SET rolled_seq = rolled_seq - 1", "its rows sum to in_bytes" },
	{ "UPDATE rollup SET rolled_seq = rolled_seq + 1", "are said to be in the sums" },
	{ "PRAGMA foreign_keys = OFF; UPDATE day_fact SET meter = 77 WHERE meter = 1", "its meter 77 is not in the store" },
	{ "UPDATE kept SET rows_from_us = 0", "its rows sum to in_bytes" },
	{ "DELETE FROM usage_fact WHERE seq = (SELECT min(seq) FROM usage_fact)", "is followed by" },
};

static void test_audit_finds(struct world *world, const void *data)
{
	unsigned i = GPOINTER_TO_UINT(data);
	g_autofree char *findings = NULL;

	fill(world, 600);
	tend(world, keep_for(2 * DAY, 4 * DAY), world->now.utc_us);
	world_assert_clean(world);
	world_sql(world, planted[i].sql);
	findings = world_findings(world->store);
	if (!strstr(findings, planted[i].found))
		g_error("'%s' is not in:\n%s", planted[i].found, findings);
}

#define ADD(path, function) g_test_add(path, struct world, NULL, world_set_up, function, world_tear_down)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD("/rollup/sums-are-the-rows", test_sums_are_the_rows);
	ADD("/rollup/questions", test_questions);
	ADD("/rollup/a_sum_ends_where_the_question_ends", test_a_sum_ends_where_the_question_ends);
	ADD("/rollup/rows-go", test_rows_go_when_their_time_is_over);
	ADD("/rollup/hours-go", test_hours_go_after_the_rows);
	ADD("/rollup/quota", test_quota);
	ADD("/rollup/clock-in-doubt", test_clock_in_doubt);
	ADD("/rollup/killed-in-between", test_killed_in_between);
	ADD("/rollup/readers-cost-nothing", test_readers_cost_nothing);
	for (unsigned i = 0; i < G_N_ELEMENTS(changes); i++)
		g_test_add(i ? "/rollup/day-of-25-hours" : "/rollup/day-of-23-hours", struct world, GUINT_TO_POINTER(i),
		           world_set_up, test_days_when_clocks_change, world_tear_down);
	for (unsigned format = 1; format < SCHEMA_VERSION; format++) {
		g_autofree char *brought = g_strdup_printf("/rollup/from-format/%u", format);
		g_autofree char *full = g_strdup_printf("/rollup/no-room-for-a-new-format/%u", format);

		g_test_add(brought, struct world, GUINT_TO_POINTER(format), world_set_up, test_from_older_format, world_tear_down);
		g_test_add(full, struct world, GUINT_TO_POINTER(format), world_set_up, test_no_room_for_a_new_format,
		           world_tear_down);
	}
	ADD("/rollup/timezone-is-settled-once", test_timezone_is_settled_once);
	for (unsigned i = 0; i < G_N_ELEMENTS(planted); i++) {
		g_autofree char *path = g_strdup_printf("/rollup/audit/%u", i);

		g_test_add(path, struct world, GUINT_TO_POINTER(i), world_set_up, test_audit_finds, world_tear_down);
	}
	return g_test_run();
}

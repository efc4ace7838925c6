/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A store in use that refuses what goes on from its own last commit: values have become others, and no check of SQLite's
 * knows that they were not written so.  It is found damaged, set aside, and counting goes on from memory.
 */
#include "store_world.h"

static void begin(struct world *world)
{
	g_autoptr(GTimeZone) utc = g_time_zone_new_utc();
	g_autoptr(GError) error = NULL;

	world_open_silently(world);
	g_assert_true(store_set_timezone(world->store, utc, &error));
	g_assert_no_error(error);
	world_begin(world, 2);
	world_sample(world);
	world_save(world);
}

static struct batch *next_batch(struct world *world)
{
	struct batch *batch = batch_new();
	struct meter *meter = meter_copy(world->open->pdata[0]);

	world_tick(world);
	world_count(world, batch, meter, (struct counts){ 1000, 10, 500, 5 }, 0);
	meter_free(meter);
	return batch;
}

static void assert_renewed(struct world *world, const char *why)
{
	struct ledger_state state = { 0 };
	g_autofree char *notice = NULL;
	g_autoptr(GError) error = NULL;

	g_assert_true(store_is_lost(world->store));
	g_assert_true(store_renew(world->store, world->open, &state, &notice, &error));
	g_assert_no_error(error);
	g_assert_nonnull(strstr(notice, why));
	g_assert_nonnull(strstr(notice, "set aside as usage.db.damaged-"));
	g_assert_cmpuint(state.meters->len, ==, world->open->len);
	g_ptr_array_unref(world->open);
	world->open = g_steal_pointer(&state.meters);
	ledger_state_clear(&state);
	world_sample(world);
	world_assert_clean(world);
	world_assert(world, "SELECT count(*), sum(in_bytes) FROM usage", "2|2000");
}

/* A batch that is wrong itself is refused as often as it comes; one that is sure is believed more than the file. */
static void test_a_sure_batch(struct world *world, const void *data)
{
	struct batch *batch;

	begin(world);
	world_sql(world, data);
	batch = next_batch(world);
	for (unsigned i = 0; i < 3; i++) {
		g_assert_false(store_commit(world->store, batch, NULL));
		g_assert_false(store_is_lost(world->store));
	}
	g_assert_false(store_commit_sure(world->store, batch, NULL));
	batch_free(batch);
	assert_renewed(world, "what was committed is not what is there");
}

/* What is refused for itself, or for somebody in the way, says nothing about the store. */
static void test_not_the_store(struct world *world, const void *data)
{
	g_autofree char *path = world_path(world, STORE_FILE);
	g_autoptr(GError) error = NULL;
	struct batch *batch;
	sqlite3 *other;

	begin(world);
	batch = next_batch(world);
	g_array_index(batch->usage, struct usage, 0).counts.in_bytes = 100000; /* more than the counter shows */
	g_assert_false(store_commit_sure(world->store, batch, &error));
	g_assert_nonnull(strstr(error->message, "CHECK"));
	g_clear_error(&error);
	g_array_index(batch->usage, struct usage, 0).counts.in_bytes = UINT64_C(1) << 63;
	g_assert_false(store_commit_sure(world->store, batch, &error));
	g_clear_error(&error);
	batch_free(batch);
	batch = next_batch(world);
	g_assert_cmpint(sqlite3_open(path, &other), ==, SQLITE_OK);
	g_assert_cmpint(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), ==, SQLITE_OK);
	g_assert_false(store_commit_sure(world->store, batch, &error));
	g_assert_error(error, STORE_ERROR, STORE_ERROR_BUSY);
	sqlite3_close(other);
	batch_free(batch);
	g_assert_false(store_is_lost(world->store));
	world_sample(world);
	world_assert_clean(world);
}

static bool tend(struct world *world)
{
	g_autoptr(GTimeZone) utc = g_time_zone_new_utc();
	struct store_keep keep = { .timezone = utc, .rows_us = 1440 * 35 * MINUTE, .hours_us = 1440 * 400 * MINUTE };
	bool more;

	world->now.utc_us += 61 * MINUTE;
	return store_tend(world->store, &keep, world->now.utc_us, &more, NULL);
}

/* Rows of a meter that is not there can be in no sum: the second time that is found it is no mistake of the cache. */
static void test_sums(struct world *world, const void *data)
{
	begin(world);
	world_sql(world, "UPDATE usage_fact SET meter = 99 WHERE seq = 2");
	g_assert_false(tend(world));
	g_assert_false(store_is_lost(world->store));
	g_assert_false(tend(world));
	assert_renewed(world, "what is there does not go together");
}

static void test_sums_after_all(struct world *world, const void *data)
{
	begin(world);
	for (unsigned i = 0; i < 3; i++) {
		world_sql(world, "UPDATE usage_fact SET meter = 99 WHERE seq = (SELECT max(seq) FROM usage_fact)");
		g_assert_false(tend(world));
		world_sql(world, "UPDATE usage_fact SET meter = 2 WHERE seq = (SELECT max(seq) FROM usage_fact)");
		g_assert_true(tend(world));
		g_assert_false(store_is_lost(world->store));
		world_sample(world);
	}
	world_assert_clean(world);
}

#define ADD(path, function, data) g_test_add(path, struct world, data, world_set_up, function, world_tear_down)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD("/odds/first-reading", test_a_sure_batch, "UPDATE meter SET first_in_packets = 1 WHERE meter = 1");
	ADD("/odds/time", test_a_sure_batch, "UPDATE meter SET first_us = first_us + 4096");
	ADD("/odds/meter", test_a_sure_batch, "UPDATE meter SET meter = 65 WHERE meter = 1");
	ADD("/odds/tag", test_a_sure_batch, "UPDATE generation SET tag = replace(tag, '00', '01')");
	ADD("/odds/not-the-store", test_not_the_store, NULL);
	ADD("/odds/sums", test_sums, NULL);
	ADD("/odds/sums-after-all", test_sums_after_all, NULL);
	return g_test_run();
}

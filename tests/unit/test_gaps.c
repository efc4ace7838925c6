/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What `fipmeter status` asks the store: when each router was read last, what was not measured since a time, and what of its
 * traffic no counter has.
 */
#include "store_world.h"

static void add_router(const char *router, int64_t read_us, void *data)
{
	g_string_append_printf(data, "%s %" G_GINT64_FORMAT ";", router, read_us ? (read_us - NOON) / MINUTE : -1);
}

static void add_gap(const struct coverage *gap, void *data)
{
	g_autofree char *address = address_to_string(gap->address);

	g_string_append_printf(data, "%s %s %" G_GINT64_FORMAT "-%" G_GINT64_FORMAT " %s;", gap->router, address,
	                       (gap->start_us - NOON) / MINUTE, (gap->end_us - NOON) / MINUTE, gap->reason);
}

static char *routers(const struct world *world)
{
	g_autoptr(GError) error = NULL;
	GString *text = g_string_new(NULL);

	g_assert_true(store_each_router(world->store, add_router, text, &error));
	g_assert_no_error(error);
	return g_string_free(text, FALSE);
}

static char *gaps(const struct world *world, int64_t since_us)
{
	g_autoptr(GError) error = NULL;
	GString *text = g_string_new(NULL);

	g_assert_true(store_each_gap(world->store, since_us, add_gap, text, &error));
	g_assert_no_error(error);
	return g_string_free(text, FALSE);
}

/* Minute by minute: metered, a gap of the router, a gap of one address, metered. */
static void fill(struct world *world)
{
	static const struct {
		uint32_t address;
		enum state state;
	} rows[] = { { 0, STATE_METERED }, { 0, STATE_GAP }, { FIP, STATE_GAP }, { 0, STATE_METERED } };
	struct batch *batch = batch_new();

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_ptr_array_add(batch->coverage, world_new_coverage(world, rows[i].address, rows[i].state));
		world_tick(world);
	}
	world_commit(world, batch);
}

static void test_an_empty_store_knows_nobody(struct world *world, const void *data)
{
	g_autofree char *known = NULL, *lost = NULL;

	world_open_silently(world);
	known = routers(world);
	lost = gaps(world, 0);
	g_assert_cmpstr(known, ==, "");
	g_assert_cmpstr(lost, ==, "");
}

static void test_gaps_since_a_time(struct world *world, const void *data)
{
	g_autofree char *all = NULL, *late = NULL, *none = NULL;

	world_open_silently(world);
	fill(world);
	all = gaps(world, 0);
	late = gaps(world, NOON + 2 * MINUTE); /* what ends then is over */
	none = gaps(world, NOON + 3 * MINUTE);
	g_assert_cmpstr(all, ==, "one  1-2 why;one 198.51.100.101 2-3 why;");
	g_assert_cmpstr(late, ==, "one 198.51.100.101 2-3 why;");
	g_assert_cmpstr(none, ==, "");
}

static void test_the_end_of_a_gap_is_no_reading(struct world *world, const void *data)
{
	g_autofree char *before = NULL, *after = NULL;
	struct batch *batch = batch_new();

	world_open_silently(world);
	g_ptr_array_add(batch->coverage, world_new_coverage(world, 0, STATE_GAP));
	world_commit(world, batch);
	before = routers(world);
	g_assert_cmpstr(before, ==, "one -1;");
	fill(world);
	after = routers(world);
	g_assert_cmpstr(after, ==, "one 4;");
}

/* ---- residues ---- */

#define HOUR (60 * MINUTE)

static struct residue *new_residue(const char *router, int64_t start_us, uint64_t bytes)
{
	struct residue *residue = g_new0(struct residue, 1);

	*residue = (struct residue){
		.node = g_strdup("node"), .router = g_strdup(router), .start_us = start_us, .end_us = start_us + MINUTE,
		.received = bytes, .sent = 2 * bytes, .in = 3 * bytes, .out = 4 * bytes, .residue_in = 5 * bytes,
		.residue_out = 6 * bytes, .excess = 7 * bytes, .flagged = bytes > 100,
	};
	return residue;
}

static void add_residue(struct world *world, const char *router, int64_t start_us, uint64_t bytes)
{
	struct batch *batch = batch_new();

	g_assert_true(batch_is_empty(batch));
	g_ptr_array_add(batch->residues, new_residue(router, start_us, bytes));
	g_assert_false(batch_is_empty(batch));
	world_commit(world, batch);
}

static void add_sum(const struct residue_sum *sum, void *data)
{
	g_string_append_printf(data, "%s %d: %d/%d %d %d %d %d %d %d %d;", sum->router, (int)((sum->end_us - NOON) / MINUTE),
	                       (int)sum->flagged, (int)sum->windows, (int)sum->received, (int)sum->sent, (int)sum->in, (int)sum->out,
	                       (int)sum->residue_in, (int)sum->residue_out, (int)sum->excess);
}

static char *residues(const struct world *world, int64_t since_us)
{
	g_autoptr(GError) error = NULL;
	GString *text = g_string_new(NULL);

	g_assert_true(store_each_residue(world->store, since_us, add_sum, text, &error));
	g_assert_no_error(error);
	return g_string_free(text, FALSE);
}

static void assert_residues(const struct world *world, int64_t since_us, const char *wanted)
{
	g_autofree char *found = residues(world, since_us);

	g_assert_cmpstr(found, ==, wanted);
}

static void test_residues_are_sums_of_hours(struct world *world, const void *data)
{
	g_autofree char *rows = NULL;

	world_open_silently(world);
	assert_residues(world, 0, "");
	add_residue(world, "one", NOON, 10);
	add_residue(world, "one", NOON + 59 * MINUTE, 1000);
	add_residue(world, "two", NOON, 1);
	rows = world_ask(world, "SELECT count(*), min(start), max(windows) FROM residue");
	g_assert_cmpstr(rows, ==, "2|1784808000000000|2");
	assert_residues(world, NOON, "one 60: 1/2 1010 2020 3030 4040 5050 6060 7070;two 1: 0/1 1 2 3 4 5 6 7;");
	add_residue(world, "one", NOON + HOUR, 1);
	assert_residues(world, NOON, "one 61: 1/3 1011 2022 3033 4044 5055 6066 7077;two 1: 0/1 1 2 3 4 5 6 7;");
	assert_residues(world, NOON + HOUR, "one 61: 0/1 1 2 3 4 5 6 7;");
	world_assert_clean(world);
}

/* What a counter shows that somebody has written into must not keep the bill of all others from being committed. */
static void test_nonsense_does_not_stop_a_commit(struct world *world, const void *data)
{
	g_autofree char *found = NULL, *most = NULL;

	world_open_silently(world);
	for (unsigned i = 0; i < 3; i++)
		add_residue(world, "one", NOON + i * HOUR, UINT64_MAX / 2);
	for (unsigned i = 0; i < 3; i++)
		add_residue(world, "one", NOON, UINT64_MAX / 2);
	most = world_ask(world, "SELECT max(in_bytes), typeof(max(in_bytes)) FROM residue");
	g_assert_cmpstr(most, ==, "72057594037927936|integer");
	found = residues(world, NOON);
	g_assert_true(g_str_has_prefix(found, "one 121: 6/6 "));
}

static void test_residues_are_kept_as_long_as_rows(struct world *world, const void *data)
{
	g_autoptr(GTimeZone) utc = g_time_zone_new_utc();
	struct store_keep keep = { .timezone = utc, .rows_us = 24 * HOUR, .hours_us = 1000 * 24 * HOUR };
	g_autoptr(GError) error = NULL;
	bool more = true;

	world_open_silently(world);
	g_assert_true(store_set_timezone(world->store, utc, &error));
	add_residue(world, "one", NOON - 48 * HOUR, 1);
	add_residue(world, "one", NOON - 47 * HOUR, 1);
	add_residue(world, "one", NOON - 24 * HOUR, 1);
	for (unsigned steps = 0; more; steps++) {
		g_assert_true(store_tend(world->store, &keep, NOON, &more, &error));
		g_assert_no_error(error);
		g_assert_cmpuint(steps, <, 10);
	}
	assert_residues(world, 0, "one -1439: 0/1 1 2 3 4 5 6 7;");
	world_assert_clean(world);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define CASE(name) \
	g_test_add("/gaps/" #name, struct world, NULL, world_set_up, test_##name, world_tear_down)
	CASE(an_empty_store_knows_nobody);
	CASE(gaps_since_a_time);
	CASE(the_end_of_a_gap_is_no_reading);
	CASE(residues_are_sums_of_hours);
	CASE(nonsense_does_not_stop_a_commit);
	CASE(residues_are_kept_as_long_as_rows);
	return g_test_run();
}

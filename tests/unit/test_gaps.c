/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What `fipmeter status` asks the store: when each router was read last, and what was not measured since a time.
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

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define CASE(name) \
	g_test_add("/gaps/" #name, struct world, NULL, world_set_up, test_##name, world_tear_down)
	CASE(an_empty_store_knows_nobody);
	CASE(gaps_since_a_time);
	CASE(the_end_of_a_gap_is_no_reading);
	return g_test_run();
}

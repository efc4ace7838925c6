/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ledger: what becomes usage, and what of it stays in the books.  The world of these cases is books_test.h.
 */
#include "books_test.h"

#include "core/books.h"

#define TESTED "ledger"

static void test_whole_value_is_usage(struct books_test *test, const void *data)
{
	birth(test, "g1");
	count(test, 0, 500, 60);
	pass(test, MINUTE);
	sample(test);
	g_assert_cmpuint(test->rows->len, ==, 1);
	g_assert_cmpuint(row(test, 0)->counts.in_bytes, ==, 500);
	g_assert_cmpuint(row(test, 0)->counts.out_bytes, ==, 60);
	g_assert_cmpuint(row(test, 0)->flags, ==, 0);
	g_assert_cmpint(row(test, 0)->end_us - row(test, 0)->start_us, ==, MINUTE);
}

static void test_no_traffic_makes_no_row_but_moves_the_start(struct books_test *test, const void *data)
{
	birth(test, "g1");
	for (int i = 0; i < 10; i++) {
		pass(test, MINUTE);
		sample(test);
	}
	g_assert_cmpuint(test->rows->len, ==, 0);
	count(test, 0, 100, 0);
	pass(test, MINUTE);
	sample(test);
	g_assert_cmpint(row(test, 0)->start_us, ==, test->now.utc_us - MINUTE);
	g_assert_cmpuint(row(test, 0)->flags, ==, 0);
	g_assert_cmpuint(test->coverage->len, ==, 1);
}

static void test_commit_that_fails_makes_a_longer_row(struct books_test *test, const void *data)
{
	struct batch *lost = batch_new();

	birth(test, "g1");
	count(test, 0, 100, 0);
	pass(test, MINUTE);
	test->kernel->at = test->now;
	ledger_settle(test->ledger, test->plan, BASIS_SKB, test->kernel, lost);
	batch_free(lost);
	count(test, 0, 50, 0);
	pass(test, MINUTE);
	sample(test);
	g_assert_cmpuint(row(test, 0)->counts.in_bytes, ==, 150);
	g_assert_cmpuint(row(test, 0)->flags, ==, FLAG_LATE);
}

static void test_restart_goes_on_from_the_baseline(struct books_test *test, const void *data)
{
	birth(test, "g1");
	count(test, 0, 100, 0);
	pass(test, MINUTE);
	sample(test);
	restart(test);
	count(test, 0, 7, 0);
	pass(test, 300 * MINUTE);
	sample(test);
	g_assert_cmpuint(row(test, 1)->counts.in_bytes, ==, 7);
	g_assert_cmpuint(row(test, 1)->flags, ==, FLAG_CATCHUP);
	count(test, 0, 1, 0);
	pass(test, MINUTE);
	sample(test);
	g_assert_cmpuint(row(test, 2)->flags, ==, 0);
}

static void test_found_counter_starts_at_what_it_shows(struct books_test *test, const void *data)
{
	struct reading found = { .key = g_array_index(test->plan->meters, struct planned_meter, 0).key };

	test->kernel->generation = g_strdup("strange");
	g_array_append_val(test->kernel->readings, found);
	count(test, 0, 1000000, 0);
	sample(test);
	g_assert_cmpuint(test->rows->len, ==, 0);
	count(test, 0, 5, 0);
	pass(test, MINUTE);
	sample(test);
	g_assert_cmpuint(row(test, 0)->counts.in_bytes, ==, 5);
	g_assert_cmpuint(row(test, 0)->flags, ==, FLAG_UNKNOWN_START);
}

static void test_counter_set_back_is_no_usage(struct books_test *test, const void *data)
{
	birth(test, "g1");
	count(test, 0, 1000, 0);
	pass(test, MINUTE);
	sample(test);
	g_array_index(test->kernel->readings, struct reading, 0).counts.in_bytes = 10;
	g_assert_true(ledger_shrunk(test->ledger, test->kernel, NS));
	pass(test, MINUTE);
	sample(test);
	g_assert_cmpuint(test->rows->len, ==, 1);
	count(test, 0, 5, 0);
	pass(test, MINUTE);
	sample(test);
	g_assert_cmpuint(row(test, 1)->counts.in_bytes, ==, 5);
	g_assert_cmpuint(row(test, 1)->flags, ==, FLAG_RESET | FLAG_GAP);
}

/* The devices have received so much since the sample before the last. */
static void bound(struct books_test *test, uint64_t in, uint64_t out, int64_t since_us)
{
	test->kernel->most = (struct bound){ .since_us = since_us, .in_bytes = in, .out_bytes = out };
}

static void count_for_two_minutes(struct books_test *test)
{
	birth(test, "g1");
	for (unsigned i = 0; i < 2; i++) {
		pass(test, MINUTE);
		count(test, 0, 100, 100);
		sample(test);
	}
	pass(test, MINUTE);
}

static void test_counter_that_rose_by_more_than_was_received(struct books_test *test, const void *data)
{
	const struct coverage *gap;
	const int64_t before_us = test->now.boot_us + MINUTE;

	count_for_two_minutes(test);
	bound(test, 1000, 500, before_us);
	count(test, 0, 1001, 0);
	sample(test);
	g_assert_cmpuint(test->rows->len, ==, 2);
	gap = last_gap(test);
	g_assert_cmpuint(gap->address, ==, FIP);
	g_assert_cmpint(gap->end_us - gap->start_us, ==, MINUTE);
	g_assert_nonnull(strstr(gap->reason, "rose by more than its router received: in 200 to 1201 bytes"));
	/* what it counts from there on is usage again */
	pass(test, MINUTE);
	bound(test, 1000, 500, before_us + MINUTE);
	count(test, 0, 1000, 500);
	sample(test);
	g_assert_cmpuint(row(test, 2)->counts.in_bytes, ==, 1000);
	g_assert_cmpuint(row(test, 2)->flags, ==, FLAG_RESET | FLAG_GAP);
	g_assert_cmpuint(row(test, 2)->reading.in_bytes, ==, 2201);
	pass(test, MINUTE);
	bound(test, 1000, 500, before_us + 2 * MINUTE);
	count(test, 0, 0, 501);
	sample(test);
	g_assert_cmpuint(test->rows->len, ==, 3);
}

/* Not known, or not of all the time since the counter's last reading. */
static void test_bound_that_does_not_reach_back_bounds_nothing(struct books_test *test, const void *data)
{
	const int64_t last_us = test->now.boot_us + 2 * MINUTE;

	count_for_two_minutes(test);
	count(test, 0, 5000, 5000);
	bound(test, 0, 0, 0);
	sample(test);
	g_assert_cmpuint(row(test, 2)->counts.in_bytes, ==, 5000);
	pass(test, MINUTE);
	count(test, 0, 5000, 5000);
	bound(test, 0, 0, last_us + MINUTE - 999999);
	sample(test);
	g_assert_cmpuint(row(test, 3)->counts.in_bytes, ==, 5000);
	pass(test, MINUTE);
	count(test, 0, 5000, 5000);
	bound(test, 0, 0, last_us + 2 * MINUTE - 1000000);
	sample(test);
	g_assert_cmpuint(test->rows->len, ==, 4);
	g_assert_nonnull(last_gap(test));
}

static void test_hand_over_splits_at_one_reading(struct books_test *test, const void *data)
{
	birth(test, "g1");
	count(test, 0, 100, 0);
	g_array_index(test->plan->meters, struct planned_meter, 0).fixed = FIXED + 1;
	pass(test, MINUTE);
	sample(test);
	count(test, 0, 30, 0);
	pass(test, MINUTE);
	sample(test);
	g_assert_cmpuint(row(test, 0)->flags, ==, FLAG_MOVED);
	g_assert_cmpint(row(test, 0)->meter, !=, row(test, 1)->meter);
	g_assert_cmpuint(row(test, 1)->counts.in_bytes, ==, 30);
	g_assert_cmpuint(row(test, 1)->flags, ==, 0);
}

/* It moved and came back, and no reading in between came into the books. */
static void test_lent_and_given_back_is_flagged(struct books_test *test, const void *data)
{
	struct planned_meter *planned = &g_array_index(test->plan->meters, struct planned_meter, 0);

	birth_and_reading(test, "g1");
	count(test, 0, 100, 0);
	planned->lent = true;
	pass(test, MINUTE);
	sample(test);
	g_assert_cmpuint(row(test, 0)->flags, ==, FLAG_MOVED);
	count(test, 0, 10, 0);
	pass(test, MINUTE);
	end(test, test->kernel);
	g_assert_cmpuint(row(test, 1)->flags, ==, FLAG_MOVED);
	g_assert_cmpint(row(test, 0)->meter, ==, row(test, 1)->meter);
}

static void test_death_takes_the_last_reading(struct books_test *test, const void *data)
{
	set_meter(test, KIND_FLOATING, OTHER, FIXED + 1);
	birth(test, "g1");
	count(test, 1, 100, 3);
	g_array_set_size(test->plan->meters, 1);
	pass(test, MINUTE);
	sample(test);
	g_assert_cmpuint(row(test, 0)->counts.in_bytes, ==, 100);
	g_assert_cmpuint(row(test, 0)->flags, ==, FLAG_MOVED);
	g_assert_cmpuint(ledger_open_meters(test->ledger)->len, ==, 1);
	pass(test, MINUTE);
	sample(test); /* the dead counter still stands: killed before it was removed */
	g_assert_cmpuint(test->rows->len, ==, 1);
}

/* Two tags with the same hash, and the same key in both. */
static void test_generations_whose_tags_look_alike(struct books_test *test, const void *data)
{
	g_autoptr(GPtrArray) open = NULL;

	g_assert_cmpuint(g_str_hash("gab"), ==, g_str_hash("gbA"));
	birth_and_reading(test, "gab");
	pass(test, MINUTE);
	birth(test, "gbA");
	open = ledger_open_meters(test->ledger);
	g_assert_cmpuint(open->len, ==, 2);
}

static void test_namespace_gone_ends_its_meters(struct books_test *test, const void *data)
{
	g_autoptr(GHashTable) present = g_hash_table_new(g_str_hash, g_str_equal);
	struct batch *batch = batch_new();

	birth(test, "g1");
	sample(test);
	pass(test, MINUTE);
	ledger_bury(test->ledger, present, &test->now, batch);
	commit(test, batch);
	g_assert_cmpuint(ledger_open_meters(test->ledger)->len, ==, 0);
	g_assert_cmpint(((struct coverage *)test->coverage->pdata[1])->state, ==, STATE_GAP);
}

static void test_change_that_is_followed_at_once_needs_no_flag(struct books_test *test, const void *data)
{
	birth(test, "g1");
	count(test, 0, 100, 0);
	g_array_index(test->plan->meters, struct planned_meter, 0).fixed = FIXED + 1;
	pass(test, MINUTE);
	test->kernel->prompt = true;
	sample(test);
	g_assert_cmpuint(row(test, 0)->flags, ==, 0);
}

/* A new generation takes over from one that goes on until then: no gap, no flag, nothing twice. */
static void test_one_generation_takes_over_from_another(struct books_test *test, const void *data)
{
	SCOPED(snapshot) *former = NULL;

	birth(test, "g1");
	pass(test, MINUTE);
	sample(test);
	count(test, 0, 70, 5);
	pass(test, MINUTE / 2);
	former = test->kernel;
	test->kernel = snapshot_new();
	test->kernel->generation = g_strdup(former->generation);
	birth(test, "g2"); /* beside it: the old one is what was found */
	count(test, 0, 30, 0);
	pass(test, MINUTE / 2);
	end(test, former);
	sample(test);
	g_assert_cmpuint(test->rows->len, ==, 2);
	g_assert_cmpuint(row(test, 0)->counts.in_bytes, ==, 70);
	g_assert_cmpuint(row(test, 1)->counts.in_bytes, ==, 30);
	g_assert_cmpuint(row(test, 0)->flags | row(test, 1)->flags, ==, 0);
	g_assert_cmpuint(test->coverage->len, ==, 1);
	count(test, 0, 1, 0);
	pass(test, MINUTE);
	sample(test);
	g_assert_cmpuint(row(test, 2)->counts.in_bytes, ==, 1);
	g_assert_cmpuint(row(test, 2)->flags, ==, 0);
	g_assert_cmpint(row(test, 2)->start_us, ==, row(test, 1)->end_us);
}

static void test_birth_killed_before_the_kernel_is_taken_up(struct books_test *test, const void *data)
{
	birth(test, "g1");
	sample(test);
	set_meter(test, KIND_FLOATING, OTHER, FIXED + 1);
	birth(test, "g1");
	g_array_set_size(test->kernel->readings, 1); /* the kernel never made it */
	restart(test);
	sample(test);
	birth(test, "g1");
	count(test, 1, 40, 0);
	pass(test, MINUTE);
	sample(test);
	g_assert_cmpuint(row(test, 0)->counts.in_bytes, ==, 40);
}

static void test_clock_steps_change_no_sum(struct books_test *test, const void *data)
{
	static const int64_t steps[] = { 1, -1, 60, -60, 60 * 24 * 365, -60 * 24 * 365 };

	birth(test, "g1");
	for (unsigned i = 0; i < G_N_ELEMENTS(steps); i++) {
		count(test, 0, 10, 0);
		pass(test, MINUTE);
		test->now.utc_us += steps[i] * MINUTE;
		sample(test);
		g_assert_cmpint(row(test, i)->end_us - row(test, i)->start_us, ==, MINUTE);
		g_assert_cmpuint(row(test, i)->counts.in_bytes, ==, 10);
	}
}

/* Whatever happens in whatever order: rows of each meter sum to last - first (tear_down), all of a life of
 * counters that nobody set back is billed once, and never more. */
static void test_random_histories(struct books_test *test, const void *data)
{
	uint64_t truth = 0, billed = 0, unread = 0;

	birth(test, "g1");
	for (int i = 0; i < 3000; i++) {
		uint64_t bytes = g_test_rand_int_range(1, 1500);

		switch (g_test_rand_int_range(0, 6)) {
		case 0:
			restart(test);
			break;
		case 1:
			g_array_index(test->plan->meters, struct planned_meter, 0).fixed ^= 1;
			break;
		case 2:
			sample(test);
			unread = 0;
			break;
		default:
			count(test, 0, bytes, 0);
			truth += bytes;
			unread += bytes;
		}
		pass(test, g_test_rand_int_range(0, 2 * MINUTE));
	}
	for (unsigned i = 0; i < test->rows->len; i++)
		billed += row(test, i)->counts.in_bytes;
	g_assert_cmpuint(billed + unread, ==, truth);
}

static void test_last_reading_after_a_move_is_flagged(struct books_test *test, const void *data)
{
	birth_and_reading(test, "g1");
	count(test, 0, 10, 0);
	pass(test, MINUTE);
	g_array_index(test->plan->meters, struct planned_meter, 0).fixed = FIXED + 1;
	end(test, test->kernel);
	g_assert_cmpuint(row(test, 0)->flags, ==, FLAG_MOVED);
}

static void test_books_that_were_never_opened_say_nothing(struct books_test *test, const void *data)
{
	struct batch *batch = batch_new();

	ledger_miss(test->ledger, test->plan, "why", &test->now, batch);
	ledger_end(test->ledger, test->plan, test->kernel, batch);
	g_assert_true(batch_is_empty(batch));
	g_assert_false(ledger_knows(test->ledger, NS));
	g_assert_false(ledger_shrunk(test->ledger, test->kernel, NS));
	batch_free(batch);
	batch_free(NULL);
	ledger_free(NULL);
}

/* found says nothing where nothing of ours was there; and what is planned already is not planned twice. */
static void test_birth_is_committed_once(struct books_test *test, const void *data)
{
	for (unsigned i = 0; i < 2; i++) {
		struct batch *batch = batch_new();

		ledger_open(test->ledger, test->plan, "g1", BASIS_SKB, NULL, NULL, &test->now, batch);
		g_assert_cmpuint(batch->meters->len, ==, !i);
		commit(test, batch);
	}
}

/* What an agent has made itself was not counted in its absence. */
static void test_last_reading_of_what_came_after_a_restart(struct books_test *test, const void *data)
{
	birth_and_reading(test, "g1");
	restart(test);
	set_meter(test, KIND_FLOATING, OTHER, FIXED + 1);
	birth(test, "g1");
	count(test, 0, 3, 0);
	count(test, 1, 5, 0);
	pass(test, MINUTE);
	end(test, test->kernel);
	for (unsigned i = 0; i < 2; i++)
		g_assert_cmpint(row(test, i)->flags & FLAG_CATCHUP, ==, row(test, i)->counts.in_bytes == 3 ? FLAG_CATCHUP : 0);
}

static void test_birth_beside_counters_of_nobody(struct books_test *test, const void *data)
{
	test->kernel->generation = g_strdup("strange");
	birth(test, "g1");
	g_assert_cmpuint(ledger_open_meters(test->ledger)->len, ==, 1);
}

static void test_one_tag_in_two_namespaces(struct books_test *test, const void *data)
{
	struct batch *batch = batch_new();

	ledger_open(test->ledger, test->plan, "g1", BASIS_SKB, NULL, NULL, &test->now, batch);
	g_free(test->plan->ns);
	test->plan->ns = g_strdup("qrouter-two");
	ledger_open(test->ledger, test->plan, "g1", BASIS_SKB, NULL, NULL, &test->now, batch);
	g_assert_cmpuint(batch->generations->len, ==, 2);
	commit(test, batch);
	g_assert_cmpuint(ledger_open_meters(test->ledger)->len, ==, 2);
}

static void test_plan_of_nothing_ends_what_there_was(struct books_test *test, const void *data)
{
	birth_and_reading(test, "g1");
	count(test, 0, 10, 0);
	g_array_set_size(test->plan->meters, 0);
	pass(test, MINUTE);
	sample(test);
	g_assert_cmpuint(row(test, 0)->flags, ==, FLAG_MOVED); /* nobody heard when it went */
	g_assert_cmpuint(ledger_open_meters(test->ledger)->len, ==, 0);
	pass(test, MINUTE);
	sample(test); /* and then there is nothing to say */
	g_assert_cmpuint(test->coverage->len, ==, 1);
}

static void test_state_is_cleared_twice(struct books_test *test, const void *data)
{
	struct ledger_state state = { .meters = g_ptr_array_new(), .coverage = g_ptr_array_new() };

	ledger_state_clear(&state);
	ledger_state_clear(&state);
	g_assert_null(state.meters);
}

/* A router that is gone is remembered for an hour; one that is there, or has an open meter, as long as it is. */
static void test_what_is_gone_for_long_is_forgotten(struct books_test *test, const void *data)
{
	g_autoptr(GHashTable) present = g_hash_table_new(g_str_hash, g_str_equal);
	struct batch *batch = batch_new();

	birth(test, "g1");
	sample(test);
	pass(test, 100 * MINUTE);
	ledger_forget(test->ledger, present, &test->now);
	g_assert_nonnull(books_latest_coverage(test->ledger, batch, "one", 0)); /* its meter is open */
	end(test, test->kernel);
	pass(test, 59 * MINUTE);
	ledger_forget(test->ledger, present, &test->now);
	g_assert_nonnull(books_latest_coverage(test->ledger, batch, "one", 0));
	pass(test, 2 * MINUTE);
	g_hash_table_add(present, (char *)"snat-one");
	ledger_forget(test->ledger, present, &test->now);
	g_assert_nonnull(books_latest_coverage(test->ledger, batch, "one", 0));
	g_hash_table_remove_all(present);
	ledger_forget(test->ledger, present, &test->now);
	g_assert_null(books_latest_coverage(test->ledger, batch, "one", 0));
	g_assert_cmpuint(g_hash_table_size(test->ledger->coverage), ==, 0);
	batch_free(batch);
}

/* What an earlier process left of it goes as well. */
static void test_what_was_inherited_is_forgotten(struct books_test *test, const void *data)
{
	g_autoptr(GHashTable) present = g_hash_table_new(g_str_hash, g_str_equal);
	struct ledger_state state = { g_ptr_array_new(), g_ptr_array_new_with_free_func((GDestroyNotify)coverage_free), 1, 9 };
	int64_t late_us = test->now.utc_us - MINUTE, early_us = test->now.utc_us - 61 * MINUTE;
	struct coverage rows[] = {
		{ 1, (char *)"node", (char *)"old", 0, early_us - MINUTE, early_us, STATE_METERED, (char *)"" },
		{ 2, (char *)"node", (char *)"old", FIP, early_us - MINUTE, early_us, STATE_GAP, (char *)"why" },
		{ 3, (char *)"node", (char *)"new", 0, early_us, late_us, STATE_METERED, (char *)"" },
		{ 4, (char *)"node", (char *)"there", 0, early_us - MINUTE, early_us, STATE_METERED, (char *)"" },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++)
		g_ptr_array_add(state.coverage, coverage_copy(&rows[i]));
	ledger_free(test->ledger);
	test->ledger = ledger_new("node", "boot", MINUTE, &state);
	g_assert_cmpuint(g_hash_table_size(test->ledger->inherited), ==, 3);
	g_hash_table_add(present, (char *)"qrouter-there");
	ledger_forget(test->ledger, present, &test->now);
	g_assert_cmpuint(g_hash_table_size(test->ledger->coverage), ==, 2);
	g_assert_cmpuint(g_hash_table_size(test->ledger->inherited), ==, 2);
	g_assert_false(g_hash_table_contains(test->ledger->inherited, "old"));
}

/* The plan does not want the address any more: that its counters stop matching is written down before they do. */
static void leave(struct books_test *test)
{
	g_autoptr(GArray) wanted = test->plan->meters;
	struct batch *batch = batch_new();

	test->plan->meters = g_array_new(FALSE, TRUE, sizeof(struct planned_meter));
	ledger_leave(test->ledger, test->plan, "g1", batch);
	commit(test, batch);
	batch = batch_new();
	ledger_leave(test->ledger, test->plan, "g1", batch);
	g_assert_true(batch_is_empty(batch)); /* once is enough */
	ledger_leave(test->ledger, test->plan, "g2", batch);
	g_assert_true(batch_is_empty(batch));
	batch_free(batch);
	g_array_unref(test->plan->meters);
	test->plan->meters = g_array_ref(wanted);
}

/* Killed behind that, and before the last reading; the address comes back before the next agent looks. */
static void test_address_that_left_unread_and_came_back(struct books_test *test, const void *data)
{
	int64_t read_us;

	birth(test, "g1");
	count(test, 0, 100, 0);
	pass(test, MINUTE);
	sample(test);
	read_us = test->now.utc_us;
	leave(test);
	restart(test);
	pass(test, MINUTE);
	birth(test, "g1"); /* its counter stands: it is led to again */
	assert_gap(test, FIP, read_us, test->now.utc_us);
	count(test, 0, 7, 0);
	pass(test, MINUTE);
	sample(test);
	g_assert_cmpuint(row(test, 1)->counts.in_bytes, ==, 7);
	g_assert_cmpuint(row(test, 1)->flags, ==, FLAG_GAP | FLAG_CATCHUP);
	count(test, 0, 7, 0);
	pass(test, MINUTE);
	sample(test);
	g_assert_cmpuint(row(test, 2)->flags, ==, 0);
}

/* It was written down, and then nothing was done: the counter has gone on, and no row says otherwise. */
static void test_address_that_was_to_leave_and_stays(struct books_test *test, const void *data)
{
	birth(test, "g1");
	pass(test, MINUTE);
	sample(test);
	leave(test);
	pass(test, MINUTE);
	sample(test);
	birth(test, "g1");
	g_assert_cmpuint(test->coverage->len, ==, 1); /* metered */
	leave(test);
	count(test, 0, 100, 0);
	pass(test, MINUTE);
	sample(test);
	birth(test, "g1");
	g_assert_cmpuint(test->coverage->len, ==, 1);
	g_assert_cmpuint(row(test, 0)->flags, ==, 0);
}

static void test_nobody_leaves_books_that_are_empty(struct books_test *test, const void *data)
{
	struct batch *batch = batch_new();

	ledger_leave(test->ledger, test->plan, "g1", batch);
	g_assert_true(batch_is_empty(batch));
	batch_free(batch);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	CASE(whole_value_is_usage);
	CASE(no_traffic_makes_no_row_but_moves_the_start);
	CASE(commit_that_fails_makes_a_longer_row);
	CASE(restart_goes_on_from_the_baseline);
	CASE(found_counter_starts_at_what_it_shows);
	CASE(counter_set_back_is_no_usage);
	CASE(counter_that_rose_by_more_than_was_received);
	CASE(bound_that_does_not_reach_back_bounds_nothing);
	CASE(hand_over_splits_at_one_reading);
	CASE(lent_and_given_back_is_flagged);
	CASE(death_takes_the_last_reading);
	CASE(generations_whose_tags_look_alike);
	CASE(namespace_gone_ends_its_meters);
	CASE(change_that_is_followed_at_once_needs_no_flag);
	CASE(one_generation_takes_over_from_another);
	CASE(birth_killed_before_the_kernel_is_taken_up);
	CASE(clock_steps_change_no_sum);
	CASE(random_histories);
	CASE(last_reading_after_a_move_is_flagged);
	CASE(books_that_were_never_opened_say_nothing);
	CASE(birth_is_committed_once);
	CASE(last_reading_of_what_came_after_a_restart);
	CASE(birth_beside_counters_of_nobody);
	CASE(one_tag_in_two_namespaces);
	CASE(plan_of_nothing_ends_what_there_was);
	CASE(state_is_cleared_twice);
	CASE(what_is_gone_for_long_is_forgotten);
	CASE(what_was_inherited_is_forgotten);
	CASE(address_that_left_unread_and_came_back);
	CASE(address_that_was_to_leave_and_stays);
	CASE(nobody_leaves_books_that_are_empty);
	return g_test_run();
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ledger: what was not counted, and how the coverage says so.  The world of these cases is books_test.h.
 */
#include "books_test.h"

#include "core/cover.h"

#define TESTED "cover"

static void metered_for_a_minute(struct books_test *test)
{
	birth_and_reading(test, "g1");
	pass(test, MINUTE);
	sample(test);
}

/* Written down: from the last sample on something is not counted. */
static void miss(struct books_test *test)
{
	struct batch *batch = batch_new();

	ledger_miss(test->ledger, test->plan, "why", &test->now, batch);
	commit(test, batch);
}

static void test_subnet_that_came_between_two_looks(struct books_test *test, const void *data)
{
	static const enum state states[] = { STATE_METERED, STATE_GAP, STATE_METERED };
	static const int minutes[] = { 1, 1, 1 };

	metered_for_a_minute(test);
	count(test, 0, 100, 0);
	pass(test, MINUTE);
	miss(test);
	test->kernel->missed = "why";
	sample(test);
	test->kernel->missed = NULL;
	pass(test, MINUTE);
	count(test, 0, 100, 0);
	sample(test);
	assert_coverage(test, states, minutes, G_N_ELEMENTS(states));
	g_assert_cmpuint(row(test, 0)->flags, ==, FLAG_GAP);
	g_assert_cmpuint(row(test, 1)->flags, ==, 0);
}

/* Written down before it was mended; then no reading came into the books, or another process took over. */
static void test_gap_lasts_until_what_made_it_was_mended(struct books_test *test, const void *data)
{
	static const enum state states[] = { STATE_METERED, STATE_GAP, STATE_METERED };
	static const int minutes[] = { 1, 3, 1 };

	metered_for_a_minute(test);
	pass(test, MINUTE);
	miss(test);
	restart(test);
	count(test, 0, 100, 0);
	pass(test, 2 * MINUTE);
	sample(test);
	count(test, 0, 100, 0);
	pass(test, MINUTE);
	sample(test);
	assert_coverage(test, states, minutes, G_N_ELEMENTS(states));
	g_assert_cmpuint(row(test, 0)->flags, ==, FLAG_GAP | FLAG_CATCHUP);
	g_assert_cmpuint(row(test, 1)->flags, ==, 0);
}

static void test_lost_generation_is_a_gap(struct books_test *test, const void *data)
{
	birth(test, "g1");
	count(test, 0, 100, 0);
	pass(test, MINUTE);
	sample(test);
	pass(test, MINUTE / 2);
	g_clear_pointer(&test->kernel->generation, g_free);
	g_array_set_size(test->kernel->readings, 0);
	birth_and_reading(test, "g2");
	count(test, 0, 9, 0);
	pass(test, MINUTE);
	sample(test);
	g_assert_cmpuint(row(test, 1)->counts.in_bytes, ==, 9);
	g_assert_cmpuint(row(test, 1)->flags, ==, FLAG_GAP);
	g_assert_cmpuint(test->coverage->len, ==, 3);
	g_assert_cmpint(((struct coverage *)test->coverage->pdata[1])->state, ==, STATE_GAP);
	g_assert_cmpint(((struct coverage *)test->coverage->pdata[1])->end_us -
	                ((struct coverage *)test->coverage->pdata[1])->start_us, ==, MINUTE / 2);
}

/* After a boot nobody knows by how much the clock was set back before it: it is a gap all the same. */
static void test_boot_with_the_clock_set_back_is_a_gap(struct books_test *test, const void *data)
{
	const struct coverage *last;
	int64_t made_us;

	metered_for_a_minute(test);
	restart_in(test, "another boot");
	test->now = (struct instant){ .utc_us = test->now.utc_us - MINUTE / 2, .boot_us = MINUTE / 10 };
	snapshot_free(test->kernel);
	test->kernel = snapshot_new();
	test->kernel->intact = true;
	birth(test, "g2");
	made_us = test->now.utc_us;
	pass(test, MINUTE / 100);
	sample(test);
	assert_gap(test, 0, made_us - 1, test->now.utc_us);
	last = test->coverage->pdata[test->coverage->len - 1];
	g_assert_cmpint(last->state, ==, STATE_METERED);
	g_assert_cmpint(last->start_us, ==, test->now.utc_us);
}

/* What the books say of a time to come, by the clock as it was, is not what goes on now. */
static void test_clock_set_back_to_before_the_last_row(struct books_test *test, const void *data)
{
	struct batch *batch;
	const struct coverage *metered;

	birth_and_reading(test, "g1");
	pass(test, MINUTE);
	sample(test);
	batch = batch_new();
	cover_miss_address(test->ledger, batch, test->plan->router, FIP, test->now.utc_us - 1, test->now.utc_us, "why");
	commit(test, batch);
	test->now.utc_us -= 100 * MINUTE;
	pass(test, MINUTE);
	sample(test);
	metered = test->coverage->pdata[test->coverage->len - 1];
	g_assert_cmpint(metered->state, ==, STATE_METERED);
	g_assert_cmpint(metered->start_us, ==, test->now.utc_us - MINUTE);
	g_assert_cmpint(metered->end_us, ==, test->now.utc_us);
	batch = batch_new();
	cover_miss_address(test->ledger, batch, test->plan->router, FIP, test->now.utc_us - 1, test->now.utc_us, "why");
	commit(test, batch);
	assert_gap(test, FIP, test->now.utc_us - 1, test->now.utc_us);
}

static void test_new_address_declares_what_it_missed(struct books_test *test, const void *data)
{
	const struct coverage *gap;

	birth(test, "g1");
	pass(test, MINUTE);
	sample(test);
	pass(test, MINUTE);
	set_meter(test, KIND_FLOATING, OTHER, FIXED + 1);
	birth(test, "g1");
	gap = test->coverage->pdata[1];
	g_assert_cmpint(gap->state, ==, STATE_GAP);
	g_assert_cmpuint(gap->address, ==, OTHER);
	g_assert_cmpint(gap->end_us - gap->start_us, ==, MINUTE);
	sample(test);
}

static void test_address_that_is_not_there_yet_missed_nothing(struct books_test *test, const void *data)
{
	birth(test, "g1");
	pass(test, MINUTE);
	sample(test);
	pass(test, MINUTE);
	set_meter(test, KIND_FLOATING, OTHER, FIXED + 1);
	g_array_index(test->plan->meters, struct planned_meter, 1).served = false;
	birth(test, "g1");
	count(test, 1, 10, 0);
	sample(test);
	g_assert_cmpuint(test->coverage->len, ==, 1);
	g_assert_cmpuint(row(test, 0)->flags, ==, 0);
}

static void test_address_of_a_router_that_became_standby(struct books_test *test, const void *data)
{
	int64_t since_us;

	birth_and_reading(test, "g1");
	since_us = test->now.utc_us;
	set_meter(test, KIND_FLOATING, OTHER, FIXED + 1);
	test->plan->standby = true;
	for (unsigned i = 0; i < test->plan->meters->len; i++)
		g_array_index(test->plan->meters, struct planned_meter, i).served = false;
	pass(test, MINUTE);
	birth(test, "g1");
	assert_gap(test, OTHER, since_us, test->now.utc_us);
	sample(test);
	set_meter(test, KIND_FLOATING, OTHER + 1, FIXED + 2);
	g_array_index(test->plan->meters, struct planned_meter, 2).served = false;
	pass(test, MINUTE);
	birth(test, "g1"); /* it was standby all the time */
	g_assert_cmpuint(last_gap(test)->address, ==, OTHER);
}

static void test_address_that_came_before_its_counter(struct books_test *test, const void *data)
{
	const struct coverage *gap;

	birth(test, "g1");
	sample(test);
	pass(test, MINUTE);
	set_meter(test, KIND_FLOATING, OTHER, FIXED + 1);
	g_array_index(test->plan->meters, struct planned_meter, 1).served = false;
	birth(test, "g1");
	pass(test, MINUTE / 600);
	g_array_index(test->plan->meters, struct planned_meter, 1).came = true;
	count(test, 1, 10, 0);
	sample(test);
	gap = test->coverage->pdata[test->coverage->len - 2];
	g_assert_cmpint(gap->state, ==, STATE_GAP);
	g_assert_cmpuint(gap->address, ==, OTHER);
	g_assert_cmpint(gap->end_us - gap->start_us, ==, MINUTE / 600);
	g_assert_cmpuint(row(test, 0)->flags, ==, FLAG_GAP);
	count(test, 1, 10, 0);
	pass(test, MINUTE);
	sample(test);
	g_assert_cmpuint(row(test, 1)->flags, ==, 0);
}

/* The gap begins where the router was last seen without the address, and lasts until its counter is read. */
static void test_address_that_was_not_there_a_moment_ago(struct books_test *test, const void *data)
{
	struct batch *batch = batch_new();
	struct instant since;
	const struct coverage *gap;

	birth(test, "g1");
	sample(test);
	pass(test, MINUTE);
	since = test->now;
	pass(test, MINUTE / 60);
	set_meter(test, KIND_FLOATING, OTHER, FIXED + 1);
	ledger_open(test->ledger, test->plan, "g1", BASIS_SKB, test->kernel, &since, &test->now, batch);
	commit(test, batch);
	birth(test, "g1");
	pass(test, MINUTE / 60);
	sample(test);
	gap = test->coverage->pdata[test->coverage->len - 2];
	g_assert_cmpint(gap->state, ==, STATE_GAP);
	g_assert_cmpuint(gap->address, ==, OTHER);
	g_assert_cmpint(gap->end_us - gap->start_us, ==, 2 * MINUTE / 60);
}

static void test_last_reading_of_a_namespace_leaves_no_gap(struct books_test *test, const void *data)
{
	g_autoptr(GHashTable) present = g_hash_table_new(g_str_hash, g_str_equal);
	struct batch *batch = batch_new();

	birth(test, "g1");
	pass(test, MINUTE);
	sample(test);
	count(test, 0, 70, 0);
	pass(test, MINUTE / 2);
	end(test, test->kernel);
	g_assert_cmpuint(row(test, 0)->counts.in_bytes, ==, 70);
	g_assert_cmpuint(row(test, 0)->flags, ==, 0);
	g_assert_cmpuint(ledger_open_meters(test->ledger)->len, ==, 0);
	ledger_bury(test->ledger, present, &test->now, batch);
	g_assert_true(batch_is_empty(batch));
	commit(test, batch);
	g_assert_cmpuint(test->coverage->len, ==, 1);
	g_assert_cmpint(((struct coverage *)test->coverage->pdata[0])->end_us, ==, test->now.utc_us);
}

/* Killed between the end of the old counters and the making of new ones. */
static void test_taken_down_and_killed_is_a_gap(struct books_test *test, const void *data)
{
	birth(test, "g1");
	sample(test);
	count(test, 0, 100, 0);
	pass(test, MINUTE);
	test->kernel->at = test->now;
	end(test, test->kernel);
	snapshot_free(test->kernel);
	test->kernel = snapshot_new();
	restart(test);
	pass(test, 5 * MINUTE);
	birth(test, "g2");
	count(test, 0, 7, 0);
	pass(test, MINUTE);
	sample(test);
	g_assert_cmpuint(row(test, 1)->counts.in_bytes, ==, 7);
	g_assert_cmpuint(row(test, 1)->flags, ==, FLAG_GAP);
	assert_coverage(test, (enum state[]){ STATE_METERED, STATE_GAP, STATE_METERED }, (int[]){ 1, 6, 0 }, 3); /* up to the first reading */
}

/* Five minutes, in two of them standby. */
static void fail_over_and_back(struct books_test *test, int standby_from)
{
	test->plan->standby = !standby_from;
	birth_and_reading(test, "g1");
	for (int i = 0; i < 5; i++) {
		test->plan->standby = i >= standby_from && i < standby_from + 2;
		count(test, 0, 10, 0);
		pass(test, MINUTE);
		sample(test);
	}
}

static void test_master_that_was_standby_for_a_while(struct books_test *test, const void *data)
{
	static const enum state states[] = { STATE_METERED, STATE_STANDBY, STATE_METERED };
	static const int minutes[] = { 2, 1, 2 };
	struct prefix local = { 0x0a000100, 24 };

	g_array_append_val(test->plan->local, local);
	fail_over_and_back(test, 1);
	assert_coverage(test, states, minutes, G_N_ELEMENTS(states));
	g_assert_cmpuint(row(test, 3)->flags, ==, 0);
}

static void test_standby_that_was_never_seen_as_master(struct books_test *test, const void *data)
{
	static const enum state states[] = { STATE_STANDBY, STATE_GAP, STATE_METERED };
	static const int minutes[] = { 2, 1, 2 };

	fail_over_and_back(test, 0);
	assert_coverage(test, states, minutes, G_N_ELEMENTS(states));
	g_assert_cmpuint(row(test, 1)->flags, ==, 0);
	g_assert_cmpuint(row(test, 2)->flags, ==, FLAG_GAP);
	g_assert_cmpuint(row(test, 3)->flags, ==, 0);
}

static void test_coverage_begins_when_the_counters_were_seen(struct books_test *test, const void *data)
{
	const struct coverage *row;

	birth(test, "g1");
	pass(test, MINUTE);
	sample(test);
	row = test->coverage->pdata[0];
	g_assert_cmpint(row->start_us, ==, test->now.utc_us);
	pass(test, MINUTE);
	sample(test);
	g_assert_cmpint(((struct coverage *)test->coverage->pdata[0])->end_us, ==, test->now.utc_us);
}

static void test_gap_lasts_until_the_new_counters_were_seen(struct books_test *test, const void *data)
{
	int64_t since_us;

	birth_and_reading(test, "g1");
	since_us = test->now.utc_us;
	pass(test, MINUTE);
	g_clear_pointer(&test->kernel->generation, g_free);
	g_array_set_size(test->kernel->readings, 0);
	birth(test, "g2");
	pass(test, MINUTE);
	sample(test);
	assert_gap(test, 0, since_us, test->now.utc_us);
}

static void test_counter_that_could_not_be_made(struct books_test *test, const void *data)
{
	int64_t since_us;

	birth_and_reading(test, "g1");
	set_meter(test, KIND_FLOATING, OTHER, FIXED + 1);
	g_array_index(test->plan->meters, struct planned_meter, 1).served = false;
	birth(test, "g1");
	since_us = test->now.utc_us;
	g_array_set_size(test->kernel->readings, 1);
	pass(test, MINUTE);
	birth(test, "g1"); /* not there, but nor is its address */
	g_assert_null(last_gap(test));
	g_array_set_size(test->kernel->readings, 1);
	pass(test, MINUTE);
	g_array_index(test->plan->meters, struct planned_meter, 1).served = true;
	birth(test, "g1");
	assert_gap(test, OTHER, since_us, test->now.utc_us);
	count(test, 1, 10, 0);
	pass(test, MINUTE);
	sample(test);
	g_assert_cmpuint(row(test, 0)->flags, ==, FLAG_GAP);
}

/* What is nobody's needs no address to be there. */
static void test_counter_of_nobody_that_could_not_be_made(struct books_test *test, const void *data)
{
	int64_t since_us = test->now.utc_us;

	g_array_set_size(test->plan->meters, 0);
	set_meter(test, KIND_UNATTRIBUTED, 0, 0);
	g_array_index(test->plan->meters, struct planned_meter, 0).served = false;
	birth(test, "g1");
	g_array_set_size(test->kernel->readings, 0);
	pass(test, MINUTE);
	birth(test, "g1");
	assert_gap(test, 0, since_us, test->now.utc_us);
}

static void test_counter_that_somebody_removed(struct books_test *test, const void *data)
{
	int64_t since_us;

	birth(test, "g1");
	count(test, 0, 1000, 0);
	pass(test, MINUTE);
	sample(test);
	since_us = test->now.utc_us;
	g_array_set_size(test->kernel->readings, 0);
	pass(test, MINUTE);
	birth(test, "g1");
	assert_gap(test, FIP, since_us, test->now.utc_us);
	count(test, 0, 2000, 0); /* beyond what the old one had */
	pass(test, MINUTE);
	sample(test);
	g_assert_cmpuint(row(test, 1)->counts.in_bytes, ==, 2000);
	g_assert_cmpuint(row(test, 1)->flags & (FLAG_RESET | FLAG_GAP), ==, FLAG_RESET | FLAG_GAP);
}

/* The agent ended right after a birth that had a gap before it, and its store was lost: of the second home there are the
 * meters alone. */
static void test_birth_with_a_gap_that_the_lost_store_had(struct books_test *test, const void *data)
{
	int64_t born_us;

	birth_and_reading(test, "g1");
	set_meter(test, KIND_FLOATING, OTHER, FIXED + 1);
	pass(test, MINUTE);
	birth(test, "g1");
	born_us = test->now.utc_us;
	g_ptr_array_set_size(test->coverage, 0);
	restart(test);
	count(test, 1, 7, 0);
	pass(test, MINUTE);
	sample(test);
	assert_gap(test, OTHER, born_us, test->now.utc_us);
	g_assert_cmpuint(row(test, 0)->flags, ==, FLAG_GAP | FLAG_CATCHUP);
}

/* The floating IP has gone and its counter stands; a minute later it comes again, to another VM. */
static void come_again(struct books_test *test, bool served)
{
	set_meter(test, KIND_FLOATING, OTHER, FIXED + 1);
	birth_and_reading(test, "g1");
	count(test, 1, 100, 0);
	g_array_set_size(test->plan->meters, 1);
	pass(test, MINUTE);
	sample(test);
	set_meter(test, KIND_FLOATING, OTHER, FIXED + 2);
	g_array_index(test->plan->meters, struct planned_meter, 1).served = served;
	pass(test, MINUTE);
	test->kernel->at = test->now; /* it was read before */
}

static void test_dead_counter_that_is_wanted_again_before_its_address(struct books_test *test, const void *data)
{
	come_again(test, false);
	birth(test, "g1");
	g_assert_null(last_gap(test));
	count(test, 1, 7, 0);
	pass(test, MINUTE);
	sample(test);
	g_assert_cmpuint(row(test, 1)->flags, ==, FLAG_UNKNOWN_START);
}

/* It may have been there until the router became standby. */
static void test_dead_counter_that_is_wanted_again_in_a_standby(struct books_test *test, const void *data)
{
	int64_t since_us;

	come_again(test, false);
	since_us = test->now.utc_us - MINUTE;
	test->plan->standby = true;
	birth(test, "g1");
	assert_gap(test, OTHER, since_us, test->now.utc_us);
}

static void test_dead_counter_that_still_stands_is_wanted_again(struct books_test *test, const void *data)
{
	int64_t since_us;

	come_again(test, true);
	since_us = test->now.utc_us - MINUTE;
	birth(test, "g1");
	assert_gap(test, OTHER, since_us, test->now.utc_us);
	count(test, 1, 7, 0);
	pass(test, MINUTE);
	sample(test);
	g_assert_cmpuint(row(test, 1)->counts.in_bytes, ==, 7);
	g_assert_cmpuint(row(test, 1)->flags, ==, FLAG_UNKNOWN_START | FLAG_GAP);
}

/* It has counted for another owner, and nothing yet for this one; the address is not there any more to ask for it. */
static void test_counter_that_somebody_removed_after_a_hand_over(struct books_test *test, const void *data)
{
	struct planned_meter *planned = &g_array_index(test->plan->meters, struct planned_meter, 0);
	int64_t since_us;

	birth_and_reading(test, "g1");
	planned->fixed++;
	pass(test, MINUTE);
	sample(test);
	since_us = test->now.utc_us;
	planned->served = false;
	g_array_set_size(test->kernel->readings, 0);
	pass(test, MINUTE);
	birth(test, "g1");
	assert_gap(test, FIP, since_us, test->now.utc_us);
}

static void test_last_reading_lacks_a_counter(struct books_test *test, const void *data)
{
	int64_t since_us;

	birth_and_reading(test, "g1");
	since_us = test->now.utc_us;
	g_array_set_size(test->kernel->readings, 0); /* nothing was booked of it yet */
	pass(test, MINUTE);
	end(test, test->kernel);
	assert_gap(test, FIP, since_us, test->now.utc_us);
	g_assert_cmpuint(test->rows->len, ==, 0);
}

/* Another one has its name already: what came there was not counted since we last knew better. */
static void test_last_reading_of_a_namespace_that_was_replaced(struct books_test *test, const void *data)
{
	struct instant known, read;

	birth_and_reading(test, "g1");
	pass(test, MINUTE);
	known = test->now;
	pass(test, MINUTE / 100);
	sample(test);
	pass(test, MINUTE);
	test->kernel->missed = "why";
	test->kernel->missed_since = known;
	end(test, test->kernel);
	assert_gap(test, 0, known.utc_us, test->now.utc_us);

	test->kernel->missed = NULL;
	birth_and_reading(test, "g2");
	pass(test, MINUTE);
	sample(test);
	read = test->now;
	pass(test, MINUTE);
	test->kernel->missed = "why";
	test->kernel->missed_since = test->now; /* and it has not been read since */
	pass(test, MINUTE);
	end(test, test->kernel);
	assert_gap(test, 0, read.utc_us, test->now.utc_us);
}

/* What the back end found out itself: each has a number of its own, so no gap goes on in another one. */
static void test_what_the_back_end_has_not_seen(struct books_test *test, const void *data)
{
	static const char *const told[] = { "out: 1 packets", "out: 2 packets" };
	int64_t since_us;

	metered_for_a_minute(test);
	for (unsigned i = 0; i < G_N_ELEMENTS(told); i++) {
		since_us = test->now.utc_us;
		count(test, 0, 100, 0);
		pass(test, MINUTE);
		g_free(test->kernel->unseen);
		test->kernel->unseen = g_strdup(told[i]);
		sample(test);
		assert_gap(test, 0, since_us, test->now.utc_us);
		g_assert_cmpstr(last_gap(test)->reason, ==, told[i]);
	}
	g_clear_pointer(&test->kernel->unseen, g_free);
	count(test, 0, 100, 0);
	pass(test, MINUTE);
	sample(test);
	since_us = test->now.utc_us;
	count(test, 0, 100, 0);
	pass(test, MINUTE);
	test->kernel->unseen = g_strdup("out: 3 packets");
	end(test, test->kernel);
	assert_gap(test, 0, since_us, test->now.utc_us);
	g_assert_cmpuint(row(test, test->rows->len - 1)->flags, ==, FLAG_GAP);
	g_assert_cmpuint(row(test, test->rows->len - 2)->flags, ==, 0);
	g_assert_cmpuint(row(test, test->rows->len - 3)->flags, ==, FLAG_GAP);
}

static void test_router_ended_before_its_new_address_was_counted(struct books_test *test, const void *data)
{
	int64_t since_us;

	birth_and_reading(test, "g1");
	since_us = test->now.utc_us;
	set_meter(test, KIND_FLOATING, OTHER, FIXED + 1);
	pass(test, MINUTE);
	end(test, test->kernel);
	assert_gap(test, OTHER, since_us, test->now.utc_us);
}

/* Its counter was made a moment after its birth was written down, and the commit of its first reading failed. */
static void test_router_ended_before_its_new_counter_was_read(struct books_test *test, const void *data)
{
	int64_t since_us;

	birth_and_reading(test, "g1");
	since_us = test->now.utc_us;
	pass(test, MINUTE);
	set_meter(test, KIND_FLOATING, OTHER, FIXED + 1);
	birth(test, "g1");
	count(test, 1, 10, 0);
	pass(test, MINUTE);
	end(test, test->kernel);
	assert_gap(test, OTHER, since_us, test->now.utc_us);
	g_assert_cmpuint(row(test, 0)->flags, ==, FLAG_GAP);
}

static void test_router_ended_before_an_arrival_was_counted(struct books_test *test, const void *data)
{
	birth_and_reading(test, "g1");
	pass(test, MINUTE);
	set_meter(test, KIND_FLOATING, OTHER, FIXED + 1);
	g_array_index(test->plan->meters, struct planned_meter, 1).served = false;
	test->plan->known_at = test->now;
	pass(test, MINUTE / 100);
	birth(test, "g1");
	g_array_index(test->plan->meters, struct planned_meter, 1).came = true;
	count(test, 1, 10, 0);
	pass(test, MINUTE / 100);
	end(test, test->kernel);
	assert_gap(test, OTHER, test->plan->known_at.utc_us, test->now.utc_us);
	g_assert_cmpuint(row(test, 0)->flags, ==, FLAG_GAP);
}

static void test_new_address_in_a_generation_that_takes_over(struct books_test *test, const void *data)
{
	int64_t since_us;

	birth_and_reading(test, "g1");
	since_us = test->now.utc_us;
	pass(test, MINUTE);
	set_meter(test, KIND_FLOATING, OTHER, FIXED + 1);
	birth(test, "g2"); /* beside g1, which is what was found */
	assert_gap(test, OTHER, since_us, test->now.utc_us);
}

/* What the old generation never counted, the one that takes over did from the address's first moment. */
static void test_new_address_that_the_next_generation_counts(struct books_test *test, const void *data)
{
	SCOPED(snapshot) *former = NULL;

	birth_and_reading(test, "g1");
	pass(test, MINUTE);
	former = test->kernel;
	test->kernel = snapshot_new();
	test->kernel->generation = g_strdup(former->generation);
	set_meter(test, KIND_FLOATING, OTHER, FIXED + 1);
	g_array_index(test->plan->meters, struct planned_meter, 1).served = false;
	birth(test, "g2");
	pass(test, MINUTE);
	end(test, former);
	sample(test);
	g_assert_cmpuint(test->coverage->len, ==, 1);
	g_assert_cmpint(((struct coverage *)test->coverage->pdata[0])->state, ==, STATE_METERED);
}

static void test_counter_that_another_agent_made_and_never_read(struct books_test *test, const void *data)
{
	int64_t since_us;

	birth_and_reading(test, "g1");
	set_meter(test, KIND_FLOATING, OTHER, FIXED + 1);
	g_array_index(test->plan->meters, struct planned_meter, 1).served = false;
	birth(test, "g1");
	since_us = test->now.utc_us;
	restart(test);
	g_array_index(test->plan->meters, struct planned_meter, 1).served = true;
	pass(test, MINUTE);
	birth(test, "g1");
	assert_gap(test, OTHER, since_us, test->now.utc_us);
	pass(test, MINUTE);
	birth(test, "g1"); /* said once */
	count(test, 1, 10, 0);
	pass(test, MINUTE);
	sample(test);
	assert_gap(test, OTHER, since_us, test->now.utc_us); /* until then nobody knows when it was made */
	g_assert_cmpuint(row(test, 0)->flags & FLAG_GAP, ==, FLAG_GAP);
}

static void test_arrival_counts_from_the_look(struct books_test *test, const void *data)
{
	birth_and_reading(test, "g1");
	pass(test, MINUTE);
	test->plan->known_at = test->now;
	pass(test, MINUTE / 100);
	set_meter(test, KIND_FLOATING, OTHER, FIXED + 1);
	g_array_index(test->plan->meters, struct planned_meter, 1).served = false;
	birth(test, "g1");
	g_array_index(test->plan->meters, struct planned_meter, 1).came = true;
	pass(test, MINUTE / 100);
	sample(test);
	assert_gap(test, OTHER, test->plan->known_at.utc_us, test->now.utc_us);
}

static void test_counter_that_goes_before_it_is_read(struct books_test *test, const void *data)
{
	int64_t since_us;

	birth(test, "g1");
	count(test, 0, 10, 0);
	sample(test);
	since_us = test->now.utc_us;
	g_array_set_size(test->kernel->readings, 0);
	pass(test, MINUTE);
	sample(test);
	assert_gap(test, FIP, since_us, test->now.utc_us);
	g_assert_cmpuint(ledger_open_meters(test->ledger)->len, ==, 0);
}

static void test_counter_that_goes_with_its_plan(struct books_test *test, const void *data)
{
	int64_t since_us;

	set_meter(test, KIND_FLOATING, OTHER, FIXED + 1);
	birth_and_reading(test, "g1");
	since_us = test->now.utc_us;
	g_array_set_size(test->plan->meters, 1);
	g_array_set_size(test->kernel->readings, 1);
	pass(test, MINUTE);
	sample(test);
	assert_gap(test, OTHER, since_us, test->now.utc_us);
	g_assert_cmpuint(ledger_open_meters(test->ledger)->len, ==, 1);
}

/* The old generation ends while its router looks like a standby; the one that takes over was made before that, and is
 * read for the first time when its router is master: the time between the two is said once. */
static void test_master_again_when_the_next_generation_is_read(struct books_test *test, const void *data)
{
	SCOPED(snapshot) *former = NULL;
	struct prefix local = { 0x0a000100, 24 };

	g_array_append_val(test->plan->local, local);
	birth_and_reading(test, "g1");
	pass(test, MINUTE);
	sample(test);
	former = test->kernel;
	test->kernel = snapshot_new();
	test->kernel->generation = g_strdup("g1");
	birth(test, "g2");
	pass(test, MINUTE);
	test->plan->standby = true;
	end(test, former);
	pass(test, MINUTE);
	test->plan->standby = false;
	sample(test);
	assert_coverage(test, (enum state[]){ STATE_METERED, STATE_STANDBY, STATE_METERED }, (int[]){ 2, 0, 1 }, 3);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	CASE(subnet_that_came_between_two_looks);
	CASE(gap_lasts_until_what_made_it_was_mended);
	CASE(lost_generation_is_a_gap);
	CASE(boot_with_the_clock_set_back_is_a_gap);
	CASE(clock_set_back_to_before_the_last_row);
	CASE(new_address_declares_what_it_missed);
	CASE(address_that_is_not_there_yet_missed_nothing);
	CASE(address_of_a_router_that_became_standby);
	CASE(address_that_came_before_its_counter);
	CASE(address_that_was_not_there_a_moment_ago);
	CASE(last_reading_of_a_namespace_leaves_no_gap);
	CASE(taken_down_and_killed_is_a_gap);
	CASE(master_that_was_standby_for_a_while);
	CASE(standby_that_was_never_seen_as_master);
	CASE(coverage_begins_when_the_counters_were_seen);
	CASE(gap_lasts_until_the_new_counters_were_seen);
	CASE(counter_that_could_not_be_made);
	CASE(counter_of_nobody_that_could_not_be_made);
	CASE(counter_that_somebody_removed);
	CASE(counter_that_somebody_removed_after_a_hand_over);
	CASE(dead_counter_that_still_stands_is_wanted_again);
	CASE(dead_counter_that_is_wanted_again_before_its_address);
	CASE(dead_counter_that_is_wanted_again_in_a_standby);
	CASE(birth_with_a_gap_that_the_lost_store_had);
	CASE(last_reading_lacks_a_counter);
	CASE(last_reading_of_a_namespace_that_was_replaced);
	CASE(what_the_back_end_has_not_seen);
	CASE(router_ended_before_its_new_address_was_counted);
	CASE(router_ended_before_its_new_counter_was_read);
	CASE(router_ended_before_an_arrival_was_counted);
	CASE(new_address_in_a_generation_that_takes_over);
	CASE(new_address_that_the_next_generation_counts);
	CASE(counter_that_another_agent_made_and_never_read);
	CASE(arrival_counts_from_the_look);
	CASE(counter_that_goes_before_it_is_read);
	CASE(counter_that_goes_with_its_plan);
	CASE(master_again_when_the_next_generation_is_read);
	return g_test_run();
}

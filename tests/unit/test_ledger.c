/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ledger over a made-up clock and made-up counters.  The store is played by a list of everything that was
 * committed, so that each case can end with the promise: the rows of every meter sum to last - first.
 */
#include "core/books.h"

#include "core/classes.h"
#include "core/plan.h"

#include <string.h>

#define MINUTE INT64_C(60000000)
#define FIP 0xc6336465u   /* 198.51.100.101 */
#define OTHER 0xc6336466u
#define FIXED 0x0a00010bu
#define NS "qrouter-one"

struct books_test {
	struct ledger *ledger;
	struct plan *plan;
	struct snapshot *kernel; /* what stands in the namespace */
	struct instant now;
	GArray *rows;            /* of struct usage: all that was committed */
	GHashTable *meters;      /* id -> struct meter: the latest state committed */
	GPtrArray *coverage;     /* of struct coverage: the latest state of each seq */
};

static void set_meter(struct books_test *test, enum kind kind, uint32_t address, uint32_t fixed)
{
	struct planned_meter meter = {
		.key = { .kind = kind, .address = address, .class_name = g_intern_string("internet") }, .fixed = fixed,
		.served = true,
	};

	g_array_append_val(test->plan->meters, meter);
}

static struct plan *plan_of_none(void)
{
	struct plan *plan = g_new0(struct plan, 1);

	plan->router = g_strdup("one");
	plan->ns = g_strdup(NS);
	plan->meters = g_array_new(FALSE, TRUE, sizeof(struct planned_meter));
	plan->local = g_array_new(FALSE, TRUE, sizeof(struct prefix));
	plan->ranges = g_array_new(FALSE, TRUE, sizeof(struct class_range));
	plan->classes = g_ptr_array_new();
	return plan;
}

static void set_up(struct books_test *test, const void *data)
{
	struct ledger_state state = {
		.meters = g_ptr_array_new(), .coverage = g_ptr_array_new(), .next_meter = 1, .next_coverage = 1,
	};

	memset(test, 0, sizeof *test);
	test->ledger = ledger_new("node", "boot", MINUTE, &state);
	test->plan = plan_of_none();
	set_meter(test, KIND_FLOATING, FIP, FIXED);
	test->kernel = snapshot_new();
	test->kernel->intact = true;
	test->now = (struct instant){ .utc_us = 1000 * MINUTE, .boot_us = MINUTE };
	test->rows = g_array_new(FALSE, FALSE, sizeof(struct usage));
	test->meters = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, (GDestroyNotify)meter_free);
	test->coverage = g_ptr_array_new_with_free_func((GDestroyNotify)coverage_free);
}

static void commit(struct books_test *test, struct batch *batch)
{
	for (unsigned i = 0; i < batch->meters->len; i++) {
		struct meter *meter = meter_copy(batch->meters->pdata[i]);

		g_hash_table_replace(test->meters, &meter->id, meter);
	}
	g_array_append_vals(test->rows, batch->usage->data, batch->usage->len);
	for (unsigned i = 0; i < batch->coverage->len; i++) {
		struct coverage *row = coverage_copy(batch->coverage->pdata[i]);

		for (unsigned j = 0; j < test->coverage->len; j++)
			if (((struct coverage *)test->coverage->pdata[j])->seq == row->seq)
				g_ptr_array_remove_index(test->coverage, j--);
		g_ptr_array_add(test->coverage, row);
	}
	ledger_adopt(test->ledger, batch);
	batch_free(batch);
}

/* The promise of core/ledger.h. */
static void assert_sums(struct books_test *test)
{
	GHashTableIter each;
	void *value;

	g_hash_table_iter_init(&each, test->meters);
	while (g_hash_table_iter_next(&each, NULL, &value)) {
		const struct meter *meter = value;
		struct counts sum = meter->first;

		for (unsigned i = 0; i < test->rows->len; i++)
			if (g_array_index(test->rows, struct usage, i).meter == meter->id)
				counts_add(&sum, &g_array_index(test->rows, struct usage, i).counts);
		g_assert_cmpmem(&sum, sizeof sum, &meter->last, sizeof meter->last);
	}
}

static void tear_down(struct books_test *test, const void *data)
{
	assert_sums(test);
	ledger_free(test->ledger);
	plan_free(test->plan);
	snapshot_free(test->kernel);
	g_array_unref(test->rows);
	g_hash_table_unref(test->meters);
	g_ptr_array_unref(test->coverage);
}

static void birth(struct books_test *test, const char *tag)
{
	struct batch *batch = batch_new();

	ledger_open(test->ledger, test->plan, tag, BASIS_SKB, test->kernel, NULL, &test->now, batch);
	commit(test, batch);
	g_free(test->kernel->generation);
	test->kernel->generation = g_strdup(tag);
	for (unsigned i = 0; i < test->plan->meters->len; i++) {
		struct reading fresh = { .key = g_array_index(test->plan->meters, struct planned_meter, i).key };

		if (!snapshot_find(test->kernel, &fresh.key))
			g_array_append_val(test->kernel->readings, fresh);
	}
	g_array_sort(test->kernel->readings, snapshot_compare);
}

static void sample(struct books_test *test);

/* As the agent does: what was made is read at once. */
static void birth_and_reading(struct books_test *test, const char *tag)
{
	birth(test, tag);
	sample(test);
}

static void count(struct books_test *test, unsigned i, uint64_t in, uint64_t out)
{
	struct reading *reading = &g_array_index(test->kernel->readings, struct reading, i);

	counts_add(&reading->counts, &(struct counts){ in, in ? 1 : 0, out, out ? 1 : 0 });
}

static void pass(struct books_test *test, int64_t us)
{
	test->now.utc_us += us;
	test->now.boot_us += us;
}

static void sample(struct books_test *test)
{
	struct batch *batch = batch_new();

	test->kernel->at = test->now;
	ledger_settle(test->ledger, test->plan, BASIS_SKB, test->kernel, batch);
	commit(test, batch);
}

static const struct usage *row(const struct books_test *test, unsigned i)
{
	g_assert_cmpuint(i, <, test->rows->len);
	return &g_array_index(test->rows, struct usage, i);
}

/* A new process over what the old one committed. */
static void restart(struct books_test *test)
{
	struct ledger_state state = {
		.meters = g_ptr_array_new_with_free_func((GDestroyNotify)meter_free),
		.coverage = g_ptr_array_new_with_free_func((GDestroyNotify)coverage_free),
		.next_meter = g_hash_table_size(test->meters) + 1, .next_coverage = test->coverage->len + 1,
	};
	g_autoptr(GPtrArray) open = ledger_open_meters(test->ledger);

	for (unsigned i = 0; i < open->len; i++)
		g_ptr_array_add(state.meters, meter_copy(open->pdata[i]));
	for (unsigned i = 0; i < test->coverage->len; i++)
		g_ptr_array_add(state.coverage, coverage_copy(test->coverage->pdata[i]));
	ledger_free(test->ledger);
	test->ledger = ledger_new("node", "boot", MINUTE, &state);
}

static void assert_coverage(const struct books_test *test, const enum state *states, const int *minutes, unsigned n)
{
	g_assert_cmpuint(test->coverage->len, ==, n);
	for (unsigned i = 0; i < n; i++) {
		const struct coverage *row = test->coverage->pdata[i];

		g_assert_cmpint(row->state, ==, states[i]);
		g_assert_cmpint(row->end_us - row->start_us, ==, minutes[i] * MINUTE);
	}
}

/* ---- cases ---- */

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

static void test_subnet_that_came_between_two_looks(struct books_test *test, const void *data)
{
	static const enum state states[] = { STATE_METERED, STATE_GAP, STATE_METERED };
	static const int minutes[] = { 1, 1, 1 };
	struct batch *batch = batch_new();

	birth_and_reading(test, "g1");
	pass(test, MINUTE);
	sample(test);
	count(test, 0, 100, 0);
	pass(test, MINUTE);
	ledger_miss(test->ledger, test->plan, "why", &test->now, batch);
	commit(test, batch);
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

static void end(struct books_test *test, struct snapshot *last)
{
	struct batch *batch = batch_new();

	last->at = test->now;
	ledger_end(test->ledger, test->plan, last, batch);
	commit(test, batch);
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

/* ---- what could not be counted ---- */

static const struct coverage *last_gap(const struct books_test *test)
{
	for (unsigned i = test->coverage->len; i > 0; i--) {
		const struct coverage *row = test->coverage->pdata[i - 1];

		if (row->state == STATE_GAP)
			return row;
	}
	return NULL;
}

static void assert_gap(const struct books_test *test, uint32_t address, int64_t from_us, int64_t to_us)
{
	const struct coverage *gap = last_gap(test);

	g_assert_nonnull(gap);
	g_assert_cmpuint(gap->address, ==, address);
	g_assert_cmpint(gap->start_us, ==, from_us);
	g_assert_cmpint(gap->end_us, ==, to_us);
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

static void test_last_reading_after_a_move_is_flagged(struct books_test *test, const void *data)
{
	birth_and_reading(test, "g1");
	count(test, 0, 10, 0);
	pass(test, MINUTE);
	g_array_index(test->plan->meters, struct planned_meter, 0).fixed = FIXED + 1;
	end(test, test->kernel);
	g_assert_cmpuint(row(test, 0)->flags, ==, FLAG_MOVED);
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
	sample(test);
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
	g_assert_cmpuint(row(test, 0)->flags, ==, 0);
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

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define CASE(name) \
	g_test_add("/ledger/" #name, struct books_test, NULL, set_up, test_##name, tear_down)
	CASE(whole_value_is_usage);
	CASE(no_traffic_makes_no_row_but_moves_the_start);
	CASE(commit_that_fails_makes_a_longer_row);
	CASE(restart_goes_on_from_the_baseline);
	CASE(found_counter_starts_at_what_it_shows);
	CASE(counter_set_back_is_no_usage);
	CASE(hand_over_splits_at_one_reading);
	CASE(death_takes_the_last_reading);
	CASE(subnet_that_came_between_two_looks);
	CASE(lost_generation_is_a_gap);
	CASE(namespace_gone_ends_its_meters);
	CASE(what_is_gone_for_long_is_forgotten);
	CASE(what_was_inherited_is_forgotten);
	CASE(new_address_declares_what_it_missed);
	CASE(address_that_is_not_there_yet_missed_nothing);
	CASE(address_that_came_before_its_counter);
	CASE(address_that_was_not_there_a_moment_ago);
	CASE(change_that_is_followed_at_once_needs_no_flag);
	CASE(last_reading_of_a_namespace_leaves_no_gap);
	CASE(one_generation_takes_over_from_another);
	CASE(birth_killed_before_the_kernel_is_taken_up);
	CASE(taken_down_and_killed_is_a_gap);
	CASE(clock_steps_change_no_sum);
	CASE(master_that_was_standby_for_a_while);
	CASE(standby_that_was_never_seen_as_master);
	CASE(coverage_begins_when_the_counters_were_seen);
	CASE(gap_lasts_until_the_new_counters_were_seen);
	CASE(counter_that_could_not_be_made);
	CASE(counter_that_somebody_removed);
	CASE(last_reading_lacks_a_counter);
	CASE(last_reading_after_a_move_is_flagged);
	CASE(router_ended_before_its_new_address_was_counted);
	CASE(new_address_in_a_generation_that_takes_over);
	CASE(counter_that_another_agent_made_and_never_read);
	CASE(arrival_counts_from_the_look);
	CASE(books_that_were_never_opened_say_nothing);
	CASE(birth_is_committed_once);
	CASE(birth_beside_counters_of_nobody);
	CASE(one_tag_in_two_namespaces);
	CASE(plan_of_nothing_ends_what_there_was);
	CASE(state_is_cleared_twice);
	CASE(counter_that_goes_before_it_is_read);
	CASE(counter_that_goes_with_its_plan);
	CASE(random_histories);
	return g_test_run();
}

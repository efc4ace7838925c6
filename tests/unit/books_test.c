/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See books_test.h.
 */
#include "books_test.h"

#include <string.h>

void set_meter(struct books_test *test, enum kind kind, uint32_t address, uint32_t fixed)
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

void set_up(struct books_test *test, const void *data)
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

void commit(struct books_test *test, struct batch *batch)
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

void tear_down(struct books_test *test, const void *data)
{
	assert_sums(test);
	ledger_free(test->ledger);
	plan_free(test->plan);
	snapshot_free(test->kernel);
	g_array_unref(test->rows);
	g_hash_table_unref(test->meters);
	g_ptr_array_unref(test->coverage);
}

void birth(struct books_test *test, const char *tag)
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

void birth_and_reading(struct books_test *test, const char *tag)
{
	birth(test, tag);
	sample(test);
}

void count(struct books_test *test, unsigned i, uint64_t in, uint64_t out)
{
	struct reading *reading = &g_array_index(test->kernel->readings, struct reading, i);

	counts_add(&reading->counts, &(struct counts){ in, in ? 1 : 0, out, out ? 1 : 0 });
}

void pass(struct books_test *test, int64_t us)
{
	test->now.utc_us += us;
	test->now.boot_us += us;
}

void sample(struct books_test *test)
{
	struct batch *batch = batch_new();

	test->kernel->at = test->now;
	ledger_settle(test->ledger, test->plan, BASIS_SKB, test->kernel, batch);
	commit(test, batch);
}

const struct usage *row(const struct books_test *test, unsigned i)
{
	g_assert_cmpuint(i, <, test->rows->len);
	return &g_array_index(test->rows, struct usage, i);
}

void restart_in(struct books_test *test, const char *boot)
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
	test->ledger = ledger_new("node", boot, MINUTE, &state);
}

void restart(struct books_test *test)
{
	restart_in(test, "boot");
}

void assert_coverage(const struct books_test *test, const enum state *states, const int *minutes, unsigned n)
{
	g_assert_cmpuint(test->coverage->len, ==, n);
	for (unsigned i = 0; i < n; i++) {
		const struct coverage *row = test->coverage->pdata[i];

		g_assert_cmpint(row->state, ==, states[i]);
		g_assert_cmpint(row->end_us - row->start_us, ==, minutes[i] * MINUTE);
	}
}

const struct coverage *last_gap(const struct books_test *test)
{
	for (unsigned i = test->coverage->len; i > 0; i--) {
		const struct coverage *row = test->coverage->pdata[i - 1];

		if (row->state == STATE_GAP)
			return row;
	}
	return NULL;
}

void assert_gap(const struct books_test *test, uint32_t address, int64_t from_us, int64_t to_us)
{
	const struct coverage *gap = last_gap(test);

	g_assert_nonnull(gap);
	g_assert_cmpuint(gap->address, ==, address);
	g_assert_cmpint(gap->start_us, ==, from_us);
	g_assert_cmpint(gap->end_us, ==, to_us);
}

void end(struct books_test *test, struct snapshot *last)
{
	struct batch *batch = batch_new();

	last->at = test->now;
	ledger_end(test->ledger, test->plan, last, batch);
	commit(test, batch);
}

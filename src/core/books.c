/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ledger's memory: built from the store at start, changed by adopting a committed batch and by nothing else.
 */
#include "core/books.h"

#include "core/residue.h"

#include <string.h>

#define FORGET_US (3600 * INT64_C(1000000))

/* ---- batch ---- */

struct batch *batch_new(void)
{
	struct batch *batch = g_new(struct batch, 1);

	batch->generations = g_ptr_array_new_with_free_func((GDestroyNotify)generation_unref);
	batch->meters = g_ptr_array_new_with_free_func((GDestroyNotify)meter_free);
	batch->usage = g_array_new(FALSE, TRUE, sizeof(struct usage));
	batch->coverage = g_ptr_array_new_with_free_func((GDestroyNotify)coverage_free);
	batch->residues = g_ptr_array_new_with_free_func((GDestroyNotify)residue_free);
	batch->meters_begun = batch->coverage_begun = 0;
	return batch;
}

void batch_free(struct batch *batch)
{
	if (!batch)
		return;
	g_ptr_array_unref(batch->generations);
	g_ptr_array_unref(batch->meters);
	g_array_unref(batch->usage);
	g_ptr_array_unref(batch->coverage);
	g_ptr_array_unref(batch->residues);
	g_free(batch);
}

bool batch_is_empty(const struct batch *batch)
{
	return !(batch->generations->len + batch->meters->len + batch->usage->len + batch->coverage->len +
	         batch->residues->len);
}

/* ---- sets ---- */

static guint meter_hash(const void *data)
{
	const struct meter *meter = data;

	return g_str_hash(meter->of->tag) ^ (meter->key.address * 2654435761u) ^
	       g_direct_hash(meter->key.class_name) ^ meter->key.kind;
}

static gboolean meter_equal(const void *a, const void *b)
{
	const struct meter *first = a, *second = b;

	return !meter_key_compare(&first->key, &second->key) && g_str_equal(first->of->tag, second->of->tag);
}

static guint coverage_hash(const void *data)
{
	const struct coverage *coverage = data;

	return g_str_hash(coverage->router) ^ (coverage->address * 2654435761u);
}

static gboolean coverage_equal(const void *a, const void *b)
{
	const struct coverage *first = a, *second = b;

	return first->address == second->address && g_str_equal(first->router, second->router);
}

static void books_free(void *data)
{
	struct books *books = data;

	generation_unref(books->generation);
	g_hash_table_unref(books->meters);
	g_free(books);
}

static struct books *books_of(struct ledger *ledger, const char *ns)
{
	struct books *books = g_hash_table_lookup(ledger->books, ns);

	if (!books) {
		books = g_new0(struct books, 1);
		books->meters = g_hash_table_new_full(meter_hash, meter_equal, (GDestroyNotify)meter_free, NULL);
		g_hash_table_insert(ledger->books, g_strdup(ns), books);
	}
	return books;
}

const struct meter *books_find_meter(const struct books *books, const char *tag, const struct meter_key *key)
{
	struct generation of = { .tag = (char *)tag };
	struct meter wanted = { .of = &of, .key = *key };

	return books ? g_hash_table_lookup(books->meters, &wanted) : NULL;
}

const struct books *books_find(const struct ledger *ledger, const char *ns)
{
	return g_hash_table_lookup(ledger->books, ns);
}

struct generation *books_find_generation(const struct books *books, const char *tag)
{
	GHashTableIter each;
	void *meter;

	if (books->generation && g_str_equal(books->generation->tag, tag))
		return books->generation;
	g_hash_table_iter_init(&each, books->meters);
	while (g_hash_table_iter_next(&each, &meter, NULL))
		if (g_str_equal(((struct meter *)meter)->of->tag, tag))
			return ((struct meter *)meter)->of;
	return NULL;
}

const struct coverage *books_latest_coverage(const struct ledger *ledger, const struct batch *batch,
                                             const char *router, uint32_t address)
{
	struct coverage wanted = { .router = (char *)router, .address = address };

	for (unsigned i = batch->coverage->len; i > 0; i--)
		if (coverage_equal(batch->coverage->pdata[i - 1], &wanted))
			return batch->coverage->pdata[i - 1];
	return g_hash_table_lookup(ledger->coverage, &wanted);
}

/* ---- life ---- */

void ledger_state_clear(struct ledger_state *state)
{
	g_clear_pointer(&state->meters, g_ptr_array_unref);
	g_clear_pointer(&state->coverage, g_ptr_array_unref);
}

static void take_meter(struct ledger *ledger, struct meter *loaded)
{
	struct books *books = books_of(ledger, loaded->of->ns);

	if (!books->generation || books->generation->read_at.utc_us < loaded->of->read_at.utc_us) {
		generation_unref(books->generation);
		books->generation = generation_ref(loaded->of);
	}
	loaded->of->catchup = true;
	g_hash_table_add(books->meters, loaded);
}

void ledger_set_interval(struct ledger *ledger, int64_t interval_us)
{
	ledger->interval_us = interval_us;
}

struct ledger *ledger_new(const char *node, const char *boot, int64_t interval_us, struct ledger_state *state)
{
	struct ledger *ledger = g_new0(struct ledger, 1);
	g_autofree struct meter **meters = NULL;
	size_t n;

	ledger->node = g_strdup(node);
	ledger->boot = g_strdup(boot);
	ledger_set_interval(ledger, interval_us);
	ledger->books = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, books_free);
	ledger->coverage = g_hash_table_new_full(coverage_hash, coverage_equal, (GDestroyNotify)coverage_free, NULL);
	ledger->next_meter = ledger->first_own_meter = state->next_meter;
	ledger->next_coverage = state->next_coverage;
	meters = (struct meter **)g_ptr_array_steal(state->meters, &n);
	for (size_t i = 0; i < n; i++)
		take_meter(ledger, meters[i]);
	ledger->inherited = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	for (unsigned i = 0; i < state->coverage->len; i++) {
		const struct coverage *row = state->coverage->pdata[i];

		g_hash_table_add(ledger->coverage, coverage_copy(row));
		if (!row->address)
			g_hash_table_add(ledger->inherited, g_strdup(row->router));
	}
	ledger_state_clear(state);
	return ledger;
}

void ledger_free(struct ledger *ledger)
{
	if (!ledger)
		return;
	g_hash_table_unref(ledger->books);
	g_hash_table_unref(ledger->coverage);
	g_hash_table_unref(ledger->inherited);
	g_free(ledger->node);
	g_free(ledger->boot);
	g_free(ledger);
}

bool ledger_knows(const struct ledger *ledger, const char *ns)
{
	return g_hash_table_contains(ledger->books, ns);
}

GPtrArray *ledger_open_meters(const struct ledger *ledger)
{
	GPtrArray *open = g_ptr_array_new();
	GHashTableIter each_ns, each_meter;
	void *books, *meter;

	g_hash_table_iter_init(&each_ns, ledger->books);
	while (g_hash_table_iter_next(&each_ns, NULL, &books)) {
		g_hash_table_iter_init(&each_meter, ((struct books *)books)->meters);
		while (g_hash_table_iter_next(&each_meter, &meter, NULL))
			g_ptr_array_add(open, meter);
	}
	return open;
}

/* ---- adoption ---- */

static void adopt_generation(struct ledger *ledger, struct generation *generation)
{
	struct books *books = books_of(ledger, generation->ns);
	struct generation *known = books_find_generation(books, generation->tag);

	if (known) {
		if (generation->read_at.boot_us > known->read_at.boot_us)
			known->catchup = false;
		known->read_at = generation->read_at;
		return;
	}
	generation_unref(books->generation);
	books->generation = generation_ref(generation);
}

static void adopt_meter(struct ledger *ledger, const struct meter *changed)
{
	struct books *books = books_of(ledger, changed->of->ns);
	struct meter *meter;

	if (changed->closed_us) {
		g_hash_table_remove(books->meters, changed);
		return;
	}
	meter = meter_copy(changed);
	g_hash_table_replace(books->meters, meter, meter);
}

static gboolean has_no_meters(void *ns, void *books, void *data)
{
	return !g_hash_table_size(((struct books *)books)->meters);
}

void ledger_adopt(struct ledger *ledger, const struct batch *batch)
{
	for (unsigned i = 0; i < batch->generations->len; i++)
		adopt_generation(ledger, batch->generations->pdata[i]);
	for (unsigned i = 0; i < batch->meters->len; i++)
		adopt_meter(ledger, batch->meters->pdata[i]);
	for (unsigned i = 0; i < batch->coverage->len; i++) {
		struct coverage *row = coverage_copy(batch->coverage->pdata[i]);

		if (!row->address)
			g_hash_table_remove(ledger->inherited, row->router);
		g_hash_table_replace(ledger->coverage, row, row);
	}
	g_hash_table_foreach_remove(ledger->books, has_no_meters, NULL);
	ledger->next_meter += batch->meters_begun;
	ledger->next_coverage += batch->coverage_begun;
}

/* ---- forgetting ---- */

struct living {
	GHashTable *routers; /* set of const char * */
	int64_t since_us;
};

static bool is_living(const struct living *living, const char *router)
{
	return g_hash_table_contains(living->routers, router);
}

static gboolean is_past(void *item, void *unused, void *data)
{
	const struct coverage *row = item;

	return row->end_us < ((struct living *)data)->since_us && !is_living(data, row->router);
}

/* Only those that nothing is remembered of any more. */
static gboolean is_unknown(void *router, void *unused, void *data)
{
	return !is_living(data, router);
}

static void add_living(const struct ledger *ledger, GHashTable *present, GHashTable *routers)
{
	GHashTableIter each;
	void *item;

	g_hash_table_iter_init(&each, present);
	while (g_hash_table_iter_next(&each, &item, NULL))
		g_hash_table_add(routers, (char *)router_name_of(item));
	g_hash_table_iter_init(&each, ledger->books);
	while (g_hash_table_iter_next(&each, NULL, &item))
		g_hash_table_add(routers, ((struct books *)item)->generation->router);
}

void ledger_forget(struct ledger *ledger, GHashTable *present, const struct instant *now)
{
	g_autoptr(GHashTable) routers = g_hash_table_new(g_str_hash, g_str_equal);
	struct living living = { routers, now->utc_us - FORGET_US };
	GHashTableIter each;
	void *row;

	add_living(ledger, present, routers);
	if (!g_hash_table_foreach_remove(ledger->coverage, is_past, &living))
		return;
	g_hash_table_iter_init(&each, ledger->coverage);
	while (g_hash_table_iter_next(&each, &row, NULL))
		g_hash_table_add(routers, ((struct coverage *)row)->router);
	g_hash_table_foreach_remove(ledger->inherited, is_unknown, &living);
}

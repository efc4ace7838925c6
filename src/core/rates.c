/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See rates.h.
 */
#include "core/rates.h"

#include <string.h>

/* ---- what is held ---- */

struct place { /* a namespace */
	char *generation;
	int64_t read_us;    /* boot clock */
	const char *router; /* interned */
	GHashTable *addresses; /* of struct rate, by kind and address (as a pointer) */
};

struct rates {
	GHashTable *places; /* namespace -> struct place */
	GPtrArray *classes;
	uint64_t turn;
};

static void rate_free(void *data)
{
	struct rate *rate = data;

	g_array_unref(rate->classes);
	g_free(rate);
}

static void place_free(void *data)
{
	struct place *place = data;

	g_hash_table_unref(place->addresses);
	g_free(place->generation);
	g_free(place);
}

struct rates *rates_new(void)
{
	struct rates *rates = g_new0(struct rates, 1);

	rates->places = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, place_free);
	rates->classes = g_ptr_array_new();
	return rates;
}

void rates_free(struct rates *rates)
{
	if (!rates)
		return;
	g_hash_table_unref(rates->places);
	g_ptr_array_unref(rates->classes);
	g_free(rates);
}

void rates_forget(struct rates *rates, const char *ns)
{
	g_hash_table_remove(rates->places, ns);
}

/* ---- a turn ---- */

void rates_begin(struct rates *rates)
{
	rates->turn++;
}

static struct place *place_of(struct rates *rates, const char *ns)
{
	struct place *place = g_hash_table_lookup(rates->places, ns);

	if (place)
		return place;
	place = g_new0(struct place, 1);
	place->router = g_intern_string(router_name_of(ns));
	place->addresses = g_hash_table_new_full(g_direct_hash, g_direct_equal, NULL, rate_free);
	g_hash_table_insert(rates->places, g_strdup(ns), place);
	return place;
}

static struct rate *rate_of(struct place *place, const struct meter_key *key)
{
	void *name = (void *)((uintptr_t)key->kind << 32 | key->address);
	struct rate *rate = g_hash_table_lookup(place->addresses, name);

	if (rate)
		return rate;
	rate = g_new0(struct rate, 1);
	rate->router = place->router;
	rate->kind = key->kind;
	rate->address = key->address;
	rate->classes = g_array_new(FALSE, TRUE, sizeof(struct rate_class));
	g_hash_table_insert(place->addresses, name, rate);
	return rate;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void know_class(struct rates *rates, const char *name)
{
	if (g_ptr_array_find(rates->classes, name, NULL))
		return;
	g_ptr_array_add(rates->classes, (void *)name);
	g_ptr_array_sort(rates->classes, compare_names);
}

static struct rate_class *class_of(struct rates *rates, struct rate *rate, const char *name)
{
	struct rate_class new = { .name = name };

	for (unsigned i = 0; i < rate->classes->len; i++)
		if (g_array_index(rate->classes, struct rate_class, i).name == name)
			return &g_array_index(rate->classes, struct rate_class, i);
	know_class(rates, name);
	g_array_append_val(rate->classes, new);
	return &g_array_index(rate->classes, struct rate_class, rate->classes->len - 1);
}

/* follows: the counters were read before, and are the same ones. */
static void take_reading(struct rates *rates, struct place *place, const struct reading *reading, bool follows, int64_t took_us)
{
	struct rate *rate = rate_of(place, &reading->key);
	struct rate_class *class = class_of(rates, rate, reading->key.class_name);

	if (rate->turn != rates->turn) { /* its first class in this turn */
		rate->moved = (struct counts){ 0 };
		rate->took_us = 0;
		rate->turn = rates->turn;
	}
	class->moved = (struct counts){ 0 };
	if (follows && class->turn && !counts_is_below(&reading->counts, &class->last)) {
		class->moved = counts_minus(&reading->counts, &class->last);
		rate->took_us = took_us;
	}
	counts_add(&rate->moved, &class->moved);
	class->last = reading->counts;
	class->turn = rates->turn;
}

void rates_take(struct rates *rates, const char *ns, const struct snapshot *snapshot)
{
	struct place *place = place_of(rates, ns);
	bool follows = snapshot->generation && !g_strcmp0(place->generation, snapshot->generation);
	int64_t took_us = MAX(snapshot->at.boot_us - place->read_us, 1);

	for (unsigned i = 0; i < snapshot->readings->len; i++)
		take_reading(rates, place, &g_array_index(snapshot->readings, struct reading, i), follows, took_us);
	if (!follows) {
		g_free(place->generation);
		place->generation = g_strdup(snapshot->generation);
	}
	place->read_us = snapshot->at.boot_us;
}

/* A class that has gone counts no more; one that comes back is a new one. */
static void drop_classes(struct rate *rate, uint64_t turn)
{
	for (unsigned i = rate->classes->len; i > 0; i--)
		if (g_array_index(rate->classes, struct rate_class, i - 1).turn != turn)
			g_array_remove_index_fast(rate->classes, i - 1);
}

/* Of a namespace that was read in this turn. */
static gboolean end_rate(void *key, void *value, void *data)
{
	struct rate *rate = value;
	uint64_t turn = *(const uint64_t *)data;

	if (rate->turn != turn)
		return TRUE;
	drop_classes(rate, turn);
	rate->history[turn % RATES_HISTORY] = rate_per_second(rate, rate->moved.in_bytes + rate->moved.out_bytes);
	return FALSE;
}

static bool was_read(const struct place *place, uint64_t turn)
{
	GHashTableIter each;
	void *rate;

	g_hash_table_iter_init(&each, place->addresses);
	while (g_hash_table_iter_next(&each, NULL, &rate))
		if (((struct rate *)rate)->turn == turn)
			return true;
	return false;
}

static void pass_over(struct place *place, uint64_t turn)
{
	GHashTableIter each;
	void *value;

	g_hash_table_iter_init(&each, place->addresses);
	while (g_hash_table_iter_next(&each, NULL, &value)) {
		struct rate *rate = value;

		rate->moved = (struct counts){ 0 };
		rate->took_us = 0;
		rate->turn = turn;
		rate->history[turn % RATES_HISTORY] = 0;
		for (unsigned i = 0; i < rate->classes->len; i++)
			g_array_index(rate->classes, struct rate_class, i).moved = (struct counts){ 0 };
	}
}

void rates_end(struct rates *rates)
{
	GHashTableIter each;
	void *place;

	g_hash_table_iter_init(&each, rates->places);
	while (g_hash_table_iter_next(&each, NULL, &place))
		if (was_read(place, rates->turn))
			g_hash_table_foreach_remove(((struct place *)place)->addresses, end_rate, &rates->turn);
		else
			pass_over(place, rates->turn);
}

/* ---- what is to be seen ---- */

static const char *const sort_names[] = {
	[RATES_BY_TOTAL] = "total", [RATES_BY_IN] = "in", [RATES_BY_OUT] = "out", [RATES_BY_PACKETS] = "packets",
	[RATES_BY_ADDRESS] = "address", [RATES_BY_ROUTER] = "router",
};

bool rates_sort_from_name(const char *name, enum rates_sort *sort)
{
	for (unsigned i = 0; i < RATES_SORTS; i++)
		if (g_str_equal(name, sort_names[i])) {
			*sort = (enum rates_sort)i;
			return true;
		}
	return false;
}

const char *rates_sort_name(enum rates_sort sort)
{
	return sort_names[sort];
}

unsigned rates_count(const struct rates *rates)
{
	GHashTableIter each;
	unsigned n = 0;
	void *place;

	g_hash_table_iter_init(&each, rates->places);
	while (g_hash_table_iter_next(&each, NULL, &place))
		n += g_hash_table_size(((struct place *)place)->addresses);
	return n;
}

const GPtrArray *rates_classes(const struct rates *rates)
{
	return rates->classes;
}

struct counts rate_moved(const struct rate *rate, const char *class_name)
{
	if (!class_name)
		return rate->moved;
	for (unsigned i = 0; i < rate->classes->len; i++)
		if (g_array_index(rate->classes, struct rate_class, i).name == class_name)
			return g_array_index(rate->classes, struct rate_class, i).moved;
	return (struct counts){ 0 };
}

uint64_t rate_per_second(const struct rate *rate, uint64_t moved)
{
	return rate->took_us ? (uint64_t)((double)moved * 1e6 / (double)rate->took_us + 0.5) : 0;
}

uint64_t rate_history(const struct rate *rate, unsigned ago)
{
	return ago < RATES_HISTORY && ago < rate->turn ? rate->history[(rate->turn - ago) % RATES_HISTORY] : 0;
}

static bool is_seen(const struct rate *rate, const struct rates_view *view)
{
	struct counts moved = rate_moved(rate, view->class_name);
	g_autofree char *address = NULL;

	if (view->busy && counts_is_zero(&moved))
		return false;
	if (!view->filter || !*view->filter)
		return true;
	address = address_to_string(rate->address);
	return strstr(address, view->filter) || strstr(rate->router, view->filter);
}

static uint64_t weight(const struct rate *rate, const struct rates_view *view)
{
	struct counts moved = rate_moved(rate, view->class_name);

	switch (view->sort) {
	case RATES_BY_IN:
		return rate_per_second(rate, moved.in_bytes);
	case RATES_BY_OUT:
		return rate_per_second(rate, moved.out_bytes);
	case RATES_BY_PACKETS:
		return rate_per_second(rate, moved.in_packets + moved.out_packets);
	case RATES_BY_TOTAL:
	case RATES_BY_ADDRESS:
	case RATES_BY_ROUTER:
	case RATES_SORTS:
		break;
	}
	return rate_per_second(rate, moved.in_bytes + moved.out_bytes);
}

/* Those of the highest rate first; what is alike by address. */
static int compare(const void *a, const void *b, void *data)
{
	const struct rate *x = *(const struct rate *const *)a, *y = *(const struct rate *const *)b;
	const struct rates_view *view = data;
	uint64_t of_x = weight(x, view), of_y = weight(y, view);
	int routers = strcmp(x->router, y->router);

	if (view->sort == RATES_BY_ROUTER && routers)
		return routers;
	if (view->sort != RATES_BY_ADDRESS && of_x != of_y)
		return of_x < of_y ? 1 : -1;
	if (x->address != y->address)
		return x->address < y->address ? -1 : 1;
	return routers ? routers : (int)x->kind - (int)y->kind;
}

GPtrArray *rates_list(const struct rates *rates, const struct rates_view *view)
{
	GPtrArray *list = g_ptr_array_new();
	GHashTableIter places, addresses;
	void *place, *rate;

	g_hash_table_iter_init(&places, rates->places);
	while (g_hash_table_iter_next(&places, NULL, &place)) {
		g_hash_table_iter_init(&addresses, ((struct place *)place)->addresses);
		while (g_hash_table_iter_next(&addresses, NULL, &rate))
			if (is_seen(rate, view))
				g_ptr_array_add(list, rate);
	}
	g_ptr_array_sort_with_data(list, compare, (void *)view);
	return list;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From a struct router to a struct plan: one meter for each public address and class.
 */
#include "core/plan.h"

#include "core/prefix.h"

#include <string.h>

static void add_meters(struct plan *plan, enum kind kind, uint32_t address, uint32_t fixed, bool served)
{
	for (unsigned i = 0; i < plan->classes->len; i++) {
		struct planned_meter meter = {
			.key = { .kind = kind, .address = address, .class_name = plan->classes->pdata[i] },
			.fixed = fixed, .served = served,
		};

		g_array_append_val(plan->meters, meter);
	}
}

bool plan_is_standby(const struct router *router)
{
	if (router->gateway_served)
		return false;
	for (unsigned i = 0; i < router->floating->len; i++)
		if (g_array_index(router->floating, struct floating, i).served)
			return false;
	return router->gateway || router->floating->len;
}

static int compare_planned(const void *a, const void *b)
{
	const struct planned_meter *first = a, *second = b;

	return meter_key_compare(&first->key, &second->key);
}

struct plan *plan_make(const struct router *router, const struct classes *classes)
{
	struct plan *plan = g_new0(struct plan, 1);

	plan->router = g_strdup(router->name);
	plan->ns = g_strdup(router->ns);
	plan->dvr = router->dvr;
	plan->standby = plan_is_standby(router);
	plan->gateway = router->gateway;
	plan->meters = g_array_new(FALSE, TRUE, sizeof(struct planned_meter));
	plan->local = prefixes_disjoint(router->local);
	plan->ranges = classes_flatten(classes, router->onlink);
	plan->classes = classes_names(classes);
	if (!router->external)
		return plan;

	for (unsigned i = 0; i < router->floating->len; i++) {
		const struct floating *floating = &g_array_index(router->floating, struct floating, i);

		add_meters(plan, KIND_FLOATING, floating->address, floating->fixed, floating->served);
	}
	if (router->gateway)
		add_meters(plan, KIND_GATEWAY, router->gateway, 0, router->gateway_served);
	else if (!router->dvr)
		add_meters(plan, KIND_UNATTRIBUTED, 0, 0, false);
	g_array_sort(plan->meters, compare_planned);
	return plan;
}

static bool is_same_meter(const struct planned_meter *a, const struct planned_meter *b)
{
	return !meter_key_compare(&a->key, &b->key) && a->fixed == b->fixed;
}

static bool is_same_range(const struct class_range *a, const struct class_range *b)
{
	return a->first == b->first && a->last == b->last && a->class_name == b->class_name;
}

bool plan_is_same(const struct plan *a, const struct plan *b)
{
	bool same = a->gateway == b->gateway && a->out_sent == b->out_sent && a->meters->len == b->meters->len &&
	            a->local->len == b->local->len && a->ranges->len == b->ranges->len;

	for (unsigned i = 0; same && i < a->meters->len; i++)
		same = is_same_meter(&g_array_index(a->meters, struct planned_meter, i),
		                     &g_array_index(b->meters, struct planned_meter, i));
	for (unsigned i = 0; same && i < a->local->len; i++)
		same = !prefix_compare(&g_array_index(a->local, struct prefix, i),
		                       &g_array_index(b->local, struct prefix, i));
	for (unsigned i = 0; same && i < a->ranges->len; i++)
		same = is_same_range(&g_array_index(a->ranges, struct class_range, i),
		                     &g_array_index(b->ranges, struct class_range, i));
	return same;
}

const struct planned_meter *plan_find_next(const struct plan *plan, const struct meter_key *key, unsigned *at)
{
	struct planned_meter wanted = { .key = *key };

	if ((*at >= plan->meters->len ||
	     !meter_key_equal(&g_array_index(plan->meters, struct planned_meter, *at).key, key)) &&
	    !g_array_binary_search(plan->meters, &wanted, compare_planned, at))
		return NULL;
	return &g_array_index(plan->meters, struct planned_meter, (*at)++);
}

const struct planned_meter *plan_find_meter(const struct plan *plan, const struct meter_key *key)
{
	return plan_find_next(plan, key, &(unsigned){ plan->meters->len });
}

static bool awaits(const struct planned_meter *meter)
{
	return meter->key.address && !meter->served;
}

bool plan_awaits_address(const struct plan *plan)
{
	for (unsigned i = 0; i < plan->meters->len; i++)
		if (awaits(&g_array_index(plan->meters, struct planned_meter, i)))
			return true;
	return false;
}

static bool is_served(const struct router *router, uint32_t address)
{
	for (unsigned i = 0; i < router->floating->len; i++) {
		const struct floating *floating = &g_array_index(router->floating, struct floating, i);

		if (floating->address == address)
			return floating->served;
	}
	return address == router->gateway && router->gateway_served;
}

void plan_mark_arrivals(struct plan *plan, const struct router *router, const struct snapshot *found)
{
	for (unsigned i = 0; i < plan->meters->len; i++) {
		struct planned_meter *meter = &g_array_index(plan->meters, struct planned_meter, i);

		if (!awaits(meter) || !is_served(router, meter->key.address) || snapshot_find(found, &meter->key))
			continue;
		meter->came = true;
		if (plan->awaited)
			g_hash_table_remove(plan->awaited, meter);
	}
}

const struct instant *plan_came_after(const struct plan *plan, const struct planned_meter *meter)
{
	const struct instant *since = plan->awaited ? g_hash_table_lookup(plan->awaited, meter) : NULL;

	return since ? since : &plan->known_at;
}

/* Hardly any meter needs this: not all of them carry it. */
static void await_since(struct plan *plan, const struct planned_meter *meter, const struct instant *since)
{
	if (!plan->awaited)
		plan->awaited = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	g_hash_table_insert(plan->awaited, (void *)meter, g_memdup2(since, sizeof *since));
}

void plan_keep_arrivals(struct plan *plan, const struct plan *older)
{
	for (unsigned i = 0; i < plan->meters->len; i++) {
		struct planned_meter *meter = &g_array_index(plan->meters, struct planned_meter, i);
		const struct planned_meter *before = plan_find_meter(older, &meter->key);
		const struct instant *since;

		if (!before || !before->came)
			continue;
		meter->came = true;
		since = plan_came_after(older, before);
		if (since->boot_us)
			await_since(plan, meter, since);
	}
}

void plan_keep_strangers(const struct plan *plan, struct snapshot *found)
{
	GArray *strangers = g_array_new(FALSE, TRUE, sizeof(struct reading));
	unsigned at = 0;

	for (unsigned i = 0; i < found->readings->len; i++) {
		const struct reading *reading = &g_array_index(found->readings, struct reading, i);

		if (!plan_find_next(plan, &reading->key, &at))
			g_array_append_vals(strangers, reading, 1);
	}
	g_array_unref(found->readings);
	found->readings = strangers;
}

void plan_keep_lent(struct plan *plan, const struct plan *older)
{
	for (unsigned i = 0; i < plan->meters->len; i++) {
		struct planned_meter *meter = &g_array_index(plan->meters, struct planned_meter, i);
		const struct planned_meter *before = plan_find_meter(older, &meter->key);

		meter->lent |= before && (before->lent || before->fixed != meter->fixed);
	}
}

void plan_forget_lent(struct plan *plan)
{
	for (unsigned i = 0; i < plan->meters->len; i++)
		g_array_index(plan->meters, struct planned_meter, i).lent = false;
}

char *plan_counter_name(const struct meter_key *key, bool out)
{
	const char *direction = out ? "out" : "in";
	g_autofree char *address = address_to_string(key->address);

	switch (key->kind) {
	case KIND_FLOATING:
		return g_strdup_printf("traffic_%s_vm_%s_%s", address, direction, key->class_name);
	case KIND_GATEWAY:
		return g_strdup_printf("traffic_snat_%s_%s_%s", address, direction, key->class_name);
	case KIND_UNATTRIBUTED:
		return g_strdup_printf("traffic_unattributed_%s_%s", direction, key->class_name);
	}
	g_assert_not_reached();
}

bool plan_has_unattributed(const struct plan *plan)
{
	struct meter_key key = { .kind = KIND_UNATTRIBUTED };

	if (!plan->classes->len)
		return false;
	key.class_name = plan->classes->pdata[0];
	return plan_find_meter(plan, &key);
}

static void mark_octets(bool near[256], uint32_t first, uint32_t last)
{
	for (uint32_t octet = first >> 24; octet <= last >> 24; octet++)
		near[octet] = true;
}

GArray *plan_near(const struct plan *plan)
{
	GArray *octets = g_array_new(FALSE, FALSE, sizeof(uint32_t));
	bool near[256] = { false };

	for (unsigned i = 0; i < plan->ranges->len; i++) {
		const struct class_range *range = &g_array_index(plan->ranges, struct class_range, i);

		if (strcmp(range->class_name, CLASS_INTERNET) != 0)
			mark_octets(near, range->first, range->last);
	}
	for (unsigned i = 0; i < plan->local->len; i++) {
		const struct prefix *prefix = &g_array_index(plan->local, struct prefix, i);

		mark_octets(near, prefix->address, prefix_last(prefix));
	}
	for (unsigned i = 0; i < plan->meters->len; i++) {
		const struct meter_key *key = &g_array_index(plan->meters, struct planned_meter, i).key;

		if (key->kind != KIND_UNATTRIBUTED)
			mark_octets(near, key->address, key->address);
	}
	for (uint32_t octet = 0; octet < 256; octet++) {
		uint32_t address = octet << 24;

		if (near[octet])
			g_array_append_val(octets, address);
	}
	return octets;
}

/* Takes "in_CLASS" or "out_CLASS". */
static bool parse_tail(const char *tail, struct meter_key *key, bool *out)
{
	*out = g_str_has_prefix(tail, "out_");
	if (!*out && !g_str_has_prefix(tail, "in_"))
		return false;
	tail += *out ? 4 : 3;
	if (!class_name_is_valid(tail))
		return false;
	key->class_name = g_intern_string(tail);
	return true;
}

bool plan_counter_parse(const char *name, struct meter_key *key, bool *out)
{
	char address[sizeof "255.255.255.255"];
	const char *tail;

	if (!g_str_has_prefix(name, "traffic_"))
		return false;
	name += strlen("traffic_");
	if (g_str_has_prefix(name, "unattributed_")) {
		*key = (struct meter_key){ .kind = KIND_UNATTRIBUTED };
		return parse_tail(name + strlen("unattributed_"), key, out);
	}
	*key = (struct meter_key){ .kind = g_str_has_prefix(name, "snat_") ? KIND_GATEWAY : KIND_FLOATING };
	if (key->kind == KIND_GATEWAY)
		name += strlen("snat_");
	tail = strchr(name, '_');
	if (!tail || tail - name >= (ptrdiff_t)sizeof address)
		return false;
	memcpy(address, name, (size_t)(tail - name));
	address[tail - name] = '\0';
	if (!address_from_string(address, &key->address) || !key->address)
		return false;
	if (key->kind == KIND_FLOATING) {
		if (!g_str_has_prefix(tail, "_vm_"))
			return false;
		tail += strlen("_vm");
	}
	return parse_tail(tail + 1, key, out);
}

enum basis plan_basis(const struct plan *plan, enum basis usual)
{
	return plan->out_sent ? BASIS_WIRE_SENT : usual;
}

char *plan_digest(const struct plan *plan)
{
	g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
	uint32_t head[] = { plan->gateway, plan->dvr, plan->out_sent, plan->meters->len, plan->local->len, plan->ranges->len };

	g_checksum_update(sum, (const guchar *)head, sizeof head);
	for (unsigned i = 0; i < plan->meters->len; i++) {
		const struct planned_meter *meter = &g_array_index(plan->meters, struct planned_meter, i);
		uint32_t words[] = { meter->key.kind, meter->key.address, meter->fixed };

		g_checksum_update(sum, (const guchar *)words, sizeof words);
		g_checksum_update(sum, (const guchar *)meter->key.class_name, strlen(meter->key.class_name) + 1);
	}
	for (unsigned i = 0; i < plan->local->len; i++) {
		const struct prefix *prefix = &g_array_index(plan->local, struct prefix, i);
		uint32_t words[] = { prefix->address, prefix->length };

		g_checksum_update(sum, (const guchar *)words, sizeof words);
	}
	for (unsigned i = 0; i < plan->ranges->len; i++) {
		const struct class_range *range = &g_array_index(plan->ranges, struct class_range, i);

		g_checksum_update(sum, (const guchar *)&range->last, sizeof range->last);
		g_checksum_update(sum, (const guchar *)range->class_name, strlen(range->class_name) + 1);
	}
	return g_strdup(g_checksum_get_string(sum));
}

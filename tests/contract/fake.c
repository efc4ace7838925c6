/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For each namespace: the plan in force, and all counters that stand there, those that no longer match included.
 */
#include "fake.h"

#include "core/classes.h"
#include "core/plan.h"

#include <string.h>

struct fake_ns {
	char *generation;
	struct plan *plan; /* NULL: stopped, nothing matches */
	GArray *readings;  /* of struct reading */
};

struct fake {
	struct backend backend;
	GHashTable *namespaces; /* name -> struct fake_ns */
};

static struct fake_ns *find(struct backend *backend, const char *ns)
{
	return g_hash_table_lookup(((struct fake *)backend)->namespaces, ns);
}

static void ns_free(void *data)
{
	struct fake_ns *ns = data;

	g_free(ns->generation);
	plan_free(ns->plan);
	g_array_unref(ns->readings);
	g_free(ns);
}

static struct counts *counter(struct fake_ns *ns, const struct meter_key *key)
{
	for (unsigned i = 0; i < ns->readings->len; i++) {
		struct reading *reading = &g_array_index(ns->readings, struct reading, i);

		if (!meter_key_compare(&reading->key, key))
			return &reading->counts;
	}
	return NULL;
}

/* ---- the truth table ---- */

struct seen {
	struct fake_ns *ns;
	const struct router *router;
	const struct fake_packet *packet;
	bool external, source_local, destination_local;
	uint32_t floating_of_source; /* the floating IP whose fixed address the source is; 0: none */
};

/* Is there a route to the source?  A router with an external subnet has a default route. */
static bool has_route(const struct seen *seen)
{
	return prefixes_find(seen->router->local, seen->packet->source) || seen->router->onlink->len;
}

static bool is_served(const struct router *router, uint32_t address)
{
	for (unsigned i = 0; i < router->floating->len; i++)
		if (g_array_index(router->floating, struct floating, i).address == address)
			return g_array_index(router->floating, struct floating, i).served;
	return address == router->gateway && router->gateway_served;
}

static uint32_t floating_of(const struct plan *plan, uint32_t fixed)
{
	for (unsigned i = 0; i < plan->meters->len; i++) {
		const struct planned_meter *meter = &g_array_index(plan->meters, struct planned_meter, i);

		if (meter->key.kind == KIND_FLOATING && meter->fixed == fixed)
			return meter->key.address;
	}
	return 0;
}

static const char *class_of(const struct seen *seen, uint32_t remote)
{
	const GArray *ranges = seen->ns->plan->ranges;

	if (!seen->external && prefixes_find(seen->ns->plan->local, remote))
		return g_intern_string(CLASS_CLOUD);
	for (unsigned i = 0; i < ranges->len; i++)
		if (remote <= g_array_index(ranges, struct class_range, i).last)
			return g_array_index(ranges, struct class_range, i).class_name;
	g_assert_not_reached();
}

static void count(const struct seen *seen, enum kind kind, uint32_t address, bool out)
{
	uint32_t remote = out ? seen->packet->destination : seen->packet->source;
	struct meter_key key = { .kind = kind, .address = address, .class_name = class_of(seen, remote) };
	struct counts *counts = counter(seen->ns, &key);

	if (!counts || !plan_find_meter(seen->ns->plan, &key))
		return;
	*(out ? &counts->out_bytes : &counts->in_bytes) += seen->packet->bytes;
	*(out ? &counts->out_packets : &counts->in_packets) += 1;
}

static void count_in(const struct seen *seen)
{
	uint32_t to = seen->packet->destination;
	bool own_tenant = !seen->external && seen->source_local && !seen->floating_of_source;

	if (!is_served(seen->router, to))
		return;
	if (to == seen->ns->plan->gateway) {
		if (!own_tenant)
			count(seen, KIND_GATEWAY, to, false); /* row 2 */
	} else {
		count(seen, KIND_FLOATING, to, false); /* row 1 */
	}
}

static void count_out(const struct seen *seen)
{
	uint32_t gateway = seen->ns->plan->gateway;

	if (seen->external || !seen->source_local || seen->destination_local || !has_route(seen))
		return;
	if (seen->floating_of_source)
		count(seen, KIND_FLOATING, seen->floating_of_source, true); /* row 3 */
	else if (!gateway)
		count(seen, KIND_UNATTRIBUTED, 0, true); /* row 4; a DVR router has no such meter */
	else if (seen->packet->destination != gateway)
		count(seen, KIND_GATEWAY, gateway, true); /* row 4 */
}

void fake_receive(struct backend *backend, const struct router *router, const struct fake_packet *packet)
{
	struct seen seen = { .ns = find(backend, router->ns), .router = router, .packet = packet };

	if (!seen.ns || !seen.ns->plan || g_str_equal(packet->device, "lo") ||
	    g_str_has_prefix(packet->device, "ha-"))
		return;
	seen.external = g_str_has_prefix(packet->device, "qg-") || g_str_has_prefix(packet->device, "rfp-");
	seen.source_local = prefixes_find(seen.ns->plan->local, packet->source);
	seen.destination_local = prefixes_find(seen.ns->plan->local, packet->destination);
	seen.floating_of_source = floating_of(seen.ns->plan, packet->source);
	count_in(&seen);
	count_out(&seen);
	if (seen.external && seen.destination_local && has_route(&seen))
		count(&seen, KIND_UNATTRIBUTED, 0, false); /* row 5; a router with a SNAT rule has no such meter */
}

void fake_flush(struct backend *backend, const char *ns)
{
	g_hash_table_remove(((struct fake *)backend)->namespaces, ns);
}

void fake_set(struct backend *backend, const char *ns, const struct meter_key *key, const struct counts *counts)
{
	*counter(find(backend, ns), key) = *counts;
}

/* ---- the hooks ---- */

static struct snapshot *fake_read(struct backend *backend, const struct place *place, GError **error)
{
	struct fake_ns *ns = find(backend, place->ns);
	struct snapshot *snapshot = snapshot_new();

	snapshot->intact = true;
	if (!ns)
		return snapshot;
	snapshot->generation = g_strdup(ns->generation);
	g_array_append_vals(snapshot->readings, ns->readings->data, ns->readings->len);
	g_array_sort(snapshot->readings, snapshot_compare);
	return snapshot;
}

static struct plan *copy_plan(const struct plan *plan)
{
	struct plan *copy = g_new(struct plan, 1);

	*copy = *plan;
	copy->awaited = NULL; /* a back end does not ask for it */
	copy->router = g_strdup(plan->router);
	copy->ns = g_strdup(plan->ns);
	g_array_ref(copy->meters);
	g_array_ref(copy->local);
	g_array_ref(copy->ranges);
	g_ptr_array_ref(copy->classes);
	return copy;
}

static bool fake_sync(struct backend *backend, const struct place *place, const struct plan *plan, const char *tag,
                      const struct snapshot *found, GError **error)
{
	struct fake_ns *ns = find(backend, place->ns);

	if (!ns) {
		ns = g_new0(struct fake_ns, 1);
		ns->generation = g_strdup(tag);
		ns->readings = g_array_new(FALSE, TRUE, sizeof(struct reading));
		g_hash_table_insert(((struct fake *)backend)->namespaces, g_strdup(place->ns), ns);
	}
	for (unsigned i = 0; i < plan->meters->len; i++) {
		struct reading fresh = { .key = g_array_index(plan->meters, struct planned_meter, i).key };

		if (!counter(ns, &fresh.key))
			g_array_append_val(ns->readings, fresh);
	}
	plan_free(ns->plan);
	ns->plan = copy_plan(plan);
	return true;
}

static bool fake_compare(struct backend *backend, const struct place *place, const struct plan *plan,
                         const struct snapshot *found, enum change *change, GError **error)
{
	*change = CHANGE_INSIDE; /* a sync too many does no harm */
	return true;
}

static bool fake_lacks(struct backend *backend, const struct place *place, const struct plan *plan, bool *lacks,
                       GError **error)
{
	const struct plan *standing = find(backend, place->ns)->plan;

	*lacks = false;
	for (unsigned i = 0; i < plan->local->len; i++)
		*lacks |= !prefixes_find(standing->local, g_array_index(plan->local, struct prefix, i).address);
	return true;
}

static bool fake_bury(struct backend *backend, const struct place *place, const struct plan *plan,
                      const struct snapshot *found, GError **error)
{
	struct fake_ns *ns = find(backend, place->ns);

	for (unsigned i = ns ? ns->readings->len : 0; i > 0; i--)
		if (!plan_find_meter(plan, &g_array_index(ns->readings, struct reading, i - 1).key))
			g_array_remove_index_fast(ns->readings, i - 1);
	return true;
}

static bool fake_stop(struct backend *backend, const struct place *place, GError **error)
{
	struct fake_ns *ns = find(backend, place->ns);

	if (ns)
		g_clear_pointer(&ns->plan, plan_free);
	return true;
}

static bool fake_remove(struct backend *backend, const struct place *place, GError **error)
{
	fake_flush(backend, place->ns);
	return true;
}

static void fake_free(struct backend *backend)
{
	g_hash_table_unref(((struct fake *)backend)->namespaces);
	g_free(backend);
}

struct backend *fake_new(void)
{
	struct fake *fake = g_new(struct fake, 1);

	fake->backend = (struct backend){
		.name = "fake", .basis = BASIS_SKB, .read = fake_read, .sync = fake_sync,
		.compare = fake_compare, .lacks = fake_lacks, .bury = fake_bury, .stop = fake_stop, .remove = fake_remove,
		.free = fake_free,
	};
	fake->namespaces = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, ns_free);
	return &fake->backend;
}

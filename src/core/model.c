/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory and names of the structs in model.h.  Nothing here decides anything.
 */
#include "core/model.h"

#include <arpa/inet.h>
#include <string.h>

const char *router_name_of(const char *ns)
{
	const char *dash = strchr(ns, '-');

	return dash ? dash + 1 : ns;
}

struct router *router_new(const char *ns, const char *name)
{
	struct router *router = g_new0(struct router, 1);

	router->ns = g_strdup(ns);
	router->name = g_strdup(name);
	router->floating = g_array_new(FALSE, TRUE, sizeof(struct floating));
	router->local = g_array_new(FALSE, TRUE, sizeof(struct prefix));
	router->onlink = g_array_new(FALSE, TRUE, sizeof(struct prefix));
	return router;
}

void router_free(struct router *router)
{
	if (!router)
		return;
	g_free(router->ns);
	g_free(router->name);
	g_array_unref(router->floating);
	g_array_unref(router->local);
	g_array_unref(router->onlink);
	g_free(router);
}

void plan_free(struct plan *plan)
{
	if (!plan)
		return;
	g_free(plan->router);
	g_free(plan->ns);
	g_array_unref(plan->meters);
	g_clear_pointer(&plan->awaited, g_hash_table_unref);
	g_array_unref(plan->local);
	g_array_unref(plan->ranges);
	g_ptr_array_unref(plan->classes);
	g_free(plan);
}

struct snapshot *snapshot_new(void)
{
	struct snapshot *snapshot = g_new0(struct snapshot, 1);

	snapshot->readings = g_array_new(FALSE, TRUE, sizeof(struct reading));
	return snapshot;
}

void snapshot_free(struct snapshot *snapshot)
{
	if (!snapshot)
		return;
	snapshot_free(snapshot->former);
	g_free(snapshot->generation);
	g_free(snapshot->unseen);
	g_array_unref(snapshot->readings);
	g_free(snapshot);
}

int snapshot_compare(const void *a, const void *b)
{
	return meter_key_compare(&((const struct reading *)a)->key, &((const struct reading *)b)->key);
}

const struct counts *snapshot_find(const struct snapshot *snapshot, const struct meter_key *key)
{
	struct reading wanted = { .key = *key };
	unsigned at;

	if (!snapshot->generation || !g_array_binary_search(snapshot->readings, &wanted, snapshot_compare, &at))
		return NULL;
	return &g_array_index(snapshot->readings, struct reading, at).counts;
}

struct generation *generation_new(const char *tag, const char *boot, const char *node, const char *ns,
                                  const char *router, enum basis basis)
{
	struct generation *generation = g_rc_box_new0(struct generation);

	generation->tag = g_strdup(tag);
	generation->boot = g_strdup(boot);
	generation->node = g_strdup(node);
	generation->ns = g_strdup(ns);
	generation->router = g_strdup(router);
	generation->basis = basis;
	return generation;
}

struct generation *generation_ref(struct generation *generation)
{
	return g_rc_box_acquire(generation);
}

static void generation_clear(void *data)
{
	struct generation *generation = data;

	g_free(generation->tag);
	g_free(generation->boot);
	g_free(generation->node);
	g_free(generation->ns);
	g_free(generation->router);
}

void generation_unref(struct generation *generation)
{
	if (generation)
		g_rc_box_release_full(generation, generation_clear);
}

struct meter *meter_copy(const struct meter *meter)
{
	struct meter *copy = g_new(struct meter, 1);

	*copy = *meter;
	generation_ref(copy->of);
	return copy;
}

void meter_free(struct meter *meter)
{
	if (!meter)
		return;
	generation_unref(meter->of);
	g_free(meter);
}

struct coverage *coverage_copy(const struct coverage *coverage)
{
	struct coverage *copy = g_new(struct coverage, 1);

	*copy = *coverage;
	copy->node = g_strdup(coverage->node);
	copy->router = g_strdup(coverage->router);
	copy->reason = g_strdup(coverage->reason);
	return copy;
}

void coverage_free(struct coverage *coverage)
{
	if (!coverage)
		return;
	g_free(coverage->node);
	g_free(coverage->router);
	g_free(coverage->reason);
	g_free(coverage);
}

int meter_key_compare(const struct meter_key *a, const struct meter_key *b)
{
	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	if (a->address != b->address)
		return a->address < b->address ? -1 : 1;
	return a->class_name == b->class_name ? 0 : strcmp(a->class_name, b->class_name);
}

guint meter_key_hash(const void *data)
{
	const struct meter_key *key = data;

	return (key->address * 2654435761u) ^ g_direct_hash(key->class_name) ^ key->kind;
}

gboolean meter_key_equal(const void *a, const void *b)
{
	return !meter_key_compare(a, b);
}

bool counts_is_below(const struct counts *a, const struct counts *b)
{
	return a->in_bytes < b->in_bytes || a->in_packets < b->in_packets || a->out_bytes < b->out_bytes ||
	       a->out_packets < b->out_packets;
}

bool counts_is_zero(const struct counts *counts)
{
	return !(counts->in_bytes | counts->in_packets | counts->out_bytes | counts->out_packets);
}

void counts_add(struct counts *to, const struct counts *more)
{
	to->in_bytes += more->in_bytes;
	to->in_packets += more->in_packets;
	to->out_bytes += more->out_bytes;
	to->out_packets += more->out_packets;
}

struct counts counts_minus(const struct counts *now, const struct counts *before)
{
	return (struct counts){
		.in_bytes = now->in_bytes - before->in_bytes,
		.in_packets = now->in_packets - before->in_packets,
		.out_bytes = now->out_bytes - before->out_bytes,
		.out_packets = now->out_packets - before->out_packets,
	};
}

static const char *const kind_names[] = {
	[KIND_FLOATING] = "floating", [KIND_GATEWAY] = "gateway", [KIND_UNATTRIBUTED] = "unattributed",
};

const char *kind_name(enum kind kind)
{
	return kind_names[kind];
}

bool kind_from_name(const char *name, enum kind *kind)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(kind_names); i++)
		if (g_str_equal(name, kind_names[i])) {
			*kind = (enum kind)i;
			return true;
		}
	return false;
}

const char *basis_name(enum basis basis)
{
	static const char *const names[] = {
		[BASIS_SKB] = "skb", [BASIS_WIRE] = "wire", [BASIS_WIRE_SENT] = "wire-sent",
	};

	return names[basis];
}

const char *state_name(enum state state)
{
	static const char *const names[] = {
		[STATE_METERED] = "metered", [STATE_STANDBY] = "standby",
		[STATE_GAP] = "gap", [STATE_UNKNOWN] = "unknown",
	};

	return names[state];
}

const char *flavour_name(enum flavour flavour)
{
	static const char *const names[] = {
		[FLAVOUR_NONE] = "none", [FLAVOUR_NFT] = "nft",
		[FLAVOUR_LEGACY] = "legacy", [FLAVOUR_BOTH] = "both",
	};

	return names[flavour];
}

const char *flag_name(enum flag flag)
{
	switch (flag) {
	case FLAG_CATCHUP:
		return "catchup";
	case FLAG_UNKNOWN_START:
		return "unknown_start";
	case FLAG_RESET:
		return "reset";
	case FLAG_GAP:
		return "gap";
	case FLAG_LATE:
		return "late";
	case FLAG_MOVED:
		return "moved";
	case FLAG_ALL:
		break;
	}
	return "";
}

char *address_to_string(uint32_t address)
{
	if (!address)
		return g_strdup("");
	return g_strdup_printf("%u.%u.%u.%u", address >> 24, address >> 16 & 255, address >> 8 & 255, address & 255);
}

bool address_from_string(const char *text, uint32_t *address)
{
	struct in_addr parsed;

	if (inet_pton(AF_INET, text, &parsed) != 1)
		return false;
	*address = ntohl(parsed.s_addr);
	return true;
}

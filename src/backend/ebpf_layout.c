/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From the plan to addresses and prefixes.
 *
 * One look-up of an address tells both its class and whether it is local.  So the ranges of the classes are cut at the bounds
 * of the local prefixes; class internet becomes the entry for everything, and only what differs from that is spelled out in
 * prefixes: with the defaults a handful.
 */
#include "backend/ebpf_layout.h"

#include "core/plan.h"

#include <string.h>

/* ---- addresses ---- */

int ebpf_address_compare(const void *a, const void *b)
{
	const struct ebpf_address *first = a, *second = b;

	if (first->kind != second->kind)
		return first->kind < second->kind ? -1 : 1;
	return (first->address > second->address) - (first->address < second->address);
}

static void add_address(struct ebpf_layout *layout, uint32_t address, uint32_t kind, uint32_t owner, uint32_t local)
{
	struct ebpf_address entry = { .address = address, .kind = kind, .owner = owner, .local = local };

	g_array_append_val(layout->addresses, entry);
}

/* As the prefixes will have it: of two local prefixes that an address is in, the first. */
static uint32_t local_of(const GArray *local, uint32_t address)
{
	const struct prefix *prefix = prefixes_find(local, address);

	return prefix ? prefix->length + 1 : 0;
}

/* Should two floating IPs share a fixed address, it counts for the lower. */
static void add_addresses(struct ebpf_layout *layout, const struct plan *plan)
{
	g_autoptr(GHashTable) fixed = g_hash_table_new(NULL, NULL);
	uint32_t last = 0;

	for (unsigned i = 0; i < plan->meters->len; i++) {
		const struct planned_meter *meter = &g_array_index(plan->meters, struct planned_meter, i);

		if (meter->key.kind != KIND_FLOATING || meter->key.address == last)
			continue;
		last = meter->key.address;
		add_address(layout, last, METER_PUBLIC, last, 0);
		layout->first = MIN(layout->first, last);
		layout->last = MAX(layout->last, last);
		if (g_hash_table_add(fixed, GUINT_TO_POINTER(meter->fixed)))
			add_address(layout, meter->fixed, METER_FIXED, last, local_of(plan->local, meter->fixed));
	}
	g_array_sort(layout->addresses, ebpf_address_compare);
}

/* ---- prefixes ---- */

struct piece {
	uint32_t first, last;
	uint32_t local;
	const char *class_name;
};

int ebpf_prefix_compare(const void *a, const void *b)
{
	const struct ebpf_prefix *first = a, *second = b;
	int order = prefix_compare(&first->prefix, &second->prefix);

	if (order)
		return order;
	if (first->local != second->local)
		return first->local < second->local ? -1 : 1;
	return strcmp(first->class_name, second->class_name);
}

/* The local prefix that begins or goes on at address, or NULL; *last is lowered to where that ends, or to before the next
 * one begins. */
static const struct prefix *local_at(const GArray *local, unsigned *at, uint32_t address, uint32_t *last)
{
	const struct prefix *next;

	while (*at < local->len && prefix_last(&g_array_index(local, struct prefix, *at)) < address)
		(*at)++;
	if (*at == local->len)
		return NULL;
	next = &g_array_index(local, struct prefix, *at);
	if (next->address > address) {
		*last = MIN(*last, next->address - 1);
		return NULL;
	}
	*last = MIN(*last, prefix_last(next));
	return next;
}

static GArray *cut_pieces(const struct plan *plan)
{
	GArray *pieces = g_array_new(FALSE, FALSE, sizeof(struct piece));
	unsigned at = 0;

	for (unsigned i = 0; i < plan->ranges->len; i++) {
		const struct class_range *range = &g_array_index(plan->ranges, struct class_range, i);

		for (uint64_t first = range->first; first <= range->last;) {
			struct piece piece = { .first = first, .last = range->last, .class_name = range->class_name };
			const struct prefix *local = local_at(plan->local, &at, piece.first, &piece.last);

			piece.local = local ? local->length + 1 : 0;
			g_array_append_val(pieces, piece);
			first = (uint64_t)piece.last + 1;
		}
	}
	return pieces;
}

/* The fewest prefixes that are just this piece. */
static void add_piece(struct ebpf_layout *layout, const struct piece *piece)
{
	for (uint64_t first = piece->first; first <= piece->last;) {
		struct ebpf_prefix entry = {
			.prefix = { .address = first, .length = 32 }, .local = piece->local, .class_name = piece->class_name,
		};
		uint64_t size = 1;

		while (entry.prefix.length && !(first & size) && first + 2 * size - 1 <= piece->last) {
			size *= 2;
			entry.prefix.length--;
		}
		g_array_append_val(layout->prefixes, entry);
		first += size;
	}
}

static void add_prefixes(struct ebpf_layout *layout, const struct plan *plan)
{
	struct ebpf_prefix everything = { .class_name = layout->usual };
	g_autoptr(GArray) pieces = cut_pieces(plan);

	g_array_append_val(layout->prefixes, everything);
	for (unsigned i = 0; i < pieces->len; i++) {
		const struct piece *piece = &g_array_index(pieces, struct piece, i);

		if (piece->local || piece->class_name != layout->usual)
			add_piece(layout, piece);
	}
	g_array_sort(layout->prefixes, ebpf_prefix_compare);
}

static void set_usual_octets(struct ebpf_layout *layout, const struct plan *plan)
{
	g_autoptr(GArray) near = plan_near(plan);

	memset(layout->usual_octets, 0xff, sizeof layout->usual_octets);
	for (unsigned i = 0; i < near->len; i++) {
		uint32_t octet = g_array_index(near, uint32_t, i) >> 24;

		layout->usual_octets[octet / 32] &= ~(1U << octet % 32);
	}
}

struct ebpf_layout *ebpf_layout_new(const struct plan *plan)
{
	struct ebpf_layout *layout = g_new0(struct ebpf_layout, 1);

	layout->addresses = g_array_new(FALSE, FALSE, sizeof(struct ebpf_address));
	layout->prefixes = g_array_new(FALSE, FALSE, sizeof(struct ebpf_prefix));
	layout->gateway = plan->gateway;
	layout->first = UINT32_MAX;
	layout->unattributed = plan_has_unattributed(plan);
	layout->usual = g_intern_static_string(CLASS_INTERNET);
	layout->out_sent = plan->out_sent;
	add_addresses(layout, plan);
	add_prefixes(layout, plan);
	set_usual_octets(layout, plan);
	return layout;
}

void ebpf_layout_free(struct ebpf_layout *layout)
{
	if (!layout)
		return;
	g_array_unref(layout->addresses);
	g_array_unref(layout->prefixes);
	g_free(layout);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See ebpf_change.h.
 */
#include "backend/ebpf_change.h"

#include "core/classes.h"
#include "core/plan.h"

#include <arpa/inet.h>
#include <linux/membarrier.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- comparing ---- */

static bool same_addresses(const GArray *a, const GArray *b)
{
	return a->len == b->len && (!a->len || !memcmp(a->data, b->data, a->len * sizeof(struct ebpf_address)));
}

static bool same_prefixes(const GArray *a, const GArray *b)
{
	if (a->len != b->len)
		return false;
	for (unsigned i = 0; i < a->len; i++)
		if (ebpf_prefix_compare(&g_array_index(a, struct ebpf_prefix, i), &g_array_index(b, struct ebpf_prefix, i)))
			return false;
	return true;
}

static bool has_counters(const struct standing *standing, const struct plan *plan)
{
	for (unsigned i = 0; i < plan->meters->len; i++) {
		struct meter_counter_key key =
			standing_counter(standing, &g_array_index(plan->meters, struct planned_meter, i).key);

		if (!g_hash_table_contains(standing->counters, standing_word(&key)))
			return false;
	}
	return true;
}

/* What the router's entry says by this plan and table, but for how it is called. */
static void fill_in(const struct standing *standing, const struct ebpf_layout *layout, uint32_t table,
                    struct meter_router *router)
{
	*router = standing->router;
	router->table = table | (layout->unattributed ? METER_HAS_UNATTRIBUTED : 0) | (layout->out_sent ? METER_OUT_SENT : 0);
	router->gateway = htonl(layout->gateway);
	router->first = layout->first;
	router->last = layout->last;
	router->usual = standing_class(standing, layout->usual);
	memcpy(router->usual_octets, layout->usual_octets, sizeof router->usual_octets);
}

bool ebpf_change_is_none(const struct standing *standing, const struct plan *plan)
{
	SCOPED(ebpf_layout) *layout = ebpf_layout_new(plan);
	struct meter_router wanted;

	fill_in(standing, layout, standing_table(standing), &wanted);
	return standing_table(standing) && !memcmp(&wanted, &standing->router, sizeof wanted) &&
	       same_addresses(standing->addresses, layout->addresses) &&
	       same_prefixes(standing->prefixes, layout->prefixes) && has_counters(standing, plan);
}

static bool address_stands(const struct ebpf_maps *maps, const struct standing *standing, const struct ebpf_address *address)
{
	struct meter_address_key key = standing_address(standing, address);
	struct meter_address value;

	return ebpf_get(maps, EBPF_ADDRESSES, &key, &value) && !memcmp(&value.of, &key, sizeof key) &&
	       value.owner == htonl(address->owner) && value.local == address->local;
}

static bool prefix_stands(const struct ebpf_maps *maps, const struct standing *standing, const struct ebpf_prefix *entry)
{
	struct meter_prefix_key key = standing_prefix(standing_table(standing), &entry->prefix);
	struct meter_prefix value;

	/* who asks for one that is gone gets the longest that is there of those it is in */
	return ebpf_get(maps, EBPF_PREFIXES, &key, &value) && value.local == entry->local &&
	       value.class_id == standing_class(standing, entry->class_name);
}

bool ebpf_change_stands(const struct ebpf_maps *maps, const struct standing *standing)
{
	struct meter_router router;

	if (!ebpf_get(maps, EBPF_ROUTERS, &standing->cookie, &router) || router.version != standing->router.version ||
	    router.version_too != router.version)
		return false;
	for (unsigned i = 0; i < standing->addresses->len; i++)
		if (!address_stands(maps, standing, &g_array_index(standing->addresses, struct ebpf_address, i)))
			return false;
	for (unsigned i = 0; i < standing->prefixes->len; i++)
		if (!prefix_stands(maps, standing, &g_array_index(standing->prefixes, struct ebpf_prefix, i)))
			return false;
	return true;
}

/* Is the entry local, and a piece of a prefix that wanted is in? */
static bool is_of(const struct ebpf_prefix *entry, const struct prefix *wanted)
{
	struct prefix whole = { .length = entry->local ? entry->local - 1 : 32 };

	if (!entry->local || whole.length > wanted->length)
		return false;
	whole.address = entry->prefix.address & (uint32_t)(~UINT64_C(0) << (32 - whole.length));
	return prefix_contains(&whole, wanted->address);
}

bool ebpf_change_lacks_local(const struct standing *standing, const struct plan *plan)
{
	for (unsigned i = 0; i < plan->local->len; i++) {
		const struct prefix *wanted = &g_array_index(plan->local, struct prefix, i);
		bool found = false;

		for (unsigned j = 0; j < standing->prefixes->len && !found; j++)
			found = is_of(&g_array_index(standing->prefixes, struct ebpf_prefix, j), wanted);
		if (!found)
			return true;
	}
	return false;
}

/* ---- making ---- */

static bool make_counter(const struct ebpf_maps *maps, struct standing *standing, const struct meter_counter_key *key,
                         GError **error)
{
	if (g_hash_table_contains(standing->counters, standing_word(key)))
		return true;
	if (!ebpf_put_counter(maps, key, error))
		return false;
	g_hash_table_add(standing->counters, standing_word(key));
	return true;
}

static bool make_counters(const struct ebpf_maps *maps, struct standing *standing, const struct plan *plan, GError **error)
{
	struct meter_counter_key lost = standing_lost(standing);

	if (!make_counter(maps, standing, &lost, error))
		return false;
	for (unsigned i = 0; i < plan->meters->len; i++) {
		struct meter_counter_key key =
			standing_counter(standing, &g_array_index(plan->meters, struct planned_meter, i).key);

		if (!make_counter(maps, standing, &key, error))
			return false;
	}
	return true;
}

static bool put_address(const struct ebpf_maps *maps, const struct standing *standing, const struct ebpf_address *address,
                        GError **error)
{
	struct meter_address_key key = standing_address(standing, address);
	struct meter_address value = { .of = key, .owner = htonl(address->owner), .local = address->local };

	return ebpf_put(maps, EBPF_ADDRESSES, &key, &value, EBPF_ANY, error);
}

static bool drop_address(const struct ebpf_maps *maps, const struct standing *standing, const struct ebpf_address *address,
                         GError **error)
{
	struct meter_address_key key = standing_address(standing, address);

	return ebpf_drop(maps, EBPF_ADDRESSES, &key, error);
}

/* Both ascending: drops what only the first has, puts what only the second has or has otherwise. */
static bool change_addresses(const struct ebpf_maps *maps, const struct standing *standing, const GArray *from,
                             const GArray *to, GError **error)
{
	unsigned i = 0, j = 0;

	while (i < from->len || j < to->len) {
		const struct ebpf_address *old = i < from->len ? &g_array_index(from, struct ebpf_address, i) : NULL;
		const struct ebpf_address *new = j < to->len ? &g_array_index(to, struct ebpf_address, j) : NULL;
		int order = !old ? 1 : !new ? -1 : ebpf_address_compare(old, new);

		if (order < 0 && !drop_address(maps, standing, old, error))
			return false;
		if (order >= 0 && (order || old->owner != new->owner || old->local != new->local) && !put_address(maps, standing, new, error))
			return false;
		i += order <= 0;
		j += order >= 0;
	}
	return true;
}

static bool put_table(const struct ebpf_maps *maps, const struct standing *standing, uint32_t table, const GArray *prefixes,
                      GError **error)
{
	for (unsigned i = 0; i < prefixes->len; i++) {
		const struct ebpf_prefix *entry = &g_array_index(prefixes, struct ebpf_prefix, i);
		struct meter_prefix_key key = standing_prefix(table, &entry->prefix);
		struct meter_prefix value = {
			.class_id = standing_class(standing, entry->class_name), .router = standing->router.slot, .local = entry->local,
		};

		if (!ebpf_put(maps, EBPF_PREFIXES, &key, &value, EBPF_ANY, error))
			return false;
	}
	return true;
}

static void remember_old(struct standing *standing, uint32_t table, const GArray *prefixes)
{
	for (unsigned i = 0; i < prefixes->len; i++) {
		struct meter_prefix_key key = standing_prefix(table, &g_array_index(prefixes, struct ebpf_prefix, i).prefix);

		g_array_append_val(standing->old, key);
	}
}

/* A table is made whole before it is used; then all of it is in force at once. */
static bool change_state(const struct ebpf_maps *maps, struct standings *standings, struct standing *standing,
                         const struct ebpf_layout *layout, GError **error)
{
	uint32_t before = standing_table(standing), table = before;
	struct meter_router wanted;

	if (!before || !same_prefixes(standing->prefixes, layout->prefixes)) {
		table = ++standings->last_table;
		if (!put_table(maps, standing, table, layout->prefixes, error)) {
			remember_old(standing, table, layout->prefixes);
			return false;
		}
	}
	fill_in(standing, layout, table, &wanted);
	if (memcmp(&wanted, &standing->router, sizeof wanted)) {
		standing->router = wanted;
		if (!standings_put(maps, standings, standing, EBPF_ANY, error))
			return false;
	}
	if (table == before)
		return true;
	remember_old(standing, before, standing->prefixes);
	g_array_set_size(standing->prefixes, 0);
	g_array_append_vals(standing->prefixes, layout->prefixes->data, layout->prefixes->len);
	return true;
}

/* Addresses that nobody looks for are not there: the range is widened before they come, and narrowed after they went. */
static bool widen(const struct ebpf_maps *maps, struct standings *standings, struct standing *standing,
                  const struct ebpf_layout *layout, GError **error)
{
	struct meter_router *router = &standing->router;

	if (!router->table || (router->first <= layout->first && router->last >= layout->last))
		return true;
	router->first = MIN(router->first, layout->first);
	router->last = MAX(router->last, layout->last);
	return standings_put(maps, standings, standing, EBPF_ANY, error);
}

static bool name_classes(const struct ebpf_maps *maps, struct standings *standings, const struct plan *plan, GError **error)
{
	for (unsigned i = 0; i < plan->ranges->len; i++)
		if (!standings_name_class(maps, standings, g_array_index(plan->ranges, struct class_range, i).class_name, error))
			return false;
	for (unsigned i = 0; i < plan->meters->len; i++)
		if (!standings_name_class(maps, standings, g_array_index(plan->meters, struct planned_meter, i).key.class_name,
		                          error))
			return false;
	return true;
}

static void set_addresses(struct standing *standing, const GArray *addresses)
{
	g_array_set_size(standing->addresses, 0);
	if (addresses->len)
		g_array_append_vals(standing->addresses, addresses->data, addresses->len);
}

/* As wanted, but in which local prefix an address is only where the table that is in force says the same: it is a short cut,
 * and must be right under that table and the next one. */
static GArray *without_news(const GArray *standing, const GArray *wanted)
{
	GArray *addresses = g_array_copy((GArray *)wanted);
	unsigned at = 0;

	for (unsigned i = 0; i < addresses->len; i++) {
		struct ebpf_address *address = &g_array_index(addresses, struct ebpf_address, i);
		const struct ebpf_address *old = NULL;

		while (at < standing->len &&
		       ebpf_address_compare(old = &g_array_index(standing, struct ebpf_address, at), address) < 0)
			at++;
		if (at == standing->len || ebpf_address_compare(old, address) || old->local != address->local)
			address->local = 0;
	}
	return addresses;
}

bool ebpf_change_apply(const struct ebpf_maps *maps, struct standings *standings, struct standing *standing,
                       const struct plan *plan, GError **error)
{
	SCOPED(ebpf_layout) *layout = ebpf_layout_new(plan);
	g_autoptr(GArray) first = without_news(standing->addresses, layout->addresses);

	g_clear_pointer(&standing->plan, g_free);
	if (!name_classes(maps, standings, plan, error) || !make_counters(maps, standing, plan, error) ||
	    !widen(maps, standings, standing, layout, error) ||
	    !change_addresses(maps, standing, standing->addresses, first, error))
		return false;
	set_addresses(standing, first);
	if (!change_state(maps, standings, standing, layout, error) ||
	    !change_addresses(maps, standing, first, layout->addresses, error))
		return false;
	set_addresses(standing, layout->addresses);
	standing->plan = plan_digest(plan);
	return true;
}

/* ---- dropping ---- */

bool ebpf_change_drop_old(const struct ebpf_maps *maps, struct standing *standing, GError **error)
{
	while (standing->old->len) {
		if (!ebpf_drop(maps, EBPF_PREFIXES, &g_array_index(standing->old, struct meter_prefix_key, standing->old->len - 1),
		               error))
			return false;
		g_array_set_size(standing->old, standing->old->len - 1);
	}
	return true;
}

bool ebpf_change_bury(const struct ebpf_maps *maps, struct standing *standing, const struct plan *plan,
                      const struct snapshot *found, GError **error)
{
	unsigned at = 0;

	for (unsigned i = 0; i < found->readings->len; i++) {
		const struct meter_key *key = &g_array_index(found->readings, struct reading, i).key;
		struct meter_counter_key counter;

		if (plan && plan_find_next(plan, key, &at))
			continue;
		counter = standing_counter(standing, key);
		if (!ebpf_drop(maps, EBPF_COUNTERS, &counter, error))
			return false;
		g_hash_table_remove(standing->counters, standing_word(&counter));
	}
	return true;
}

static bool drop_counters(const struct ebpf_maps *maps, struct standing *standing, GError **error)
{
	GHashTableIter each;
	void *word;

	g_hash_table_iter_init(&each, standing->counters);
	while (g_hash_table_iter_next(&each, &word, NULL)) {
		struct meter_counter_key key = standing_key(word);

		if (!ebpf_drop(maps, EBPF_COUNTERS, &key, error))
			return false;
		g_hash_table_iter_remove(&each);
	}
	return true;
}

bool ebpf_change_stop(const struct ebpf_maps *maps, struct standings *standings, struct standing *standing, GError **error)
{
	if (standing_table(standing))
		remember_old(standing, standing_table(standing), standing->prefixes);
	g_array_set_size(standing->prefixes, 0);
	g_clear_pointer(&standing->plan, g_free);
	standing->router.table = 0;
	return standings_put(maps, standings, standing, EBPF_ANY, error) && ebpf_link_drop(standing->cookie, error);
}

bool ebpf_change_remove(const struct ebpf_maps *maps, struct standings *standings, struct standing *standing, GError **error)
{
	bool counted = standing->router.table;

	standing->router.going = 1;
	if (!ebpf_change_stop(maps, standings, standing, error))
		return false;
	/* A packet that is still on its way would count in what is somebody else's by then (membarrier(2)).  Who stopped it
	 * before has waited for that. */
	if (counted)
		syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
	while (standing->addresses->len) {
		unsigned last = standing->addresses->len - 1;

		if (!drop_address(maps, standing, &g_array_index(standing->addresses, struct ebpf_address, last), error))
			return false;
		g_array_set_size(standing->addresses, last);
	}
	return ebpf_change_drop_old(maps, standing, error) && drop_counters(maps, standing, error) &&
	       ebpf_drop(maps, EBPF_ROUTERS, &standing->cookie, error);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From the table that stands to the table that the plan asks for: dumps what is there, compares it with the layout,
 * and puts the difference into one transaction.  Counters that the plan has no more only lose the elements that lead to
 * them.
 */
#include "backend/nft_change.h"

#include "backend/nft_layout.h"
#include "core/plan.h"
#include "kernel/nftables.h"

#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <string.h>

#define PRIORITY (-150) /* NF_IP_PRI_MANGLE: before DNAT (linux/netfilter_ipv4.h) */

static bool take_rule(const struct nftnl_rule *rule, void *data, GError **error)
{
	/* The caller frees what it hands over: keep a copy of what the digest needs. */
	struct nftnl_rule *copy = nftnl_rule_alloc();
	uint32_t length = 0;
	const void *comment = nftnl_rule_get_data(rule, NFTNL_RULE_USERDATA, &length);

	nftnl_rule_set_str(copy, NFTNL_RULE_CHAIN, nftnl_rule_get_str(rule, NFTNL_RULE_CHAIN));
	if (comment)
		nftnl_rule_set_data(copy, NFTNL_RULE_USERDATA, comment, length);
	g_ptr_array_add(data, copy);
	return true;
}

/* The digest of the rules that stand in the table; NULL on failure. */
char *nft_rules_standing(struct netlink *netlink, GError **error)
{
	g_autoptr(GPtrArray) rules = g_ptr_array_new_with_free_func((GDestroyNotify)nftnl_rule_free);

	if (!nftables_each_rule(netlink, NFPROTO_IPV4, NFT_TABLE, take_rule, rules, error))
		return NULL;
	return nft_rules_digest(rules);
}

/* What stands in the table, as far as it has to be compared. */
struct standing {
	GHashTable *sets, *chains; /* sets of names */
	char *rules;               /* digest */
	bool dormant;
};

static void standing_clear(struct standing *standing)
{
	g_hash_table_unref(standing->sets);
	g_hash_table_unref(standing->chains);
	g_free(standing->rules);
}

bool nft_take_name(const char *name, void *data, GError **error)
{
	g_hash_table_add(data, g_strdup(name));
	return true;
}

static bool read_standing(struct netlink *netlink, struct standing *standing, GError **error)
{
	struct nftables_table table;

	if (!nftables_look(netlink, NFPROTO_IPV4, NFT_TABLE, &table, error))
		return false;
	standing->dormant = table.dormant;
	standing->rules = nft_rules_standing(netlink, error);
	return standing->rules &&
	       nftables_each_set(netlink, NFPROTO_IPV4, NFT_TABLE, nft_take_name, standing->sets, error) &&
	       nftables_each_chain(netlink, NFPROTO_IPV4, NFT_TABLE, nft_take_name, standing->chains, error);
}

static bool take_element(const struct nftnl_set_elem *object, void *data, GError **error)
{
	struct nftnl_set_elem *elem = (struct nftnl_set_elem *)object;
	struct nft_set *set = data;
	struct nftbatch_element element = { 0 };
	const char *target = NULL;
	uint32_t length = 0;
	const void *key = nftnl_set_elem_get(elem, NFTNL_SET_ELEM_KEY, &length);

	if (!key || length < sizeof element.address)
		return true;
	memcpy(&element.address, key, sizeof element.address);
	element.address = ntohl(element.address);
	if (nftnl_set_elem_is_set(elem, NFTNL_SET_ELEM_FLAGS))
		element.is_end = nftnl_set_elem_get_u32(elem, NFTNL_SET_ELEM_FLAGS) & NFT_SET_ELEM_INTERVAL_END;
	if (nftnl_set_elem_is_set(elem, NFTNL_SET_ELEM_CHAIN))
		target = nftnl_set_elem_get_str(elem, NFTNL_SET_ELEM_CHAIN);
	else if (nftnl_set_elem_is_set(elem, NFTNL_SET_ELEM_OBJREF))
		target = nftnl_set_elem_get_str(elem, NFTNL_SET_ELEM_OBJREF);
	if (!target && !element.is_end && (set->type == NFTBATCH_VERDICT_MAP || set->type == NFTBATCH_COUNTER_MAP)) {
		g_set_error(error, NETLINK_ERROR, NETLINK_ERROR_INTERRUPTED, "nf_tables map %s: an element that leads nowhere",
		            set->name);
		return false;
	}
	element.target = target ? g_string_chunk_insert_const(set->names, target) : NULL;
	g_array_append_val(set->elements, element);
	return true;
}

/* Where its elements lead, as one number: a sum, in which the order of the dump says nothing. */
static uint64_t content_of(const struct nft_set *set)
{
	uint64_t content = g_str_hash(set->name) + 1;

	for (unsigned i = 0; i < set->elements->len; i++) {
		const struct nftbatch_element *element = &g_array_index(set->elements, struct nftbatch_element, i);
		uint64_t hash = ((uint64_t)element->address << 1 | element->is_end) + g_str_hash(set->name);

		hash = (hash ^ (element->target ? g_str_hash(element->target) : 0)) * UINT64_C(0x9e3779b97f4a7c15);
		content += hash ^ hash >> 32;
	}
	return content;
}

bool nft_content(struct netlink *netlink, uint64_t *content, GError **error)
{
	g_autoptr(GHashTable) names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	GHashTableIter each;
	uint64_t sum = 0;
	void *name;
	bool done = nftables_each_set(netlink, NFPROTO_IPV4, NFT_TABLE, nft_take_name, names, error);

	g_hash_table_iter_init(&each, names);
	while (done && g_hash_table_iter_next(&each, &name, NULL)) {
		struct nft_set set = {
			.name = name, .elements = g_array_new(FALSE, FALSE, sizeof(struct nftbatch_element)),
			.names = g_string_chunk_new(1024),
		};

		done = nftables_each_element(netlink, NFPROTO_IPV4, NFT_TABLE, name, take_element, &set, error);
		sum += content_of(&set);
		g_array_unref(set.elements);
		g_string_chunk_free(set.names);
	}
	if (done)
		*content = sum;
	return done;
}

/* The elements of a that are not, or not the same, in b.  Both ascending. */
static GArray *elements_missing(const GArray *a, const GArray *b)
{
	GArray *missing = g_array_new(FALSE, FALSE, sizeof(struct nftbatch_element));
	unsigned j = 0;

	for (unsigned i = 0; i < a->len; i++) {
		const struct nftbatch_element *element = &g_array_index(a, struct nftbatch_element, i), *other;
		int order = 1;

		for (; j < b->len && order > 0; j += order > 0) {
			other = &g_array_index(b, struct nftbatch_element, j);
			order = nft_element_compare(element, other);
		}
		if (order || g_strcmp0(element->target, other->target))
			g_array_append_val(missing, *element);
	}
	return missing;
}

/* What has to be removed from, and added to, a set. */
struct difference {
	const struct nft_set *set;
	bool create;
	GArray *gone, *come; /* of struct nftbatch_element, targets owned by standing or by the layout */
	struct nft_set standing;
};

static void difference_free(void *data)
{
	struct difference *difference = data;

	g_array_unref(difference->gone);
	g_array_unref(difference->come);
	g_array_unref(difference->standing.elements);
	g_string_chunk_free(difference->standing.names);
	g_free(difference);
}

static bool has_intervals(enum nftbatch_set type)
{
	return type == NFTBATCH_INTERVALS || type == NFTBATCH_VERDICT_MAP;
}

static bool add_difference(struct netlink *netlink, const struct nft_set *set, const struct standing *standing,
                           GPtrArray *differences, GError **error)
{
	struct difference *difference = g_new0(struct difference, 1);
	GArray *elements = g_array_new(FALSE, FALSE, sizeof(struct nftbatch_element));
	bool done = true;

	difference->set = set;
	difference->create = !g_hash_table_contains(standing->sets, set->name);
	difference->standing.name = set->name;
	difference->standing.type = set->type;
	difference->standing.elements = elements;
	difference->standing.names = g_string_chunk_new(1024);
	if (!difference->create)
		done = nftables_each_element(netlink, NFPROTO_IPV4, NFT_TABLE, set->name, take_element,
		                             &difference->standing, error);
	g_array_sort(elements, nft_element_compare);
	difference->gone = elements_missing(elements, set->elements);
	difference->come = elements_missing(set->elements, elements);
	if (difference->gone->len + difference->come->len > 0 && has_intervals(set->type)) {
		/* both ends of an interval belong together; nothing counts in these, so all may be put in anew */
		g_array_set_size(difference->gone, 0);
		g_array_append_vals(difference->gone, elements->data, elements->len);
		g_array_set_size(difference->come, 0);
		g_array_append_vals(difference->come, set->elements->data, set->elements->len);
	}
	g_ptr_array_add(differences, difference);
	return done;
}

static const struct nft_set *layout_set(const struct nft_layout *layout, const char *name)
{
	for (unsigned i = 0; i < layout->sets->len; i++)
		if (g_str_equal(((struct nft_set *)layout->sets->pdata[i])->name, name))
			return layout->sets->pdata[i];
	return NULL;
}

/* Takes away what the layout does not have.  Rules go first: they hold on to chains, sets and counters. */
static void put_removals(struct nftbatch *batch, const struct nft_layout *layout, const struct standing *standing,
                         const GPtrArray *differences, bool rules)
{
	GHashTableIter each;
	void *name;

	g_hash_table_iter_init(&each, standing->chains);
	while (rules && g_hash_table_iter_next(&each, &name, NULL))
		nftbatch_flush_chain(batch, name);
	for (unsigned i = 0; i < differences->len; i++) {
		const struct difference *difference = differences->pdata[i];

		nftbatch_delete_elements(batch, difference->set->name, difference->set->type,
		                         (void *)difference->gone->data, difference->gone->len);
	}
	g_hash_table_iter_init(&each, standing->sets);
	while (g_hash_table_iter_next(&each, &name, NULL))
		if (!layout_set(layout, name))
			nftbatch_delete_set(batch, name);
	g_hash_table_iter_init(&each, standing->chains);
	while (g_hash_table_iter_next(&each, &name, NULL))
		if (!g_ptr_array_find_with_equal_func(layout->chains, name, g_str_equal, NULL))
			nftbatch_delete_chain(batch, name);
}

static void put_counters(struct nftbatch *batch, const struct plan *plan, const struct snapshot *found)
{
	for (unsigned i = 0; i < plan->meters->len; i++) {
		const struct meter_key *key = &g_array_index(plan->meters, struct planned_meter, i).key;
		g_autofree char *in = plan_counter_name(key, false), *out = plan_counter_name(key, true);

		if (snapshot_find(found, key))
			continue;
		nftbatch_add_counter(batch, in);
		nftbatch_add_counter(batch, out);
	}
}

static void put_word(struct nftbatch *batch, const char *prefix, const char *word)
{
	g_autofree char *name = g_strconcat(prefix, word, NULL);

	nftbatch_add_counter(batch, name);
}

static void put_additions(struct nftbatch *batch, const struct nft_layout *layout, const struct standing *standing,
                          const GPtrArray *differences)
{
	for (unsigned i = 0; i < layout->chains->len; i++) {
		const char *chain = layout->chains->pdata[i];

		if (g_hash_table_contains(standing->chains, chain))
			continue;
		if (g_str_equal(chain, NFT_BASE_CHAIN))
			nftbatch_add_base_chain(batch, chain, NF_INET_PRE_ROUTING, PRIORITY);
		else
			nftbatch_add_chain(batch, chain);
	}
	for (unsigned i = 0; i < differences->len; i++) {
		const struct difference *difference = differences->pdata[i];
		const struct nft_set *set = difference->set;

		if (difference->create)
			nftbatch_add_set(batch, set->name, set->type);
		nftbatch_add_elements(batch, set->name, set->type, (void *)difference->come->data,
		                      difference->come->len);
	}
}

static void put_rules(struct nftbatch *batch, const struct nft_layout *layout, const char *old)
{
	g_autofree char *name = old ? g_strconcat(NFT_LAYOUT_PREFIX, old, NULL) : NULL;

	for (unsigned i = 0; i < layout->rules->len; i++)
		nftbatch_add_rule(batch, layout->rules->pdata[i]);
	if (name)
		nftbatch_delete_counter(batch, name);
	put_word(batch, NFT_LAYOUT_PREFIX, layout->digest);
}

static struct nftbatch *build(const struct plan *plan, const char *tag, const struct snapshot *found,
                              const struct nft_layout *layout, const struct standing *standing,
                              const GPtrArray *differences)
{
	struct nftbatch *batch = nftbatch_new(NFT_TABLE);
	bool rules = !found->generation || g_strcmp0(standing->rules, layout->digest);

	if (!found->generation) {
		nftbatch_add_table(batch);
		put_word(batch, NFT_TAG_PREFIX, tag);
	}
	if (standing->dormant)
		nftbatch_wake_table(batch);
	put_removals(batch, layout, standing, differences, rules);
	put_counters(batch, plan, found);
	put_additions(batch, layout, standing, differences);
	if (rules)
		put_rules(batch, layout, found->generation ? standing->rules : NULL);
	return batch;
}

struct nftbatch *nft_change(struct netlink *netlink, const struct plan *plan, const char *tag,
                            const struct snapshot *found, GError **error)
{
	struct nft_layout *layout = nft_layout_new(plan);
	g_autoptr(GPtrArray) differences = g_ptr_array_new_with_free_func(difference_free);
	struct standing standing = {
		.sets = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
		.chains = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
	};
	struct nftbatch *batch = NULL;
	bool read = !found->generation || read_standing(netlink, &standing, error);

	for (unsigned i = 0; read && i < layout->sets->len; i++)
		read = add_difference(netlink, layout->sets->pdata[i], &standing, differences, error);
	if (read)
		batch = build(plan, tag, found, layout, &standing, differences);
	standing_clear(&standing);
	nft_layout_free(layout);
	return batch;
}

bool nft_lacks_local(struct netlink *netlink, const struct plan *plan, bool *lacks, GError **error)
{
	struct nft_layout *layout = nft_layout_new(plan);
	const struct nft_set *wanted = layout_set(layout, NFT_LOCAL_SET);
	struct nft_set standing = {
		.name = wanted->name, .type = wanted->type,
		.elements = g_array_new(FALSE, FALSE, sizeof(struct nftbatch_element)),
		.names = g_string_chunk_new(64),
	};
	bool read = nftables_each_element(netlink, NFPROTO_IPV4, NFT_TABLE, wanted->name, take_element, &standing, error);

	if (read) {
		g_autoptr(GArray) missing = NULL;

		g_array_sort(standing.elements, nft_element_compare);
		missing = elements_missing(wanted->elements, standing.elements);
		*lacks = missing->len;
	}
	g_array_unref(standing.elements);
	g_string_chunk_free(standing.names);
	nft_layout_free(layout);
	return read;
}

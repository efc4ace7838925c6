/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The truth table of backend/backend.h as nf_tables rules.
 *
 *   prerouting        sorts by device: external, inside
 *   inside            sorts by source: tenant (in L), or a stranger
 *   external, tenant  rows 1, 2, 5 and rows 1 to 4
 *   served, tenant    find the class of the remote address by an interval map ...
 *   in_CLASS          ... which jumps here: one map leads from the public address to its named counter
 *   out_CLASS         the same from the fixed address; what is left counts for the gateway address
 *   from_far, to_far  all of that for most packets: they come from or go to an address that begins with an octet under
 *                     which there is nothing but class `internet` (plan_near())
 *
 * A packet pays for each thing that is asked, so those two ask for no more than they must: a destination under such an octet
 * is neither public nor local, and the maps out_CLASS have no fixed address that is not in L.
 *
 * The number of rules is fixed; only sets and maps grow with the addresses, so a packet costs the same with 10 and
 * with 10,000 of them.  A rule depends on nothing but the names of the classes, the gateway address and whether the
 * router is DVR, and says so in its comment.
 */
#include "backend/nft_layout.h"

#include "core/classes.h"
#include "core/plan.h"
#include "core/prefix.h"

#include <libnftnl/rule.h>
#include <string.h>

/* ---- sets ---- */

static struct nft_set *add_set(struct nft_layout *layout, enum nftbatch_set type, const char *prefix,
                               const char *suffix)
{
	struct nft_set *set = g_new0(struct nft_set, 1);

	set->name = g_strconcat(prefix, suffix, NULL);
	set->type = type;
	set->elements = g_array_new(FALSE, TRUE, sizeof(struct nftbatch_element));
	set->names = g_string_chunk_new(1024);
	g_ptr_array_add(layout->sets, set);
	return set;
}

static void set_free(void *data)
{
	struct nft_set *set = data;

	g_free(set->name);
	g_array_unref(set->elements);
	g_string_chunk_free(set->names);
	g_free(set);
}

static void add_element(struct nft_set *set, uint32_t address, bool is_end, const char *target)
{
	struct nftbatch_element element = {
		.address = address, .is_end = is_end,
		.target = target ? g_string_chunk_insert_const(set->names, target) : NULL,
	};

	g_array_append_val(set->elements, element);
}

/* The end of an interval is the address behind it; behind the last address there is none. */
static void add_interval(struct nft_set *set, uint32_t first, uint32_t last, const char *target)
{
	add_element(set, first, false, target);
	if (last != UINT32_MAX)
		add_element(set, last + 1, true, NULL);
}

int nft_element_compare(const void *a, const void *b)
{
	const struct nftbatch_element *first = a, *second = b;

	if (first->address != second->address)
		return first->address < second->address ? -1 : 1;
	return second->is_end - first->is_end;
}

static void add_local(struct nft_layout *layout, const struct plan *plan)
{
	struct nft_set *set = add_set(layout, NFTBATCH_INTERVALS, NFT_LOCAL_SET, "");

	for (unsigned i = 0; i < plan->local->len; i++) {
		const struct prefix *prefix = &g_array_index(plan->local, struct prefix, i);

		add_interval(set, prefix->address, prefix_last(prefix), NULL);
	}
}

static void add_classes(struct nft_layout *layout, const struct plan *plan, const char *name, const char *chain)
{
	struct nft_set *set = add_set(layout, NFTBATCH_VERDICT_MAP, name, "");

	for (unsigned i = 0; i < plan->ranges->len; i++) {
		const struct class_range *range = &g_array_index(plan->ranges, struct class_range, i);
		g_autofree char *target = g_strconcat(chain, range->class_name, NULL);

		add_interval(set, range->first, range->last, target);
	}
}

/* First octets under which is more than class internet. */
static void add_near(struct nft_layout *layout, const struct plan *plan)
{
	struct nft_set *set = add_set(layout, NFTBATCH_OCTETS, "near", "");
	g_autoptr(GArray) near = plan_near(plan);

	for (unsigned i = 0; i < near->len; i++)
		add_element(set, g_array_index(near, uint32_t, i), false, NULL);
}

/* Public address -> counter in, for every class. */
static void add_in_map(struct nft_layout *layout, const struct plan *plan, const char *class_name)
{
	struct nft_set *set = add_set(layout, NFTBATCH_COUNTER_MAP, "in_", class_name);

	for (unsigned i = 0; i < plan->meters->len; i++) {
		const struct meter_key *key = &g_array_index(plan->meters, struct planned_meter, i).key;
		g_autofree char *counter = plan_counter_name(key, false);

		if (key->class_name == class_name && key->kind != KIND_UNATTRIBUTED)
			add_element(set, key->address, false, counter);
	}
}

/* Fixed address -> counter out, of those in L.  Should two floating IPs share one, it counts for the lower. */
static void add_out_map(struct nft_layout *layout, const struct plan *plan, const char *class_name,
                        struct nft_set *fixed)
{
	struct nft_set *set = add_set(layout, NFTBATCH_COUNTER_MAP, "out_", class_name);
	g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);

	for (unsigned i = 0; i < plan->meters->len; i++) {
		const struct planned_meter *meter = &g_array_index(plan->meters, struct planned_meter, i);
		g_autofree char *counter = plan_counter_name(&meter->key, true);

		if (meter->key.class_name != class_name || meter->key.kind != KIND_FLOATING ||
		    !prefixes_find(plan->local, meter->fixed) || !g_hash_table_add(seen, GUINT_TO_POINTER(meter->fixed)))
			continue;
		add_element(set, meter->fixed, false, counter);
		if (fixed)
			add_element(fixed, meter->fixed, false, NULL);
	}
}

static void add_sets(struct nft_layout *layout, const struct plan *plan, bool unattributed)
{
	struct nft_set *fixed;

	add_local(layout, plan);
	add_near(layout, plan);
	add_classes(layout, plan, "class_in", "in_");
	add_classes(layout, plan, "class_out", "out_");
	if (unattributed)
		add_classes(layout, plan, "class_unattributed", "unattributed_");
	fixed = add_set(layout, NFTBATCH_ADDRESSES, "fixed", "");
	for (unsigned i = 0; i < plan->classes->len; i++) {
		add_in_map(layout, plan, plan->classes->pdata[i]);
		add_out_map(layout, plan, plan->classes->pdata[i], i == 0 ? fixed : NULL);
	}
	for (unsigned i = 0; i < layout->sets->len; i++)
		g_array_sort(((struct nft_set *)layout->sets->pdata[i])->elements, nft_element_compare);
}

/* ---- rules ---- */

G_GNUC_PRINTF(3, 4)
static struct nftnl_rule *add_rule(struct nft_layout *layout, const char *chain, const char *format, ...)
{
	g_autofree char *comment = NULL;
	struct nftnl_rule *rule;
	va_list arguments;

	va_start(arguments, format);
	comment = g_strdup_vprintf(format, arguments);
	va_end(arguments);
	rule = nftrule_new(chain, comment);
	g_ptr_array_add(layout->rules, rule);
	return rule;
}

/* Names a chain that only a few rules go to. */
static void add_chain(struct nft_layout *layout, const char *prefix, const char *suffix)
{
	g_ptr_array_add(layout->chains, g_strconcat(prefix, suffix, NULL));
}

static void add_device_rule(struct nft_layout *layout, const char *device, bool as_prefix, int verdict,
                            const char *chain, const char *comment)
{
	struct nftnl_rule *rule = add_rule(layout, NFT_BASE_CHAIN, "%s", comment);

	nftrule_match_device(rule, device, as_prefix);
	nftrule_verdict(rule, verdict, chain);
}

/* Each rule asks for the name anew, so those that nearly all packets have come first. */
static void add_base_rules(struct nft_layout *layout)
{
	struct nftnl_rule *rule;

	add_device_rule(layout, "qg-", true, NFT_GOTO, "external", "from outside");
	add_device_rule(layout, "qr-", true, NFT_GOTO, "inside", "from inside");
	add_device_rule(layout, "lo", false, NFT_RETURN, NULL, "not counted: the router's own");
	add_device_rule(layout, "ha-", true, NFT_RETURN, NULL, "not counted: VRRP");
	add_device_rule(layout, "rfp-", true, NFT_GOTO, "external", "from outside, DVR");
	rule = add_rule(layout, NFT_BASE_CHAIN, "all others are inside");
	nftrule_verdict(rule, NFT_GOTO, "inside");
	rule = add_rule(layout, "inside", "rows 3, 4: far away, so nothing else");
	nftrule_match_octet(rule, NFTBATCH_DADDR, "near", true);
	nftrule_verdict(rule, NFT_GOTO, "to_far");
	rule = add_rule(layout, "inside", "source in a local prefix");
	nftrule_match_set(rule, NFTBATCH_SADDR, NFT_LOCAL_SET, false);
	nftrule_verdict(rule, NFT_GOTO, "tenant");
	rule = add_rule(layout, "inside", "rows 1, 2: strange source");
	nftrule_match_local(rule);
	nftrule_verdict(rule, NFT_GOTO, "served");
}

/* Rows 1, 2 of who is no tenant, but for the destination. */
static void add_served_rules(struct nft_layout *layout)
{
	nftrule_jump_by_map(add_rule(layout, "served", "rows 1, 2"), NFTBATCH_SADDR, "class_in");
}

/* keepalived has taken addresses and routes away; sets that we filled before know nothing of it. */
static void add_standby_rule(struct nft_layout *layout, const char *chain, const char *comment)
{
	struct nftnl_rule *rule = add_rule(layout, chain, "%s", comment);

	nftrule_match_unknown_source(rule);
	nftrule_verdict(rule, NFT_RETURN, NULL);
}

static void add_external_rules(struct nft_layout *layout, bool unattributed)
{
	struct nftnl_rule *rule = add_rule(layout, "external", "from far away");

	nftrule_match_octet(rule, NFTBATCH_SADDR, "near", true);
	nftrule_verdict(rule, NFT_GOTO, "from_far");
	rule = add_rule(layout, "external", "rows 1, 2");
	nftrule_match_local(rule);
	nftrule_verdict(rule, NFT_JUMP, "served");
	if (!unattributed)
		return;
	add_standby_rule(layout, "external", "not row 5: no route back, this is a standby");
	rule = add_rule(layout, "external", "row 5: the router has no SNAT rule");
	nftrule_match_set(rule, NFTBATCH_DADDR, NFT_LOCAL_SET, false);
	nftrule_jump_by_map(rule, NFTBATCH_SADDR, "class_unattributed");
}

static void add_tenant_rules(struct nft_layout *layout, const struct plan *plan)
{
	g_autofree char *gateway = address_to_string(plan->gateway);
	struct nftnl_rule *rule;

	if (plan->gateway) {
		rule = add_rule(layout, "tenant", "not row 2: to its own gateway address %s", gateway);
		nftrule_match_address(rule, NFTBATCH_DADDR, plan->gateway);
		nftrule_match_set(rule, NFTBATCH_SADDR, "fixed", true);
		nftrule_verdict(rule, NFT_RETURN, NULL);
	}
	rule = add_rule(layout, "tenant", "rows 1, 2: a tenant's address is of class " CLASS_CLOUD);
	nftrule_match_local(rule);
	nftrule_verdict(rule, NFT_JUMP, "in_" CLASS_CLOUD);
	rule = add_rule(layout, "tenant", "not rows 3, 4: stays inside");
	nftrule_match_set(rule, NFTBATCH_DADDR, NFT_LOCAL_SET, false);
	nftrule_verdict(rule, NFT_RETURN, NULL);
	add_standby_rule(layout, "tenant", "not rows 3, 4: no route back, this is a standby");
	rule = add_rule(layout, "tenant", "rows 3, 4");
	nftrule_jump_by_map(rule, NFTBATCH_DADDR, "class_out");
}

/* What is no floating IP's goes to the gateway address, or is unattributed; in a DVR qrouter- the snat- counts it.  The name
 * of its counter, which the caller frees, or NULL. */
static char *rest_counter(const struct plan *plan, const char *class_name)
{
	struct meter_key key = {
		.kind = plan->gateway ? KIND_GATEWAY : KIND_UNATTRIBUTED, .address = plan->gateway,
		.class_name = class_name,
	};

	return plan_find_meter(plan, &key) ? plan_counter_name(&key, true) : NULL;
}

static void add_rest_rule(struct nft_layout *layout, const struct plan *plan, const char *chain,
                          const char *class_name)
{
	g_autofree char *counter = rest_counter(plan, class_name), *gateway = address_to_string(plan->gateway);
	struct nftnl_rule *rule;

	if (!counter)
		return;
	if (plan->gateway) {
		rule = add_rule(layout, chain, "not row 4: to the gateway address %s", gateway);
		nftrule_match_address(rule, NFTBATCH_DADDR, plan->gateway);
		nftrule_verdict(rule, NFT_RETURN, NULL);
	}
	rule = add_rule(layout, chain, "row 4: %s", counter);
	nftrule_count(rule, counter);
}

static void add_from_far_rules(struct nft_layout *layout, bool unattributed)
{
	struct nftnl_rule *rule = add_rule(layout, "from_far", "rows 1, 2");

	nftrule_match_local(rule);
	nftrule_count_by_map(rule, NFTBATCH_DADDR, "in_" CLASS_INTERNET);
	if (!unattributed)
		return;
	add_standby_rule(layout, "from_far", "not row 5: no route back, this is a standby");
	rule = add_rule(layout, "from_far", "row 5: the router has no SNAT rule");
	nftrule_match_set(rule, NFTBATCH_DADDR, NFT_LOCAL_SET, false);
	nftrule_verdict(rule, NFT_GOTO, "unattributed_" CLASS_INTERNET);
}

static void add_to_far_rules(struct nft_layout *layout, const struct plan *plan)
{
	g_autofree char *counter = rest_counter(plan, g_intern_static_string(CLASS_INTERNET));
	struct nftnl_rule *rule;

	add_standby_rule(layout, "to_far", "not rows 3, 4: no route back, this is a standby");
	rule = add_rule(layout, "to_far", "row 3, and no other");
	nftrule_count_by_map(rule, NFTBATCH_SADDR, "out_" CLASS_INTERNET);
	nftrule_verdict(rule, NFT_RETURN, NULL);
	if (!counter)
		return;
	rule = add_rule(layout, "to_far", "row 4: %s", counter);
	nftrule_match_set(rule, NFTBATCH_SADDR, NFT_LOCAL_SET, false);
	nftrule_count(rule, counter);
}

static void add_class_rules(struct nft_layout *layout, const struct plan *plan, const char *class_name,
                            bool unattributed)
{
	g_autofree char *in = g_strconcat("in_", class_name, NULL), *out = g_strconcat("out_", class_name, NULL);
	struct nftnl_rule *rule;

	nftrule_count_by_map(add_rule(layout, in, "rows 1, 2"), NFTBATCH_DADDR, in);
	/* One lookup counts and decides: an element that comes or goes between two would count a packet twice, or never. */
	rule = add_rule(layout, out, "row 3, and no other");
	nftrule_count_by_map(rule, NFTBATCH_SADDR, out);
	nftrule_verdict(rule, NFT_RETURN, NULL);
	add_rest_rule(layout, plan, out, class_name);
	add_chain(layout, in, "");
	add_chain(layout, out, "");
	if (unattributed) {
		struct meter_key key = { .kind = KIND_UNATTRIBUTED, .class_name = class_name };
		g_autofree char *counter = plan_counter_name(&key, false);
		g_autofree char *chain = g_strconcat("unattributed_", class_name, NULL);

		nftrule_count(add_rule(layout, chain, "row 5"), counter);
		add_chain(layout, chain, "");
	}
}

static int compare_chain(const void *a, const void *b)
{
	return strcmp(nftnl_rule_get_str(*(struct nftnl_rule *const *)a, NFTNL_RULE_CHAIN),
	              nftnl_rule_get_str(*(struct nftnl_rule *const *)b, NFTNL_RULE_CHAIN));
}

char *nft_rules_digest(GPtrArray *rules)
{
	g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
	char buffer[NFTRULE_COMMENT_SIZE];

	g_ptr_array_sort(rules, compare_chain); /* stable: the order inside a chain stays */
	for (unsigned i = 0; i < rules->len; i++) {
		const char *chain = nftnl_rule_get_str(rules->pdata[i], NFTNL_RULE_CHAIN), *comment;

		g_checksum_update(sum, (const guchar *)chain, strlen(chain) + 1);
		comment = nftrule_comment(rules->pdata[i], buffer);
		g_checksum_update(sum, (const guchar *)comment, strlen(comment) + 1);
	}
	return g_strndup(g_checksum_get_string(sum), 16);
}

struct nft_layout *nft_layout_new(const struct plan *plan)
{
	struct nft_layout *layout = g_new0(struct nft_layout, 1);
	bool unattributed = plan_has_unattributed(plan);

	layout->sets = g_ptr_array_new_with_free_func(set_free);
	layout->chains = g_ptr_array_new_with_free_func(g_free);
	layout->rules = g_ptr_array_new_with_free_func((GDestroyNotify)nftnl_rule_free);
	add_sets(layout, plan, unattributed);
	add_base_rules(layout);
	add_served_rules(layout);
	add_external_rules(layout, unattributed);
	add_tenant_rules(layout, plan);
	add_from_far_rules(layout, unattributed);
	add_to_far_rules(layout, plan);
	for (unsigned i = 0; i < plan->classes->len; i++)
		add_class_rules(layout, plan, plan->classes->pdata[i], unattributed);
	add_chain(layout, "served", "");
	add_chain(layout, "from_far", "");
	add_chain(layout, "to_far", "");
	add_chain(layout, "external", "");
	add_chain(layout, "inside", "");
	add_chain(layout, "tenant", "");
	add_chain(layout, NFT_BASE_CHAIN, "");
	layout->digest = nft_rules_digest(layout->rules);
	return layout;
}

void nft_layout_free(struct nft_layout *layout)
{
	if (!layout)
		return;
	g_ptr_array_unref(layout->sets);
	g_ptr_array_unref(layout->chains);
	g_ptr_array_unref(layout->rules);
	g_free(layout->digest);
	g_free(layout);
}

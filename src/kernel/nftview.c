/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See nftview.h.  All chains are dumped, then the rules of those tables that have a chain or a flow table that matters;
 * Neutron's nat table, the one that may be large, is mostly none of them.
 */
#include "kernel/nftview.h"

#include "kernel/nftables.h"

#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/flowtable.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <linux/netfilter/xt_CT.h>
#include <linux/netfilter_ipv4.h>
#include <stddef.h>
#include <string.h>

#define CONNTRACK (-200) /* NF_IP_PRI_CONNTRACK */
#define INET_INGRESS 5   /* NF_INET_INGRESS */
#define NETDEV_INGRESS 0 /* NF_NETDEV_INGRESS */

enum effect { DROPS = 1 << 0, ZONE = 1 << 1, NOTRACK = 1 << 2 };

struct chain {
	uint8_t family;
	char *table, *name;
	bool is_early;      /* a base chain at prerouting or ingress */
	int priority;
	unsigned effects;   /* of its own rules and policy */
	GPtrArray *targets; /* of char *: chains that it leads to */
	GPtrArray *maps;    /* of char *: verdict maps that it asks */
};

struct flowtable {
	uint8_t family;
	char *table, *name;
	bool used;
};

struct view {
	GPtrArray *chains, *flowtables;
	const char *ours;
	uint8_t family; /* of the table whose rules are being read */
	struct chain *asks; /* the chain whose verdict map is being read */
};

static void chain_free(void *data)
{
	struct chain *chain = data;

	g_free(chain->table);
	g_free(chain->name);
	g_ptr_array_unref(chain->targets);
	g_ptr_array_unref(chain->maps);
	g_free(chain);
}

static void flowtable_free(void *data)
{
	struct flowtable *flowtable = data;

	g_free(flowtable->table);
	g_free(flowtable->name);
	g_free(flowtable);
}

static const char *family_name(uint8_t family)
{
	return family == NFPROTO_IPV4 ? "ip" : family == NFPROTO_INET ? "inet" : "netdev";
}

/* ---- chains and flow tables ---- */

static bool sees_ipv4(uint8_t family)
{
	return family == NFPROTO_IPV4 || family == NFPROTO_INET || family == NFPROTO_NETDEV;
}

static bool is_early(const struct nftnl_chain *chain, uint8_t family)
{
	uint32_t hook;

	if (!nftnl_chain_is_set(chain, NFTNL_CHAIN_HOOKNUM))
		return false;
	hook = nftnl_chain_get_u32(chain, NFTNL_CHAIN_HOOKNUM);
	if (family == NFPROTO_NETDEV)
		return hook == NETDEV_INGRESS;
	return hook == NF_INET_PRE_ROUTING || (family == NFPROTO_INET && hook == INET_INGRESS);
}

/* What enters a device comes before all of prerouting. */
static int priority_of(const struct nftnl_chain *chain, uint8_t family)
{
	bool enters = family == NFPROTO_NETDEV || nftnl_chain_get_u32(chain, NFTNL_CHAIN_HOOKNUM) == INET_INGRESS;

	return enters ? INT32_MIN : nftnl_chain_get_s32(chain, NFTNL_CHAIN_PRIO);
}

static int take_chain(const struct nlmsghdr *header, void *data)
{
	struct view *view = data;
	struct nftnl_chain *chain = nftnl_chain_alloc();
	uint8_t family = header->nlmsg_len >= NLMSG_LENGTH(1) ? *(uint8_t *)mnl_nlmsg_get_payload(header) : 0;

	if (sees_ipv4(family) && nftnl_chain_nlmsg_parse(header, chain) == 0 && nftnl_chain_is_set(chain, NFTNL_CHAIN_NAME) &&
	    nftnl_chain_is_set(chain, NFTNL_CHAIN_TABLE) &&
	    !g_str_equal(nftnl_chain_get_str(chain, NFTNL_CHAIN_TABLE), view->ours)) {
		struct chain *taken = g_new0(struct chain, 1);

		taken->family = family;
		taken->table = g_strdup(nftnl_chain_get_str(chain, NFTNL_CHAIN_TABLE));
		taken->name = g_strdup(nftnl_chain_get_str(chain, NFTNL_CHAIN_NAME));
		taken->is_early = is_early(chain, family);
		taken->priority = taken->is_early ? priority_of(chain, family) : 0;
		taken->targets = g_ptr_array_new_with_free_func(g_free);
		taken->maps = g_ptr_array_new_with_free_func(g_free);
		if (taken->is_early && nftnl_chain_is_set(chain, NFTNL_CHAIN_POLICY) &&
		    nftnl_chain_get_u32(chain, NFTNL_CHAIN_POLICY) == NF_DROP)
			taken->effects = DROPS;
		g_ptr_array_add(view->chains, taken);
	}
	nftnl_chain_free(chain);
	return MNL_CB_OK;
}

static int take_flowtable(const struct nlmsghdr *header, void *data)
{
	struct view *view = data;
	struct nftnl_flowtable *flowtable = nftnl_flowtable_alloc();

	if (nftnl_flowtable_nlmsg_parse(header, flowtable) == 0 && nftnl_flowtable_is_set(flowtable, NFTNL_FLOWTABLE_NAME) &&
	    nftnl_flowtable_is_set(flowtable, NFTNL_FLOWTABLE_TABLE)) {
		struct flowtable *taken = g_new0(struct flowtable, 1);

		taken->family = nftnl_flowtable_get_u32(flowtable, NFTNL_FLOWTABLE_FAMILY);
		taken->table = g_strdup(nftnl_flowtable_get_str(flowtable, NFTNL_FLOWTABLE_TABLE));
		taken->name = g_strdup(nftnl_flowtable_get_str(flowtable, NFTNL_FLOWTABLE_NAME));
		g_ptr_array_add(view->flowtables, taken);
	}
	nftnl_flowtable_free(flowtable);
	return MNL_CB_OK;
}

/* Of all families and tables. */
static bool dump(struct netlink *netlink, uint16_t message, mnl_cb_t call, struct view *view, GError **error)
{
	char buffer[MNL_NLMSG_HDRLEN + 64] __attribute__((aligned(NLMSG_ALIGNTO)));

	return netlink_talk(netlink, nftnl_nlmsg_build_hdr(buffer, message, NFPROTO_UNSPEC, NLM_F_DUMP, 0), call, view, error);
}

/* Kernels before 4.16 know no flow tables. */
static bool dump_flowtables(struct netlink *netlink, struct view *view, GError **error)
{
	GError *refusal = NULL;

	if (dump(netlink, NFT_MSG_GETFLOWTABLE, take_flowtable, view, &refusal))
		return true;
	if (g_error_matches(refusal, NETLINK_ERROR, NETLINK_ERROR_UNSUPPORTED) ||
	    g_error_matches(refusal, NETLINK_ERROR, NETLINK_ERROR_INVALID)) {
		g_error_free(refusal);
		return true;
	}
	g_propagate_error(error, refusal);
	return false;
}

/* ---- rules ---- */

/* NULL for a name that is NULL, too. */
static struct chain *find_chain(const struct view *view, uint8_t family, const char *table, const char *name)
{
	for (unsigned i = 0; i < view->chains->len; i++) {
		struct chain *chain = view->chains->pdata[i];

		if (chain->family == family && !g_strcmp0(chain->table, table) && !g_strcmp0(chain->name, name))
			return chain;
	}
	return NULL;
}

static void take_verdict(struct chain *chain, int verdict, const char *target)
{
	if ((verdict == NFT_JUMP || verdict == NFT_GOTO) && target)
		g_ptr_array_add(chain->targets, g_strdup(target));
	else if (verdict >= 0 && (verdict & NF_VERDICT_MASK) != NF_ACCEPT)
		chain->effects |= DROPS; /* or NF_STOLEN, NF_QUEUE: what becomes of it is somebody else's affair */
}

/* Targets of iptables that nf_tables has no words for (net/netfilter/xt_CT.c; all revisions begin alike). */
static void take_target(struct chain *chain, const struct nftnl_expr *expression)
{
	const char *name = nftnl_expr_get_str(expression, NFTNL_EXPR_TG_NAME);
	struct xt_ct_target_info info;
	uint32_t length;
	const void *data = nftnl_expr_get(expression, NFTNL_EXPR_TG_INFO, &length);

	if (g_strcmp0(name, "NOTRACK") == 0)
		chain->effects |= NOTRACK;
	if (g_strcmp0(name, "CT") || !data || length < offsetof(struct xt_ct_target_info, ct_events))
		return;
	memcpy(&info, data, offsetof(struct xt_ct_target_info, ct_events));
	if (info.flags & XT_CT_NOTRACK)
		chain->effects |= NOTRACK;
	else if (info.zone)
		chain->effects |= ZONE;
}

static void take_flow(const struct view *view, const struct chain *chain, const char *name)
{
	for (unsigned i = 0; i < view->flowtables->len; i++) {
		struct flowtable *flowtable = view->flowtables->pdata[i];

		flowtable->used |= flowtable->family == chain->family && g_str_equal(flowtable->table, chain->table) &&
		                   !g_strcmp0(flowtable->name, name);
	}
}

static void take_expression(const struct view *view, struct chain *chain, const struct nftnl_expr *expression)
{
	const char *name = nftnl_expr_get_str(expression, NFTNL_EXPR_NAME);

	if (g_str_equal(name, "immediate") && nftnl_expr_is_set(expression, NFTNL_EXPR_IMM_VERDICT))
		take_verdict(chain, (int)nftnl_expr_get_u32(expression, NFTNL_EXPR_IMM_VERDICT),
		             nftnl_expr_get_str(expression, NFTNL_EXPR_IMM_CHAIN));
	else if (g_str_equal(name, "lookup") && nftnl_expr_is_set(expression, NFTNL_EXPR_LOOKUP_DREG) &&
	         nftnl_expr_get_u32(expression, NFTNL_EXPR_LOOKUP_DREG) == NFT_REG_VERDICT &&
	         nftnl_expr_is_set(expression, NFTNL_EXPR_LOOKUP_SET))
		g_ptr_array_add(chain->maps, g_strdup(nftnl_expr_get_str(expression, NFTNL_EXPR_LOOKUP_SET)));
	else if (g_str_equal(name, "queue") || g_str_equal(name, "fwd") || g_str_equal(name, "reject"))
		chain->effects |= DROPS;
	else if (g_str_equal(name, "notrack"))
		chain->effects |= NOTRACK;
	else if (g_str_equal(name, "ct") && nftnl_expr_is_set(expression, NFTNL_EXPR_CT_SREG) &&
	         nftnl_expr_get_u32(expression, NFTNL_EXPR_CT_KEY) == NFT_CT_ZONE)
		chain->effects |= ZONE;
	else if (g_str_equal(name, "target"))
		take_target(chain, expression);
	else if (g_str_equal(name, "flow_offload"))
		take_flow(view, chain, nftnl_expr_get_str(expression, NFTNL_EXPR_FLOW_TABLE_NAME));
}

static bool take_rule(const struct nftnl_rule *rule, void *data, GError **error)
{
	struct view *view = data;
	struct chain *chain = find_chain(view, view->family, nftnl_rule_get_str(rule, NFTNL_RULE_TABLE),
	                                 nftnl_rule_get_str(rule, NFTNL_RULE_CHAIN));
	struct nftnl_expr_iter *each = chain ? nftnl_expr_iter_create(rule) : NULL;
	const struct nftnl_expr *expression;

	while (each && (expression = nftnl_expr_iter_next(each)))
		take_expression(view, chain, expression);
	if (each)
		nftnl_expr_iter_destroy(each);
	return true;
}

static bool take_element(const struct nftnl_set_elem *element, void *data, GError **error)
{
	struct view *view = data;

	if (nftnl_set_elem_is_set(element, NFTNL_SET_ELEM_VERDICT))
		take_verdict(view->asks, (int)nftnl_set_elem_get_u32((struct nftnl_set_elem *)element, NFTNL_SET_ELEM_VERDICT),
		             nftnl_set_elem_get_str((struct nftnl_set_elem *)element, NFTNL_SET_ELEM_CHAIN));
	return true;
}

static bool matters(const struct view *view, uint8_t family, const char *table)
{
	for (unsigned i = 0; i < view->flowtables->len; i++) {
		const struct flowtable *flowtable = view->flowtables->pdata[i];

		if (flowtable->family == family && g_str_equal(flowtable->table, table))
			return true;
	}
	for (unsigned i = 0; i < view->chains->len; i++) {
		const struct chain *chain = view->chains->pdata[i];

		if (chain->is_early && chain->priority < 0 && chain->family == family && g_str_equal(chain->table, table) &&
		    chain->priority != NF_IP_PRI_NAT_DST)
			return true;
	}
	return false;
}

static bool read_rules(struct netlink *netlink, struct view *view, GError **error)
{
	g_autoptr(GHashTable) done = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

	for (unsigned i = 0; i < view->chains->len; i++) {
		const struct chain *chain = view->chains->pdata[i];

		if (!matters(view, chain->family, chain->table) ||
		    !g_hash_table_add(done, g_strdup_printf("%u %s", chain->family, chain->table)))
			continue;
		view->family = chain->family;
		if (!nftables_each_rule(netlink, chain->family, chain->table, take_rule, view, error))
			return false;
	}
	for (unsigned i = 0; i < view->chains->len; i++) {
		view->asks = view->chains->pdata[i];
		for (unsigned j = 0; j < view->asks->maps->len; j++)
			if (!nftables_each_element(netlink, view->asks->family, view->asks->table, view->asks->maps->pdata[j],
			                           take_element, view, error))
				return false;
	}
	return true;
}

/* ---- telling ---- */

/* All that a packet in the chain may meet.  seen: names of chains that were followed already. */
static unsigned effects_of(const struct view *view, const struct chain *chain, GHashTable *seen)
{
	unsigned effects = chain->effects;

	for (unsigned i = 0; i < chain->targets->len; i++) {
		const struct chain *next = find_chain(view, chain->family, chain->table, chain->targets->pdata[i]);

		if (next && g_hash_table_add(seen, next->name))
			effects |= effects_of(view, next, seen);
	}
	return effects;
}

static void tell_chain(const struct view *view, const struct chain *chain, int priority,
                       void (*call)(const struct nftview_item *item, void *data), void *data)
{
	g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
	unsigned effects = effects_of(view, chain, seen);
	struct nftview_item item = { .family = family_name(chain->family), .table = chain->table, .name = chain->name,
	                             .priority = chain->priority };

	if ((effects & DROPS) && chain->priority <= priority) {
		item.kind = NFTVIEW_DROPS;
		call(&item, data);
	}
	if ((effects & ZONE) && chain->priority < CONNTRACK) {
		item.kind = NFTVIEW_ZONE;
		call(&item, data);
	}
	if ((effects & NOTRACK) && chain->priority < CONNTRACK) {
		item.kind = NFTVIEW_NOTRACK;
		call(&item, data);
	}
}

static void tell(const struct view *view, int priority, void (*call)(const struct nftview_item *item, void *data),
                 void *data)
{
	for (unsigned i = 0; i < view->chains->len; i++)
		if (((struct chain *)view->chains->pdata[i])->is_early)
			tell_chain(view, view->chains->pdata[i], priority, call, data);
	for (unsigned i = 0; i < view->flowtables->len; i++) {
		const struct flowtable *flowtable = view->flowtables->pdata[i];
		struct nftview_item item = { .kind = flowtable->used ? NFTVIEW_FLOWTABLE : NFTVIEW_IDLE,
			.family = family_name(flowtable->family), .table = flowtable->table, .name = flowtable->name };

		call(&item, data);
	}
}

bool nftview_each(struct netlink *netlink, int priority, const char *ours,
                  void (*call)(const struct nftview_item *item, void *data), void *data, GError **error)
{
	g_autoptr(GPtrArray) chains = g_ptr_array_new_with_free_func(chain_free);
	g_autoptr(GPtrArray) flowtables = g_ptr_array_new_with_free_func(flowtable_free);
	struct view view = { .chains = chains, .flowtables = flowtables, .ours = ours };
	g_autoptr(GError) refusal = NULL;
	uint32_t generation;

	if (!nftables_generation(netlink, &generation, &refusal)) {
		if (g_error_matches(refusal, NETLINK_ERROR, NETLINK_ERROR_UNSUPPORTED))
			return true;
		g_propagate_error(error, g_steal_pointer(&refusal));
		return false;
	}
	if (!dump(netlink, NFT_MSG_GETCHAIN, take_chain, &view, error) ||
	    !dump_flowtables(netlink, &view, error) || !read_rules(netlink, &view, error))
		return false;
	tell(&view, priority, call, data);
	return true;
}

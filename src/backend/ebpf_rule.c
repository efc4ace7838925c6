/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See ebpf_rule.h.  The rule says in its comment by which map it calls the program: a rule of maps that are no more calls
 * nothing.
 */
#include "backend/ebpf_rule.h"

#include "kernel/nftables.h"
#include "kernel/nftbatch.h"

#include <libnftnl/rule.h>

#define CHAIN "prerouting"

static char *comment_of(const struct ebpf_maps *maps)
{
	return g_strdup_printf("counted into the maps of " EBPF_TOP ", through map %u", ebpf_maps_programs(maps));
}

bool ebpf_rule_is_there(const struct place *place, bool *is_there, GError **error)
{
	g_autoptr(GError) refusal = NULL;

	*is_there = false;
	if (!place->netfilter || nftables_has_table(place->netfilter, NFPROTO_IPV4, EBPF_RULE_TABLE, is_there, &refusal) ||
	    g_error_matches(refusal, NETLINK_ERROR, NETLINK_ERROR_UNSUPPORTED)) /* a kernel for links alone */
		return true;
	g_propagate_error(error, g_steal_pointer(&refusal));
	return backend_refuse(error);
}

struct found {
	unsigned ours, others;
	const char *comment;
};

static bool take_rule(const struct nftnl_rule *rule, void *data, GError **error)
{
	struct found *found = data;
	char comment[NFTRULE_COMMENT_SIZE];
	bool ours = g_str_equal(nftrule_comment(rule, comment), found->comment);

	found->ours += ours;
	found->others += !ours;
	return true;
}

bool ebpf_rule_stands(const struct ebpf_maps *maps, const struct place *place, bool *stands, GError **error)
{
	g_autofree char *comment = comment_of(maps);
	struct found found = { .comment = comment };
	struct nftables_table table;

	*stands = true;
	if (!place->netfilter)
		return true;
	if (!nftables_each_rule(place->netfilter, NFPROTO_IPV4, EBPF_RULE_TABLE, take_rule, &found, error) ||
	    !nftables_look(place->netfilter, NFPROTO_IPV4, EBPF_RULE_TABLE, &table, error))
		return backend_refuse(error);
	*stands = found.ours == 1 && !found.others && !table.dormant;
	return true;
}

/* Frees the batch.  *missing: it was refused as something is not there. */
static bool commit(struct nftbatch *batch, const struct place *place, bool *missing, GError **error)
{
	g_autoptr(GError) refusal = NULL;
	bool done = nftbatch_commit(batch, place->netfilter, &refusal);

	nftbatch_free(batch);
	*missing = g_error_matches(refusal, NETLINK_ERROR, NETLINK_ERROR_MISSING);
	if (!done)
		g_propagate_error(error, g_steal_pointer(&refusal));
	return done || backend_refuse(error);
}

bool ebpf_rule_make(const struct ebpf_maps *maps, const struct place *place, GError **error)
{
	g_autofree char *comment = comment_of(maps);
	struct nftbatch *batch;
	struct nftnl_rule *rule;
	bool is_there, missing;

	if (!ebpf_rule_is_there(place, &is_there, error))
		return false;
	batch = nftbatch_new(EBPF_RULE_TABLE);
	if (is_there)
		nftbatch_delete_table(batch);
	nftbatch_add_table(batch);
	nftbatch_add_base_chain(batch, CHAIN, NF_INET_PRE_ROUTING, EBPF_PRIORITY);
	rule = nftrule_new(CHAIN, comment);
	nftrule_ask_program(rule, maps->hook);
	nftbatch_add_rule(batch, rule);
	nftnl_rule_free(rule);
	if (commit(batch, place, &missing, error))
		return true;
	if (missing && error) { /* a lack of the kernel, and no change, after which it would be looked at again */
		(*error)->code = BACKEND_ERROR_FAILED;
		g_prefix_error(error, "it takes nft_compat and xt_bpf: ");
	}
	return false;
}

bool ebpf_rule_drop(const struct place *place, GError **error)
{
	g_autoptr(GError) refusal = NULL;
	struct nftbatch *batch;
	bool is_there, missing;

	if (!ebpf_rule_is_there(place, &is_there, error))
		return false;
	if (!is_there)
		return true;
	batch = nftbatch_new(EBPF_RULE_TABLE);
	nftbatch_delete_table(batch);
	if (commit(batch, place, &missing, &refusal) || missing)
		return true;
	g_propagate_error(error, g_steal_pointer(&refusal));
	return false;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The step from what stands in our nf_tables table to what a plan asks for.
 */
#ifndef FIPMETER_BACKEND_NFT_CHANGE_H
#define FIPMETER_BACKEND_NFT_CHANGE_H

#include "core/model.h"
#include "kernel/nftbatch.h"

/* Two counters of the table count nothing, their names say something. */
#define NFT_TAG_PREFIX "generation_"
#define NFT_LAYOUT_PREFIX "layout_"

/* The transaction that makes the table as plan asks for: empty where it is so already, the whole table under tag where
 * found has no generation.  NULL if the table cannot be read.  The caller frees. */
struct nftbatch *nft_change(struct netlink *netlink, const struct plan *plan, const char *tag,
                            const struct snapshot *found, GError **error);

/* Are prefixes of the plan missing in the set of local ones that stands? */
bool nft_lacks_local(struct netlink *netlink, const struct plan *plan, bool *lacks, GError **error);

/* The digest (nft_rules_digest) of the rules that stand in the table now.  NULL on failure; the caller frees. */
char *nft_rules_standing(struct netlink *netlink, GError **error);

/* A number that tells the elements of all sets of the table from others: which address leads where. */
bool nft_content(struct netlink *netlink, uint64_t *content, GError **error);

/* Hands over the names of chains or sets: adds a copy of name to the set data. */
bool nft_take_name(const char *name, void *data, GError **error);

#endif

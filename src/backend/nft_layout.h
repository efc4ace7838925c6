/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What our table `fipmeter` should hold for a plan: sets with their elements, chains, rules.  Pure data, made from
 * the plan alone; backend/nft.c compares it with what is there and changes the difference.
 */
#ifndef FIPMETER_BACKEND_NFT_LAYOUT_H
#define FIPMETER_BACKEND_NFT_LAYOUT_H

#include "core/model.h"
#include "kernel/nftbatch.h"

#define NFT_TABLE "fipmeter"
#define NFT_BASE_CHAIN "prerouting"
#define NFT_LOCAL_SET "local"

struct nft_set {
	char *name;
	enum nftbatch_set type;
	GArray *elements;    /* of struct nftbatch_element, ascending by address, ends first */
	GStringChunk *names; /* what the elements' targets are in */
};

struct nft_layout {
	GPtrArray *sets;   /* of struct nft_set * */
	GPtrArray *chains; /* of char *; the base chain is the last */
	GPtrArray *rules;  /* of struct nftnl_rule *, chain by chain */
	char *digest;      /* of the rules, as nft_rules_digest() */
};

struct nft_layout *nft_layout_new(const struct plan *plan);
void nft_layout_free(struct nft_layout *layout);

int nft_element_compare(const void *a, const void *b);

/* A digest of rules (which it sorts by chain) by chain and comment.  A comment says all that a rule of ours depends on,
 * so that a rule that is missing, strange or out of date shows.  The caller frees. */
char *nft_rules_digest(GPtrArray *rules);

#endif

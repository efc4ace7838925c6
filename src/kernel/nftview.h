/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What of nf_tables in a namespace can keep packets from a hook at prerouting, or from what stands behind it: chains that
 * come earlier and drop, flow tables, and rules that put connections into zones or take them from conntrack.  Looks at all
 * families that see IPv4 packets there.  Messages, and following jumps; what it means is the caller's affair.
 *
 * A chain that accepts is none of these: accept ends one chain, the packet goes on to the next (nft(8), "Verdict
 * statements").
 */
#ifndef FIPMETER_KERNEL_NFTVIEW_H
#define FIPMETER_KERNEL_NFTVIEW_H

#include "kernel/netlink.h"

enum nftview_kind {
	NFTVIEW_DROPS,     /* a base chain: a rule that is reached from it drops, queues or sends away; or its policy drops */
	NFTVIEW_ZONE,      /* a base chain before conntrack: a rule puts packets into another zone than 0 */
	NFTVIEW_NOTRACK,   /* the same: takes them from conntrack */
	NFTVIEW_FLOWTABLE, /* a flow table that a rule adds connections to */
	NFTVIEW_IDLE,      /* a flow table that no rule adds anything to */
};

struct nftview_item {
	enum nftview_kind kind;
	const char *family, *table, *name; /* as nft(8) names them; name: of the chain or flow table */
	int priority;                      /* of a chain */
};

/* priority: of our own hook; chains that drop are told up to that one, the same included (which of two was made later
 * comes first).  ours: the name of our own table, which is passed over.  item is valid inside the call.  A kernel without
 * nf_tables has nothing to tell. */
bool nftview_each(struct netlink *netlink, int priority, const char *ours,
                  void (*call)(const struct nftview_item *item, void *data), void *data, GError **error);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a router translates, out of the nat rules that Neutron writes, in either flavour:
 *
 *   neutron-*-PREROUTING  -d FLOATING/32 [-i rfp-X] -j DNAT --to-destination FIXED     a floating IP
 *   neutron-*-snat        -o qg-X -j SNAT --to-source GATEWAY                          the gateway address
 *
 * A rule that any other condition narrows is none of these (port forwardings, the hairpin rule by mark and
 * state).  Everything here is pure.  A rule is decoded first (struct nat_rule: nothing of its flavour is
 * left), then taken.
 */
#ifndef FIPMETER_INVENTORY_NAT_H
#define FIPMETER_INVENTORY_NAT_H

#include "core/model.h"
#include "inventory/links.h"

struct ipt_entry;
struct nftnl_rule;

#define NAT_ERROR (g_quark_from_static_string("fipmeter-nat"))
enum nat_error {
	NAT_ERROR_TOO_MANY,
};

/* Floating IPs of a router.  One that has more is an error, not cut short. */
#define NAT_FLOATING_MAX 65536

enum nat_target { NAT_OTHER, NAT_DNAT, NAT_SNAT };

struct nat_rule {
	const char *chain;            /* the rule's own */
	char in[IFNAMSIZ + 1];        /* by which device it must come; "": any; a + at its end: a prefix */
	char out[IFNAMSIZ + 1];       /* by which it must go */
	uint32_t destination;         /* the one address it must be for; 0 for any */
	bool narrowed;                /* there are more conditions, or conditions we do not know */
	enum nat_target target;
	uint32_t to;                  /* the one address it becomes; 0: several, with ports, or unknown */
};

/* One rule of table nat (a legacy entry is a checked one).  Never fails: what is not understood leaves
 * `narrowed` set or `target` NAT_OTHER. decoded points into the rule. */
void nat_decode_nft(const struct nftnl_rule *rule, struct nat_rule *decoded);
void nat_decode_legacy(const char *chain, const struct ipt_entry *entry, struct nat_rule *decoded);

/* The target extensions DNAT and SNAT, as both flavours carry them: revision 0 is struct
 * nf_nat_ipv4_multi_range_compat, 1 nf_nat_range, 2 nf_nat_range2 (linux/netfilter/nf_nat.h,
 * net/netfilter/xt_nat.c).  Sets target and to. */
void nat_decode_target(const char *name, uint32_t revision, const void *data, size_t length,
                       struct nat_rule *decoded);

/* The rules of one flavour, taken one after the other: of several for one floating IP the first wins, as in
 * the kernel; of several gateway rules the one by the device that has the default route, else by a device
 * that is there, else the first. */
struct nat;
struct nat *nat_new(const struct links *links); /* which must outlive it */
void nat_free(struct nat *nat); /* takes NULL */
bool nat_take(struct nat *nat, const struct nat_rule *rule, GError **error);

/* Writes flavour, floating and gateway of router, and which of them are served.  ruling: whose entry holds where both
 * flavours have one: FLAVOUR_LEGACY, or else nft's. */
void nat_merge(const struct nat *nft, const struct nat *legacy, const struct links *links, enum flavour ruling,
               struct router *router);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading nf_tables over an nfnetlink socket (netlink_open() with NETLINK_NETFILTER): each function runs
 * one dump and hands what is there to a callback, in the kernel's order.  Family is NFPROTO_IPV4 and the
 * like.
 *
 * Callbacks own nothing: what they are given is freed when they return; they must not use the same netlink;
 * a callback that returns false with an error ends the dump, and its error is the function's.  What was
 * handed over before a dump fails (NETLINK_ERROR_INTERRUPTED and all others) is no reading and must be
 * thrown away.
 *
 * A table that does not exist has no rules, objects, sets and chains: that is no error (some kernels answer
 * a dump of it with nothing, some with ENOENT: nf_tables_api.c); nftables_has_table() tells.  A set that
 * does not exist is NETLINK_ERROR_MISSING.  A kernel without nf_tables is NETLINK_ERROR_UNSUPPORTED, told
 * by nftables_generation() and nftables_has_table().
 */
#ifndef FIPMETER_KERNEL_NFTABLES_H
#define FIPMETER_KERNEL_NFTABLES_H

#include <netinet/in.h> /* before linux/netfilter.h, whose own copy would clash */
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include "kernel/netlink.h"

struct nftnl_obj;
struct nftnl_rule;
struct nftnl_set_elem;

/* The generation id of the namespace: moves by one with each transaction, by whomever (NFT_MSG_GETGEN).
 * Two dumps with the same id before and behind them saw the same rules; it wraps, and it starts again with
 * the namespace. */
bool nftables_generation(struct netlink *netlink, uint32_t *id, GError **error);

#define NFTABLES_NO_HANDLE UINT64_MAX
struct nftables_table {
	uint64_t handle; /* which no other table of the namespace gets after it (nf_tables_api.c: nf_tables_newtable()); 0: there is
	                  * no such table; NFTABLES_NO_HANDLE: it is there, and the kernel does not say */
	bool dormant;    /* none of its chains is called (nft(8), flags dormant) */
};
bool nftables_look(struct netlink *netlink, uint8_t family, const char *table, struct nftables_table *found, GError **error);

bool nftables_has_table(struct netlink *netlink, uint8_t family, const char *table, bool *exists,
                        GError **error);

/* Rules chain by chain, each chain's in their order.  A rule with an expression that libnftnl does not know
 * is left out. */
typedef bool (*nftables_rule_call)(const struct nftnl_rule *rule, void *data, GError **error);
bool nftables_each_rule(struct netlink *netlink, uint8_t family, const char *table, nftables_rule_call call,
                        void *data, GError **error);

/* Stateful objects of every type (NFTNL_OBJ_TYPE), with their values. */
typedef bool (*nftables_object_call)(const struct nftnl_obj *object, void *data, GError **error);
bool nftables_each_object(struct netlink *netlink, uint8_t family, const char *table,
                          nftables_object_call call, void *data, GError **error);

/* Names of sets (anonymous ones and maps included), of chains. */
typedef bool (*nftables_name_call)(const char *name, void *data, GError **error);
bool nftables_each_set(struct netlink *netlink, uint8_t family, const char *table, nftables_name_call call,
                       void *data, GError **error);
bool nftables_each_chain(struct netlink *netlink, uint8_t family, const char *table, nftables_name_call call,
                         void *data, GError **error);

/* Elements of one set or map.  An interval is two elements (NFT_SET_ELEM_INTERVAL_END). */
typedef bool (*nftables_element_call)(const struct nftnl_set_elem *element, void *data, GError **error);
bool nftables_each_element(struct netlink *netlink, uint8_t family, const char *table, const char *set,
                           nftables_element_call call, void *data, GError **error);

#endif

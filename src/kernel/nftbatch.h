/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An nf_tables transaction (nfnetlink batch): all of it happens at one moment, or nothing of it.  Messages and
 * calls only; what a table should look like is the back end's affair.  Source: net/netfilter/nfnetlink.c
 * (nfnetlink_rcv_batch) and nf_tables_api.c of the kernel.
 *
 * Each add function takes what it is given by value; names are copied.
 */
#ifndef FIPMETER_KERNEL_NFTBATCH_H
#define FIPMETER_KERNEL_NFTBATCH_H

#include <netinet/in.h> /* before linux/netfilter.h, whose own copy would clash */
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include "kernel/netlink.h"

struct nftnl_rule;
struct nftbatch;

/* All messages are about one table of family ip (NFPROTO_IPV4). */
struct nftbatch *nftbatch_new(const char *table);
void nftbatch_free(struct nftbatch *batch); /* takes NULL */

unsigned nftbatch_length(const struct nftbatch *batch); /* messages so far */

/* Sends it and waits for the verdict.  An empty batch is done at once.  NETLINK_ERROR_EXISTS: something that was to be
 * created exclusively is there.  The message says which step was refused, and why. */
bool nftbatch_commit(struct nftbatch *batch, struct netlink *netlink, GError **error);

/* Tables and counters are created exclusively (NLM_F_EXCL), chains and sets are not. */
void nftbatch_add_table(struct nftbatch *batch);
void nftbatch_wake_table(struct nftbatch *batch); /* somebody has put it to sleep (flags dormant) */
void nftbatch_delete_table(struct nftbatch *batch);
void nftbatch_add_chain(struct nftbatch *batch, const char *chain);
void nftbatch_add_base_chain(struct nftbatch *batch, const char *chain, unsigned hook, int priority);
void nftbatch_delete_chain(struct nftbatch *batch, const char *chain);
void nftbatch_flush_chain(struct nftbatch *batch, const char *chain);
void nftbatch_add_counter(struct nftbatch *batch, const char *name);
void nftbatch_delete_counter(struct nftbatch *batch, const char *name);

/* Sets and maps whose key is an IPv4 address. */
enum nftbatch_set {
	NFTBATCH_ADDRESSES,     /* a set of addresses */
	NFTBATCH_OCTETS,        /* the same, of networks of 8 bits: of a fixed size, so asked faster */
	NFTBATCH_INTERVALS,     /* a set of disjoint intervals */
	NFTBATCH_COUNTER_MAP,   /* address -> name of a counter */
	NFTBATCH_VERDICT_MAP,   /* interval -> chain to jump to */
};
void nftbatch_add_set(struct nftbatch *batch, const char *set, enum nftbatch_set type);
void nftbatch_delete_set(struct nftbatch *batch, const char *set);

/* One element.  An interval is two of them: its first address, and the one behind its last, with is_end. */
struct nftbatch_element {
	uint32_t address;   /* host byte order */
	bool is_end;
	const char *target; /* counter or chain; NULL in sets and ends */
};
void nftbatch_add_elements(struct nftbatch *batch, const char *set, enum nftbatch_set type,
                           const struct nftbatch_element *elements, size_t n);
void nftbatch_delete_elements(struct nftbatch *batch, const char *set, enum nftbatch_set type,
                              const struct nftbatch_element *elements, size_t n);

/* ---- rules: make one, add expressions from left to right, add it to a batch, nftnl_rule_free() it ---- */

enum nftbatch_field { NFTBATCH_SADDR = 12, NFTBATCH_DADDR = 16 }; /* offset in the IPv4 header */

/* comment (at most 127 bytes) shows behind the rule in `nft list`. */
struct nftnl_rule *nftrule_new(const char *chain, const char *comment);
/* What nftrule_new() was given, in buffer of that size; "" if the rule has none. */
#define NFTRULE_COMMENT_SIZE 256
const char *nftrule_comment(const struct nftnl_rule *rule, char buffer[NFTRULE_COMMENT_SIZE]);
void nftrule_match_device(struct nftnl_rule *rule, const char *name, bool as_prefix);
void nftrule_match_address(struct nftnl_rule *rule, enum nftbatch_field field, uint32_t address);
void nftrule_match_set(struct nftnl_rule *rule, enum nftbatch_field field, const char *set, bool inverted);
void nftrule_match_octet(struct nftnl_rule *rule, enum nftbatch_field field, const char *set, bool inverted);
void nftrule_match_local(struct nftnl_rule *rule);    /* fib daddr type local */
/* The namespace can do nothing with that source at this moment: there is no route to it, and it is no address of its
 * own (fib saddr oif missing, fib saddr type != local). */
void nftrule_match_unknown_source(struct nftnl_rule *rule);
void nftrule_jump_by_map(struct nftnl_rule *rule, enum nftbatch_field field, const char *map); /* vmap */
/* The program of bpf(2) (its descriptor, of a program for sockets) runs, and is asked whether the rule goes on: the match `bpf` of
 * xtables, iptables-extensions(8).  The rule holds the program. */
void nftrule_ask_program(struct nftnl_rule *rule, int program);
void nftrule_count_by_map(struct nftnl_rule *rule, enum nftbatch_field field, const char *map);
void nftrule_count(struct nftnl_rule *rule, const char *counter);
void nftrule_verdict(struct nftnl_rule *rule, int verdict, const char *chain); /* NFT_RETURN, NFT_JUMP, NFT_GOTO */
void nftbatch_add_rule(struct nftbatch *batch, struct nftnl_rule *rule);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ipset over an nfnetlink socket (netlink_open() with NETLINK_NETFILTER): messages and calls only.
 * Source: linux/netfilter/ipset/ip_set.h and net/netfilter/ipset/ of the kernel; protocol 6, which every
 * kernel since 2.6.39 speaks.
 *
 * What the kernel does, and what follows for whoever calls (measured, on 6.18):
 *   - A new element may be given the memory of a dead one, counters included, unless the add says which
 *     values it starts with.  So every add of a counted element says them.
 *   - An add that finds the element there must not touch it: every add is exclusive (NLM_F_EXCL).
 *   - A set that grows (is resized) loses what is counted meanwhile.  So its hashsize is chosen at creation:
 *     ipset_hashsize().
 *   - Messages that are sent in one system call are worked on one after the other before it returns: a
 *     process that is killed has sent all of them or none.
 */
#ifndef FIPMETER_KERNEL_IPSET_H
#define FIPMETER_KERNEL_IPSET_H

#include "kernel/netlink.h"

#define IPSET_NAME_MAX 31     /* IPSET_MAXNAMELEN less its NUL */
#define IPSET_COMMENT_MAX 255 /* IPSET_MAX_COMMENT_SIZE; this and more is refused by the kernel from 256 on */

enum ipset_type {
	IPSET_ADDRESSES, /* hash:ip, family inet */
	IPSET_PREFIXES,  /* hash:net, family inet: the longest prefix wins; /0 is refused, it is two /1 */
};

struct ipset_element {
	uint32_t address;   /* host byte order */
	uint8_t length;     /* of the prefix; 32 in a set of addresses */
	uint64_t packets, bytes;
	const char *comment; /* NULL: none */
	bool counted;        /* of one that was read: packets and bytes were told */
};

/* Elements for which a set of n must be made so that it never grows: the next power of two at or above 8 n, at least
 * 64; with counts at least 1024. */
uint32_t ipset_hashsize(uint32_t elements, bool counts);

/* ---- changing ---- */

/* Messages in the order in which they are put in.  A refused one does not undo those before it, and those behind it
 * are done all the same. */
struct ipset_batch;
struct ipset_batch *ipset_batch_new(void);
void ipset_batch_free(struct ipset_batch *batch); /* takes NULL */
unsigned ipset_batch_length(const struct ipset_batch *batch); /* messages so far */

/* counts: with counters and comments. Exclusive: a set of that name that is there is NETLINK_ERROR_EXISTS. */
void ipset_batch_create(struct ipset_batch *batch, const char *set, enum ipset_type type, bool counts, uint32_t hashsize);
void ipset_batch_destroy(struct ipset_batch *batch, const char *set);
/* counts as at the set's creation: then packets, bytes and comment of the element are set. Exclusive. */
void ipset_batch_add(struct ipset_batch *batch, const char *set, bool counts, const struct ipset_element *element);
void ipset_batch_delete(struct ipset_batch *batch, const char *set, const struct ipset_element *element);

/* Sends all messages in one system call and waits for every answer.  An empty batch is done at once.  The error is that
 * of the first message that was refused and names the set, the address and the reason in words (the kernel's own error
 * numbers of ipset, IPSET_ERR_*, included): NETLINK_ERROR_EXISTS for a set or element that is there,
 * NETLINK_ERROR_MISSING for one that is not, NETLINK_ERROR_BUSY for a set that rules still use,
 * NETLINK_ERROR_UNSUPPORTED where the kernel lacks ipset or the type. */
bool ipset_batch_commit(struct ipset_batch *batch, struct netlink *netlink, GError **error);

/* ---- reading ---- */

struct ipset_set {
	const char *name, *type; /* type: "hash:ip" ... */
	bool counts;             /* has counters and comments */
	uint32_t hashsize, references; /* references: rules that use it */
};

/* One dump of all sets of the namespace, whosever they are: call gets each set once with element NULL, then each of its
 * elements (of which only IPv4 ones are handed over).  Callbacks own nothing and must not use the same netlink; one
 * that returns false with an error ends the dump.  What was handed over before a failure must be thrown away.  A kernel
 * without ipset, or a namespace without sets, is done with no call. */
typedef bool (*ipset_call)(const struct ipset_set *set, const struct ipset_element *element, void *data, GError **error);
bool ipset_each(struct netlink *netlink, ipset_call call, void *data, GError **error);

/* The number by which rules name a set (getsockopt SO_IP_SET, IP_SET_OP_GET_BYNAME); to be called inside the namespace
 * (netns_call()).  NETLINK_ERROR_MISSING if there is none of that name. */
bool ipset_index(const char *set, uint16_t *index, GError **error);

#endif

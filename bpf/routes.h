/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the namespace of a packet knows at this moment: is an address served, is a local prefix routed?
 *
 * Read out of the kernel's own routes.  A yes is kept with the entry that was asked for, until routes change: a mark.
 */
#ifndef FIPMETER_BPF_ROUTES_H
#define FIPMETER_BPF_ROUTES_H

#include <bpf/bpf_endian.h>

#include "packet.h"

static __always_inline struct hlist_node *table_of(struct net *net, __u32 id)
{
	bool many = bpf_core_field_exists(net->ipv4.fib_main);
	__u32 bucket = many ? id : id & 1;
	__u64 hash = (__u64)OF(net, ipv4.fib_table_hash);
	struct hlist_node *node = OF(AT(hlist_head, hash + bucket * sizeof(void *)), first);

	for (int i = 0; i < 8 && node; i++) {
		if (OF(AT(fib_table, node), tb_id) == id)
			return node;
		node = OF(AT(hlist_node, node), next);
	}
	return NULL;
}

/* The leaf of the trie (Documentation/networking/fib_trie.rst) where routes to prefixes are that begin with address. */
static __always_inline __u64 leaf_of(struct net *net, __u32 table, __u32 address)
{
	__u32 children = bpf_core_field_offset(struct key_vector, leaf);
	struct hlist_node *found = table_of(net, table);
	struct key_vector *vector;
	__u64 at, index;

	if (!found)
		return 0;
	at = (__u64)OF(AT(fib_table, found), tb_data) + bpf_core_field_offset(struct trie, kv);
	at = (__u64)OF(AT(hlist_head, at + children), first);
	for (int i = 0; i < 33 && at; i++) {
		vector = AT(key_vector, at);
		index = (__u64)(address ^ OF(vector, key)) >> OF(vector, pos);
		if (index >> OF(vector, bits))
			return 0;
		if (!OF(vector, bits))
			return at;
		index &= 0xffffff; /* no node is so large; for the verifier */
		at = (__u64)OF(AT(hlist_head, at + children + index * sizeof(void *)), first);
	}
	return 0;
}

/* Is there a route to just this prefix?  address in network byte order. */
static __noinline bool has_route(struct net *net, __u32 table, __u32 address, __u32 length, __u8 type)
{
	__u32 free = 32 - length, key = bpf_ntohl(address) & (__u32)(~0ULL << free);
	__u64 leaf = leaf_of(net, table, key);
	struct hlist_node *node;
	struct fib_alias *alias;

	if (!leaf)
		return false;
	node = OF(AT(key_vector, leaf), leaf.first);
	for (int i = 0; i < 16 && node; i++) {
		alias = AT(fib_alias, node);
		if (OF(alias, fa_slen) == free && OF(alias, fa_type) == type)
			return true;
		node = OF(alias, fa_list.next);
	}
	return false;
}

/* Has this kernel both numbers?  One without them is asked for each packet. */
static __always_inline bool can_tell(struct net *net)
{
	return bpf_core_field_exists(net->ipv4.fib_seq) && bpf_core_field_exists(net->ipv4.rt_genid);
}

/* Both numbers only grow.  A route goes after the first of them has grown: what is asked under a number is not to be
 * believed for long if it was asked in that moment. */
static __always_inline __u32 generation_of(struct net *net)
{
	return can_tell(net) ? OF(net, ipv4.fib_seq) + OF(net, ipv4.rt_genid.counter) : 0;
}

/* Has this been the number for long enough (a quarter of a second at least)?  Who changes routes has done so by then. */
static __always_inline bool is_settled(const struct packet *packet)
{
	__u32 now = bpf_jiffies64();
	__u64 seen = packet->router->seen;

	if (!can_tell(packet->net))
		return false;
	if (seen >> 32 == packet->generation && seen)
		return now - (__u32)seen >= 256;
	packet->router->seen = (__u64)packet->generation << 32 | now;
	return false;
}

/* The same question for the same entry has the same answer until routes change, so the walk is spared. */
static __always_inline bool is_marked(const struct packet *packet, volatile __u64 *mark, __u32 what)
{
	return *mark == ((__u64)packet->generation << 32 | what);
}

static __always_inline void set_mark(const struct packet *packet, volatile __u64 *mark, __u32 what)
{
	if (is_settled(packet))
		*mark = (__u64)packet->generation << 32 | what;
}

/* What a mark of an entry of this router is for: the same address in another router's is another one. */
static __always_inline __u32 what_of(const struct packet *packet, __u32 address)
{
	return address + packet->slot * 2654435761U;
}

static __always_inline bool is_served(const struct packet *packet, volatile __u64 *mark)
{
	__u32 what = what_of(packet, packet->destination);

	if (is_marked(packet, mark, what))
		return true;
	if (!has_route(packet->net, RT_TABLE_LOCAL, packet->destination, 32, RTN_LOCAL))
		return false;
	set_mark(packet, mark, what);
	return true;
}

/* keepalived takes addresses and routes away; maps that were filled before know nothing of it.  local as in the maps. */
static __always_inline bool is_routed(const struct packet *packet, __u32 address, __u32 local, volatile __u64 *mark,
                                      __u32 what)
{
	if (is_marked(packet, mark, what))
		return true;
	if (!has_route(packet->net, RT_TABLE_MAIN, address, (local - 1) & 63, RTN_UNICAST))
		return false;
	set_mark(packet, mark, what);
	return true;
}

#endif

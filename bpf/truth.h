/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The truth table of backend/backend.h: for whom does a packet count?
 *
 * What most packets are is decided by what three entries say: the router's, the address's and the counter's.
 */
#ifndef FIPMETER_BPF_TRUTH_H
#define FIPMETER_BPF_TRUTH_H

#include "routes.h"

/* As in core/model.h. */
enum kind { KIND_FLOATING, KIND_GATEWAY, KIND_UNATTRIBUTED };

/* ---- what the maps know ---- */

/* What an address is: its class, and the local prefix that it is in. */
struct side {
	__u32 class_id;
	__u32 local;          /* as in struct meter_prefix */
	volatile __u64 *mark; /* where local is not 0: that this prefix is routed ... */
	__u32 what;           /* ... as the mark has it */
};

static __always_inline bool classify(const struct packet *packet, __u32 address, bool usual, struct side *side)
{
	struct meter_prefix_key key = { .prefixlen = 64, .table = packet->table, .address = address };
	struct meter_prefix *prefix;

	side->class_id = packet->usual;
	side->local = 0;
	if (usual)
		return true;
	prefix = bpf_map_lookup_elem(&prefixes, &key);
	if (!prefix)
		return false;
	side->class_id = prefix->class_id;
	side->local = prefix->local;
	side->mark = &prefix->mark;
	side->what = packet->table;
	return true;
}

static __always_inline bool is_same(const volatile struct meter_address *found, const struct meter_address_key *key)
{
	return found->of.address == key->address && found->of.slot == key->slot && found->of.kind == key->kind;
}

/* The entry of an address, and its owner, which is 0 if there is none. */
static __always_inline volatile struct meter_address *address_of(const struct packet *packet, __u32 address, __u16 kind,
                                                                 __u32 *owner, __u32 *local)
{
	struct meter_address_key key = { .slot = packet->slot, .address = address, .kind = kind };

	*owner = 0;
	for (int tries = 0; tries < 2; tries++) {
		volatile struct meter_address *found = bpf_map_lookup_elem(&addresses, &key);

		if (!found)
			return NULL;
		*local = found->local;
		*owner = found->owner;
		if (is_same(found, &key))
			return found;
	}
	*owner = 0;
	return NULL;
}

/* ---- counting ---- */

/* Other programs and softirqs may come in between, on a kernel with PREEMPT_RT: so it is atomic. */
static __always_inline void add(struct meter_counts *counts, const struct packet *packet, bool out)
{
	__sync_fetch_and_add(out ? &counts->out_bytes : &counts->in_bytes, packet->bytes);
	__sync_fetch_and_add(out ? &counts->out_packets : &counts->in_packets, packet->packets);
}

/* For whom a packet counts. */
struct share {
	bool counts, out;
	__u32 kind, address, class_id;
};

static __always_inline void set_share(struct share *share, __u32 kind, __u32 address, __u32 class_id, bool out)
{
	share->counts = true;
	share->out = out;
	share->kind = kind;
	share->address = address;
	share->class_id = class_id;
}

static __always_inline void count(const struct packet *packet, const struct share *share)
{
	struct meter_counter_key key = { .slot = packet->slot, .class_id = share->class_id, .kind = share->kind };
	struct meter_counts *counts;

	__builtin_memcpy(key.address, &share->address, sizeof key.address);
	counts = bpf_map_lookup_elem(&counters, &key);
	if (!counts) {
		__builtin_memset(&key, 0, sizeof key);
		key.slot = packet->slot;
		key.kind = METER_LOST;
		counts = bpf_map_lookup_elem(&counters, &key);
	}
	if (counts)
		add(counts, packet, share->out);
}

/* ---- the truth table ---- */

/* Rows 1 and 2, but for the class. */
static __always_inline void judge_in(const struct packet *packet, bool own_tenant, struct share *in)
{
	__u32 host = bpf_ntohl(packet->destination), owner = 0, local;
	volatile struct meter_address *found = NULL;

	if (host >= packet->first && host <= packet->last)
		found = address_of(packet, packet->destination, METER_PUBLIC, &owner, &local);
	if (found && owner) {
		if (is_served(packet, &found->mark))
			set_share(in, KIND_FLOATING, packet->destination, 0, false);
	} else if (packet->gateway && packet->destination == packet->gateway && !own_tenant) {
		if (is_served(packet, &packet->router->gateway_mark))
			set_share(in, KIND_GATEWAY, packet->destination, 0, false);
	}
}

static __always_inline void judge_external(const struct packet *packet, struct share *in, struct share *more)
{
	struct side from, to;

	judge_in(packet, false, in);
	if (!in->counts && !packet->unattributed)
		return;
	if (!classify(packet, packet->source, packet->usual_source, &from)) {
		in->counts = false;
		return;
	}
	in->class_id = from.class_id;
	if (packet->unattributed && classify(packet, packet->destination, packet->usual_destination, &to) && to.local &&
	    is_routed(packet, packet->destination, to.local, to.mark, to.what)) /* row 5 */
		set_share(more, KIND_UNATTRIBUTED, 0, from.class_id, false);
}

/* A fixed address of which the entry says in which local prefix it is spares the prefixes; owner is 0 if it is in none. */
static __always_inline bool judge_source(const struct packet *packet, struct side *from, __u32 *owner)
{
	volatile struct meter_address *found =
		address_of(packet, packet->source, METER_FIXED, owner, &from->local);

	if (found && from->local) {
		from->class_id = METER_CLOUD;
		from->mark = &found->mark;
		from->what = what_of(packet, packet->source);
		return true;
	}
	if (!classify(packet, packet->source, packet->usual_source, from))
		return false;
	if (from->local)
		from->class_id = METER_CLOUD;
	else
		*owner = 0;
	return true;
}

/* Rows 3 and 4: whose is it?  owner: the floating IP; 0: none. */
static __always_inline void set_out(const struct packet *packet, __u32 owner, __u32 class_id, struct share *out)
{
	if (owner) /* row 3 */
		set_share(out, KIND_FLOATING, owner, class_id, true);
	else if (packet->unattributed) /* row 4 */
		set_share(out, KIND_UNATTRIBUTED, 0, class_id, true);
	else if (packet->gateway && packet->destination != packet->gateway) /* row 4 */
		set_share(out, KIND_GATEWAY, packet->gateway, class_id, true);
}

/* Where `out` counts where it is sent, that is not here; but what is `in` of an address of this same router is sent by no
 * external device. */
static __always_inline void judge_internal(const struct packet *packet, struct share *in, struct share *out)
{
	struct side from, to;
	__u32 owner;

	if (!judge_source(packet, &from, &owner))
		return;
	judge_in(packet, from.local && !owner, in);
	in->class_id = from.class_id;
	if ((packet->sent && !in->counts) || !from.local)
		return;
	if (!classify(packet, packet->destination, packet->usual_destination, &to) || to.local ||
	    !is_routed(packet, packet->source, from.local, from.mark, from.what))
		return;
	set_out(packet, owner, to.class_id, out);
}

/* Is it from a fixed address that nothing has translated?  False: it is, but of a prefix that is not routed. */
static __always_inline bool judge_untranslated(const struct packet *packet, __u32 *owner)
{
	struct side from;

	if (judge_source(packet, &from, owner) && from.local)
		return is_routed(packet, packet->source, from.local, from.mark, from.what);
	*owner = 0;
	return packet->gateway;
}

/* Rows 3 and 4 of a packet from inside that leaves, behind NAT: its source is the address that it counts for.  What leaves by
 * a translation that has been taken away counts for the gateway address, as where it comes in. */
static __always_inline void judge_sent(const struct packet *packet, struct share *out)
{
	__u32 host = bpf_ntohl(packet->source), owner = 0, local;
	struct side to;

	if (host >= packet->first && host <= packet->last)
		address_of(packet, packet->source, METER_PUBLIC, &owner, &local);
	if (!owner && (!packet->gateway || packet->source != packet->gateway) && !judge_untranslated(packet, &owner))
		return;
	if (classify(packet, packet->destination, packet->usual_destination, &to) && !to.local)
		set_out(packet, owner, to.class_id, out);
}

enum device { DEVICE_NONE, DEVICE_EXTERNAL, DEVICE_INTERNAL };

/* Four letters in one piece, in the order in which they are in memory. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define LETTERS(a, b, c, d) ((__u32)(a) | (__u32)(b) << 8 | (__u32)(c) << 16 | (__u32)(d) << 24)
#else
#define LETTERS(a, b, c, d) ((__u32)(a) << 24 | (__u32)(b) << 16 | (__u32)(c) << 8 | (__u32)(d))
#endif

static __always_inline enum device device_kind(const struct net_device *device)
{
	__u32 four = first_letters(device), three = four & LETTERS(0xff, 0xff, 0xff, 0);

	if (three == LETTERS('l', 'o', 0, 0) || three == LETTERS('h', 'a', '-', 0))
		return DEVICE_NONE;
	if (three == LETTERS('q', 'g', '-', 0) || four == LETTERS('r', 'f', 'p', '-'))
		return DEVICE_EXTERNAL;
	return DEVICE_INTERNAL;
}

static __always_inline bool is_usual(const volatile struct meter_router *router, __u32 address)
{
	__u32 octet = bpf_ntohl(address) >> 24;

	return router->usual_octets[octet >> 5 & 7] >> (octet & 31) & 1;
}

static __always_inline bool take_router(struct packet *packet, volatile struct meter_router *router, __u64 cookie)
{
	__u32 version = router->version_too;

	packet->router = router;
	packet->usual_source = is_usual(router, packet->source);
	packet->usual_destination = is_usual(router, packet->destination);
	packet->usual = router->usual;
	packet->last = router->last;
	packet->first = router->first;
	packet->gateway = router->gateway;
	packet->table = router->table;
	packet->slot = router->slot;
	return router->version == version && router->cookie == cookie;
}

/* Whose namespace is it, and by what does it count?  False: nobody's, or by nothing. */
static __always_inline bool find_router(struct packet *packet)
{
	__u64 cookie = OF(packet->net, net_cookie);

	for (int tries = 0; tries < 2; tries++) {
		volatile struct meter_router *router = bpf_map_lookup_elem(&routers, &cookie);

		if (!router)
			return false;
		if (!take_router(packet, router, cookie))
			continue;
		packet->unattributed = packet->table & METER_HAS_UNATTRIBUTED;
		packet->sent = packet->table & METER_OUT_SENT;
		packet->table &= METER_TABLE;
		return packet->table;
	}
	return false;
}

/* All there is to do about a packet that came in by this device of this namespace. */
static __always_inline void meter(struct sk_buff *skb, const struct net_device *in_by, struct net *net)
{
	struct packet packet = { .skb = skb, .net = net };
	enum device device = device_kind(in_by);
	struct share in = { .counts = false }, more = { .counts = false };

	if (device == DEVICE_NONE)
		return;
	ends(skb, &packet.source, &packet.destination);
	if (!find_router(&packet))
		return;
	packet.generation = generation_of(packet.net);
	if (device == DEVICE_EXTERNAL)
		judge_external(&packet, &in, &more);
	else
		judge_internal(&packet, &in, &more);
	if (!in.counts && !more.counts)
		return;
	measure(&packet);
	if (in.counts)
		count(&packet, &in);
	if (more.counts)
		count(&packet, &more);
}

#endif

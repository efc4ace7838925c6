// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The eBPF back end's part in the kernel: the truth table of backend/backend.h for each packet that enters a router, in
 * bytes and packets as they are on the wire.
 *
 * It stands at netfilter's prerouting hook of each router's namespace, before fragments are put together: behind traffic
 * control (so behind Neutron's ingress policer), and behind ip_rcv(), so frames for other hosts and junk are gone.
 * meter_hook is what is attached, and does nothing but call meter_count through the map `programs`: a new version takes
 * over in all routers by one write, and no packet counts twice or not at all.
 *
 * Nothing here makes, removes or changes an entry, counters apart.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <stdbool.h>

#include "kernel.h"
#include "meter.h"

/* As in core/model.h. */
enum kind { KIND_FLOATING, KIND_GATEWAY, KIND_UNATTRIBUTED };

/* Kernel functions, 6.4 and later: kernel/bpf/helpers.c. */
extern void *bpf_rdonly_cast(const void *address, __u32 type) __ksym;
extern int bpf_dynptr_from_skb(struct __sk_buff *skb, __u64 flags, struct bpf_dynptr *dynptr) __ksym;
extern void *bpf_dynptr_slice(const struct bpf_dynptr *dynptr, __u32 offset, void *buffer, __u32 size) __ksym;

#define AT(type, address) ((struct type *)bpf_rdonly_cast((const void *)(address), bpf_core_type_id_kernel(struct type)))

/* ---- maps ---- */

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} programs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, METER_ROUTERS);
	__type(key, __u64);
	__type(value, struct meter_router);
} routers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, METER_ROUTERS);
	__type(key, __u32);
	__type(value, union meter_state);
} states SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, METER_ADDRESSES);
	__type(key, struct meter_address_key);
	__type(value, struct meter_address);
} addresses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, METER_PREFIXES);
	__type(key, struct meter_prefix_key);
	__type(value, struct meter_prefix);
} prefixes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, METER_COUNTERS);
	__type(key, struct meter_counter_key);
	__type(value, struct meter_counts);
} counters SEC(".maps");

/* ---- the packet ---- */

struct packet {
	struct sk_buff *skb;
	struct net *net;
	__u32 slot, table, gateway;
	bool unattributed;
	__u32 source, destination;
	__u64 bytes, packets; /* on the wire */
};

/* Where the IP header begins, seen from skb->data.  In one piece of 64 bits: the verifier takes a pointer in no other. */
static __always_inline __u32 network_offset(struct sk_buff *skb)
{
	__u64 offset = (__u64)skb->head + skb->network_header - (__u64)skb->data;

	barrier_var(offset);
	return offset;
}

/* How many bytes behind the network header begin each segment: its own headers.  As skb_gso_network_seglen() in
 * net/core/gso.c.  What a fragment of a UDP datagram that is yet to be split has is the IP header alone. */
static __always_inline __u32 headers_length(struct sk_buff *skb, __u32 type)
{
	__u32 network = skb->network_header, at = skb->transport_header - network; /* ip_rcv() has set it */
	struct bpf_dynptr content;
	__u8 buffer[14], *tcp;

	if (type & GSO_UDP_L4)
		return at + 8;
	if (type & GSO_SCTP)
		return at + 12;
	if (type & GSO_TUNNELS)
		at = skb->inner_transport_header - network;
	if (!(type & (GSO_TCPV4 | GSO_TCPV6)))
		return at;
	if (bpf_dynptr_from_skb((struct __sk_buff *)skb, 0, &content))
		return at + 20;
	tcp = bpf_dynptr_slice(&content, network_offset(skb) + at, buffer, sizeof buffer);
	return at + (tcp ? (tcp[12] >> 4) * 4 : 20);
}

/* Never by the IP header's length, which is 0 in packets of more than 64 KiB; and not by gso_segs alone, which may be 0
 * in what a VM has sent. */
static __always_inline void measure(struct packet *packet)
{
	struct sk_buff *skb = packet->skb;
	struct skb_shared_info *shared = AT(skb_shared_info, skb->head + skb->end);
	__u32 size = shared->gso_size, headers;

	packet->bytes = skb->len - network_offset(skb);
	packet->packets = 1;
	if (!size)
		return;
	headers = headers_length(skb, shared->gso_type);
	if (size == GSO_BY_FRAGS)
		packet->packets = shared->gso_segs;
	else if (packet->bytes > headers)
		packet->packets = (packet->bytes - headers + size - 1) / size;
	if (!packet->packets)
		packet->packets = 1;
	packet->bytes += (packet->packets - 1) * headers;
}

/* ---- what the namespace knows at this moment ---- */

static __always_inline struct hlist_node *table_of(struct net *net, __u32 id)
{
	bool many = bpf_core_field_exists(net->ipv4.fib_main);
	__u32 bucket = many ? id : id & 1;
	struct hlist_node *node = AT(hlist_head, (__u64)net->ipv4.fib_table_hash + bucket * sizeof(void *))->first;

	for (int i = 0; i < 8 && node; i++) {
		if (AT(fib_table, node)->tb_id == id)
			return node;
		node = AT(hlist_node, node)->next;
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
	at = (__u64)AT(fib_table, found)->tb_data + bpf_core_field_offset(struct trie, kv);
	at = (__u64)AT(hlist_head, at + children)->first;
	for (int i = 0; i < 33 && at; i++) {
		vector = AT(key_vector, at);
		index = (__u64)(address ^ vector->key) >> vector->pos;
		if (index >> vector->bits)
			return 0;
		if (!vector->bits)
			return at;
		index &= 0xffffff; /* no node is so large; for the verifier */
		at = (__u64)AT(hlist_head, at + children + index * sizeof(void *))->first;
	}
	return 0;
}

/* Is there a route to just this prefix?  address in network byte order. */
static __always_inline bool has_route(struct net *net, __u32 table, __u32 address, __u32 length, __u8 type)
{
	__u32 free = 32 - length, key = bpf_ntohl(address) & (__u32)(~0ULL << free);
	__u64 leaf = leaf_of(net, table, key);
	struct hlist_node *node;
	struct fib_alias *alias;

	if (!leaf)
		return false;
	node = AT(key_vector, leaf)->leaf.first;
	for (int i = 0; i < 16 && node; i++) {
		alias = AT(fib_alias, node);
		if (alias->fa_slen == free && alias->fa_type == type)
			return true;
		node = alias->fa_list.next;
	}
	return false;
}

static __always_inline bool is_served(struct packet *packet)
{
	return has_route(packet->net, RT_TABLE_LOCAL, packet->destination, 32, RTN_LOCAL);
}

/* keepalived takes addresses and routes away; maps that were filled before know nothing of it. */
static __always_inline bool is_routed(struct packet *packet, __u32 address, const struct meter_prefix *prefix)
{
	return has_route(packet->net, RT_TABLE_MAIN, address, (prefix->local - 1) & 63, RTN_UNICAST);
}

/* ---- what the maps know ---- */

static __always_inline const struct meter_prefix *prefix_of(const struct packet *packet, __u32 address)
{
	struct meter_prefix_key key = { .prefixlen = 64, .table = packet->table, .address = address };

	return bpf_map_lookup_elem(&prefixes, &key);
}

/* The floating IP that an address is, or is the fixed address of; 0: neither. */
static __always_inline __u32 owner_of(const struct packet *packet, __u32 address, __u32 kind)
{
	struct meter_address_key key = { .slot = packet->slot, .address = address, .kind = kind };
	__u64 owner;

	for (int tries = 0; tries < 2; tries++) {
		const volatile struct meter_address *found = bpf_map_lookup_elem(&addresses, &key);

		if (!found)
			return 0;
		owner = found->owner;
		if (found->slot == key.slot && found->address == key.address)
			return owner;
	}
	return 0;
}

/* ---- counting ---- */

/* Other programs and softirqs may come in between, on a kernel with PREEMPT_RT: so it is atomic. */
static __always_inline void add(struct meter_counts *counts, const struct packet *packet, bool out)
{
	__sync_fetch_and_add(out ? &counts->out_bytes : &counts->in_bytes, packet->bytes);
	__sync_fetch_and_add(out ? &counts->out_packets : &counts->in_packets, packet->packets);
}

/* prefix NULL: of class `cloud`, whatever the prefix. */
static __always_inline void set_class(struct meter_counter_key *key, const struct meter_prefix *prefix)
{
	if (prefix) {
		__builtin_memcpy(key->class_name, prefix->class_name, sizeof key->class_name);
		return;
	}
	key->class_name[0] = 'c'; /* a string would be one more map, and a look into it */
	key->class_name[1] = 'l';
	key->class_name[2] = 'o';
	key->class_name[3] = 'u';
	key->class_name[4] = 'd';
}

static __always_inline void count(const struct packet *packet, __u32 kind, __u32 address, const struct meter_prefix *prefix,
                                  bool out)
{
	struct meter_counter_key key = { .slot = packet->slot, .kind = kind };
	struct meter_counts *counts;

	__builtin_memcpy(key.address, &address, sizeof key.address);
	set_class(&key, prefix);
	counts = bpf_map_lookup_elem(&counters, &key);
	if (!counts) {
		__builtin_memset(&key, 0, sizeof key);
		key.slot = packet->slot;
		key.kind = METER_LOST;
		counts = bpf_map_lookup_elem(&counters, &key);
	}
	if (counts)
		add(counts, packet, out);
}

/* Rows 1 and 2, of the class of the source. */
static __always_inline void count_in(struct packet *packet, const struct meter_prefix *from, bool own_tenant, bool tenant)
{
	__u32 owner = owner_of(packet, packet->destination, METER_PUBLIC);
	bool is_gateway = packet->gateway && packet->destination == packet->gateway;

	if ((!owner && (!is_gateway || own_tenant)) || !is_served(packet))
		return;
	count(packet, owner ? KIND_FLOATING : KIND_GATEWAY, packet->destination, tenant ? NULL : from, false);
}

static __always_inline void count_external(struct packet *packet, const struct meter_prefix *from)
{
	const struct meter_prefix *to;

	count_in(packet, from, false, false);
	if (!packet->unattributed)
		return;
	to = prefix_of(packet, packet->destination);
	if (to && to->local && is_routed(packet, packet->destination, to)) /* row 5 */
		count(packet, KIND_UNATTRIBUTED, 0, from, false);
}

static __always_inline void count_internal(struct packet *packet, const struct meter_prefix *from)
{
	__u32 owner = from->local ? owner_of(packet, packet->source, METER_FIXED) : 0;
	const struct meter_prefix *to;

	count_in(packet, from, from->local && !owner, from->local);
	if (!from->local)
		return;
	to = prefix_of(packet, packet->destination);
	if (!to || to->local || !is_routed(packet, packet->source, from))
		return;
	if (owner) /* row 3 */
		count(packet, KIND_FLOATING, owner, to, true);
	else if (packet->unattributed) /* row 4 */
		count(packet, KIND_UNATTRIBUTED, 0, to, true);
	else if (packet->gateway && packet->destination != packet->gateway) /* row 4 */
		count(packet, KIND_GATEWAY, packet->gateway, to, true);
}

enum device { DEVICE_NONE, DEVICE_EXTERNAL, DEVICE_INTERNAL };

static __always_inline enum device device_kind(const struct net_device *device)
{
	char first = device->name[0], second = device->name[1], third = device->name[2], fourth = device->name[3];

	if ((first == 'l' && second == 'o' && !third) || (first == 'h' && second == 'a' && third == '-'))
		return DEVICE_NONE;
	if ((first == 'q' && second == 'g' && third == '-') ||
	    (first == 'r' && second == 'f' && third == 'p' && fourth == '-'))
		return DEVICE_EXTERNAL;
	return DEVICE_INTERNAL;
}

/* Whose namespace is it, and by which state does it count?  False: nobody's, or by none. */
static __always_inline bool find_router(struct packet *packet)
{
	__u64 cookie = packet->net->net_cookie;
	const struct meter_router *router = bpf_map_lookup_elem(&routers, &cookie);
	const volatile union meter_state *found;
	union meter_state state;
	__u32 slot;

	if (!router)
		return false;
	slot = router->slot;
	found = bpf_map_lookup_elem(&states, &slot);
	if (!found)
		return false;
	state.word = found->word;
	packet->slot = slot;
	packet->table = state.table & ~METER_HAS_UNATTRIBUTED;
	packet->unattributed = state.table & METER_HAS_UNATTRIBUTED;
	packet->gateway = state.gateway;
	return packet->table;
}

SEC("netfilter")
int meter_count(struct bpf_nf_ctx *ctx)
{
	const struct nf_hook_state *state = ctx->state;
	struct packet packet = { .skb = ctx->skb, .net = state->net };
	enum device device = device_kind(state->in);
	struct sk_buff *skb = packet.skb;
	const struct meter_prefix *from;
	const struct iphdr *ip;

	if (device == DEVICE_NONE || !find_router(&packet))
		return NF_ACCEPT;
	ip = AT(iphdr, skb->head + skb->network_header);
	packet.source = ip->saddr;
	packet.destination = ip->daddr;
	measure(&packet);
	from = prefix_of(&packet, packet.source);
	if (!from)
		return NF_ACCEPT;
	if (device == DEVICE_EXTERNAL)
		count_external(&packet, from);
	else
		count_internal(&packet, from);
	return NF_ACCEPT;
}

SEC("netfilter")
int meter_hook(struct bpf_nf_ctx *ctx)
{
	bpf_tail_call(ctx, &programs, 0);
	return NF_ACCEPT;
}

char LICENSE[] SEC("license") = "GPL";

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
 * Nothing here makes, removes or changes an entry, counters and marks apart.  What most packets are is decided by what
 * three entries say: the router's, the address's and the counter's.
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
	__uint(max_entries, METER_CLASSES);
	__type(key, __u32);
	__type(value, struct meter_class);
} classes SEC(".maps"); /* for who reads the counters */

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
	volatile struct meter_router *router;
	__u32 slot, table, gateway;
	__u32 first, last, usual; /* as in struct meter_router */
	__u32 generation;         /* of the namespace's routes */
	bool unattributed;
	__u32 source, destination;
	bool usual_source, usual_destination;
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
static __noinline __u32 headers_length(struct sk_buff *skb, __u32 type)
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
static __noinline bool has_route(struct net *net, __u32 table, __u32 address, __u32 length, __u8 type)
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

/* Has this kernel both numbers?  One without them is asked for each packet. */
static __always_inline bool can_tell(struct net *net)
{
	return bpf_core_field_exists(net->ipv4.fib_seq) && bpf_core_field_exists(net->ipv4.rt_genid);
}

/* Both numbers only grow.  A route goes after the first of them has grown: what is asked under a number is not to be
 * believed for long if it was asked in that moment. */
static __always_inline __u32 generation_of(struct net *net)
{
	return can_tell(net) ? net->ipv4.fib_seq + net->ipv4.rt_genid.counter : 0;
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

static __always_inline void judge_internal(const struct packet *packet, struct share *in, struct share *out)
{
	struct side from, to;
	__u32 owner;

	if (!judge_source(packet, &from, &owner))
		return;
	judge_in(packet, from.local && !owner, in);
	in->class_id = from.class_id;
	if (!from.local || !classify(packet, packet->destination, packet->usual_destination, &to) || to.local ||
	    !is_routed(packet, packet->source, from.local, from.mark, from.what))
		return;
	if (owner) /* row 3 */
		set_share(out, KIND_FLOATING, owner, to.class_id, true);
	else if (packet->unattributed) /* row 4 */
		set_share(out, KIND_UNATTRIBUTED, 0, to.class_id, true);
	else if (packet->gateway && packet->destination != packet->gateway) /* row 4 */
		set_share(out, KIND_GATEWAY, packet->gateway, to.class_id, true);
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
	__u32 four = *(const __u32 *)device->name, three = four & LETTERS(0xff, 0xff, 0xff, 0);

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
	__u64 cookie = packet->net->net_cookie;

	for (int tries = 0; tries < 2; tries++) {
		volatile struct meter_router *router = bpf_map_lookup_elem(&routers, &cookie);

		if (!router)
			return false;
		if (!take_router(packet, router, cookie))
			continue;
		packet->unattributed = packet->table & METER_HAS_UNATTRIBUTED;
		packet->table &= ~METER_HAS_UNATTRIBUTED;
		return packet->table;
	}
	return false;
}

SEC("netfilter")
int meter_count(struct bpf_nf_ctx *ctx)
{
	const struct nf_hook_state *state = ctx->state;
	struct packet packet = { .skb = ctx->skb, .net = state->net };
	enum device device = device_kind(state->in);
	struct share in = { .counts = false }, more = { .counts = false };
	const struct iphdr *ip;

	if (device == DEVICE_NONE)
		return NF_ACCEPT;
	ip = AT(iphdr, packet.skb->head + packet.skb->network_header);
	packet.source = ip->saddr;
	packet.destination = ip->daddr;
	if (!find_router(&packet))
		return NF_ACCEPT;
	packet.generation = generation_of(packet.net);
	if (device == DEVICE_EXTERNAL)
		judge_external(&packet, &in, &more);
	else
		judge_internal(&packet, &in, &more);
	if (!in.counts && !more.counts)
		return NF_ACCEPT;
	measure(&packet);
	if (in.counts)
		count(&packet, &in);
	if (more.counts)
		count(&packet, &more);
	return NF_ACCEPT;
}

SEC("netfilter")
int meter_hook(struct bpf_nf_ctx *ctx)
{
	bpf_tail_call(ctx, &programs, 0);
	return NF_ACCEPT;
}

char LICENSE[] SEC("license") = "GPL";

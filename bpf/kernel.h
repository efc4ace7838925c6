/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The few members of kernel structs that the programs read.  Where they are in the kernel that it is loaded into, and
 * whether they are there at all, is found out at that moment, from the kernel's own BTF (CO-RE): neither the machine that
 * builds nor the one that runs needs kernel headers.
 */
#ifndef FIPMETER_BPF_KERNEL_H
#define FIPMETER_BPF_KERNEL_H

#include <linux/types.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct hlist_node {
	struct hlist_node *next;
};

struct hlist_head {
	struct hlist_node *first;
};

typedef struct {
	int counter;
} atomic_t;

/* include/net/netns/ipv4.h, include/net/net_namespace.h */
struct netns_ipv4 {
	struct fib_table *fib_main; /* only with policy routing (CONFIG_IP_MULTIPLE_TABLES) */
	struct hlist_head *fib_table_hash;
	unsigned int fib_seq; /* goes up before a route is removed ... */
	atomic_t rt_genid;    /* ... and this one afterwards */
};

struct net {
	__u64 net_cookie;
	struct netns_ipv4 ipv4;
};

/* include/net/ip_fib.h, net/ipv4/fib_trie.c, net/ipv4/fib_lookup.h */
struct fib_table {
	struct hlist_node tb_hlist;
	__u32 tb_id;
	unsigned long *tb_data;
};

struct key_vector {
	__u32 key;
	unsigned char pos, bits;
	struct hlist_head leaf; /* in a union with tnode[], the children */
};

struct trie {
	struct key_vector kv[1];
};

struct fib_alias {
	struct hlist_node fa_list;
	__u8 fa_type, fa_slen;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct net_device {
	char name[16];
	int ifindex;
	possible_net_t nd_net;
};

/* include/linux/skbuff.h */
struct sk_buff {
	struct net_device *dev;
	unsigned int len, data_len;
	int skb_iif;     /* the device that it came in by; 0: it was made here */
	__u16 protocol;  /* network byte order */
	__u16 network_header, transport_header, inner_transport_header;
	unsigned int end;
	unsigned char *head, *data;
};

struct iphdr {
	__u32 saddr, daddr; /* network byte order */
};

struct tcphdr {
	__u16 doff : 4;
};

struct skb_shared_info {
	unsigned short gso_size, gso_segs;
	unsigned int gso_type;
};

struct nf_hook_state {
	struct net_device *in;
	struct net *net;
};

#pragma clang attribute pop

/* What a BPF_PROG_TYPE_NETFILTER program is given (net/netfilter/nf_bpf_link.c). */
struct bpf_nf_ctx {
	const struct nf_hook_state *state;
	struct sk_buff *skb;
};

/* The flags of gso_type are an enum without a name, which CO-RE cannot find: as in skbuff.h since 4.18. */
#define GSO_TCPV4 (1 << 0)
#define GSO_TCPV6 (1 << 4)
#define GSO_TUNNELS (1 << 6 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11) /* GRE, IP in IP, UDP tunnels */
#define GSO_SCTP (1 << 14)
#define GSO_UDP_L4 (1 << 17)
#define GSO_BY_FRAGS 0xffff

#define NF_ACCEPT 1
#define RTN_UNICAST 1 /* rtnetlink(7) */
#define RTN_LOCAL 2
#define RT_TABLE_MAIN 254
#define RT_TABLE_LOCAL 255

#endif

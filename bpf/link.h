/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a program at a netfilter link, or at a trace point, looks into the kernel (packet.h): what it is given it may follow, and
 * what it finds so is of a type that the verifier knows; anything else it casts.  Who includes this has tcp_length() of his own.
 */
#ifndef FIPMETER_BPF_LINK_H
#define FIPMETER_BPF_LINK_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <stdbool.h>

#include "kernel.h"

/* A kernel function, 6.2 and later: kernel/bpf/helpers.c. */
extern void *bpf_rdonly_cast(const void *address, __u32 type) __ksym;

#define AT(type, address) ((struct type *)bpf_rdonly_cast((const void *)(address), bpf_core_type_id_kernel(struct type)))
#define OF(pointer, member) ((pointer)->member)

static __always_inline __u32 first_letters(const struct net_device *device)
{
	return *(const __u32 *)device->name;
}

/* Where the IP header begins, seen from skb->data.  In one piece of 64 bits: the verifier takes a pointer in no other. */
static __always_inline __u32 network_offset(struct sk_buff *skb)
{
	__u64 offset = (__u64)skb->head + skb->network_header - (__u64)skb->data;

	barrier_var(offset);
	return offset;
}

static __always_inline void ends(struct sk_buff *skb, __u32 *source, __u32 *destination)
{
	const struct iphdr *ip = AT(iphdr, skb->head + skb->network_header);

	*source = ip->saddr;
	*destination = ip->daddr;
}

static __always_inline __u32 length_from(struct sk_buff *skb)
{
	return skb->len - network_offset(skb);
}

static __always_inline __u32 segment_size(struct sk_buff *skb)
{
	return AT(skb_shared_info, skb->head + skb->end)->gso_size;
}

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a program in a rule of nf_tables looks into the kernel (packet.h): it may follow no pointer, so each member is copied out by
 * a helper, which fails where nothing is.  Kernel 5.8 and later, for who has CAP_PERFMON.  That takes some 50 ns each: what most
 * packets need is taken out of struct __sk_buff where it is there, too.  At this hook skb->data is the IP header (ip_rcv()).
 */
#ifndef FIPMETER_BPF_RULE_H
#define FIPMETER_BPF_RULE_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <stdbool.h>

#include "kernel.h"

#define SADDR 12 /* in the IP header; the destination follows */
#define network_offset(skb) 0
#define AT(type, address) ((struct type *)(address))
#define OF(pointer, member) ({ \
	__auto_type of_ = (pointer); \
	BPF_CORE_READ(of_, member); \
})

static __always_inline __u32 first_letters(const struct net_device *device)
{
	__u32 letters = 0;

	bpf_core_read(&letters, sizeof letters, &device->name);
	return letters;
}

static __always_inline void ends(struct sk_buff *skb, __u32 *source, __u32 *destination)
{
	__u32 both[2] = { 0, 0 };

	bpf_skb_load_bytes(skb, SADDR, both, sizeof both);
	*source = both[0];
	*destination = both[1];
}

static __always_inline __u32 length_from(struct sk_buff *skb)
{
	return ((struct __sk_buff *)skb)->len;
}

static __always_inline __u32 segment_size(struct sk_buff *skb)
{
	return ((struct __sk_buff *)skb)->gso_size;
}

static __always_inline __u32 tcp_length(struct sk_buff *skb, __u32 at)
{
	__u8 byte;

	return bpf_skb_load_bytes(skb, at + 12, &byte, 1) == 0 ? (byte >> 4) * 4 : 20;
}

#endif

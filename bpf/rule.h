/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a program in a rule of nf_tables looks into the kernel (packet.h): it may follow no pointer, so each member is copied out by
 * a helper, which fails where nothing is.  Kernel 5.8 and later, for who has CAP_PERFMON.
 */
#ifndef FIPMETER_BPF_RULE_H
#define FIPMETER_BPF_RULE_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <stdbool.h>

#include "kernel.h"

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

static __always_inline __u32 tcp_length(struct sk_buff *skb, __u32 at)
{
	__u8 byte;

	return bpf_skb_load_bytes(skb, at + 12, &byte, 1) == 0 ? (byte >> 4) * 4 : 20;
}

#endif

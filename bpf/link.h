/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a program at a netfilter link looks into the kernel (packet.h): what it is given it may follow, and what it finds so is
 * of a type that the verifier knows; anything else it casts.
 */
#ifndef FIPMETER_BPF_LINK_H
#define FIPMETER_BPF_LINK_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <stdbool.h>

#include "kernel.h"

/* Kernel functions, 6.4 and later: kernel/bpf/helpers.c. */
extern void *bpf_rdonly_cast(const void *address, __u32 type) __ksym;
extern int bpf_dynptr_from_skb(struct __sk_buff *skb, __u64 flags, struct bpf_dynptr *dynptr) __ksym;
extern void *bpf_dynptr_slice(const struct bpf_dynptr *dynptr, __u32 offset, void *buffer, __u32 size) __ksym;

#define AT(type, address) ((struct type *)bpf_rdonly_cast((const void *)(address), bpf_core_type_id_kernel(struct type)))
#define OF(pointer, member) ((pointer)->member)

static __always_inline __u32 first_letters(const struct net_device *device)
{
	return *(const __u32 *)device->name;
}

static __always_inline __u32 tcp_length(struct sk_buff *skb, __u32 at)
{
	struct bpf_dynptr content;
	__u8 buffer[14], *tcp;

	if (bpf_dynptr_from_skb((struct __sk_buff *)skb, 0, &content))
		return 20;
	tcp = bpf_dynptr_slice(&content, at, buffer, sizeof buffer);
	return tcp ? (tcp[12] >> 4) * 4 : 20;
}

#endif

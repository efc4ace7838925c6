// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The eBPF back end's part in the kernel: the truth table of backend/backend.h for each packet that enters a router, in
 * bytes and packets as they are on the wire.
 *
 * It stands at netfilter's prerouting hook of each router's namespace, before fragments are put together: behind traffic
 * control (so behind Neutron's ingress policer), and behind ip_rcv(), so frames for other hosts and junk are gone.
 * meter_hook is what is attached, and does nothing but call meter_count through the map `programs`: a new version takes
 * over in all routers by one write, and no packet counts twice or not at all.
 */
#include "link.h"
#include "truth.h"

/* Kernel functions, 6.4 and later: kernel/bpf/helpers.c. */
extern int bpf_dynptr_from_skb(struct __sk_buff *skb, __u64 flags, struct bpf_dynptr *dynptr) __ksym;
extern void *bpf_dynptr_slice(const struct bpf_dynptr *dynptr, __u32 offset, void *buffer, __u32 size) __ksym;

static __always_inline __u32 tcp_length(struct sk_buff *skb, __u32 at)
{
	struct bpf_dynptr content;
	__u8 buffer[14], *tcp;

	if (bpf_dynptr_from_skb((struct __sk_buff *)skb, 0, &content))
		return 20;
	tcp = bpf_dynptr_slice(&content, network_offset(skb) + at, buffer, sizeof buffer);
	return tcp ? (tcp[12] >> 4) * 4 : 20;
}

SEC("netfilter")
int meter_count(struct bpf_nf_ctx *ctx)
{
	meter(ctx->skb, ctx->state->in, ctx->state->net);
	return NF_ACCEPT;
}

SEC("netfilter")
int meter_hook(struct bpf_nf_ctx *ctx)
{
	bpf_tail_call(ctx, &programs, 0);
	return NF_ACCEPT;
}

char LICENSE[] SEC("license") = "GPL";

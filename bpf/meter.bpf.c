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

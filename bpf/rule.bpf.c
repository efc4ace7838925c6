// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What meter.bpf.c does, for kernels that have no link of netfilter for it (before 6.4): the same at the same place, but called
 * by a rule of nf_tables, by the match `bpf` of xtables (net/netfilter/xt_bpf.c), which runs programs as a socket's filter does.
 *
 * meter_hook is what the rule holds.  It takes no part in what becomes of the packet.
 */
#include "rule.h"
#include "truth.h"

#define GO_ON 1 /* to what stands behind in the rule: nothing */

SEC("socket")
int meter_count(struct __sk_buff *ctx)
{
	struct sk_buff *skb = (struct sk_buff *)ctx; /* that is what is given; as __sk_buff it shows less */
	struct net_device *in = OF(skb, dev);

	meter(skb, in, OF(in, nd_net.net));
	return GO_ON;
}

SEC("socket")
int meter_hook(struct __sk_buff *ctx)
{
	bpf_tail_call(ctx, &programs, 0);
	return GO_ON;
}

char LICENSE[] SEC("license") = "GPL";

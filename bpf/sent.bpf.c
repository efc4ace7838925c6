// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * `out` where it is sent: for routers whose entry says METER_OUT_SENT, rows 3 and 4 of the truth table of backend/backend.h
 * for each packet that is given to an external device for transmission.  That is behind the device's queue: what a limiter
 * there has dropped never comes here.
 *
 * There is no hook behind the queue but the kernel's own trace points around the call of the driver (dev_hard_start_xmit() in
 * net/core/dev.c), and those are for all devices of the node.  Who pays is found out at the first, when the packet is still
 * there; it counts at the second, if the driver has taken it: one that is busy gets the same packet again.
 *
 * How many packets of an external device were seen here is counted beside that, whatever they were: a kernel that leaves out
 * a trace point now and then shows as a device that has sent more.
 *
 * sent_start_hook and sent_done_hook are what is attached, as meter_hook in meter.bpf.c.
 */
#include "link.h"
#include "truth.h"

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} sent_start_prog SEC(".maps"), sent_done_prog SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, METER_SENT_DEVICES);
	__type(key, struct meter_device_key);
	__type(value, __u64);
} sent_seen SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, METER_SENT_DEVICES);
	__type(key, struct meter_device_key);
	__type(value, __s64);
} sent_told SEC(".maps"); /* for user space alone */

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, METER_ROUTERS);
	__type(key, __u64);
	__type(value, __u64);
} sent_waits SEC(".maps");

/* What this processor is just giving to a driver.  Two versions share it in the moment of an upgrade, so it is of the layout
 * (METER_LAYOUT), too. */
struct sending {
	__u64 skb; /* 0: nothing */
	struct meter_device_key device;
	struct share out;
	__u64 bytes, packets;
	__u32 slot, zero;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sending);
} sent_sending SEC(".maps");

/* TSO and GRO leave the headers in the packet's first piece. */
static __always_inline __u32 tcp_length(struct sk_buff *skb, __u32 at)
{
	const struct tcphdr *tcp = AT(tcphdr, skb->head + skb->network_header + at);

	if (network_offset(skb) + at + 20 > skb->len - skb->data_len)
		return 20;
	return BPF_CORE_READ_BITFIELD(tcp, doff) * 4;
}

static __always_inline bool waits(__u64 cookie)
{
	__u64 *until = bpf_map_lookup_elem(&sent_waits, &cookie);

	return until && bpf_ktime_get_boot_ns() < *until;
}

/* Did it come in by another device, and not by an external one?  Those are known by what they have sent. */
static __always_inline bool is_from_inside(const struct packet *packet, const struct meter_device_key *by)
{
	struct meter_device_key from = { .cookie = by->cookie, .index = packet->skb->skb_iif };

	return from.index && from.index != by->index && !bpf_map_lookup_elem(&sent_seen, &from);
}

static __always_inline bool is_ip(const struct sk_buff *skb)
{
	return skb->protocol == bpf_htons(0x0800);
}

static __always_inline void judge(struct packet *packet, struct sending *sending)
{
	packet->generation = generation_of(packet->net);
	judge_sent(packet, &sending->out);
	if (!sending->out.counts)
		return;
	measure(packet);
	sending->slot = packet->slot;
	sending->bytes = packet->bytes;
	sending->packets = packet->packets;
}

SEC("tp_btf/net_dev_start_xmit")
int sent_start(__u64 *ctx)
{
	struct sk_buff *skb = (struct sk_buff *)ctx[0];
	const struct net_device *device = (const struct net_device *)ctx[1];
	struct packet packet = { .skb = skb, .net = device->nd_net.net };
	struct sending *sending;

	if (device_kind(device) != DEVICE_EXTERNAL)
		return 0;
	if (is_ip(skb))
		ends(skb, &packet.source, &packet.destination);
	if (!find_router(&packet) || !packet.sent)
		return 0;
	sending = bpf_map_lookup_elem(&sent_sending, &(__u32){ 0 });
	if (!sending)
		return 0;
	sending->skb = (__u64)skb;
	sending->device = (struct meter_device_key){ .cookie = packet.net->net_cookie, .index = device->ifindex };
	sending->out.counts = false;
	if (is_ip(skb) && is_from_inside(&packet, &sending->device) && !waits(sending->device.cookie))
		judge(&packet, sending);
	return 0;
}

static __always_inline void see(const struct meter_device_key *device)
{
	__u64 *seen = bpf_map_lookup_elem(&sent_seen, device), one = 1;

	if (seen)
		__sync_fetch_and_add(seen, 1);
	else if (bpf_map_update_elem(&sent_seen, device, &one, BPF_NOEXIST)) { /* another processor was first, or there is no room */
		seen = bpf_map_lookup_elem(&sent_seen, device);
		if (seen)
			__sync_fetch_and_add(seen, 1);
	}
}

#define NET_XMIT_CN 2 /* linux/netdevice.h: sent, but there is a queue further down that is getting full */

SEC("tp_btf/net_dev_xmit")
int sent_done(__u64 *ctx)
{
	struct sending *sending = bpf_map_lookup_elem(&sent_sending, &(__u32){ 0 });
	struct packet packet = { .skb = NULL };
	int answer = ctx[1];
	struct share out;

	if (!sending || !sending->skb || sending->skb != ctx[0])
		return 0;
	sending->skb = 0;
	if (answer != 0 && answer != NET_XMIT_CN)
		return 0;
	see(&sending->device);
	if (!sending->out.counts)
		return 0;
	packet.slot = sending->slot;
	packet.bytes = sending->bytes;
	packet.packets = sending->packets;
	out = sending->out;
	out.out = true; /* for the verifier */
	count(&packet, &out);
	return 0;
}

SEC("tp_btf/net_dev_start_xmit")
int sent_start_hook(__u64 *ctx)
{
	bpf_tail_call(ctx, &sent_start_prog, 0);
	return 0;
}

SEC("tp_btf/net_dev_xmit")
int sent_done_hook(__u64 *ctx)
{
	bpf_tail_call(ctx, &sent_done_prog, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";

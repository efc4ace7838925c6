/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A packet, and its size on the wire.
 *
 * Who includes this has said before how its programs look into the kernel, which is not the same for all kinds of programs
 * (link.h): AT(type, address), a pointer to a struct of kernel.h; OF(pointer, member), what is there; first_letters() of a
 * device's name; of a packet its two ends(), its length_from() the IP header on, and its segment_size(), 0 where it is no more
 * than one.
 */
#ifndef FIPMETER_BPF_PACKET_H
#define FIPMETER_BPF_PACKET_H

#include "kernel.h"
#include "maps.h"

struct packet {
	struct sk_buff *skb;
	struct net *net;
	volatile struct meter_router *router;
	__u32 slot, table, gateway;
	__u32 first, last, usual; /* as in struct meter_router */
	__u32 generation;         /* of the namespace's routes */
	bool unattributed, sent;  /* sent: `out` counts where it is sent */
	__u32 source, destination;
	bool usual_source, usual_destination;
	__u64 bytes, packets; /* on the wire */
};

/* The length, in bytes, of the TCP header that begins so far behind the network header.  Each program has its own way to it. */
static __always_inline __u32 tcp_length(struct sk_buff *skb, __u32 at);

/* How many bytes behind the network header begin each segment: its own headers.  As skb_gso_network_seglen() in
 * net/core/gso.c.  What a fragment of a UDP datagram that is yet to be split has is the IP header alone. */
static __noinline __u32 headers_length(struct sk_buff *skb, __u32 type)
{
	__u32 network = OF(skb, network_header), at = OF(skb, transport_header) - network; /* ip_rcv() has set it */

	if (type & GSO_UDP_L4)
		return at + 8;
	if (type & GSO_SCTP)
		return at + 12;
	if (type & GSO_TUNNELS)
		at = OF(skb, inner_transport_header) - network;
	if (!(type & (GSO_TCPV4 | GSO_TCPV6)))
		return at;
	return at + tcp_length(skb, at);
}

/* Never by the IP header's length, which is 0 in packets of more than 64 KiB; and not by gso_segs alone, which may be 0
 * in what a VM has sent. */
static __always_inline void measure(struct packet *packet)
{
	struct sk_buff *skb = packet->skb;
	__u32 size = segment_size(skb), headers;
	struct skb_shared_info *shared;

	packet->bytes = length_from(skb);
	packet->packets = 1;
	if (!size)
		return;
	shared = AT(skb_shared_info, OF(skb, head) + OF(skb, end));
	headers = headers_length(skb, OF(shared, gso_type));
	if (size == GSO_BY_FRAGS)
		packet->packets = OF(shared, gso_segs);
	else if (packet->bytes > headers)
		packet->packets = (packet->bytes - headers + size - 1) / size;
	if (!packet->packets)
		packet->packets = 1;
	packet->bytes += (packet->packets - 1) * headers;
}

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The IP statistics of a network namespace: the lines IpExt of /proc/net/netstat (proc_net(5); net/ipv4/proc.c).  IPv4
 * packets are counted there when they come in by any device, lo included, from the IP header on, if the frame was for this
 * host or for many; so after a policer of the device and after GRO, and before netfilter.  ARP, IPv6 and frames for others
 * are not in it.  Packets to many are told apart only where the namespace takes them: a multicast group that it is not in
 * counts as received alone (measured).
 */
#ifndef FIPMETER_KERNEL_IPSTAT_H
#define FIPMETER_KERNEL_IPSTAT_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define IPSTAT_ERROR (g_quark_from_static_string("fipmeter-ipstat"))
enum ipstat_error {
	IPSTAT_ERROR_FAILED,  /* the system's own text is in the message */
	IPSTAT_ERROR_STRANGE, /* the file is not as it should be */
};

struct ipstat { /* bytes since the namespace was made */
	uint64_t received, broadcast, multicast;
};

/* Opens that file of a namespace, which it keeps alive.  Returns a descriptor that the caller closes, or -1. */
int ipstat_open(int ns_fd, GError **error);

/* As it is now. */
bool ipstat_read(int fd, struct ipstat *ipstat, GError **error);

/* What the text of that file says. */
bool ipstat_parse(const char *text, struct ipstat *ipstat, GError **error);

#endif

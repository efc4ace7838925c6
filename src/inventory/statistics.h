/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a router's devices and the IP layer of its namespace have carried, by their own statistics: the independent
 * witness of core/residue.h.  Nothing of ours, and no rule of anybody's, has a part in these numbers.
 */
#ifndef FIPMETER_INVENTORY_STATISTICS_H
#define FIPMETER_INVENTORY_STATISTICS_H

#include "core/residue.h"
#include "kernel/netlink.h"

/* What is held open to read them again and again; it keeps the namespace alive. */
struct statistics;

struct statistics *statistics_open(int ns_fd, GError **error);
void statistics_close(struct statistics *statistics); /* takes NULL */

/* As they are now.  Of devices: IFLA_STATS64, and of IPv6 IFLA_INET6_STATS (linux/if_link.h, linux/snmp.h), in one dump.
 * NULL on failure; the caller frees. */
struct traffic *statistics_read(struct statistics *statistics, GError **error);

/* What it is made of: the dump of devices over a NETLINK_ROUTE socket, and one message of that; one that is not whole is an
 * error. */
bool statistics_read_devices(struct netlink *route, struct traffic *traffic, GError **error);
bool statistics_take(struct traffic *traffic, const struct nlmsghdr *message, GError **error);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What stands between a device's wire and the network stack, where rates are limited: queueing disciplines and their filters,
 * as tc(8) lists them (linux/rtnetlink.h: RTM_GETQDISC, RTM_GETTFILTER).  Asks only.
 */
#ifndef FIPMETER_KERNEL_QDISC_H
#define FIPMETER_KERNEL_QDISC_H

#include "kernel/netlink.h"

struct qdisc {
	int device;       /* its index */
	char kind[16];    /* "htb", "ingress"; "clsact" is at ingress, and filters there at egress, too */
	bool ingress;     /* else it sees what goes out */
	uint32_t dropped; /* packets since it was made, by its filters, too; runs over (linux/gen_stats.h) */
};

/* The outermost ones (those that have others inside count for them) of all devices of the namespace, struct qdisc; over a
 * NETLINK_ROUTE socket.  Empty where the kernel has none.  NULL on failure; the caller unrefs. */
GArray *qdisc_read(struct netlink *netlink, GError **error);

/* Has one at ingress filters for what comes in, or (egress) for what goes out?  Not, where the kernel has none. */
bool qdisc_has_filters(struct netlink *netlink, const struct qdisc *qdisc, bool egress, bool *has, GError **error);

#endif

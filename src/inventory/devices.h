/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The devices of a router namespace one by one, with what a person would look at in `ip link` and `ip addr`.  What is
 * metered does not depend on it: that is links.h.
 */
#ifndef FIPMETER_INVENTORY_DEVICES_H
#define FIPMETER_INVENTORY_DEVICES_H

#include "inventory/links.h"

struct device_address {
	uint32_t address;
	uint8_t length; /* of its prefix */
};

struct device {
	int index;
	char name[IFNAMSIZ];
	enum device_role role;
	unsigned mtu;
	bool has_xdp;      /* a program of XDP sees its packets first */
	GArray *addresses; /* of struct device_address: IPv4, in the order of the kernel */
};

/* Of struct device; over a NETLINK_ROUTE socket.  NULL on failure; the caller unrefs. */
GPtrArray *devices_read(struct netlink *netlink, GError **error);

#endif

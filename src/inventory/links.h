/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The devices, addresses and routes of a router namespace (rtnetlink(7), IPv4), as far as the truth table
 * asks: which devices are external, which addresses are local, what is behind the internal devices, what is
 * on-link outside.
 */
#ifndef FIPMETER_INVENTORY_LINKS_H
#define FIPMETER_INVENTORY_LINKS_H

#include "core/model.h"
#include "kernel/netlink.h"

#include <net/if.h>

/* Of each of devices, addresses and prefixes.  A namespace that has more is an error, not cut short. */
#define LINKS_MAX 131072

/* By the names that Neutron gives. */
enum device_role {
	DEVICE_INTERNAL, /* qr-, sg- and whatever else there is */
	DEVICE_GATEWAY,  /* qg-: external */
	DEVICE_DVR,      /* rfp-: external, to the fip- namespace */
	DEVICE_HA,       /* ha-: counts nothing */
	DEVICE_LOOPBACK, /* lo: counts nothing */
};

enum device_role device_role(const char *name);
bool device_is_external(enum device_role role);

struct links {
	GHashTable *devices;           /* interface index -> name */
	GHashTable *addresses;         /* the set of those configured on any device, GUINT_TO_POINTER() */
	GArray *local;                 /* of struct prefix: routed by an internal device; never /0 */
	GArray *onlink;                /* of struct prefix: by an external device without a gateway; never
	                                * /0, none in 169.254.0.0/16 */
	char default_device[IFNAMSIZ]; /* that has the default route; "" if there is none */
	uint64_t default_rank;         /* of its route: the main table's come first, then the lowest metric */
};

/* Dumps devices, addresses and routes over a NETLINK_ROUTE socket.  NULL on failure;
 * NETLINK_ERROR_INTERRUPTED: they changed meanwhile, again.  The caller frees. */
struct links *links_read(struct netlink *netlink, GError **error);
void links_free(struct links *links); /* takes NULL */

bool links_has_role(const struct links *links, enum device_role role);
bool links_has_device(const struct links *links, const char *name);
bool links_has_address(const struct links *links, uint32_t address);

/* What links_read() is made of: one message each, devices before routes; then links_settle(), which sorts
 * prefixes and drops duplicates (nested ones stay).  A route is any table's but local's (rtnetlink(7),
 * RT_TABLE_LOCAL), and unicast; one with several next hops belongs to each of their devices. */
struct links *links_new(void);
bool links_take_device(struct links *links, const struct nlmsghdr *message, GError **error);
bool links_take_address(struct links *links, const struct nlmsghdr *message, GError **error);
bool links_take_route(struct links *links, const struct nlmsghdr *message, GError **error);
void links_settle(struct links *links);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is there: every Neutron router namespace of the host as a struct router, found by looking at the kernel
 * alone (no fork, no credentials): the netns directory, rtnetlink, and the nat tables of both flavours.
 */
#ifndef FIPMETER_INVENTORY_INVENTORY_H
#define FIPMETER_INVENTORY_INVENTORY_H

#include "core/model.h"

struct netlink;

/* Is it the name of a router's namespace, as Neutron gives them (qrouter-UUID, snat-UUID)? */
bool inventory_is_router(const char *ns);

/* The names in directory that are routers', in no order (of char *).  strangers gets those that only look like one; they
 * may hold any byte.  A directory that does not exist is empty; NULL if it cannot be read.  The caller frees. */
GPtrArray *inventory_names(const char *directory, GPtrArray *strangers, GError **error);

/* Looks at one namespace, open as ns_fd, by a socket of NETLINK_NETFILTER in it.  ruling: which flavour rules where both
 * are there; FLAVOUR_NONE: not known.  NULL on failure; the caller frees. */
struct router *inventory_look(int ns_fd, struct netlink *netfilter, const char *ns, enum flavour ruling,
                              GError **error);

#endif

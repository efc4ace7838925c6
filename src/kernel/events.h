/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A netlink socket that hears what happens, in this namespace and in every other one that has an nsid here
 * (netlink(7): NETLINK_LISTEN_ALL_NSID; needs CAP_NET_BROADCAST).  A namespace without an nsid is silent; we may give it
 * one (RTM_NEWNSID, net/core/net_namespace.c).  An nsid is used again after its namespace is gone: as long as the
 * namespace is held open, its nsid is its own.
 */
#ifndef FIPMETER_KERNEL_EVENTS_H
#define FIPMETER_KERNEL_EVENTS_H

#include <glib.h>
#include <linux/netlink.h>
#include <stdbool.h>

#define EVENTS_ERROR (g_quark_from_static_string("fipmeter-events"))
enum events_error {
	EVENTS_ERROR_FAILED,
	EVENTS_ERROR_LOST, /* ENOBUFS: the buffer overflowed, some events are missing; what follows is heard again */
};

struct events;

/* Joins groups (RTNLGRP_*, NFNLGRP_*) of bus, n of them, with a receive buffer of 8 MiB. */
struct events *events_open(int bus, const unsigned *groups, unsigned n, GError **error);
void events_close(struct events *events); /* takes NULL */
int events_fd(const struct events *events); /* readable when something has happened */

/* Hands over every event that is waiting, without blocking.  nsid -1: of our own namespace.  False on failure, also
 * when events were lost; those that came before are handed over first. */
typedef void (*events_call)(const struct nlmsghdr *message, int nsid, void *data);
bool events_take(struct events *events, events_call call, void *data, GError **error);

/* The nsid of the namespace that is open as ns_fd, given to it now if it has none.  -1 on failure. */
int events_nsid(int ns_fd, GError **error);

#endif

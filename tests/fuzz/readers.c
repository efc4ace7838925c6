/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See readers.h.
 */
#include "readers.h"

#include "fuzz.h"

#include "inventory/links.h"
#include "inventory/statistics.h"
#include "kernel/events.h"
#include "kernel/ipset.h"
#include "kernel/qdisc.h"

#include <linux/rtnetlink.h>
#include <string.h>

static bool take_set(const struct ipset_set *set, const struct ipset_element *element, void *data, GError **error)
{
	fuzz_check(strlen(set->name) <= IPSET_NAME_MAX);
	fuzz_check(!element || !element->comment || strlen(element->comment) < 65536);
	return true;
}

static void take_event(const struct nlmsghdr *message, int nsid, void *data)
{
	fuzz_check(message->nlmsg_len >= sizeof *message && nsid >= -1);
}

static bool read_links(GError **error)
{
	struct netlink *netlink = netlink_open(-1, NETLINK_ROUTE, NULL);
	struct links *links = links_read(netlink, error);

	for (unsigned i = 0; links && i < links->local->len; i++)
		fuzz_check(g_array_index(links->local, struct prefix, i).length > 0);
	links_free(links);
	netlink_close(netlink);
	return links;
}

static bool read_sets(GError **error)
{
	struct netlink *netlink = netlink_open(-1, NETLINK_NETFILTER, NULL);
	bool done = ipset_each(netlink, take_set, NULL, error);

	netlink_close(netlink);
	return done;
}

static bool read_events(GError **error)
{
	static const unsigned groups[] = { RTNLGRP_LINK };
	struct events *events = events_open(NETLINK_ROUTE, groups, 1, NULL);
	bool done = events_take(events, take_event, NULL, error);

	events_close(events);
	return done;
}

static bool read_qdiscs(GError **error)
{
	struct netlink *netlink = netlink_open(-1, NETLINK_ROUTE, NULL);
	g_autoptr(GArray) qdiscs = qdisc_read(netlink, error);
	bool done = qdiscs, has;

	for (unsigned i = 0; done && i < qdiscs->len; i++) {
		const struct qdisc *qdisc = &g_array_index(qdiscs, struct qdisc, i);

		fuzz_check(strlen(qdisc->kind) < sizeof qdisc->kind);
		done = !qdisc->ingress || qdisc_has_filters(netlink, qdisc, true, &has, error);
	}
	netlink_close(netlink);
	return done;
}

static bool read_statistics(GError **error)
{
	struct netlink *netlink = netlink_open(-1, NETLINK_ROUTE, NULL);
	struct traffic *traffic = traffic_new();
	bool done = statistics_read_devices(netlink, traffic, error);

	for (unsigned i = 0; i < traffic->devices->len; i++)
		fuzz_check(g_array_index(traffic->devices, struct device_traffic, i).side <= SIDE_LOOPBACK);
	traffic_free(traffic);
	netlink_close(netlink);
	return done;
}

void readers_run(unsigned which)
{
	static bool (*const readers[READERS])(GError **error) = {
		read_links, read_sets, read_events, read_qdiscs, read_statistics,
	};
	g_autoptr(GError) error = NULL;
	bool done = readers[which](&error);

	fuzz_check_told(done, error);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See statistics.h.
 */
#include "inventory/statistics.h"

#include "inventory/links.h"
#include "kernel/clock.h"
#include "kernel/ipstat.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/snmp.h>
#include <string.h>
#include <unistd.h>

static enum side side_of(const char *name)
{
	enum device_role role = device_role(name);

	return device_is_external(role) ? SIDE_OUTSIDE : role == DEVICE_LOOPBACK ? SIDE_LOOPBACK : SIDE_INSIDE;
}

/* Devices whose statistics are the kernel's own, and not asked of a card now and then. */
static bool is_prompt(const struct nlattr *info)
{
	static const char *const kinds[] = { "veth", "openvswitch", "tun", "macvlan", "vlan", NULL };
	const struct nlattr *attr;

	mnl_attr_for_each_nested(attr, info)
		if (mnl_attr_get_type(attr) == IFLA_INFO_KIND && mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0)
			return g_strv_contains(kinds, mnl_attr_get_str(attr));
	return false;
}

/* Old kernels have shorter structures, new ones longer: all has been there since 2.6.35. */
static bool take_stats(const struct nlattr *attr, struct device_traffic *device)
{
	struct rtnl_link_stats64 stats = { 0 };
	size_t length = mnl_attr_get_payload_len(attr);

	if (length < offsetof(struct rtnl_link_stats64, rx_errors))
		return false;
	memcpy(&stats, mnl_attr_get_payload(attr), MIN(length, sizeof stats));
	device->received = stats.rx_bytes;
	device->received_packets = stats.rx_packets;
	device->sent = stats.tx_bytes;
	device->sent_packets = stats.tx_packets;
	return true;
}

static bool take_inet6(const struct nlattr *inet6, struct device_traffic *device)
{
	const struct nlattr *attr;
	uint64_t values[IPSTATS_MIB_OUTOCTETS + 1];

	mnl_attr_for_each_nested(attr, inet6) {
		if (mnl_attr_get_type(attr) != IFLA_INET6_STATS)
			continue;
		if (mnl_attr_get_payload_len(attr) < sizeof values)
			return false;
		memcpy(values, mnl_attr_get_payload(attr), sizeof values);
		device->received6 = values[IPSTATS_MIB_INOCTETS];
		device->sent6 = values[IPSTATS_MIB_OUTOCTETS];
	}
	return true;
}

static bool take_families(const struct nlattr *families, struct device_traffic *device)
{
	const struct nlattr *attr;

	mnl_attr_for_each_nested(attr, families)
		if (mnl_attr_get_type(attr) == AF_INET6 && !take_inet6(attr, device))
			return false;
	return true;
}

bool statistics_take(struct traffic *traffic, const struct nlmsghdr *message, GError **error)
{
	const struct ifinfomsg *head = mnl_nlmsg_get_payload(message);
	struct device_traffic device = { 0 };
	bool has_name = false, has_stats = false, whole = message->nlmsg_len >= mnl_nlmsg_size(sizeof *head);
	const struct nlattr *attr;

	if (whole)
		mnl_attr_for_each(attr, message, sizeof *head) {
			uint16_t type = mnl_attr_get_type(attr);

			if (type == IFLA_IFNAME && mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0) {
				device.side = side_of(mnl_attr_get_str(attr));
				has_name = true;
			} else if (type == IFLA_STATS64) {
				has_stats = take_stats(attr, &device);
			} else if (type == IFLA_LINKINFO) {
				device.prompt = is_prompt(attr);
			} else if (type == IFLA_AF_SPEC) {
				whole = whole && take_families(attr, &device);
			}
		}
	if (!whole || !has_name || !has_stats) {
		g_set_error(error, NETLINK_ERROR, NETLINK_ERROR_FAILED, "a message about a device's statistics is not well formed");
		return false;
	}
	device.index = head->ifi_index;
	g_array_append_val(traffic->devices, device);
	return true;
}

static int take_answer(const struct nlmsghdr *message, void *data)
{
	if (message->nlmsg_type != RTM_NEWLINK || statistics_take(data, message, NULL))
		return MNL_CB_OK;
	errno = EBADMSG;
	return MNL_CB_ERROR;
}

bool statistics_read_devices(struct netlink *route, struct traffic *traffic, GError **error)
{
	char buffer[64] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);

	header->nlmsg_type = RTM_GETLINK;
	header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	mnl_nlmsg_put_extra_header(header, sizeof(struct ifinfomsg));
	return netlink_talk(route, header, take_answer, traffic, error);
}

struct statistics {
	struct netlink *route;
	int ipstat;
};

struct statistics *statistics_open(int ns_fd, GError **error)
{
	struct statistics *statistics = g_new0(struct statistics, 1);

	statistics->ipstat = ipstat_open(ns_fd, error);
	if (statistics->ipstat >= 0)
		statistics->route = netlink_open(ns_fd, NETLINK_ROUTE, error);
	if (statistics->route)
		return statistics;
	statistics_close(statistics);
	return NULL;
}

void statistics_close(struct statistics *statistics)
{
	if (!statistics)
		return;
	netlink_close(statistics->route);
	if (statistics->ipstat >= 0)
		close(statistics->ipstat);
	g_free(statistics);
}

struct traffic *statistics_read(struct statistics *statistics, GError **error)
{
	struct traffic *traffic = traffic_new();
	struct ipstat ipstat;

	traffic->at = clock_now();
	if (ipstat_read(statistics->ipstat, &ipstat, error) && statistics_read_devices(statistics->route, traffic, error)) {
		traffic->ip = ipstat.received;
		traffic->ip_to_many = ipstat.broadcast + ipstat.multicast;
		return traffic;
	}
	traffic_free(traffic);
	return NULL;
}

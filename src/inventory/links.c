/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Everything is taken message by message and nothing is trusted in one: lengths are checked, and a route by
 * a device that was not in the dump of the devices means that the dumps do not belong together.
 *
 * A route that only names a nexthop object (net.ipv4.nexthop_compat_mode = 0, not the default) has no
 * device and is not seen; Neutron makes none.
 */
#include "inventory/links.h"

#include "core/prefix.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <string.h>

static const struct prefix link_local = { .address = 0xa9fe0000, .length = 16 };

enum device_role device_role(const char *name)
{
	if (g_str_has_prefix(name, "qg-"))
		return DEVICE_GATEWAY;
	if (g_str_has_prefix(name, "rfp-"))
		return DEVICE_DVR;
	if (g_str_has_prefix(name, "ha-"))
		return DEVICE_HA;
	return !strcmp(name, "lo") ? DEVICE_LOOPBACK : DEVICE_INTERNAL;
}

bool device_is_external(enum device_role role)
{
	return role == DEVICE_GATEWAY || role == DEVICE_DVR;
}

struct links *links_new(void)
{
	struct links *links = g_new0(struct links, 1);

	links->devices = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	links->addresses = g_hash_table_new(NULL, NULL);
	links->local = g_array_new(FALSE, TRUE, sizeof(struct prefix));
	links->onlink = g_array_new(FALSE, TRUE, sizeof(struct prefix));
	links->default_rank = UINT64_MAX;
	return links;
}

void links_free(struct links *links)
{
	if (!links)
		return;
	g_hash_table_unref(links->devices);
	g_hash_table_unref(links->addresses);
	g_array_unref(links->local);
	g_array_unref(links->onlink);
	g_free(links);
}

bool links_has_role(const struct links *links, enum device_role role)
{
	GHashTableIter iter;
	void *name;

	g_hash_table_iter_init(&iter, links->devices);
	while (g_hash_table_iter_next(&iter, NULL, &name))
		if (device_role(name) == role)
			return true;
	return false;
}

bool links_has_device(const struct links *links, const char *name)
{
	GHashTableIter iter;
	void *other;

	g_hash_table_iter_init(&iter, links->devices);
	while (g_hash_table_iter_next(&iter, NULL, &other))
		if (!strcmp(other, name))
			return true;
	return false;
}

bool links_has_address(const struct links *links, uint32_t address)
{
	return g_hash_table_contains(links->addresses, GUINT_TO_POINTER(address));
}

/* ---- one message ---- */

static bool malformed(const char *what, GError **error)
{
	g_set_error(error, NETLINK_ERROR, NETLINK_ERROR_FAILED, "a message about %s is not well formed",
	            what);
	return false;
}

static bool check_room(size_t n, const char *what, GError **error)
{
	if (n < LINKS_MAX)
		return true;
	g_set_error(error, NETLINK_ERROR, NETLINK_ERROR_FAILED, "more than %d %s: not metered", LINKS_MAX,
	            what);
	return false;
}

/* The attributes of a message that are asked for, by type; the rest is passed over. */
struct attributes {
	const struct nlattr *by_type[32];
};

static int take_attribute(const struct nlattr *attr, void *data)
{
	struct attributes *attributes = data;
	unsigned type = mnl_attr_get_type(attr);

	if (type < G_N_ELEMENTS(attributes->by_type))
		attributes->by_type[type] = attr;
	return MNL_CB_OK;
}

/* The fixed part of a message, with the attributes behind it; NULL if it is shorter than that. */
static const void *open_message(const struct nlmsghdr *message, size_t size, struct attributes *attributes)
{
	memset(attributes, 0, sizeof *attributes);
	if (message->nlmsg_len < mnl_nlmsg_size(size) ||
	    mnl_attr_parse(message, (unsigned)size, take_attribute, attributes) < MNL_CB_STOP)
		return NULL;
	return mnl_nlmsg_get_payload(message);
}

/* False if the attribute is there with another length. */
static bool get_u32(const struct attributes *attributes, unsigned type, uint32_t *value)
{
	const struct nlattr *attr = attributes->by_type[type];

	if (attr && mnl_attr_get_payload_len(attr) != sizeof *value)
		return false;
	if (attr)
		memcpy(value, mnl_attr_get_payload(attr), sizeof *value);
	return true;
}

bool links_take_device(struct links *links, const struct nlmsghdr *message, GError **error)
{
	struct attributes attributes;
	const struct ifinfomsg *head = open_message(message, sizeof *head, &attributes);
	const struct nlattr *name = head ? attributes.by_type[IFLA_IFNAME] : NULL;

	if (!name || head->ifi_index <= 0 || mnl_attr_get_payload_len(name) > IFNAMSIZ ||
	    mnl_attr_validate(name, MNL_TYPE_NUL_STRING) < 0)
		return malformed("a device", error);
	if (!check_room(g_hash_table_size(links->devices), "devices", error))
		return false;
	g_hash_table_replace(links->devices, GINT_TO_POINTER(head->ifi_index),
	                     g_strdup(mnl_attr_get_str(name)));
	return true;
}

/* On a point-to-point device IFA_ADDRESS is the other end; IFA_LOCAL is always ours (linux/if_addr.h). */
bool links_take_address(struct links *links, const struct nlmsghdr *message, GError **error)
{
	struct attributes attributes;
	const struct ifaddrmsg *head = open_message(message, sizeof *head, &attributes);
	uint32_t address = 0;

	if (head && head->ifa_family != AF_INET)
		return true;
	if (!head || !get_u32(&attributes, IFA_ADDRESS, &address) ||
	    !get_u32(&attributes, IFA_LOCAL, &address) || !address)
		return malformed("an address", error);
	if (!check_room(g_hash_table_size(links->addresses), "addresses", error))
		return false;
	g_hash_table_add(links->addresses, GUINT_TO_POINTER(ntohl(address)));
	return true;
}

/* ---- routes ---- */

struct route {
	struct prefix prefix;
	uint32_t table, metric;
};

static bool add_prefix(GArray *prefixes, const struct prefix *prefix, GError **error)
{
	if (!check_room(prefixes->len, "routes", error))
		return false;
	g_array_append_vals(prefixes, prefix, 1);
	return true;
}

/* The router's own default route stands in the main table; DVR has more, in tables for single sources. */
static void take_default(struct links *links, const struct route *route, const char *device)
{
	uint64_t rank = (uint64_t)(route->table != RT_TABLE_MAIN) << 32 | route->metric;

	if (rank >= links->default_rank)
		return;
	links->default_rank = rank;
	g_strlcpy(links->default_device, device, sizeof links->default_device);
}

static bool take_hop(struct links *links, const struct route *route, int device, bool has_gateway,
                     GError **error)
{
	const char *name = g_hash_table_lookup(links->devices, GINT_TO_POINTER(device));
	enum device_role role;

	if (!name) {
		g_set_error(error, NETLINK_ERROR, NETLINK_ERROR_INTERRUPTED,
		            "a route by device %d, which was not there when devices were read", device);
		return false;
	}
	role = device_role(name);
	if (!route->prefix.length)
		take_default(links, route, name);
	else if (role == DEVICE_INTERNAL)
		return add_prefix(links->local, &route->prefix, error);
	else if (device_is_external(role) && !has_gateway &&
	         !(route->prefix.length >= link_local.length &&
	           prefix_contains(&link_local, route->prefix.address)))
		return add_prefix(links->onlink, &route->prefix, error);
	return true;
}

static bool has_gateway(const struct attributes *attributes)
{
	return attributes->by_type[RTA_GATEWAY] || attributes->by_type[RTA_VIA];
}

static bool take_hops(struct links *links, const struct route *route, const struct nlattr *hops,
                      GError **error)
{
	const char *at = mnl_attr_get_payload(hops);
	size_t left = mnl_attr_get_payload_len(hops);

	while (left >= sizeof(struct rtnexthop)) {
		struct attributes attributes = { 0 };
		struct rtnexthop hop;
		size_t length;

		memcpy(&hop, at, sizeof hop);
		if (hop.rtnh_len < sizeof hop || hop.rtnh_len > left ||
		    mnl_attr_parse_payload(at + sizeof hop, hop.rtnh_len - sizeof hop, take_attribute,
		                           &attributes) < MNL_CB_STOP)
			return malformed("a route", error);
		if (!take_hop(links, route, hop.rtnh_ifindex, has_gateway(&attributes), error))
			return false;
		length = MIN((size_t)RTNH_ALIGN(hop.rtnh_len), left);
		at += length;
		left -= length;
	}
	return true;
}

static bool get_route(const struct rtmsg *head, const struct attributes *attributes, struct route *route)
{
	uint32_t destination = 0;

	if (head->rtm_dst_len > 32)
		return false;
	route->table = head->rtm_table;
	if (!get_u32(attributes, RTA_TABLE, &route->table) ||
	    !get_u32(attributes, RTA_PRIORITY, &route->metric) || !get_u32(attributes, RTA_DST, &destination))
		return false;
	route->prefix.length = head->rtm_dst_len;
	if (head->rtm_dst_len) /* a shift by 32 is not defined */
		route->prefix.address = ntohl(destination) & UINT32_MAX << (32 - head->rtm_dst_len);
	return true;
}

bool links_take_route(struct links *links, const struct nlmsghdr *message, GError **error)
{
	struct attributes attributes;
	const struct rtmsg *head = open_message(message, sizeof *head, &attributes);
	struct route route = { 0 };
	uint32_t device = 0;

	if (!head || !get_u32(&attributes, RTA_OIF, &device))
		return malformed("a route", error);
	if (head->rtm_family != AF_INET || head->rtm_type != RTN_UNICAST || (head->rtm_flags & RTM_F_CLONED))
		return true;
	if (!get_route(head, &attributes, &route))
		return malformed("a route", error);
	if (route.table == RT_TABLE_LOCAL)
		return true;
	if (attributes.by_type[RTA_MULTIPATH])
		return take_hops(links, &route, attributes.by_type[RTA_MULTIPATH], error);
	return !device || take_hop(links, &route, (int)device, has_gateway(&attributes), error);
}

static int compare_prefixes(const void *a, const void *b)
{
	return prefix_compare(a, b);
}

static void settle(GArray *prefixes)
{
	unsigned kept = 0;

	g_array_sort(prefixes, compare_prefixes);
	for (unsigned i = 0; i < prefixes->len; i++) {
		struct prefix prefix = g_array_index(prefixes, struct prefix, i);

		if (!kept || prefix_compare(&g_array_index(prefixes, struct prefix, kept - 1), &prefix))
			g_array_index(prefixes, struct prefix, kept++) = prefix;
	}
	g_array_set_size(prefixes, kept);
}

void links_settle(struct links *links)
{
	settle(links->local);
	settle(links->onlink);
}

/* ---- dumps ---- */

/* What is dumped, in this order: routes name devices.  head_size: of the fixed part of the request. */
static const struct table {
	uint16_t request, answer;
	size_t head_size;
	bool (*take)(struct links *links, const struct nlmsghdr *message, GError **error);
} tables[] = {
	{ RTM_GETLINK, RTM_NEWLINK, sizeof(struct ifinfomsg), links_take_device },
	{ RTM_GETADDR, RTM_NEWADDR, sizeof(struct ifaddrmsg), links_take_address },
	{ RTM_GETROUTE, RTM_NEWROUTE, sizeof(struct rtmsg), links_take_route },
};

struct dump {
	struct links *links;
	const struct table *table;
	GError *error;
};

static int take_answer(const struct nlmsghdr *message, void *data)
{
	struct dump *dump = data;

	if (message->nlmsg_type != dump->table->answer ||
	    dump->table->take(dump->links, message, &dump->error))
		return MNL_CB_OK;
	errno = ECANCELED;
	return MNL_CB_ERROR;
}

static bool read_table(struct links *links, struct netlink *netlink, const struct table *table, GError **error)
{
	struct dump dump = { .links = links, .table = table };
	char buffer[64] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);
	GError *refusal = NULL;

	header->nlmsg_type = table->request;
	header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	*(uint8_t *)mnl_nlmsg_put_extra_header(header, table->head_size) = AF_INET; /* its first byte */
	if (netlink_talk(netlink, header, take_answer, &dump, &refusal))
		return true;
	if (dump.error) {
		g_propagate_error(error, dump.error);
		g_error_free(refusal);
	} else {
		g_propagate_error(error, refusal);
	}
	return false;
}

struct links *links_read(struct netlink *netlink, GError **error)
{
	struct links *links = links_new();

	for (unsigned i = 0; i < G_N_ELEMENTS(tables); i++)
		if (!read_table(links, netlink, &tables[i], error)) {
			g_prefix_error(error, "cannot read devices, addresses and routes: ");
			links_free(links);
			return NULL;
		}
	links_settle(links);
	return links;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * inventory/links.c on messages as the kernel would send them, built by libmnl.
 */
#include "inventory/links.h"

#include "core/prefix.h"

#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <string.h>

struct message {
	union {
		struct nlmsghdr header;
		char bytes[1024];
	};
};

static void *begin(struct message *message, uint16_t type, size_t size)
{
	memset(message, 0, sizeof *message);
	mnl_nlmsg_put_header(message->bytes)->nlmsg_type = type;
	return mnl_nlmsg_put_extra_header(&message->header, size);
}

static void put_address(struct message *message, uint16_t type, const char *text)
{
	uint32_t address;

	g_assert_true(address_from_string(text, &address));
	mnl_attr_put_u32(&message->header, type, htonl(address));
}

static void add_device(struct links *links, int device, const char *name)
{
	g_autoptr(GError) error = NULL;
	struct message message;
	struct ifinfomsg *head = begin(&message, RTM_NEWLINK, sizeof *head);

	head->ifi_index = device;
	mnl_attr_put_strz(&message.header, IFLA_IFNAME, name);
	links_take_device(links, &message.header, &error);
	g_assert_no_error(error);
}

static struct links *new_links(void)
{
	struct links *links = links_new();

	add_device(links, 1, "lo");
	add_device(links, 2, "qg-1");
	add_device(links, 3, "qr-1");
	add_device(links, 4, "ha-1");
	add_device(links, 5, "rfp-1");
	return links;
}

struct hop {
	int device;
	const char *via;
};

struct route_case {
	const char *prefix; /* "" is the default route */
	int device;         /* 0: by hops */
	const char *via;
	uint32_t table, metric;
	uint8_t type;
	struct hop hops[2];
};

static void put_hops(struct message *message, const struct hop *hops)
{
	struct nlattr *nest = mnl_attr_nest_start(&message->header, RTA_MULTIPATH);

	for (unsigned i = 0; i < 2 && hops[i].device; i++) {
		struct rtnexthop *hop = mnl_nlmsg_get_payload_tail(&message->header);
		uint32_t start = message->header.nlmsg_len;

		message->header.nlmsg_len += sizeof *hop;
		hop->rtnh_ifindex = hops[i].device;
		if (hops[i].via)
			put_address(message, RTA_GATEWAY, hops[i].via);
		hop->rtnh_len = (unsigned short)(message->header.nlmsg_len - start);
	}
	mnl_attr_nest_end(&message->header, nest);
}

static bool add_route(struct links *links, const struct route_case *c, GError **error)
{
	struct message message;
	struct rtmsg *head = begin(&message, RTM_NEWROUTE, sizeof *head);
	struct prefix prefix = { 0 };

	head->rtm_family = AF_INET;
	head->rtm_type = c->type ? c->type : RTN_UNICAST;
	head->rtm_table = c->table < 256 ? (unsigned char)c->table : RT_TABLE_COMPAT;
	mnl_attr_put_u32(&message.header, RTA_TABLE, c->table);
	if (*c->prefix) {
		g_assert_true(prefix_parse(c->prefix, &prefix, NULL));
		head->rtm_dst_len = prefix.length;
		mnl_attr_put_u32(&message.header, RTA_DST, htonl(prefix.address));
	}
	if (c->metric)
		mnl_attr_put_u32(&message.header, RTA_PRIORITY, c->metric);
	if (c->via)
		put_address(&message, RTA_GATEWAY, c->via);
	if (c->device)
		mnl_attr_put_u32(&message.header, RTA_OIF, (uint32_t)c->device);
	else
		put_hops(&message, c->hops);
	return links_take_route(links, &message.header, error);
}

static char *show(const GArray *prefixes)
{
	GString *text = g_string_new("");

	for (unsigned i = 0; i < prefixes->len; i++) {
		g_autofree char *each = prefix_to_string(&g_array_index(prefixes, struct prefix, i));

		g_string_append_printf(text, "%s%s", i ? " " : "", each);
	}
	return g_string_free(text, FALSE);
}

static void assert_routes(const struct route_case *cases, unsigned n, const char *local, const char *onlink,
                          const char *default_device)
{
	struct links *links = new_links();
	g_autofree char *shown_local = NULL, *shown_onlink = NULL;
	g_autoptr(GError) error = NULL;

	for (unsigned i = 0; i < n; i++) {
		add_route(links, &cases[i], &error);
		g_assert_no_error(error);
	}
	links_settle(links);
	g_assert_cmpstr(shown_local = show(links->local), ==, local);
	g_assert_cmpstr(shown_onlink = show(links->onlink), ==, onlink);
	g_assert_cmpstr(links->default_device, ==, default_device);
	links_free(links);
}

static void test_roles(void)
{
	struct links *links = new_links();

	g_assert_cmpint(device_role("qg-62524900-72"), ==, DEVICE_GATEWAY);
	g_assert_cmpint(device_role("rfp-62524900-7"), ==, DEVICE_DVR);
	g_assert_cmpint(device_role("ha-62524900-72"), ==, DEVICE_HA);
	g_assert_cmpint(device_role("lo"), ==, DEVICE_LOOPBACK);
	g_assert_cmpint(device_role("qr-62524900-72"), ==, DEVICE_INTERNAL);
	g_assert_cmpint(device_role("lo1"), ==, DEVICE_INTERNAL);
	g_assert_cmpint(device_role("qg"), ==, DEVICE_INTERNAL);
	g_assert_true(device_is_external(DEVICE_DVR));
	g_assert_false(device_is_external(DEVICE_HA));
	g_assert_true(links_has_device(links, "qg-1"));
	g_assert_false(links_has_device(links, "qg-"));
	g_assert_true(links_has_role(links, DEVICE_HA));
	links_free(links);
}

static void test_local_and_onlink(void)
{
	static const struct route_case cases[] = {
		{ "", 2, "198.51.100.1", RT_TABLE_MAIN },
		{ "10.0.2.0/24", 3, NULL, RT_TABLE_MAIN },
		{ "10.0.1.0/24", 3, NULL, RT_TABLE_MAIN },
		{ "10.0.1.0/24", 3, NULL, 99 },                     /* twice */
		{ "10.0.0.0/16", 3, "10.0.1.9", 70000 },            /* holds others; a table beyond 255 */
		{ "", 3, "10.0.1.9", 77 },                          /* never /0 */
		{ "10.0.1.1/32", 3, NULL, RT_TABLE_LOCAL, 0, RTN_LOCAL },
		{ "10.0.9.0/24", 3, NULL, RT_TABLE_LOCAL },
		{ "10.0.8.0/24", 3, NULL, RT_TABLE_MAIN, 0, RTN_BLACKHOLE },
		{ "198.51.100.0/24", 2, NULL, RT_TABLE_MAIN },
		{ "203.0.113.0/24", 2, "198.51.100.1", RT_TABLE_MAIN }, /* not on-link */
		{ "169.254.31.28/31", 5, NULL, RT_TABLE_MAIN },     /* between router and fip- namespace */
		{ "169.0.0.0/8", 2, NULL, RT_TABLE_MAIN },          /* wider than link-local */
		{ "169.254.192.0/18", 4, NULL, RT_TABLE_MAIN },     /* ha- */
		{ "127.0.0.0/8", 1, NULL, RT_TABLE_MAIN },
	};

	assert_routes(cases, G_N_ELEMENTS(cases), "10.0.0.0/16 10.0.1.0/24 10.0.2.0/24",
	              "169.0.0.0/8 198.51.100.0/24", "qg-1");
}

static void test_hops(void)
{
	static const struct route_case cases[] = {
		{ "192.0.2.0/24", .table = RT_TABLE_MAIN, .hops = { { 3, "10.0.1.9" }, { 2, "198.51.1.1" } } },
		{ "192.0.3.0/24", .table = RT_TABLE_MAIN, .hops = { { 2, "198.51.100.1" }, { 2 } } },
		{ "", .table = RT_TABLE_MAIN, .hops = { { 5, "169.254.1.1" }, { 2, "198.51.100.1" } } },
	};

	assert_routes(cases, G_N_ELEMENTS(cases), "192.0.2.0/24", "192.0.3.0/24", "rfp-1");
}

static void test_default(void)
{
	static const struct route_case cases[] = {
		{ "", 5, "169.254.1.1", 16 },
		{ "", 3, "10.0.1.9", RT_TABLE_MAIN, 200 },
		{ "", 2, "198.51.100.1", RT_TABLE_MAIN, 100 },
		{ "", 3, "10.0.1.9", RT_TABLE_MAIN, 100 },
	};

	assert_routes(cases, 1, "", "", "rfp-1");
	assert_routes(cases, 2, "", "", "qr-1");
	assert_routes(cases, 4, "", "", "qg-1");
	assert_routes(cases, 0, "", "", "");
}

static void test_strange_device(void)
{
	static const struct route_case by_device = { "10.0.0.0/8", 9, NULL, RT_TABLE_MAIN };
	static const struct route_case by_hop = { "10.0.0.0/8", .table = RT_TABLE_MAIN, .hops = { { 9 } } };
	struct links *links = new_links();
	GError *error = NULL;

	g_assert_false(add_route(links, &by_device, &error));
	g_assert_error(error, NETLINK_ERROR, NETLINK_ERROR_INTERRUPTED);
	g_clear_error(&error);
	g_assert_false(add_route(links, &by_hop, &error));
	g_assert_error(error, NETLINK_ERROR, NETLINK_ERROR_INTERRUPTED);
	g_clear_error(&error);
	links_free(links);
}

static void test_addresses(void)
{
	struct links *links = new_links();
	struct message message;
	struct ifaddrmsg *head = begin(&message, RTM_NEWADDR, sizeof *head);

	head->ifa_family = AF_INET;
	put_address(&message, IFA_LOCAL, "198.51.100.101");
	put_address(&message, IFA_ADDRESS, "198.51.100.1");
	g_assert_true(links_take_address(links, &message.header, NULL));
	g_assert_true(links_has_address(links, 0xc6336465));
	g_assert_false(links_has_address(links, 0xc6336401));

	head = begin(&message, RTM_NEWADDR, sizeof *head);
	head->ifa_family = AF_INET;
	put_address(&message, IFA_ADDRESS, "198.51.100.1");
	g_assert_true(links_take_address(links, &message.header, NULL));
	g_assert_true(links_has_address(links, 0xc6336401));

	head = begin(&message, RTM_NEWADDR, sizeof *head);
	head->ifa_family = AF_INET6;
	mnl_attr_put(&message.header, IFA_ADDRESS, 16, "0123456789abcdef");
	g_assert_true(links_take_address(links, &message.header, NULL));
	g_assert_cmpuint(g_hash_table_size(links->addresses), ==, 2);
	links_free(links);
}

typedef bool (*take_call)(struct links *links, const struct nlmsghdr *message, GError **error);

static void assert_malformed(take_call take, const struct nlmsghdr *message)
{
	struct links *links = new_links();
	g_autoptr(GError) error = NULL;

	g_assert_false(take(links, message, &error));
	g_assert_error(error, NETLINK_ERROR, NETLINK_ERROR_FAILED);
	links_free(links);
}

static void test_malformed(void)
{
	struct message message;
	struct ifinfomsg *device = begin(&message, RTM_NEWLINK, sizeof *device);
	struct ifaddrmsg *address;
	struct rtmsg *route;
	struct nlattr *hops;

	device->ifi_index = 7;
	assert_malformed(links_take_device, &message.header); /* no name */
	mnl_attr_put_strz(&message.header, IFLA_IFNAME, "a-name-that-is-longer-than-any");
	assert_malformed(links_take_device, &message.header);

	address = begin(&message, RTM_NEWADDR, 4);
	assert_malformed(links_take_address, &message.header);
	address = begin(&message, RTM_NEWADDR, sizeof *address);
	address->ifa_family = AF_INET;
	mnl_attr_put_u16(&message.header, IFA_LOCAL, 7);
	assert_malformed(links_take_address, &message.header);

	route = begin(&message, RTM_NEWROUTE, sizeof *route);
	route->rtm_family = AF_INET;
	route->rtm_type = RTN_UNICAST;
	route->rtm_dst_len = 33;
	mnl_attr_put_u32(&message.header, RTA_OIF, 3);
	assert_malformed(links_take_route, &message.header);
	route->rtm_dst_len = 24;
	hops = mnl_attr_nest_start(&message.header, RTA_MULTIPATH);
	message.header.nlmsg_len += sizeof(struct rtnexthop); /* of length 0: would never end */
	mnl_attr_nest_end(&message.header, hops);
	assert_malformed(links_take_route, &message.header);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/links/roles", test_roles);
	g_test_add_func("/links/routes/local-and-onlink", test_local_and_onlink);
	g_test_add_func("/links/routes/several-hops", test_hops);
	g_test_add_func("/links/routes/default", test_default);
	g_test_add_func("/links/routes/strange-device", test_strange_device);
	g_test_add_func("/links/addresses", test_addresses);
	g_test_add_func("/links/malformed", test_malformed);
	return g_test_run();
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * inventory/statistics.c and kernel/ipstat.c on what the kernel says: messages as it would send them, the text of
 * /proc/net/netstat as 6.18 writes it (shortened), and this machine's own.
 */
#include "inventory/statistics.h"
#include "kernel/ipstat.h"

#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/snmp.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

struct message {
	union {
		struct nlmsghdr header;
		char bytes[2048];
	};
};

static void put_device(struct message *message, int index, const char *name, const struct rtnl_link_stats64 *stats, size_t length)
{
	struct ifinfomsg *head;

	memset(message, 0, sizeof *message);
	mnl_nlmsg_put_header(message->bytes)->nlmsg_type = RTM_NEWLINK;
	head = mnl_nlmsg_put_extra_header(&message->header, sizeof *head);
	head->ifi_index = index;
	if (name)
		mnl_attr_put_strz(&message->header, IFLA_IFNAME, name);
	if (stats)
		mnl_attr_put(&message->header, IFLA_STATS64, length, stats);
}

static void put_inet6(struct message *message, const uint64_t *values, size_t n)
{
	struct nlattr *families = mnl_attr_nest_start(&message->header, IFLA_AF_SPEC), *inet6;

	mnl_attr_put_u32(&message->header, AF_INET, 1);
	inet6 = mnl_attr_nest_start(&message->header, AF_INET6);
	mnl_attr_put(&message->header, IFLA_INET6_STATS, n * sizeof *values, values);
	mnl_attr_nest_end(&message->header, inet6);
	mnl_attr_nest_end(&message->header, families);
}

static const struct rtnl_link_stats64 stats = { .rx_packets = 3, .tx_packets = 4, .rx_bytes = 500, .tx_bytes = 600 };

static void test_devices(void)
{
	static const struct {
		const char *name;
		enum side side;
	} cases[] = {
		{ "qg-1", SIDE_OUTSIDE }, { "rfp-1", SIDE_OUTSIDE }, { "qr-1", SIDE_INSIDE }, { "sg-1", SIDE_INSIDE },
		{ "ha-1", SIDE_INSIDE }, { "lo", SIDE_LOOPBACK },
	};
	struct traffic *traffic = traffic_new();
	struct message message;

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		const struct device_traffic *device;

		put_device(&message, 10 + (int)i, cases[i].name, &stats, sizeof stats);
		g_assert_true(statistics_take(traffic, &message.header, NULL));
		device = &g_array_index(traffic->devices, struct device_traffic, i);
		g_assert_cmpint(device->index, ==, 10 + (int)i);
		g_assert_cmpint(device->side, ==, cases[i].side);
		g_assert_cmpuint(device->received, ==, 500);
		g_assert_cmpuint(device->received_packets, ==, 3);
		g_assert_cmpuint(device->sent, ==, 600);
		g_assert_cmpuint(device->sent_packets, ==, 4);
		g_assert_cmpuint(device->received6 + device->sent6, ==, 0);
	}
	traffic_free(traffic);
}

static void test_kinds(void)
{
	static const struct {
		const char *kind;
		bool prompt;
	} cases[] = { { "veth", true }, { "openvswitch", true }, { "gre", false }, { NULL, false } };
	struct traffic *traffic = traffic_new();
	struct message message;

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct nlattr *info;

		put_device(&message, 2, "qg-1", &stats, sizeof stats);
		info = mnl_attr_nest_start(&message.header, IFLA_LINKINFO);
		if (cases[i].kind)
			mnl_attr_put_strz(&message.header, IFLA_INFO_KIND, cases[i].kind);
		mnl_attr_nest_end(&message.header, info);
		g_assert_true(statistics_take(traffic, &message.header, NULL));
		g_assert_cmpint(g_array_index(traffic->devices, struct device_traffic, i).prompt, ==, cases[i].prompt);
	}
	traffic_free(traffic);
}

static void test_ipv6(void)
{
	uint64_t values[IPSTATS_MIB_OUTOCTETS + 20] = { [IPSTATS_MIB_INOCTETS] = 77, [IPSTATS_MIB_OUTOCTETS] = 88 };
	struct traffic *traffic = traffic_new();
	struct message message;

	put_device(&message, 2, "qg-1", &stats, sizeof stats);
	put_inet6(&message, values, G_N_ELEMENTS(values));
	g_assert_true(statistics_take(traffic, &message.header, NULL));
	g_assert_cmpuint(g_array_index(traffic->devices, struct device_traffic, 0).received6, ==, 77);
	g_assert_cmpuint(g_array_index(traffic->devices, struct device_traffic, 0).sent6, ==, 88);
	traffic_free(traffic);
}

static void assert_malformed(const struct message *message)
{
	struct traffic *traffic = traffic_new();
	g_autoptr(GError) error = NULL;

	g_assert_false(statistics_take(traffic, &message->header, &error));
	g_assert_error(error, NETLINK_ERROR, NETLINK_ERROR_FAILED);
	g_assert_cmpuint(traffic->devices->len, ==, 0);
	traffic_free(traffic);
}

static void test_malformed_devices(void)
{
	uint64_t few[3] = { 0 };
	struct message message;

	put_device(&message, 2, NULL, &stats, sizeof stats);
	assert_malformed(&message);
	put_device(&message, 2, "qg-1", NULL, 0);
	assert_malformed(&message);
	put_device(&message, 2, "qg-1", &stats, 16);
	assert_malformed(&message);
	put_device(&message, 2, "qg-1", &stats, sizeof stats);
	put_inet6(&message, few, G_N_ELEMENTS(few));
	assert_malformed(&message);
	put_device(&message, 2, "qg-1", &stats, sizeof stats);
	message.header.nlmsg_len = sizeof message.header + 4;
	assert_malformed(&message);
}

#define TCP "TcpExt: SyncookiesSent InOctets\nTcpExt: 1 2\n"
#define NAMES "IpExt: InNoRoutes InMcastPkts InMcastOctets OutMcastOctets InOctets InBcastOctets InCsumErrors\n"

static void test_text(void)
{
	static const char *const bad[] = {
		"", TCP, NAMES, TCP NAMES, NAMES "IpExt: 0 1 2\n", NAMES "IpExt: 0 1 20 3 x 5 0\n", NAMES "IpExt: 0 1 20 3 -4 5 0\n",
		"IpExt: InOctets\nIpExt: 5\n", "x " NAMES "IpExt: 0 1 20 3 40 5 0\n", "IpExt: \nIpExt: \n", "IpExt: ", "\nIpExt: ",
	};
	struct ipstat ipstat = { 0 };

	g_assert_true(ipstat_parse(TCP NAMES "IpExt: 0 1 20 3 18446744073709551615 5 0\nMPTcpExt: MPC\nMPTcpExt: 0\n", &ipstat, NULL));
	g_assert_cmpuint(ipstat.received, ==, UINT64_MAX);
	g_assert_cmpuint(ipstat.multicast, ==, 20);
	g_assert_cmpuint(ipstat.broadcast, ==, 5);
	g_assert_true(ipstat_parse(NAMES "IpExt: 0 1 20 3 40 5 0", &ipstat, NULL)); /* no line end */
	g_assert_cmpuint(ipstat.received, ==, 40);
	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL;

		g_assert_false(ipstat_parse(bad[i], &ipstat, &error));
		g_assert_error(error, IPSTAT_ERROR, IPSTAT_ERROR_STRANGE);
	}
	g_assert_cmpuint(ipstat.received, ==, 40);
}

/* 100 bytes in a UDP packet that nobody waits for. */
static void send_to_myself(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	char bytes[100] = "";

	g_assert_cmpint(sendto(fd, bytes, sizeof bytes, 0, (struct sockaddr *)&to, sizeof to), ==, sizeof bytes);
	close(fd);
}

/* Of the namespace that the test runs in. */
static void test_this_machine(void)
{
	int ns_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	struct statistics *statistics;
	struct traffic *traffic, *later;
	g_autoptr(GError) error = NULL;

	if (geteuid()) {
		g_test_skip("needs root");
		close(ns_fd);
		return;
	}
	statistics = statistics_open(ns_fd, &error);
	g_assert_no_error(error);
	traffic = statistics_read(statistics, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(traffic->devices->len, >=, 1);
	g_assert_cmpint(g_array_index(traffic->devices, struct device_traffic, 0).side, ==, SIDE_LOOPBACK);
	send_to_myself();
	later = statistics_read(statistics, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(later->ip - traffic->ip, >=, 28 + 100);
	g_assert_cmpuint(g_array_index(later->devices, struct device_traffic, 0).received -
	                 g_array_index(traffic->devices, struct device_traffic, 0).received, >=, 28 + 100);
	traffic_free(traffic);
	traffic_free(later);
	statistics_close(statistics);
	statistics_close(NULL);
	close(ns_fd);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/statistics/devices", test_devices);
	g_test_add_func("/statistics/kinds", test_kinds);
	g_test_add_func("/statistics/ipv6", test_ipv6);
	g_test_add_func("/statistics/malformed", test_malformed_devices);
	g_test_add_func("/statistics/ip-text", test_text);
	g_test_add_func("/statistics/this-machine", test_this_machine);
	return g_test_run();
}

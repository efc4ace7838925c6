/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Devices by /dev/net/tun, addresses by ip(8).
 */
#include "world.h"

#include "core/prefix.h"
#include "kernel/netlink.h"
#include "kernel/netns.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <string.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

static const char *const device_names[] = { "qg-contract", "rfp-contract", "qr-contract", "qr-second", "ha-contract" };

struct world {
	const struct router *router;
	int ns_fd; /* -1: not real */
	struct netlink *netfilter;
	int devices[G_N_ELEMENTS(device_names)];
};

void world_enter(void)
{
	g_assert_cmpint(unshare(CLONE_NEWNS), ==, 0);
	g_assert_cmpint(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), ==, 0);
	g_assert_cmpint(mount("bpf", "/sys/fs/bpf", "bpf", 0, NULL), ==, 0);
}

static void command(const struct world *world, const char *format, ...) G_GNUC_PRINTF(2, 3);

static char *output(const struct world *world, const char *arguments)
{
	g_autofree char *line = g_strdup_printf("nsenter --net=/proc/%d/fd/%d %s", getpid(), world->ns_fd, arguments);
	g_autoptr(GError) error = NULL;
	char *text = NULL;
	int status;

	g_spawn_command_line_sync(line, &text, NULL, &status, &error);
	g_assert_no_error(error);
	g_spawn_check_wait_status(status, &error);
	g_assert_no_error(error);
	return text;
}

static void command(const struct world *world, const char *format, ...)
{
	g_autofree char *arguments = NULL, *text = NULL;
	va_list values;

	va_start(values, format);
	arguments = g_strdup_vprintf(format, values);
	va_end(values);
	text = output(world, arguments);
}

static bool open_devices(void *data, GError **error)
{
	struct world *world = data;

	for (unsigned i = 0; i < G_N_ELEMENTS(device_names); i++) {
		struct ifreq request = { .ifr_flags = IFF_TUN | IFF_NO_PI };

		g_strlcpy(request.ifr_name, device_names[i], IFNAMSIZ);
		world->devices[i] = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
		g_assert_cmpint(world->devices[i], >=, 0);
		g_assert_cmpint(ioctl(world->devices[i], TUNSETIFF, &request), ==, 0);
	}
	return true;
}

static void attach(const struct world *world, const struct prefix *prefix, const char *device)
{
	g_autofree char *first = address_to_string(prefix->address + 1);

	command(world, "ip addr add %s/%u dev %s", first, prefix->length, device);
}

static void add_addresses(const struct world *world)
{
	const struct router *router = world->router;
	g_autofree char *gateway = address_to_string(router->gateway ? router->gateway : 0xc6336401);

	for (unsigned i = 0; i < G_N_ELEMENTS(device_names); i++)
		command(world, "ip link set %s up", device_names[i]);
	command(world, "ip link set lo up");
	command(world, "sysctl -qw net.ipv4.ip_forward=1");
	for (unsigned i = 0; i < router->local->len; i++)
		attach(world, &g_array_index(router->local, struct prefix, i), i ? "qr-second" : "qr-contract");
	command(world, "ip addr add %s/24 dev %s", gateway, router->dvr ? "rfp-contract" : "qg-contract");
	command(world, "ip route add default dev %s", router->dvr ? "rfp-contract" : "qg-contract");
	for (unsigned i = 0; i < router->floating->len; i++) {
		const struct floating *floating = &g_array_index(router->floating, struct floating, i);
		g_autofree char *address = address_to_string(floating->address);

		if (floating->served)
			command(world, "ip addr add %s/32 dev %s", address, router->dvr ? "rfp-contract" : "qg-contract");
	}
}

struct world *world_new(const struct router *router, bool real)
{
	struct world *world = g_new0(struct world, 1);
	g_autoptr(GError) error = NULL;

	world->router = router;
	world->ns_fd = -1;
	if (!real)
		return world;
	world->ns_fd = netns_new(&error);
	g_assert_no_error(error);
	world->netfilter = netlink_open(world->ns_fd, NETLINK_NETFILTER, &error);
	g_assert_no_error(error);
	g_assert_true(netns_call(world->ns_fd, open_devices, world, &error));
	add_addresses(world);
	return world;
}

void world_free(struct world *world)
{
	for (unsigned i = 0; world->ns_fd >= 0 && i < G_N_ELEMENTS(device_names); i++)
		close(world->devices[i]);
	netlink_close(world->netfilter);
	if (world->ns_fd >= 0)
		close(world->ns_fd);
	g_free(world);
}

struct place world_place(const struct world *world)
{
	return (struct place){ .ns_fd = world->ns_fd, .netfilter = world->netfilter, .ns = world->router->ns };
}

static uint16_t header_checksum(const void *header, size_t length)
{
	const uint16_t *words = header;
	uint32_t sum = 0;

	for (size_t i = 0; i < length / 2; i++)
		sum += words[i];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

static void write_packet(const struct world *world, const struct fake_packet *packet)
{
	g_autofree uint8_t *bytes = g_malloc0(packet->bytes);
	struct iphdr header = {
		.version = 4, .ihl = 5, .ttl = 64, .protocol = 253, /* RFC 3692: for experiments */
		.tot_len = htons(packet->bytes), .saddr = htonl(packet->source), .daddr = htonl(packet->destination),
	};

	header.check = header_checksum(&header, sizeof header);
	memcpy(bytes, &header, sizeof header);
	for (unsigned i = 0; i < G_N_ELEMENTS(device_names); i++)
		if (g_str_equal(device_names[i], packet->device))
			g_assert_cmpint(write(world->devices[i], bytes, packet->bytes), ==, packet->bytes);
}

void world_receive(struct world *world, struct backend *backend, const struct fake_packet *packet)
{
	if (world->ns_fd >= 0)
		write_packet(world, packet); /* tun hands it to the stack inside write() */
	else
		fake_receive(backend, world->router, packet);
}

void world_attach(struct world *world, const struct prefix *prefix)
{
	if (world->ns_fd >= 0)
		attach(world, prefix, "qr-second");
}

void world_stand_by(struct world *world, struct router *router)
{
	for (unsigned i = 0; i < router->floating->len; i++)
		g_array_index(router->floating, struct floating, i).served = false;
	router->gateway_served = false;
	g_array_set_size(router->local, 0);
	g_array_set_size(router->onlink, 0);
	if (world->ns_fd < 0)
		return;
	for (unsigned i = 0; i < G_N_ELEMENTS(device_names); i++)
		command(world, "ip addr flush dev %s", device_names[i]);
	command(world, "ip route flush table main");
}

/* A legacy table that was made once stays, empty (ip_tables.c), so only rules and chains of it are told. */
char *world_ruleset(const struct world *world)
{
	return world->ns_fd < 0 ? g_strdup("") :
	       output(world, "sh -c \"nft list ruleset; ipset save; iptables-legacy-save | grep -e ^-A -e fipmeter || :\"");
}

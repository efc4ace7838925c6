/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What may be in the way between a packet of one router and its counter.
 */
#include "cmd/checkup.h"

#include "inventory/devices.h"
#include "inventory/nat.h"
#include "kernel/conntrack.h"
#include "kernel/ethtool.h"
#include "kernel/nftables.h"
#include "kernel/nftview.h"
#include "kernel/qdisc.h"
#include "kernel/xtahead.h"

#include <linux/netfilter_ipv4.h>
#include <string.h>

#define OURS "fipmeter" /* the table of the back end nft; the beginning of our chains in legacy tables */
#define HARDWARE "hw-tc-offload"

struct asked {
	const struct facts *facts;
	const struct site *site;
	struct router_facts *router;
};

/* ---- nf_tables ---- */

/* As it is typed: quoted where it has to be. */
static char *word(const char *text)
{
	bool is_plain = *text && !text[strspn(text, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "_.-")];

	return is_plain ? g_strdup(text) : g_shell_quote(text);
}

static void take_item(const struct nftview_item *item, void *data)
{
	static const enum obstacle_kind kinds[] = {
		[NFTVIEW_DROPS] = OBSTACLE_DROPS, [NFTVIEW_ZONE] = OBSTACLE_ZONE, [NFTVIEW_NOTRACK] = OBSTACLE_NOTRACK,
		[NFTVIEW_FLOWTABLE] = OBSTACLE_FLOWTABLE, [NFTVIEW_IDLE] = OBSTACLE_IDLE_FLOWTABLE,
	};
	bool is_chain = item->kind != NFTVIEW_FLOWTABLE && item->kind != NFTVIEW_IDLE;
	g_autofree char *table = word(item->table), *name = word(item->name), *at = NULL;

	at = !is_chain ? g_strdup("") : item->priority == INT32_MIN ? g_strdup(" (at the ingress of a device)") :
	     g_strdup_printf(" (priority %d)", item->priority);
	obstacle_add(data, kinds[item->kind],
	             g_strdup_printf("%s %s %s %s%s", is_chain ? "chain" : "flow table", item->family, item->table, item->name, at),
	             is_chain ? g_strdup_printf("nft -a list chain %s %s %s", item->family, table, name) :
	                        g_strdup_printf("nft -a list table %s %s", item->family, table));
}

static bool look_at_nft(const struct asked *asked, GError **error)
{
	return nftview_each(asked->site->place.netfilter, asked->site->backend->priority, OURS, take_item, asked->router, error);
}

/* ---- legacy tables ---- */

static void add_legacy(const struct asked *asked, enum obstacle_kind kind, const char *table)
{
	const char *tool = asked->facts->has_iptables_legacy ? "iptables-legacy" : "iptables";

	obstacle_add(asked->router, kind, g_strdup_printf("PREROUTING of the legacy table %s", table),
	             g_strdup_printf("%s -t %s -nvxL", tool, table));
}

/* Of mangle it is known what comes before ours where ours stands in it; another hook of the same priority comes first if it
 * was made later. */
static bool look_at_legacy(const struct asked *asked, GError **error)
{
	const struct backend *backend = asked->site->backend;
	struct xtahead ahead;

	if (!xtahead_look(asked->site->place.ns_fd, OURS, &ahead, error))
		return false;
	if (ahead.raw_drops && backend->priority > NF_IP_PRI_RAW)
		add_legacy(asked, OBSTACLE_DROPS, "raw");
	if (g_str_equal(backend->name, "iptables")) {
		if (ahead.mangle_diverts)
			add_legacy(asked, OBSTACLE_DIVERTS, "mangle");
	} else if (ahead.mangle_drops && backend->priority >= NF_IP_PRI_MANGLE) {
		add_legacy(asked, OBSTACLE_DROPS, "mangle");
	}
	if (ahead.sets_zone)
		add_legacy(asked, OBSTACLE_ZONE, "raw");
	if (ahead.takes_untracked)
		add_legacy(asked, OBSTACLE_NOTRACK, "raw");
	return true;
}

/* ---- devices ---- */

static bool take_external(const struct asked *asked, const struct device *device, GError **error)
{
	bool offloads;

	for (unsigned i = 0; i < device->addresses->len; i++) {
		const struct device_address *own = &g_array_index(device->addresses, struct device_address, i);
		struct outside outside = { .address = own->address, .length = own->length };

		g_array_append_val(asked->router->outside, outside);
	}
	if (device->has_xdp)
		obstacle_add(asked->router, OBSTACLE_XDP, g_strdup_printf("device %s", device->name),
		             g_strdup_printf("ip -d link show dev %s", device->name));
	if (!ethtool_has_feature(asked->site->place.ns_fd, device->name, HARDWARE, &offloads, error))
		return false;
	if (offloads)
		obstacle_add(asked->router, OBSTACLE_HARDWARE, g_strdup_printf("device %s", device->name),
		             g_strdup_printf("ethtool -K %s " HARDWARE " off", device->name));
	return true;
}

/* ---- rate limits ---- */

static void add_limit(const struct asked *asked, const struct device *device, const struct qdisc *qdisc, bool egress,
                      bool both)
{
	struct limit limit = { .egress = egress, .filters = qdisc->ingress, .dropped = qdisc->dropped, .both = both };

	limit.device = g_strdup(device->name);
	limit.kind = g_strdup(qdisc->kind);
	g_ptr_array_add(asked->router->limits, g_memdup2(&limit, sizeof limit));
}

/* A device without a queue, as those of routers are by themselves, drops nothing. */
static bool take_qdisc(const struct asked *asked, struct netlink *netlink, const struct device *device,
                       const struct qdisc *qdisc, GError **error)
{
	bool in, out;

	if (!qdisc->ingress) {
		if (!g_str_equal(qdisc->kind, "noqueue"))
			add_limit(asked, device, qdisc, true, false);
		return true;
	}
	if (!qdisc_has_filters(netlink, qdisc, false, &in, error) || !qdisc_has_filters(netlink, qdisc, true, &out, error))
		return false;
	if (in)
		add_limit(asked, device, qdisc, false, out);
	if (out)
		add_limit(asked, device, qdisc, true, in);
	return true;
}

static bool look_at_limits(const struct asked *asked, struct netlink *netlink, const GPtrArray *devices, GError **error)
{
	g_autoptr(GArray) qdiscs = qdisc_read(netlink, error);
	bool done = qdiscs;

	for (unsigned i = 0; done && i < devices->len; i++) {
		const struct device *device = devices->pdata[i];

		for (unsigned j = 0; done && device_is_external(device->role) && j < qdiscs->len; j++) {
			const struct qdisc *qdisc = &g_array_index(qdiscs, struct qdisc, j);

			done = qdisc->device != device->index || take_qdisc(asked, netlink, device, qdisc, error);
		}
	}
	return done;
}

static bool look_at_devices(const struct asked *asked, GError **error)
{
	struct netlink *netlink = netlink_open(asked->site->place.ns_fd, NETLINK_ROUTE, error);
	g_autoptr(GPtrArray) devices = netlink ? devices_read(netlink, error) : NULL;
	bool done = devices && look_at_limits(asked, netlink, devices, error);

	netlink_close(netlink);
	for (unsigned i = 0; done && i < devices->len; i++) {
		const struct device *device = devices->pdata[i];
		bool external = device_is_external(device->role);
		struct mtu_facts mtu = { .external = external, .mtu = device->mtu };

		if (!external && device->role != DEVICE_INTERNAL)
			continue;
		mtu.device = g_strdup(device->name);
		g_ptr_array_add(asked->router->mtus, g_memdup2(&mtu, sizeof mtu));
		done = !external || take_external(asked, device, error);
	}
	return done;
}

/* ---- port forwardings ---- */

static void take_forwarding(const struct nat_rule *rule, struct router_facts *router)
{
	if (rule->target == NAT_DNAT && rule->destination && (rule->narrowed || !rule->to))
		g_hash_table_add(router->forwarded, GUINT_TO_POINTER(rule->destination));
}

static bool take_nft_rule(const struct nftnl_rule *rule, void *data, GError **error)
{
	struct nat_rule decoded;

	nat_decode_nft(rule, &decoded);
	take_forwarding(&decoded, data);
	return true;
}

static bool take_legacy_rule(const char *chain, const struct ipt_entry *entry, void *data, GError **error)
{
	struct nat_rule decoded;

	nat_decode_legacy(chain, entry, &decoded);
	take_forwarding(&decoded, data);
	return true;
}

static bool look_at_forwardings(const struct asked *asked, GError **error)
{
	enum flavour flavour = asked->site->router->flavour;
	bool nft = flavour == FLAVOUR_NFT || flavour == FLAVOUR_BOTH;
	bool legacy = flavour == FLAVOUR_LEGACY || flavour == FLAVOUR_BOTH;

	return (!nft || nftables_each_rule(asked->site->place.netfilter, NFPROTO_IPV4, "nat", take_nft_rule, asked->router,
	                                   error)) &&
	       (!legacy || xtables_each_rule(asked->site->place.ns_fd, "nat", take_legacy_rule, asked->router, error));
}

static bool look_at_connections(const struct asked *asked, GError **error)
{
	return conntrack_count(asked->site->place.ns_fd, &asked->router->connections, &asked->router->connections_max, error);
}

struct router_facts *checkup_router(const struct facts *facts, const struct site *site)
{
	static bool (*const looks[])(const struct asked *asked, GError **error) = {
		look_at_nft, look_at_legacy, look_at_devices, look_at_forwardings, look_at_connections,
	};
	struct router_facts *router = router_facts_new(site->ns);
	struct asked asked = { .facts = facts, .site = site, .router = router };

	router->backend = site->backend->name;
	for (unsigned i = 0; site->router && i < G_N_ELEMENTS(looks); i++) {
		g_autoptr(GError) error = NULL;

		if (!looks[i](&asked, &error) && !router->failure)
			router->failure = g_strdup_printf("not all of it could be looked at: %s", error->message);
	}
	return router;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The checks of one router.
 */
#include "core/diagnosis.h"

#include "core/prefix.h"

#define NEARLY_FULL 9 / 10 /* of the table of connections */

static const struct prefix link_local = { .address = 0xa9fe0000, .length = 16 };

/* What `ip netns exec` is followed by. */
static char *inside(const struct diagnosis *diagnosis, const char *tool)
{
	return diagnosis_command(diagnosis->facts, diagnosis->about, tool);
}

static void check_flavour(struct diagnosis *diagnosis, const struct router_facts *facts)
{
	const struct router *router = facts->router;
	char *command = diagnosis_show_rules(diagnosis->facts, facts->ns, router->flavour);

	switch (router->flavour) {
	case FLAVOUR_NONE:
		g_free(command);
		if (router->external)
			diagnosis_say(diagnosis, LEVEL_WARNING, "is Neutron still at it? Else the log of the l3-agent says why", NULL,
			              "no nat rules of Neutron's in either flavour: nothing is translated, so no address is metered");
		else
			diagnosis_say(diagnosis, LEVEL_OK, NULL, NULL, "no nat rules of Neutron's, and no external device");
		break;
	case FLAVOUR_BOTH:
		diagnosis_say(diagnosis, LEVEL_WARNING, "find out which of the two Neutron's iptables writes now, and flush the tables "
		              "of the other one in this namespace", command, "both flavours have rules: Neutron's iptables was switched, "
		              "and the old rules stayed. Each floating IP counts once, by %s; where the two differ, the one that was "
		              "made later holds", facts->backend);
		break;
	case FLAVOUR_NFT:
	case FLAVOUR_LEGACY:
		diagnosis_say(diagnosis, LEVEL_OK, NULL, command, "%s rules, %s %s", flavour_name(router->flavour), facts->posted ?
		              "counted by" : "to be counted by", facts->backend);
		break;
	}
}

static void check_metered(struct diagnosis *diagnosis, const struct router_facts *facts)
{
	if (!diagnosis->facts->running)
		return;
	if (facts->trouble)
		diagnosis_say(diagnosis, LEVEL_PROBLEM, "docs/operate.md has this text, and what to do",
		              g_strdup_printf("fipmeter status --router %s", facts->router->name), "the agent says: %s",
		              facts->trouble);
	else if (!facts->posted)
		diagnosis_say(diagnosis, LEVEL_WARNING, "ask again in some seconds", NULL, "the agent has not told of it yet");
	else
		diagnosis_say(diagnosis, LEVEL_OK, NULL, NULL, facts->standby ? "standby: nothing to count here" : "metered");
}

/* What is said of obstacles of a kind. */
static const struct advice {
	enum level level;
	const char *what, *remedy;
} advices[] = {
	[OBSTACLE_DROPS] = { LEVEL_WARNING, "may drop packets before they are counted: `in` is then less than what arrived",
		"if that is not meant, have its owner move it behind mangle (priority above -150)" },
	[OBSTACLE_DIVERTS] = { LEVEL_PROBLEM, "takes packets away before they reach the rules that count: they are in no bill",
		"have its owner move it behind fipmeter's; a running agent moves itself first with its next sample" },
	[OBSTACLE_XDP] = { LEVEL_WARNING, "has a program of XDP, which can drop or forward packets before they are counted",
		"find out whose it is, and whether it forwards" },
	[OBSTACLE_FLOWTABLE] = { LEVEL_PROBLEM, "lets connections go past prerouting: their packets are counted by nobody, and are in "
		"no bill", "remove the rules with `flow add`, then the flow table; Neutron makes none" },
	[OBSTACLE_IDLE_FLOWTABLE] = { LEVEL_WARNING, "would let connections go past the counters; no rule adds any to it so far",
		"remove it: Neutron makes none" },
	[OBSTACLE_HARDWARE] = { LEVEL_WARNING, "has hw-tc-offload on: what its hardware forwards by itself passes the counters by",
		"switch it off, or be sure that nobody offloads filters to it" },
	[OBSTACLE_ZONE] = { LEVEL_WARNING, "puts packets into a conntrack zone of their own: Neutron's translations may not apply to "
		"them, and fipmeter counts by address, translated or not", "find out whose it is; Neutron uses no zones in routers" },
	[OBSTACLE_NOTRACK] = { LEVEL_WARNING, "takes packets from conntrack: they are not translated, and fipmeter counts them by "
		"address all the same", "find out whose it is; Neutron does not do this in routers" },
};

/* Says what obstacles of the kinds from first to last there are; ok if there are none. */
static void check_obstacles(struct diagnosis *diagnosis, const struct router_facts *facts, enum obstacle_kind first,
                            enum obstacle_kind last, const char *ok)
{
	bool any = false;

	for (unsigned i = 0; i < facts->obstacles->len; i++) {
		const struct obstacle *obstacle = facts->obstacles->pdata[i];
		const struct advice *advice = &advices[obstacle->kind];

		if (obstacle->kind < first || obstacle->kind > last)
			continue;
		diagnosis_say(diagnosis, advice->level, advice->remedy, inside(diagnosis, obstacle->show), "%s %s", obstacle->place,
		              advice->what);
		any = true;
	}
	if (!any && ok)
		diagnosis_say(diagnosis, LEVEL_OK, NULL, NULL, "%s", ok);
}

static void check_ahead(struct diagnosis *diagnosis, const struct router_facts *facts)
{
	check_obstacles(diagnosis, facts, OBSTACLE_DROPS, OBSTACLE_XDP, "nothing drops or diverts before it is counted");
}

static void check_offload(struct diagnosis *diagnosis, const struct router_facts *facts)
{
	check_obstacles(diagnosis, facts, OBSTACLE_FLOWTABLE, OBSTACLE_HARDWARE, "no flow table, no tc offload to hardware");
}

static void check_conntrack(struct diagnosis *diagnosis, const struct router_facts *facts)
{
	bool full = facts->connections_max && facts->connections >= facts->connections_max * NEARLY_FULL;

	check_obstacles(diagnosis, facts, OBSTACLE_ZONE, OBSTACLE_NOTRACK, full ? NULL : "no zones, nothing untracked");
	if (full)
		diagnosis_say(diagnosis, LEVEL_WARNING, "raise net.netfilter.nf_conntrack_max, and find who opens so many",
		              inside(diagnosis, "conntrack -S"), "%" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " connections: a full "
		              "table drops new ones before they are counted", facts->connections, facts->connections_max);
}

/* ---- limits ---- */

/* Counters stand behind what comes in and before what goes out, unless `out` counts where it is sent. */
static void tell_limit(struct diagnosis *diagnosis, const struct limit *limit, bool out_sent)
{
	const char *what = limit->filters ? "filters" : limit->kind, *verb = limit->filters ? "stand" : "stands";
	g_autofree char *dropped = g_strdup_printf("%" G_GUINT64_FORMAT " packet%s so far%s", limit->dropped,
	                                           limit->dropped == 1 ? "" : "s", limit->both ? ", at ingress and egress" : "");
	g_autofree char *show = limit->filters ? g_strdup_printf("tc -s filter show dev %s %s", limit->device,
	                                                         limit->egress ? "egress" : "ingress") :
	                                         g_strdup_printf("tc -s qdisc show dev %s", limit->device);

	if (limit->egress && out_sent)
		diagnosis_say(diagnosis, LEVEL_OK, NULL, inside(diagnosis, show), "device %s: %s at egress %s before the count of "
		              "`out` (out_point = egress). `out` is what leaves; what is dropped there is in no bill (%s)", limit->device,
		              what, verb, dropped);
	else if (limit->egress)
		diagnosis_say(diagnosis, LEVEL_WARNING, "bill `out` as what is sent, or count it behind the limiter (out_point = egress, "
		              "back end ebpf), or limit at the VM's port, which is before the router (docs/operate.md, Rate limits)", inside(diagnosis, show), "device %s: %s at egress %s behind the "
		              "counters. `out` is what VMs send, also what is dropped there and never leaves (%s)", limit->device,
		              what, verb, dropped);
	else
		diagnosis_say(diagnosis, LEVEL_OK, NULL, inside(diagnosis, show), "device %s: %s at ingress %s before the counters. "
		              "`in` is what passes; what is dropped there is in no bill (%s)", limit->device, what, verb, dropped);
}

static void check_limits(struct diagnosis *diagnosis, const struct router_facts *facts)
{
	for (unsigned i = 0; i < facts->limits->len; i++)
		tell_limit(diagnosis, facts->limits->pdata[i], facts->out_sent);
	if (!facts->limits->len)
		diagnosis_say(diagnosis, LEVEL_OK, NULL, NULL, "none on the external device");
}

/* ---- addresses ---- */

static bool is_floating(const struct router *router, uint32_t address)
{
	for (unsigned i = 0; i < router->floating->len; i++)
		if (g_array_index(router->floating, struct floating, i).address == address)
			return true;
	return false;
}

/* A router without SNAT has an address of its own on its external device, which is nobody's. */
static bool is_explained(const struct router *router, const struct outside *outside)
{
	return outside->address == router->gateway || is_floating(router, outside->address) ||
	       prefix_contains(&link_local, outside->address) || (!router->gateway && outside->length < 32);
}

static void check_outside(struct diagnosis *diagnosis, const struct router_facts *facts)
{
	for (unsigned i = 0; i < facts->outside->len; i++) {
		const struct outside *outside = &g_array_index(facts->outside, struct outside, i);
		g_autofree char *address = address_to_string(outside->address), *remedy = NULL;

		if (is_explained(facts->router, outside))
			continue;
		remedy = g_strdup_printf("ask Neutron whose it is (openstack floating ip list --floating-ip-address %s): if nobody's, "
		                         "take it away; else see the log of the l3-agent", address);
		if (g_hash_table_contains(facts->forwarded, GUINT_TO_POINTER(outside->address)))
			diagnosis_say(diagnosis, LEVEL_WARNING, "nothing to be done: bill it in another way", NULL, "%s has port "
			              "forwardings alone, which are not metered: what comes in for it is in no bill, what its VMs send goes "
			              "by the gateway address", address);
		else
			diagnosis_say(diagnosis, LEVEL_PROBLEM, remedy, inside(diagnosis, "ip -4 addr"), "%s stands on an external device, "
			              "but no nat rule translates it: its traffic is in no bill", address);
	}
}

static void check_translated(struct diagnosis *diagnosis, const struct router_facts *facts)
{
	const struct router *router = facts->router;
	const char *remedy = "see the log of the l3-agent; for an HA router that of keepalived";

	for (unsigned i = 0; i < router->floating->len; i++) {
		const struct floating *floating = &g_array_index(router->floating, struct floating, i);
		g_autofree char *address = address_to_string(floating->address), *fixed = address_to_string(floating->fixed);

		if (!floating->served)
			diagnosis_say(diagnosis, LEVEL_WARNING, remedy, inside(diagnosis, "ip -4 addr"), "%s is translated to %s, but the "
			              "address is on no device here: nothing reaches it, so nothing counts for it", address, fixed);
	}
	if (router->gateway && !router->gateway_served) {
		g_autofree char *gateway = address_to_string(router->gateway);

		diagnosis_say(diagnosis, LEVEL_WARNING, remedy, inside(diagnosis, "ip -4 addr"), "VMs leave by %s, but the address is "
		              "on no device here: no answer comes back", gateway);
	}
}

static void check_addresses(struct diagnosis *diagnosis, const struct router_facts *facts)
{
	unsigned before = diagnosis->findings->len;

	check_outside(diagnosis, facts);
	if (!facts->standby)
		check_translated(diagnosis, facts);
	if (diagnosis->findings->len == before)
		diagnosis_say(diagnosis, LEVEL_OK, NULL, NULL, facts->standby ? "standby: rules without addresses, as it should be" :
		              "each address has its rule, each rule its address");
}

/* ---- the rest ---- */

static void check_mtu(struct diagnosis *diagnosis, const struct router_facts *facts)
{
	const struct mtu_facts *inner = NULL, *outer = NULL;

	for (unsigned i = 0; i < facts->mtus->len; i++) {
		const struct mtu_facts *each = facts->mtus->pdata[i];

		if (each->external && (!outer || each->mtu < outer->mtu))
			outer = each;
		if (!each->external && (!inner || each->mtu > inner->mtu))
			inner = each;
	}
	if (inner && outer && inner->mtu > outer->mtu)
		diagnosis_say(diagnosis, LEVEL_WARNING, "give the tenant network the MTU of the external one, or less (openstack network "
		              "set --mtu)", inside(diagnosis, "ip -d link"), "%s has %u, %s only %u: larger packets are counted, then "
		              "split with headers that nobody counts, or dropped", inner->device, inner->mtu, outer->device, outer->mtu);
	else
		diagnosis_say(diagnosis, LEVEL_OK, NULL, NULL, "no internal device has more than the external one");
}

static void check_gaps(struct diagnosis *diagnosis, const struct router_facts *facts)
{
	g_autofree char *length = diagnosis_duration(facts->gaps_us);

	if (facts->gaps)
		diagnosis_say(diagnosis, LEVEL_WARNING, "docs/operate.md has each reason under Gaps, and what to do",
		              g_strdup_printf("fipmeter status --router %s", facts->router->name), "%u gap%s in the last 24 hours, %s in "
		              "all; the last: %s", facts->gaps, facts->gaps == 1 ? "" : "s", length, facts->gap_reason);
	else
		diagnosis_say(diagnosis, LEVEL_OK, NULL, NULL, "none on record in the last 24 hours");
}

static const struct {
	const char *name;
	void (*run)(struct diagnosis *diagnosis, const struct router_facts *facts);
} checks[] = {
	{ "flavour", check_flavour }, { "metered", check_metered }, { "ahead", check_ahead }, { "limits", check_limits },
	{ "offload", check_offload }, { "conntrack", check_conntrack }, { "addresses", check_addresses }, { "mtu", check_mtu },
	{ "gaps", check_gaps },
};

void diagnosis_of_router(struct diagnosis *diagnosis, const struct router_facts *facts)
{
	diagnosis->about = facts->ns;
	if (facts->failure) {
		diagnosis->check = "namespaces";
		diagnosis_say(diagnosis, LEVEL_PROBLEM, "if it lasts: docs/operate.md has this text, and what to do", NULL, "%s",
		              facts->failure);
	}
	for (unsigned i = 0; facts->router && i < G_N_ELEMENTS(checks); i++) {
		diagnosis->check = checks[i].name;
		checks[i].run(diagnosis, facts);
	}
	diagnosis->about = "";
}

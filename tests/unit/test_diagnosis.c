/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The doctor's judgement: a sound node has no warning and no problem, and each fact that is not as it should be is found by
 * its check, at its level, with a remedy, and by no other one.
 */
#include "core/diagnosis.h"

#include <string.h>

#define NS "qrouter-3f1e9a52-7f0e-4d53-9a0c-4d5c1d3f8f6a"
#define NOW INT64_C(1790000000000000)

static const uint32_t gateway = 0xc6336447, floating = 0xc6336465, fixed = 0x0a00010b;

/* ---- a sound node ---- */

static void add_backend(struct facts *facts, const char *name, bool wanted)
{
	struct backend_facts backend = { .name = name, .needs = "this and that", .wanted = wanted };

	g_array_append_val(facts->backends, backend);
}

static void add_mtu(struct router_facts *router, const char *device, bool external, unsigned mtu)
{
	struct mtu_facts facts = { .device = g_strdup(device), .external = external, .mtu = mtu };

	g_ptr_array_add(router->mtus, g_memdup2(&facts, sizeof facts));
}

static void add_outside(struct router_facts *router, uint32_t address, uint8_t length)
{
	struct outside outside = { .address = address, .length = length };

	g_array_append_val(router->outside, outside);
}

static struct router_facts *sound_router(void)
{
	struct router_facts *router = router_facts_new(NS);
	struct floating translated = { .address = floating, .fixed = fixed, .served = true };

	router->backend = "nft";
	router->router = router_new(NS, router_name_of(NS));
	router->router->flavour = FLAVOUR_NFT;
	router->router->external = router->router->gateway_served = true;
	router->router->gateway = gateway;
	g_array_append_val(router->router->floating, translated);
	router->posted = true;
	add_outside(router, gateway, 24);
	add_outside(router, floating, 32);
	add_mtu(router, "qr-1", false, 1450);
	add_mtu(router, "qg-1", true, 1500);
	router->connections = 10;
	router->connections_max = 1000;
	return router;
}

static struct facts *sound_node(void)
{
	struct facts *facts = facts_new();
	struct lock_facts lock = { .path = g_strdup("/run/xtables.lock"), .device = 1, .inode = 2 };

	facts->netns_dir = "/run/netns";
	facts->state_dir = "/var/lib/fipmeter";
	facts->configured = "auto";
	facts->now_us = NOW;
	facts->can_look = facts->running = facts->posted = facts->events = facts->synchronised = facts->has_store = true;
	facts->pid = 812;
	facts->interval_s = 3600;
	facts->sampled_us = NOW - 1000000;
	add_backend(facts, "nft", false);
	add_backend(facts, "iptables", false);
	add_backend(facts, "ebpf", false);
	g_array_append_val(facts->locks, lock);
	facts->iptables = HOST_NFT;
	facts->has_iptables_nft = facts->has_iptables_legacy = facts->has_nft = true;
	facts->disk_size = UINT64_C(100) << 30;
	facts->disk_free = UINT64_C(50) << 30;
	facts->database = 1 << 20;
	g_ptr_array_add(facts->routers, sound_router());
	return facts;
}

/* ---- what can be wrong ---- */

static struct router_facts *first(struct facts *facts)
{
	return facts->routers->pdata[0];
}

static struct backend_facts *backend_at(struct facts *facts, unsigned i)
{
	return &g_array_index(facts->backends, struct backend_facts, i);
}

static void unprivileged(struct facts *facts) { facts->privileges = g_strdup("missing"); facts->can_look = true; }

static void blind(struct facts *facts)
{
	unprivileged(facts);
	facts->can_look = false;
	g_array_set_size(facts->backends, 0);
	g_array_set_size(facts->locks, 0);
	g_ptr_array_set_size(facts->routers, 0);
}

static void stopped(struct facts *facts) { facts->running = facts->posted = false; }
static void killed(struct facts *facts) { facts->running = false; }
static void late(struct facts *facts) { facts->sampled_us = NOW - INT64_C(7300) * 1000000; }
static void no_sample(struct facts *facts) { facts->sampled_us = 0; }
static void not_kept(struct facts *facts) { facts->agent_failure = g_strdup("disk full"); }
static void deaf(struct facts *facts) { facts->events = false; }
static void complains(struct facts *facts) { g_ptr_array_add(facts->problems, g_strdup("store: beyond its quota")); }
static void no_nft(struct facts *facts) { backend_at(facts, 0)->refusal = g_strdup("no nf_tables"); }
static void no_ebpf(struct facts *facts) { backend_at(facts, 2)->refusal = g_strdup("no BTF"); }
static void ebpf_wanted(struct facts *facts) { no_ebpf(facts); backend_at(facts, 2)->wanted = true; }

static void two_locks(struct facts *facts)
{
	struct lock_facts lock = { .path = g_strdup("/proc/7/root/run/xtables.lock"), .device = 1, .inode = 3 };

	g_array_append_val(facts->locks, lock);
}

static void no_lock(struct facts *facts) { facts->lock_failure = g_strdup("cannot see"); }
static void lock_missed(struct facts *facts) { no_lock(facts); facts->lock_needed = true; }
static void legacy(struct facts *facts) { first(facts)->router->flavour = FLAVOUR_LEGACY; }
static void both(struct facts *facts) { facts->iptables = HOST_UNKNOWN; first(facts)->router->flavour = FLAVOUR_BOTH; }
static void no_rules(struct facts *facts) { first(facts)->router->flavour = FLAVOUR_NONE; }
static void no_clock(struct facts *facts) { facts->clock_failure = g_strdup("not permitted"); }
static void free_running(struct facts *facts) { facts->synchronised = false; }
static void no_disk(struct facts *facts) { facts->disk_failure = g_strdup("no such directory"); }
static void full(struct facts *facts) { facts->disk_free = 1 << 20; }
static void scarce(struct facts *facts) { facts->disk_free = 500 << 20; }
static void unreadable(struct facts *facts) { facts->store_failure = g_strdup("damaged"); }
static void no_store(struct facts *facts) { facts->has_store = false; }
static void over_quota(struct facts *facts) { facts->quota = 1000; }
static void long_log(struct facts *facts) { facts->log = 100 << 20; }
static void no_directory(struct facts *facts) { facts->look_failure = g_strdup("not a directory"); }
static void no_routers(struct facts *facts) { g_ptr_array_set_size(facts->routers, 0); }

static void add_stranger(struct facts *facts, bool is_router)
{
	struct stranger stranger = { .ns = g_strdup("junk"), .why = g_strdup("no namespace"), .is_router = is_router };

	g_ptr_array_add(facts->strangers, g_memdup2(&stranger, sizeof stranger));
}

static void junk(struct facts *facts) { add_stranger(facts, true); }
static void strange_name(struct facts *facts) { add_stranger(facts, false); }
static void half_seen(struct facts *facts) { first(facts)->failure = g_strdup("interrupted"); }
static void not_metered(struct facts *facts) { first(facts)->trouble = g_strdup("rules not written"); }
static void not_told(struct facts *facts) { first(facts)->posted = false; }

static void obstacle(struct facts *facts, enum obstacle_kind kind)
{
	obstacle_add(first(facts), kind, g_strdup("chain ip a b"), g_strdup("nft list chain ip a b"));
}

static void drops(struct facts *facts) { obstacle(facts, OBSTACLE_DROPS); }
static void diverts(struct facts *facts) { obstacle(facts, OBSTACLE_DIVERTS); }
static void xdp(struct facts *facts) { obstacle(facts, OBSTACLE_XDP); }
static void flowtable(struct facts *facts) { obstacle(facts, OBSTACLE_FLOWTABLE); }
static void idle_flowtable(struct facts *facts) { obstacle(facts, OBSTACLE_IDLE_FLOWTABLE); }
static void hardware(struct facts *facts) { obstacle(facts, OBSTACLE_HARDWARE); }
static void zone(struct facts *facts) { obstacle(facts, OBSTACLE_ZONE); }
static void untracked(struct facts *facts) { obstacle(facts, OBSTACLE_NOTRACK); }

static void limit(struct facts *facts, const char *kind, bool egress, bool filters)
{
	struct limit limit = { .device = g_strdup("qg-1"), .kind = g_strdup(kind), .egress = egress, .filters = filters,
		.dropped = 230, .both = g_str_equal(kind, "clsact") };

	g_ptr_array_add(first(facts)->limits, g_memdup2(&limit, sizeof limit));
}

static void shaper(struct facts *facts) { limit(facts, "tbf", true, false); }
static void police_out(struct facts *facts) { limit(facts, "clsact", true, true); }
static void crowded(struct facts *facts) { first(facts)->connections = 900; }
static void unknown_address(struct facts *facts) { add_outside(first(facts), 0xc63364c8, 32); }

static void forwarded(struct facts *facts)
{
	unknown_address(facts);
	g_hash_table_add(first(facts)->forwarded, GUINT_TO_POINTER(0xc63364c8));
}

static void unserved(struct facts *facts)
{
	g_array_index(first(facts)->router->floating, struct floating, 0).served = false;
}

static void no_gateway(struct facts *facts) { first(facts)->router->gateway_served = false; }
static void narrow(struct facts *facts) { add_mtu(first(facts), "qr-2", false, 9000); }

static void missed(struct facts *facts)
{
	first(facts)->gaps = 2;
	first(facts)->gaps_us = 5000000;
	first(facts)->gap_reason = g_strdup("somebody flushed");
}

static const struct {
	const char *name;
	void (*spoil)(struct facts *facts);
	const char *check;
	enum level level;
	const char *told; /* in text, remedy or command */
} faults[] = {
	{ "some privileges", unprivileged, "privileges", LEVEL_WARNING, "missing" },
	{ "no agent", stopped, "agent", LEVEL_PROBLEM, "systemctl start" },
	{ "a killed agent", killed, "agent", LEVEL_PROBLEM, "pid 812 ended without a word" },
	{ "a late sample", late, "agent", LEVEL_PROBLEM, "2 h old" },
	{ "no sample", no_sample, "agent", LEVEL_PROBLEM, "no sample yet" },
	{ "a sample not kept", not_kept, "agent", LEVEL_PROBLEM, "disk full" },
	{ "no events", deaf, "agent", LEVEL_WARNING, "does not hear" },
	{ "a problem of the node", complains, "agent", LEVEL_PROBLEM, "beyond its quota" },
	{ "auto without nft", no_nft, "kernel", LEVEL_WARNING, "auto takes iptables" },
	{ "a back end that is wanted", ebpf_wanted, "kernel", LEVEL_PROBLEM, "no BTF" },
	{ "two locks", two_locks, "lock", LEVEL_WARNING, "/proc/7/root/run/xtables.lock" },
	{ "no lock, not needed", no_lock, "lock", LEVEL_WARNING, "cannot see" },
	{ "no lock", lock_missed, "lock", LEVEL_PROBLEM, "[agent] xtables_lock" },
	{ "the seed's trap", legacy, "tools", LEVEL_WARNING, "ip netns exec " NS " iptables-legacy -t nat -nvxL" },
	{ "no rules", no_rules, "flavour", LEVEL_WARNING, "no nat rules" },
	{ "no clock", no_clock, "clock", LEVEL_WARNING, "not permitted" },
	{ "a clock that nobody keeps", free_running, "clock", LEVEL_WARNING, "chronyd" },
	{ "no disk", no_disk, "disk", LEVEL_PROBLEM, "no such directory" },
	{ "a full disk", full, "disk", LEVEL_PROBLEM, "1.0 MB of 107.4 GB" },
	{ "a disk that fills", scarce, "disk", LEVEL_WARNING, "make room" },
	{ "a damaged store", unreadable, "store", LEVEL_PROBLEM, "damaged" },
	{ "no store", no_store, "store", LEVEL_PROBLEM, "no store in /var/lib/fipmeter" },
	{ "a quota", over_quota, "store", LEVEL_WARNING, "[store] quota" },
	{ "a long log", long_log, "store", LEVEL_WARNING, "fuser -v /var/lib/fipmeter/usage.db" },
	{ "no directory", no_directory, "namespaces", LEVEL_PROBLEM, "not a directory" },
	{ "junk", junk, "namespaces", LEVEL_PROBLEM, "no namespace" },
	{ "a strange name", strange_name, "namespaces", LEVEL_WARNING, "no namespace" },
	{ "half seen", half_seen, "namespaces", LEVEL_PROBLEM, "interrupted" },
	{ "not metered", not_metered, "metered", LEVEL_PROBLEM, "fipmeter status --router 3f1e9a52" },
	{ "not told", not_told, "metered", LEVEL_WARNING, "not told" },
	{ "drops", drops, "ahead", LEVEL_WARNING, "ip netns exec " NS " nft list chain ip a b" },
	{ "diverts", diverts, "ahead", LEVEL_PROBLEM, "in no bill" },
	{ "XDP", xdp, "ahead", LEVEL_WARNING, "XDP" },
	{ "a limiter at egress", shaper, "limits", LEVEL_WARNING, "never leaves (230 packets so far)" },
	{ "a limiter at egress, shown", shaper, "limits", LEVEL_WARNING, "ip netns exec " NS " tc -s qdisc show dev qg-1" },
	{ "filters at egress", police_out, "limits", LEVEL_WARNING, "tc -s filter show dev qg-1 egress" },
	{ "a flow table", flowtable, "offload", LEVEL_PROBLEM, "past prerouting" },
	{ "an idle flow table", idle_flowtable, "offload", LEVEL_WARNING, "no rule adds" },
	{ "hardware", hardware, "offload", LEVEL_WARNING, "hw-tc-offload" },
	{ "a zone", zone, "conntrack", LEVEL_WARNING, "zone" },
	{ "untracked", untracked, "conntrack", LEVEL_WARNING, "takes packets from conntrack" },
	{ "many connections", crowded, "conntrack", LEVEL_WARNING, "900 of 1000" },
	{ "an address without NAT", unknown_address, "addresses", LEVEL_PROBLEM, "198.51.100.200" },
	{ "port forwardings", forwarded, "addresses", LEVEL_WARNING, "port forwardings alone" },
	{ "NAT without address", unserved, "addresses", LEVEL_WARNING, "198.51.100.101 is translated to 10.0.1.11" },
	{ "no gateway address", no_gateway, "addresses", LEVEL_WARNING, "198.51.100.71" },
	{ "MTU", narrow, "mtu", LEVEL_WARNING, "qr-2 has 9000, qg-1 only 1500" },
	{ "gaps", missed, "gaps", LEVEL_WARNING, "2 gaps in the last 24 hours, 5 s in all; the last: somebody flushed" },
};

static bool tells(const struct finding *finding, const char *part)
{
	return strstr(finding->text, part) || strstr(finding->remedy, part) || strstr(finding->command, part);
}

/* What is not ok. */
static GPtrArray *complaints_of(GPtrArray *findings)
{
	GPtrArray *bad = g_ptr_array_new();

	for (unsigned i = 0; i < findings->len; i++)
		if (((struct finding *)findings->pdata[i])->level != LEVEL_OK)
			g_ptr_array_add(bad, findings->pdata[i]);
	return bad;
}

static void test_fault(const void *data)
{
	unsigned i = GPOINTER_TO_UINT(data);
	SCOPED(facts) *facts = sound_node();
	g_autoptr(GPtrArray) findings = NULL, bad = NULL;
	const struct finding *finding;

	faults[i].spoil(facts);
	findings = diagnosis_make(facts);
	bad = complaints_of(findings);
	g_assert_cmpuint(bad->len, ==, 1);
	finding = bad->pdata[0];
	g_assert_cmpstr(finding->check, ==, faults[i].check);
	g_assert_cmpstr(level_name(finding->level), ==, level_name(faults[i].level));
	g_assert_true(*finding->remedy || strstr(finding->text, "remedy"));
	if (!tells(finding, faults[i].told))
		g_error("'%s' is not in: %s -> %s (%s)", faults[i].told, finding->text, finding->remedy, finding->command);
}

/* ---- what is in order ---- */

static void expect_sound(const struct facts *facts)
{
	g_autoptr(GPtrArray) findings = diagnosis_make(facts), bad = complaints_of(findings);

	if (bad->len)
		g_error("%s: %s", ((struct finding *)bad->pdata[0])->check, ((struct finding *)bad->pdata[0])->text);
	g_assert_cmpuint(diagnosis_count(findings, LEVEL_OK), ==, findings->len);
}

static void test_sound(void)
{
	SCOPED(facts) *facts = sound_node();
	g_autoptr(GHashTable) checks = g_hash_table_new(g_str_hash, g_str_equal);
	g_autoptr(GPtrArray) findings = diagnosis_make(facts);

	expect_sound(facts);
	for (unsigned i = 0; i < findings->len; i++)
		g_hash_table_add(checks, (char *)((struct finding *)findings->pdata[i])->check);
	g_assert_cmpuint(g_hash_table_size(checks), ==, 18); /* each says something, also when all is well */
}

static void test_ebpf_that_nobody_wants(void)
{
	SCOPED(facts) *facts = sound_node();

	no_ebpf(facts);
	expect_sound(facts);
}

static void test_policer_at_ingress_is_as_it_should_be(void)
{
	SCOPED(facts) *facts = sound_node();
	g_autoptr(GPtrArray) findings = NULL;
	bool told = false;

	limit(facts, "ingress", false, true);
	expect_sound(facts);
	findings = diagnosis_make(facts);
	for (unsigned i = 0; i < findings->len; i++)
		told = told || tells(findings->pdata[i], "`in` is what passes; what is dropped there is in no bill (230 packets so far)");
	g_assert_true(told);
}

static void test_limiter_before_the_count_is_as_it_should_be(void)
{
	SCOPED(facts) *facts = sound_node();
	g_autoptr(GPtrArray) findings = NULL;
	bool told = false;

	shaper(facts);
	first(facts)->out_sent = true;
	expect_sound(facts);
	findings = diagnosis_make(facts);
	for (unsigned i = 0; i < findings->len; i++)
		told = told || tells(findings->pdata[i], "`out` is what leaves; what is dropped there is in no bill (230 packets so far)");
	g_assert_true(told);
}

static void test_standby_has_rules_without_addresses(void)
{
	SCOPED(facts) *facts = sound_node();

	unserved(facts);
	no_gateway(facts);
	g_array_set_size(first(facts)->outside, 0);
	first(facts)->standby = true;
	expect_sound(facts);
}

static void test_router_without_snat_has_an_address_of_its_own(void)
{
	SCOPED(facts) *facts = sound_node();

	first(facts)->router->gateway = 0;
	expect_sound(facts);
}

static void test_who_may_not_look_says_so(void)
{
	SCOPED(facts) *facts = sound_node();
	g_autoptr(GPtrArray) findings = NULL;

	blind(facts);
	findings = diagnosis_make(facts);
	g_assert_cmpuint(diagnosis_count(findings, LEVEL_PROBLEM), ==, 1);
	g_assert_cmpuint(diagnosis_count(findings, LEVEL_WARNING), ==, 3); /* kernel, lock, namespaces */
}

static void test_node_without_routers(void)
{
	SCOPED(facts) *facts = sound_node();
	g_autoptr(GPtrArray) findings = NULL;

	no_routers(facts);
	findings = diagnosis_make(facts);
	g_assert_cmpuint(diagnosis_count(findings, LEVEL_PROBLEM), ==, 0);
	g_assert_cmpuint(diagnosis_count(findings, LEVEL_WARNING), ==, 1);
}

/* ---- which command shows the rules ---- */

static void expect_command(const struct facts *facts, enum flavour flavour, const char *expected)
{
	g_autofree char *command = diagnosis_show_rules(facts, NS, flavour);

	g_assert_cmpstr(command, ==, expected);
}

#define IN "ip netns exec " NS " "

static void test_command_that_shows_the_rules(void)
{
	SCOPED(facts) *facts = sound_node();

	expect_command(facts, FLAVOUR_BOTH, IN "iptables-nft -t nat -nvxL; " IN "iptables-legacy -t nat -nvxL");
	facts->has_iptables_legacy = facts->has_iptables_nft = false;
	expect_command(facts, FLAVOUR_NFT, IN "iptables -t nat -nvxL");
	expect_command(facts, FLAVOUR_LEGACY, NULL);
	facts->l3_agent = 4711;
	expect_command(facts, FLAVOUR_LEGACY, "nsenter -t 4711 -m ip netns exec " NS " iptables -t nat -nvxL");
	facts->iptables = HOST_LEGACY;
	expect_command(facts, FLAVOUR_LEGACY, IN "iptables -t nat -nvxL");
	expect_command(facts, FLAVOUR_NFT, IN "nft list table ip nat");
	facts->netns_dir = "/srv/it's";
	expect_command(facts, FLAVOUR_NFT, "nsenter --net='/srv/it'\\''s/" NS "' nft list table ip nat");
}

static void test_both_flavours(void)
{
	SCOPED(facts) *facts = sound_node();
	g_autoptr(GPtrArray) findings = NULL, bad = NULL;

	both(facts);
	findings = diagnosis_make(facts);
	bad = complaints_of(findings);
	g_assert_cmpuint(bad->len, ==, 3); /* tools for each flavour, and the router */
	g_assert_true(tells(bad->pdata[2], "both flavours have rules"));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/diagnosis/sound", test_sound);
	g_test_add_func("/diagnosis/ebpf-that-nobody-wants", test_ebpf_that_nobody_wants);
	g_test_add_func("/diagnosis/policer", test_policer_at_ingress_is_as_it_should_be);
	g_test_add_func("/diagnosis/limiter-before", test_limiter_before_the_count_is_as_it_should_be);
	g_test_add_func("/diagnosis/standby", test_standby_has_rules_without_addresses);
	g_test_add_func("/diagnosis/no-snat", test_router_without_snat_has_an_address_of_its_own);
	g_test_add_func("/diagnosis/blind", test_who_may_not_look_says_so);
	g_test_add_func("/diagnosis/no-routers", test_node_without_routers);
	g_test_add_func("/diagnosis/command", test_command_that_shows_the_rules);
	g_test_add_func("/diagnosis/both", test_both_flavours);
	for (unsigned i = 0; i < G_N_ELEMENTS(faults); i++) {
		g_autofree char *path = g_strdup_printf("/diagnosis/fault/%s", faults[i].name);

		g_test_add_data_func(path, GUINT_TO_POINTER(i), test_fault);
	}
	return g_test_run();
}

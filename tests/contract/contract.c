/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The contract: every back end counts the same for the same packets, and no count is lost, doubled or left behind when
 * the plan changes.  The fake (fake.c) writes the truth table down a second time; here both get every combination of
 * device, source and destination that the table tells apart, each packet of another size.
 */
#include "world.h"

#include "core/classes.h"
#include "core/config.h"
#include "core/plan.h"

#include <string.h>
#include <unistd.h>

#define A(a, b, c, d) ((uint32_t)(a) << 24 | (b) << 16 | (c) << 8 | (d))

enum { GATEWAY = A(198, 51, 100, 71), FIP_A = A(198, 51, 100, 101), FIP_B = A(198, 51, 100, 102) };
enum { FIXED_A = A(10, 0, 1, 11), FIXED_B = A(10, 0, 1, 12), FIXED_C = A(10, 0, 1, 13) };
#define FIP_GONE A(198, 51, 100, 103) /* has its rules, but not its address */
#define FIP_STRAY A(198, 51, 100, 104)
#define FIXED_STRAY A(172, 16, 0, 5)  /* in no local prefix */

static const char *const devices[] = { "qg-contract", "rfp-contract", "qr-contract", "qr-second", "ha-contract" };
static const uint32_t addresses[] = {
	GATEWAY, FIP_A, FIP_B, FIP_GONE, FIP_STRAY, FIXED_A, FIXED_B, FIXED_C, FIXED_STRAY,
	A(10, 0, 1, 1), A(8, 8, 8, 11), A(8, 8, 8, 50), A(8, 8, 4, 4), A(198, 51, 100, 9), A(198, 51, 101, 1),
	A(203, 0, 113, 9), A(169, 254, 169, 254), A(192, 168, 7, 7), A(10, 0, 0, 255), A(10, 0, 2, 0),
};

/* ---- routers ---- */

static void add_prefix(GArray *prefixes, uint32_t address, uint8_t length)
{
	struct prefix prefix = { .address = address, .length = length };

	g_array_append_val(prefixes, prefix);
}

static void add_floating(struct router *router, uint32_t address, uint32_t fixed, bool served)
{
	struct floating floating = { .address = address, .fixed = fixed, .served = served };

	g_array_append_val(router->floating, floating);
}

static struct router *make_router(void)
{
	struct router *router = router_new("qrouter-contract", "contract");

	router->external = router->gateway_served = true;
	router->gateway = GATEWAY;
	add_floating(router, FIP_A, FIXED_A, true);
	add_floating(router, FIP_B, FIXED_B, true);
	add_floating(router, FIP_GONE, A(10, 0, 1, 14), false);
	add_floating(router, FIP_STRAY, FIXED_STRAY, true);
	add_prefix(router->local, A(8, 8, 8, 0), 24);
	add_prefix(router->local, A(10, 0, 1, 0), 24);
	add_prefix(router->onlink, A(198, 51, 100, 0), 24);
	return router;
}

static struct router *make_router_without_snat(void)
{
	struct router *router = make_router();

	router->gateway = 0;
	router->gateway_served = false;
	return router;
}

static struct router *make_dvr_router(void)
{
	struct router *router = make_router_without_snat();

	router->dvr = true;
	return router;
}

/* ---- the fake and a real one, side by side ---- */

/* What a test is run with. */
struct setting {
	struct backend *(*backend)(void);
	struct router *(*router)(void);
};

struct pair {
	struct router *router;
	struct config *config;
	struct backend *backends[2];
	struct world *worlds[2];
	struct snapshot *found[2];
	GArray *carried; /* of struct reading: what generations counted that the real one has given up since */
	char *tag;
};

static const char *const configurations[] = {
	"",
	"[classes]\nfree = 203.0.113.0/24\npartner = 198.51.101.0/24, 8.8.4.4\n",
};

static void read_both(struct pair *pair)
{
	g_autoptr(GError) error = NULL;

	for (unsigned i = 0; i < 2; i++) {
		struct place place = world_place(pair->worlds[i]);

		snapshot_free(pair->found[i]);
		pair->found[i] = pair->backends[i]->read(pair->backends[i], &place, &error);
		g_assert_no_error(error);
	}
}

/* What the old generation counted, before it is removed. */
static void take_former(struct pair *pair, const struct plan *plan)
{
	struct place place = world_place(pair->worlds[1]);
	const struct snapshot *former = pair->found[1]->former;
	g_autoptr(GError) error = NULL;

	if (!former)
		return;
	g_array_append_vals(pair->carried, former->readings->data, former->readings->len);
	pair->backends[1]->bury(pair->backends[1], &place, plan, pair->found[1], &error);
	g_assert_no_error(error);
	read_both(pair);
	g_assert_null(pair->found[1]->former);
}

static void sync_one(struct pair *pair, unsigned i, const struct plan *plan)
{
	struct place place = world_place(pair->worlds[i]);
	g_autoptr(GError) error = NULL;
	enum change change;

	pair->backends[i]->compare(pair->backends[i], &place, plan, pair->found[i], &change, &error);
	g_assert_no_error(error);
	if (change == CHANGE_ANEW) {
		g_free(pair->tag);
		pair->tag = backend_new_tag();
	}
	pair->backends[i]->sync(pair->backends[i], &place, plan, pair->tag, pair->found[i], &error);
	g_assert_no_error(error);
}

static void sync_both(struct pair *pair)
{
	SCOPED(plan) *plan = plan_make(pair->router, pair->config->classes);

	for (unsigned i = 0; i < 2; i++)
		sync_one(pair, i, plan);
	read_both(pair);
	take_former(pair, plan);
}

static struct pair *pair_new(const struct setting *setting, const char *configuration)
{
	struct pair *pair = g_new0(struct pair, 1);
	g_autoptr(GError) error = NULL;

	pair->router = setting->router();
	pair->config = config_parse(configuration, strlen(configuration), "contract.conf", &error);
	g_assert_no_error(error);
	pair->backends[0] = fake_new();
	pair->backends[1] = setting->backend();
	pair->worlds[0] = world_new(pair->router, false);
	pair->worlds[1] = world_new(pair->router, true);
	pair->carried = g_array_new(FALSE, FALSE, sizeof(struct reading));
	pair->tag = backend_new_tag();
	read_both(pair);
	g_assert_null(pair->found[1]->generation);
	sync_both(pair);
	g_assert_cmpstr(pair->found[1]->generation, ==, pair->tag);
	return pair;
}

static void pair_free(struct pair *pair)
{
	for (unsigned i = 0; i < 2; i++) {
		struct place place = world_place(pair->worlds[i]);

		g_assert_true(pair->backends[i]->remove(pair->backends[i], &place, NULL)); /* some of it outlives a namespace */
		snapshot_free(pair->found[i]);
		pair->backends[i]->free(pair->backends[i]);
		world_free(pair->worlds[i]);
	}
	router_free(pair->router);
	config_free(pair->config);
	g_array_unref(pair->carried);
	g_free(pair->tag);
	g_free(pair);
}

static void send(struct pair *pair, const char *device, uint32_t source, uint32_t destination, uint64_t bytes)
{
	struct fake_packet packet = { .device = device, .source = source, .destination = destination, .bytes = bytes };

	for (unsigned i = 0; i < 2; i++)
		world_receive(pair->worlds[i], pair->backends[i], &packet);
}

static void send_everything(struct pair *pair)
{
	uint64_t bytes = 40;

	for (unsigned i = 0; i < G_N_ELEMENTS(devices); i++)
		for (unsigned s = 0; s < G_N_ELEMENTS(addresses); s++)
			for (unsigned d = 0; d < G_N_ELEMENTS(addresses); d++)
				send(pair, devices[i], addresses[s], addresses[d], 40 + bytes++ % 1400);
}

/* What the real one has counted for a key in all. */
static struct counts counted(const struct pair *pair, const struct meter_key *key)
{
	const struct counts *stands = snapshot_find(pair->found[1], key);
	struct counts all = stands ? *stands : (struct counts){ 0 };

	for (unsigned i = 0; i < pair->carried->len; i++) {
		const struct reading *reading = &g_array_index(pair->carried, struct reading, i);

		if (!meter_key_compare(&reading->key, key))
			counts_add(&all, &reading->counts);
	}
	return all;
}

/* Reads both and holds them to the same counters and values.  Returns the packets counted. */
static uint64_t assert_same(struct pair *pair)
{
	uint64_t packets = 0;

	read_both(pair);
	g_assert_true(pair->found[1]->intact);
	if (!pair->carried->len)
		g_assert_cmpuint(pair->found[0]->readings->len, ==, pair->found[1]->readings->len);
	for (unsigned i = 0; i < pair->found[0]->readings->len; i++) {
		const struct reading *fake = &g_array_index(pair->found[0]->readings, struct reading, i);
		struct counts real = counted(pair, &fake->key);
		g_autofree char *name = plan_counter_name(&fake->key, false);

		if (memcmp(&fake->counts, &real, sizeof real))
			g_test_message("%s: in %" G_GUINT64_FORMAT "/%" G_GUINT64_FORMAT " out %" G_GUINT64_FORMAT
			               "/%" G_GUINT64_FORMAT " (truth/kernel)", name, fake->counts.in_bytes,
			               real.in_bytes, fake->counts.out_bytes, real.out_bytes);
		g_assert_cmpmem(&fake->counts, sizeof fake->counts, &real, sizeof real);
		packets += fake->counts.in_packets + fake->counts.out_packets;
	}
	return packets;
}

/* ---- the clauses ---- */

static void test_every_packet(const void *data)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(configurations); i++) {
		struct pair *pair = pair_new(data, configurations[i]);

		send_everything(pair);
		g_assert_cmpuint(assert_same(pair), >, 50);
		pair_free(pair);
	}
}

static void test_standby_counts_nothing_under_a_stale_plan(const void *data)
{
	struct pair *pair = pair_new(data, "");

	for (unsigned i = 0; i < 2; i++)
		world_stand_by(pair->worlds[i], pair->router);
	send_everything(pair);
	g_assert_cmpuint(assert_same(pair), ==, 0);
	pair_free(pair);
}

static void test_nothing_changes_when_nothing_changed(const void *data)
{
	struct pair *pair = pair_new(data, "");
	SCOPED(plan) *plan = plan_make(pair->router, pair->config->classes);
	struct place place = world_place(pair->worlds[1]);
	g_autoptr(GError) error = NULL;
	enum change change = CHANGE_ANEW;
	uint64_t packets;

	send_everything(pair);
	packets = assert_same(pair);
	pair->backends[1]->compare(pair->backends[1], &place, plan, pair->found[1], &change, &error);
	g_assert_no_error(error);
	g_assert_cmpint(change, ==, CHANGE_NONE);
	sync_both(pair);
	g_assert_cmpuint(assert_same(pair), ==, packets);
	pair_free(pair);
}

static void attach(struct pair *pair, uint32_t address, uint8_t length)
{
	const GArray *local = pair->router->local;

	add_prefix(pair->router->local, address, length);
	for (unsigned i = 0; i < 2; i++)
		world_attach(pair->worlds[i], &g_array_index(local, struct prefix, local->len - 1));
}

/* Each change of the plan in turn, with all packets before and after: nobody else's counter moves. */
static void test_plans_change_and_no_count_is_lost(const void *data)
{
	struct pair *pair = pair_new(data, "");
	struct floating *first = &g_array_index(pair->router->floating, struct floating, 0);

	send_everything(pair);
	first->fixed = FIXED_C; /* hand-over */
	sync_both(pair);
	send_everything(pair);
	assert_same(pair);
	g_array_remove_index(pair->router->floating, 1); /* death: stays to be read */
	sync_both(pair);
	send_everything(pair);
	assert_same(pair);
	g_array_remove_index(pair->router->local, 0); /* a subnet goes */
	sync_both(pair);
	send_everything(pair);
	assert_same(pair);
	attach(pair, FIXED_STRAY & ~UINT32_C(0xff), 24); /* one comes, with a fixed address in it */
	sync_both(pair);
	send_everything(pair);
	assert_same(pair);
	config_free(pair->config);
	pair->config = config_parse(configurations[1], strlen(configurations[1]), "contract.conf",
	                            NULL); /* a class comes */
	sync_both(pair);
	send_everything(pair);
	assert_same(pair);
	config_free(pair->config);
	pair->config = config_parse("", 0, "contract.conf", NULL); /* and goes */
	sync_both(pair);
	send_everything(pair);
	assert_same(pair);
	pair_free(pair);
}

static void test_a_subnet_that_comes_is_found_to_be_missing(const void *data)
{
	struct pair *pair = pair_new(data, "");
	g_autoptr(GError) error = NULL;

	for (unsigned turn = 0; turn < 2; turn++) {
		SCOPED(plan) *plan = plan_make(pair->router, pair->config->classes);

		for (unsigned i = 0; i < 2; i++) {
			struct place place = world_place(pair->worlds[i]);
			bool lacks = !turn;

			pair->backends[i]->lacks(pair->backends[i], &place, plan, &lacks, &error);
			g_assert_no_error(error);
			g_assert_cmpint(lacks, ==, turn);
		}
		add_prefix(pair->router->local, A(192, 168, 7, 0), 24);
	}
	pair_free(pair);
}

static void test_the_dead_are_removed(const void *data)
{
	struct pair *pair = pair_new(data, "");
	g_autoptr(GError) error = NULL;
	unsigned before;

	g_array_remove_index(pair->router->floating, 1);
	sync_both(pair);
	before = pair->found[1]->readings->len;
	for (unsigned i = 0; i < 2; i++) {
		SCOPED(plan) *plan = plan_make(pair->router, pair->config->classes);
		struct place place = world_place(pair->worlds[i]);

		pair->backends[i]->bury(pair->backends[i], &place, plan, pair->found[i], &error);
		g_assert_no_error(error);
	}
	send_everything(pair);
	assert_same(pair);
	g_assert_cmpuint(pair->found[1]->readings->len, ==, before - 3);
	add_floating(pair->router, FIP_B, FIXED_B, true); /* born again, at 0 */
	sync_both(pair);
	send_everything(pair);
	assert_same(pair);
	pair_free(pair);
}

static void test_stop_keeps_the_counters_and_remove_leaves_nothing(const void *data)
{
	struct pair *pair = pair_new(data, "");
	g_autofree char *ruleset = NULL;
	g_autoptr(GError) error = NULL;

	send_everything(pair);
	for (unsigned i = 0; i < 2; i++) {
		struct place place = world_place(pair->worlds[i]);

		g_assert_true(pair->backends[i]->stop(pair->backends[i], &place, &error));
	}
	send_everything(pair);
	read_both(pair);
	g_assert_cmpmem(pair->found[0]->readings->data, pair->found[0]->readings->len * sizeof(struct reading),
	                pair->found[1]->readings->data, pair->found[1]->readings->len * sizeof(struct reading));
	for (unsigned i = 0; i < 2; i++) {
		struct place place = world_place(pair->worlds[i]);

		g_assert_true(pair->backends[i]->remove(pair->backends[i], &place, &error));
		g_assert_true(pair->backends[i]->remove(pair->backends[i], &place, &error)); /* twice does no harm */
	}
	ruleset = world_ruleset(pair->worlds[1]);
	g_assert_cmpstr(ruleset, ==, "");
	g_assert_false(g_file_test("/sys/fs/bpf/fipmeter", G_FILE_TEST_EXISTS));
	pair_free(pair);
}

static void test_the_kernel_here_passes_the_probe(const void *data)
{
	struct backend *backend = ((const struct setting *)data)->backend();
	g_autoptr(GError) error = NULL;

	backend_probe(backend, false, &error);
	g_assert_no_error(error);
	backend->free(backend);
}

/* ---- who is held to them ---- */

static struct backend *make_iptables(void)
{
	return backend_iptables_new(NULL);
}

static struct backend *make_ebpf(void)
{
	return backend_ebpf_new("/run/netns", "link");
}

static struct backend *make_ebpf_rule(void)
{
	return backend_ebpf_new("/run/netns", "rule");
}

static const struct {
	const char *name;
	struct backend *(*make)(void);
} backends[] = {
	{ "nft", backend_nft_new },
	{ "iptables", make_iptables },
	{ "ebpf", make_ebpf },
	{ "ebpf-rule", make_ebpf_rule },
};

static const struct {
	const char *name;
	void (*test)(const void *setting);
	struct router *(*router)(void);
} clauses[] = {
	{ "every-packet/snat", test_every_packet, make_router },
	{ "every-packet/no-snat", test_every_packet, make_router_without_snat },
	{ "every-packet/dvr", test_every_packet, make_dvr_router },
	{ "standby", test_standby_counts_nothing_under_a_stale_plan, make_router },
	{ "idempotent", test_nothing_changes_when_nothing_changed, make_router },
	{ "changes", test_plans_change_and_no_count_is_lost, make_router },
	{ "lacks", test_a_subnet_that_comes_is_found_to_be_missing, make_router },
	{ "dead", test_the_dead_are_removed, make_router },
	{ "stop-and-remove", test_stop_keeps_the_counters_and_remove_leaves_nothing, make_router },
	{ "probe", test_the_kernel_here_passes_the_probe, make_router },
};

static bool is_built(struct backend *(*make)(void))
{
	struct backend *backend = make();

	if (backend)
		backend->free(backend);
	return backend;
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	if (geteuid()) {
		g_printerr("contract: needs root, for namespaces of its own\n");
		return 1;
	}
	world_enter();
	for (unsigned i = 0; i < G_N_ELEMENTS(backends); i++)
		for (unsigned j = 0; is_built(backends[i].make) && j < G_N_ELEMENTS(clauses); j++) {
			struct setting *setting = g_new(struct setting, 1);
			g_autofree char *path = g_strdup_printf("/contract/%s/%s", backends[i].name, clauses[j].name);
			*setting = (struct setting){ .backend = backends[i].make, .router = clauses[j].router };
			g_test_add_data_func_full(path, setting, clauses[j].test, g_free);
		}
	return g_test_run();
}

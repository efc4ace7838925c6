/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Plans and the names of counters.
 */
#include "core/plan.h"

#include <string.h>

#define A(a, b, c, d) ((uint32_t)(a) << 24 | (b) << 16 | (c) << 8 | (d))

static struct router *make_router(void)
{
	struct router *router = router_new("qrouter-one", "one");
	struct floating floating[] = {
		{ .address = A(198, 51, 100, 101), .fixed = A(10, 0, 1, 11), .served = true },
		{ .address = A(198, 51, 100, 102), .fixed = A(10, 0, 1, 12), .served = false },
	};
	struct prefix local[] = { { A(10, 0, 0, 0), 16 }, { A(10, 0, 1, 0), 24 } };

	router->external = router->gateway_served = true;
	router->gateway = A(198, 51, 100, 71);
	g_array_append_vals(router->floating, floating, 2);
	g_array_append_vals(router->local, local, 2);
	return router;
}

static struct plan *plan_of(struct router *router)
{
	struct classes *classes = classes_new();
	struct plan *plan = plan_make(router, classes);

	classes_free(classes);
	return plan;
}

static void test_one_meter_an_address_and_class(void)
{
	SCOPED(router) *router = make_router();
	SCOPED(plan) *plan = plan_of(router);
	struct meter_key key = { KIND_FLOATING, A(198, 51, 100, 102), g_intern_string("free") };

	g_assert_cmpuint(plan->meters->len, ==, 9);
	g_assert_nonnull(plan_find_meter(plan, &key));
	g_assert_cmpuint(plan_find_meter(plan, &key)->fixed, ==, A(10, 0, 1, 12));
	key.address++;
	g_assert_null(plan_find_meter(plan, &key));
	g_assert_cmpuint(plan->local->len, ==, 1);
	g_assert_false(plan->standby);
	g_assert_false(plan_has_unattributed(plan));
}

static void test_meters_one_after_the_other(void)
{
	SCOPED(router) *router = make_router();
	SCOPED(plan) *plan = plan_of(router);
	struct meter_key stranger = { KIND_FLOATING, A(198, 51, 100, 1), g_intern_string("free") };
	unsigned at = 0;

	for (unsigned round = 0; round < 2; round++) /* the second one goes back to the first */
		for (unsigned i = 0; i < plan->meters->len; i += 1 + round) {
			const struct planned_meter *meter = &g_array_index(plan->meters, struct planned_meter, i);

			g_assert_true(plan_find_next(plan, &meter->key, &at) == meter);
			g_assert_null(plan_find_next(plan, &stranger, &at));
		}
}

static void test_router_without_external_device_counts_nothing(void)
{
	SCOPED(router) *router = make_router();
	SCOPED(plan) *plan = NULL;

	router->external = false;
	plan = plan_of(router);
	g_assert_cmpuint(plan->meters->len, ==, 0);
}

static void test_router_without_snat_has_unattributed(void)
{
	SCOPED(router) *router = make_router();
	SCOPED(plan) *plan = NULL, *dvr = NULL;

	router->gateway = 0;
	plan = plan_of(router);
	g_assert_true(plan_has_unattributed(plan));
	router->dvr = true;
	dvr = plan_of(router);
	g_assert_false(plan_has_unattributed(dvr));
}

static void test_router_that_serves_nothing_is_standby(void)
{
	SCOPED(router) *router = make_router();
	SCOPED(plan) *plan = NULL;

	router->gateway_served = g_array_index(router->floating, struct floating, 0).served = false;
	plan = plan_of(router);
	g_assert_true(plan->standby);
	g_assert_cmpuint(plan->meters->len, ==, 9);
}

static void test_counter_names_there_and_back(void)
{
	static const struct {
		enum kind kind;
		uint32_t address;
		const char *in, *out;
	} cases[] = {
		{ KIND_FLOATING, A(198, 51, 100, 7), "traffic_198.51.100.7_vm_in_my_class",
		  "traffic_198.51.100.7_vm_out_my_class" },
		{ KIND_GATEWAY, A(198, 51, 100, 7), "traffic_snat_198.51.100.7_in_my_class",
		  "traffic_snat_198.51.100.7_out_my_class" },
		{ KIND_UNATTRIBUTED, 0, "traffic_unattributed_in_my_class", "traffic_unattributed_out_my_class" },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct meter_key key = { cases[i].kind, cases[i].address, g_intern_string("my_class") }, back;
		g_autofree char *in = plan_counter_name(&key, false), *out = plan_counter_name(&key, true);
		bool is_out;

		g_assert_cmpstr(in, ==, cases[i].in);
		g_assert_cmpstr(out, ==, cases[i].out);
		g_assert_true(plan_counter_parse(in, &back, &is_out) && !is_out);
		g_assert_cmpint(meter_key_compare(&key, &back), ==, 0);
		g_assert_true(plan_counter_parse(out, &back, &is_out) && is_out);
	}
}

static void test_strangers_are_no_counters(void)
{
	static const char *const names[] = {
		"", "traffic", "traffic_", "traffic_1.2.3_vm_in_free", "traffic_1.2.3.4_in_free", "traffic_1.2.3.4_vm_in_",
		"traffic_0.0.0.0_vm_in_free", "traffic_1.2.3.4_vm_sideways_free", "traffic_snat_1.2.3.4_vm_in_free",
		"traffic_1.2.3.4_vm_in_Free", "traffic_1.2.3.4_vm_in_a_class_with_too_long_a_name", "traffic_snat_",
		"traffic_unattributed_", "traffic_unattributed_in", "Traffic_unattributed_in_free",
	};
	struct meter_key key;
	bool out;

	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++)
		g_assert_false(plan_counter_parse(names[i], &key, &out));
}

/* .102 is not there at first; .101 always was. */
static void test_addresses_that_come_after_the_look(void)
{
	SCOPED(router) *router = make_router();
	SCOPED(plan) *plan = plan_of(router);
	SCOPED(plan) *newer = NULL;
	SCOPED(snapshot) *found = snapshot_new();
	struct reading counted = { .key = { KIND_FLOATING, A(198, 51, 100, 102), g_intern_string("free") } };
	unsigned came = 0;

	found->generation = g_strdup("tag");
	plan->known_at.boot_us = 1;
	g_assert_true(plan_awaits_address(plan));
	plan_mark_arrivals(plan, router, found);
	for (unsigned i = 0; i < plan->meters->len; i++)
		g_assert_false(g_array_index(plan->meters, struct planned_meter, i).came);
	g_array_index(router->floating, struct floating, 1).served = true;
	g_array_append_val(found->readings, counted); /* one of its counters stood before */
	plan_mark_arrivals(plan, router, found);
	for (unsigned i = 0; i < plan->meters->len; i++)
		came += g_array_index(plan->meters, struct planned_meter, i).came;
	g_assert_cmpuint(came, ==, plan->classes->len - 1);
	g_array_index(router->floating, struct floating, 1).served = false;
	newer = plan_of(router);
	newer->known_at.boot_us = 2;
	plan_keep_arrivals(newer, plan);
	for (unsigned i = 0; i < plan->meters->len; i++) {
		const struct planned_meter *meter = &g_array_index(newer->meters, struct planned_meter, i);

		g_assert_cmpint(meter->came, ==, g_array_index(plan->meters, struct planned_meter, i).came);
		g_assert_cmpint(plan_came_after(newer, meter)->boot_us, ==, meter->came ? 1 : 2);
	}
	g_array_index(router->floating, struct floating, 1).served = true;
	plan_mark_arrivals(newer, router, found); /* it was not there at the newer look either */
	for (unsigned i = 0; i < newer->meters->len; i++)
		g_assert_cmpint(plan_came_after(newer, &g_array_index(newer->meters, struct planned_meter, i))->boot_us, ==, 2);
}

static void test_router_names(void)
{
	g_assert_cmpstr(router_name_of("qrouter-2f6e"), ==, "2f6e");
	g_assert_cmpstr(router_name_of("snat-2f6e-7a"), ==, "2f6e-7a");
	g_assert_cmpstr(router_name_of("other"), ==, "other");
}

static void test_counters_of_strangers(void)
{
	SCOPED(router) *router = make_router();
	SCOPED(plan) *plan = plan_of(router);
	SCOPED(snapshot) *found = snapshot_new();
	struct reading stranger = { .key = { KIND_GATEWAY, A(203, 0, 113, 9), g_intern_string("free") } };

	for (unsigned i = 0; i < plan->meters->len; i++) {
		struct reading reading = { .key = g_array_index(plan->meters, struct planned_meter, i).key };

		g_array_append_val(found->readings, reading);
	}
	g_array_append_val(found->readings, stranger);
	g_array_sort(found->readings, snapshot_compare);
	plan_keep_strangers(plan, found);
	g_assert_cmpuint(found->readings->len, ==, 1);
	g_assert_true(meter_key_equal(&g_array_index(found->readings, struct reading, 0).key, &stranger.key));
}

static bool is_lent(const struct plan *plan, uint32_t address)
{
	bool any = false;

	for (unsigned i = 0; i < plan->meters->len; i++) {
		const struct planned_meter *meter = &g_array_index(plan->meters, struct planned_meter, i);

		any |= meter->key.address == address && meter->lent;
	}
	return any;
}

static void test_addresses_that_were_lent(void)
{
	SCOPED(router) *router = make_router();
	SCOPED(plan) *first = plan_of(router);
	SCOPED(plan) *between = NULL;
	SCOPED(plan) *last = NULL;
	struct floating *floating = &g_array_index(router->floating, struct floating, 0);
	uint32_t other = g_array_index(router->floating, struct floating, 1).address;

	floating->fixed++;
	between = plan_of(router);
	plan_keep_lent(between, first);
	g_assert_true(is_lent(between, floating->address));
	g_assert_false(is_lent(between, other));
	last = plan_of(router); /* the same again: it was lent all the same */
	plan_keep_lent(last, between);
	g_assert_true(is_lent(last, floating->address));
	plan_forget_lent(last);
	g_assert_false(is_lent(last, floating->address));
}

static struct floating *second_floating(struct router *router)
{
	return &g_array_index(router->floating, struct floating, 1);
}

/* Each change makes the kernel count in another way, but that an address is there by now. */
static void test_plans_that_count_alike(void)
{
	SCOPED(router) *router = make_router();
	SCOPED(plan) *first = plan_of(router);
	struct prefix subnet = { A(10, 1, 0, 0), 16 }, onlink = { A(203, 0, 113, 0), 24 };

	for (unsigned change = 0; change < 7; change++) {
		SCOPED(router) *other = make_router();
		SCOPED(plan) *second = NULL;

		if (change == 1)
			second_floating(other)->served = true;
		else if (change == 2)
			second_floating(other)->fixed++;
		else if (change == 3)
			second_floating(other)->address++;
		else if (change == 4)
			other->gateway++;
		else if (change == 5)
			g_array_append_val(other->local, subnet);
		else if (change == 6)
			g_array_append_val(other->onlink, onlink);
		second = plan_of(other);
		g_assert_cmpint(plan_is_same(first, second), ==, change < 2);
		g_assert_cmpint(plan_is_same(second, first), ==, change < 2);
	}
}

static void assert_near(const struct plan *plan, const char *octets)
{
	g_autoptr(GArray) near = plan_near(plan);
	g_autoptr(GString) text = g_string_new(NULL);

	for (unsigned i = 0; i < near->len; i++) {
		uint32_t address = g_array_index(near, uint32_t, i);

		g_assert_cmpuint(address & 0xffffff, ==, 0);
		g_string_append_printf(text, "%s%u", i ? " " : "", address >> 24);
	}
	g_assert_cmpstr(text->str, ==, octets);
}

/* Classes, also those that an octet is not wide enough for, local prefixes, public addresses. */
static void test_what_is_near(void)
{
	static const struct prefix wide = { A(60, 0, 0, 0), 6 }, narrow = { A(192, 0, 2, 7), 32 }, onlink = { A(198, 51, 100, 0), 24 };
	SCOPED(router) *router = make_router();
	struct classes *classes = classes_new();
	struct plan *plan = plan_make(router, classes);

	assert_near(plan, "10 169 198 224 225 226 227 228 229 230 231 232 233 234 235 236 237 238 239 255");
	plan_free(plan);
	g_array_append_val(router->onlink, onlink);
	g_assert_true(classes_add(classes, "partner", &wide, NULL));
	g_assert_true(classes_add(classes, CLASS_FREE, &narrow, NULL));
	router->gateway = A(203, 0, 113, 1);
	plan = plan_make(router, classes);
	assert_near(plan, "10 60 61 62 63 169 192 198 203 224 225 226 227 228 229 230 231 232 233 234 235 236 237 238 239 255");
	plan_free(plan);
	classes_free(classes);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/plan/meters", test_one_meter_an_address_and_class);
	g_test_add_func("/plan/in-turn", test_meters_one_after_the_other);
	g_test_add_func("/plan/no-external", test_router_without_external_device_counts_nothing);
	g_test_add_func("/plan/no-snat", test_router_without_snat_has_unattributed);
	g_test_add_func("/plan/standby", test_router_that_serves_nothing_is_standby);
	g_test_add_func("/plan/names", test_counter_names_there_and_back);
	g_test_add_func("/plan/strangers", test_strangers_are_no_counters);
	g_test_add_func("/plan/arrivals", test_addresses_that_come_after_the_look);
	g_test_add_func("/plan/counters-of-strangers", test_counters_of_strangers);
	g_test_add_func("/plan/router-names", test_router_names);
	g_test_add_func("/plan/lent", test_addresses_that_were_lent);
	g_test_add_func("/plan/alike", test_plans_that_count_alike);
	g_test_add_func("/plan/near", test_what_is_near);
	return g_test_run();
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The prefixes of the back end ebpf: looked up as the kernel does, they say of each address what the plan says.
 */
#include "backend/ebpf_layout.h"

#include "core/classes.h"
#include "core/plan.h"

static void add(GArray *prefixes, uint32_t address, uint8_t length)
{
	struct prefix prefix = { .address = address, .length = length };

	g_array_append_val(prefixes, prefix);
}

/* What the longest of the prefixes that hold the address says. */
static const struct ebpf_prefix *longest(const struct ebpf_layout *layout, uint32_t address)
{
	const struct ebpf_prefix *found = NULL;

	for (unsigned i = 0; i < layout->prefixes->len; i++) {
		const struct ebpf_prefix *entry = &g_array_index(layout->prefixes, struct ebpf_prefix, i);

		if (prefix_contains(&entry->prefix, address) && (!found || entry->prefix.length > found->prefix.length))
			found = entry;
	}
	return found;
}

static void assert_address(const struct plan *plan, const struct ebpf_layout *layout, uint32_t address)
{
	const struct ebpf_prefix *found = longest(layout, address);
	uint32_t local = 0;
	unsigned at = 0;

	while (g_array_index(plan->ranges, struct class_range, at).last < address)
		at++;
	for (unsigned i = 0; i < plan->local->len; i++)
		if (prefix_contains(&g_array_index(plan->local, struct prefix, i), address))
			local = g_array_index(plan->local, struct prefix, i).length + 1;
	g_assert_nonnull(found);
	g_assert_cmpstr(found->class_name, ==, g_array_index(plan->ranges, struct class_range, at).class_name);
	g_assert_cmpuint(found->local, ==, local);
}

/* Both sides of every bound, and some in between. */
static void assert_everywhere(const struct plan *plan)
{
	SCOPED(ebpf_layout) *layout = ebpf_layout_new(plan);

	for (unsigned i = 0; i < layout->prefixes->len; i++) {
		const struct prefix *prefix = &g_array_index(layout->prefixes, struct ebpf_prefix, i).prefix;

		for (int d = -2; d <= 2; d++) {
			assert_address(plan, layout, prefix->address + d);
			assert_address(plan, layout, prefix_last(prefix) + d);
		}
	}
	for (unsigned i = 0; i < 1000; i++)
		assert_address(plan, layout, g_test_rand_int());
}

static void test_prefixes_say_what_the_plan_says(void)
{
	for (unsigned round = 0; round < 200; round++) {
		SCOPED(router) *router = router_new("qrouter-x", "x");
		struct classes *classes = classes_new();
		SCOPED(plan) *plan = NULL;

		router->external = true;
		for (unsigned i = 0; i < round % 8; i++) {
			uint8_t length = g_test_rand_int_range(1, 33);
			uint32_t address = (uint32_t)g_test_rand_int() & (uint32_t)(~UINT64_C(0) << (32 - length));
			struct prefix prefix = { .address = address, .length = length };

			add(i % 2 ? router->local : router->onlink, address, length);
			if (i % 3 == 0) /* and one inside, or around, of another class */
				classes_add(classes, i % 2 ? "free" : "partner", &prefix, NULL);
		}
		plan = plan_make(router, classes);
		assert_everywhere(plan);
		classes_free(classes);
	}
}

static void test_the_defaults_are_a_handful(void)
{
	SCOPED(router) *router = router_new("qrouter-x", "x");
	struct classes *classes = classes_new();
	SCOPED(plan) *plan = NULL;
	SCOPED(ebpf_layout) *layout = NULL;

	router->external = true;
	add(router->local, 0x0a000100, 24);
	add(router->onlink, 0xc6336400, 24);
	plan = plan_make(router, classes);
	layout = ebpf_layout_new(plan);
	/* everything, the subnet, link-local, the external subnet, multicast, broadcast */
	g_assert_cmpuint(layout->prefixes->len, ==, 6);
	classes_free(classes);
}

static void test_a_fixed_address_that_two_share_is_the_lowers(void)
{
	SCOPED(router) *router = router_new("qrouter-x", "x");
	struct floating floating[] = { { .address = 5, .fixed = 9 }, { .address = 7, .fixed = 9 } };
	struct classes *classes = classes_new();
	SCOPED(plan) *plan = NULL;
	SCOPED(ebpf_layout) *layout = NULL;

	router->external = true;
	g_array_append_vals(router->floating, floating, 2);
	plan = plan_make(router, classes);
	layout = ebpf_layout_new(plan);
	g_assert_cmpuint(layout->addresses->len, ==, 3);
	for (unsigned i = 0; i < 3; i++) {
		const struct ebpf_address *entry = &g_array_index(layout->addresses, struct ebpf_address, i);

		g_assert_cmpuint(entry->owner, ==, entry->kind == METER_FIXED ? 5 : entry->address);
	}
	classes_free(classes);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/ebpf-layout/prefixes", test_prefixes_say_what_the_plan_says);
	g_test_add_func("/ebpf-layout/defaults", test_the_defaults_are_a_handful);
	g_test_add_func("/ebpf-layout/shared-fixed", test_a_fixed_address_that_two_share_is_the_lowers);
	return g_test_run();
}

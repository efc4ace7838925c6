/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Classes: the flattened ranges against a naive search for the longest prefix.
 */
#include "core/classes.h"

#include <string.h>

static struct prefix parse(const char *text)
{
	struct prefix prefix;

	g_assert_true(prefix_parse(text, &prefix, NULL));
	return prefix;
}

/* "NAME PREFIX, NAME PREFIX"; the name onlink goes into onlink. */
static struct classes *classes_from(const char *text, GArray *onlink)
{
	struct classes *classes = classes_new();
	g_auto(GStrv) items = g_strsplit(text, ", ", -1);

	for (unsigned i = 0; items[i]; i++) {
		g_auto(GStrv) words = g_strsplit(items[i], " ", 2);
		struct prefix prefix = parse(words[1]);

		if (g_str_equal(words[0], "onlink"))
			g_array_append_val(onlink, prefix);
		else
			g_assert_true(classes_add(classes, words[0], &prefix, NULL));
	}
	return classes;
}

static const char *class_of(const GArray *ranges, uint32_t address)
{
	for (unsigned i = 0; i < ranges->len; i++) {
		const struct class_range *range = &g_array_index(ranges, struct class_range, i);

		if (address >= range->first && address <= range->last)
			return range->class_name;
	}
	return NULL;
}

static void assert_whole(const GArray *ranges)
{
	const struct class_range *range = &g_array_index(ranges, struct class_range, 0);

	g_assert_cmpuint(ranges->len, >, 0);
	g_assert_cmphex(range->first, ==, 0);
	for (unsigned i = 0; i < ranges->len; i++, range++) {
		g_assert_cmphex(range->first, <=, range->last);
		g_assert_true(range->class_name == g_intern_string(range->class_name));
		if (i + 1 == ranges->len)
			break;
		g_assert_cmphex(range->last, <, UINT32_MAX);
		g_assert_cmphex(range->last + 1, ==, range[1].first);
		g_assert_true(range->class_name != range[1].class_name);
	}
	g_assert_cmphex(range->last, ==, UINT32_MAX);
}

static void test_table(void)
{
	static const struct {
		const char *classes, *address, *right;
	} cases[] = {
		{ "", "8.8.8.8", "internet" },
		{ "", "0.0.0.0", "internet" },
		{ "", "169.253.255.255", "internet" },
		{ "", "169.254.169.254", "free" },
		{ "", "224.0.0.18", "free" },
		{ "", "239.255.255.255", "free" },
		{ "", "240.0.0.0", "internet" },
		{ "", "255.255.255.254", "internet" },
		{ "", "255.255.255.255", "free" },
		{ "onlink 198.51.100.0/24", "198.51.100.7", "cloud" },
		{ "onlink 198.51.100.0/24", "198.51.101.7", "internet" },
		/* What the operator says of the cloud replaces what is on-link; other classes do not. */
		{ "onlink 198.51.100.0/24, cloud 203.0.113.0/24", "198.51.100.7", "internet" },
		{ "onlink 198.51.100.0/24, cloud 203.0.113.0/24", "203.0.113.7", "cloud" },
		{ "onlink 198.51.100.0/24, free 203.0.113.0/24", "198.51.100.7", "cloud" },
		/* Longest wins, whatever class and whoever says it. */
		{ "onlink 198.51.100.0/24, free 198.51.0.0/16", "198.51.100.7", "cloud" },
		{ "free 198.51.0.0/16, partner 198.51.100.0/24, internet 198.51.100.7/32", "198.51.100.7", "internet" },
		{ "free 198.51.0.0/16, partner 198.51.100.0/24, internet 198.51.100.7/32", "198.51.100.8", "partner" },
		{ "free 198.51.0.0/16, partner 198.51.100.0/24, internet 198.51.100.7/32", "198.51.101.0", "free" },
		/* Equal: the operator beats a default. */
		{ "partner 169.254.0.0/16", "169.254.169.254", "partner" },
		{ "partner 0.0.0.0/0", "8.8.8.8", "partner" },
		{ "partner 0.0.0.0/0", "224.0.0.1", "free" },
		{ "onlink 198.51.100.0/24, partner 198.51.100.0/24", "198.51.100.7", "partner" },
		{ "onlink 198.51.100.0/24, internet 198.51.100.0/24", "198.51.100.7", "internet" },
		{ "onlink 0.0.0.0/0", "8.8.8.8", "internet" },
		{ "partner 255.255.255.255/32", "255.255.255.255", "partner" },
		{ "partner 0.0.0.0/32", "0.0.0.0", "partner" },
		{ "partner 0.0.0.0/32", "0.0.0.1", "internet" },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GArray) onlink = g_array_new(FALSE, TRUE, sizeof(struct prefix));
		struct classes *classes = classes_from(cases[i].classes, onlink);
		g_autoptr(GArray) ranges = classes_flatten(classes, onlink);

		g_test_message("'%s' of %s", cases[i].classes, cases[i].address);
		assert_whole(ranges);
		g_assert_cmpstr(class_of(ranges, parse(cases[i].address).address), ==, cases[i].right);
		classes_free(classes);
	}
}

static void test_defaults_alone(void)
{
	struct classes *classes = classes_new();
	g_autoptr(GArray) ranges = classes_flatten(classes, NULL);

	assert_whole(ranges);
	/* internet, 169.254/16, internet, 224/4, 240/4 but the last, broadcast */
	g_assert_cmpuint(ranges->len, ==, 6);
	classes_free(classes);
}

static void test_neighbours_are_merged(void)
{
	g_autoptr(GArray) onlink = g_array_new(FALSE, TRUE, sizeof(struct prefix));
	struct classes *classes = classes_from("free 10.0.0.0/25, free 10.0.0.128/25, free 10.0.1.0/24, "
	                                       "internet 10.0.2.0/24, free 10.0.1.9", onlink);
	g_autoptr(GArray) ranges = classes_flatten(classes, onlink);

	assert_whole(ranges);
	g_assert_cmpuint(ranges->len, ==, 8);
	g_assert_cmphex(g_array_index(ranges, struct class_range, 1).first, ==, 0x0a000000);
	g_assert_cmphex(g_array_index(ranges, struct class_range, 1).last, ==, 0x0a0001ff);
	classes_free(classes);
}

static void test_names(void)
{
	g_autoptr(GArray) onlink = g_array_new(FALSE, TRUE, sizeof(struct prefix));
	struct classes *classes = classes_from("peering 10.1.0.0/16, backup 10.2.0.0/16, peering 10.3.0.0/16", onlink);
	static const char *const right[] = { "backup", "cloud", "free", "internet", "peering" };
	g_autoptr(GPtrArray) names = classes_names(classes);

	g_assert_cmpuint(names->len, ==, G_N_ELEMENTS(right));
	for (unsigned i = 0; i < names->len; i++) {
		g_assert_cmpstr(names->pdata[i], ==, right[i]);
		g_assert_true(names->pdata[i] == g_intern_string(right[i]));
	}
	classes_free(classes);
}

static void test_valid_names(void)
{
	static const char *const good[] = { "a", "internet", "a_1", "abcdefghijklmno" };
	static const char *const bad[] = {
		"", "1a", "_a", "A", "aB", "a-b", "a b", "abcdefghijklmnop", "\xc3\xa4", "a.",
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(good); i++)
		g_assert_true(class_name_is_valid(good[i]));
	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++)
		g_assert_false(class_name_is_valid(bad[i]));
}

static void test_one_prefix_in_two_classes(void)
{
	struct classes *classes = classes_new();
	struct prefix prefix = parse("10.0.0.0/8");
	g_autoptr(GError) error = NULL;

	g_assert_true(classes_add(classes, "free", &prefix, NULL));
	g_assert_false(classes_add(classes, "peering", &prefix, &error));
	g_assert_nonnull(strstr(error->message, "10.0.0.0/8"));
	g_assert_nonnull(strstr(error->message, "free"));
	classes_free(classes);
}

/* ---- against a naive search ---- */

struct rule {
	struct prefix prefix;
	const char *class_name;
	int rank; /* of equal prefixes the highest wins */
};

static void add_rule(GArray *rules, const char *name, struct prefix prefix, int rank)
{
	struct rule rule = { .prefix = prefix, .class_name = name, .rank = rank };

	g_array_append_val(rules, rule);
}

static const char *naive_class_of(const GArray *rules, bool with_onlink, uint32_t address)
{
	const struct rule *best = NULL;

	for (unsigned i = 0; i < rules->len; i++) {
		const struct rule *rule = &g_array_index(rules, struct rule, i);

		if ((rule->rank == 0 && !with_onlink) || !prefix_contains(&rule->prefix, address))
			continue;
		if (!best || rule->prefix.length > best->prefix.length ||
		    (rule->prefix.length == best->prefix.length && rule->rank > best->rank))
			best = rule;
	}
	return best->class_name;
}

/* Crowded into a few corners, so that much is nested, equal and at the very ends. */
static struct prefix random_prefix(void)
{
	static const uint32_t corners[] = { 0, 0x0a000000, 0xa9fe0000, 0xdfffff00, 0xe0000000, 0xffffff00 };
	uint32_t address = corners[g_test_rand_int_range(0, G_N_ELEMENTS(corners))];
	unsigned length = (unsigned)g_test_rand_int_range(0, 33);

	if (g_test_rand_bit())
		length = (unsigned)g_test_rand_int_range(23, 33);
	address |= (uint32_t)g_test_rand_int_range(0, 256);
	return (struct prefix){ length ? address & (0xffffffffu << (32 - length)) : 0, (uint8_t)length };
}

static void check_around(const GArray *ranges, const GArray *rules, bool with_onlink, uint32_t address)
{
	for (int step = -1; step <= 1; step++)
		g_assert_cmpstr(class_of(ranges, address + (uint32_t)step), ==,
		                naive_class_of(rules, with_onlink, address + (uint32_t)step));
}

static void test_random(void)
{
	static const char *const names[] = { "free", "internet", "peering", "cloud" };

	for (unsigned round = 0; round < 2000; round++) {
		g_autoptr(GArray) onlink = g_array_new(FALSE, TRUE, sizeof(struct prefix));
		g_autoptr(GArray) rules = g_array_new(FALSE, TRUE, sizeof(struct rule));
		g_autoptr(GArray) ranges = NULL;
		struct classes *classes = classes_new();
		bool with_onlink = true;

		add_rule(rules, "internet", parse("0.0.0.0/0"), 1);
		add_rule(rules, "free", parse("169.254.0.0/16"), 1);
		add_rule(rules, "free", parse("224.0.0.0/4"), 1);
		add_rule(rules, "free", parse("255.255.255.255"), 1);
		for (int i = g_test_rand_int_range(0, 8); i > 0; i--) {
			struct prefix prefix = random_prefix();

			add_rule(rules, "cloud", prefix, 0);
			g_array_append_val(onlink, prefix);
		}
		for (int i = g_test_rand_int_range(0, 20); i > 0; i--) {
			struct prefix prefix = random_prefix();
			const char *name = names[g_test_rand_int_range(0, round % 2 ? 3 : 4)];

			if (!classes_add(classes, name, &prefix, NULL))
				continue;
			add_rule(rules, name, prefix, 2);
			with_onlink = with_onlink && !g_str_equal(name, "cloud");
		}
		ranges = classes_flatten(classes, onlink);
		assert_whole(ranges);
		for (unsigned i = 0; i < rules->len; i++) {
			const struct prefix *prefix = &g_array_index(rules, struct rule, i).prefix;

			check_around(ranges, rules, with_onlink, prefix_first(prefix));
			check_around(ranges, rules, with_onlink, prefix_last(prefix));
		}
		classes_free(classes);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/classes/table", test_table);
	g_test_add_func("/classes/defaults_alone", test_defaults_alone);
	g_test_add_func("/classes/neighbours_are_merged", test_neighbours_are_merged);
	g_test_add_func("/classes/names", test_names);
	g_test_add_func("/classes/valid_names", test_valid_names);
	g_test_add_func("/classes/one_prefix_in_two_classes", test_one_prefix_in_two_classes);
	g_test_add_func("/classes/random", test_random);
	return g_test_run();
}

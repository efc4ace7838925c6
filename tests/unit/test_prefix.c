/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Prefixes: text, borders, order, and the disjoint form.
 */
#include "core/prefix.h"

#include <string.h>

static void test_good(void)
{
	static const struct {
		const char *text, *back;
		uint32_t first, last;
	} cases[] = {
		{ "192.0.2.0/24", "192.0.2.0/24", 0xc0000200, 0xc00002ff },
		{ "192.0.2.1", "192.0.2.1/32", 0xc0000201, 0xc0000201 },
		{ "192.0.2.1/32", "192.0.2.1/32", 0xc0000201, 0xc0000201 },
		{ "192.0.2.2/31", "192.0.2.2/31", 0xc0000202, 0xc0000203 },
		{ "0.0.0.0/0", "0.0.0.0/0", 0, 0xffffffff },
		{ "0.0.0.0", "0.0.0.0/32", 0, 0 },
		{ "128.0.0.0/1", "128.0.0.0/1", 0x80000000, 0xffffffff },
		{ "255.255.255.255", "255.255.255.255/32", 0xffffffff, 0xffffffff },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_autofree char *back = NULL;
		struct prefix prefix;

		g_test_message("%s", cases[i].text);
		g_assert_true(prefix_parse(cases[i].text, &prefix, &error));
		g_assert_no_error(error);
		back = prefix_to_string(&prefix);
		g_assert_cmpstr(back, ==, cases[i].back);
		g_assert_cmphex(prefix_first(&prefix), ==, cases[i].first);
		g_assert_cmphex(prefix_last(&prefix), ==, cases[i].last);
		g_assert_true(prefix_contains(&prefix, cases[i].first));
		g_assert_true(prefix_contains(&prefix, cases[i].last));
		g_assert_true(!cases[i].first || !prefix_contains(&prefix, cases[i].first - 1));
		g_assert_true(cases[i].last == UINT32_MAX || !prefix_contains(&prefix, cases[i].last + 1));
	}
}

static void test_bad(void)
{
	static const struct {
		const char *text, *told; /* told: a part of the message */
	} cases[] = {
		{ "", "192.0.2.0/24" }, { "/24", "192.0.2.0/24" }, { "192.0.2.0/", "192.0.2.0/24" },
		{ "192.0.2.0/33", "192.0.2.0/24" }, { "192.0.2.0/-1", "192.0.2.0/24" },
		{ "192.0.2.0/ 4", "192.0.2.0/24" }, { "192.0.2.0/+4", "192.0.2.0/24" },
		{ "192.0.2.0/024", "192.0.2.0/24" }, { "192.0.2.0/00", "192.0.2.0/24" },
		{ "192.0.2.0/24/8", "192.0.2.0/24" }, { "192.0.2.0/24 ", "192.0.2.0/24" },
		{ "192.0.2.0/4294967296", "192.0.2.0/24" }, { "192.0.2/24", "192.0.2.0/24" },
		{ "192.0.2.256", "192.0.2.0/24" }, { "2001:db8::/32", "192.0.2.0/24" }, { "host", "192.0.2.0/24" },
		{ "192.0.2.1/24", "right: 192.0.2.0/24, or 192.0.2.1/32" },
		{ "192.0.2.1/0", "right: 0.0.0.0/0, or 192.0.2.1/32" },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		struct prefix prefix = { 7, 7 };

		g_test_message("'%s'", cases[i].text);
		g_assert_false(prefix_parse(cases[i].text, &prefix, &error));
		g_assert_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE);
		g_assert_nonnull(strstr(error->message, cases[i].told));
		g_assert_cmpuint(prefix.address, ==, 7);
		g_assert_cmpuint(prefix.length, ==, 7);
	}
}

static GArray *parse_list(const char *text)
{
	GArray *prefixes = g_array_new(FALSE, TRUE, sizeof(struct prefix));
	g_auto(GStrv) texts = g_strsplit(text, " ", -1);

	for (unsigned i = 0; texts[i]; i++) {
		struct prefix prefix;

		g_assert_true(prefix_parse(texts[i], &prefix, NULL));
		g_array_append_val(prefixes, prefix);
	}
	return prefixes;
}

static char *list_to_string(const GArray *prefixes)
{
	GString *text = g_string_new(NULL);

	for (unsigned i = 0; i < prefixes->len; i++) {
		g_autofree char *prefix = prefix_to_string(&g_array_index(prefixes, struct prefix, i));

		g_string_append_printf(text, "%s%s", i ? " " : "", prefix);
	}
	return g_string_free(text, FALSE);
}

static void test_disjoint(void)
{
	static const struct {
		const char *from, *to;
	} cases[] = {
		{ "", "" },
		{ "10.0.1.0/24", "10.0.1.0/24" },
		{ "10.0.2.0/24 10.0.1.0/24", "10.0.1.0/24 10.0.2.0/24" },
		{ "10.0.1.0/24 10.0.1.0/24", "10.0.1.0/24" },
		{ "10.0.1.0/24 10.0.0.0/16 10.0.1.7", "10.0.0.0/16" },
		{ "10.0.0.0/16 10.0.0.0/8 10.1.0.0/16 11.0.0.0/16", "10.0.0.0/8 11.0.0.0/16" },
		{ "255.255.255.255 0.0.0.0/0", "0.0.0.0/0" },
		{ "10.0.0.0/25 10.0.0.128/25", "10.0.0.0/25 10.0.0.128/25" },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GArray) from = parse_list(cases[i].from);
		g_autofree char *before = list_to_string(from), *after = NULL, *result = NULL;
		g_autoptr(GArray) to = prefixes_disjoint(from);

		after = list_to_string(from);
		result = list_to_string(to);
		g_assert_cmpstr(result, ==, cases[i].to);
		g_assert_cmpstr(before, ==, after);
	}
}

/* The disjoint form holds the same addresses, looked at where anything could change. */
static void test_disjoint_random(void)
{
	for (unsigned round = 0; round < 500; round++) {
		g_autoptr(GArray) from = g_array_new(FALSE, TRUE, sizeof(struct prefix));
		g_autoptr(GArray) to = NULL;

		for (int i = g_test_rand_int_range(0, 20); i > 0; i--) {
			unsigned length = (unsigned)g_test_rand_int_range(20, 33);
			struct prefix prefix = { 0x0a000000, (uint8_t)length };

			prefix.address |= (uint32_t)g_test_rand_int_range(0, 1 << 12) & (0xffffffffu << (32 - length));
			g_array_append_val(from, prefix);
		}
		to = prefixes_disjoint(from);
		for (uint32_t address = 0x0a000000; address < 0x0a001000; address++)
			g_assert_cmpint(prefixes_find(from, address) != NULL, ==, prefixes_find(to, address) != NULL);
		for (unsigned i = 1; i < to->len; i++)
			g_assert_cmpuint(prefix_last(&g_array_index(to, struct prefix, i - 1)), <,
			                 prefix_first(&g_array_index(to, struct prefix, i)));
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/prefix/good", test_good);
	g_test_add_func("/prefix/bad", test_bad);
	g_test_add_func("/prefix/disjoint", test_disjoint);
	g_test_add_func("/prefix/disjoint_random", test_disjoint_random);
	return g_test_run();
}

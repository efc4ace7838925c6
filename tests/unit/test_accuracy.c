/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tests of core/accuracy: what a transfer may be counted as, and the verdict.
 */
#include "core/accuracy.h"

#include <string.h>

/* ---- what is to be sent ---- */

static void test_tests_as_people_write_them(void)
{
	struct accuracy_test test;

	g_assert_true(accuracy_parse_test("in:1G:100M", &test, NULL));
	g_assert_true(test.in);
	g_assert_cmpuint(test.volume, ==, UINT64_C(1) << 30);
	g_assert_cmpuint(test.rate, ==, 100000000);
	g_assert_cmpstr(test.label, ==, "");
	g_assert_true(accuracy_parse_test("out:3K:7:loss-before", &test, NULL));
	g_assert_false(test.in);
	g_assert_cmpuint(test.volume, ==, 3072);
	g_assert_cmpuint(test.rate, ==, 7);
	g_assert_cmpstr(test.label, ==, "loss-before");
}

static void test_tests_that_are_none(void)
{
	static const char *const wrong[] = {
		"", "in", "in:1G", "In:1G:1M", "both:1G:1M", "in::1M", "in:1G:", "in:0:1M", "in:1G:0", "in:-1:1M", "in:1T:1M", "in:1GB:1M",
		"in:1.5G:1M", "in: 1G:1M", "in:1G:1M:", "in:1G:1M:a b", "in:1G:1M:a:b", "in:99999999999999999999:1M",
		"in:9999999G:1M", "in:1G:9999999G", "in:1G:1M:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	};
	struct accuracy_test test;

	for (unsigned i = 0; i < G_N_ELEMENTS(wrong); i++) {
		g_autoptr(GError) error = NULL;

		g_assert_false(accuracy_parse_test(wrong[i], &test, &error));
		g_assert_nonnull(strstr(error->message, "right: in:1G:100M"));
	}
}

static void test_seed_table(void)
{
	unsigned n;
	const struct accuracy_test *tests = accuracy_seed_table(&n);
	uint64_t volume = 0;

	for (unsigned i = 0; i < n; i++)
		volume += tests[i].volume;
	g_assert_cmpuint(n, ==, 12);
	g_assert_cmpuint(volume >> 30, ==, 2 * (4 * 10 + 2 * 1000));
}

/* ---- the bounds ---- */

static void test_header_of_a_segment(void)
{
	g_assert_cmpuint(accuracy_header(1500, 1448), ==, 52);
	g_assert_cmpuint(accuracy_header(1500, 1460), ==, 40);
	g_assert_cmpuint(accuracy_header(1450, 1398), ==, 52);
	g_assert_cmpuint(accuracy_header(1500, 1398), ==, 102); /* the path is smaller than was said: too much is safe */
	g_assert_cmpuint(accuracy_header(1500, 8948), ==, 52);  /* larger: what is usual */
	g_assert_cmpuint(accuracy_header(0, 1448), ==, 52);
	g_assert_cmpuint(accuracy_header(9000, 1448), ==, 52);
}

/* 1,000 segments and as much as they can be counted as. */
static struct accuracy_transfer transfer_new(void)
{
	return (struct accuracy_transfer){
		.sent = 1448000, .received = 1447000, .mss = 1448, .header = 52, .collected = 1448000 + 52000, .packets = 1000,
		.basis = BASIS_WIRE,
	};
}

static void test_bounds(void)
{
	struct accuracy_transfer transfer = transfer_new();

	g_assert_cmpuint(accuracy_lowest(&transfer), ==, 1447000);
	g_assert_cmpuint(accuracy_highest(&transfer), ==, 1448000 + 52000 + 16384);
	transfer.packets = 1100; /* not all were full */
	g_assert_cmpuint(accuracy_highest(&transfer), ==, 1448000 + 57200 + 16384);
	transfer.packets = 30;   /* merged */
	g_assert_cmpuint(accuracy_highest(&transfer), ==, 1448000 + 52000 + 16384);
	transfer.mss = 0;        /* not told */
	g_assert_cmpuint(accuracy_highest(&transfer), ==, 1448000 + 52000 + 16384);
}

static void test_rates_of_error(void)
{
	g_assert_cmpuint(accuracy_ppm(10752313814, 10755383341), ==, 285); /* the first line of the seed's table */
	g_assert_cmpuint(accuracy_ppm(200, 100), ==, 1000000);
	g_assert_cmpuint(accuracy_ppm(5, 0), ==, 0);
	g_assert_cmpuint(accuracy_ppm(0, UINT64_MAX), ==, 1000000);
}

/* ---- the verdict ---- */

static void test_verdicts(void)
{
	struct accuracy_transfer transfer = transfer_new();

	g_assert_cmpint(accuracy_judge(&transfer), ==, ACCURACY_INSIDE);
	transfer.collected = 1447000;
	g_assert_cmpint(accuracy_judge(&transfer), ==, ACCURACY_INSIDE);
	transfer.collected--;
	g_assert_cmpint(accuracy_judge(&transfer), ==, ACCURACY_BELOW);
	transfer.collected = accuracy_highest(&transfer);
	g_assert_cmpint(accuracy_judge(&transfer), ==, ACCURACY_INSIDE);
	transfer.collected++;
	g_assert_cmpint(accuracy_judge(&transfer), ==, ACCURACY_ABOVE);
}

static void test_what_was_sent_twice(void)
{
	struct accuracy_transfer transfer = transfer_new();

	transfer.retransmitted = 20;
	transfer.collected = accuracy_highest(&transfer) + 30000;
	g_assert_cmpuint(accuracy_retransmitted(&transfer), ==, 30000);
	g_assert_cmpint(accuracy_judge(&transfer), ==, ACCURACY_LOSS);
	transfer.collected++;
	g_assert_cmpint(accuracy_judge(&transfer), ==, ACCURACY_ABOVE);
}

static void test_count_of_the_wire_is_the_wires(void)
{
	struct accuracy_transfer transfer = transfer_new();

	transfer.has_truth = true;
	transfer.truth = transfer.collected;
	transfer.truth_packets = 1000;
	g_assert_cmpint(accuracy_judge(&transfer), ==, ACCURACY_INSIDE);
	transfer.truth_packets++;
	g_assert_cmpint(accuracy_judge(&transfer), ==, ACCURACY_OFF_WIRE);
	transfer.truth_packets--;
	transfer.truth++;
	g_assert_cmpint(accuracy_judge(&transfer), ==, ACCURACY_OFF_WIRE);
	transfer.basis = BASIS_SKB; /* it promises no more than the band */
	g_assert_cmpint(accuracy_judge(&transfer), ==, ACCURACY_INSIDE);
}

/* Of the flags only those that put the figure itself in doubt. */
static void test_rows_that_are_not_complete(void)
{
	struct accuracy_transfer transfer = transfer_new();

	for (unsigned flag = 1; flag < FLAG_ALL; flag <<= 1) {
		bool complete = flag == FLAG_LATE || flag == FLAG_CATCHUP;

		transfer.flags = flag;
		g_assert_cmpint(accuracy_judge(&transfer), ==, complete ? ACCURACY_INSIDE : ACCURACY_UNSURE);
	}
}

static void test_names_of_verdicts(void)
{
	g_assert_cmpstr(accuracy_verdict_name(ACCURACY_INSIDE), ==, "inside");
	for (int each = ACCURACY_BELOW; each <= ACCURACY_OFF_WIRE; each++)
		g_assert_true(g_str_has_prefix(accuracy_verdict_name((enum accuracy_verdict)each), "outside: "));
	g_assert_cmpstr(accuracy_verdict_name(ACCURACY_UNSURE), ==, "unsure");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/accuracy/tests-as-people-write-them", test_tests_as_people_write_them);
	g_test_add_func("/accuracy/tests-that-are-none", test_tests_that_are_none);
	g_test_add_func("/accuracy/seed-table", test_seed_table);
	g_test_add_func("/accuracy/header-of-a-segment", test_header_of_a_segment);
	g_test_add_func("/accuracy/bounds", test_bounds);
	g_test_add_func("/accuracy/rates-of-error", test_rates_of_error);
	g_test_add_func("/accuracy/verdicts", test_verdicts);
	g_test_add_func("/accuracy/what-was-sent-twice", test_what_was_sent_twice);
	g_test_add_func("/accuracy/count-of-the-wire-is-the-wires", test_count_of_the_wire_is_the_wires);
	g_test_add_func("/accuracy/rows-that-are-not-complete", test_rows_that_are_not_complete);
	g_test_add_func("/accuracy/names-of-verdicts", test_names_of_verdicts);
	return g_test_run();
}

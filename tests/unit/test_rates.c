/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tests of core/rates: what is said of the time between two readings, and of what nothing is said.
 */
#include "core/rates.h"

#define NS "qrouter-one"
#define SECOND INT64_C(1000000)

static struct rates *rates;
static int64_t now_us;

/* A turn, a second after the last one: counts in and out of 192.0.2.N, N = 1, 2, ..., of class internet; -1: no such counter. */
static void turn(const char *ns, const char *tag, const int64_t *in, unsigned n)
{
	SCOPED(snapshot) *snapshot = snapshot_new();

	snapshot->generation = g_strdup(tag);
	snapshot->at.boot_us = now_us;
	for (unsigned i = 0; i < n; i++) {
		struct reading reading = {
			.key = { KIND_FLOATING, 0xc0000201 + i, g_intern_string("internet") },
			.counts = { (uint64_t)in[i], (uint64_t)in[i] / 100, (uint64_t)in[i] * 2, (uint64_t)in[i] / 50 },
		};

		if (in[i] >= 0)
			g_array_append_val(snapshot->readings, reading);
	}
	rates_take(rates, ns, snapshot);
}

static void turn_of_one(const char *tag, const int64_t *in, unsigned n)
{
	now_us += SECOND;
	rates_begin(rates);
	turn(NS, tag, in, n);
	rates_end(rates);
}

/* "N:bytes in a second" of each address that is seen, in order. */
static char *seen(struct rates_view view)
{
	g_autoptr(GPtrArray) list = rates_list(rates, &view);
	GString *text = g_string_new(NULL);

	for (unsigned i = 0; i < list->len; i++) {
		const struct rate *rate = list->pdata[i];

		g_string_append_printf(text, "%s%u:%d", i ? " " : "", rate->address & 255,
		                       (int)rate_per_second(rate, rate_moved(rate, view.class_name).in_bytes));
	}
	return g_string_free(text, FALSE);
}

static void expect(struct rates_view view, const char *wanted)
{
	g_autofree char *found = seen(view);

	g_assert_cmpstr(found, ==, wanted);
}

static void set_up(void)
{
	rates_free(rates);
	rates = rates_new();
	now_us = 0;
}

/* The first reading, a new generation, a counter that was set back, and a new address say nothing. */
static void test_follow(void)
{
	set_up();
	turn_of_one("tag", (int64_t[]){ 1000, 500 }, 2);
	expect((struct rates_view){ 0 }, "1:0 2:0");
	turn_of_one("tag", (int64_t[]){ 1100, 800, 5000 }, 3);
	expect((struct rates_view){ 0 }, "2:300 1:100 3:0");
	turn_of_one("tag", (int64_t[]){ 1000, 900, 5050 }, 3);
	expect((struct rates_view){ 0 }, "2:100 3:50 1:0");
	turn_of_one("tag", (int64_t[]){ 1007, 900, 5050 }, 3);
	expect((struct rates_view){ 0 }, "1:7 2:0 3:0");
	turn_of_one("other", (int64_t[]){ 2000, 2000, 9000 }, 3);
	expect((struct rates_view){ 0 }, "1:0 2:0 3:0");
	turn_of_one("other", (int64_t[]){ 2001, 2000, 9000 }, 3);
	expect((struct rates_view){ 0 }, "1:1 2:0 3:0");
}

/* An address that goes is forgotten, and one that comes back is new. */
static void test_go(void)
{
	set_up();
	turn_of_one("tag", (int64_t[]){ 10, 10 }, 2);
	turn_of_one("tag", (int64_t[]){ 20, -1 }, 2);
	expect((struct rates_view){ 0 }, "1:10");
	g_assert_cmpuint(rates_count(rates), ==, 1);
	turn_of_one("tag", (int64_t[]){ 30, 700 }, 2);
	expect((struct rates_view){ 0 }, "1:10 2:0");
	rates_forget(rates, NS);
	g_assert_cmpuint(rates_count(rates), ==, 0);
}

/* A namespace that cannot be read in a turn has no rates in it; the next one counts over the whole time. */
static void test_unread(void)
{
	struct rates_view view = { 0 };
	g_autoptr(GPtrArray) list = NULL;

	set_up();
	turn_of_one("tag", (int64_t[]){ 100 }, 1);
	turn_of_one("tag", (int64_t[]){ 200 }, 1);
	now_us += SECOND;
	rates_begin(rates);
	rates_end(rates);
	expect(view, "1:0");
	turn_of_one("tag", (int64_t[]){ 600 }, 1);
	expect(view, "1:200");
	list = rates_list(rates, &view);
	g_assert_cmpuint(rate_moved(list->pdata[0], NULL).in_bytes, ==, 400);
	g_assert_cmpuint(rate_history(list->pdata[0], 0), ==, 600); /* in and out */
	g_assert_cmpuint(rate_history(list->pdata[0], 1), ==, 0);
	g_assert_cmpuint(rate_history(list->pdata[0], 2), ==, 300);
	g_assert_cmpuint(rate_history(list->pdata[0], 3), ==, 0);
	g_assert_cmpuint(rate_history(list->pdata[0], RATES_HISTORY + 2), ==, 0);
}

static void test_view(void)
{
	set_up();
	for (unsigned i = 0; i < 2; i++) {
		now_us += SECOND;
		rates_begin(rates);
		turn("qrouter-b", "tag", (int64_t[]){ 0, i * 20, i * 10 }, 3);
		turn("qrouter-a", "tag", (int64_t[]){ i * 15 }, 1);
		rates_end(rates);
	}
	expect((struct rates_view){ .sort = RATES_BY_TOTAL }, "2:20 1:15 3:10 1:0");
	expect((struct rates_view){ .sort = RATES_BY_IN, .busy = true }, "2:20 1:15 3:10");
	expect((struct rates_view){ .sort = RATES_BY_ADDRESS }, "1:15 1:0 2:20 3:10");
	expect((struct rates_view){ .sort = RATES_BY_ROUTER }, "1:15 2:20 3:10 1:0");
	expect((struct rates_view){ .filter = "0.2.3" }, "3:10");
	expect((struct rates_view){ .filter = "a" }, "1:15");
	expect((struct rates_view){ .class_name = g_intern_string("cloud") }, "1:0 1:0 2:0 3:0");
	expect((struct rates_view){ .class_name = g_intern_string("cloud"), .busy = true }, "");
	g_assert_cmpuint(rates_classes(rates)->len, ==, 1);
}

static void test_names(void)
{
	for (enum rates_sort sort = RATES_BY_TOTAL; sort < RATES_SORTS; sort++) {
		enum rates_sort found;

		g_assert_true(rates_sort_from_name(rates_sort_name(sort), &found));
		g_assert_cmpint(found, ==, sort);
	}
	g_assert_false(rates_sort_from_name("rate", &(enum rates_sort){ 0 }));
}

int main(int argc, char **argv)
{
	int status;

	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/rates/follow", test_follow);
	g_test_add_func("/rates/go", test_go);
	g_test_add_func("/rates/unread", test_unread);
	g_test_add_func("/rates/view", test_view);
	g_test_add_func("/rates/names", test_names);
	status = g_test_run();
	rates_free(rates);
	return status;
}

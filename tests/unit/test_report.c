/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reports: which keys a group keeps, what is summed, and the order of lines.
 */
#include "core/report.h"

#include <string.h>

#define MINUTE INT64_C(60000000)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define START (20657 * DAY) /* 2026-07-23T00:00:00Z */

static const struct report_line rows[] = {
	{ .node = "n1", .router = "r1", .class_name = "internet", .kind = KIND_FLOATING, .address = 10, .fixed = 1,
	  .start_us = START, .end_us = START + MINUTE, .counts = { 1000, 10, 100, 1 }, .basis = BASIS_SKB },
	{ .node = "n1", .router = "r1", .class_name = "cloud", .kind = KIND_FLOATING, .address = 10, .fixed = 1,
	  .start_us = START, .end_us = START + MINUTE, .counts = { 2000, 20, 200, 2 }, .basis = BASIS_SKB,
	  .flags = FLAG_LATE },
	{ .node = "n2", .router = "r1", .class_name = "internet", .kind = KIND_FLOATING, .address = 10, .fixed = 2,
	  .start_us = START + 30 * MINUTE, .end_us = START + 61 * MINUTE, .counts = { 4000, 40, 400, 4 },
	  .basis = BASIS_WIRE, .flags = FLAG_CATCHUP },
	{ .node = "n1", .router = "r1", .class_name = "internet", .kind = KIND_GATEWAY, .address = 20,
	  .start_us = START, .end_us = START + MINUTE, .counts = { 8000, 80, 800, 8 }, .basis = BASIS_SKB },
	{ .node = "n1", .router = "r0", .class_name = "internet", .kind = KIND_UNATTRIBUTED,
	  .start_us = START + 2 * HOUR, .end_us = START + 2 * HOUR + MINUTE, .counts = { 16000, 160, 1600, 16 },
	  .basis = BASIS_SKB },
};

static struct report *report_of_rows(enum report_by by, enum period per)
{
	g_autoptr(GTimeZone) utc = g_time_zone_new_utc();
	struct report *report = report_new(by, per, utc, START, START + DAY);

	/* Texts that do not live on: the report keeps its own. */
	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		struct report_line row = rows[i];
		g_autofree char *node = g_strdup(row.node), *router = g_strdup(row.router);
		g_autofree char *class_name = g_strdup(row.class_name);

		row.node = node;
		row.router = router;
		row.class_name = class_name;
		report_add(report, &row);
	}
	return report;
}

/* "START-END node router kind address fixed class in_bytes/in_packets/out_bytes/out_packets basis flags",
 * the times in minutes. */
static char *lines_to_string(struct report *report)
{
	const GArray *lines = report_lines(report);
	GString *text = g_string_new(NULL);

	for (unsigned i = 0; i < lines->len; i++) {
		const struct report_line *line = &g_array_index(lines, struct report_line, i);
		const struct counts *counts = &line->counts;

		g_string_append_printf(text, "%d-%d %s %s %d %u %u %s %u/%u/%u/%u %d %u\n",
		                       (int)((line->start_us - START) / MINUTE), (int)((line->end_us - START) / MINUTE),
		                       line->node, line->router, line->kind, line->address, line->fixed, line->class_name,
		                       (unsigned)counts->in_bytes, (unsigned)counts->in_packets,
		                       (unsigned)counts->out_bytes, (unsigned)counts->out_packets, line->basis,
		                       line->flags);
	}
	return g_string_free(text, FALSE);
}

static void test_groups(void)
{
	static const struct {
		enum report_by by;
		enum period per;
		uint64_t crossing;
		const char *right;
	} cases[] = {
		{ REPORT_BY_ADDRESS, PERIOD_TOTAL, 0,
		  "0-1440  r0 2 0 0  16000/160/1600/16 0 0\n"
		  "0-1440  r1 0 10 0  7000/70/700/7 -1 17\n"
		  "0-1440  r1 1 20 0  8000/80/800/8 0 0\n" },
		{ REPORT_BY_ROUTER, PERIOD_TOTAL, 0,
		  "0-1440  r0 -1 0 0  16000/160/1600/16 0 0\n"
		  "0-1440  r1 -1 0 0  15000/150/1500/15 -1 17\n" },
		{ REPORT_BY_CLASS, PERIOD_TOTAL, 0,
		  "0-1440   -1 0 0 cloud 2000/20/200/2 0 16\n"
		  "0-1440   -1 0 0 internet 29000/290/2900/29 -1 1\n" },
		{ REPORT_BY_NODE, PERIOD_TOTAL, 0,
		  "0-1440 n1  -1 0 0  27000/270/2700/27 0 16\n"
		  "0-1440 n2  -1 0 0  4000/40/400/4 1 1\n" },
		{ REPORT_BY_PROJECT, PERIOD_TOTAL, 0,
		  "0-1440   -1 0 0  31000/310/3100/31 -1 17\n" },
		{ REPORT_BY_NODE, PERIOD_HOUR, 1,
		  "0-60 n1  -1 0 0  11000/110/1100/11 0 16\n"
		  "0-60 n2  -1 0 0  4000/40/400/4 1 1\n"
		  "120-180 n1  -1 0 0  16000/160/1600/16 0 0\n" },
		{ REPORT_BY_PROJECT, PERIOD_MINUTE, 1,
		  "0-1   -1 0 0  11000/110/1100/11 0 16\n"
		  "30-31   -1 0 0  4000/40/400/4 1 1\n"
		  "120-121   -1 0 0  16000/160/1600/16 0 0\n" },
		{ REPORT_BY_PROJECT, PERIOD_DAY, 0,
		  "0-1440   -1 0 0  31000/310/3100/31 -1 17\n" },
		{ REPORT_BY_PROJECT, PERIOD_INTERVAL, 0,
		  "0-1 n1 r1 0 10 1 cloud 2000/20/200/2 0 16\n"
		  "0-1 n1 r1 0 10 1 internet 1000/10/100/1 0 0\n"
		  "0-1 n1 r1 1 20 0 internet 8000/80/800/8 0 0\n"
		  "30-61 n2 r1 0 10 2 internet 4000/40/400/4 1 1\n"
		  "120-121 n1 r0 2 0 0 internet 16000/160/1600/16 0 0\n" },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct report *report = report_of_rows(cases[i].by, cases[i].per);
		g_autofree char *once = lines_to_string(report), *again = lines_to_string(report);

		g_test_message("by %d per %s", cases[i].by, period_name(cases[i].per));
		g_assert_cmpstr(once, ==, cases[i].right);
		g_assert_cmpstr(again, ==, cases[i].right);
		g_assert_cmpuint(report_crossing(report), ==, cases[i].crossing);
		report_free(report);
	}
}

static void test_crossing(void)
{
	static const struct {
		enum period per;
		int64_t start_us, end_us;
		uint64_t crossing;
	} cases[] = {
		{ PERIOD_TOTAL, START, START + DAY, 0 },
		{ PERIOD_TOTAL, START + DAY - 1, START + DAY, 0 },
		{ PERIOD_TOTAL, START + DAY - 1, START + DAY + 1, 1 },
		{ PERIOD_HOUR, START, START + HOUR, 0 },
		{ PERIOD_HOUR, START + HOUR - 1, START + HOUR + 1, 1 },
		{ PERIOD_DAY, START + DAY - 1, START + DAY + 1, 1 },
		{ PERIOD_INTERVAL, START, START + 3 * DAY, 0 },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GTimeZone) utc = g_time_zone_new_utc();
		struct report *report = report_new(REPORT_BY_ROUTER, cases[i].per, utc, START, START + DAY);
		struct report_line row = rows[0];

		row.start_us = cases[i].start_us;
		row.end_us = cases[i].end_us;
		report_add(report, &row);
		g_assert_cmpuint(report_crossing(report), ==, cases[i].crossing);
		report_free(report);
	}
}

static void test_empty(void)
{
	g_autoptr(GTimeZone) utc = g_time_zone_new_utc();
	struct report *report = report_new(REPORT_BY_ADDRESS, PERIOD_DAY, utc, START, START + DAY);

	g_assert_cmpuint(report_lines(report)->len, ==, 0);
	g_assert_cmpuint(report_crossing(report), ==, 0);
	report_free(report);
}

static struct report *report_of_none(int by, int per, GTimeZone *timezone)
{
	return report_new((enum report_by)by, (enum period)per, timezone, START, START + 3 * DAY);
}

/* However rows are grouped, nothing is lost and nothing is added; and their order makes no difference. */
static void test_sums_are_kept(void)
{
	static const char *const names[] = { "a", "b", "c" };
	g_autoptr(GTimeZone) berlin = g_time_zone_new_identifier("Europe/Berlin");
	g_autoptr(GTimeZone) timezone = berlin ? g_time_zone_ref(berlin) : g_time_zone_new_utc();
	struct report_line many[300];
	struct counts sum = { 0 };

	for (unsigned i = 0; i < G_N_ELEMENTS(many); i++) {
		int64_t start_us = START + (int64_t)g_test_rand_int_range(0, 100) * 30 * MINUTE;

		many[i] = (struct report_line){
			.node = names[g_test_rand_int_range(0, 3)], .router = names[g_test_rand_int_range(0, 3)],
			.class_name = names[g_test_rand_int_range(0, 3)], .kind = g_test_rand_int_range(0, 3),
			.address = (uint32_t)g_test_rand_int_range(0, 4), .start_us = start_us, .end_us = start_us + MINUTE,
			.counts = { (uint64_t)g_test_rand_int_range(0, G_MAXINT) << 20, 2, 3, (uint64_t)i },
			.basis = g_test_rand_int_range(0, 3), .flags = 1u << g_test_rand_int_range(0, 6),
		};
		counts_add(&sum, &many[i].counts);
	}
	for (int by = REPORT_BY_ADDRESS; by <= REPORT_BY_NODE; by++)
		for (int per = PERIOD_INTERVAL; per <= PERIOD_TOTAL; per++) {
			struct report *up = report_of_none(by, per, timezone);
			struct report *down = report_of_none(by, per, timezone);
			g_autofree char *up_text = NULL, *down_text = NULL;
			struct counts found = { 0 };

			for (unsigned i = 0; i < G_N_ELEMENTS(many); i++) {
				report_add(up, &many[i]);
				report_add(down, &many[G_N_ELEMENTS(many) - 1 - i]);
			}
			for (unsigned i = 0; i < report_lines(up)->len; i++)
				counts_add(&found, &g_array_index(report_lines(up), struct report_line, i).counts);
			g_assert_cmpmem(&sum, sizeof sum, &found, sizeof found);
			up_text = lines_to_string(up);
			down_text = lines_to_string(down);
			/* Equal rows of one interval may stand in any order. */
			if (per != PERIOD_INTERVAL)
				g_assert_cmpstr(up_text, ==, down_text);
			report_free(up);
			report_free(down);
		}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/report/groups", test_groups);
	g_test_add_func("/report/crossing", test_crossing);
	g_test_add_func("/report/empty", test_empty);
	g_test_add_func("/report/sums_are_kept", test_sums_are_kept);
	return g_test_run();
}

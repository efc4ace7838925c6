/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tests of core/explain: which life of an address is told, which of its meters are lines, what was measured at a time.
 */
#include "core/explain.h"

/* Meters of one address: generation, fixed, class, from, to (0: open).  Ids are their places, from 1. */
struct planned {
	int generation;
	uint32_t fixed;
	const char *class_name;
	int64_t from, to;
};

/* Its VM was exchanged for another one and came back; a counter was set back; then the node was booted; cloud came later. */
static const struct planned history[] = {
	{ 0, 11, "internet", 10, 20 }, { 0, 12, "internet", 20, 30 }, { 0, 11, "internet", 40, 50 }, { 0, 11, "internet", 50, 60 },
	{ 1, 11, "internet", 70, 0 },  { 1, 11, "cloud", 80, 0 },
};

static struct generation *generations[2];

static struct explanation *explain(const struct planned *meters, unsigned n, int64_t at, bool asked)
{
	struct explanation *explanation = explanation_new(100, at, asked);

	for (unsigned i = 0; i < n; i++) {
		struct meter *meter = g_new0(struct meter, 1);

		meter->id = i + 1;
		meter->of = generation_ref(generations[meters[i].generation]);
		meter->key = (struct meter_key){ KIND_FLOATING, 100, g_intern_string(meters[i].class_name) };
		meter->fixed = meters[i].fixed;
		meter->first_at.utc_us = meters[i].from;
		meter->closed_us = meters[i].to;
		g_ptr_array_add(explanation->meters, meter);
	}
	explanation_choose(explanation);
	return explanation;
}

/* "from-to" of the life that is told, "!" if it was not in force, and the meters of the lines. */
static char *told(const struct explanation *explanation)
{
	GString *text = g_string_new(NULL);

	g_string_printf(text, "%d-%d%s:", (int)explanation->life->from_us, (int)explanation->life->to_us,
	                explanation->in_force ? "" : "!");
	for (unsigned i = 0; i < explanation->lines->len; i++)
		g_string_append_printf(text, " %d", (int)g_array_index(explanation->lines, struct explain_line, i).meter->id);
	return g_string_free(text, FALSE);
}

static void test_choose(void)
{
	static const struct {
		int64_t at;
		const char *told;
	} cases[] = {
		{ 5, "10-20!: 1" }, { 10, "10-20: 1" }, { 19, "10-20: 1" }, { 20, "20-30: 2" }, { 29, "20-30: 2" }, { 35, "20-30!: 2" },
		{ 40, "40-60: 3" }, { 49, "40-60: 3" }, { 50, "40-60: 4" }, { 65, "40-60!: 4" }, { 70, "70-0: 5" },
		{ 80, "70-0: 6 5" }, { 1000, "70-0: 6 5" },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		SCOPED(explanation) *explanation = explain(history, G_N_ELEMENTS(history), cases[i].at, true);
		g_autofree char *found = told(explanation);

		g_assert_cmpstr(found, ==, cases[i].told);
		g_assert_cmpuint(explanation->lives->len, ==, 4);
		g_assert_cmpint(explanation->at_us, ==, cases[i].at);
	}
}

/* Without a time: what goes on, at its last reading; or what ended last, at its end. */
static void test_latest(void)
{
	SCOPED(explanation) *open = explain(history, G_N_ELEMENTS(history), 0, false);
	SCOPED(explanation) *gone = explain(history, 4, 0, false);
	g_autofree char *of_open = told(open), *of_gone = told(gone);

	g_assert_cmpstr(of_open, ==, "70-0: 6 5");
	g_assert_cmpint(open->at_us, ==, 90);
	g_assert_cmpstr(of_gone, ==, "40-60!: 4");
	g_assert_cmpint(gone->at_us, ==, 60);
}

static void add_coverage(struct explanation *explanation, enum state state, int64_t start, int64_t end, const char *reason)
{
	struct coverage row = { .node = (char *)"n", .router = (char *)"r", .start_us = start, .end_us = end, .state = state,
		                .reason = (char *)reason };

	g_ptr_array_add(explanation->coverage, coverage_copy(&row));
}

static void test_state(void)
{
	static const struct {
		int64_t at;
		enum state state;
		const char *reason;
	} cases[] = {
		{ 10, STATE_METERED, "" }, { 20, STATE_GAP, "why" }, { 24, STATE_GAP, "why" }, { 25, STATE_METERED, "" },
		{ 40, STATE_METERED, "" }, { 41, STATE_UNKNOWN, "" }, { 50, STATE_STANDBY, "" }, { 9, STATE_UNKNOWN, "" },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		SCOPED(explanation) *explanation = explain(history, 1, cases[i].at, true);
		const char *reason;

		add_coverage(explanation, STATE_METERED, 10, 40, "");
		add_coverage(explanation, STATE_GAP, 20, 25, "why"); /* of the address alone */
		add_coverage(explanation, STATE_STANDBY, 45, 60, "");
		g_assert_cmpint(explanation_state(explanation, &reason), ==, cases[i].state);
		g_assert_cmpstr(reason, ==, cases[i].reason);
	}
}

static void test_sums(void)
{
	SCOPED(explanation) *explanation = explain(history, G_N_ELEMENTS(history), 0, false);
	struct meter *meter = explanation->meters->pdata[4];
	struct explain_line *line = &g_array_index(explanation->lines, struct explain_line, 1);
	struct counts sum;
	unsigned flags;

	g_assert_true(line->meter == meter);
	meter->first = (struct counts){ 1, 2, 3, 4 };
	meter->last = (struct counts){ 11, 12, 13, 14 };
	line->booked = (struct counts){ 10, 10, 10, 10 };
	g_assert_true(explanation_adds_up(explanation) && explanation_chains(explanation));
	line->booked.out_packets = 9;
	line->chains = false;
	g_assert_false(explanation_adds_up(explanation) || explanation_chains(explanation));
	line->row.counts = (struct counts){ 1, 1, 0, 0 };
	line->row.flags = FLAG_GAP;
	line[-1].row.counts = (struct counts){ 2, 0, 3, 1 };
	line[-1].row.flags = FLAG_LATE;
	sum = explanation_sum(explanation, &flags);
	g_assert_true(explain_is_same(&sum, &(struct counts){ 3, 1, 3, 1 }));
	g_assert_cmpuint(flags, ==, FLAG_GAP | FLAG_LATE);
}

static uint32_t address(const char *text)
{
	uint32_t number;

	g_assert_true(address_from_string(text, &number));
	return number;
}

/* For each that is asked for, the first is more like it than the second; "" is not like it at all. */
static void test_likeness(void)
{
	static const struct {
		const char *asked, *better, *worse;
	} cases[] = {
		{ "198.51.100.11", "198.51.100.101", "198.51.100.250" }, { "198.51.100.110", "198.51.100.101", "198.51.101.1" },
		{ "198.51.100.7", "198.51.100.1", "203.0.113.9" }, { "189.51.100.101", "198.51.100.101", "10.0.0.1" },
		{ "198.51.100.101", "198.51.7.1", "" }, { "198.51.100.101", "", "203.0.113.7" }, { "10.0.0.1", "", "198.51.100.101" },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		uint32_t asked = address(cases[i].asked);
		unsigned better = *cases[i].better ? explain_likeness(address(cases[i].better), asked) : 0;
		unsigned worse = *cases[i].worse ? explain_likeness(address(cases[i].worse), asked) : 0;

		if (*cases[i].better)
			g_assert_cmpuint(better, >, worse);
		else
			g_assert_cmpuint(worse, ==, 0);
	}
}

int main(int argc, char **argv)
{
	int status;

	g_test_init(&argc, &argv, NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(generations); i++) {
		generations[i] = generation_new(i ? "two" : "one", "boot", "node", "ns", "router", BASIS_SKB);
		generations[i]->read_at.utc_us = i ? 90 : 60;
	}
	g_test_add_func("/explain/choose", test_choose);
	g_test_add_func("/explain/latest", test_latest);
	g_test_add_func("/explain/state", test_state);
	g_test_add_func("/explain/sums", test_sums);
	g_test_add_func("/explain/likeness", test_likeness);
	status = g_test_run();
	for (unsigned i = 0; i < G_N_ELEMENTS(generations); i++)
		generation_unref(generations[i]);
	return status;
}

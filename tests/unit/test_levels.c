/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tests of core/levels: which level answers which part of a question.  Times in UTC: 0 is a midnight.
 */
#include "core/levels.h"

#define HOUR INT64_C(3600000000)
#define DAY (24 * HOUR)

static const char *const names[] = { "row", "hour", "day" };

static const struct {
	enum period per;
	int64_t since, until;
	struct kept kept;
	const char *parts; /* times in hours, or the half of one */
} cases[] = {
	{ PERIOD_INTERVAL, 0, 3 * DAY, { 0, 0 }, "row 0-72" },
	{ PERIOD_MINUTE, 0, 3 * DAY, { 0, 0 }, "row 0-72" },
	{ PERIOD_HOUR, 0, 3 * DAY, { 0, 0 }, "hour 0-72" },
	{ PERIOD_DAY, 0, 3 * DAY, { 0, 0 }, "day 0-72" },
	{ PERIOD_MONTH, 0, 3 * DAY, { 0, 0 }, "day 0-72" },
	{ PERIOD_TOTAL, 0, 3 * DAY, { 0, 0 }, "day 0-72" },
	{ PERIOD_TOTAL, HOUR / 2, 3 * DAY - HOUR / 2, { 0, 0 }, "row 0.5-1, hour 1-24, day 24-48, hour 48-71, row 71-71.5" },
	{ PERIOD_HOUR, HOUR / 2, 2 * HOUR, { 0, 0 }, "row 0.5-1, hour 1-2" },
	{ PERIOD_TOTAL, HOUR / 2, HOUR, { 0, 0 }, "row 0.5-1" },
	{ PERIOD_TOTAL, 5 * HOUR, 7 * HOUR, { 0, 0 }, "hour 5-7" },
	{ PERIOD_TOTAL, 20 * HOUR, 30 * HOUR, { 0, 0 }, "hour 20-30" },
	{ PERIOD_TOTAL, 5, 5, { 0, 0 }, "" },
	{ PERIOD_TOTAL, 5, 4, { 0, 0 }, "" },
	/* rows are gone */
	{ PERIOD_INTERVAL, 0, 3 * DAY, { 30 * HOUR, 0 }, "hour 0-30, row 30-72" },
	{ PERIOD_TOTAL, HOUR / 2, 3 * DAY, { 30 * HOUR, 0 }, "hour 0.5-30, hour 30-48, day 48-72" },
	{ PERIOD_HOUR, HOUR / 2, HOUR, { 30 * HOUR, 0 }, "hour 0.5-1" },
	/* hours are gone */
	{ PERIOD_INTERVAL, 0, 3 * DAY, { 2 * DAY, DAY }, "day 0-24, hour 24-48, row 48-72" },
	{ PERIOD_MINUTE, HOUR, 2 * HOUR, { 2 * DAY, DAY }, "day 1-2" },
	{ PERIOD_TOTAL, 0, 3 * DAY, { 2 * DAY, DAY }, "day 0-24, day 24-48, day 48-72" },
};

static char *print(const GArray *parts)
{
	GString *text = g_string_new(NULL);

	for (unsigned i = 0; i < parts->len; i++) {
		const struct part *part = &g_array_index(parts, struct part, i);

		g_string_append_printf(text, "%s%s %g-%g", i ? ", " : "", names[part->level], (double)part->since_us / HOUR,
		                       (double)part->until_us / HOUR);
	}
	return g_string_free(text, FALSE);
}

static void test_cases(void)
{
	g_autoptr(GTimeZone) utc = g_time_zone_new_utc();

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GArray) parts = levels_cut(cases[i].per, cases[i].since, cases[i].until, &cases[i].kept, utc);
		g_autofree char *text = print(parts);

		g_test_message("case %u", i);
		g_assert_cmpstr(text, ==, cases[i].parts);
	}
}

/* Whatever is asked: no hole, nothing twice, no rows or hours that are not kept, whole periods where a sum is read. */
static void test_random_questions(void)
{
	g_autoptr(GTimeZone) berlin = g_time_zone_new_identifier("Europe/Berlin");
	const int64_t begin = 1790000000 * INT64_C(1000000); /* September 2026; a change of the clock comes in October */

	g_assert_nonnull(berlin);
	for (unsigned i = 0; i < 20000; i++) {
		int64_t since = begin + g_test_rand_int_range(0, 60 * 86400) * INT64_C(1000000);
		int64_t until = since + g_test_rand_int_range(1, 20 * 86400) * INT64_C(1000000), end;
		enum period per = (enum period)g_test_rand_int_range(PERIOD_INTERVAL, PERIOD_TOTAL + 1);
		struct kept kept = { 0, 0 };
		g_autoptr(GArray) parts = NULL;

		period_bounds(PERIOD_DAY, begin + g_test_rand_int_range(0, 30) * DAY, berlin, &kept.hours_from_us, &end);
		period_bounds(PERIOD_HOUR, kept.hours_from_us + g_test_rand_int_range(0, 900) * HOUR, berlin, &kept.rows_from_us,
		              &end);
		parts = levels_cut(per, since, until, &kept, berlin);
		g_assert_cmpuint(parts->len, >, 0);
		for (unsigned j = 0; j < parts->len; j++) {
			const struct part *part = &g_array_index(parts, struct part, j);

			g_assert_cmpint(part->since_us, ==, j ? part[-1].until_us : since);
			g_assert_cmpint(part->until_us, >, part->since_us);
			g_assert_true(part->level > LEVEL_ROW || part->since_us >= kept.rows_from_us);
			g_assert_true(part->level > LEVEL_HOUR || part->since_us >= kept.hours_from_us);
			g_assert_true(per > PERIOD_HOUR || part->level < LEVEL_DAY || part->until_us <= kept.hours_from_us);
			g_assert_true(per > PERIOD_MINUTE || part->level < LEVEL_HOUR || part->until_us <= kept.rows_from_us);
		}
		g_assert_cmpint(g_array_index(parts, struct part, parts->len - 1).until_us, ==, until);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/levels/cases", test_cases);
	g_test_add_func("/levels/random-questions", test_random_questions);
	return g_test_run();
}

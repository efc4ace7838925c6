/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Times and periods, with the zones and days on which they go wrong.  Cases of zones that this host's time
 * zone database lacks are skipped.
 */
#include "core/period.h"

#include <string.h>

#define NOW INT64_C(1784808317250000) /* 2026-07-23T12:05:17.25Z */

/* NULL, and the case marked as skipped, without the database. */
static GTimeZone *zone(const char *name)
{
	GTimeZone *timezone = g_time_zone_new_identifier(name);

	if (!timezone)
		g_test_skip("no time zone database");
	return timezone;
}

/* ---- reading and writing ---- */

struct reading_case {
	const char *zone, *text, *right; /* right: in UTC, or a part of the message */
};

static void test_parse(void)
{
	static const struct reading_case cases[] = {
		{ "UTC", "now", "2026-07-23T12:05:17.250000Z" },
		{ "UTC", "today", "2026-07-23T00:00:00Z" },
		{ "Europe/Berlin", "today", "2026-07-22T22:00:00Z" },
		{ "UTC", "-30s", "2026-07-23T12:04:47.250000Z" },
		{ "UTC", "-90m", "2026-07-23T10:35:17.250000Z" },
		{ "UTC", "-1h", "2026-07-23T11:05:17.250000Z" },
		{ "UTC", "-2d", "2026-07-21T12:05:17.250000Z" },
		{ "UTC", "-1w", "2026-07-16T12:05:17.250000Z" },
		{ "UTC", "-0s", "2026-07-23T12:05:17.250000Z" },
		{ "UTC", "0", "1970-01-01T00:00:00Z" },
		{ "UTC", "1784808317", "2026-07-23T12:05:17Z" },
		{ "Europe/Berlin", "1784808317.5", "2026-07-23T12:05:17.500000Z" },
		{ "UTC", "2026-07-23", "2026-07-23T00:00:00Z" },
		{ "Europe/Berlin", "2026-07-23", "2026-07-22T22:00:00Z" },
		{ "Europe/Berlin", "2026-01-23", "2026-01-22T23:00:00Z" },
		{ "UTC", "2024-02-29", "2024-02-29T00:00:00Z" },
		{ "UTC", "2026-07-23T14:05", "2026-07-23T14:05:00Z" },
		{ "UTC", "2026-07-23 14:05:06", "2026-07-23T14:05:06Z" },
		{ "Europe/Berlin", "2026-07-23T14:05:06", "2026-07-23T12:05:06Z" },
		{ "Europe/Berlin", "2026-07-23T14:05:06Z", "2026-07-23T14:05:06Z" },
		{ "Europe/Berlin", "2026-07-23t14:05:06z", "2026-07-23T14:05:06Z" },
		{ "Europe/Berlin", "2026-07-23T14:05:06-03:30", "2026-07-23T17:35:06Z" },
		{ "UTC", "2026-07-23T14:05:06.25+05:45", "2026-07-23T08:20:06.250000Z" },
		{ "UTC", "2026-07-23T14:05:06.123456789Z", "2026-07-23T14:05:06.123456Z" },
		{ "UTC", "2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z" },
		{ "UTC", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z" },
		/* Around the changes of 2026 in Berlin: 29 March 02:00 -> 03:00, 25 October 03:00 ->
		 * 02:00. */
		{ "Europe/Berlin", "2026-03-29", "2026-03-28T23:00:00Z" },
		{ "Europe/Berlin", "2026-03-30", "2026-03-29T22:00:00Z" },
		{ "Europe/Berlin", "2026-03-29T01:59:59", "2026-03-29T00:59:59Z" },
		{ "Europe/Berlin", "2026-03-29T03:00:00", "2026-03-29T01:00:00Z" },
		{ "Europe/Berlin", "2026-10-25T01:59:59", "2026-10-24T23:59:59Z" },
		{ "Europe/Berlin", "2026-10-25T03:00:00", "2026-10-25T02:00:00Z" },
		{ "Europe/Berlin", "2026-10-25T02:30:00+02:00", "2026-10-25T00:30:00Z" },
		{ "Europe/Berlin", "2026-10-25T02:30:00+01:00", "2026-10-25T01:30:00Z" },
		/* A day without midnight (Beirut springs at 00:00), one with two (Havana falls at 01:00). */
		{ "Asia/Beirut", "2026-03-29", "2026-03-28T22:00:00Z" },
		{ "America/Havana", "2026-11-01", "2026-11-01T04:00:00Z" },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GTimeZone) timezone = zone(cases[i].zone), utc = g_time_zone_new_utc();
		g_autoptr(GError) error = NULL;
		g_autofree char *text = NULL;
		int64_t time_us;

		if (!timezone)
			continue;
		g_test_message("%s in %s", cases[i].text, cases[i].zone);
		g_assert_true(time_parse(cases[i].text, NOW, timezone, &time_us, &error));
		g_assert_no_error(error);
		text = time_format(time_us, utc);
		g_assert_cmpstr(text, ==, cases[i].right);
	}
}

static void test_parse_bad(void)
{
	static const struct reading_case cases[] = {
		{ "UTC", "", "-90m" }, { "UTC", "yesterday", "-90m" }, { "UTC", "Now", "-90m" },
		{ "UTC", " now", "-90m" }, { "UTC", "+1h", "-90m" },
		{ "UTC", "-", "-1h" }, { "UTC", "-1", "-1h" }, { "UTC", "-h", "-1h" }, { "UTC", "-1x", "-1h" },
		{ "UTC", "-1hh", "-1h" }, { "UTC", "- 1h", "-1h" }, { "UTC", "--1h", "-1h" }, { "UTC", "-1.5h", "-1h" },
		{ "UTC", "-99999999999999999999w", "-1h" }, { "UTC", "-99999999w", "from 1970 to 9999" },
		{ "UTC", "-253402300799w", "from 1970 to 9999" },
		{ "UTC", "2026-7-23", "2026-07-23" }, { "UTC", "2026-02-29", "-90m" }, { "UTC", "2100-02-29", "-90m" },
		{ "UTC", "2026-13-01", "-90m" }, { "UTC", "2026-00-01", "-90m" }, { "UTC", "2026-07-32", "-90m" },
		{ "UTC", "1969-12-31", "-90m" }, { "UTC", "2026-07-23T", "-90m" }, { "UTC", "2026-07-23T24:00", "-90m" },
		{ "UTC", "2026-07-23T14:60", "-90m" }, { "UTC", "2026-07-23T14:05:61", "-90m" },
		{ "UTC", "2026-07-23T14:05:06.", "-90m" }, { "UTC", "2026-07-23T14:05:06+2", "-90m" },
		{ "UTC", "2026-07-23T14:05:06+02:60", "-90m" }, { "UTC", "2026-07-23T14:05:06Zx", "-90m" },
		{ "UTC", "2026-07-23T14:05:06 +02:00", "-90m" }, { "UTC", "2026-07-23Z", "-90m" },
		{ "UTC", "20260723", "2026-07-23" }, { "UTC", "1784808317x", "-90m" },
		{ "UTC", "1784808317000", "1784808300" }, { "UTC", "1784808317.", "1784808300" },
		{ "UTC", "99999999999999999999999", "1784808300" },
		{ "UTC", "1970-01-01T00:00:00+01:00", "from 1970 to 9999" },
		{ "UTC", "9999-12-31T23:59:59-01:00", "from 1970 to 9999" },
		{ "Europe/Berlin", "2026-03-29T02:30:00", "2026-03-29T01:30:00+01:00 or 2026-03-29T03:30:00+02:00" },
		{ "Europe/Berlin", "2026-03-29T02:00", "does not exist" },
		{ "Europe/Berlin", "2026-10-25T02:30:00", "2026-10-25T02:30:00+02:00 or 2026-10-25T02:30:00+01:00" },
		{ "Europe/Berlin", "2026-10-25T02:00:00", "comes twice" },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GTimeZone) timezone = zone(cases[i].zone);
		g_autoptr(GError) error = NULL;
		int64_t time_us = 7;

		if (!timezone)
			continue;
		g_test_message("'%s' in %s", cases[i].text, cases[i].zone);
		g_assert_false(time_parse(cases[i].text, NOW, timezone, &time_us, &error));
		g_assert_nonnull(error);
		g_test_message("%s", error->message);
		g_assert_nonnull(strstr(error->message, cases[i].right));
		g_assert_nonnull(strstr(error->message, cases[i].text));
		g_assert_null(strchr(error->message, '\n'));
		g_assert_cmpint(time_us, ==, 7);
	}
}

static void test_format(void)
{
	static const struct {
		const char *zone;
		int64_t time_us;
		const char *right;
	} cases[] = {
		{ "UTC", 0, "1970-01-01T00:00:00Z" },
		{ "UTC", -1, "1969-12-31T23:59:59.999999Z" },
		{ "UTC", NOW, "2026-07-23T12:05:17.250000Z" },
		{ "Europe/Berlin", NOW, "2026-07-23T14:05:17.250000+02:00" },
		{ "Asia/Kathmandu", NOW, "2026-07-23T17:50:17.250000+05:45" },
		{ "America/St_Johns", NOW, "2026-07-23T09:35:17.250000-02:30" },
		{ "UTC", INT64_MAX, "9223372036854" },
		{ "UTC", INT64_MIN, "-9223372036855" },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GTimeZone) timezone = zone(cases[i].zone);
		g_autofree char *text = timezone ? time_format(cases[i].time_us, timezone) : NULL;

		if (timezone)
			g_assert_cmpstr(text, ==, cases[i].right);
	}
}

/* ---- periods ---- */

static void test_bounds(void)
{
	static const struct {
		const char *zone, *time;
		enum period period;
		const char *start, *end;
	} cases[] = {
		{ "UTC", "2026-07-23T12:05:17.25Z", PERIOD_MINUTE, "2026-07-23T12:05:00Z", "2026-07-23T12:06:00Z" },
		{ "UTC", "2026-07-23T12:05:00Z", PERIOD_MINUTE, "2026-07-23T12:05:00Z", "2026-07-23T12:06:00Z" },
		{ "UTC", "2026-07-23T12:05:17Z", PERIOD_HOUR, "2026-07-23T12:00:00Z", "2026-07-23T13:00:00Z" },
		{ "Asia/Kolkata", "2026-07-23T12:05:17Z", PERIOD_HOUR, "2026-07-23T17:00:00+05:30",
		  "2026-07-23T18:00:00+05:30" },
		{ "UTC", "2026-07-23T23:59:59.999999Z", PERIOD_DAY, "2026-07-23T00:00:00Z", "2026-07-24T00:00:00Z" },
		{ "UTC", "2024-02-29T12:00:00Z", PERIOD_DAY, "2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z" },
		{ "UTC", "2024-02-29T12:00:00Z", PERIOD_MONTH, "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z" },
		{ "UTC", "2026-12-31T23:59:59Z", PERIOD_MONTH, "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z" },
		/* The day of 23 hours, and the one of 25. */
		{ "Europe/Berlin", "2026-03-29T12:00:00Z", PERIOD_DAY, "2026-03-29T00:00:00+01:00",
		  "2026-03-30T00:00:00+02:00" },
		{ "Europe/Berlin", "2026-10-25T12:00:00Z", PERIOD_DAY, "2026-10-25T00:00:00+02:00",
		  "2026-10-26T00:00:00+01:00" },
		{ "Europe/Berlin", "2026-10-25T12:00:00Z", PERIOD_MONTH, "2026-10-01T00:00:00+02:00",
		  "2026-11-01T00:00:00+01:00" },
		/* The hour that comes twice is two hours. */
		{ "Europe/Berlin", "2026-10-25T00:30:00Z", PERIOD_HOUR, "2026-10-25T02:00:00+02:00",
		  "2026-10-25T02:00:00+01:00" },
		{ "Europe/Berlin", "2026-10-25T01:30:00Z", PERIOD_HOUR, "2026-10-25T02:00:00+01:00",
		  "2026-10-25T03:00:00+01:00" },
		/* Lord Howe moves by half an hour: hours that are cut. */
		{ "Australia/Lord_Howe", "2026-04-04T15:15:00Z", PERIOD_HOUR, "2026-04-05T01:30:00+10:30",
		  "2026-04-05T02:00:00+10:30" },
		{ "Australia/Lord_Howe", "2026-10-03T15:45:00Z", PERIOD_HOUR, "2026-10-04T02:30:00+11:00",
		  "2026-10-04T03:00:00+11:00" },
		/* Midnight that is jumped over, that comes twice, and a date that never was. */
		{ "Asia/Beirut", "2026-03-29T12:00:00Z", PERIOD_DAY, "2026-03-29T01:00:00+03:00",
		  "2026-03-30T00:00:00+03:00" },
		{ "America/Havana", "2026-11-01T04:30:00Z", PERIOD_DAY, "2026-11-01T00:00:00-04:00",
		  "2026-11-02T00:00:00-05:00" },
		{ "America/Havana", "2026-11-01T05:30:00Z", PERIOD_DAY, "2026-11-01T00:00:00-04:00",
		  "2026-11-02T00:00:00-05:00" },
		{ "Pacific/Apia", "2011-12-30T09:00:00Z", PERIOD_DAY, "2011-12-29T00:00:00-10:00",
		  "2011-12-31T00:00:00+14:00" },
		{ "Pacific/Apia", "2011-12-30T10:00:00Z", PERIOD_DAY, "2011-12-31T00:00:00+14:00",
		  "2012-01-01T00:00:00+14:00" },
		/* Set back over midnight at 00:01: the day began before, and goes on. */
		{ "America/St_Johns", "2010-11-07T03:00:00Z", PERIOD_DAY, "2010-11-07T00:00:00-02:30",
		  "2010-11-08T00:00:00-03:30" },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GTimeZone) timezone = zone(cases[i].zone);
		g_autofree char *start = NULL, *end = NULL;
		int64_t time_us, start_us, end_us;

		if (!timezone)
			continue;
		g_test_message("%s of %s in %s", period_name(cases[i].period), cases[i].time, cases[i].zone);
		g_assert_true(time_parse(cases[i].time, NOW, timezone, &time_us, NULL));
		period_bounds(cases[i].period, time_us, timezone, &start_us, &end_us);
		start = time_format(start_us, timezone);
		end = time_format(end_us, timezone);
		g_assert_cmpstr(start, ==, cases[i].start);
		g_assert_cmpstr(end, ==, cases[i].end);
	}
}

/* Every instant lies in its period, all instants of a period name the same one, the next begins where it
 * ends. */
static void check_period(enum period period, int64_t time_us, GTimeZone *timezone)
{
	int64_t start_us, end_us, other_start_us, other_end_us;

	period_bounds(period, time_us, timezone, &start_us, &end_us);
	g_assert_cmpint(start_us, <=, time_us);
	g_assert_cmpint(time_us, <, end_us);
	period_bounds(period, start_us, timezone, &other_start_us, &other_end_us);
	g_assert_cmpint(other_start_us, ==, start_us);
	g_assert_cmpint(other_end_us, ==, end_us);
	period_bounds(period, end_us - 1, timezone, &other_start_us, &other_end_us);
	g_assert_cmpint(other_start_us, ==, start_us);
	g_assert_cmpint(other_end_us, ==, end_us);
	period_bounds(period, end_us, timezone, &other_start_us, &other_end_us);
	g_assert_cmpint(other_start_us, ==, end_us);
}

static void test_periods_partition_time(void)
{
	static const char *const zones[] = {
		"UTC", "Europe/Berlin", "Europe/London", "America/New_York", "America/Sao_Paulo", "America/Havana",
		"America/St_Johns", "Australia/Lord_Howe", "Asia/Beirut", "Asia/Kolkata", "Asia/Tehran", "Pacific/Apia",
		"Pacific/Chatham", "Africa/Casablanca", "Antarctica/Troll",
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(zones); i++) {
		g_autoptr(GTimeZone) timezone = zone(zones[i]);

		if (!timezone)
			continue;
		g_test_message("%s", zones[i]);
		for (unsigned round = 0; round < 2000; round++) {
			int64_t from = INT64_C(631152000), days = 40 * 365; /* 1990 to 2030 */
			int64_t time_us = (from + g_test_rand_int_range(0, (int)days) * INT64_C(86400)) * G_USEC_PER_SEC +
			                  (int64_t)g_test_rand_double_range(0, 86400e6);

			for (int period = PERIOD_MINUTE; period <= PERIOD_MONTH; period++)
				check_period((enum period)period, time_us, timezone);
		}
		/* Every hour of ten years, so that no change is missed. */
		for (int64_t hour = 350000; hour < 350000 + 24 * 3653; hour++)
			for (int period = PERIOD_HOUR; period <= PERIOD_DAY; period++)
				check_period((enum period)period, hour * 3600 * G_USEC_PER_SEC, timezone);
	}
}

/* What is written is read back as the same instant, in any zone. */
static void test_round_trip(void)
{
	static const char *const zones[] = { "UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu" };

	for (unsigned i = 0; i < G_N_ELEMENTS(zones); i++) {
		g_autoptr(GTimeZone) timezone = zone(zones[i]);

		for (unsigned round = 0; timezone && round < 5000; round++) {
			int64_t time_us = (int64_t)g_test_rand_double_range(0, 4e15), back_us;
			g_autofree char *text = time_format(time_us, timezone);

			g_assert_true(time_parse(text, NOW, timezone, &back_us, NULL));
			g_assert_cmpint(back_us, ==, time_us);
		}
	}
}

static void test_names(void)
{
	enum period period;

	for (int i = PERIOD_INTERVAL; i <= PERIOD_TOTAL; i++) {
		g_assert_true(period_from_name(period_name((enum period)i), &period));
		g_assert_cmpint(period, ==, i);
	}
	g_assert_false(period_from_name("week", &period));
	g_assert_false(period_from_name("", &period));
}

static void test_next_sample(void)
{
	static const struct {
		int64_t now_us, interval_us, next_us;
	} cases[] = {
		{ 0, 60, 60 }, { 59, 60, 60 }, { 60, 60, 120 }, { 61, 60, 120 },
		{ -1, 60, 0 }, { -60, 60, 0 }, { -61, 60, -60 },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++)
		g_assert_cmpint(period_next_sample(cases[i].now_us, cases[i].interval_us), ==, cases[i].next_us);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/period/names", test_names);
	g_test_add_func("/period/parse", test_parse);
	g_test_add_func("/period/parse_bad", test_parse_bad);
	g_test_add_func("/period/format", test_format);
	g_test_add_func("/period/bounds", test_bounds);
	g_test_add_func("/period/periods_partition_time", test_periods_partition_time);
	g_test_add_func("/period/round_trip", test_round_trip);
	g_test_add_func("/period/next_sample", test_next_sample);
	return g_test_run();
}

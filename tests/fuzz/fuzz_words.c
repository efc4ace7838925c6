/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Words of the command line and names of counters: times, prefixes, addresses, classes.  What is taken is written back
 * and taken again, as the same.
 */
#include "fuzz.h"

#include "core/classes.h"
#include "core/period.h"
#include "core/plan.h"
#include "core/prefix.h"

#include <string.h>

#define NOW_US INT64_C(1784808000123456)

static void try_time(const char *word)
{
	static const char *const zones[] = { "UTC", "Europe/Berlin", "Asia/Kathmandu" };
	int64_t time_us, again_us;

	for (unsigned i = 0; i < G_N_ELEMENTS(zones); i++) {
		g_autoptr(GTimeZone) zone = g_time_zone_new_identifier(zones[i]);
		g_autoptr(GError) error = NULL;
		g_autofree char *text = NULL;
		bool taken;

		fuzz_check(zone);
		taken = time_parse(word, NOW_US, zone, &time_us, &error);
		fuzz_check_told(taken, error);
		if (!taken)
			continue;
		text = time_format(time_us, zone);
		fuzz_check(time_parse(text, NOW_US, zone, &again_us, NULL) && again_us == time_us);
		for (enum period per = PERIOD_MINUTE; per < PERIOD_TOTAL; per++) {
			int64_t start_us, end_us;

			period_bounds(per, time_us, zone, &start_us, &end_us);
			fuzz_check(start_us <= time_us && time_us < end_us);
		}
	}
}

static void try_prefix(const char *word)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *text = NULL;
	struct prefix prefix, again;
	bool taken = prefix_parse(word, &prefix, &error);

	fuzz_check_told(taken, error);
	if (!taken)
		return;
	text = prefix_to_string(&prefix);
	fuzz_check(prefix_parse(text, &again, NULL) && prefix_compare(&prefix, &again) == 0);
	fuzz_check(prefix_contains(&prefix, prefix_first(&prefix)) && prefix_contains(&prefix, prefix_last(&prefix)));
}

static void try_names(const char *word)
{
	uint32_t address;
	struct meter_key key;
	enum period per;
	enum kind kind;
	bool out;

	if (address_from_string(word, &address)) {
		g_autofree char *text = address_to_string(address);

		fuzz_check(!address || g_str_equal(text, word));
	}
	if (plan_counter_parse(word, &key, &out)) {
		g_autofree char *name = plan_counter_name(&key, out);

		fuzz_check(g_str_equal(name, word) && class_name_is_valid(key.class_name));
	}
	if (period_from_name(word, &per))
		fuzz_check(g_str_equal(period_name(per), word));
	if (kind_from_name(word, &kind))
		fuzz_check(g_str_equal(kind_name(kind), word));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autofree char *word = g_strndup((const char *)data, size);

	try_time(word);
	try_prefix(word);
	try_names(word);
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The configuration file.  What is taken is inside its bounds; what is refused is refused in one line.
 */
#include "fuzz.h"

#include "core/config.h"

#include <string.h>

static void check_bounds(const struct config *config)
{
	fuzz_check(config->interval_s >= CONFIG_INTERVAL_MIN && config->interval_s <= CONFIG_INTERVAL_MAX);
	fuzz_check(g_path_is_absolute(config->netns_dir) && g_path_is_absolute(config->state_dir));
	fuzz_check(config->keep_rows_days >= 1 && config->keep_hours_days >= config->keep_rows_days &&
	           config->keep_hours_days <= CONFIG_KEEP_MAX);
	fuzz_check(config->quota <= INT64_MAX);
	fuzz_check(config->timezone && config->classes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autofree char *text = g_strndup((const char *)data, size);
	g_autoptr(GError) error = NULL;
	SCOPED(config) *config = NULL;

	/* g_strndup() stops at a NUL byte: behind it goes what the file had. */
	memcpy(text, data, size);
	config = config_parse(text, size, "fuzz.conf", &error);
	fuzz_check_told(config, error);
	if (config)
		check_bounds(config);
	else
		fuzz_check(!strncmp(error->message, "fuzz.conf: ", 11));
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two reads a few nanoseconds apart stand for one moment.
 */
#include "kernel/clock.h"

#include <time.h>

static int64_t read_us(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return time.tv_sec * INT64_C(1000000) + time.tv_nsec / 1000;
}

struct instant clock_now(void)
{
	return (struct instant){ .utc_us = read_us(CLOCK_REALTIME), .boot_us = read_us(CLOCK_BOOTTIME) };
}

char *clock_boot_id(GError **error)
{
	char *id;

	if (!g_file_get_contents("/proc/sys/kernel/random/boot_id", &id, NULL, error))
		return NULL;
	return g_strstrip(id);
}

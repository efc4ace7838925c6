/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two reads a few nanoseconds apart stand for one moment.
 */
#include "kernel/clock.h"

#include <errno.h>
#include <sys/timex.h>
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

bool clock_is_synchronised(bool *synchronised, int64_t *error_us, GError **error)
{
	struct timex time = { .modes = 0 }; /* asks only, so no privilege is needed */
	int state = adjtimex(&time);

	if (state < 0) {
		g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno), "adjtimex: %s", g_strerror(errno));
		return false;
	}
	*synchronised = state != TIME_ERROR && !(time.status & STA_UNSYNC);
	*error_us = time.maxerror;
	return true;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Times as people write them, and the periods that rows are summed by.  All times in microseconds of UTC.
 */
#ifndef FIPMETER_CORE_PERIOD_H
#define FIPMETER_CORE_PERIOD_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

enum period { PERIOD_INTERVAL, PERIOD_MINUTE, PERIOD_HOUR, PERIOD_DAY, PERIOD_MONTH, PERIOD_TOTAL };

bool period_from_name(const char *name, enum period *period);
const char *period_name(enum period period);

/* Start and end of the period that holds time_us, in timezone (days and months begin at local midnight; a local day
 * can have 23 or 25 hours).  Not for PERIOD_INTERVAL and PERIOD_TOTAL. */
void period_bounds(enum period period, int64_t time_us, GTimeZone *timezone, int64_t *start_us, int64_t *end_us);

/* Reads RFC 3339 (without zone: timezone's), a date, epoch seconds, `now`, `today`, or an offset back from now such as
 * -90m, -1h, -2d, -30s, -1w.  Returns false with an error that shows what would be right. */
bool time_parse(const char *text, int64_t now_us, GTimeZone *timezone, int64_t *time_us, GError **error);

/* RFC 3339 with offset (Z for UTC); seconds, and a fraction only when there is one.  The caller frees. */
char *time_format(int64_t time_us, GTimeZone *timezone);

/* When the next sample is due: the next multiple of interval_us after now_us. */
int64_t period_next_sample(int64_t now_us, int64_t interval_us);

#endif

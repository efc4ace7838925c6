/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See levels.h.
 */
#include "core/levels.h"

static const enum period periods[] = { [LEVEL_HOUR] = PERIOD_HOUR, [LEVEL_DAY] = PERIOD_DAY };

struct cutter {
	GArray *parts;
	GTimeZone *timezone;
};

static void add(const struct cutter *cutter, enum level level, int64_t since_us, int64_t until_us)
{
	struct part part = { level, since_us, until_us };

	if (since_us < until_us)
		g_array_append_val(cutter->parts, part);
}

/* The first begin of a period of the level that is not before time_us, and the last that is not after it. */
static int64_t first_begin(const struct cutter *cutter, enum level level, int64_t time_us)
{
	int64_t start_us, end_us;

	period_bounds(periods[level], time_us, cutter->timezone, &start_us, &end_us);
	return start_us == time_us ? start_us : end_us;
}

static int64_t last_begin(const struct cutter *cutter, enum level level, int64_t time_us)
{
	int64_t start_us, end_us;

	period_bounds(periods[level], time_us, cutter->timezone, &start_us, &end_us);
	return start_us;
}

/* Whole periods of the coarsest level, and what is left at both ends by the finer ones. */
static void cut(const struct cutter *cutter, enum level coarsest, enum level finest, int64_t since_us, int64_t until_us)
{
	int64_t first_us, last_us;

	if (since_us >= until_us)
		return;
	if (coarsest <= finest) {
		add(cutter, finest, since_us, until_us);
		return;
	}
	first_us = first_begin(cutter, coarsest, since_us);
	last_us = last_begin(cutter, coarsest, until_us);
	if (first_us >= last_us) {
		cut(cutter, coarsest - 1, finest, since_us, until_us);
		return;
	}
	cut(cutter, coarsest - 1, finest, since_us, first_us);
	add(cutter, coarsest, first_us, last_us);
	cut(cutter, coarsest - 1, finest, last_us, until_us);
}

static enum level coarsest_for(enum period per)
{
	switch (per) {
	case PERIOD_INTERVAL:
	case PERIOD_MINUTE:
		return LEVEL_ROW;
	case PERIOD_HOUR:
		return LEVEL_HOUR;
	case PERIOD_DAY:
	case PERIOD_MONTH:
	case PERIOD_TOTAL:
		break;
	}
	return LEVEL_DAY;
}

GArray *levels_cut(enum period per, int64_t since_us, int64_t until_us, const struct kept *kept, GTimeZone *timezone)
{
	const struct cutter cutter = { g_array_new(FALSE, FALSE, sizeof(struct part)), timezone };
	enum level coarsest = coarsest_for(per);
	int64_t rows_us = MAX(since_us, kept->rows_from_us), hours_us = MAX(since_us, kept->hours_from_us);

	add(&cutter, LEVEL_DAY, since_us, MIN(until_us, hours_us));
	cut(&cutter, coarsest, LEVEL_HOUR, hours_us, MIN(until_us, rows_us));
	cut(&cutter, coarsest, LEVEL_ROW, MAX(hours_us, rows_us), until_us);
	return cutter.parts;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Usage is kept at three levels: the rows themselves, sums of hours, sums of days.  A question about a time is cut into
 * parts, each of which is read at one level: the coarsest that answers it exactly, or the finest that is still kept.
 *
 * At every level what starts inside a part belongs to it whole.  So a question whose bounds cut an hour of which the rows
 * are no longer kept gets that hour if it starts inside the bounds.
 */
#ifndef FIPMETER_CORE_LEVELS_H
#define FIPMETER_CORE_LEVELS_H

#include "core/period.h"

#include <glib.h>
#include <stdint.h>

enum level { LEVEL_ROW, LEVEL_HOUR, LEVEL_DAY };

struct part {
	enum level level;
	int64_t since_us; /* included */
	int64_t until_us; /* not included; never empty */
};

/* What is not kept any more: all that starts before these, at that level. */
struct kept {
	int64_t rows_from_us;  /* the start of an hour */
	int64_t hours_from_us; /* the start of a day; never after rows_from_us */
};

/* The parts of [since_us, until_us), ascending, without holes, none twice; per is how fine the answer has to be.
 * Returns an array of struct part that the caller frees. */
GArray *levels_cut(enum period per, int64_t since_us, int64_t until_us, const struct kept *kept, GTimeZone *timezone);

#endif

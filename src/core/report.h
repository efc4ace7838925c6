/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reports: what `fipmeter usage` was asked for, and the sums that answer it.  Pure: rows go in one by one, groups
 * come out sorted.  A usage row belongs whole to the period of its start (core/period.h) and is never split; the
 * report counts how many rows reach past the end of their period.
 */
#ifndef FIPMETER_CORE_REPORT_H
#define FIPMETER_CORE_REPORT_H

#include "core/model.h"
#include "core/period.h"

enum report_by { REPORT_BY_ADDRESS, REPORT_BY_ROUTER, REPORT_BY_CLASS, REPORT_BY_PROJECT, REPORT_BY_NODE };

/* One line of a report, and also one usage row as the store reads it out (then with all members set).  A text that
 * is not part of the group's key is "" and a kind that is not is -1.  Text is interned by the report. */
struct report_line {
	const char *node, *router, *class_name;
	int kind;                 /* enum kind, or -1 */
	uint32_t address, fixed;
	int64_t start_us, end_us;
	struct counts counts;
	int basis;                /* enum basis, or -1: mixed */
	unsigned flags;           /* the union */
	uint64_t crossing;        /* of a sum: how many of its rows end behind end_us */
};

struct report;

/* With PERIOD_INTERVAL each row stays a line of its own, whatever by says.  since_us and until_us bound the report:
 * with PERIOD_TOTAL they are the start and end of its lines. */
struct report *report_new(enum report_by by, enum period per, GTimeZone *timezone, int64_t since_us,
                          int64_t until_us);
void report_free(struct report *report);

/* row is copied. */
void report_add(struct report *report, const struct report_line *row);

/* The lines (struct report_line, the report's own), sorted by start, then router, kind, address, class. */
GArray *report_lines(struct report *report);

/* Rows that reach past the end of their period. */
uint64_t report_crossing(const struct report *report);

#endif

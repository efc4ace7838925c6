/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sums.  A row is cut down to the key of its group (report_by and the period of its start), the group is
 * found by that key, and the row's counts go in.  With PERIOD_INTERVAL there are no groups: each row is a
 * line.
 */
#include "core/report.h"

#include <string.h>

struct report {
	enum report_by by;
	enum period per;
	GTimeZone *timezone;
	int64_t since_us, until_us;
	GStringChunk *texts;
	GHashTable *groups;     /* set of struct report_line: start and the key's members say which */
	GArray *lines;          /* of struct report_line; of groups, copied when asked for */
	int64_t start_us, end_us; /* the period that was looked up last; rows come in order, mostly */
	uint64_t crossing;
};

/* ---- keys ---- */

static int compare_numbers(int64_t a, int64_t b)
{
	return a == b ? 0 : a < b ? -1 : 1;
}

/* Interned texts, so equal ones are mostly equal pointers. */
static int compare_texts(const char *a, const char *b)
{
	return a == b ? 0 : strcmp(a, b);
}

/* The order of the lines.  All members that can tell two groups apart take part. */
static int compare_keys(const struct report_line *a, const struct report_line *b)
{
	int order = compare_numbers(a->start_us, b->start_us);

	order = order ? order : compare_texts(a->router, b->router);
	order = order ? order : compare_numbers(a->kind, b->kind);
	order = order ? order : compare_numbers(a->address, b->address);
	order = order ? order : compare_texts(a->class_name, b->class_name);
	return order ? order : compare_texts(a->node, b->node);
}

/* Rows of one key, which PERIOD_INTERVAL shows one by one, need an order too, so that the same question
 * gets the same answer. */
static int compare_lines(const void *a, const void *b)
{
	const struct report_line *first = a, *second = b;
	int order = compare_keys(first, second);

	order = order ? order : compare_numbers(first->end_us, second->end_us);
	return order ? order : compare_numbers(first->fixed, second->fixed);
}

static gboolean is_same_group(const void *a, const void *b)
{
	return compare_keys(a, b) == 0;
}

static guint hash_key(const void *key)
{
	const struct report_line *line = key;
	guint hash = g_str_hash(line->router);

	hash = hash * 31 + g_str_hash(line->class_name);
	hash = hash * 31 + g_str_hash(line->node);
	hash = hash * 31 + line->address;
	hash = hash * 31 + (guint)line->kind;
	return hash * 31 + g_int64_hash(&line->start_us);
}

/* Leaves of a row what its group is known by. */
static void cut_to_key(enum report_by by, struct report_line *line)
{
	struct report_line key = {
		.node = "", .router = "", .class_name = "", .kind = -1,
		.start_us = line->start_us, .end_us = line->end_us,
		.counts = line->counts, .basis = line->basis, .flags = line->flags,
	};

	switch (by) {
	case REPORT_BY_ADDRESS:
		key.router = line->router;
		key.kind = line->kind;
		key.address = line->address;
		break;
	case REPORT_BY_ROUTER:
		key.router = line->router;
		break;
	case REPORT_BY_CLASS:
		key.class_name = line->class_name;
		break;
	case REPORT_BY_PROJECT: /* owners are not known here: all is one group */
		break;
	case REPORT_BY_NODE:
		key.node = line->node;
		break;
	}
	*line = key;
}

/* ---- the report ---- */

struct report *report_new(enum report_by by, enum period per, GTimeZone *timezone, int64_t since_us,
                          int64_t until_us)
{
	struct report *report = g_new0(struct report, 1);

	report->by = by;
	report->per = per;
	report->timezone = g_time_zone_ref(timezone);
	report->since_us = since_us;
	report->until_us = until_us;
	report->texts = g_string_chunk_new(4096);
	report->groups = g_hash_table_new_full(hash_key, is_same_group, g_free, NULL);
	report->lines = g_array_new(FALSE, TRUE, sizeof(struct report_line));
	return report;
}

void report_free(struct report *report)
{
	if (!report)
		return;
	g_time_zone_unref(report->timezone);
	g_string_chunk_free(report->texts);
	g_hash_table_unref(report->groups);
	g_array_unref(report->lines);
	g_free(report);
}

static const char *intern(struct report *report, const char *text)
{
	return text ? g_string_chunk_insert_const(report->texts, text) : "";
}

static void find_period(struct report *report, int64_t time_us)
{
	if (report->per == PERIOD_TOTAL) {
		report->start_us = report->since_us;
		report->end_us = report->until_us;
	} else if (time_us < report->start_us || time_us >= report->end_us) {
		period_bounds(report->per, time_us, report->timezone, &report->start_us, &report->end_us);
	}
}

static void add_to_group(struct report *report, const struct report_line *line)
{
	struct report_line *group = g_hash_table_lookup(report->groups, line);

	if (!group) {
		g_hash_table_add(report->groups, g_memdup2(line, sizeof *line));
		return;
	}
	counts_add(&group->counts, &line->counts);
	group->flags |= line->flags;
	if (group->basis != line->basis)
		group->basis = -1;
}

void report_add(struct report *report, const struct report_line *row)
{
	struct report_line line = *row;

	line.node = intern(report, row->node);
	line.router = intern(report, row->router);
	line.class_name = intern(report, row->class_name);
	if (report->per == PERIOD_INTERVAL) {
		g_array_append_val(report->lines, line);
		return;
	}
	find_period(report, row->start_us);
	if (row->end_us > report->end_us)
		report->crossing++;
	else if (row->end_us == report->end_us)
		report->crossing += row->crossing;
	line.start_us = report->start_us;
	line.end_us = report->end_us;
	cut_to_key(report->by, &line);
	add_to_group(report, &line);
}

GArray *report_lines(struct report *report)
{
	GHashTableIter groups;
	void *group;

	if (report->per != PERIOD_INTERVAL)
		g_array_set_size(report->lines, 0);
	g_hash_table_iter_init(&groups, report->groups);
	while (g_hash_table_iter_next(&groups, &group, NULL))
		g_array_append_vals(report->lines, group, 1);
	g_array_sort(report->lines, compare_lines);
	return report->lines;
}

uint64_t report_crossing(const struct report *report)
{
	return report->crossing;
}

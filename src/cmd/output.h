/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Results as rows of typed cells, written as a table for people, or as JSON or CSV for machines.
 *
 * Machines get every integer exactly and every time as RFC 3339 in UTC.  People get local times, numbers of
 * three digits unless they ask for exact ones, and a table that is no wider than their terminal: columns are
 * first shortened, then left out.  Text may come from anywhere: no format lets a control character through.
 */
#ifndef FIPMETER_CMD_OUTPUT_H
#define FIPMETER_CMD_OUTPUT_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum output_type {
	OUTPUT_TEXT,
	OUTPUT_WORDS, /* text, words with a blank between: an array in JSON */
	OUTPUT_COUNT,
	OUTPUT_BYTES,
	OUTPUT_TIME,
	OUTPUT_FIGURE, /* text, of a number that is written already; for people alone */
};

struct output_column {
	const char *name;   /* in JSON and CSV */
	const char *title;  /* in a table */
	enum output_type type;
	unsigned shorten;   /* a narrow table shows so many columns of it; 0: all */
	unsigned leave_out; /* too wide still: those with the highest go, the first never; 0: stays */
};

union output_cell {
	const char *text;
	uint64_t number;
	int64_t time_us;
};

/* How people want it; machines are not asked. */
struct output_style {
	unsigned width;      /* of the terminal; 0: no limit */
	bool exact;          /* whole numbers, fractions of seconds */
	GTimeZone *timezone; /* of times */
};

struct output_format;
struct output;

/* "table", "markdown", "json" or "csv"; NULL for a stranger. */
const struct output_format *output_format_find(const char *name);
bool output_format_is_for_people(const struct output_format *format);

/* The columns of stream's terminal; 0 if it is none. */
unsigned output_terminal_width(FILE *stream);

/* columns (of const struct output_column *, as many as n) must outlive it; style is copied. */
struct output *output_new(const struct output_format *format, FILE *stream,
                          const struct output_column *const *columns, unsigned n,
                          const struct output_style *style);

/* One cell for each column. */
void output_row(struct output *output, const union output_cell *cells);

/* For people alone: a line above the table, its last line (the numbers of cells, under "total"), a line
 * below it. */
void output_caption(struct output *output, const char *format, ...) G_GNUC_PRINTF(2, 3);
void output_total(struct output *output, const union output_cell *cells);
void output_note(struct output *output, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* Writes what is still to be written and frees output.  Errors of the stream stay with the stream. */
void output_finish(struct output *output);

/* Three digits with an SI prefix: "999 B", "1.23 MB"; without unit "1.23 M".  The caller frees. */
char *output_number_for_people(uint64_t number, const char *unit);

/* Writes text as a JSON string: printable characters alone, all others escaped. */
void output_json_string(FILE *stream, const char *text);

#endif

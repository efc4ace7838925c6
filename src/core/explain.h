/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From a row back to its counters: what the books know of one public address, put in the order in which `fipmeter
 * explain` tells it.  Pure: store/trace.c fills it, cmd/explain.c shows it.
 *
 * An address has lives: as long as the same counters counted it for the same fixed address.  Of these one is told, the one
 * that was in force at the time asked for, or else the nearest before it.  Its meters, one a class, are the lines of what
 * is told, and the window is the time of the row that holds the time asked for, or of the last one before it: a class that
 * had no traffic then has no row in it, and its counters stood still.
 */
#ifndef FIPMETER_CORE_EXPLAIN_H
#define FIPMETER_CORE_EXPLAIN_H

#include "core/levels.h"
#include "core/model.h"

#define EXPLAIN_AROUND_US (24 * 3600 * INT64_C(1000000)) /* gaps are told so long before and after the window */

struct explain_life {
	const struct generation *of;
	enum kind kind;
	uint32_t fixed;
	int64_t from_us, to_us; /* UTC; to_us 0: it goes on */
	GPtrArray *meters;      /* of const struct meter *, by id */
};

/* One row of a meter, or the sum of an hour or a day. */
struct explain_row {
	char store[33];        /* id of the store it was written to; a sum has neither this nor a number */
	int64_t seq;
	int64_t start_us, end_us;
	struct counts counts;
	struct counts reading; /* of a row alone: what the counters showed at its end */
	unsigned flags;
};

struct explain_line {
	const struct meter *meter;
	struct counts booked;  /* all that is in the books of it */
	bool has_row;          /* in the window */
	bool chains;           /* it has none, or that begins at the reading at which the one before it ended */
	struct explain_row row; /* zeros where it has none */
	struct counts baseline, reading; /* of the counters, at both ends of the window; where that is of rows */
};

struct explanation {
	uint32_t address;
	int64_t at_us;         /* the time asked for; else of the last reading */
	bool asked;
	GPtrArray *meters;     /* of struct meter *, all of the address, by id; owns them */
	GPtrArray *lives;      /* of struct explain_life *, by begin */
	const struct explain_life *life; /* the one that is told */
	bool in_force;         /* at that time */
	struct kept kept;
	bool has_window;       /* false: nothing was counted up to then, or nothing of it is kept */
	enum level level;      /* of which the window is */
	int64_t start_us, end_us;
	GArray *lines;         /* of struct explain_line, by class */
	GPtrArray *coverage;   /* of struct coverage *, what touches the window or comes near, by start */
};

struct explanation *explanation_new(uint32_t address, int64_t at_us, bool asked);
void explanation_free(struct explanation *explanation); /* takes NULL */
SCOPED_DEFINE(explanation)

/* With its meters filled in (at least one), by id: makes the lives, chooses one, and makes a line of each class that it
 * had at that time.  If no time was asked for, at_us becomes that of the last reading. */
void explanation_choose(struct explanation *explanation);

/* The window is known: were the counters read at the time asked for, and did they count all?  *reason (may be NULL) is then
 * why not, the explanation's own, or "". */
enum state explanation_state(const struct explanation *explanation, const char **reason);

/* All lines add up, and all chain. */
bool explanation_adds_up(const struct explanation *explanation);
bool explanation_chains(const struct explanation *explanation);

/* The sum of all lines in the window, and the union of their flags. */
struct counts explanation_sum(const struct explanation *explanation, unsigned *flags);

/* Two readings are the same. */
bool explain_is_same(const struct counts *a, const struct counts *b);

/* All that is booked of the line's meter is its last reading minus its first. */
bool explain_line_adds_up(const struct explain_line *line);

/* How like two addresses are, for who has mistyped one: the higher the better, 0 not at all. */
unsigned explain_likeness(uint32_t a, uint32_t b);

#endif

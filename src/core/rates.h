/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rates: what each public address did between two readings of the kernel's counters that follow each other.  Pure, and no
 * part of the books: nothing of it is kept or billed.
 *
 * A reading counts from the one before it, of the same life of the counters; where there is none (a new address, a new
 * generation, a counter that was set back) nothing is said of that time.
 */
#ifndef FIPMETER_CORE_RATES_H
#define FIPMETER_CORE_RATES_H

#include "core/model.h"

#define RATES_HISTORY 120 /* readings */

struct rate_class {
	const char *name;     /* interned */
	struct counts last;   /* the counters' */
	struct counts moved;  /* since the reading before */
	uint64_t turn;        /* of the last reading that had it */
};

struct rate { /* of one public address in one namespace */
	const char *router;   /* interned */
	enum kind kind;
	uint32_t address;     /* 0 for what is nobody's */
	int64_t took_us;      /* between the last two readings; 0: there is one alone */
	struct counts moved;  /* sum of its classes */
	GArray *classes;      /* of struct rate_class, as they came */
	uint64_t history[RATES_HISTORY]; /* bytes a second in and out, a ring: the last is at turn % RATES_HISTORY */
	uint64_t turn;
};

struct rates;

struct rates *rates_new(void);
void rates_free(struct rates *rates); /* takes NULL */

/* A turn: rates_begin(), rates_take() for each namespace that could be read, rates_end().  One that could not be read is
 * without rates in this turn, and its next reading counts from the last one. */
void rates_begin(struct rates *rates);
void rates_take(struct rates *rates, const char *ns, const struct snapshot *snapshot);
void rates_end(struct rates *rates); /* forgets what was not seen */

/* The namespace is gone. */
void rates_forget(struct rates *rates, const char *ns);

/* How many addresses there are. */
unsigned rates_count(const struct rates *rates);

/* The names of all classes that were seen (of const char *, interned, ascending; the rates' own). */
const GPtrArray *rates_classes(const struct rates *rates);

enum rates_sort { RATES_BY_TOTAL, RATES_BY_IN, RATES_BY_OUT, RATES_BY_PACKETS, RATES_BY_ADDRESS, RATES_BY_ROUTER, RATES_SORTS };

bool rates_sort_from_name(const char *name, enum rates_sort *sort);
const char *rates_sort_name(enum rates_sort sort);

struct rates_view {
	enum rates_sort sort;
	const char *class_name; /* interned: of this one alone; NULL: of all */
	const char *filter;     /* part of an address or a router's id; "" or NULL: all */
	bool busy;              /* those without traffic are left out */
};

/* What is to be seen, in order (of const struct rate *); the caller frees the array. */
GPtrArray *rates_list(const struct rates *rates, const struct rates_view *view);

/* What moved of that class (NULL: of all) in the last turn. */
struct counts rate_moved(const struct rate *rate, const char *class_name);

/* A count of it, by the second. */
uint64_t rate_per_second(const struct rate *rate, uint64_t moved);

/* Bytes a second so many turns ago (0: the last); 0 where that is not known. */
uint64_t rate_history(const struct rate *rate, unsigned ago);

#endif

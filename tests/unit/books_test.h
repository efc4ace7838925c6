/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ledger over a made-up clock and made-up counters, for test_ledger.c and test_cover.c.  The store is played by a list
 * of everything that was committed, so that each case can end with the promise: the rows of every meter sum to
 * last - first.
 */
#ifndef FIPMETER_UNIT_BOOKS_TEST_H
#define FIPMETER_UNIT_BOOKS_TEST_H

#include "core/ledger.h"

#define MINUTE INT64_C(60000000)
#define FIP 0xc6336465u   /* 198.51.100.101 */
#define OTHER 0xc6336466u
#define FIXED 0x0a00010bu
#define NS "qrouter-one"

struct books_test {
	struct ledger *ledger;
	struct plan *plan;
	struct snapshot *kernel; /* what stands in the namespace */
	struct instant now;
	GArray *rows;            /* of struct usage: all that was committed */
	GHashTable *meters;      /* id -> struct meter: the latest state committed */
	GPtrArray *coverage;     /* of struct coverage: the latest state of each seq */
};

void set_up(struct books_test *test, const void *data);
void tear_down(struct books_test *test, const void *data);
void set_meter(struct books_test *test, enum kind kind, uint32_t address, uint32_t fixed);
/* A birth as the agent does it, and the counters in the made-up kernel. */
void birth(struct books_test *test, const char *tag);
/* As the agent does: what was made is read at once. */
void birth_and_reading(struct books_test *test, const char *tag);
/* The i-th counter counts. */
void count(struct books_test *test, unsigned i, uint64_t in, uint64_t out);
void pass(struct books_test *test, int64_t us);
/* A reading of what stands there, settled and committed. */
void sample(struct books_test *test);
/* The last reading of a generation. */
void end(struct books_test *test, struct snapshot *last);
void commit(struct books_test *test, struct batch *batch);
void restart(struct books_test *test);
/* A new process over what the old one committed. */
void restart_in(struct books_test *test, const char *boot);
const struct usage *row(const struct books_test *test, unsigned i);
const struct coverage *last_gap(const struct books_test *test);
/* The last gap that was said. */
void assert_gap(const struct books_test *test, uint32_t address, int64_t from_us, int64_t to_us);
/* All that was said, in order. */
void assert_coverage(const struct books_test *test, const enum state *states, const int *minutes, unsigned n);

#define CASE(name) g_test_add("/" TESTED "/" #name, struct books_test, NULL, set_up, test_##name, tear_down)

#endif

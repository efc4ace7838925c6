/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the ledger remembers, for core/ledger.c and core/books.c alone: for each namespace a set of open meters (found
 * by generation and key) and the generation that was last made or read; for each router, and each address of it where
 * that differs, the latest row of coverage.
 */
#ifndef FIPMETER_CORE_BOOKS_H
#define FIPMETER_CORE_BOOKS_H

#include "core/ledger.h"

struct books {
	struct generation *generation; /* the one made last; there are two while one takes over from another */
	GHashTable *meters;            /* set of struct meter *, by generation and key */
};

struct ledger {
	char *node, *boot;
	int64_t interval_us;
	GHashTable *books;       /* namespace -> struct books */
	GHashTable *coverage;    /* set of struct coverage *, by router and address: the latest of each */
	int64_t next_meter, next_coverage;
	int64_t first_own_meter; /* meters from here on began in this process */
	GHashTable *inherited;   /* set of char *: routers of which this process has not said yet whether they are metered */
};

/* The books of a namespace, or NULL. */
const struct books *books_find(const struct ledger *ledger, const char *ns);

/* The open meter of that generation and key, or NULL; books may be NULL. */
const struct meter *books_find_meter(const struct books *books, const char *tag, const struct meter_key *key);

/* The generation of that tag: the last one made, or one that has open meters; or NULL. */
struct generation *books_find_generation(const struct books *books, const char *tag);

/* The latest coverage of a router or address as this batch would leave it, or NULL. */
const struct coverage *books_latest_coverage(const struct ledger *ledger, const struct batch *batch,
                                             const char *router, uint32_t address);

#endif

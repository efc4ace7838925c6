/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Questions to the store, of a reader or the writer.
 */
#ifndef FIPMETER_STORE_QUERY_H
#define FIPMETER_STORE_QUERY_H

#include "core/levels.h"
#include "core/report.h"
#include "core/residue.h"
#include "store/store.h"

/* A row is taken by its start. */
struct usage_filter {
	int64_t since_us;       /* included */
	int64_t until_us;       /* not included */
	uint32_t address;       /* 0: any */
	const char *router;     /* NULL: any */
	const char *class_name; /* NULL: any */
	enum period per;        /* how fine: sums of hours or days may be read instead of rows where these tell the same */
};

/* Calls call for each row, or sum of rows, of one state of the store, in no order; row is valid inside the call, its texts
 * are interned.  Times for which rows, or hours, are no longer kept give hours, or days, whatever per says. */
bool store_each_usage(struct store *store, const struct usage_filter *filter,
                      void (*call)(const struct report_line *row, void *data), void *data, GError **error);

/* From when on rows and hours are kept. */
bool store_get_levels(struct store *store, struct kept *kept, GError **error);

/* Known: something was metered for it at some time, or its coverage is on record. */
bool store_knows_address(struct store *store, uint32_t address, bool *known, GError **error);
bool store_knows_router(struct store *store, const char *router, bool *known, GError **error);

/* Calls call for each router on record, with the time of its last reading (0: none), in no order; router is valid
 * inside the call. */
bool store_each_router(struct store *store, void (*call)(const char *router, int64_t read_us, void *data), void *data,
                       GError **error);

/* Calls call for each gap that ends after since_us, in the order of router, start and address; gap is valid inside the
 * call. */
bool store_each_gap(struct store *store, int64_t since_us, void (*call)(const struct coverage *gap, void *data),
                    void *data, GError **error);

/* The sums of the residues of a router (docs/store.md). */
struct residue_sum {
	const char *router;
	int64_t end_us; /* of the last window */
	int64_t windows, flagged;
	uint64_t received, sent, in, out, residue_in, residue_out, excess;
};

/* Calls call for each router of which windows were judged in hours that end after since_us, in no order; sum is valid
 * inside the call. */
bool store_each_residue(struct store *store, int64_t since_us, void (*call)(const struct residue_sum *sum, void *data),
                        void *data, GError **error);

#endif

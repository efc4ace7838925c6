/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The second home of the baselines: how far the counters were in the books when the database was last committed to.
 * It outlives the database: where that is damaged, lost or older (a restored backup), counting goes on from here, and
 * nothing is counted twice.
 *
 * Two files in turn, `baselines.0` and `baselines.1` in the state directory, so that one is whole at any moment and
 * one rotten sector does not take both.  Each is written whole: temporary file, fsync, rename, fsync of the
 * directory.
 *
 * Layout, in this machine's byte order: a header (magic, SHA-256 of all that follows it, two lengths); a GVariant
 * with the store, the generations and the names of classes; then one record of 72 bytes a meter.  The records are
 * written as they are made, so that 300,000 meters take no memory to speak of.  A meter at zero has its record too:
 * for the ledger a counter without a meter is one that it knows nothing of.  First readings, ids and times of closing
 * are left out: in a new home a meter begins anew at its baseline.
 */
#ifndef FIPMETER_STORE_BASELINES_H
#define FIPMETER_STORE_BASELINES_H

#include "core/model.h"

struct baselines {
	char *store;            /* its id */
	int64_t commits;        /* of the store when this was written; higher is newer, over all store ids */
	int64_t last_seq;
	bool uncertain;         /* the other file is damaged or missing, and may have been newer */
	unsigned turn;          /* which of the two files */
	GPtrArray *generations; /* of struct generation * */
	GPtrArray *meters;      /* of struct meter *, with key, fixed, flags, last and last_at; id 0 */
};

/* Writes file number turn (0 or 1).  meters: of struct meter *, open ones. */
bool baselines_save(const char *directory, unsigned turn, const char *store, int64_t commits, int64_t last_seq,
                    const GPtrArray *meters, GError **error);

/* The newer one of the two that are whole.  NULL if there is none; *damaged then tells whether there was one. */
struct baselines *baselines_load(const char *directory, bool *damaged);

/* What baselines_load() would give after a baselines_save() of the same. */
struct baselines *baselines_of(const char *store, int64_t commits, int64_t last_seq, const GPtrArray *meters);

void baselines_free(struct baselines *baselines);

SCOPED_DEFINE(baselines)

#endif

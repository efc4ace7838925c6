/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The store: usage, meters and coverage in one SQLite file, `usage.db` in the state directory, and beside it the
 * second home of the baselines (store/baselines.h).  One process writes (the agent); any number read.
 *
 * The writer: WAL, synchronous=FULL, no mmap, and no automatic checkpoint: the writing connection checkpoints by
 * itself (SQLite before 3.51.3 can corrupt a WAL that two connections reset).  Readers open read-only and never
 * checkpoint.  A row's identity is (store, seq): store is a random 128-bit id made with the file, seq counts from 1
 * without holes and is given inside the transaction.
 */
#ifndef FIPMETER_STORE_STORE_H
#define FIPMETER_STORE_STORE_H

#include "core/ledger.h"
#include "core/model.h"

#define STORE_FILE "usage.db"
#define STORE_GROUP "fipmeter" /* membership is the permission to read */

#define STORE_ERROR (g_quark_from_static_string("fipmeter-store"))
enum store_error {
	STORE_ERROR_FAILED,  /* SQLite's or the system's own text is in the message */
	STORE_ERROR_BUSY,    /* another process writes, or a reader holds a lock: try again */
	STORE_ERROR_MISSING, /* there is no store in this directory (readers only) */
	STORE_ERROR_VERSION, /* made by a newer fipmeter */
};

struct store;

/* How long what is kept.  Days are, for ever. */
struct store_keep {
	GTimeZone *timezone;      /* as given to store_set_timezone() */
	int64_t rows_us, hours_us;
	uint64_t quota;           /* bytes of the database; 0: none.  Beyond it rows and hours go before their time */
	bool clock_in_doubt;      /* nothing is too old at this moment */
};

/* Opens the store in directory for writing; makes directory (0750) and file (0640, group fipmeter where that group
 * exists) if they are missing.  Holds a lock on the directory until store_close(): a second writer gets BUSY, with
 * the pid of the first.  A damaged file, and one older than the second home of the baselines (a restored backup), is
 * dealt with here: a new store id begins and the newer baselines go on.  What was done is told in *notice (one
 * line, NULL if nothing; the caller frees). */
struct store *store_open(const char *directory, char **notice, GError **error);

/* The zone whose days the store sums by.  It is settled by the first that is given; later another one is refused, as days
 * that are summed cannot be cut anew. */
bool store_set_timezone(struct store *store, GTimeZone *timezone, GError **error);

/* NULL if none is settled yet, or this machine does not know it.  The caller unrefs. */
GTimeZone *store_get_timezone(struct store *store);

/* Sums up and drops what is due, in a step of some 50 ms: called after each commit, and again soon while *more is true. */
bool store_tend(struct store *store, const struct store_keep *keep, int64_t now_us, bool *more, GError **error);

/* After store_tend(): the store is larger than its quota, and what may go is gone. */
bool store_is_over_quota(const struct store *store);

/* False if the WAL could not be emptied for a good while, and why: mostly somebody who reads and does not end. */
bool store_check_wal(const struct store *store, GError **error);

/* Opens it read-only. */
struct store *store_open_reader(const char *directory, GError **error);

/* Nothing can be committed any more: the file was found damaged, or is not what stands at its path (somebody moved or
 * replaced it, or a file that belongs to it).  A commit or store_tend() that fails may find this. */
bool store_is_lost(const struct store *store);

/* Goes on after that as store_open() would, from the baselines in memory (open_meters, of struct meter *, as they are after
 * the last commit): what is damaged is set aside, and a new store id begins unless all that was committed is still there.
 * The lock is held all the time.  *state: what a new ledger starts from; *notice: what was done, never NULL.  False: still
 * lost, to be tried again. */
bool store_renew(struct store *store, const GPtrArray *open_meters, struct ledger_state *state, char **notice,
                 GError **error);

/* Has call called again and again while the store is read; NULL: no longer. */
void store_on_progress(struct store *store, void (*call)(void *data), void *data);

/* Either kind.  Takes NULL. */
void store_close(struct store *store);

/* What a ledger starts from. */
bool store_load(struct store *store, struct ledger_state *state, GError **error);

/* One transaction, durable when it returns true; on failure nothing of it is kept.  BUSY: try again later. */
bool store_commit(struct store *store, const struct batch *batch, GError **error);

/* The same, of a batch that is whole in itself, as all of the ledger's are: if what stands in the store refuses it twice,
 * it is the store that is damaged (store_is_lost()). */
bool store_commit_sure(struct store *store, const struct batch *batch, GError **error);

/* Writes the second home: open_meters (of struct meter *) as they are after the last commit.  Durable when it returns
 * true.  Called after each commit; a failure loses nothing as long as the database is whole. */
bool store_save_baselines(struct store *store, const GPtrArray *open_meters, GError **error);

#endif

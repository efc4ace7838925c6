/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The connection to SQLite, for src/store alone: its settings, every statement (prepared once, values bound), and how
 * an error of SQLite becomes a GError that says what to do.
 *
 *	struct sql_call call = sql_call(store, SQL_PUT_USAGE);
 *
 *	sql_bind_int(&call, seq);               in the order of the parameters
 *	return sql_run(&call, error);
 *
 * A statement that gives rows is stepped until it gives none or fails, or ended early by sql_end().
 */
#ifndef FIPMETER_STORE_SQL_H
#define FIPMETER_STORE_SQL_H

#include <sqlite3.h>
#include <sys/stat.h>

#include "core/levels.h"
#include "store/rollup.h"
#include "store/store.h"

#define STORE_ID_LEN 32
#define BUSY_TIMEOUT_MS 1500

enum sql {
	SQL_BEGIN_WRITE, SQL_BEGIN_READ, SQL_COMMIT, SQL_ROLLBACK,
	SQL_GET_STORE, SQL_HAS_SEEN, SQL_MAX_COMMITS, SQL_PUT_STORE, SQL_PUT_ROLLUP, SQL_ADVANCE_STORE,
	SQL_PUT_GENERATION, SQL_FIND_GENERATION, SQL_MOVE_METER, SQL_CLOSE_METER, SQL_PUT_METER, SQL_CLOSE_ALL,
	SQL_PUT_USAGE, SQL_PUT_COVERAGE, SQL_ADD_RESIDUE,
	SQL_LACKING_STORE, SQL_LOAD_GENERATIONS, SQL_LOAD_METERS, SQL_LOAD_COVERAGE, SQL_NEXT_METER, SQL_NEXT_COVERAGE,
	SQL_ROLLUP_NEXT, SQL_ROLLUP_ROWS, SQL_ADD_HOUR, SQL_ADD_DAY, SQL_ROLLUP_ADVANCE,
	SQL_ROLLUP_PROGRESS, SQL_DROPPABLE_ROWS, SQL_DROP_ROWS, SQL_ROLLUP_DROPPED, SQL_KEEP_ROWS_FROM,
	SQL_OLDEST_RESIDUE, SQL_DROP_RESIDUES, SQL_OLDEST_HOUR, SQL_DROP_HOUR, SQL_KEEP_HOURS_FROM, SQL_GET_KEPT, SQL_SET_TIMEZONE,
	SQL_METERS, SQL_LATEST, SQL_USAGE_ROWS, SQL_USAGE_ROWS_OF_SOME, SQL_USAGE_FRESH, SQL_USAGE_HOURS, SQL_USAGE_DAYS,
	SQL_USAGE_HOURS_OF_SOME, SQL_USAGE_DAYS_OF_SOME,
	SQL_KNOWS_ADDRESS, SQL_KNOWS_ROUTER, SQL_ROUTERS, SQL_GAPS, SQL_RESIDUES,
	SQL_ADDRESSES, SQL_TRACE_METERS, SQL_TRACE_ROW, SQL_TRACE_ROW_AFTER, SQL_TRACE_ROW_BEFORE, SQL_TRACE_HOUR, SQL_TRACE_DAY, SQL_TRACE_COVERAGE,
	SQL_AUDIT_STORES, SQL_AUDIT_METERS, SQL_AUDIT_USAGE, SQL_AUDIT_SUMS, SQL_AUDIT_COVERAGE,
	N_SQL,
};

/* The database, its WAL and its -shm as this writer knows them: nobody else may put others in their place. */
struct file_mark {
	dev_t device;
	ino_t inode;           /* 0: it was not there */
	int64_t size;          /* of the database alone, as is the next: only a checkpoint of ours writes to it */
	struct timespec written;
};

enum { MARK_DATABASE, MARK_WAL, MARK_SHM, FILE_MARKS };

struct store {
	sqlite3 *db;                    /* NULL: not open, or given up (store_renew()) */
	char *directory, *path;
	int lock;                       /* holds the directory; -1 for a reader */
	sqlite3_stmt *statements[N_SQL];
	int wal_pages;                  /* after the last commit */
	int checkpoint;                 /* what the last one came to */
	unsigned blocked;               /* commits since the WAL could last be emptied */
	int64_t format;                 /* of the file as it was found */
	bool over_quota;
	struct rollup *rollup;          /* NULL for a reader */
	void (*on_progress)(void *data);
	void *progress_data;
	char *damage;                   /* what SQLite found wrong with the file itself; NULL: nothing */
	bool rotten;                    /* no second home is whole, but there was one */
	bool displaced;                 /* and that it is to be opened again: it is not what stands at its path, or read-only */
	bool at_odds;                   /* the last batch was refused for what stands in the file, not for itself */
	bool wal_in_doubt;              /* what the WAL holds may be in the kernel's cache alone (store.c) */
	struct file_mark marks[FILE_MARKS];
	char *timezone;                 /* as it was settled by this process; NULL: it was not */

	/* The current store id, as of the last commit; for a writer. */
	int64_t number;
	char id[STORE_ID_LEN + 1];
	int64_t commits, last_seq;
	unsigned turn;                  /* which file of the second home is written next */
};

/* Not open yet. */
struct store *sql_store_new(const char *directory);
void sql_store_free(struct store *store); /* closes, too */

/* Opens store->path with all settings; sql_close() may follow a failure. */
bool sql_open(struct store *store, GError **error);
void sql_close(struct store *store);
bool sql_prepare_all(struct store *store, GError **error);

/* A text without parameters and rows, for what is no statement of every day: pragmas, the schema. */
bool sql_exec(struct store *store, const char *text, GError **error);

/* The number that a pragma or a query without parameters gives. */
bool sql_get_number(struct store *store, const char *text, int64_t *number, GError **error);

/* True if the first column of what the pragma gives is that text; what it says instead is in the error. */
bool sql_expect(struct store *store, const char *pragma, const char *expected, GError **error);

/* Begins one of the writer, once its files are seen to be its own and nothing in the WAL is in doubt (store.c). */
bool store_begin_write(struct store *store, GError **error);

/* Ends a transaction: commits it if ok, else rolls it back and returns false. */
bool sql_end_transaction(struct store *store, bool ok, GError **error);

/* What failed last may pass by itself: somebody is in the way, or the disk is full, away or read-only. */
bool sql_may_pass(const struct store *store);

struct sql_call {
	struct store *store;
	sqlite3_stmt *statement;
	int next;   /* parameter */
	int failed; /* the first failure of a bind, told by sql_step() */
};

enum sql_result { SQL_FAILED, SQL_NONE, SQL_ROW };

struct sql_call sql_call(struct store *store, enum sql which);
void sql_bind_int(struct sql_call *call, int64_t value);
void sql_bind_text(struct sql_call *call, const char *text); /* kept until the call ends; NULL is SQL's NULL */
void sql_bind_address(struct sql_call *call, uint32_t address);
void sql_bind_counts(struct sql_call *call, const struct counts *counts); /* four; a count above INT64_MAX fails */
void sql_bind_instant(struct sql_call *call, const struct instant *at);   /* two */
enum sql_result sql_step(struct sql_call *call, GError **error);
void sql_end(struct sql_call *call);
bool sql_run(struct sql_call *call, GError **error); /* of a statement whose rows, if any, do not matter */

/* A row's columns.  Those that a damaged file could hold nonsense in return false. */
const char *sql_text(const struct sql_call *call, int column); /* never NULL */
void sql_get_counts(const struct sql_call *call, int column, struct counts *counts);
void sql_get_instant(const struct sql_call *call, int column, struct instant *at);
bool sql_get_address(const struct sql_call *call, int column, uint32_t *address);
bool sql_get_basis(const struct sql_call *call, int column, enum basis *basis);
bool sql_get_state(const struct sql_call *call, int column, enum state *state);

/* Tag, boot, node, namespace, router, basis, made and read, from column on.  NULL for nonsense; the caller drops the reference. */
struct generation *sql_get_generation(const struct sql_call *call, int column);

/* The columns of SQL_LOAD_METERS, into an empty meter, which refers to of (NULL: nonsense). */
bool sql_get_meter(const struct sql_call *call, struct generation *of, struct meter *meter);

/* Begins the WAL anew if what is in it is in doubt.  True if it may be written to. */
bool store_renew_wal(struct store *store, GError **error);

/* Reads the current store's row into the struct. */
bool sql_read_store(struct store *store, GError **error);

bool sql_get_kept(struct store *store, struct kept *kept, GError **error);

/* Sets error, and store->damage and store->wal_in_doubt, from what SQLite said last. */
void sql_set_error(struct store *store, GError **error);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A store that is open: what a ledger starts from, commits, checkpoints, the end.  How one is opened is in open.c.
 */
#include "store/store.h"

#include "store/baselines.h"
#include "store/judge.h"
#include "store/place.h"
#include "store/sql.h"
#include "store/write.h"

#define CHECKPOINT_PAGES 1000 /* 4 MiB of WAL */
#define PAGE_SIZE 4096        /* SQLite's default; schema.sql asks for no other */
#define BLOCKED_MAX 10        /* commits; whoever reads for shorter than that is no trouble */

void store_close(struct store *store)
{
	if (!store)
		return;
	/* Best effort: what stays in the WAL is read from there. */
	if (store->lock >= 0 && !store_is_lost(store) && !place_find_change(store))
		sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	sql_store_free(store);
}

/* ---- progress ---- */

#define STEPS 100000 /* of SQLite's virtual machine: some 2 ms */

static int on_steps(void *data)
{
	struct store *store = data;

	store->on_progress(store->progress_data);
	return 0; /* go on */
}

void store_on_progress(struct store *store, void (*call)(void *data), void *data)
{
	store->on_progress = call;
	store->progress_data = data;
	sqlite3_progress_handler(store->db, STEPS, call ? on_steps : NULL, store);
}

/* ---- committing ---- */

/* Of SQLite: what came of it, how many pages are in the WAL, and how many of those are in the database. */
static int checkpoint(struct store *store, int mode, int *in_wal, int *taken)
{
	int code = sqlite3_wal_checkpoint_v2(store->db, NULL, mode, in_wal, taken);

	place_mark(store);
	return code;
}

/* PASSIVE waits for nobody; pages that a reader still needs stay until the next time, as do all if it fails: the next one
 * writes each of them again. */
static void checkpoint_if_due(struct store *store)
{
	int in_wal = 0, taken = 0;

	store->checkpoint = SQLITE_OK;
	if (store->wal_pages >= CHECKPOINT_PAGES)
		store->checkpoint = checkpoint(store, SQLITE_CHECKPOINT_PASSIVE, &in_wal, &taken);
	if (store->checkpoint == SQLITE_OK && taken >= in_wal)
		store->blocked = 0;
	else
		store->blocked++;
}

bool store_check_wal(const struct store *store, GError **error)
{
	uint64_t mib = (uint64_t)store->wal_pages * PAGE_SIZE >> 20;

	if (store->blocked < BLOCKED_MAX)
		return true;
	if (store->checkpoint == SQLITE_OK)
		g_set_error(error, STORE_ERROR, STORE_ERROR_BUSY, "%s-wal: %" G_GUINT64_FORMAT " MiB, and grows as long as somebody "
		            "reads the store without an end (fuser -v names the process; nothing is lost)", store->path, mib);
	else
		g_set_error(error, STORE_ERROR, STORE_ERROR_FAILED, "%s-wal: %" G_GUINT64_FORMAT " MiB, and cannot be taken over "
		            "into the database: %s", store->path, mib, sqlite3_errstr(store->checkpoint));
	return false;
}

/*
 * After an fsync() that failed the kernel holds pages for written that no disk has, and no later fsync() writes them.
 * SQLite rolls the transaction back and the next one writes all of its frames anew, so this process loses nothing by
 * trying again; but whoever reads the WAL from the cache after a restart takes it for what the disk has, and what is
 * committed behind it would fall with it in a power cut.  So a WAL that was found at opening, and one whose sync failed,
 * is first written into the database and then begun anew: nothing rests on what may be in the cache alone.  A reader in
 * the way, or a full file system, does not stop commits: it is tried again at each.
 */
bool store_renew_wal(struct store *store, GError **error)
{
	g_autoptr(GError) failure = NULL;
	int code;

	if (!store->wal_in_doubt)
		return true;
	sqlite3_busy_timeout(store->db, 0);
	code = checkpoint(store, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	store->wal_in_doubt = code != SQLITE_OK;
	if (store->wal_in_doubt)
		sql_set_error(store, &failure);
	sqlite3_busy_timeout(store->db, BUSY_TIMEOUT_MS);
	if (!failure || code == SQLITE_BUSY || code == SQLITE_LOCKED || code == SQLITE_FULL)
		return true;
	g_propagate_error(error, g_steal_pointer(&failure));
	return false;
}

bool store_is_lost(const struct store *store)
{
	return !store->db || store->damage;
}

/* What is written is written to what stands at the path. */
static bool check_place(struct store *store, GError **error)
{
	const char *change = store_is_lost(store) ? NULL : place_find_change(store);

	if (change) {
		store->damage = g_strdup(change);
		store->displaced = true;
	}
	if (!store_is_lost(store))
		return true;
	g_set_error(error, STORE_ERROR, STORE_ERROR_FAILED, "%s: %s", store->path, store->damage ? store->damage :
	            "could not be opened again");
	return false;
}

bool store_begin_write(struct store *store, GError **error)
{
	struct sql_call begin;

	if (!check_place(store, error) || !store_renew_wal(store, error))
		return false;
	begin = sql_call(store, SQL_BEGIN_WRITE);
	return sql_run(&begin, error);
}

/* A CHECK looks at the batch alone; these at what stands there too. */
static bool is_at_odds(int extended)
{
	return extended == SQLITE_CONSTRAINT_PRIMARYKEY || extended == SQLITE_CONSTRAINT_ROWID ||
	       extended == SQLITE_CONSTRAINT_UNIQUE || extended == SQLITE_CONSTRAINT_FOREIGNKEY;
}

/* What a sound store takes is refused by one with an index that is not that of its table: then it is damaged. */
static void roll_back(struct store *store)
{
	bool may_pass = sql_may_pass(store);

	store->at_odds |= is_at_odds(sqlite3_extended_errcode(store->db));
	sql_end_transaction(store, false, NULL);
	if (!may_pass && !store->damage)
		judge_again(store);
}

bool store_commit(struct store *store, const struct batch *batch, GError **error)
{
	int64_t commits, last_seq;

	store->at_odds = false;
	if (!store_begin_write(store, error))
		return false;
	if (!write_batch(store, batch, &commits, &last_seq, error)) {
		roll_back(store);
		return false;
	}
	if (!sql_end_transaction(store, true, error))
		return false;
	store->commits = commits;
	store->last_seq = last_seq;
	checkpoint_if_due(store);
	return true;
}

/* A bit of a first reading, of a tag or of a time may turn, and no check of SQLite's knows that it was another: the batch
 * does, as it goes on from what was committed.  The second try reads the disk, not the cache. */
bool store_commit_sure(struct store *store, const struct batch *batch, GError **error)
{
	g_autoptr(GError) refusal = NULL;

	if (store_commit(store, batch, &refusal))
		return true;
	if (store->at_odds && !store_is_lost(store)) {
		g_clear_error(&refusal);
		sqlite3_db_release_memory(store->db);
		if (store_commit(store, batch, &refusal))
			return true;
		if (store->at_odds && !store_is_lost(store))
			store->damage = g_strdup_printf("what was committed is not what is there: %s", refusal->message);
	}
	g_propagate_error(error, g_steal_pointer(&refusal));
	return false;
}

bool store_save_baselines(struct store *store, const GPtrArray *open_meters, GError **error)
{
	if (!baselines_save(store->directory, store->turn, store->id, store->commits, store->last_seq, open_meters,
	                    error))
		return false;
	store->turn = !store->turn;
	return true;
}

/* ---- the time zone ---- */

static char *get_timezone(struct store *store, GError **error)
{
	struct sql_call call = sql_call(store, SQL_GET_KEPT);
	char *name;

	if (sql_step(&call, error) != SQL_ROW)
		return NULL;
	name = g_strdup(sql_text(&call, 2));
	sql_end(&call);
	return name;
}

GTimeZone *store_get_timezone(struct store *store)
{
	g_autofree char *name = get_timezone(store, NULL);

	return name && *name ? g_time_zone_new_identifier(name) : NULL;
}

bool store_set_timezone(struct store *store, GTimeZone *timezone, GError **error)
{
	const char *wanted = g_time_zone_get_identifier(timezone);
	g_autofree char *settled = get_timezone(store, error);
	struct sql_call set = sql_call(store, SQL_SET_TIMEZONE);

	g_free(store->timezone);
	store->timezone = g_strdup(wanted);
	if (!settled || g_str_equal(settled, wanted))
		return settled;
	if (*settled) {
		g_set_error(error, STORE_ERROR, STORE_ERROR_FAILED, "%s: its days are those of %s, and days that are summed "
		            "cannot be cut anew for %s (set [store] timezone = %s, or name an empty directory)", store->path,
		            settled, wanted, settled);
		return false;
	}
	sql_bind_text(&set, wanted);
	return sql_run(&set, error);
}

bool store_is_over_quota(const struct store *store)
{
	return store->over_quota;
}

/* ---- loading ---- */

static bool refuse(struct store *store, struct sql_call *call, const char *what, GError **error)
{
	g_free(store->damage);
	store->damage = g_strdup_printf("%s %" G_GINT64_FORMAT " holds a value that no fipmeter wrote", what,
	                                (int64_t)sqlite3_column_int64(call->statement, 0));
	g_set_error(error, STORE_ERROR, STORE_ERROR_FAILED, "%s: %s", store->path, store->damage);
	sql_end(call);
	return false;
}

static bool load_generations(struct store *store, GHashTable *generations, GError **error)
{
	struct sql_call call = sql_call(store, SQL_LOAD_GENERATIONS);
	enum sql_result result;

	while ((result = sql_step(&call, error)) == SQL_ROW) {
		int64_t number = sqlite3_column_int64(call.statement, 0);
		struct generation *of = sql_get_generation(&call, 1);

		if (!of)
			return refuse(store, &call, "generation", error);
		g_hash_table_insert(generations, g_memdup2(&number, sizeof number), of);
	}
	return result == SQL_NONE;
}

static bool load_meter(const struct sql_call *call, GHashTable *generations, struct meter *meter)
{
	int64_t number = sqlite3_column_int64(call->statement, 1);
	struct generation *of = g_hash_table_lookup(generations, &number);

	if (!sql_get_meter(call, of, meter))
		return false;
	/* A meter without traffic is not written when it is read. */
	if (of->read_at.boot_us > meter->last_at.boot_us)
		meter->last_at = of->read_at;
	return true;
}

static bool load_meters(struct store *store, GPtrArray *meters, GError **error)
{
	g_autoptr(GHashTable) generations = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free,
	                                                          (GDestroyNotify)generation_unref);
	struct sql_call call = sql_call(store, SQL_LOAD_METERS);
	enum sql_result result;

	if (!load_generations(store, generations, error))
		return false;
	while ((result = sql_step(&call, error)) == SQL_ROW) {
		struct meter *meter = g_new0(struct meter, 1);

		g_ptr_array_add(meters, meter);
		if (!load_meter(&call, generations, meter))
			return refuse(store, &call, "meter", error);
	}
	return result == SQL_NONE;
}

static bool load_coverage(struct store *store, GPtrArray *coverage, GError **error)
{
	struct sql_call call = sql_call(store, SQL_LOAD_COVERAGE);
	enum sql_result result;

	sql_bind_int(&call, store->number);
	while ((result = sql_step(&call, error)) == SQL_ROW) {
		struct coverage *row = g_new0(struct coverage, 1);

		g_ptr_array_add(coverage, row);
		row->seq = sqlite3_column_int64(call.statement, 0);
		row->node = g_strdup(sql_text(&call, 1));
		row->router = g_strdup(sql_text(&call, 2));
		row->start_us = sqlite3_column_int64(call.statement, 4);
		row->end_us = sqlite3_column_int64(call.statement, 5);
		row->reason = g_strdup(sql_text(&call, 7));
		if (!sql_get_address(&call, 3, &row->address) || !sql_get_state(&call, 6, &row->state))
			return refuse(store, &call, "coverage", error);
	}
	return result == SQL_NONE;
}

static bool load_next(struct store *store, enum sql which, int64_t *next, GError **error)
{
	struct sql_call call = sql_call(store, which);

	if (which == SQL_NEXT_COVERAGE)
		sql_bind_int(&call, store->number);
	if (sql_step(&call, error) != SQL_ROW)
		return false;
	*next = sqlite3_column_int64(call.statement, 0);
	sql_end(&call);
	return true;
}

bool store_load(struct store *store, struct ledger_state *state, GError **error)
{
	struct ledger_state loaded = {
		.meters = g_ptr_array_new_with_free_func((GDestroyNotify)meter_free),
		.coverage = g_ptr_array_new_with_free_func((GDestroyNotify)coverage_free),
	};

	if (!load_meters(store, loaded.meters, error) || !load_coverage(store, loaded.coverage, error) ||
	    !load_next(store, SQL_NEXT_METER, &loaded.next_meter, error) ||
	    !load_next(store, SQL_NEXT_COVERAGE, &loaded.next_coverage, error)) {
		ledger_state_clear(&loaded);
		return false;
	}
	sqlite3_db_release_memory(store->db); /* all meters went through its cache, and will not again */
	*state = loaded;
	return true;
}

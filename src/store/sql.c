/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See sql.h.  No statement stands anywhere else, but for the schema and the pragmas of open.c and audit.c.
 */
#include "store/sql.h"

#include <errno.h>
#include <unistd.h>

#define USAGE_SELECT \
	"SELECT u.meter, u.start_us, u.end_us, u.in_bytes, u.in_packets, u.out_bytes, u.out_packets, u.flags, 0 "
#define SUM_SELECT \
	"SELECT meter, start_us, end_us, in_bytes, in_packets, out_bytes, out_packets, flags, crossing "
#define SUM_ADD \
	" VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (start_us, meter) DO UPDATE SET " \
	"in_bytes = in_bytes + excluded.in_bytes, in_packets = in_packets + excluded.in_packets, " \
	"out_bytes = out_bytes + excluded.out_bytes, out_packets = out_packets + excluded.out_packets, " \
	"flags = flags | excluded.flags, usage_rows = usage_rows + excluded.usage_rows, " \
	"crossing = crossing + excluded.crossing"

/* A sum that no addition takes beyond what SQLite can sum of many such. */
#define ADD_UP(name) name " = min(" name " + excluded." name ", 72057594037927936)"

#define METER_SELECT \
	"SELECT meter, generation, kind, address, fixed, class, flags, first_us, first_boot_us, first_in_bytes, " \
	"first_in_packets, first_out_bytes, first_out_packets, last_us, last_boot_us, last_in_bytes, last_in_packets, " \
	"last_out_bytes, last_out_packets"

/* Sums of some meters: the begins of the periods are found by seeking from one to the next, and in each of them the meters
 * that are asked for; all that others have is passed over. */
#define SUMS_OF_SOME(table) \
	"WITH RECURSIVE begin (us) AS (SELECT min(start_us) FROM " table " WHERE start_us >= ?1 AND start_us < ?2 " \
	"UNION ALL SELECT (SELECT min(start_us) FROM " table " WHERE start_us > us AND start_us < ?2) FROM begin " \
	"WHERE us IS NOT NULL) " \
	SUM_SELECT "FROM begin CROSS JOIN " table " WHERE start_us = us AND meter IN " SOME_METERS
#define SOME_METERS \
	"(SELECT meter FROM meter JOIN generation USING (generation) WHERE (?3 IS NULL OR address = ?3) " \
	"AND (?4 IS NULL OR router = ?4) AND (?5 IS NULL OR class = ?5))"

/* As the views of schema_4.sql have it; a word that is in no other table. */
#define BASIS "basis || CASE out_point WHEN 'egress' THEN '-sent' ELSE '' END"

/* CROSS JOIN is SQLite's word for "in this order": without statistics it cannot know which side is the small one. */
static const char *const texts[N_SQL] = {
	[SQL_BEGIN_WRITE] = "BEGIN IMMEDIATE",
	[SQL_BEGIN_READ] = "BEGIN",
	[SQL_COMMIT] = "COMMIT",
	[SQL_ROLLBACK] = "ROLLBACK",

	[SQL_GET_STORE] = "SELECT store, id, commits, last_seq FROM store ORDER BY store DESC LIMIT 1",
	[SQL_HAS_SEEN] =
		"SELECT 1 FROM store WHERE (id = ?1 AND commits >= ?2) OR (after = ?1 AND after_commits >= ?2)",
	[SQL_MAX_COMMITS] = "SELECT ifnull(max(commits), 0) FROM store",
	[SQL_PUT_ROLLUP] = "INSERT INTO rollup VALUES (last_insert_rowid(), 0, 0)",
	[SQL_PUT_STORE] =
		"INSERT INTO store (id, created_us, reason, after, after_commits, commits, last_seq) "
		"VALUES (?, ?, ?, ?, ?, ?, 0)",
	[SQL_ADVANCE_STORE] = "UPDATE store SET commits = ?2, last_seq = ?3 WHERE store = ?1",

	[SQL_PUT_GENERATION] =
		"INSERT INTO generation (tag, boot, node, ns, router, basis, out_point, made_us, made_boot_us, read_us, "
		"read_boot_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (tag, boot, ns) DO UPDATE "
		"SET read_us = excluded.read_us, read_boot_us = excluded.read_boot_us",
	[SQL_FIND_GENERATION] = "SELECT generation FROM generation WHERE tag = ? AND boot = ? AND ns = ?",
	/* A meter stays what it was first, and what has ended does not begin again.  closed_us is left alone: a
	 * statement that sets it writes the index meter_open anew. */
	[SQL_MOVE_METER] =
		"UPDATE meter SET flags = ?7, last_us = ?14, last_boot_us = ?15, last_in_bytes = ?16, "
		"last_in_packets = ?17, last_out_bytes = ?18, last_out_packets = ?19 WHERE meter = ?1 AND "
		"generation = ?2 AND kind = ?3 AND address = ?4 AND fixed = ?5 AND class = ?6 AND "
		"first_us = ?8 AND first_boot_us = ?9 AND first_in_bytes = ?10 AND first_in_packets = ?11 AND "
		"first_out_bytes = ?12 AND first_out_packets = ?13 AND (closed_us = 0 OR ?20 <> 0)",
	[SQL_CLOSE_METER] = "UPDATE meter SET closed_us = ?2 WHERE meter = ?1",
	[SQL_PUT_METER] = "INSERT INTO meter VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
	[SQL_CLOSE_ALL] = "UPDATE meter SET closed_us = ? WHERE closed_us = 0",
	[SQL_PUT_USAGE] = "INSERT INTO usage_fact VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
	[SQL_PUT_COVERAGE] =
		"INSERT INTO coverage_fact VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "
		"ON CONFLICT (store, seq) DO UPDATE SET end_us = excluded.end_us "
		"WHERE router = excluded.router AND address = excluded.address AND state = excluded.state "
		"AND start_us = excluded.start_us",

	[SQL_ADD_RESIDUE] =
		"INSERT INTO residue_fact VALUES (?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (start_us, node, router) "
		"DO UPDATE SET end_us = excluded.end_us, windows = windows + 1, " ADD_UP("received_bytes") ", "
		ADD_UP("sent_bytes") ", " ADD_UP("in_bytes") ", " ADD_UP("out_bytes") ", " ADD_UP("residue_in_bytes") ", "
		ADD_UP("residue_out_bytes") ", " ADD_UP("excess_bytes") ", flagged = flagged + excluded.flagged",

	[SQL_LACKING_STORE] =
		"SELECT s.id FROM store s JOIN rollup r ON r.store = s.store WHERE s.last_seq - r.dropped_seq <> "
		"(SELECT count(*) FROM usage_fact u WHERE u.store = s.store) OR (SELECT count(*) FROM usage_fact NOT INDEXED) "
		"<> (SELECT count(*) FROM usage_fact INDEXED BY usage_by_start) LIMIT 1",
	[SQL_LOAD_GENERATIONS] =
		"SELECT generation, tag, boot, node, ns, router, " BASIS ", made_us, made_boot_us, read_us, read_boot_us "
		"FROM generation WHERE generation IN (SELECT generation FROM meter WHERE closed_us = 0)",
	[SQL_LOAD_METERS] = METER_SELECT " FROM meter WHERE closed_us = 0",
	/* The bare columns are those of the row that has the max(): SQLite promises it. */
	[SQL_LOAD_COVERAGE] =
		"SELECT max(seq), node, router, address, start_us, end_us, state, reason FROM coverage_fact "
		"WHERE store = ? GROUP BY router, address",
	[SQL_NEXT_METER] = "SELECT ifnull(max(meter), 0) + 1 FROM meter",
	[SQL_NEXT_COVERAGE] = "SELECT ifnull(max(seq), 0) + 1 FROM coverage_fact WHERE store = ?",

	[SQL_ROLLUP_NEXT] =
		"SELECT s.store, r.rolled_seq FROM store s JOIN rollup r ON r.store = s.store "
		"WHERE s.last_seq > r.rolled_seq ORDER BY s.store LIMIT 1",
	[SQL_ROLLUP_ROWS] =
		"SELECT seq, meter, start_us, end_us, in_bytes, in_packets, out_bytes, out_packets, flags "
		"FROM usage_fact WHERE store = ? AND seq > ? ORDER BY seq LIMIT ?",
	[SQL_ADD_HOUR] = "INSERT INTO hour_fact" SUM_ADD,
	[SQL_ADD_DAY] = "INSERT INTO day_fact" SUM_ADD,
	[SQL_ROLLUP_ADVANCE] = "UPDATE rollup SET rolled_seq = ?2 WHERE store = ?1",
	[SQL_ROLLUP_PROGRESS] =
		"SELECT store, rolled_seq, dropped_seq FROM rollup WHERE dropped_seq < rolled_seq ORDER BY store",
	[SQL_DROPPABLE_ROWS] =
		"SELECT seq, start_us FROM usage_fact WHERE store = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?",
	[SQL_DROP_ROWS] = "DELETE FROM usage_fact WHERE store = ? AND seq <= ?",
	[SQL_ROLLUP_DROPPED] = "UPDATE rollup SET dropped_seq = ?2 WHERE store = ?1",
	[SQL_KEEP_ROWS_FROM] = "UPDATE kept SET rows_from_us = max(rows_from_us, ?)",
	[SQL_OLDEST_RESIDUE] = "SELECT start_us FROM residue_fact ORDER BY start_us LIMIT 1",
	[SQL_DROP_RESIDUES] = "DELETE FROM residue_fact WHERE start_us < ?",
	[SQL_OLDEST_HOUR] = "SELECT start_us FROM hour_fact ORDER BY start_us LIMIT 1",
	[SQL_DROP_HOUR] = "DELETE FROM hour_fact WHERE start_us = ?",
	[SQL_KEEP_HOURS_FROM] = "UPDATE kept SET hours_from_us = max(hours_from_us, ?)",
	[SQL_GET_KEPT] = "SELECT rows_from_us, hours_from_us, timezone FROM kept",
	[SQL_SET_TIMEZONE] = "UPDATE kept SET timezone = ? WHERE timezone = ''",

	[SQL_METERS] =
		"SELECT m.meter, g.node, g.router, m.kind, m.address, m.fixed, m.class, " BASIS " FROM meter m "
		"JOIN generation g ON g.generation = m.generation WHERE (?1 IS NULL OR m.address = ?1) "
		"AND (?2 IS NULL OR g.router = ?2) AND (?3 IS NULL OR m.class = ?3)",
	[SQL_LATEST] = "SELECT max(start_us) FROM usage_fact",
	[SQL_USAGE_ROWS] =
		USAGE_SELECT "FROM usage_fact u CROSS JOIN rollup r ON r.store = u.store AND u.seq <= r.rolled_seq "
		"WHERE u.start_us >= ?1 AND u.start_us < ?2",
	/* k is read from its index alone; the rows themselves are looked up for those meters only. */
	[SQL_USAGE_ROWS_OF_SOME] =
		USAGE_SELECT "FROM usage_fact k CROSS JOIN rollup r ON r.store = k.store AND k.seq <= r.rolled_seq "
		"CROSS JOIN usage_fact u ON u.store = k.store AND u.seq = k.seq "
		"WHERE k.start_us >= ?1 AND k.start_us < ?2 AND k.meter IN " SOME_METERS,
	/* Rows that are in no sum yet. */
	[SQL_USAGE_FRESH] =
		USAGE_SELECT "FROM rollup r CROSS JOIN usage_fact u ON u.store = r.store AND u.seq > r.rolled_seq "
		"WHERE u.start_us >= ?1 AND u.start_us < ?2",
	[SQL_USAGE_HOURS] = SUM_SELECT "FROM hour_fact WHERE start_us >= ?1 AND start_us < ?2",
	[SQL_USAGE_DAYS] = SUM_SELECT "FROM day_fact WHERE start_us >= ?1 AND start_us < ?2",
	[SQL_USAGE_HOURS_OF_SOME] = SUMS_OF_SOME("hour_fact"),
	[SQL_USAGE_DAYS_OF_SOME] = SUMS_OF_SOME("day_fact"),
	[SQL_KNOWS_ADDRESS] =
		"SELECT EXISTS (SELECT 1 FROM meter WHERE address = ?1) "
		"OR EXISTS (SELECT 1 FROM coverage_fact WHERE address = ?1)",
	[SQL_KNOWS_ROUTER] =
		"SELECT EXISTS (SELECT 1 FROM generation WHERE router = ?1) "
		"OR EXISTS (SELECT 1 FROM coverage_fact WHERE router = ?1)",
	/* The end of a gap is no reading: it may be when somebody found that there was none. */
	[SQL_ROUTERS] =
		"SELECT router, max(CASE WHEN state IN ('metered', 'standby') THEN end_us ELSE 0 END) "
		"FROM coverage_fact GROUP BY router",
	[SQL_GAPS] =
		"SELECT seq, node, router, address, start_us, end_us, reason FROM coverage_fact "
		"WHERE state = 'gap' AND end_us > ? ORDER BY router, start_us, address",

	[SQL_RESIDUES] =
		"SELECT router, max(end_us), sum(windows), sum(received_bytes), sum(sent_bytes), sum(in_bytes), sum(out_bytes), "
		"sum(residue_in_bytes), sum(residue_out_bytes), sum(excess_bytes), sum(flagged) FROM residue_fact "
		"WHERE start_us > ? GROUP BY router",

	[SQL_ADDRESSES] = "SELECT DISTINCT address, fixed FROM meter WHERE address <> ''",
	[SQL_TRACE_METERS] =
		METER_SELECT ", closed_us, tag, boot, node, ns, router, " BASIS ", made_us, made_boot_us, read_us, read_boot_us "
		"FROM meter JOIN generation USING (generation) WHERE address = ? ORDER BY meter",
	[SQL_TRACE_ROW] =
		"SELECT s.id, u.seq, u.start_us, u.end_us, u.in_bytes, u.in_packets, u.out_bytes, u.out_packets, u.end_in_bytes, "
		"u.end_in_packets, u.end_out_bytes, u.end_out_packets, u.flags FROM usage_fact u CROSS JOIN store s ON s.store = u.store "
		"WHERE u.meter = ?1 AND u.start_us BETWEEN ?2 AND ?3 ORDER BY u.start_us DESC, u.store DESC, u.seq DESC LIMIT 1",
	[SQL_TRACE_ROW_AFTER] =
		"SELECT in_bytes, in_packets, out_bytes, out_packets, end_in_bytes, end_in_packets, end_out_bytes, end_out_packets "
		"FROM usage_fact WHERE meter = ?1 AND start_us > ?2 AND start_us <= ?3 ORDER BY start_us, store, seq LIMIT 1",
	[SQL_TRACE_ROW_BEFORE] =
		"SELECT end_in_bytes, end_in_packets, end_out_bytes, end_out_packets FROM usage_fact WHERE meter = ?1 AND (store, seq) "
		"< ((SELECT store FROM store WHERE id = ?2), ?3) ORDER BY store DESC, seq DESC LIMIT 1",
	[SQL_TRACE_HOUR] =
		"SELECT in_bytes, in_packets, out_bytes, out_packets, flags FROM hour_fact WHERE start_us = ? AND meter = ?",
	[SQL_TRACE_DAY] =
		"SELECT in_bytes, in_packets, out_bytes, out_packets, flags FROM day_fact WHERE start_us = ? AND meter = ?",
	[SQL_TRACE_COVERAGE] =
		"SELECT address, start_us, end_us, state, reason FROM coverage_fact WHERE node = ?1 AND router = ?2 "
		"AND address IN ('', ?3) AND end_us >= ?4 AND start_us <= ?5 ORDER BY start_us, address",

	[SQL_AUDIT_STORES] =
		"SELECT s.store, s.id, s.last_seq, r.dropped_seq, r.rolled_seq FROM store s LEFT JOIN rollup r "
		"ON r.store = s.store ORDER BY s.store",
	[SQL_AUDIT_METERS] =
		"SELECT m.meter, g.router, m.kind, m.address, m.class, m.closed_us, m.first_in_bytes, "
		"m.first_in_packets, m.first_out_bytes, m.first_out_packets, m.last_in_bytes, "
		"m.last_in_packets, m.last_out_bytes, m.last_out_packets FROM meter m LEFT JOIN generation g "
		"ON g.generation = m.generation ORDER BY m.meter",
	[SQL_AUDIT_USAGE] =
		"SELECT store, seq, meter, start_us, end_us, in_bytes, in_packets, out_bytes, out_packets, "
		"end_in_bytes, end_in_packets, end_out_bytes, end_out_packets, flags FROM usage_fact ORDER "
		"BY store, seq",
	[SQL_AUDIT_SUMS] =
		"SELECT 0, meter, start_us, in_bytes, in_packets, out_bytes, out_packets FROM hour_fact "
		"UNION ALL SELECT 1, meter, start_us, in_bytes, in_packets, out_bytes, out_packets FROM day_fact",
	[SQL_AUDIT_COVERAGE] =
		"SELECT store, seq, node, router, address, start_us, end_us, state FROM coverage_fact "
		"ORDER BY store, node, router, address, seq",
};

/* ---- errors ---- */

/* sqlite3_system_errno() knows nothing of a COMMIT that failed: the files themselves do (sqlite3_file_control()). */
static int system_error(struct store *store)
{
	int number = sqlite3_system_errno(store->db);
	sqlite3_file *wal = NULL;

	if (!number && sqlite3_file_control(store->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &wal) == SQLITE_OK && wal &&
	    wal->pMethods)
		wal->pMethods->xFileControl(wal, SQLITE_FCNTL_LAST_ERRNO, &number);
	if (!number)
		sqlite3_file_control(store->db, "main", SQLITE_FCNTL_LAST_ERRNO, &number);
	return number;
}

static const char *remedy(const struct store *store, int code, int system_errno)
{
	if (code == SQLITE_READONLY && store->lock < 0)
		return ": its -wal and -shm are missing, and who may only read cannot make them (start the agent, or "
		       "read once as root)";
	if (code == SQLITE_FULL || system_errno == ENOSPC || system_errno == EDQUOT)
		return ": the file system is full (make room there; nothing is lost, counting goes on)";
	if (system_errno == EROFS)
		return ": the file system is read-only (repair it and start the agent again; nothing is lost, counting goes on)";
	if (system_errno == EACCES || system_errno == EPERM || code == SQLITE_PERM || code == SQLITE_READONLY)
		return ": no permission (the agent needs to own the directory; to read, be in the group fipmeter)";
	if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB)
		return ": the file is damaged (start the agent again; if it does not set the file aside itself, move "
		       "it away with its -wal and -shm: the baselines have a second home)";
	return "";
}

/* While a writer opens it, what SQLite does not understand is the schema in the file: our own texts are right. */
static bool is_damage(const struct store *store, int code)
{
	bool opening = store->lock >= 0 && !store->rollup;

	return code == SQLITE_CORRUPT || code == SQLITE_NOTADB || code == SQLITE_TOOBIG ||
	       (opening && (code == SQLITE_ERROR || code == SQLITE_CONSTRAINT || code == SQLITE_MISMATCH));
}

/* SQLite takes a disk that does not give a page for a file that is damaged (SQLITE_IOERR_CORRUPTFS). It may give it the next
 * time: the file is opened and judged again (store_renew()), and taken away only if that finds it damaged. */
static void note_unread(struct store *store, int code)
{
	if (code != SQLITE_CORRUPT || !store->rollup || store->damage || system_error(store) != EIO)
		return;
	store->damage = g_strdup("a page of it could not be read");
	store->displaced = true;
}

void sql_set_error(struct store *store, GError **error)
{
	int extended = sqlite3_extended_errcode(store->db), code = extended & 0xff;
	int system_errno = code == SQLITE_IOERR || code == SQLITE_CANTOPEN ? system_error(store) : 0;
	bool busy = code == SQLITE_BUSY || code == SQLITE_LOCKED;

	note_unread(store, code);
	if (is_damage(store, code) && !store->damage)
		store->damage = g_strdup(sqlite3_errmsg(store->db));
	/* SQLite opens for reading what it cannot open for writing, be it for a moment. */
	if (code == SQLITE_READONLY && store->rollup && !store->damage) {
		store->damage = g_strdup("it is open for reading only");
		store->displaced = true;
	}
	store->wal_in_doubt |= extended == SQLITE_IOERR_FSYNC || extended == SQLITE_IOERR_DIR_FSYNC;
	g_set_error(error, STORE_ERROR, busy ? STORE_ERROR_BUSY : STORE_ERROR_FAILED, "%s: %s%s%s%s%s", store->path,
	            sqlite3_errmsg(store->db), system_errno ? " (" : "", system_errno ? g_strerror(system_errno) : "",
	            system_errno ? ")" : "", remedy(store, code, system_errno));
}

bool sql_may_pass(const struct store *store)
{
	int code = sqlite3_errcode(store->db) & 0xff;

	return code == SQLITE_BUSY || code == SQLITE_LOCKED || code == SQLITE_IOERR || code == SQLITE_FULL ||
	       code == SQLITE_READONLY || code == SQLITE_NOMEM;
}

/* ---- the connection ---- */

struct store *sql_store_new(const char *directory)
{
	struct store *store = g_new0(struct store, 1);

	store->directory = g_strdup(directory);
	store->path = g_build_filename(directory, STORE_FILE, NULL);
	store->lock = -1;
	return store;
}

void sql_store_free(struct store *store)
{
	sql_close(store);
	if (store->lock >= 0)
		close(store->lock);
	rollup_free(store->rollup);
	g_free(store->directory);
	g_free(store->path);
	g_free(store->damage);
	g_free(store->timezone);
	g_free(store);
}

static int note_wal(void *data, sqlite3 *db, const char *name, int pages)
{
	((struct store *)data)->wal_pages = pages;
	return SQLITE_OK;
}

static bool configure(struct store *store, GError **error)
{
	static const struct {
		int option, value;
	} options[] = {
		{ SQLITE_DBCONFIG_DEFENSIVE, 1 }, { SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0 },
		{ SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1 },
	};
	int persist = 1;

	sqlite3_extended_result_codes(store->db, 1);
	sqlite3_busy_timeout(store->db, BUSY_TIMEOUT_MS);
	for (unsigned i = 0; i < G_N_ELEMENTS(options); i++)
		if (sqlite3_db_config(store->db, options[i].option, options[i].value, NULL) != SQLITE_OK) {
			sql_set_error(store, error);
			return false;
		}
	if (!sql_exec(store, "PRAGMA mmap_size = 0; PRAGMA cell_size_check = ON; PRAGMA foreign_keys = ON", error))
		return false;
	if (store->lock < 0)
		return true;
	/* The WAL stays when the agent ends: who may only read cannot make one. */
	sqlite3_file_control(store->db, "main", SQLITE_FCNTL_PERSIST_WAL, &persist);
	if (!sql_exec(store, "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -4096; "
	                     "PRAGMA journal_size_limit = 67108864", error))
		return false;
	sqlite3_wal_hook(store->db, note_wal, store);
	return true;
}

bool sql_open(struct store *store, GError **error)
{
	int flags = (store->lock < 0 ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE) | SQLITE_OPEN_NOMUTEX;

	if (sqlite3_open_v2(store->path, &store->db, flags, NULL) != SQLITE_OK) {
		sql_set_error(store, error);
		return false;
	}
	if (store->lock >= 0 && sqlite3_db_readonly(store->db, "main") == 1) {
		g_set_error(error, STORE_ERROR, STORE_ERROR_FAILED, "%s: cannot be opened for writing (the agent needs to own "
		            "it, and descriptors to open it with, on a file system that is not read-only)", store->path);
		return false;
	}
	return configure(store, error);
}

void sql_close(struct store *store)
{
	for (unsigned i = 0; i < N_SQL; i++) {
		sqlite3_finalize(store->statements[i]);
		store->statements[i] = NULL;
	}
	sqlite3_close(store->db);
	store->db = NULL;
}

bool sql_prepare_all(struct store *store, GError **error)
{
	for (unsigned i = 0; i < N_SQL; i++) {
		int code = sqlite3_prepare_v3(store->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT,
		                              &store->statements[i], NULL);

		if (code == SQLITE_OK)
			continue;
		sql_set_error(store, error);
		if ((code & 0xff) == SQLITE_ERROR && !store->damage) /* our tables are not in it */
			store->damage = g_strdup(sqlite3_errmsg(store->db));
		return false;
	}
	return true;
}

bool sql_exec(struct store *store, const char *text, GError **error)
{
	if (sqlite3_exec(store->db, text, NULL, NULL, NULL) == SQLITE_OK)
		return true;
	sql_set_error(store, error);
	return false;
}

bool sql_get_number(struct store *store, const char *text, int64_t *number, GError **error)
{
	sqlite3_stmt *statement = NULL;
	bool ok = sqlite3_prepare_v2(store->db, text, -1, &statement, NULL) == SQLITE_OK &&
	          sqlite3_step(statement) == SQLITE_ROW;

	if (ok)
		*number = sqlite3_column_int64(statement, 0);
	else
		sql_set_error(store, error);
	sqlite3_finalize(statement);
	return ok;
}

bool sql_expect(struct store *store, const char *pragma, const char *expected, GError **error)
{
	sqlite3_stmt *statement = NULL;
	bool ok = false;

	if (sqlite3_prepare_v2(store->db, pragma, -1, &statement, NULL) == SQLITE_OK &&
	    sqlite3_step(statement) == SQLITE_ROW) {
		const char *answer = (const char *)sqlite3_column_text(statement, 0);

		ok = !g_strcmp0(answer, expected);
		if (!ok)
			g_set_error(error, STORE_ERROR, STORE_ERROR_FAILED, "%s: %s: %s", store->path, pragma,
			            answer ? answer : "no answer");
	} else {
		sql_set_error(store, error);
	}
	sqlite3_finalize(statement);
	return ok;
}

bool sql_read_store(struct store *store, GError **error)
{
	struct sql_call call = sql_call(store, SQL_GET_STORE);
	enum sql_result result = sql_step(&call, error);

	if (result == SQL_NONE) {
		store->damage = g_strdup("no store id in it");
		g_set_error(error, STORE_ERROR, STORE_ERROR_FAILED, "%s: %s", store->path, store->damage);
	}
	if (result != SQL_ROW)
		return false;
	store->number = sqlite3_column_int64(call.statement, 0);
	g_strlcpy(store->id, sql_text(&call, 1), sizeof store->id);
	store->commits = sqlite3_column_int64(call.statement, 2);
	store->last_seq = sqlite3_column_int64(call.statement, 3);
	sql_end(&call);
	return true;
}

bool sql_get_kept(struct store *store, struct kept *kept, GError **error)
{
	struct sql_call call = sql_call(store, SQL_GET_KEPT);
	enum sql_result result = sql_step(&call, error);

	if (result == SQL_NONE) {
		store->damage = g_strdup("table kept is empty");
		g_set_error(error, STORE_ERROR, STORE_ERROR_FAILED, "%s: %s", store->path, store->damage);
	}
	if (result != SQL_ROW)
		return false;
	kept->rows_from_us = sqlite3_column_int64(call.statement, 0);
	kept->hours_from_us = sqlite3_column_int64(call.statement, 1);
	sql_end(&call);
	return true;
}

bool sql_end_transaction(struct store *store, bool ok, GError **error)
{
	struct sql_call commit = sql_call(store, SQL_COMMIT), rollback = sql_call(store, SQL_ROLLBACK);

	if (ok && sql_run(&commit, error))
		return true;
	/* On some errors SQLite has rolled back by itself. */
	if (!sqlite3_get_autocommit(store->db))
		sql_run(&rollback, NULL);
	return false;
}

/* ---- calls ---- */

struct sql_call sql_call(struct store *store, enum sql which)
{
	return (struct sql_call){ .store = store, .statement = store->statements[which] };
}

static void note(struct sql_call *call, int code)
{
	if (call->failed == SQLITE_OK)
		call->failed = code;
}

void sql_bind_int(struct sql_call *call, int64_t value)
{
	note(call, sqlite3_bind_int64(call->statement, ++call->next, value));
}

void sql_bind_text(struct sql_call *call, const char *text)
{
	note(call, sqlite3_bind_text(call->statement, ++call->next, text, -1, SQLITE_STATIC));
}

void sql_bind_address(struct sql_call *call, uint32_t address)
{
	note(call, sqlite3_bind_text(call->statement, ++call->next, address_to_string(address), -1, g_free));
}

static void bind_count(struct sql_call *call, uint64_t count)
{
	if (count > INT64_MAX)
		note(call, SQLITE_RANGE);
	sql_bind_int(call, (int64_t)count);
}

void sql_bind_counts(struct sql_call *call, const struct counts *counts)
{
	bind_count(call, counts->in_bytes);
	bind_count(call, counts->in_packets);
	bind_count(call, counts->out_bytes);
	bind_count(call, counts->out_packets);
}

void sql_bind_instant(struct sql_call *call, const struct instant *at)
{
	sql_bind_int(call, at->utc_us);
	sql_bind_int(call, at->boot_us);
}

enum sql_result sql_step(struct sql_call *call, GError **error)
{
	int code = call->failed == SQLITE_OK ? sqlite3_step(call->statement) : call->failed;

	if (code == SQLITE_ROW)
		return SQL_ROW;
	if (call->failed == SQLITE_RANGE)
		g_set_error(error, STORE_ERROR, STORE_ERROR_FAILED, "%s: a count above %" G_GINT64_FORMAT
		            " cannot be stored; nothing of the sample is", call->store->path, INT64_MAX);
	else if (call->failed != SQLITE_OK)
		g_set_error(error, STORE_ERROR, STORE_ERROR_FAILED, "%s: %s", call->store->path,
		            sqlite3_errstr(code));
	else if (code != SQLITE_DONE)
		sql_set_error(call->store, error);
	sql_end(call);
	return code == SQLITE_DONE ? SQL_NONE : SQL_FAILED;
}

void sql_end(struct sql_call *call)
{
	sqlite3_reset(call->statement);
	sqlite3_clear_bindings(call->statement);
}

bool sql_run(struct sql_call *call, GError **error)
{
	enum sql_result result = sql_step(call, error);

	if (result == SQL_ROW)
		sql_end(call);
	return result != SQL_FAILED;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Opening a store.  The writer looks at two things, the database and the second home of the baselines, and goes on
 * from the one that knows more:
 *
 *	database      second home               then
 *	missing       none                      a new file
 *	missing       there                     a new file, a new store id, the second home's baselines go on
 *	damaged       any                       the same, and the damaged file is set aside (it is looked at twice)
 *	whole         older, the same, none     the database rules
 *	whole         newer, or another's       a new store id in the same file, the second home's baselines go on
 *	whole         the same, but its baselines are not those: as if damaged
 *	newer fipmeter's                        refused, nothing is touched
 *
 * Where one of the two files of the second home is damaged or missing it may have been the newer one: what the other says goes on in
 * no new store, and counters begin at what they show.
 *
 * The second home is newer if the database has never seen the commit it was written after: neither as its own nor as
 * the one that a store id of it went on from.  A new store id is one transaction with all that it begins with, so
 * being killed in the middle of this is being killed before it.
 */
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernel/lock.h"
#include "store/baselines.h"
#include "store/judge.h"
#include "store/place.h"
#include "store/schema.h"
#include "store/sql.h"
#include "store/write.h"

/* ---- what is there ---- */

/* Has the database seen the commit that the second home was written after? */
static bool has_seen(struct store *store, const struct baselines *second, bool *seen, GError **error)
{
	struct sql_call call = sql_call(store, SQL_HAS_SEEN);
	enum sql_result result;

	sql_bind_text(&call, second->store);
	sql_bind_int(&call, second->commits);
	result = sql_step(&call, error);
	*seen = result == SQL_ROW;
	sql_end(&call);
	return result != SQL_FAILED;
}

/* ---- files ---- */

static bool fail(const char *path, const char *remedy, GError **error)
{
	g_set_error(error, STORE_ERROR, STORE_ERROR_FAILED, "%s: %s%s", path, g_strerror(errno), remedy);
	return false;
}

/* Who is in the group may read.  Where that group does not exist, or is not ours to give, root alone does. */
static void give_to_group(const char *path)
{
	const struct group *group = getgrnam(STORE_GROUP);

	if (group && chown(path, (uid_t)-1, group->gr_gid) < 0)
		return;
}

static bool make_directory(const char *directory, GError **error)
{
	if (g_file_test(directory, G_FILE_TEST_IS_DIR))
		return true;
	if (g_mkdir_with_parents(directory, 0750) < 0)
		return fail(directory, " (the store's directory: name another with --state-dir, or run as root)",
		            error);
	give_to_group(directory);
	return true;
}

static bool take_lock(struct store *store, GError **error)
{
	g_autofree char *path = g_build_filename(store->directory, "lock", NULL);
	g_autoptr(GError) refusal = NULL;
	bool held;

	store->lock = lock_take(path, &refusal);
	if (store->lock >= 0)
		return true;
	held = g_error_matches(refusal, LOCK_ERROR, LOCK_ERROR_HELD);
	g_set_error(error, STORE_ERROR, held ? STORE_ERROR_BUSY : STORE_ERROR_FAILED,
	            "the store in %s cannot be written: %s%s", store->directory, refusal->message,
	            held ? "" : " (the agent needs to own the directory, and room in it)");
	return false;
}

/* Moves the file, and what belongs to it, to a name that nothing has yet.  *name is without the directory.  first: 1 moves
 * only what belongs to it. */
static bool set_aside(struct store *store, unsigned first, char **name, GError **error)
{
	static const char *const parts[] = { "", "-wal", "-shm", "-journal" };
	g_autoptr(GDateTime) now = g_date_time_new_now_utc();
	g_autofree char *stamp = g_date_time_format(now, "%Y%m%dT%H%M%SZ");
	g_autofree char *target = g_strdup_printf("%s.damaged-%s", store->path, stamp);

	for (unsigned n = 2; g_file_test(target, G_FILE_TEST_EXISTS); n++) {
		g_free(target);
		target = g_strdup_printf("%s.damaged-%s-%u", store->path, stamp, n);
	}
	for (unsigned i = first; i < G_N_ELEMENTS(parts); i++) {
		g_autofree char *from = g_strconcat(store->path, parts[i], NULL);
		g_autofree char *to = g_strconcat(target, parts[i], NULL);

		if (rename(from, to) < 0 && errno != ENOENT)
			return fail(from, " (the file is damaged and has to be set aside)", error);
	}
	*name = g_path_get_basename(target);
	return true;
}

/* An empty file, to be a database.  Made here and not by SQLite, for its mode. */
static bool make_file(struct store *store, GError **error)
{
	int directory, fd = open(store->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640);

	if (fd < 0)
		return fail(store->path, " (the agent needs to own the directory)", error);
	close(fd);
	give_to_group(store->path);
	directory = open(store->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (directory < 0 || fsync(directory) < 0) {
		fail(store->directory, "", error);
		if (directory >= 0)
			close(directory);
		return false;
	}
	close(directory);
	return true;
}

/* ---- beginnings ---- */

static bool use_wal(struct store *store, GError **error)
{
	if (sql_expect(store, "PRAGMA journal_mode = WAL", "wal", error))
		return true;
	g_prefix_error(error, "the store needs a local file system: ");
	return false;
}

/* Tables into an empty database that is open. */
static bool begin_file(struct store *store, const struct baselines *second, const char *reason, GError **error)
{
	bool ok = true;

	store->format = SCHEMA_VERSION;
	if (!use_wal(store, error) || !sql_exec(store, "BEGIN IMMEDIATE", error))
		return false;
	for (int step = 0; ok && step < SCHEMA_VERSION; step++)
		ok = sql_exec(store, schema_steps[step], error);
	ok = ok && sql_prepare_all(store, error) && write_new_store(store, second, reason, error);
	if (ok)
		return sql_end_transaction(store, true, error);
	if (!sqlite3_get_autocommit(store->db))
		sql_exec(store, "ROLLBACK", NULL);
	return false;
}

static bool begin_in_file(struct store *store, const struct baselines *second, const char *reason, GError **error)
{
	struct sql_call begin = sql_call(store, SQL_BEGIN_WRITE);

	return sql_run(&begin, error) &&
	       sql_end_transaction(store, write_new_store(store, second, reason, error), error);
}

static char *reason_against(const struct store *store, const struct baselines *second)
{
	if (g_str_equal(store->id, second->store))
		return g_strdup_printf("older than the second home of the baselines (%" G_GINT64_FORMAT
		                       " commits, not %" G_GINT64_FORMAT ": a restored backup?)", store->commits,
		                       second->commits);
	return g_strdup("not the store that the second home of the baselines belongs to (a file put in its place?)");
}

static char *tell(const struct store *store, const char *reason, const struct baselines *second)
{
	if (second)
		return g_strdup_printf("%s: %s; a new store id begins, and %u meters go on from the second home of "
		                       "the baselines", store->path, reason, second->meters->len);
	return g_strdup_printf("%s: %s; a new store begins, and as the second home of the baselines is %s too, "
	                       "counters begin at what they show now", store->path, reason,
	                       store->rotten ? "damaged" : "missing");
}

/* What may be older than what was booked would bill that twice; then nothing goes on, and counters begin where they are. */
static const struct baselines *if_certain(struct store *store, const struct baselines *second)
{
	bool uncertain = second && second->uncertain;

	store->rotten |= uncertain;
	return uncertain ? NULL : second;
}

/* The database rules, or a new store id begins in it.  *reason: why it does; NULL if it does not. */
static bool go_on(struct store *store, const struct baselines *second, char **reason, GError **error)
{
	g_autofree char *why = NULL;
	bool seen = true;

	if (!use_wal(store, error) || (second && !has_seen(store, second, &seen, error)))
		return false;
	if (seen)
		return true;
	why = reason_against(store, second);
	if (!begin_in_file(store, if_certain(store, second), why, error))
		return false;
	*reason = g_steal_pointer(&why);
	return true;
}

/* What is left of the database moves away if aside; a new file comes in its place. */
static bool begin_anew(struct store *store, const struct baselines *second, char **reason, GError **error)
{
	g_autofree char *aside = NULL, *why = NULL;
	bool damaged = store->damage, known;

	second = if_certain(store, second);
	sql_close(store);
	store->number = 0;
	if (!set_aside(store, 0, &aside, error) || !make_file(store, error))
		return false;
	why = damaged ? g_strdup_printf("damaged (%s), set aside as %s", store->damage, aside) : g_strdup("missing");
	g_clear_pointer(&store->damage, g_free);
	known = damaged || second || store->rotten;
	if (!sql_open(store, error) || !begin_file(store, second, known ? why : "new", error))
		return false;
	if (known)
		*reason = g_steal_pointer(&why);
	return true;
}

/* Goes on with it if it is whole.  What looks damaged, by then or in going on, is looked at once more, through another
 * connection: a read that fails once, and then does not, is no reason to take years of rows away from who asks for them. */
static enum verdict judge_to_go_on(struct store *store, const struct baselines *second, char **reason, bool *goes_on,
                                   GError **error)
{
	for (unsigned look = 1;; look++) {
		enum verdict verdict = judge_database(store, second, error);

		*goes_on = verdict == VERDICT_WHOLE && go_on(store, second, reason, error);
		if (!store->damage || look == 2)
			return store->damage ? VERDICT_DAMAGED : verdict;
		sql_close(store);
		g_clear_pointer(&store->damage, g_free);
		g_clear_error(error);
	}
}

static bool open_file(struct store *store, const struct baselines *second, char **reason, GError **error)
{
	g_autoptr(GError) found = NULL;
	bool goes_on = false;

	if (access(store->path, F_OK) < 0) {
		if (errno != ENOENT)
			return fail(store->path, "", error);
		return begin_anew(store, second, reason, error);
	}
	switch (judge_to_go_on(store, second, reason, &goes_on, &found)) {
	case VERDICT_WHOLE:
		if (goes_on)
			return true;
		break;
	case VERDICT_EMPTY:
		second = if_certain(store, second);
		if (second || store->rotten)
			*reason = g_strdup("empty");
		return begin_file(store, second, *reason ? *reason : "new", error);
	case VERDICT_DAMAGED:
		return begin_anew(store, second, reason, error);
	case VERDICT_FAILED:
		break;
	}
	g_propagate_error(error, g_steal_pointer(&found));
	return false;
}

/* The second home belongs to the new store id from its first moment. */
static bool save_beginning(struct store *store, GError **error)
{
	struct ledger_state state = { 0 };
	bool ok = store_load(store, &state, error) && store_save_baselines(store, state.meters, error);

	ledger_state_clear(&state);
	return ok;
}

/* What was found in a WAL is written into the database before anything is committed behind it; if that cannot be done now,
 * then before the first commit. */
static void begin_writing(struct store *store)
{
	store->rollup = rollup_new();
	store->wal_in_doubt = true;
	place_mark(store);
	store_renew_wal(store, NULL);
}

struct store *store_open(const char *directory, char **notice, GError **error)
{
	struct store *store = sql_store_new(directory);
	SCOPED(baselines) *second = NULL;
	g_autofree char *reason = NULL;
	int64_t before;

	*notice = NULL;
	if (!make_directory(directory, error) || !take_lock(store, error))
		goto failed;
	second = baselines_load(directory, &store->rotten);
	store->rotten &= !second;
	store->turn = second ? !second->turn : 0;
	if (!open_file(store, second, &reason, error))
		goto failed;
	before = store->number;
	if (!sql_read_store(store, error) || (store->number != before && !save_beginning(store, error)))
		goto failed;
	begin_writing(store);
	if (reason)
		*notice = tell(store, reason, store->rotten ? NULL : second);
	else if (store->format < SCHEMA_VERSION)
		*notice = g_strdup_printf("%s: brought from format %" G_GINT64_FORMAT " to %d; nothing of it is lost, but an older "
		                          "fipmeter does not read it any more", store->path, store->format, SCHEMA_VERSION);
	return store;
failed:
	sql_store_free(store);
	return NULL;
}

/* ---- going on after it was lost ---- */

/* Closes.  A -wal and -shm of ours beside somebody else's database would be taken for its own, so they go; what the WAL
 * held is in our file then, wherever that is now, or is set aside. */
static bool give_up(struct store *store, GError **error)
{
	bool ours = place_is_ours(store, MARK_DATABASE), kept = false;
	g_autofree char *name = NULL;

	if (store->db && store->displaced && (!ours || !place_is_ours(store, MARK_WAL)))
		kept = sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL) == SQLITE_OK;
	sql_close(store);
	g_clear_pointer(&store->rollup, rollup_free);
	store->number = 0;
	if (ours || !store->displaced)
		return true;
	for (unsigned part = MARK_WAL; part < FILE_MARKS; part++) {
		g_autofree char *path = place_path(store, part);

		if (place_is_ours(store, part) && kept)
			unlink(path);
	}
	return !place_is_ours(store, MARK_WAL) || set_aside(store, 1, &name, error);
}

static bool open_again(struct store *store, const GPtrArray *open_meters, char **reason, struct ledger_state *state,
                       GError **error)
{
	SCOPED(baselines) *second = baselines_of(store->id, store->commits, store->last_seq, open_meters);
	int64_t before;

	if (!(store->damage ? begin_anew(store, second, reason, error) : open_file(store, second, reason, error)))
		return false;
	before = store->number;
	if (!sql_read_store(store, error) || (store->number != before && !save_beginning(store, error)) ||
	    !store_load(store, state, error))
		return false;
	begin_writing(store);
	return true;
}

static char *tell_renewal(const struct store *store, const char *change, const char *reason, unsigned n)
{
	if (!reason)
		return g_strdup_printf("%s: %s; opened again, and all that was committed is there", store->path, change);
	return g_strdup_printf("%s: %s%s%s; a new store id begins, and %u meters go on from their baselines in memory",
	                       store->path, change ? change : "", change ? "; " : "", reason, n);
}

bool store_renew(struct store *store, const GPtrArray *open_meters, struct ledger_state *state, char **notice,
                 GError **error)
{
	g_autofree char *change = store->displaced ? g_strdup(store->damage) : NULL, *reason = NULL;
	g_autofree char *timezone = g_steal_pointer(&store->timezone);
	bool done = give_up(store, error);

	if (done && store->displaced) {
		g_clear_pointer(&store->damage, g_free);
		store->displaced = false;
	}
	done = done && open_again(store, open_meters, &reason, state, error);
	if (done && timezone) {
		g_autoptr(GTimeZone) zone = g_time_zone_new_identifier(timezone);

		done = store_set_timezone(store, zone, error);
		if (!done)
			ledger_state_clear(state);
	}
	if (done) {
		*notice = tell_renewal(store, change, reason, open_meters->len);
		return true;
	}
	sql_close(store);
	g_clear_pointer(&store->rollup, rollup_free);
	if (!store->timezone)
		store->timezone = g_steal_pointer(&timezone);
	return false;
}

/* ---- readers ---- */

static bool open_for_reading(struct store *store, GError **error)
{
	if (access(store->path, F_OK) < 0) {
		if (errno != ENOENT && errno != ENOTDIR)
			return fail(store->path, " (to read it, be root or in the group " STORE_GROUP ")", error);
		g_set_error(error, STORE_ERROR, STORE_ERROR_MISSING, "%s: there is no store", store->path);
		return false;
	}
	if (!sql_open(store, error))
		return false;
	switch (judge_kind(store, error)) {
	case VERDICT_WHOLE:
		if (store->format == SCHEMA_VERSION)
			return sql_prepare_all(store, error) && sql_read_store(store, error);
		g_set_error(error, STORE_ERROR, STORE_ERROR_VERSION, "%s: made by an older fipmeter (format %" G_GINT64_FORMAT
		            ", this one reads %d): start this version's agent, which brings it up to that and loses nothing",
		            store->path, store->format, SCHEMA_VERSION);
		break;
	case VERDICT_EMPTY:
		g_set_error(error, STORE_ERROR, STORE_ERROR_MISSING, "%s: there is nothing in the store yet",
		            store->path);
		break;
	case VERDICT_DAMAGED:
	case VERDICT_FAILED:
		break;
	}
	return false;
}

struct store *store_open_reader(const char *directory, GError **error)
{
	struct store *store = sql_store_new(directory);

	if (open_for_reading(store, error))
		return store;
	sql_store_free(store);
	return NULL;
}

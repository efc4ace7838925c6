/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See judge.h.
 */
#include "store/judge.h"

#include <sys/stat.h>

#include "store/agree.h"
#include "store/schema.h"
#include "store/shape.h"

/* A file beyond this is not read through at every start: only the tables that decisions rest on are, the usage rows are
 * checked by the audit. */
#define QUICK_CHECK_MAX (1 << 30)

static void set_damage(struct store *store, const char *damage)
{
	g_free(store->damage);
	store->damage = g_strdelimit(g_strdup(damage), "\n", ' ');
}

enum verdict judge_kind(struct store *store, GError **error)
{
	int64_t application, version, tables;

	if (!sql_get_number(store, "PRAGMA application_id", &application, error) ||
	    !sql_get_number(store, "PRAGMA user_version", &version, error) ||
	    !sql_get_number(store, "SELECT count(*) FROM sqlite_schema", &tables, error))
		return store->damage ? VERDICT_DAMAGED : VERDICT_FAILED;
	if (!application && !version && !tables)
		return VERDICT_EMPTY;
	if (application != SCHEMA_APPLICATION_ID || version < 1) {
		set_damage(store, "it is no store of fipmeter");
		g_set_error(error, STORE_ERROR, STORE_ERROR_FAILED, "%s: %s", store->path, store->damage);
		return VERDICT_DAMAGED;
	}
	store->format = version;
	if (version > SCHEMA_VERSION) {
		g_set_error(error, STORE_ERROR, STORE_ERROR_VERSION, "%s: made by a newer fipmeter (format %"
		            G_GINT64_FORMAT ", this one knows %d): install that one, or move the file away",
		            store->path, version, SCHEMA_VERSION);
		return VERDICT_FAILED;
	}
	return VERDICT_WHOLE;
}

/* The tables that decisions rest on, with their indexes: a meter is found by one, and refused by another. */
static const char *const few[] = {
	"PRAGMA integrity_check('store')", "PRAGMA integrity_check('generation')", "PRAGMA integrity_check('meter')",
	"PRAGMA integrity_check('coverage_fact')", NULL,
};

static bool check(struct store *store, const char *const *checks, GError **error)
{
	g_autoptr(GError) found = NULL;

	for (unsigned i = 0; checks[i]; i++)
		if (!sql_expect(store, checks[i], "ok", &found)) {
			if (!store->damage && sqlite3_errcode(store->db) == SQLITE_OK)
				set_damage(store, found->message);
			g_propagate_error(error, g_steal_pointer(&found));
			return false;
		}
	return true;
}

static bool is_large(const struct store *store)
{
	struct stat file;

	return stat(store->path, &file) == 0 && file.st_size > QUICK_CHECK_MAX;
}

static bool check_pages(struct store *store, GError **error)
{
	static const char *const all[] = { "PRAGMA quick_check(1)", NULL };

	if (!is_large(store) && !check(store, all, error))
		return false;
	return check(store, few, error);
}

void judge_again(struct store *store)
{
	check(store, few, NULL);
}

/* The schema's steps from the format that the file has, in a transaction of their own. */
static bool bring_up(struct store *store, int64_t format, GError **error)
{
	bool ok = sql_exec(store, "BEGIN IMMEDIATE", error);

	for (int64_t step = format; ok && step < SCHEMA_VERSION; step++)
		ok = sql_exec(store, schema_steps[step], error);
	if (ok && sql_exec(store, "COMMIT", error))
		return true;
	if (!sqlite3_get_autocommit(store->db))
		sql_exec(store, "ROLLBACK", NULL);
	return false;
}

/* Rows are numbered without holes, so it is known how many there must be, and in their index as many: fewer if pages of an
 * older file are among those of this one. */
static bool check_rows(struct store *store, GError **error)
{
	struct sql_call call = sql_call(store, SQL_LACKING_STORE);
	enum sql_result result = sql_step(&call, error);

	if (result != SQL_ROW)
		return result == SQL_NONE;
	set_damage(store, "rows are missing");
	g_set_error(error, STORE_ERROR, STORE_ERROR_FAILED, "%s: %s of store id %s", store->path, store->damage,
	            sql_text(&call, 0));
	sql_end(&call);
	return false;
}

/* True if what a ledger would start from can be read, and can be what stands there after the last commit. */
static bool check_baselines(struct store *store, const struct baselines *second, GError **error)
{
	struct ledger_state state = { 0 };

	if ((!is_large(store) && !check_rows(store, error)) || !store_load(store, &state, error))
		return false;
	if (second && g_str_equal(second->store, store->id) && store->commits >= second->commits)
		store->damage = agree_find_difference(state.meters, store->commits, second);
	if (store->damage)
		g_set_error(error, STORE_ERROR, STORE_ERROR_FAILED, "%s: %s", store->path, store->damage);
	ledger_state_clear(&state);
	return !store->damage;
}

enum verdict judge_database(struct store *store, const struct baselines *second, GError **error)
{
	enum verdict verdict;

	if (!sql_open(store, error))
		return store->damage ? VERDICT_DAMAGED : VERDICT_FAILED;
	verdict = judge_kind(store, error);
	if (verdict != VERDICT_WHOLE)
		return verdict;
	if (!check_pages(store, error) || !shape_check(store, schema_steps, store->format, error) ||
	    (store->format < SCHEMA_VERSION && !bring_up(store, store->format, error)) ||
	    !sql_prepare_all(store, error) || !sql_read_store(store, error) || !check_baselines(store, second, error))
		return store->damage ? VERDICT_DAMAGED : VERDICT_FAILED;
	return VERDICT_WHOLE;
}

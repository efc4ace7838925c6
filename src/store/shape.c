/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See shape.h.
 */
#include "store/shape.h"

#define FIND "SELECT 1 FROM sqlite_schema WHERE type = ? AND name = ? AND tbl_name = ? AND sql = ?"
#define WANTED "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE sql IS NOT NULL"

/* An empty database in memory with the schema as it should be, or NULL. */
static sqlite3 *make_model(const char *const *texts, unsigned n)
{
	sqlite3 *model = NULL;
	bool ok = sqlite3_open(":memory:", &model) == SQLITE_OK;

	for (unsigned i = 0; ok && i < n; i++)
		ok = sqlite3_exec(model, texts[i], NULL, NULL, NULL) == SQLITE_OK;
	if (ok)
		return model;
	sqlite3_close(model);
	return NULL;
}

static bool has(sqlite3_stmt *find, sqlite3_stmt *wanted)
{
	bool found;

	for (int i = 0; i < 4; i++)
		sqlite3_bind_value(find, i + 1, sqlite3_column_value(wanted, i));
	found = sqlite3_step(find) == SQLITE_ROW;
	sqlite3_reset(find);
	return found;
}

bool shape_check(struct store *store, const char *const *texts, unsigned n, GError **error)
{
	sqlite3 *model = make_model(texts, n);
	sqlite3_stmt *find = NULL, *wanted = NULL;
	bool ok = sqlite3_prepare_v2(store->db, FIND, -1, &find, NULL) == SQLITE_OK;

	if (!ok)
		sql_set_error(store, error);
	if (ok && model && sqlite3_prepare_v2(model, WANTED, -1, &wanted, NULL) == SQLITE_OK)
		while (ok && sqlite3_step(wanted) == SQLITE_ROW) {
			ok = has(find, wanted);
			if (ok)
				continue;
			store->damage = g_strdup_printf("the schema does not say what %s is", sqlite3_column_text(wanted, 1));
			g_set_error(error, STORE_ERROR, STORE_ERROR_FAILED, "%s: %s", store->path, store->damage);
		}
	sqlite3_finalize(find);
	sqlite3_finalize(wanted);
	sqlite3_close(model);
	return ok;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the tests of the store share: a directory that is removed, batches made by hand, SQL past the program.
 */
#ifndef FIPMETER_TESTS_STORE_WORLD_H
#define FIPMETER_TESTS_STORE_WORLD_H

#include <glib/gstdio.h>
#include <sqlite3.h>

#include "../scratch.h"
#include "store/audit.h"
#include "store/query.h"
#include "store/store.h"

#define MINUTE INT64_C(60000000)
#define NOON INT64_C(1784808000000000)
#define FIP 0xc6336465u /* 198.51.100.101 */
#define FIXED 0x0a00010bu

struct world {
	char *directory;
	struct store *store;
	struct generation *of;
	GPtrArray *open; /* of struct meter: as a ledger would hold them */
	int64_t next_meter, next_coverage;
	struct instant now;
};

static inline void world_set_up(struct world *world, const void *data)
{
	*world = (struct world){ .directory = scratch_new(), .next_meter = 1,
	                         .next_coverage = 1, .now = { NOON, 5 * MINUTE } };
	g_assert_nonnull(world->directory);
	world->open = g_ptr_array_new_with_free_func((GDestroyNotify)meter_free);
	world->of = generation_new("00112233445566778899aabbccddeeff", "boot", "node", "qrouter-one", "one",
	                           BASIS_SKB);
	world->of->made_at = world->of->read_at = world->now;
}

static inline void world_remove_files(const char *directory)
{
	g_autoptr(GDir) files = g_dir_open(directory, 0, NULL);
	const char *name;

	while (files && (name = g_dir_read_name(files))) {
		g_autofree char *path = g_build_filename(directory, name, NULL);

		g_assert_no_errno(g_remove(path));
	}
}

static inline void world_tear_down(struct world *world, const void *data)
{
	store_close(world->store);
	generation_unref(world->of);
	g_ptr_array_unref(world->open);
	world_remove_files(world->directory);
	g_assert_no_errno(g_rmdir(world->directory));
	g_free(world->directory);
}

static inline char *world_path(const struct world *world, const char *name)
{
	return g_build_filename(world->directory, name, NULL);
}

/* Opens, expecting success; the notice is the caller's. */
static inline char *world_open(struct world *world)
{
	g_autoptr(GError) error = NULL;
	char *notice = NULL;

	world->store = store_open(world->directory, &notice, &error);
	g_assert_no_error(error);
	g_assert_nonnull(world->store);
	return notice;
}

static inline void world_open_silently(struct world *world)
{
	g_autofree char *notice = world_open(world);

	g_assert_cmpstr(notice, ==, NULL);
}

static inline void world_close(struct world *world)
{
	store_close(world->store);
	world->store = NULL;
}

static inline struct meter *world_new_meter(struct world *world, uint32_t address, const char *class_name)
{
	struct meter *meter = g_new0(struct meter, 1);

	meter->id = world->next_meter++;
	meter->of = generation_ref(world->of);
	meter->key = (struct meter_key){ KIND_FLOATING, address, g_intern_string(class_name) };
	meter->fixed = FIXED;
	meter->first_at = meter->last_at = world->now;
	return meter;
}

static inline struct coverage *world_new_coverage(struct world *world, uint32_t address, enum state state)
{
	struct coverage row = { world->next_coverage++, (char *)"node", (char *)"one", address, world->now.utc_us,
	                        world->now.utc_us + MINUTE, state, (char *)"why" };

	return coverage_copy(&row);
}

static inline void world_tick(struct world *world)
{
	world->now.utc_us += MINUTE;
	world->now.boot_us += MINUTE;
}

/* Moves a meter on by counts: its row and its new state go into the batch. */
static inline void world_count(struct world *world, struct batch *batch, struct meter *meter, struct counts counts,
                               unsigned flags)
{
	struct usage row = { .meter = meter->id, .start_us = meter->last_at.utc_us, .end_us = world->now.utc_us,
	                     .counts = counts, .flags = flags };

	counts_add(&meter->last, &counts);
	meter->last_at = world->now;
	row.reading = meter->last;
	g_array_append_val(batch->usage, row);
	g_ptr_array_add(batch->meters, meter_copy(meter));
}

/* Commits, expecting success, and frees the batch. */
static inline void world_commit(struct world *world, struct batch *batch)
{
	g_autoptr(GError) error = NULL;

	g_assert_true(store_commit(world->store, batch, &error));
	g_assert_no_error(error);
	batch_free(batch);
}

static inline void world_save(struct world *world)
{
	g_autoptr(GError) error = NULL;

	g_assert_true(store_save_baselines(world->store, world->open, &error));
	g_assert_no_error(error);
}

/* n addresses from FIP on, committed with baseline 0. */
static inline void world_begin(struct world *world, unsigned n)
{
	struct batch *batch = batch_new();

	g_ptr_array_add(batch->generations, generation_ref(world->of));
	for (unsigned i = 0; i < n; i++) {
		g_ptr_array_add(world->open, world_new_meter(world, FIP + i, "internet"));
		g_ptr_array_add(batch->meters, meter_copy(world->open->pdata[i]));
	}
	world_commit(world, batch);
}

/* A sample a minute later in which every meter has counted 1000 and 10 in, 500 and 5 out. */
static inline void world_sample(struct world *world)
{
	struct batch *batch = batch_new();

	world_tick(world);
	world->of->read_at = world->now;
	g_ptr_array_add(batch->generations, generation_ref(world->of));
	for (unsigned i = 0; i < world->open->len; i++)
		world_count(world, batch, world->open->pdata[i], (struct counts){ 1000, 10, 500, 5 }, 0);
	world_commit(world, batch);
}

/* ---- past the program ---- */

static inline void world_sql(const struct world *world, const char *text)
{
	g_autofree char *path = world_path(world, STORE_FILE);
	sqlite3 *db = NULL;
	char *message = NULL;

	g_assert_cmpint(sqlite3_open(path, &db), ==, SQLITE_OK);
	sqlite3_exec(db, text, NULL, NULL, &message);
	g_assert_cmpstr(message, ==, NULL);
	sqlite3_close(db);
}

/* The first row of what text gives, its columns joined by '|'; "" for none. */
static inline char *world_ask(const struct world *world, const char *text)
{
	g_autofree char *path = world_path(world, STORE_FILE);
	GString *answer = g_string_new(NULL);
	sqlite3_stmt *statement = NULL;
	sqlite3 *db = NULL;

	g_assert_cmpint(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), ==, SQLITE_OK);
	sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	g_assert_cmpint(sqlite3_prepare_v2(db, text, -1, &statement, NULL), ==, SQLITE_OK);
	if (sqlite3_step(statement) == SQLITE_ROW)
		for (int i = 0; i < sqlite3_column_count(statement); i++)
			g_string_append_printf(answer, "%s%s", i ? "|" : "",
			                       (const char *)sqlite3_column_text(statement, i));
	sqlite3_finalize(statement);
	sqlite3_close(db);
	return g_string_free(answer, FALSE);
}

#define world_assert(world, text, expected) \
	do { \
		g_autofree char *world_answer = world_ask(world, text); \
		g_assert_cmpstr(world_answer, ==, expected); \
	} while (0)

/* The audit's findings, one a line; "" for a clean store. */
static inline char *world_findings(struct store *store)
{
	g_autoptr(GError) error = NULL;
	GString *lines = g_string_new(NULL);
	struct audit audit;

	g_assert_true(store_audit(store, &audit, &error));
	g_assert_no_error(error);
	g_assert_cmpuint(audit.findings.texts->len, ==, MIN(audit.findings.n, AUDIT_TOLD_MAX));
	for (unsigned i = 0; i < audit.findings.texts->len; i++)
		g_string_append_printf(lines, "%s\n", (const char *)audit.findings.texts->pdata[i]);
	audit_clear(&audit);
	return g_string_free(lines, FALSE);
}

static inline void world_assert_clean(const struct world *world)
{
	g_autofree char *findings = world_findings(world->store);

	g_assert_cmpstr(findings, ==, "");
}

#endif

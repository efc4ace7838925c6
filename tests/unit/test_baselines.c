/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The second home of the baselines, and what opening a store makes of a database that is missing, damaged, restored
 * or swapped: nothing is counted twice, the newer baselines go on, and whatever a file holds, the result is a defined
 * one.
 */
#include "store_world.h"

#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include "store/baselines.h"

/* ---- all files of the directory, kept in memory ---- */

static GHashTable *keep_files(const struct world *world)
{
	GHashTable *files = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_bytes_unref);
	g_autoptr(GDir) names = g_dir_open(world->directory, 0, NULL);
	const char *name;

	while ((name = g_dir_read_name(names))) {
		g_autofree char *path = world_path(world, name);
		size_t length;
		char *data;

		g_assert_true(g_file_get_contents(path, &data, &length, NULL));
		g_hash_table_insert(files, g_strdup(name), g_bytes_new_take(data, length));
	}
	return files;
}

static void put_file(const struct world *world, const char *name, const void *data, size_t length)
{
	g_autofree char *path = world_path(world, name);

	g_remove(path); /* or GLib would write over it, and leave what is longer */
	g_assert_true(g_file_set_contents_full(path, data, length, G_FILE_SET_CONTENTS_NONE, 0640, NULL));
}

/* Those whose name begins with prefix. */
static void put_back(const struct world *world, GHashTable *files, const char *prefix)
{
	GHashTableIter each;
	void *name, *bytes;

	g_hash_table_iter_init(&each, files);
	while (g_hash_table_iter_next(&each, &name, &bytes))
		if (g_str_has_prefix(name, prefix))
			put_file(world, name, g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes));
}

static void remove_file(const struct world *world, const char *name)
{
	g_autofree char *path = world_path(world, name);

	g_remove(path);
}

static void remove_database(const struct world *world)
{
	remove_file(world, STORE_FILE);
	remove_file(world, STORE_FILE "-wal");
	remove_file(world, STORE_FILE "-shm");
}

/* The name of the file set aside, or NULL. */
static char *find_aside(const struct world *world, unsigned which)
{
	g_autoptr(GDir) names = g_dir_open(world->directory, 0, NULL);
	const char *name;

	while ((name = g_dir_read_name(names)))
		if (g_str_has_prefix(name, STORE_FILE ".damaged-") && !g_str_has_suffix(name, "-wal") &&
		    !g_str_has_suffix(name, "-shm") && !which--)
			return g_strdup(name);
	return NULL;
}

/* ---- the files ---- */

static void save(struct world *world, unsigned turn, int64_t commits)
{
	g_autoptr(GError) error = NULL;

	g_assert_true(baselines_save(world->directory, turn, "0123456789abcdef0123456789abcdef", commits, 7,
	                             world->open, &error));
	g_assert_no_error(error);
}

static void fill(struct world *world)
{
	static const char *const classes[] = { "internet", "cloud", "free" };

	for (unsigned i = 0; i < 9; i++) {
		struct meter *meter = world_new_meter(world, FIP + i / 3, classes[i % 3]);

		meter->last = (struct counts){ i, UINT64_MAX - i, i * 3, i * 4 };
		meter->flags = i;
		if (i > 5) {
			generation_unref(meter->of);
			meter->of = generation_new("ffff", "other boot", "n\xf6" "de", "snat-two", "two", i % 2 ? BASIS_WIRE : BASIS_WIRE_SENT);
			meter->of->made_at = (struct instant){ 1, 2 };
			meter->of->read_at = (struct instant){ 3, 4 };
			meter->key.kind = KIND_UNATTRIBUTED;
		}
		g_ptr_array_add(world->open, meter);
	}
}

static void test_round_trip(struct world *world, const void *data)
{
	SCOPED(baselines) *loaded = NULL;
	bool damaged;

	g_assert_null(baselines_load(world->directory, &damaged));
	g_assert_false(damaged);
	fill(world);
	save(world, 1, 5);
	loaded = baselines_load(world->directory, &damaged);
	g_assert_false(damaged);
	g_assert_cmpstr(loaded->store, ==, "0123456789abcdef0123456789abcdef");
	g_assert_cmpint(loaded->commits, ==, 5);
	g_assert_cmpint(loaded->last_seq, ==, 7);
	g_assert_cmpuint(loaded->turn, ==, 1);
	g_assert_cmpuint(loaded->meters->len, ==, 9);
	g_assert_cmpuint(loaded->generations->len, ==, 4);
	for (unsigned i = 0; i < 9; i++) {
		const struct meter *was = world->open->pdata[i], *is = loaded->meters->pdata[i];

		g_assert_cmpint(meter_key_compare(&was->key, &is->key), ==, 0);
		g_assert_true(was->key.class_name == is->key.class_name);
		g_assert_cmpuint(was->fixed, ==, is->fixed);
		g_assert_cmpuint(was->flags, ==, is->flags);
		g_assert_cmpmem(&was->last, sizeof was->last, &is->last, sizeof is->last);
		g_assert_cmpmem(&was->last_at, sizeof was->last_at, &is->last_at, sizeof is->last_at);
		g_assert_cmpstr(was->of->tag, ==, is->of->tag);
		g_assert_cmpstr(was->of->boot, ==, is->of->boot);
		g_assert_cmpstr(was->of->node, ==, is->of->node);
		g_assert_cmpstr(was->of->ns, ==, is->of->ns);
		g_assert_cmpstr(was->of->router, ==, is->of->router);
		g_assert_cmpint(was->of->basis, ==, is->of->basis);
		g_assert_cmpmem(&was->of->made_at, sizeof was->of->made_at, &is->of->made_at, sizeof is->of->made_at);
		g_assert_cmpmem(&was->of->read_at, sizeof was->of->read_at, &is->of->read_at, sizeof is->of->read_at);
	}
}

static void test_none(struct world *world, const void *data)
{
	SCOPED(baselines) *loaded = NULL;
	bool damaged;

	save(world, 0, 1);
	loaded = baselines_load(world->directory, &damaged);
	g_assert_cmpuint(loaded->meters->len, ==, 0);
}

static void test_in_turn(struct world *world, const void *data)
{
	SCOPED(baselines) *newer = NULL, *older = NULL;
	bool damaged;

	fill(world);
	save(world, 0, 5);
	save(world, 1, 6);
	newer = baselines_load(world->directory, &damaged);
	g_assert_cmpint(newer->commits, ==, 6);
	put_file(world, "baselines.1", "garbage", 7);
	older = baselines_load(world->directory, &damaged);
	g_assert_cmpint(older->commits, ==, 5);
	g_assert_true(damaged);
	put_file(world, "baselines.0", "", 0);
	g_assert_null(baselines_load(world->directory, &damaged));
	g_assert_true(damaged);
}

/* Whatever byte is changed, and wherever it is cut, the file is not believed. */
static void test_every_byte(struct world *world, const void *data)
{
	g_autofree char *path = world_path(world, "baselines.0"), *good = NULL;
	size_t length;
	bool damaged;

	fill(world);
	save(world, 0, 5);
	g_assert_true(g_file_get_contents(path, &good, &length, NULL));
	for (size_t i = 0; i < length; i++) {
		g_autofree char *bad = g_memdup2(good, length);

		bad[i] ^= 1 << i % 8;
		put_file(world, "baselines.0", bad, length);
		g_assert_null(baselines_load(world->directory, &damaged));
		g_assert_true(damaged);
		put_file(world, "baselines.0", good, i);
		g_assert_null(baselines_load(world->directory, &damaged));
	}
	put_file(world, "baselines.0", good, length);
	baselines_free(baselines_load(world->directory, &damaged));
	g_assert_false(damaged);
}

/* A checksum that is right does not make the rest believed blindly. */
static void test_wrong_with_right_checksum(struct world *world, const void *data)
{
	g_autofree char *path = world_path(world, "baselines.0"), *good = NULL;
	size_t length;
	bool damaged;

	fill(world);
	save(world, 0, 5);
	g_assert_true(g_file_get_contents(path, &good, &length, NULL));
	for (size_t i = 48; i < length; i++) {
		g_autoptr(GChecksum) checksum = g_checksum_new(G_CHECKSUM_SHA256);
		g_autofree char *bad = g_memdup2(good, length);
		size_t digest_length = 32;

		bad[i] ^= 0xff;
		g_checksum_update(checksum, (guchar *)bad + 48, length - 48);
		g_checksum_get_digest(checksum, (guchar *)bad + 16, &digest_length);
		put_file(world, "baselines.0", bad, length);
		baselines_free(baselines_load(world->directory, &damaged));
	}
}

static void test_cannot_write(struct world *world, const void *data)
{
	g_autofree char *below = world_path(world, "none");
	g_autoptr(GError) error = NULL;

	g_assert_false(baselines_save(below, 0, "x", 1, 1, world->open, &error));
	g_assert_error(error, STORE_ERROR, STORE_ERROR_FAILED);
	g_assert_nonnull(strstr(error->message, "baselines.0: No such file"));
}

/* ---- opening ---- */

static void assert_told(const char *notice, const char *what)
{
	g_assert_nonnull(notice);
	g_assert_null(strchr(notice, '\n'));
	if (!strstr(notice, what))
		g_error("'%s' is not in '%s'", what, notice);
}

/* Two samples of two meters, the second home written, and the store closed. */
static void make_store(struct world *world)
{
	world_open_silently(world);
	world_begin(world, 2);
	world_sample(world);
	world_sample(world);
	world_save(world);
	world_close(world);
}

/* The open meters go on from in_bytes, under ids from first_id on, with rows of their own from seq 1. */
static void assert_goes_on(struct world *world, uint64_t in_bytes, int64_t first_id)
{
	struct ledger_state state;

	g_assert_true(store_load(world->store, &state, NULL));
	g_assert_cmpuint(state.meters->len, ==, 2);
	g_assert_cmpuint(state.coverage->len, ==, 0);
	g_assert_cmpint(state.next_coverage, ==, 1);
	g_ptr_array_set_size(world->open, 0);
	for (unsigned i = 0; i < 2; i++) {
		struct meter *meter = state.meters->pdata[i];

		g_assert_cmpint(meter->id, ==, first_id + i);
		g_assert_cmpuint(meter->first.in_bytes, ==, in_bytes);
		g_assert_cmpuint(meter->last.in_bytes, ==, in_bytes);
		g_assert_cmpint(meter->last_at.utc_us, ==, world->now.utc_us);
		g_assert_cmpstr(meter->of->router, ==, "one");
		g_ptr_array_add(world->open, meter_copy(meter));
	}
	ledger_state_clear(&state);
	world_sample(world);
	world_assert(world, "SELECT min(seq), max(seq) FROM usage_fact WHERE store = (SELECT max(store) FROM store)",
	             "1|2");
	world_assert_clean(world);
	world_close(world);
	world_open_silently(world);
}

static void test_new(struct world *world, const void *data)
{
	g_autofree char *path = world_path(world, STORE_FILE);
	GStatBuf file;

	make_store(world);
	g_assert_no_errno(g_stat(path, &file));
	g_assert_cmpint(file.st_mode & 0777, ==, 0640);
	world_open_silently(world);
	world_assert(world, "SELECT count(*), reason, commits, last_seq FROM store", "1|new|4|4");
}

static void test_missing(struct world *world, const void *data)
{
	g_autofree char *notice = NULL;

	make_store(world);
	remove_database(world);
	notice = world_open(world);
	assert_told(notice, "missing; a new store id begins, and 2 meters go on");
	assert_goes_on(world, 2000, 1);
}

static void test_empty(struct world *world, const void *data)
{
	g_autofree char *notice = NULL;

	make_store(world);
	remove_database(world);
	put_file(world, STORE_FILE, "", 0);
	notice = world_open(world);
	assert_told(notice, "empty; a new store id begins");
	assert_goes_on(world, 2000, 1);
}

static void test_damaged(struct world *world, const void *data)
{
	g_autofree char *notice = NULL, *again = NULL, *aside = NULL, *second = NULL;
	g_autofree char *garbage = g_strnfill(100000, 'x');

	make_store(world);
	put_file(world, STORE_FILE, garbage, 100000);
	notice = world_open(world);
	assert_told(notice, "damaged (file is not a database), set aside as " STORE_FILE ".damaged-");
	assert_told(notice, "a new store id begins, and 2 meters go on");
	aside = find_aside(world, 0);
	assert_told(notice, aside);
	assert_goes_on(world, 2000, 1);
	world_save(world);
	world_close(world);

	/* Once more in the same second: nothing that was set aside is overwritten. */
	put_file(world, STORE_FILE, garbage, 5000);
	again = world_open(world);
	assert_told(again, "damaged");
	second = find_aside(world, 1);
	g_assert_nonnull(second);
	assert_goes_on(world, 3000, 1);
}

static void test_all_damaged(struct world *world, const void *data)
{
	g_autofree char *notice = NULL, *again = NULL;
	struct ledger_state state;

	make_store(world);
	put_file(world, STORE_FILE, "garbage", 7);
	put_file(world, "baselines.0", "garbage", 7);
	put_file(world, "baselines.1", "garbage", 7);
	notice = world_open(world);
	assert_told(notice, "the second home of the baselines is damaged too");
	g_assert_true(store_load(world->store, &state, NULL));
	g_assert_cmpuint(state.meters->len, ==, 0);
	ledger_state_clear(&state);
	world_close(world);

	put_file(world, STORE_FILE, "garbage", 7);
	remove_file(world, "baselines.0");
	remove_file(world, "baselines.1");
	again = world_open(world);
	assert_told(again, "is missing too");
}

static void test_not_ours(struct world *world, const void *data)
{
	g_autofree char *notice = NULL, *aside = NULL;

	make_store(world);
	remove_database(world);
	world_sql(world, "CREATE TABLE stranger (value); INSERT INTO stranger VALUES (42)");
	notice = world_open(world);
	assert_told(notice, "it is no store of fipmeter");
	assert_goes_on(world, 2000, 1);
	aside = find_aside(world, 0);
	g_assert_nonnull(aside);
}

static void test_tables_missing(struct world *world, const void *data)
{
	g_autofree char *notice = NULL;

	make_store(world);
	world_sql(world, "DROP VIEW usage; PRAGMA foreign_keys = OFF; DROP TABLE usage_fact");
	notice = world_open(world);
	assert_told(notice, "damaged (the schema does not say what usage_fact is");
	assert_goes_on(world, 2000, 1);
}

static void test_restored_backup(struct world *world, const void *data)
{
	g_autoptr(GHashTable) backup = NULL;
	g_autofree char *notice = NULL;

	make_store(world);
	backup = keep_files(world);
	world_open_silently(world);
	world_sample(world);
	world_save(world);
	world_close(world);
	remove_database(world);
	put_back(world, backup, STORE_FILE);

	notice = world_open(world);
	assert_told(notice, "older than the second home of the baselines (4 commits, not 5: a restored backup?)");
	world_assert(world, "SELECT count(*), max(commits) FROM store", "2|6");
	world_assert(world, "SELECT count(*) FROM meters WHERE closed > 0 AND last_in_bytes = 2000", "2");
	assert_goes_on(world, 3000, 3);
	world_assert(world, "SELECT count(*), count(DISTINCT store), sum(in_bytes) FROM usage", "6|2|6000");
}

static void test_swapped(struct world *world, const void *data)
{
	g_autofree char *notice = NULL;
	struct world other;

	world_set_up(&other, NULL);
	world_open_silently(&other);
	world_begin(&other, 1);
	for (unsigned i = 0; i < 9; i++)
		world_sample(&other);
	world_close(&other);
	make_store(world);
	remove_database(world);
	{
		g_autoptr(GHashTable) theirs = keep_files(&other);

		put_back(world, theirs, STORE_FILE);
	}
	world_tear_down(&other, NULL);

	notice = world_open(world);
	assert_told(notice, "not the store that the second home of the baselines belongs to");
	world_assert(world, "SELECT count(*), max(commits) FROM store", "2|12");
	assert_goes_on(world, 2000, 2);
}

/* Killed after the new store id was committed and before the second home followed, or that never could: the database
 * has seen what the second home knows, and rules. */
static void test_second_home_behind(struct world *world, const void *data)
{
	g_autoptr(GHashTable) before = NULL, backup = NULL;
	g_autofree char *notice = NULL;

	make_store(world);
	backup = keep_files(world);
	world_open_silently(world);
	world_sample(world);
	world_save(world);
	world_close(world);
	remove_database(world);
	put_back(world, backup, STORE_FILE);
	before = keep_files(world);
	notice = world_open(world);
	g_assert_nonnull(notice);
	world_close(world);

	put_back(world, before, "baselines");
	remove_file(world, "baselines.1");
	world_open_silently(world);
	world_close(world);
	put_back(world, before, "baselines");
	world_open_silently(world);
	assert_goes_on(world, 3000, 3);

	remove_file(world, "baselines.0");
	remove_file(world, "baselines.1");
	world_close(world);
	world_open_silently(world);
}

static void test_newer_version(struct world *world, const void *data)
{
	g_autoptr(GHashTable) before = NULL, after = NULL;
	g_autoptr(GError) error = NULL;
	char *notice;

	make_store(world);
	world_sql(world, "PRAGMA user_version = 999");
	before = keep_files(world);
	g_assert_null(store_open(world->directory, &notice, &error));
	g_assert_error(error, STORE_ERROR, STORE_ERROR_VERSION);
	g_assert_null(notice);
	g_clear_error(&error);
	g_assert_null(store_open_reader(world->directory, &error));
	g_assert_error(error, STORE_ERROR, STORE_ERROR_VERSION);
	after = keep_files(world);
	g_assert_true(g_bytes_equal(g_hash_table_lookup(before, STORE_FILE), g_hash_table_lookup(after, STORE_FILE)));
}

static void test_no_directory(struct world *world, const void *data)
{
	g_autofree char *path = world_path(world, "file"), *below = g_build_filename(path, "state", NULL);
	g_autoptr(GError) error = NULL;
	char *notice;

	put_file(world, "file", "", 0);
	g_assert_null(store_open(below, &notice, &error));
	g_assert_error(error, STORE_ERROR, STORE_ERROR_FAILED);
	g_assert_nonnull(strstr(error->message, below));
}

static void test_makes_directory(struct world *world, const void *data)
{
	g_autofree char *deep = world_path(world, "a"), *state = g_build_filename(deep, "state", NULL);
	g_autoptr(GError) error = NULL;
	char *notice;
	GStatBuf file;

	store_close(store_open(state, &notice, &error));
	g_assert_no_error(error);
	g_assert_no_errno(g_stat(state, &file));
	g_assert_cmpint(file.st_mode & 0777, ==, 0750);
	world_remove_files(state);
	g_assert_no_errno(g_rmdir(state));
}

/* ---- whatever the file holds ---- */

static void sum_row(const struct report_line *row, void *data)
{
	counts_add(data, &row->counts);
}

/* Opens, and does all that can be done: each either works or gives an error that says so. */
static void use_everything(struct world *world, uint64_t in_bytes)
{
	struct usage_filter all = { .since_us = INT64_MIN, .until_us = INT64_MAX };
	struct ledger_state state = { 0 };
	struct counts sum = { 0 };
	struct audit audit = { 0 };
	char *notice = NULL;
	GError *error = NULL;
	struct store *store;

	store = store_open_reader(world->directory, &error);
	g_assert_true(!store == !!error);
	if (store && store_audit(store, &audit, NULL))
		audit_clear(&audit);
	if (store)
		store_each_usage(store, &all, sum_row, &sum, NULL);
	store_close(store);
	g_clear_error(&error);

	store = store_open(world->directory, &notice, &error);
	g_assert_true(!store == !!error);
	if (store && store_load(store, &state, NULL)) {
		g_assert_true(store_audit(store, &audit, &error));
		/* Nothing found and nothing told: then the baselines are right. */
		for (unsigned i = 0; !notice && !audit.findings.n && i < state.meters->len; i++)
			g_assert_cmpuint(((struct meter *)state.meters->pdata[i])->last.in_bytes, ==, in_bytes);
		/* Told: the second home went on. */
		if (notice)
			g_assert_cmpuint(state.meters->len, ==, 2);
		for (unsigned i = 0; notice && i < state.meters->len; i++)
			g_assert_cmpuint(((struct meter *)state.meters->pdata[i])->last.in_bytes, ==, in_bytes);
		audit_clear(&audit);
		ledger_state_clear(&state);
	}
	store_close(store);
	g_clear_error(&error);
	g_free(notice);
}

static void damage_everywhere(struct world *world, GHashTable *files, const char *name, uint64_t in_bytes)
{
	GBytes *bytes = g_hash_table_lookup(files, name);
	size_t length = g_bytes_get_size(bytes), step = MAX(1, length / 150);

	for (size_t at = 0; at < length; at += at < 100 ? 3 : step) {
		g_autofree char *bad = g_memdup2(g_bytes_get_data(bytes, NULL), length);

		for (unsigned how = 0; how < 3; how++) {
			world_remove_files(world->directory);
			put_back(world, files, "");
			if (how == 0)
				bad[at] ^= 1 << at % 8;
			else if (how == 1)
				memset(bad + at, 0xa5, MIN(64, length - at));
			put_file(world, name, bad, how == 2 ? at : length);
			use_everything(world, in_bytes);
		}
	}
}

static void test_damage_everywhere(struct world *world, const void *data)
{
	g_autoptr(GHashTable) files = NULL;

	make_store(world);
	files = keep_files(world);
	damage_everywhere(world, files, STORE_FILE, 2000);
}

/* The agent is killed, and then its WAL rots: SQLite takes what is whole of it, which is less than the second home
 * has seen. */
static void test_damage_wal(struct world *world, const void *data)
{
	g_autoptr(GHashTable) files = NULL;

	world_open_silently(world);
	world_begin(world, 2);
	world_sample(world);
	world_sample(world);
	world_save(world);
	files = keep_files(world);
	world_close(world);
	g_hash_table_remove(files, STORE_FILE "-shm");
	damage_everywhere(world, files, STORE_FILE "-wal", 2000);
}

/* ---- no room ---- */

/* A limit on the size of files stands for a full disk: the commit fails, and is made again when there is room. */
static void test_no_room(struct world *world, const void *data)
{
	struct rlimit before, small = { 200000, RLIM_INFINITY };
	g_autoptr(GError) error = NULL;
	struct batch *batch = batch_new();

	g_assert_no_errno(getrlimit(RLIMIT_FSIZE, &before));
	small.rlim_max = before.rlim_max;
	world_open_silently(world);
	world_begin(world, 2);
	world_sample(world);
	for (unsigned i = 0; i < 3000; i++)
		g_ptr_array_add(batch->meters, world_new_meter(world, FIP + 100 + i, "internet"));
	signal(SIGXFSZ, SIG_IGN);
	g_assert_no_errno(setrlimit(RLIMIT_FSIZE, &small));
	g_assert_false(store_commit(world->store, batch, &error));
	g_assert_error(error, STORE_ERROR, STORE_ERROR_FAILED);
	g_clear_error(&error);
	g_assert_false(store_save_baselines(world->store, batch->meters, &error));
	g_assert_error(error, STORE_ERROR, STORE_ERROR_FAILED);
	g_assert_no_errno(setrlimit(RLIMIT_FSIZE, &before));
	world_assert(world, "SELECT count(*), (SELECT group_concat(seq) FROM usage_fact) FROM meter", "2|1,2");
	for (unsigned i = 0; i < batch->meters->len; i++)
		g_ptr_array_add(world->open, meter_copy(batch->meters->pdata[i]));
	world_commit(world, batch);
	world_sample(world);
	world_assert_clean(world);
	world_save(world);
	world_close(world);
	world_open_silently(world);
}

#define ADD(path, function) g_test_add(path, struct world, NULL, world_set_up, function, world_tear_down)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD("/baselines/file/round-trip", test_round_trip);
	ADD("/baselines/file/none", test_none);
	ADD("/baselines/file/in-turn", test_in_turn);
	ADD("/baselines/file/every-byte", test_every_byte);
	ADD("/baselines/file/wrong-with-right-checksum", test_wrong_with_right_checksum);
	ADD("/baselines/file/cannot-write", test_cannot_write);
	ADD("/baselines/open/new", test_new);
	ADD("/baselines/open/missing", test_missing);
	ADD("/baselines/open/empty", test_empty);
	ADD("/baselines/open/damaged", test_damaged);
	ADD("/baselines/open/all-damaged", test_all_damaged);
	ADD("/baselines/open/not-ours", test_not_ours);
	ADD("/baselines/open/tables-missing", test_tables_missing);
	ADD("/baselines/open/restored-backup", test_restored_backup);
	ADD("/baselines/open/swapped", test_swapped);
	ADD("/baselines/open/second-home-behind", test_second_home_behind);
	ADD("/baselines/open/newer-version", test_newer_version);
	ADD("/baselines/open/no-directory", test_no_directory);
	ADD("/baselines/open/makes-directory", test_makes_directory);
	ADD("/baselines/damage/database", test_damage_everywhere);
	ADD("/baselines/damage/wal", test_damage_wal);
	ADD("/baselines/no-room", test_no_room);
	return g_test_run();
}

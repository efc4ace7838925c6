/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See power.h.
 */
#include "power.h"

#include <stdio.h>
#include <string.h>

struct disk_file {
	GByteArray *synced;
	GPtrArray *pending; /* of const struct edge_change *: writes and truncations */
};

struct power {
	const GArray *record;
	bool lying;
	unsigned at;
	int64_t note;
	GPtrArray *files;   /* of struct disk_file */
	GHashTable *names;  /* synced: name -> number of the file */
	GPtrArray *renames; /* of const struct edge_change *: changes of names that are not */
};

static void file_free(void *data)
{
	struct disk_file *file = data;

	g_byte_array_unref(file->synced);
	g_ptr_array_unref(file->pending);
	g_free(file);
}

struct power *power_new(const GArray *record, bool lying)
{
	struct power *power = g_new0(struct power, 1);

	power->record = record;
	power->lying = lying;
	power->note = -1;
	power->files = g_ptr_array_new_with_free_func(file_free);
	power->names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	power->renames = g_ptr_array_new();
	return power;
}

void power_free(struct power *power)
{
	g_ptr_array_unref(power->files);
	g_hash_table_unref(power->names);
	g_ptr_array_unref(power->renames);
	g_free(power);
}

static struct disk_file *file_of(struct power *power, unsigned number)
{
	while (power->files->len <= number) {
		struct disk_file *file = g_new0(struct disk_file, 1);

		file->synced = g_byte_array_new();
		file->pending = g_ptr_array_new();
		g_ptr_array_add(power->files, file);
	}
	return power->files->pdata[number];
}

/* ---- doing what was asked ---- */

static void set_length(GByteArray *content, size_t length)
{
	size_t before = content->len;

	g_byte_array_set_size(content, length);
	if (length > before)
		memset(content->data + before, 0, length - before);
}

static void put(GByteArray *content, int64_t at, const guint8 *data, size_t length)
{
	if (content->len < at + length)
		set_length(content, at + length);
	memcpy(content->data + at, data, length);
}

static void apply(GByteArray *content, const struct edge_change *change)
{
	gsize length;
	const guint8 *data;

	if (change->op == OP_TRUNCATE) {
		set_length(content, change->at);
		return;
	}
	data = g_bytes_get_data(change->data, &length);
	put(content, change->at, data, length);
}

/* Each sector of the write is there or is not. */
static void apply_torn(GByteArray *content, const struct edge_change *change, GRand *random)
{
	int64_t sector = g_rand_boolean(random) ? 512 : 4096, end;
	const guint8 *data;
	gsize length;

	if (change->op == OP_TRUNCATE) {
		apply(content, change);
		return;
	}
	data = g_bytes_get_data(change->data, &length);
	end = change->at + length;
	for (int64_t from = change->at, to; from < end; from = to) {
		to = MIN((from / sector + 1) * sector, end);
		if (g_rand_boolean(random))
			put(content, from, data + (from - change->at), to - from);
	}
}

static void apply_name(GHashTable *names, const struct edge_change *change)
{
	void *number;

	if (change->op == OP_CREATE)
		g_hash_table_replace(names, g_strdup(change->name), GUINT_TO_POINTER(change->file));
	else if (g_hash_table_lookup_extended(names, change->name, NULL, &number)) {
		g_hash_table_remove(names, change->name);
		if (change->op == OP_RENAME)
			g_hash_table_replace(names, g_strdup(change->to), number);
	}
}

static void sync_file(struct disk_file *file)
{
	for (unsigned i = 0; i < file->pending->len; i++)
		apply(file->synced, file->pending->pdata[i]);
	g_ptr_array_set_size(file->pending, 0);
}

static void take(struct power *power, const struct edge_change *change)
{
	switch (change->op) {
	case OP_NOTE:
		power->note = change->at;
		break;
	case OP_WRITE:
	case OP_TRUNCATE:
		g_ptr_array_add(file_of(power, change->file)->pending, (void *)change);
		break;
	case OP_SYNC:
		if (!power->lying)
			sync_file(file_of(power, change->file));
		break;
	case OP_SYNC_FAILED:
		g_ptr_array_set_size(file_of(power, change->file)->pending, 0);
		break;
	case OP_CREATE:
	case OP_RENAME:
	case OP_UNLINK:
		if (change->op == OP_CREATE)
			file_of(power, change->file);
		g_ptr_array_add(power->renames, (void *)change);
		break;
	case OP_SYNC_DIRECTORY:
		for (unsigned i = 0; i < power->renames->len; i++)
			apply_name(power->names, power->renames->pdata[i]);
		g_ptr_array_set_size(power->renames, 0);
		break;
	}
}

void power_run_to(struct power *power, unsigned cut, int64_t *note)
{
	while (power->at < cut)
		take(power, &g_array_index(power->record, struct edge_change, power->at++));
	*note = power->note;
}

unsigned power_unsynced(const struct power *power)
{
	unsigned n = power->renames->len;

	for (unsigned i = 0; i < power->files->len; i++)
		n += ((struct disk_file *)power->files->pdata[i])->pending->len;
	return n;
}

/* ---- images ---- */

static GByteArray *make_content(const struct disk_file *file, enum power_loss loss, GRand *random)
{
	GByteArray *content = g_byte_array_sized_new(file->synced->len + 65536);
	double chance = g_rand_double(random);

	g_byte_array_append(content, file->synced->data, file->synced->len);
	for (unsigned i = 0; i < file->pending->len; i++) {
		const struct edge_change *change = file->pending->pdata[i];
		bool last = i + 1 == file->pending->len;

		if (loss == POWER_ALL_LOST || (loss != POWER_ALL_THERE && loss != POWER_LAST_TORN && g_rand_double(random) > chance))
			continue;
		if (loss == POWER_TORN || (loss == POWER_LAST_TORN && last))
			apply_torn(content, change, random);
		else
			apply(content, change);
	}
	return content;
}

static GHashTable *make_names(const struct power *power, enum power_loss loss, GRand *random)
{
	GHashTable *names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	unsigned n = loss == POWER_ALL_LOST ? 0 : loss == POWER_ALL_THERE ? power->renames->len :
	             (unsigned)g_rand_int_range(random, 0, power->renames->len + 1);
	GHashTableIter each;
	void *name, *number;

	g_hash_table_iter_init(&each, power->names);
	while (g_hash_table_iter_next(&each, &name, &number))
		g_hash_table_replace(names, g_strdup(name), number);
	for (unsigned i = 0; i < n; i++)
		apply_name(names, power->renames->pdata[i]);
	return names;
}

void power_make_image(struct power *power, enum power_loss loss, GRand *random, const char *directory)
{
	g_autoptr(GHashTable) names = make_names(power, loss, random);
	GHashTableIter each;
	void *name, *number;

	g_hash_table_iter_init(&each, names);
	while (g_hash_table_iter_next(&each, &name, &number)) {
		g_autofree char *path = g_build_filename(directory, name, NULL);
		GByteArray *content = make_content(power->files->pdata[GPOINTER_TO_UINT(number)], loss, random);
		FILE *file = fopen(path, "w");

		g_assert_true(file && fwrite(content->data, 1, content->len, file) == content->len);
		fclose(file);
		g_byte_array_unref(content);
	}
}

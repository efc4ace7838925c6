/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The files of the store: a small sound one is made once, an input damages it in places, and then everybody reads it: the
 * commands, and the agent, which must end with a store that takes a commit.
 *
 * An input is a row of edits: a byte that says which file (and, for a second home, whether its checksum is made right
 * again), three bytes of place, a byte of length, and that many bytes to put there; a length of 255 cuts the file there.
 */
#include "fuzz.h"

#include "../unit/store_world.h"
#include "store/trace.h"

#include <string.h>

#define FILES 3
#define MAGIC_LEN 16 /* of the second home, before its checksum: src/store/baselines.c */
#define SHA256_LEN 32

static const char *const names[FILES] = { STORE_FILE, "baselines.0", "baselines.1" };
static struct {
	char *bytes;
	size_t size;
} sound[FILES];

static void make_sound_ones(void)
{
	struct world world;

	world_set_up(&world, NULL);
	world_open_silently(&world);
	world_begin(&world, 2);
	for (unsigned i = 0; i < 3; i++) {
		world_sample(&world);
		world_save(&world);
	}
	world_close(&world);
	for (unsigned i = 0; i < FILES; i++) {
		g_autofree char *path = world_path(&world, names[i]);

		g_file_get_contents(path, &sound[i].bytes, &sound[i].size, NULL);
		fuzz_check(sound[i].size > 0);
	}
	world_tear_down(&world, NULL);
}

static void make_checksum_right(GByteArray *file)
{
	g_autoptr(GChecksum) checksum = g_checksum_new(G_CHECKSUM_SHA256);
	size_t from = MAGIC_LEN + SHA256_LEN, length = SHA256_LEN;

	if (file->len < from)
		return;
	g_checksum_update(checksum, file->data + from, (gssize)(file->len - from));
	g_checksum_get_digest(checksum, file->data + MAGIC_LEN, &length);
}

static void edit(GByteArray *files[FILES], const uint8_t *data, size_t size)
{
	while (size >= 5) {
		GByteArray *file = files[data[0] % FILES];
		size_t at = data[1] | (size_t)data[2] << 8 | (size_t)data[3] << 16;
		size_t length = data[4] == 255 ? 0 : MIN(data[4], size - 5);

		at = file->len ? at % file->len : 0;
		if (data[4] == 255)
			g_byte_array_set_size(file, (unsigned)at);
		else
			memcpy(file->data + at, data + 5, MIN(length, file->len - at));
		if (data[0] % FILES && data[0] >= 128)
			make_checksum_right(file);
		data += 5 + length;
		size -= 5 + length;
	}
}

static void write_files(const struct world *world, const uint8_t *data, size_t size)
{
	GByteArray *files[FILES];

	for (unsigned i = 0; i < FILES; i++) {
		files[i] = g_byte_array_new();
		g_byte_array_append(files[i], (const uint8_t *)sound[i].bytes, (unsigned)sound[i].size);
	}
	edit(files, data, size);
	for (unsigned i = 0; i < FILES; i++) {
		g_autofree char *path = world_path(world, names[i]);
		FILE *stream = fopen(path, "wb");

		fuzz_check(stream && fwrite(files[i]->data, 1, files[i]->len, stream) == files[i]->len);
		fclose(stream);
		g_byte_array_unref(files[i]);
	}
}

static void ignore_row(const struct report_line *row, void *data)
{
}

static void ignore_router(const char *router, int64_t read_us, void *data)
{
}

static void ignore_gap(const struct coverage *gap, void *data)
{
}

static void ignore_address(uint32_t address, uint32_t fixed, void *data)
{
}

static void explain(struct store *store, int64_t at_us)
{
	SCOPED(explanation) *explanation = explanation_new(FIP, at_us, at_us);
	g_autoptr(GError) error = NULL;
	unsigned flags;
	bool known, done = store_trace(store, explanation, &known, &error);

	fuzz_check_told(done, error);
	if (!done || !known)
		return;
	explanation_state(explanation, NULL);
	explanation_sum(explanation, &flags);
	explanation_adds_up(explanation);
}

static void read_as_commands_do(const struct world *world)
{
	const struct usage_filter filter = { .since_us = 0, .until_us = INT64_MAX / 2, .per = PERIOD_TOTAL };
	g_autoptr(GError) error = NULL;
	struct store *store = store_open_reader(world->directory, &error);
	struct audit audit;

	fuzz_check_told(store, error);
	if (!store)
		return;
	store_each_usage(store, &filter, ignore_row, NULL, NULL);
	store_each_router(store, ignore_router, NULL, NULL);
	store_each_gap(store, 0, ignore_gap, NULL, NULL);
	store_each_address(store, ignore_address, NULL, NULL);
	explain(store, 0);
	explain(store, NOON + MINUTE);
	if (store_audit(store, &audit, NULL))
		audit_clear(&audit);
	store_close(store);
}

/* A birth, as the first cycle has it; it may fail, if it says so. */
static void commit_one(struct world *world, const struct ledger_state *state)
{
	struct batch *batch = batch_new();
	g_autoptr(GError) error = NULL;
	bool done;

	g_free(world->of->tag);
	world->of->tag = g_strdup("ffffffffffffffffffffffffffffffff");
	world->next_meter = state->next_meter;
	g_ptr_array_add(batch->generations, generation_ref(world->of));
	g_ptr_array_add(batch->meters, world_new_meter(world, FIP, "internet"));
	done = store_commit(world->store, batch, &error);
	fuzz_check_told(done, error);
	batch_free(batch);
}

static void open_as_the_agent_does(struct world *world)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *notice = NULL;
	struct ledger_state state = { 0 };

	world->store = store_open(world->directory, &notice, &error);
	fuzz_check_told(world->store, error);
	if (!world->store)
		return; /* refused, and told: made by a newer version, for one */
	if (!store_load(world->store, &state, &error)) {
		fuzz_check(error);
		return;
	}
	commit_one(world, &state);
	ledger_state_clear(&state);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world world;

	if (!sound[0].bytes)
		make_sound_ones();
	world_set_up(&world, NULL);
	write_files(&world, data, size);
	read_as_commands_do(&world);
	open_as_the_agent_does(&world);
	world_tear_down(&world, NULL);
	return 0;
}

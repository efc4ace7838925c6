/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The readings of `fipmeter watch`: each router's namespace is held open and its counters read by the back end that has
 * them, once a turn.  What is in the directory, and which back end it is, is looked up again every few turns.
 */
#include "cmd/watch.h"

#include "backend/backend.h"
#include "inventory/inventory.h"
#include "kernel/clock.h"
#include "kernel/netns.h"

#include <sys/stat.h>

#define LOOK_TURNS 5 /* from one look into the directory to the next */

struct spot { /* a namespace */
	char *ns;
	struct place place;
	uint64_t inode;
	struct backend *backend; /* that has counters there; NULL: none was found */
};

struct watch_reader {
	const struct config *config;
	struct backend **backends;  /* backends_new() */
	GHashTable *spots;          /* name -> struct spot */
	struct timespec changed;    /* the directory, when it was last looked at for what is gone */
	unsigned turn;
};

static void spot_free(void *data)
{
	struct spot *spot = data;

	place_close(&spot->place);
	g_free(spot->ns);
	g_free(spot);
}

struct watch_reader *watch_reader_new(const struct config *config)
{
	struct watch_reader *reader = g_new0(struct watch_reader, 1);

	reader->config = config;
	reader->backends = backends_new(config->xtables_lock, config->netns_dir, config->ebpf_place);
	reader->spots = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, spot_free);
	return reader;
}

void watch_reader_free(struct watch_reader *reader)
{
	if (!reader)
		return;
	g_hash_table_unref(reader->spots);
	backends_free(reader->backends);
	g_free(reader);
}

void watch_found_clear(struct watch_found *found)
{
	g_free(found->failure);
	*found = (struct watch_found){ 0 };
}

/* ---- which are there ---- */

static void note_failure(struct watch_found *found, const char *ns, const GError *error)
{
	found->failed++;
	if (!found->failure)
		found->failure = g_strdup_printf("%s: %s", ns, error->message);
}

/* NULL on failure. */
static struct spot *open_spot(const struct watch_reader *reader, const char *ns, GError **error)
{
	struct spot *spot = g_new0(struct spot, 1);
	struct stat file;

	spot->ns = g_strdup(ns);
	if (!place_open(&spot->place, reader->config->netns_dir, spot->ns, error)) {
		spot_free(spot);
		return NULL;
	}
	if (fstat(spot->place.ns_fd, &file) < 0) {
		g_set_error(error, NETNS_ERROR, NETNS_ERROR_FAILED, "cannot look at its namespace");
		spot_free(spot);
		return NULL;
	}
	spot->inode = file.st_ino;
	return spot;
}

/* A back end remembers what it knows of a namespace by its name. */
static void forget(struct watch_reader *reader, struct rates *rates, const struct spot *spot)
{
	for (unsigned i = 0; reader->backends[i]; i++)
		if (reader->backends[i]->forget)
			reader->backends[i]->forget(reader->backends[i], &spot->place);
	rates_forget(rates, spot->ns);
}

static bool drop_gone(struct watch_reader *reader, struct rates *rates)
{
	unsigned before = g_hash_table_size(reader->spots);
	GHashTableIter each;
	void *spot;

	g_hash_table_iter_init(&each, reader->spots);
	while (g_hash_table_iter_next(&each, NULL, &spot)) {
		if (netns_is_still(reader->config->netns_dir, ((struct spot *)spot)->ns, ((struct spot *)spot)->inode))
			continue;
		forget(reader, rates, spot);
		g_hash_table_iter_remove(&each);
	}
	return g_hash_table_size(reader->spots) < before;
}

/* A name that goes changes its directory; what the clock of the file system does not tell apart, the next turn finds. */
bool watch_let_go(struct watch_reader *reader, struct rates *rates)
{
	struct stat directory = { 0 };

	if (stat(reader->config->netns_dir, &directory) == 0 && directory.st_mtim.tv_sec == reader->changed.tv_sec &&
	    directory.st_mtim.tv_nsec == reader->changed.tv_nsec)
		return false;
	reader->changed = directory.st_mtim;
	return drop_gone(reader, rates);
}

static bool look(struct watch_reader *reader, struct watch_found *found, GError **error)
{
	g_autoptr(GPtrArray) strangers = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GPtrArray) names = inventory_names(reader->config->netns_dir, strangers, error);

	if (!names)
		return false;
	for (unsigned i = 0; i < names->len; i++) {
		g_autoptr(GError) failure = NULL;
		struct spot *spot;

		if (g_hash_table_contains(reader->spots, names->pdata[i]))
			continue;
		spot = open_spot(reader, names->pdata[i], &failure);
		if (spot)
			g_hash_table_insert(reader->spots, spot->ns, spot);
		else if (!g_error_matches(failure, NETNS_ERROR, NETNS_ERROR_GONE) &&
		         !g_error_matches(failure, NETNS_ERROR, NETNS_ERROR_NOT_YET))
			note_failure(found, names->pdata[i], failure);
	}
	return true;
}

/* ---- reading ---- */

/* True if counters of ours were there. */
static bool read_by(struct backend *backend, const struct spot *spot, struct rates *rates, GError **error)
{
	SCOPED(snapshot) *snapshot = backend->read(backend, &spot->place, error);

	if (!snapshot || !snapshot->generation)
		return false;
	rates_take(rates, spot->ns, snapshot);
	return true;
}

/* In a turn that looks, all back ends are asked where none is known to have counters. */
static void read_spot(struct watch_reader *reader, struct spot *spot, struct rates *rates, bool look, struct watch_found *found)
{
	g_autoptr(GError) error = NULL;

	found->routers++;
	if (spot->backend && read_by(spot->backend, spot, rates, &error)) {
		found->counting++;
		return;
	}
	/* changed while it was read: the next turn has it */
	if (g_error_matches(error, BACKEND_ERROR, BACKEND_ERROR_AGAIN)) {
		found->counting++;
		return;
	}
	spot->backend = NULL;
	for (unsigned i = 0; look && !error && !spot->backend && reader->backends[i]; i++)
		if (read_by(reader->backends[i], spot, rates, &error))
			spot->backend = reader->backends[i];
	if (spot->backend)
		found->counting++;
	else if (look)
		rates_forget(rates, spot->ns);
	if (error)
		note_failure(found, spot->ns, error);
}

bool watch_read(struct watch_reader *reader, struct rates *rates, struct watch_found *found, GError **error)
{
	bool look_now = reader->turn++ % LOOK_TURNS == 0;
	GHashTableIter each;
	void *spot;

	watch_found_clear(found);
	drop_gone(reader, rates);
	if (look_now && !look(reader, found, error))
		return false;
	rates_begin(rates);
	g_hash_table_iter_init(&each, reader->spots);
	while (g_hash_table_iter_next(&each, NULL, &spot))
		read_spot(reader, spot, rates, look_now, found);
	rates_end(rates);
	found->at = clock_now();
	return true;
}

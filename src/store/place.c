/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See place.h.
 */
#include "store/place.h"

static const char *const suffixes[FILE_MARKS] = { "", "-wal", "-shm" };

char *place_path(const struct store *store, unsigned part)
{
	return g_strconcat(store->path, suffixes[part], NULL);
}

/* A file that is not there has inode 0. */
static struct file_mark look(const struct store *store, unsigned part)
{
	g_autofree char *path = place_path(store, part);
	struct stat file;

	if (stat(path, &file) < 0)
		return (struct file_mark){ 0 };
	return (struct file_mark){ file.st_dev, file.st_ino, file.st_size, file.st_mtim };
}

static bool is_same_file(const struct file_mark *a, const struct file_mark *b)
{
	return a->device == b->device && a->inode == b->inode;
}

void place_mark(struct store *store)
{
	for (unsigned part = 0; part < FILE_MARKS; part++)
		store->marks[part] = look(store, part);
}

bool place_is_ours(const struct store *store, unsigned part)
{
	struct file_mark now = look(store, part);

	return now.inode && is_same_file(&now, &store->marks[part]);
}

const char *place_find_change(const struct store *store)
{
	const struct file_mark *was = &store->marks[MARK_DATABASE];
	struct file_mark now = look(store, MARK_DATABASE);

	if (!now.inode)
		return "it was removed while it was written to";
	if (!is_same_file(&now, was))
		return "another file was put in its place while it was written to";
	if (now.size != was->size || now.written.tv_sec != was->written.tv_sec ||
	    now.written.tv_nsec != was->written.tv_nsec)
		return "somebody else has written into it";
	for (unsigned part = MARK_WAL; part < FILE_MARKS; part++)
		if (store->marks[part].inode && !place_is_ours(store, part))
			return part == MARK_WAL ? "its -wal was removed or replaced while it was written to" :
			                          "its -shm was removed or replaced while it was written to";
	return NULL;
}

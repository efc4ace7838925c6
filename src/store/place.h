/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Is what the writer writes to still what stands at the store's path?  For src/store alone.
 *
 * SQLite goes on writing into a file that was moved, removed or replaced under it, and into a -wal without a name: rows
 * that nobody finds again.  So the writer marks its three files when it has opened them, and looks at the marks before
 * each commit.  Nobody but its own checkpoints writes to the database, so that a file that was overwritten where it
 * stands is known by its size and time.
 */
#ifndef FIPMETER_STORE_PLACE_H
#define FIPMETER_STORE_PLACE_H

#include "store/sql.h"

/* Marks the files as they are now: after opening, and after each checkpoint. */
void place_mark(struct store *store);

/* Why the files are not ours any more; NULL: they are. */
const char *place_find_change(const struct store *store);

/* Whether that part of the store at its path is the file that was marked. */
bool place_is_ours(const struct store *store, unsigned part);

/* The path of a part.  The caller frees. */
char *place_path(const struct store *store, unsigned part);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rows into tables, for src/store alone.  Each function stands inside a transaction of its caller, who rolls back if
 * it fails.
 */
#ifndef FIPMETER_STORE_WRITE_H
#define FIPMETER_STORE_WRITE_H

#include "store/baselines.h"
#include "store/sql.h"

/* All of a batch, as one more commit of the current store: *commits and *last_seq are what the store has then. */
bool write_batch(struct store *store, const struct batch *batch, int64_t *commits, int64_t *last_seq, GError **error);

/* A new store id, with commits counting on from what the file and from have.  Every meter that is open in the file
 * ends, and every meter of from (NULL: none) begins anew there, at its baseline. */
bool write_new_store(struct store *store, const struct baselines *from, const char *reason, GError **error);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Does the database say what the second home of the baselines says?  For src/store alone.
 *
 * A page that went back to what it was once, or a bit that turned over in a number, is whole for SQLite; a baseline that
 * is too low bills twice.  The second home has a checksum, so where the two differ it is the database that is wrong.
 */
#ifndef FIPMETER_STORE_AGREE_H
#define FIPMETER_STORE_AGREE_H

#include "store/baselines.h"
#include "store/store.h"

/* How the open meters of a database that has done `commits` differ from the second home of the same store id, in words
 * (the caller frees); NULL: not at all.  After the same commit both are the same; where the database is further (killed
 * before the second home was written) no meter of both stands lower in it. */
char *agree_find_difference(const GPtrArray *meters, int64_t commits, const struct baselines *second);

#endif

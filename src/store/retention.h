/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What goes when its time is over, or when there is no room: rows first, then hours, days never.  For src/store alone.
 */
#ifndef FIPMETER_STORE_RETENTION_H
#define FIPMETER_STORE_RETENTION_H

#include "store/sql.h"

/* One step, in a transaction of its own; *more: there is more to do. */
bool retention_step(struct store *store, const struct store_keep *keep, int64_t now_us, bool *more, GError **error);

#endif

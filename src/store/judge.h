/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a database is: a sound store, nothing yet, damaged, or not to be had.  Sound is what SQLite finds so, has the schema
 * of its format and all of its rows, and agrees with the second home of the baselines.  For src/store alone.
 */
#ifndef FIPMETER_STORE_JUDGE_H
#define FIPMETER_STORE_JUDGE_H

#include "store/baselines.h"
#include "store/sql.h"

enum verdict { VERDICT_WHOLE, VERDICT_EMPTY, VERDICT_DAMAGED, VERDICT_FAILED };

/* Opens the store's database and looks at all that decisions rest on; one of an older format is brought up to this one.
 * DAMAGED, with the reason in store->damage, and FAILED set the error. */
enum verdict judge_database(struct store *store, const struct baselines *second, GError **error);

/* Whose file it is, and no more.  WHOLE: ours, to be looked at further. */
enum verdict judge_kind(struct store *store, GError **error);

/* Looks once more at the tables that decisions rest on, of an open store: sets store->damage if they are. */
void judge_again(struct store *store);

#endif

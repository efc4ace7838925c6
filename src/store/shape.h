/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Is the schema in the file word for word that of its format?  A bit that turned in the text of a table, a CHECK or a view
 * is one that SQLite may well understand.  What somebody has added to it is left alone.  For src/store alone.
 */
#ifndef FIPMETER_STORE_SHAPE_H
#define FIPMETER_STORE_SHAPE_H

#include "store/sql.h"

/* texts: n texts that make the schema.  False, and store->damage, if something of it is missing or says something else. */
bool shape_check(struct store *store, const char *const *texts, unsigned n, GError **error);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The classes of remote addresses, by which traffic is priced.  The longest prefix wins, whatever class it is
 * of; of two equal ones what the operator wrote beats a default.  Three are always there:
 *
 *   free      never billed: link-local, multicast, broadcast, and what the operator adds
 *   cloud     the cloud's own public prefixes as the operator wrote them; where he wrote none, what the
 *             router's external devices have on-link
 *   internet  everything else
 */
#ifndef FIPMETER_CORE_CLASSES_H
#define FIPMETER_CORE_CLASSES_H

#include "core/model.h"
#include "core/prefix.h" /* prefixes_disjoint(), for those who plan */

#define CLASS_FREE "free"
#define CLASS_CLOUD "cloud"
#define CLASS_INTERNET "internet"

struct classes;

/* The three with their defaults. */
struct classes *classes_new(void);
void classes_free(struct classes *classes);

/* [a-z][a-z0-9_]*, at most CLASS_NAME_MAX characters: it can stand in the name of a counter. */
bool class_name_is_valid(const char *name);

/* Puts a prefix of the operator's into a class, which begins to exist if it was not there.  name is valid.
 * Fails, naming both, where the operator has already put that very prefix somewhere. */
bool classes_add(struct classes *classes, const char *name, const struct prefix *prefix, GError **error);

/* The names of all classes, ascending (const char *, interned).  The caller owns the array. */
GPtrArray *classes_names(const struct classes *classes);

/* Cuts all of IPv4 into ranges (struct class_range): disjoint, ascending, without holes, no two neighbours
 * of one class.  onlink (of struct prefix, may be NULL): what the router's external devices have on-link.
 * The caller owns the array. */
GArray *classes_flatten(const struct classes *classes, const GArray *onlink);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * IPv4 prefixes (struct prefix of core/model.h): text, order, and what lies in them.
 */
#ifndef FIPMETER_CORE_PREFIX_H
#define FIPMETER_CORE_PREFIX_H

#include "core/model.h"

/* Reads "192.0.2.0/24"; a bare address is a /32.  Host bits must be 0.  False with an error that shows
 * what would be right; *prefix is then untouched. */
bool prefix_parse(const char *text, struct prefix *prefix, GError **error);

/* Always with its length.  The caller frees. */
char *prefix_to_string(const struct prefix *prefix);

/* As strcmp(), by address and then length: what is wider stands before what lies in it. */
int prefix_compare(const struct prefix *a, const struct prefix *b);

uint32_t prefix_first(const struct prefix *prefix);
uint32_t prefix_last(const struct prefix *prefix);
bool prefix_contains(const struct prefix *prefix, uint32_t address);

/* The first of prefixes (of struct prefix) that the address is in, or NULL. */
const struct prefix *prefixes_find(const GArray *prefixes, uint32_t address);

/* The same addresses as those of prefixes (of struct prefix, in any order) without nested ones and
 * duplicates, ascending.  The caller owns the new array (of struct prefix); neighbours are not merged. */
GArray *prefixes_disjoint(const GArray *prefixes);

#endif

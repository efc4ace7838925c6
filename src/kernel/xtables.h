/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading legacy (xtables) rules in this process, by libip4tc.
 *
 * Looking at a legacy table creates it, hooks and all (ip_tables.c: xt_find_table_lock()), and every later
 * iptables-nft of that namespace warns of it.  So /proc/net/ip_tables_names, as seen from inside, is asked
 * first.
 */
#ifndef FIPMETER_KERNEL_XTABLES_H
#define FIPMETER_KERNEL_XTABLES_H

#include <glib.h>
#include <libiptc/libiptc.h>
#include <stdbool.h>

#define XTABLES_ERROR (g_quark_from_static_string("fipmeter-xtables"))
enum xtables_error {
	XTABLES_ERROR_FAILED,
};

/* Is what libip4tc or anybody else calls a rule of length bytes one: sizes of its matches and its target
 * inside it, names that end?  Pure. */
bool xtables_entry_check(const struct ipt_entry *entry, size_t length);

/* Is there such a table?  Asked inside the namespace (netns_call()). */
bool xtables_has_table(const char *table, bool *exists, GError **error);

/* Hands each rule of a table, chain by chain in their order, to call; entry is checked and, like chain,
 * the table's.  A call that returns false with an error ends it, and its error is the function's.  No such
 * table, or a kernel without legacy tables: done, with no rule handed over.  Runs inside the namespace
 * (netns_call()): call must not open anything. */
typedef bool (*xtables_call)(const char *chain, const struct ipt_entry *entry, void *data, GError **error);
bool xtables_each_rule(int ns_fd, const char *table, xtables_call call, void *data, GError **error);

/* A number that changes when the rules of the table change, and not when their counters do: two getsockopts,
 * some 30 us.  0: there is no such table. */
bool xtables_fingerprint(int ns_fd, const char *table, uint64_t *fingerprint, GError **error);

#endif

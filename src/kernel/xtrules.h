/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writing legacy (xtables) rules in this process, by libip4tc.  Messages and calls only: which rules, and whether it is
 * safe to write now (the lock: kernel/xtlock.h), is the caller's affair.
 *
 * The kernel knows no change of a legacy table, only its replacement: the whole table is read, edited and put in its
 * place, and then a second call adds the old counters of all rules to the new ones (ip_tables.c: do_replace(),
 * do_add_counters()).  So two writers that do not share a lock lose each other's edits and counts, and a reader sees
 * zeros between the two calls.
 *
 * Ours in a table are all chains whose name begins with a prefix, and all rules of other chains that jump or go to one
 * of them.
 */
#ifndef FIPMETER_KERNEL_XTRULES_H
#define FIPMETER_KERNEL_XTRULES_H

#include "kernel/xtables.h"

#define XTRULES_CHAIN_MAX 28 /* XT_EXTENSION_MAXNAMELEN less its NUL */

/* ---- rules: make one, add matches from left to right, end it with a verdict ---- */

struct xtrule;
struct xtrule *xtrule_new(const char *chain);
void xtrule_free(struct xtrule *rule); /* takes NULL */

enum xtrule_side { XTRULE_SOURCE, XTRULE_DESTINATION };

/* Built-in conditions: asked before all matches. */
void xtrule_match_device(struct xtrule *rule, const char *name, bool as_prefix);      /* -i NAME, -i NAME+ */
void xtrule_match_address(struct xtrule *rule, enum xtrule_side side, uint32_t address); /* host byte order */

/* -m set [!] --match-set SET src|dst (revision 4).  The set is named, its number is asked for when the rule is used.
 * A set with counters counts here as soon as this match is reached (ip_set_core.c), so it must be the last. */
void xtrule_match_set(struct xtrule *rule, enum xtrule_side side, const char *set, bool inverted);
void xtrule_match_local_destination(struct xtrule *rule); /* -m addrtype --dst-type LOCAL */
/* The namespace has no route to the source, and it is no address of its own: -m rpfilter --loose --accept-local
 * --invert (net/ipv4/netfilter/ipt_rpfilter.c). */
void xtrule_match_unknown_source(struct xtrule *rule);
void xtrule_comment(struct xtrule *rule, const char *text); /* -m comment; at most 255 bytes */

enum xtrule_verdict { XTRULE_NONE, XTRULE_RETURN, XTRULE_JUMP, XTRULE_GOTO }; /* NONE: goes on with the next rule */
void xtrule_verdict(struct xtrule *rule, enum xtrule_verdict verdict, const char *chain);

/* ---- digests ---- */

/* A digest (16 hexadecimal digits) of rules as they would stand in the namespace, by chain and by all of their bytes but
 * the counters, with the numbers that the sets have now.  The order counts inside a chain, not between chains.  Rules
 * with a comment that begins with "fipmeter" go in without that comment's text (it may hold this very digest).
 * NULL on failure (a set that is not there: NETLINK_ERROR_MISSING); the caller frees. */
char *xtrules_digest(int ns_fd, const GPtrArray *rules, GError **error);

/* The same of what is ours in the table now: equal where xtrules_replace() has put these rules in and nobody has touched
 * them, and nobody has put a rule before ours that leads packets away (kernel/xtahead.h).  *comment gets the text of the first comment that begins with "fipmeter" in a rule of ours outside our chains
 * (a jump to us), or NULL; *jump gets the name of the chain that rule leads to, or NULL. The caller frees all three.
 * Done with an empty digest ("") where nothing of ours or no such table is there. */
bool xtrules_standing(int ns_fd, const char *table, const char *prefix, char **digest, char **comment, char **jump,
                      GError **error);

/* ---- writing ---- */

/* Makes what is ours in the table equal to rules, in one replacement: old chains and jumps of ours go, chains are made
 * as rules name them; a rule of a built-in chain is put before all others there, in the order given.  Empty rules remove
 * all that is ours (a table that does not exist is then left alone).  Writes only if something differs.  The caller
 * holds the locks.  Where the table changed between reading and writing (EAGAIN) it is read and built again.
 *
 * *damaged (set on success only): the rules are in, but the table changed inside the write, in spite of the lock, and
 * counters of other rules have suffered (EINVAL of the second call): not to be repeated, to be told. */
bool xtrules_replace(int ns_fd, const char *table, const char *prefix, const GPtrArray *rules, bool *damaged,
                     GError **error);

#endif

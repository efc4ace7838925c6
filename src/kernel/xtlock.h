/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The locks under which legacy tables may be written: xtables.lock as this process sees it, and as each l3-agent of
 * Neutron sees it (in a container it has a /run of its own, so a lock file of its own: /proc/PID/root/run/xtables.lock),
 * or as configured.  iptables(8) holds an exclusive flock(2) on it from before it reads a table until it has written it
 * (iptables/xshared.c: xtables_lock()).
 *
 * All are taken, in the order of device and inode, the same file once.  One that cannot be had means: do not write.
 */
#ifndef FIPMETER_KERNEL_XTLOCK_H
#define FIPMETER_KERNEL_XTLOCK_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define XTLOCK_ERROR (g_quark_from_static_string("fipmeter-xtlock"))
enum xtlock_error {
	XTLOCK_ERROR_HELD,    /* somebody has held it for the whole time that we waited: later */
	XTLOCK_ERROR_UNKNOWN, /* the lock of an l3-agent cannot be opened, or it cannot be known whether there is one */
};

struct xtlock;

/* configured: path of the lock that the l3-agent sees ([agent] xtables_lock), taken beside the own one; NULL: to be
 * found.  Takes every lock, waiting timeout_ms in all.  Where it cannot look into all processes of the host (a PID
 * namespace of its own, pid_namespaces(7)) and nothing is configured: XTLOCK_ERROR_UNKNOWN, with the remedy.  NULL on
 * failure; nothing is locked then. */
struct xtlock *xtlock_take(const char *configured, unsigned timeout_ms, GError **error);
void xtlock_release(struct xtlock *lock); /* takes NULL */

/* Which files would be locked now, for people: "/run/xtables.lock, /proc/812/root/run/xtables.lock".  NULL on failure,
 * the reason is in error.  Locks nothing.  The caller frees. */
char *xtlock_describe(const char *configured, GError **error);

/* The same one by one, as they are now, the own one first; nothing is made.  NULL on failure; the caller unrefs. */
struct xtlock_file {
	char *path;
	long pid;                /* of the l3-agent that sees it so; 0: this process does */
	uint64_t device, inode;  /* of the file, or if there is none yet, of its directory: equal for one and the same lock */
};
GPtrArray *xtlock_list(const char *configured, GError **error);

#endif

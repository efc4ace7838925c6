/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Network namespaces: opening their files and doing something inside.  The only file that calls setns(2).
 *
 * The process has one thread, so setns() moves all of it; netns_call() comes back before it returns, and a process
 * that cannot come back ends at once (abort): anything it did afterwards would hit a stranger's network.
 */
#ifndef FIPMETER_KERNEL_NETNS_H
#define FIPMETER_KERNEL_NETNS_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define NETNS_ERROR (g_quark_from_static_string("fipmeter-netns"))
enum netns_error {
	NETNS_ERROR_GONE,      /* no such file (any more) */
	NETNS_ERROR_NOT_YET,   /* a plain file: ip-netns(8) makes it so for a moment before it is a namespace; or junk */
	NETNS_ERROR_JUNK,      /* a symbolic link, a directory, another kind of namespace, or this process's own one */
	NETNS_ERROR_FAILED,
};

/* Opens directory/name and makes sure that it is a network namespace (ioctl_ns(2), NS_GET_NSTYPE) other than our own.
 * Returns a descriptor that the caller closes, or -1.  Never blocks and follows no link. */
int netns_open(const char *directory, const char *name, GError **error);

/* Does the name still lead to the namespace of that inode (fstat(2) of its descriptor), which is held open and so nobody
 * else's?  Where that cannot be told, yes. */
bool netns_is_still(const char *directory, const char *name, uint64_t inode);

/* Runs call(data) inside the namespace and returns what it returned.  Returns false without running it if the
 * namespace cannot be entered.  A socket that call opens stays in the namespace and works from outside. */
bool netns_call(int ns_fd, bool (*call)(void *data, GError **error), void *data, GError **error);

/* Makes a network namespace that has no name, for trying things out (unshare(2)): it ends when the last descriptor
 * and socket in it is closed.  Returns a descriptor that the caller closes, or -1. */
int netns_new(GError **error);

#endif

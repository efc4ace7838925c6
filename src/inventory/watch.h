/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hears that something may have changed in a router, so that it is looked at again.  It never says what: whoever is told
 * looks.  A call too many costs a look, one too few would cost a bill, so whatever is not understood counts as a change.
 *
 *   inotify(7) on the netns directory: namespaces that come and go;
 *   rtnetlink and nf_tables of all namespaces that are followed (kernel/events.h): links, addresses, routes, nft rules;
 *   legacy tables make no events: inventory_nat_fingerprint() is asked every second instead, by the caller.
 */
#ifndef FIPMETER_INVENTORY_WATCH_H
#define FIPMETER_INVENTORY_WATCH_H

#include <glib.h>
#include <stdbool.h>

struct watch;

/* Watches directory, which must exist.  What is in it already is not told: open first, then look at all.  A file
 * system that is mounted over it later hides it without a word. */
struct watch *watch_open(const char *directory, GError **error);
void watch_close(struct watch *watch); /* takes NULL */

/* Descriptors to poll for reading; when one is, call watch_take(). */
#define WATCH_FDS 3
void watch_fds(const struct watch *watch, int fds[WATCH_FDS]);

/* From now on what happens inside the namespace is heard: follow first, then look.  The caller keeps it open until
 * watch_forget(), so that its nsid cannot become another's.  What ns followed before is forgotten, unless this fails. */
bool watch_follow(struct watch *watch, int ns_fd, const char *ns, GError **error);
void watch_forget(struct watch *watch, const char *ns); /* done if it is not followed */

enum watch_event {
	WATCH_CHANGED,    /* something inside ns */
	WATCH_CAME,       /* a name of a router appeared in the directory: it may take 2 ms until it can be entered */
	WATCH_WENT,       /* that name is gone */
	WATCH_EVERYTHING, /* events were lost: ns is NULL, and nothing else is told; look at all */
};

/* Hands over what has happened since the last time, each (event, ns) once, in the order in which they came first: what
 * happened in the directory, then links, addresses and routes, then rules.  A name that came, went and came again is
 * told as come and gone, once each: what is true is what the directory says now.  A namespace that is not followed any
 * more when its turn comes (call may follow and forget) is not told as changed.
 * Fails only where nothing will be heard any more (the directory is gone): look at all, and open a new one. */
typedef void (*watch_call)(enum watch_event event, const char *ns, void *data);
bool watch_take(struct watch *watch, watch_call call, void *data, GError **error);

#endif

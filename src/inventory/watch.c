/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Everything that waits is taken first and told afterwards: so each is told once, and whoever is told may follow and
 * forget as he likes.  The directory is asked before the sockets, so that a namespace that went is known to be gone
 * before its last changes are told, and need not be looked at for them.
 *
 * A namespace may have two names (a file that is mounted twice): both are told.
 */
#include "inventory/watch.h"

#include "inventory/inventory.h"
#include "kernel/events.h"

#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define ENTRIES_SIZE (16 * 1024)
#define READS_MAX 1024 /* more than the queue holds (fs.inotify.max_queued_events), and yet an end */

#define CAME (IN_CREATE | IN_MOVED_TO)
#define WENT (IN_DELETE | IN_MOVED_FROM)
#define ENDED (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT | IN_IGNORED)

struct watch {
	char *directory;
	int inotify;
	bool ended; /* of the directory nothing will be heard any more */
	struct events *route, *nft;
	GHashTable *nsids; /* of what is followed: name (owned here) -> nsid */
	GHashTable *names; /* the way back: nsid -> GPtrArray of names */
};

/* ---- opening ---- */

static int open_directory(const char *directory, GError **error)
{
	int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC), number;

	if (fd >= 0 && inotify_add_watch(fd, directory, CAME | WENT | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR) >= 0)
		return fd;
	number = errno;
	g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(number), "cannot watch the netns directory %s: %s%s",
	            directory, g_strerror(number),
	            number == EMFILE ? " (raise fs.inotify.max_user_instances)" :
	            number == ENOSPC ? " (raise fs.inotify.max_user_watches)" : "");
	if (fd >= 0)
		close(fd);
	return -1;
}

static void free_names(void *names)
{
	g_ptr_array_unref(names);
}

struct watch *watch_open(const char *directory, GError **error)
{
	static const unsigned route[] = { RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV4_ROUTE };
	static const unsigned nft[] = { NFNLGRP_NFTABLES };
	struct watch *watch = g_new0(struct watch, 1);

	watch->directory = g_strdup(directory);
	watch->nsids = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	watch->names = g_hash_table_new_full(NULL, NULL, NULL, free_names);
	watch->inotify = open_directory(directory, error);
	if (watch->inotify >= 0)
		watch->route = events_open(NETLINK_ROUTE, route, G_N_ELEMENTS(route), error);
	if (watch->route)
		watch->nft = events_open(NETLINK_NETFILTER, nft, G_N_ELEMENTS(nft), error);
	if (watch->nft)
		return watch;
	watch_close(watch);
	return NULL;
}

void watch_close(struct watch *watch)
{
	if (!watch)
		return;
	if (watch->inotify >= 0)
		close(watch->inotify);
	events_close(watch->route);
	events_close(watch->nft);
	g_hash_table_unref(watch->names);
	g_hash_table_unref(watch->nsids);
	g_free(watch->directory);
	g_free(watch);
}

void watch_fds(const struct watch *watch, int fds[WATCH_FDS])
{
	fds[0] = watch->inotify;
	fds[1] = events_fd(watch->route);
	fds[2] = events_fd(watch->nft);
}

/* ---- who is followed ---- */

bool watch_follow(struct watch *watch, int ns_fd, const char *ns, GError **error)
{
	int nsid = events_nsid(ns_fd, error);
	GPtrArray *names;
	char *name;

	if (nsid < 0) {
		g_autofree char *shown = g_strescape(ns, NULL);

		g_prefix_error(error, "cannot follow %s: ", shown);
		return false;
	}
	watch_forget(watch, ns);
	names = g_hash_table_lookup(watch->names, GINT_TO_POINTER(nsid));
	if (!names) {
		names = g_ptr_array_new();
		g_hash_table_insert(watch->names, GINT_TO_POINTER(nsid), names);
	}
	name = g_strdup(ns);
	g_ptr_array_add(names, name);
	g_hash_table_insert(watch->nsids, name, GINT_TO_POINTER(nsid));
	return true;
}

void watch_forget(struct watch *watch, const char *ns)
{
	void *name, *nsid;
	GPtrArray *names;

	if (!g_hash_table_lookup_extended(watch->nsids, ns, &name, &nsid))
		return;
	names = g_hash_table_lookup(watch->names, nsid);
	g_ptr_array_remove(names, name);
	if (!names->len)
		g_hash_table_remove(watch->names, nsid);
	g_hash_table_remove(watch->nsids, name);
}

/* ---- what has happened ---- */

struct item {
	enum watch_event event;
	char *ns;
};

struct news {
	struct watch *watch;
	GPtrArray *items; /* of struct item *, in the order of their coming */
	GHashTable *seen; /* the same ones */
	bool everything;
};

static unsigned item_hash(const void *data)
{
	const struct item *item = data;

	return g_str_hash(item->ns) * 31 + item->event;
}

static int item_equal(const void *a, const void *b)
{
	const struct item *left = a, *right = b;

	return left->event == right->event && g_str_equal(left->ns, right->ns);
}

static void item_free(void *data)
{
	struct item *item = data;

	g_free(item->ns);
	g_free(item);
}

static void note(struct news *news, enum watch_event event, char *ns)
{
	struct item key = { event, ns }, *item;

	if (g_hash_table_contains(news->seen, &key))
		return;
	item = g_new(struct item, 1);
	*item = (struct item){ event, g_strdup(ns) };
	g_ptr_array_add(news->items, item);
	g_hash_table_add(news->seen, item);
}

/* Our own namespace, and those that have an nsid here and are nobody's business, are passed over. */
static void take_message(const struct nlmsghdr *message, int nsid, void *data)
{
	struct news *news = data;
	GPtrArray *names = nsid < 0 ? NULL : g_hash_table_lookup(news->watch->names, GINT_TO_POINTER(nsid));

	for (unsigned i = 0; names && i < names->len; i++)
		note(news, WATCH_CHANGED, names->pdata[i]);
}

static bool take_messages(struct events *events, struct news *news, GError **error)
{
	GError *refusal = NULL;

	if (events_take(events, take_message, news, &refusal))
		return true;
	if (g_error_matches(refusal, EVENTS_ERROR, EVENTS_ERROR_LOST)) {
		news->everything = true;
		g_error_free(refusal);
		return true;
	}
	g_propagate_error(error, refusal);
	return false;
}

static void take_entry(struct news *news, struct inotify_event *entry)
{
	if (entry->mask & IN_Q_OVERFLOW)
		news->everything = true;
	else if (entry->mask & ENDED)
		news->watch->ended = true;
	else if (entry->len && inventory_is_router(entry->name))
		note(news, entry->mask & CAME ? WATCH_CAME : WATCH_WENT, entry->name);
}

/* Reads once, whole entries only (inotify(7)).  False if there is nothing, or with *number the reason. */
static bool read_entries(struct news *news, int *number)
{
	char buffer[ENTRIES_SIZE] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t got, at = 0;

	do
		got = read(news->watch->inotify, buffer, sizeof buffer);
	while (got < 0 && errno == EINTR);
	*number = got < 0 && errno != EAGAIN ? errno : 0;
	while (at < got) {
		struct inotify_event *entry = (struct inotify_event *)(buffer + at);

		take_entry(news, entry);
		at += (ssize_t)(sizeof *entry + entry->len);
	}
	return got > 0;
}

static bool take_entries(struct news *news, GError **error)
{
	const char *directory = news->watch->directory;
	int number = 0;

	for (unsigned i = 0; i < READS_MAX && read_entries(news, &number); i++)
		;
	if (number)
		g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(number),
		            "cannot hear what happens in the netns directory %s: %s", directory, g_strerror(number));
	else if (news->watch->ended)
		g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NOENT,
		            "the netns directory %s is gone: it was deleted, moved or unmounted", directory);
	return !number && !news->watch->ended;
}

/* What was forgotten while others were told is not told any more. */
static void tell(const struct news *news, watch_call call, void *data)
{
	if (news->everything) {
		call(WATCH_EVERYTHING, NULL, data);
		return;
	}
	for (unsigned i = 0; i < news->items->len; i++) {
		const struct item *item = news->items->pdata[i];

		if (item->event != WATCH_CHANGED || g_hash_table_contains(news->watch->nsids, item->ns))
			call(item->event, item->ns, data);
	}
}

bool watch_take(struct watch *watch, watch_call call, void *data, GError **error)
{
	struct news news = {
		.watch = watch,
		.items = g_ptr_array_new_with_free_func(item_free),
		.seen = g_hash_table_new(item_hash, item_equal),
	};
	bool taken = take_entries(&news, error) && take_messages(watch->route, &news, error) &&
	             take_messages(watch->nft, &news, error);

	if (taken)
		tell(&news, call, data);
	g_hash_table_unref(news.seen);
	g_ptr_array_unref(news.items);
	return taken;
}

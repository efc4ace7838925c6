/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kernel/events.c and inventory/watch.c against the kernel.  Each case runs in a child that has a network namespace and
 * a mount namespace of its own: so nobody else's namespaces and nsids disturb it.
 *
 * An event is in the queue before the change that made it is acknowledged, and a queue keeps its order.  So silence is
 * proved without waiting: by something that happens later elsewhere and is heard.
 */
#include "inventory/watch.h"
#include "kernel/events.h"
#include "kernel/netlink.h"
#include "kernel/netns.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../scratch.h"

#define PATIENCE_MS 10000
#define ROUTER "qrouter-01234567-89ab-cdef-0123-456789abcdef"
#define OTHER "snat-01234567-89ab-cdef-0123-456789abcdef"
#define MARKER "marker"

/* A watch of an empty directory, and what it has told: "changed qrouter-..., came ...". */
struct ear {
	char *directory;
	struct watch *watch;
	GString *heard;
};

/* Its asserts end the child, and by that the test. */
static void in_child(const void *data)
{
	void (*run)(struct ear *ear) = (void (*)(struct ear *))data;
	struct ear ear = { 0 };
	g_autoptr(GError) error = NULL;
	int status;
	pid_t child;

	if (geteuid() != 0) {
		g_test_skip("needs root");
		return;
	}
	ear.directory = scratch_new();
	child = fork();
	g_assert_cmpint(child, >=, 0);
	if (!child) {
		g_assert_no_errno(unshare(CLONE_NEWNS | CLONE_NEWNET));
		g_assert_no_errno(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
		ear.heard = g_string_new(NULL);
		ear.watch = watch_open(ear.directory, &error);
		g_assert_no_error(error);
		run(&ear);
		watch_close(ear.watch);
		g_string_free(ear.heard, TRUE);
		g_free(ear.directory);
		_exit(0);
	}
	g_assert_cmpint(waitpid(child, &status, 0), ==, child);
	g_assert_cmpint(status, ==, 0);
	g_rmdir(ear.directory);
	g_free(ear.directory);
}

/* ---- namespaces ---- */

static int make(void)
{
	g_autoptr(GError) error = NULL;
	int ns_fd = netns_new(&error);

	g_assert_no_error(error);
	return ns_fd;
}

static void inside(int ns_fd, const char *arguments)
{
	g_autofree char *line = g_strdup_printf("nsenter --net=/proc/%d/fd/%d %s", getpid(), ns_fd, arguments);
	g_autoptr(GError) error = NULL;
	int status;

	g_spawn_command_line_sync(line, NULL, NULL, &status, &error);
	g_assert_no_error(error);
	g_spawn_check_wait_status(status, &error);
	g_assert_no_error(error);
}

static void follow(struct ear *ear, int ns_fd, const char *ns)
{
	g_autoptr(GError) error = NULL;

	watch_follow(ear->watch, ns_fd, ns, &error);
	g_assert_no_error(error);
}

static int make_followed(struct ear *ear, const char *ns)
{
	int ns_fd = make();

	follow(ear, ns_fd, ns);
	return ns_fd;
}

struct request {
	union {
		struct nlmsghdr header;
		char bytes[128];
	};
};

/* n addresses, each added and removed again. */
static void churn(int ns_fd, unsigned n)
{
	g_autoptr(GError) error = NULL;
	struct netlink *netlink = netlink_open(ns_fd, NETLINK_ROUTE, &error);

	g_assert_no_error(error);
	for (unsigned i = 0; i < 2 * n; i++) {
		struct request request;
		struct nlmsghdr *header = mnl_nlmsg_put_header(request.bytes);
		struct ifaddrmsg *head = mnl_nlmsg_put_extra_header(header, sizeof *head);

		header->nlmsg_type = i % 2 ? RTM_DELADDR : RTM_NEWADDR;
		header->nlmsg_flags = i % 2 ? 0 : NLM_F_CREATE | NLM_F_EXCL;
		*head = (struct ifaddrmsg){ .ifa_family = AF_INET, .ifa_prefixlen = 32, .ifa_index = 1 };
		mnl_attr_put_u32(header, IFA_LOCAL, GUINT32_TO_BE(0xc6336400u + i / 2 % 200));
		netlink_talk(netlink, header, NULL, NULL, &error);
		g_assert_no_error(error);
	}
	netlink_close(netlink);
}

/* ---- hearing ---- */

static void hear(enum watch_event event, const char *ns, void *data)
{
	static const char *const names[] = { "changed", "came", "went", "everything" };
	struct ear *ear = data;

	g_assert_true(!ns == (event == WATCH_EVERYTHING));
	g_string_append_printf(ear->heard, "%s%s%s%s", ear->heard->len ? ", " : "", names[event], ns ? " " : "",
	                       ns ? ns : "");
}

static void take(struct ear *ear)
{
	g_autoptr(GError) error = NULL;

	watch_take(ear->watch, hear, ear, &error);
	g_assert_no_error(error);
}

static void await(struct ear *ear)
{
	struct pollfd polls[WATCH_FDS];
	int fds[WATCH_FDS];

	watch_fds(ear->watch, fds);
	for (unsigned i = 0; i < WATCH_FDS; i++)
		polls[i] = (struct pollfd){ .fd = fds[i], .events = POLLIN };
	g_assert_cmpint(poll(polls, WATCH_FDS, PATIENCE_MS), >, 0);
}

static void assert_heard(struct ear *ear, const char *expected)
{
	g_assert_cmpstr(ear->heard->str, ==, expected);
	g_string_truncate(ear->heard, 0);
}

/* One take, after something has happened. */
static void assert_told(struct ear *ear, const char *expected)
{
	await(ear);
	take(ear);
	assert_heard(ear, expected);
}

static void assert_nothing_left(struct ear *ear)
{
	take(ear);
	assert_heard(ear, "");
}

/* ---- what happens inside ---- */

static void each_kind(struct ear *ear)
{
	static const char *const commands[] = {
		"ip link set lo mtu 1400",
		"ip addr change 192.0.2.1/32 dev lo valid_lft 4000 preferred_lft 4000", /* and no route with it */
		"ip addr del 192.0.2.1/32 dev lo",
		"ip route add 203.0.113.0/24 dev lo",
		"nft add table ip nat",
		"nft add chain ip nat x",
		"nft add rule ip nat x ip daddr 203.0.113.7 dnat to 10.0.0.7",
		"nft flush chain ip nat x",
		"nft delete table ip nat",
	};
	int ns_fd = make();

	inside(ns_fd, "ip link set lo up");
	inside(ns_fd, "ip addr add 192.0.2.1/32 dev lo");
	follow(ear, ns_fd, ROUTER);
	assert_nothing_left(ear);
	for (unsigned i = 0; i < G_N_ELEMENTS(commands); i++) {
		g_test_message("%s", commands[i]);
		inside(ns_fd, commands[i]);
		assert_told(ear, "changed " ROUTER);
		assert_nothing_left(ear);
	}
	close(ns_fd);
}

/* Those that have no nsid, those that have one and are not followed, and our own one. */
static void unfollowed(struct ear *ear)
{
	int marker = make_followed(ear, MARKER), unknown = make(), known = make();
	g_autoptr(GError) error = NULL;

	events_nsid(known, &error);
	g_assert_no_error(error);
	inside(unknown, "ip link set lo up");
	inside(unknown, "nft add table ip nat");
	inside(known, "ip link set lo up");
	inside(known, "nft add table ip nat");
	churn(-1, 1);
	inside(marker, "nft add table ip nat");
	assert_told(ear, "changed " MARKER);
	inside(marker, "ip link set lo mtu 1400");
	assert_told(ear, "changed " MARKER);
	close(marker);
	close(unknown);
	close(known);
}

static void forgotten(struct ear *ear)
{
	int marker = make_followed(ear, MARKER), ns_fd = make_followed(ear, ROUTER);

	churn(ns_fd, 1);
	watch_forget(ear->watch, ROUTER); /* also what happened before */
	churn(ns_fd, 1);
	churn(marker, 1);
	assert_told(ear, "changed " MARKER);
	watch_forget(ear->watch, ROUTER);
	watch_forget(ear->watch, "never followed");
	follow(ear, ns_fd, ROUTER);
	churn(marker, 1);
	churn(ns_fd, 1);
	churn(marker, 1);
	assert_told(ear, "changed " MARKER ", changed " ROUTER);
	close(marker);
	close(ns_fd);
}

/* A name stands for the last one that was followed; a namespace may have two names. */
static void names(struct ear *ear)
{
	int marker = make_followed(ear, MARKER), old = make_followed(ear, ROUTER), new = make_followed(ear, ROUTER);
	g_autoptr(GError) error = NULL;

	churn(old, 1);
	churn(marker, 1);
	assert_told(ear, "changed " MARKER);
	churn(new, 1);
	assert_told(ear, "changed " ROUTER);
	follow(ear, new, OTHER);
	churn(new, 1);
	assert_told(ear, "changed " ROUTER ", changed " OTHER);
	watch_forget(ear->watch, ROUTER);
	churn(new, 1);
	assert_told(ear, "changed " OTHER);
	g_assert_false(watch_follow(ear->watch, -1, OTHER, &error)); /* the old one stays */
	g_test_message("%s", error->message);
	churn(new, 1);
	assert_told(ear, "changed " OTHER);
	close(marker);
	close(old);
	close(new);
}

static void forget_router(enum watch_event event, const char *ns, void *data)
{
	struct ear *ear = data;

	hear(event, ns, data);
	watch_forget(ear->watch, OTHER);
}

static void forget_while_told(struct ear *ear)
{
	int first = make_followed(ear, ROUTER), second = make_followed(ear, OTHER);
	g_autoptr(GError) error = NULL;

	churn(first, 1);
	churn(second, 1);
	g_assert_true(watch_take(ear->watch, forget_router, ear, &error));
	assert_heard(ear, "changed " ROUTER);
	close(first);
	close(second);
}

/* Three events each: the address comes with its route in the local table. */
static void asleep(struct ear *ear)
{
	int ns_fd = make_followed(ear, ROUTER);

	churn(ns_fd, 4000);
	assert_told(ear, "changed " ROUTER);
	assert_nothing_left(ear);
	close(ns_fd);
}

static void overflow(struct ear *ear)
{
	int ns_fd = make_followed(ear, ROUTER), fds[WATCH_FDS], small = 4096;

	watch_fds(ear->watch, fds);
	for (unsigned i = 1; i < WATCH_FDS; i++)
		g_assert_no_errno(setsockopt(fds[i], SOL_SOCKET, SO_RCVBUF, &small, sizeof small));
	for (unsigned i = 0; i < 3; i++) {
		churn(ns_fd, 100);
		assert_told(ear, "everything");
		assert_nothing_left(ear);
		inside(ns_fd, "ip link set lo mtu 1400");
		inside(ns_fd, "ip link set lo mtu 1500");
		assert_told(ear, "changed " ROUTER);
		assert_nothing_left(ear);
	}
	close(ns_fd);
}

/* ---- nsids ---- */

struct notice {
	uint16_t type;
	int nsid;
	unsigned n;
};

static void take_notice(const struct nlmsghdr *message, int nsid, void *data)
{
	struct notice *notice = data;

	notice->n++;
	notice->type = message->nlmsg_type;
	notice->nsid = nsid;
}

/* The next event, which is one of our own namespace. */
static uint16_t next_own(struct events *events)
{
	struct pollfd polled = { .fd = events_fd(events), .events = POLLIN };
	struct notice notice = { 0 };
	g_autoptr(GError) error = NULL;

	g_assert_cmpint(poll(&polled, 1, PATIENCE_MS), ==, 1);
	g_assert_true(events_take(events, take_notice, &notice, &error));
	g_assert_cmpuint(notice.n, ==, 1);
	g_assert_cmpint(notice.nsid, ==, -1);
	return notice.type;
}

static void reused(struct ear *ear)
{
	static const unsigned group = RTNLGRP_NSID;
	g_autoptr(GError) error = NULL;
	struct events *nsids = events_open(NETLINK_ROUTE, &group, 1, &error);
	int first = make_followed(ear, ROUTER), second, nsid = events_nsid(first, &error);

	g_assert_no_error(error);
	g_assert_cmpint(nsid, >=, 0);
	g_assert_cmpuint(next_own(nsids), ==, RTM_NEWNSID);
	g_assert_cmpint(events_nsid(first, &error), ==, nsid);
	churn(first, 1);
	watch_forget(ear->watch, ROUTER);
	close(first);
	g_assert_cmpuint(next_own(nsids), ==, RTM_DELNSID);
	assert_nothing_left(ear);
	second = make_followed(ear, OTHER);
	g_assert_cmpint(events_nsid(second, &error), ==, nsid);
	churn(second, 1);
	assert_told(ear, "changed " OTHER);
	g_assert_cmpint(events_nsid(-1, &error), ==, -1);
	g_test_message("%s", error->message);
	events_close(nsids);
	close(second);
}

static void refused(struct ear *ear)
{
	static const unsigned group = 4711;
	g_autoptr(GError) error = NULL;

	g_assert_null(events_open(NETLINK_ROUTE, &group, 1, &error));
	g_assert_error(error, EVENTS_ERROR, EVENTS_ERROR_FAILED);
	g_test_message("%s", error->message);
	g_clear_error(&error);
	g_assert_null(watch_open("/nowhere", &error));
	g_assert_error(error, G_FILE_ERROR, G_FILE_ERROR_NOENT);
	g_test_message("%s", error->message);
	g_clear_error(&error);
	g_assert_null(watch_open("/proc/self/status", &error));
	g_assert_error(error, G_FILE_ERROR, G_FILE_ERROR_NOTDIR);
}

/* ---- the directory ---- */

static void touch(const struct ear *ear, const char *name)
{
	g_autofree char *path = g_build_filename(ear->directory, name, NULL);
	FILE *file = fopen(path, "wx");

	g_assert_nonnull(file);
	fclose(file);
}

static void drop(const struct ear *ear, const char *name)
{
	g_autofree char *path = g_build_filename(ear->directory, name, NULL);

	g_assert_no_errno(g_unlink(path));
}

static void move(const struct ear *ear, const char *from, const char *to)
{
	g_autofree char *old = g_build_filename(ear->directory, from, NULL);
	g_autofree char *new = g_build_filename(ear->directory, to, NULL);

	g_assert_no_errno(g_rename(old, new));
}

static void directory(struct ear *ear)
{
	static const char *const junk[] = {
		"qdhcp-01234567-89ab-cdef-0123-456789abcdef", "qrouter-", "qrouter-01234567", ROUTER "0", "junk",
		"fip-01234567-89ab-cdef-0123-456789abcdef", "snat-01234567-89AB-cdef-0123-456789abcdef",
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(junk); i++)
		touch(ear, junk[i]);
	assert_nothing_left(ear);
	touch(ear, OTHER);
	touch(ear, ROUTER);
	assert_told(ear, "came " OTHER ", came " ROUTER);
	drop(ear, ROUTER);
	assert_told(ear, "went " ROUTER);
	for (unsigned i = 0; i < 3; i++) {
		touch(ear, ROUTER);
		drop(ear, ROUTER);
	}
	touch(ear, ROUTER);
	assert_told(ear, "came " ROUTER ", went " ROUTER);
	drop(ear, OTHER);
	move(ear, ROUTER, OTHER);
	assert_told(ear, "went " OTHER ", went " ROUTER ", came " OTHER);
	drop(ear, OTHER);
	for (unsigned i = 0; i < G_N_ELEMENTS(junk); i++)
		drop(ear, junk[i]);
	assert_told(ear, "went " OTHER);
}

static void born(enum watch_event event, const char *ns, void *data)
{
	struct ear *ear = data;
	g_autoptr(GError) error = NULL;
	int ns_fd = -1;

	hear(event, ns, data);
	if (event == WATCH_CAME)
		ns_fd = netns_open(ear->directory, ns, &error);
	else if (event == WATCH_WENT)
		watch_forget(ear->watch, ns);
	g_assert_no_error(error);
	if (ns_fd >= 0)
		follow(ear, ns_fd, ns);
	if (ns_fd >= 0)
		close(ns_fd);
}

/* As ip-netns(8) does it: a file, a namespace mounted on it, and both taken away. */
static void lifetime(struct ear *ear)
{
	g_autofree char *path = g_build_filename(ear->directory, ROUTER, NULL);
	g_autofree char *source = NULL;
	g_autoptr(GError) error = NULL;
	int ns_fd = make();

	source = g_strdup_printf("/proc/self/fd/%d", ns_fd);
	touch(ear, ROUTER);
	await(ear);
	g_assert_no_errno(mount(source, path, NULL, MS_BIND, NULL));
	g_assert_true(watch_take(ear->watch, born, ear, &error));
	assert_heard(ear, "came " ROUTER);
	churn(ns_fd, 1);
	assert_told(ear, "changed " ROUTER);
	churn(ns_fd, 1);
	g_assert_no_errno(umount2(path, MNT_DETACH));
	drop(ear, ROUTER);
	g_assert_true(watch_take(ear->watch, born, ear, &error));
	assert_heard(ear, "went " ROUTER); /* and so it is not changed */
	close(ns_fd);
}

static void too_many_names(struct ear *ear)
{
	g_autofree char *text = NULL;
	unsigned limit;

	g_assert_true(g_file_get_contents("/proc/sys/fs/inotify/max_queued_events", &text, NULL, NULL));
	limit = (unsigned)g_ascii_strtoull(text, NULL, 10);
	for (unsigned i = 0; i < limit / 2 + 1; i++) {
		touch(ear, ROUTER);
		drop(ear, ROUTER);
	}
	assert_told(ear, "everything");
	touch(ear, ROUTER);
	assert_told(ear, "came " ROUTER);
	drop(ear, ROUTER);
}

static void assert_ended(struct ear *ear)
{
	for (unsigned i = 0; i < 2; i++) {
		g_autoptr(GError) error = NULL;

		if (!i)
			await(ear);
		g_assert_false(watch_take(ear->watch, hear, ear, &error));
		g_assert_error(error, G_FILE_ERROR, G_FILE_ERROR_NOENT);
		assert_heard(ear, "");
	}
}

static void removed(struct ear *ear)
{
	g_assert_no_errno(g_rmdir(ear->directory));
	assert_ended(ear);
}

static void moved(struct ear *ear)
{
	g_autofree char *away = g_strconcat(ear->directory, "-away", NULL);

	g_assert_no_errno(g_rename(ear->directory, away));
	assert_ended(ear);
	g_rmdir(away);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(struct ear *ear);
	} cases[] = {
		{ "/watch/inside/each-kind", each_kind },
		{ "/watch/inside/unfollowed", unfollowed },
		{ "/watch/inside/forgotten", forgotten },
		{ "/watch/inside/names", names },
		{ "/watch/inside/forget-while-told", forget_while_told },
		{ "/watch/inside/asleep", asleep },
		{ "/watch/inside/overflow", overflow },
		{ "/watch/nsid/reused", reused },
		{ "/watch/refused", refused },
		{ "/watch/directory/names", directory },
		{ "/watch/directory/lifetime", lifetime },
		{ "/watch/directory/overflow", too_many_names },
		{ "/watch/directory/removed", removed },
		{ "/watch/directory/moved", moved },
	};

	g_test_init(&argc, &argv, NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++)
		g_test_add_data_func(cases[i].name, (const void *)cases[i].run, in_child);
	return g_test_run();
}

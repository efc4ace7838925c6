/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Each file is opened first and looked at afterwards, through the descriptor, so that what was judged is
 * what is entered.  The way back is opened before the way in is taken: who cannot come back does not go.
 */
#include "kernel/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define OWN "/proc/thread-self/ns/net"

static int open_own(GError **error)
{
	int fd = open(OWN, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		g_set_error(error, NETNS_ERROR, NETNS_ERROR_FAILED, "cannot open %s: %s", OWN,
		            g_strerror(errno));
	return fd;
}

/* ip-netns(8) makes the file without any permission: who lacks CAP_DAC_OVERRIDE gets EACCES until it is a
 * namespace. */
static enum netns_error open_error(int number)
{
	switch (number) {
	case ENOENT:
		return NETNS_ERROR_GONE;
	case EACCES:
		return NETNS_ERROR_NOT_YET;
	case ELOOP: /* a symbolic link, and O_NOFOLLOW */
	case ENXIO: /* a socket */
		return NETNS_ERROR_JUNK;
	default:
		return NETNS_ERROR_FAILED;
	}
}

/* Is what was opened a network namespace, and not the one that we are in? */
static bool check(int fd, const char *shown, GError **error)
{
	struct stat file, own;
	struct statfs fs;

	if (fstat(fd, &file) < 0 || fstatfs(fd, &fs) < 0 || stat(OWN, &own) < 0) {
		g_set_error(error, NETNS_ERROR, NETNS_ERROR_FAILED, "cannot look at %s: %s", shown,
		            g_strerror(errno));
		return false;
	}
	if (!S_ISREG(file.st_mode)) {
		g_set_error(error, NETNS_ERROR, NETNS_ERROR_JUNK, "%s is no file of a network namespace",
		            shown);
		return false;
	}
	if (fs.f_type != NSFS_MAGIC) {
		g_set_error(error, NETNS_ERROR, NETNS_ERROR_NOT_YET,
		            "%s is a plain file, not a network namespace yet (if it stays so: delete it)",
		            shown);
		return false;
	}
	if (ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET) {
		g_set_error(error, NETNS_ERROR, NETNS_ERROR_JUNK, "%s is a namespace, but of another kind",
		            shown);
		return false;
	}
	if (file.st_dev == own.st_dev && file.st_ino == own.st_ino) {
		g_set_error(error, NETNS_ERROR, NETNS_ERROR_JUNK, "%s is the namespace that we run in",
		            shown);
		return false;
	}
	return true;
}

int netns_open(const char *directory, const char *name, GError **error)
{
	g_autofree char *path = g_build_filename(directory, name, NULL);
	g_autofree char *shown = g_strescape(path, NULL);
	int fd;

	if (!*name || strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, "..")) {
		g_set_error(error, NETNS_ERROR, NETNS_ERROR_JUNK, "%s is no name of a network namespace",
		            shown);
		return -1;
	}
	do
		fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	while (fd < 0 && errno == EINTR);
	if (fd < 0) {
		int number = errno;

		g_set_error(error, NETNS_ERROR, open_error(number), "cannot open %s: %s", shown,
		            number == ELOOP ? "it is a symbolic link" : g_strerror(number));
		return -1;
	}
	if (check(fd, shown, error))
		return fd;
	close(fd);
	return -1;
}

/* The way back, which is opened once: thousands of namespaces are entered at each sample. */
static int way_back(GError **error)
{
	static int own = -1;

	if (own < 0)
		own = open_own(error);
	return own;
}

static void come_back(int own)
{
	if (setns(own, CLONE_NEWNET) < 0)
		g_error("cannot come back from a network namespace: %s", g_strerror(errno)); /* ends the process */
}

bool netns_call(int ns_fd, bool (*call)(void *data, GError **error), void *data, GError **error)
{
	int own = way_back(error);
	bool done;

	if (own < 0)
		return false;
	if (setns(ns_fd, CLONE_NEWNET) < 0) {
		g_set_error(error, NETNS_ERROR, NETNS_ERROR_FAILED,
		            "cannot enter the network namespace: %s (it takes CAP_SYS_ADMIN)",
		            g_strerror(errno));
		return false;
	}
	done = call(data, error);
	come_back(own);
	return done;
}

bool netns_is_still(const char *directory, const char *name, uint64_t inode)
{
	g_autofree char *path = g_build_filename(directory, name, NULL);
	struct stat file;

	if (lstat(path, &file) < 0)
		return errno != ENOENT && errno != ENOTDIR;
	return file.st_ino == inode && !S_ISLNK(file.st_mode);
}

int netns_new(GError **error)
{
	int own = way_back(error), made;

	if (own < 0)
		return -1;
	if (unshare(CLONE_NEWNET) < 0) {
		g_set_error(error, NETNS_ERROR, NETNS_ERROR_FAILED,
		            "cannot make a network namespace: %s (it takes CAP_SYS_ADMIN)",
		            g_strerror(errno));
		return -1;
	}
	made = open_own(error);
	come_back(own);
	return made;
}

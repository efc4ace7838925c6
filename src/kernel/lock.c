/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See lock.h.
 */
#include "kernel/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define POLL_US 1000
#define PATIENCE_US (20 * POLL_US) /* whoever asks for the lock has it for a moment */

struct holder {
	char pid[24]; /* "" where it is not known yet */
};

static struct holder read_holder(int fd)
{
	struct holder holder = { "" };
	ssize_t length = pread(fd, holder.pid, sizeof holder.pid - 1, 0);

	holder.pid[length > 0 ? strspn(holder.pid, "0123456789") : 0] = '\0';
	return holder;
}

static void set_held(int fd, const char *path, GError **error)
{
	struct holder holder = read_holder(fd);

	g_set_error(error, LOCK_ERROR, LOCK_ERROR_HELD, "%s is held by another process, pid %s", path,
	            *holder.pid ? holder.pid : "not known yet");
}

static bool set_failed(const char *path, GError **error)
{
	g_set_error(error, LOCK_ERROR, LOCK_ERROR_FAILED, "%s: %s", path, g_strerror(errno));
	return false;
}

bool lock_wait(int fd, int64_t deadline_us)
{
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EINTR && (errno != EWOULDBLOCK || g_get_monotonic_time() >= deadline_us))
			return false;
		if (errno == EWOULDBLOCK)
			g_usleep(POLL_US);
	}
	return true;
}

int lock_take(const char *path, GError **error)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
	char pid[24];

	if (fd < 0) {
		set_failed(path, error);
		return -1;
	}
	if (lock_wait(fd, g_get_monotonic_time() + PATIENCE_US)) {
		int length = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());

		if (ftruncate(fd, 0) == 0 && pwrite(fd, pid, length, 0) == length)
			return fd;
		set_failed(path, error);
	} else if (errno == EWOULDBLOCK) {
		set_held(fd, path, error);
	} else {
		set_failed(path, error);
	}
	close(fd);
	return -1;
}

bool lock_ask(const char *path, long *pid, GError **error)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct holder holder;

	if (fd < 0 && errno != ENOENT)
		return set_failed(path, error);
	*pid = 0;
	if (fd < 0)
		return true;
	if (flock(fd, LOCK_SH | LOCK_NB) < 0) {
		holder = read_holder(fd);
		*pid = *holder.pid ? atol(holder.pid) : -1;
	}
	close(fd);
	return true;
}

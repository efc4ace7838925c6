/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See lock.h.
 */
#include "kernel/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static void set_held(int fd, const char *path, GError **error)
{
	char pid[24] = "";
	ssize_t length = pread(fd, pid, sizeof pid - 1, 0);

	pid[length > 0 ? strspn(pid, "0123456789") : 0] = '\0';
	g_set_error(error, LOCK_ERROR, LOCK_ERROR_HELD, "%s is held by another process, pid %s", path,
	            *pid ? pid : "not known yet");
}

int lock_take(const char *path, GError **error)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
	char pid[24];

	if (fd < 0) {
		g_set_error(error, LOCK_ERROR, LOCK_ERROR_FAILED, "%s: %s", path, g_strerror(errno));
		return -1;
	}
	if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
		int length = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());

		if (ftruncate(fd, 0) == 0 && pwrite(fd, pid, length, 0) == length)
			return fd;
		g_set_error(error, LOCK_ERROR, LOCK_ERROR_FAILED, "%s: %s", path, g_strerror(errno));
	} else if (errno == EWOULDBLOCK) {
		set_held(fd, path, error);
	} else {
		g_set_error(error, LOCK_ERROR, LOCK_ERROR_FAILED, "%s: %s", path, g_strerror(errno));
	}
	close(fd);
	return -1;
}

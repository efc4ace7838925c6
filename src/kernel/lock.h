/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A lock that one process holds, and that says which: flock(2) on a file with the holder's pid in it.  The kernel gives
 * it up when the process ends, however it ends; the file stays.
 */
#ifndef FIPMETER_KERNEL_LOCK_H
#define FIPMETER_KERNEL_LOCK_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define LOCK_ERROR (g_quark_from_static_string("fipmeter-lock"))
enum lock_error {
	LOCK_ERROR_HELD,   /* the message names the pid */
	LOCK_ERROR_FAILED,
};

/* Takes the lock at path (made with mode 0640, close-on-exec).  Returns the descriptor that holds it, -1 on failure. */
int lock_take(const char *path, GError **error);

/* Takes flock(2) of an open file exclusively, and waits for it until that time (g_get_monotonic_time()).  False, with errno:
 * EWOULDBLOCK if others have it still. */
bool lock_wait(int fd, int64_t deadline_us);

/* Who holds the lock at path: *pid is 0 if nobody does (or there is no such file), -1 if the holder has not said yet who
 * he is.  Fails where the file may not be opened.  Asking keeps a lock_take() waiting for some microseconds at most. */
bool lock_ask(const char *path, long *pid, GError **error);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory that is short at one moment, for one process: to be preloaded (ld.so(8), LD_PRELOAD).
 *
 *	FAULT_MEMORY=N:FILE
 * The N-th allocation after the program has begun fails with ENOMEM; that it came to this is told by FILE, which is there
 * then.  glibc keeps its own functions under a second name for those who replace them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *old, size_t size);

static unsigned long left; /* 0: none of those to come fails */
static char path[256];

__attribute__((constructor)) static void begin(void)
{
	const char *wanted = getenv("FAULT_MEMORY");
	unsigned long n;

	if (!wanted || sscanf(wanted, "%lu:%255s", &n, path) != 2)
		abort();
	unsetenv("LD_PRELOAD");
	left = n;
}

static bool fails(void)
{
	int fd;

	if (!left || --left)
		return false;
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd >= 0)
		close(fd);
	errno = ENOMEM;
	return true;
}

void *malloc(size_t size)
{
	return fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	return fails() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *old, size_t size)
{
	return fails() ? NULL : __libc_realloc(old, size);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A directory of its own for a test, below the one for temporary files.  Its name has the number of the process, so that
 * what a killed test has left is known: the next one that asks for a directory removes it.
 */
#ifndef FIPMETER_TESTS_SCRATCH_H
#define FIPMETER_TESTS_SCRATCH_H

#include <errno.h>
#include <ftw.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define SCRATCH_PREFIX "fipmeter-test-"

static inline int scratch_remove_one(const char *path, const struct stat *file, int type, struct FTW *where)
{
	return g_remove(path);
}

/* Is it of a process that is no more? */
static inline gboolean scratch_is_left(const char *name)
{
	gint64 pid = g_str_has_prefix(name, SCRATCH_PREFIX) ? g_ascii_strtoll(name + strlen(SCRATCH_PREFIX), NULL, 10) : 0;

	return pid > 0 && kill((pid_t)pid, 0) < 0 && errno == ESRCH;
}

/* Its path, which the caller frees. */
static inline char *scratch_new(void)
{
	g_autofree char *template = g_strdup_printf(SCRATCH_PREFIX "%d-XXXXXX", (int)getpid());
	g_autoptr(GDir) others = g_dir_open(g_get_tmp_dir(), 0, NULL);
	g_autoptr(GError) error = NULL;
	const char *name;
	char *path;

	while (others && (name = g_dir_read_name(others))) {
		g_autofree char *left = g_build_filename(g_get_tmp_dir(), name, NULL);

		if (scratch_is_left(name))
			nftw(left, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS); /* another test may be at it, too */
	}
	path = g_dir_make_tmp(template, &error);
	g_assert_no_error(error);
	return path;
}

#endif

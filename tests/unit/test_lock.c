/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The lock that says who holds it: for who wants it, and for who only asks.
 */
#include "kernel/lock.h"

#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../scratch.h"

struct ground {
	char *directory, *path;
};

static void set_up(struct ground *ground, const void *data)
{
	ground->directory = scratch_new();
	ground->path = g_build_filename(ground->directory, "a.lock", NULL);
}

static void tear_down(struct ground *ground, const void *data)
{
	g_unlink(ground->path);
	g_assert_no_errno(g_rmdir(ground->directory));
	g_free(ground->path);
	g_free(ground->directory);
}

static long asked(const struct ground *ground)
{
	g_autoptr(GError) error = NULL;
	long pid = -2;

	g_assert_true(lock_ask(ground->path, &pid, &error));
	g_assert_no_error(error);
	return pid;
}

static void test_nobody_then_somebody_then_nobody(struct ground *ground, const void *data)
{
	g_autoptr(GError) error = NULL;
	int fd;

	g_assert_cmpint(asked(ground), ==, 0);
	g_assert_false(g_file_test(ground->path, G_FILE_TEST_EXISTS)); /* asking makes no file */
	fd = lock_take(ground->path, &error);
	g_assert_no_error(error);
	g_assert_cmpint(asked(ground), ==, getpid());
	close(fd);
	g_assert_cmpint(asked(ground), ==, 0); /* the pid in the file is an old one's */
}

static void test_a_second_one_is_told_the_first(struct ground *ground, const void *data)
{
	g_autofree char *pid = g_strdup_printf("pid %d", getpid());
	g_autoptr(GError) error = NULL;
	int fd = lock_take(ground->path, &error);

	g_assert_cmpint(fd, >=, 0);
	g_assert_cmpint(lock_take(ground->path, &error), ==, -1);
	g_assert_error(error, LOCK_ERROR, LOCK_ERROR_HELD);
	g_assert_nonnull(strstr(error->message, pid));
	close(fd);
}

/* Who only asks holds it for a moment himself; that must not keep an agent from starting. */
static void test_who_asks_is_in_nobodys_way(struct ground *ground, const void *data)
{
	pid_t child = fork();

	if (!child)
		for (;;) {
			long pid;

			lock_ask(ground->path, &pid, NULL);
		}
	for (unsigned i = 0; i < 200; i++) {
		g_autoptr(GError) error = NULL;
		int fd = lock_take(ground->path, &error);

		g_assert_no_error(error);
		close(fd);
	}
	kill(child, SIGKILL);
	g_assert_cmpint(waitpid(child, NULL, 0), ==, child);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define CASE(name) g_test_add("/lock/" #name, struct ground, NULL, set_up, test_##name, tear_down)
	CASE(nobody_then_somebody_then_nobody);
	CASE(a_second_one_is_told_the_first);
	CASE(who_asks_is_in_nobodys_way);
	return g_test_run();
}

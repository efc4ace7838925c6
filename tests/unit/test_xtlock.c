/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The locks of legacy tables: the host's, the configured one, and that of an l3-agent with a /run of its own. Runs in a
 * mount namespace whose /run is its own, so that nobody's lock is touched.
 */
#include "kernel/xtlock.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../scratch.h"

#define OWN "/run/xtables.lock"

static char *directory;

static int hold(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	g_assert_cmpint(fd, >=, 0);
	g_assert_no_errno(flock(fd, LOCK_EX | LOCK_NB));
	return fd;
}

static bool is_held(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600), held = flock(fd, LOCK_EX | LOCK_NB);

	close(fd);
	return held < 0;
}

static void test_taken_and_given_up(void)
{
	g_autoptr(GError) error = NULL;
	struct xtlock *lock = xtlock_take(NULL, 100, &error);

	g_assert_no_error(error);
	g_assert_true(is_held(OWN));
	xtlock_release(lock);
	g_assert_false(is_held(OWN));
}

static void test_waits_for_who_has_it_and_not_for_ever(void)
{
	g_autoptr(GError) error = NULL;
	int pipes[2], fd;
	pid_t child;
	char byte;

	g_assert_no_errno(pipe(pipes));
	child = fork();
	if (!child) {
		hold(OWN);
		g_assert_cmpint(write(pipes[1], "x", 1), ==, 1);
		g_usleep(50000);
		_exit(0);
	}
	close(pipes[1]); /* a child that failed is an end of file, not a wait for ever */
	g_assert_cmpint(read(pipes[0], &byte, 1), ==, 1);
	xtlock_release(xtlock_take(NULL, 5000, &error));
	g_assert_no_error(error);
	g_assert_cmpint(waitpid(child, NULL, 0), ==, child);
	close(pipes[0]);

	fd = hold(OWN);
	g_assert_null(xtlock_take(NULL, 20, &error));
	g_assert_error(error, XTLOCK_ERROR, XTLOCK_ERROR_HELD);
	g_assert_nonnull(strstr(error->message, OWN));
	close(fd);
}

static void test_configured(void)
{
	g_autofree char *path = g_build_filename(directory, "other.lock", NULL), *described = NULL;
	g_autofree char *nowhere = g_build_filename(directory, "missing", "lock", NULL);
	g_autoptr(GError) error = NULL;
	struct xtlock *lock = xtlock_take(path, 100, &error);

	g_assert_no_error(error);
	g_assert_true(is_held(path) && is_held(OWN));
	xtlock_release(lock);
	described = xtlock_describe(path, &error);
	g_assert_nonnull(strstr(described, path));
	g_assert_null(xtlock_take(nowhere, 100, &error));
	g_assert_error(error, XTLOCK_ERROR, XTLOCK_ERROR_UNKNOWN);
	g_assert_nonnull(strstr(error->message, nowhere));
	g_assert_nonnull(strstr(error->message, "[agent] xtables_lock"));
	g_assert_false(is_held(OWN)); /* all or none */
}

/* A process that is called as an l3-agent is, in a mount namespace of its own, as in a container. */
static pid_t start_l3_agent(bool own_run)
{
	g_autofree char *script = g_build_filename(directory, "neutron-l3-agent", NULL);
	int pipes[2];
	pid_t child;
	char byte;

	g_assert_true(g_file_set_contents(script, "echo x >&3; exec 3>&-; read forever\n", -1, NULL));
	g_assert_no_errno(pipe(pipes));
	child = fork();
	if (!child) {
		int never[2];

		if (own_run && (unshare(CLONE_NEWNS) < 0 || mount("none", "/run", "tmpfs", 0, NULL) < 0))
			_exit(1);
		if (pipe(never) < 0 || dup2(never[0], 0) < 0 || dup2(pipes[1], 3) < 0)
			_exit(1);
		execl("/bin/sh", "sh", script, NULL);
		_exit(1);
	}
	close(pipes[1]);
	g_assert_cmpint(read(pipes[0], &byte, 1), ==, 1);
	close(pipes[0]);
	return child;
}

static void end_l3_agent(pid_t pid)
{
	kill(pid, SIGKILL);
	g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
}

static void test_an_l3_agent_with_a_run_of_its_own(void)
{
	pid_t pid = start_l3_agent(true);
	g_autofree char *path = g_strdup_printf("/proc/%d/root" OWN, pid), *described = NULL;
	g_autoptr(GError) error = NULL;
	int fd;

	described = xtlock_describe(NULL, &error);
	g_assert_no_error(error);
	g_assert_nonnull(strstr(described, path));
	fd = hold(path); /* Neutron is at work */
	g_assert_null(xtlock_take(NULL, 20, &error));
	g_assert_error(error, XTLOCK_ERROR, XTLOCK_ERROR_HELD);
	g_assert_nonnull(strstr(error->message, path));
	g_assert_false(is_held(OWN));
	close(fd);
	end_l3_agent(pid);
}

static void test_an_l3_agent_with_the_hosts_run_has_the_same_lock(void)
{
	pid_t pid = start_l3_agent(false);
	g_autofree char *described = NULL;
	g_autoptr(GError) error = NULL;

	described = xtlock_describe(NULL, &error);
	g_assert_no_error(error);
	g_assert_cmpstr(described, ==, OWN);
	end_l3_agent(pid);
}

static bool is_one_lock(const GPtrArray *files)
{
	const struct xtlock_file *own = files->pdata[0], *other = files->pdata[1];

	return own->device == other->device && own->inode == other->inode;
}

/* own_run: the l3-agent's.  There is no lock file yet, and none is there afterwards. */
static void expect_listed(bool own_run)
{
	pid_t pid = start_l3_agent(own_run);
	g_autofree char *path = g_strdup_printf("/proc/%d/root" OWN, pid);
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) files = NULL;

	g_unlink(OWN);
	files = xtlock_list(NULL, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(files->len, ==, 2);
	g_assert_cmpstr(((struct xtlock_file *)files->pdata[0])->path, ==, OWN);
	g_assert_cmpint(((struct xtlock_file *)files->pdata[0])->pid, ==, 0);
	g_assert_cmpstr(((struct xtlock_file *)files->pdata[1])->path, ==, path);
	g_assert_cmpint(((struct xtlock_file *)files->pdata[1])->pid, ==, pid);
	g_assert_cmpint(is_one_lock(files), ==, !own_run);
	g_assert_false(g_file_test(OWN, G_FILE_TEST_EXISTS) || g_file_test(path, G_FILE_TEST_EXISTS));
	g_ptr_array_unref(files);
	close(hold(OWN));
	files = xtlock_list(NULL, &error);
	g_assert_no_error(error);
	g_assert_cmpint(is_one_lock(files), ==, !own_run);
	end_l3_agent(pid);
}

static void test_list_tells_one_lock_from_two_and_makes_none(void)
{
	expect_listed(true);
	expect_listed(false);
}

static void remove_files(void)
{
	static const char *const names[] = { "other.lock", "neutron-l3-agent" };

	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
		g_autofree char *path = g_build_filename(directory, names[i], NULL);

		g_unlink(path);
	}
	g_rmdir(directory);
	g_free(directory);
}

int main(int argc, char **argv)
{
	int status;

	g_test_init(&argc, &argv, NULL);
	g_assert_no_errno(unshare(CLONE_NEWNS));
	g_assert_no_errno(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
	g_assert_no_errno(mount("none", "/run", "tmpfs", 0, NULL));
	directory = scratch_new();
	g_test_add_func("/xtlock/taken_and_given_up", test_taken_and_given_up);
	g_test_add_func("/xtlock/waits_for_who_has_it_and_not_for_ever", test_waits_for_who_has_it_and_not_for_ever);
	g_test_add_func("/xtlock/configured", test_configured);
	g_test_add_func("/xtlock/an_l3_agent_with_a_run_of_its_own", test_an_l3_agent_with_a_run_of_its_own);
	g_test_add_func("/xtlock/an_l3_agent_with_the_hosts_run", test_an_l3_agent_with_the_hosts_run_has_the_same_lock);
	g_test_add_func("/xtlock/list", test_list_tells_one_lock_from_two_and_makes_none);
	status = g_test_run();
	remove_files();
	return status;
}

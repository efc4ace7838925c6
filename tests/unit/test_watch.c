/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What happens in other namespaces and in the netns directory is heard, whatever it is; what is nobody's business is not.
 */
#include "inventory/watch.h"
#include "kernel/netns.h"

#include <glib/gstdio.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define NAME "qrouter-3f1e9a52-7f0e-4d53-9a0c-4d5c1d3f8f6a"
#define OTHER "snat-3f1e9a52-7f0e-4d53-9a0c-4d5c1d3f8f6b"
#define PATIENCE_MS 5000

struct ground {
	char *directory;
	struct watch *watch;
	GString *told; /* "changed NAME, came NAME, ..." */
};

static void take(enum watch_event event, const char *ns, void *data)
{
	static const char *const words[] = { "changed", "came", "went", "everything" };
	struct ground *ground = data;

	g_string_append_printf(ground->told, "%s%s %s", ground->told->len ? ", " : "", words[event], ns ? ns : "");
}

/* What is told next; "" if nothing comes in timeout_ms. */
static const char *told(struct ground *ground, int timeout_ms)
{
	struct pollfd polled[WATCH_FDS];
	g_autoptr(GError) error = NULL;
	int fds[WATCH_FDS];

	watch_fds(ground->watch, fds);
	for (unsigned i = 0; i < WATCH_FDS; i++)
		polled[i] = (struct pollfd){ .fd = fds[i], .events = POLLIN };
	g_string_truncate(ground->told, 0);
	while (!ground->told->len && poll(polled, WATCH_FDS, timeout_ms) > 0) {
		watch_take(ground->watch, take, ground, &error);
		g_assert_no_error(error);
	}
	return ground->told->str;
}

static void be_silent(struct ground *ground)
{
	while (*told(ground, 20))
		;
}

static void run(int ns_fd, const char *command)
{
	g_autofree char *line = g_strdup_printf("nsenter --net=/proc/%d/fd/%d sh -c '%s'", getpid(), ns_fd, command);
	g_autoptr(GError) error = NULL;
	int status;

	g_spawn_command_line_sync(line, NULL, NULL, &status, &error);
	g_assert_no_error(error);
	g_spawn_check_wait_status(status, &error);
	g_assert_no_error(error);
}

static int new_namespace(void)
{
	g_autoptr(GError) error = NULL;
	int ns_fd = netns_new(&error);

	g_assert_no_error(error);
	return ns_fd;
}

static void follow(struct ground *ground, int ns_fd, const char *ns)
{
	g_autoptr(GError) error = NULL;

	watch_follow(ground->watch, ns_fd, ns, &error);
	g_assert_no_error(error);
}

static void set_up(struct ground *ground, const void *data)
{
	g_autoptr(GError) error = NULL;

	ground->told = g_string_new(NULL);
	ground->directory = g_dir_make_tmp("fipmeter-XXXXXX", NULL);
	ground->watch = watch_open(ground->directory, &error);
	g_assert_no_error(error);
}

static void tear_down(struct ground *ground, const void *data)
{
	watch_close(ground->watch);
	g_rmdir(ground->directory);
	g_free(ground->directory);
	g_string_free(ground->told, TRUE);
}

static void test_every_kind_of_change_is_heard(struct ground *ground, const void *data)
{
	static const char *const changes[] = {
		"ip link add qg-1 type veth peer name qg-2", "ip link set qg-1 up", "ip addr add 192.0.2.1/24 dev qg-1",
		"ip route add 203.0.113.0/24 via 192.0.2.2", "nft add table ip nat", "ip addr del 192.0.2.1/24 dev qg-1",
		"ip link del qg-1",
	};
	int ns_fd = new_namespace();

	follow(ground, ns_fd, NAME);
	be_silent(ground);
	for (unsigned i = 0; i < G_N_ELEMENTS(changes); i++) {
		run(ns_fd, changes[i]);
		g_assert_cmpstr(told(ground, PATIENCE_MS), ==, "changed " NAME);
		be_silent(ground);
	}
	close(ns_fd);
}

static void test_nobodys_business_is_not_heard(struct ground *ground, const void *data)
{
	int ns_fd = new_namespace(), another = new_namespace();

	follow(ground, ns_fd, NAME);
	watch_forget(ground->watch, NAME);
	watch_forget(ground->watch, NAME);
	be_silent(ground);
	run(ns_fd, "ip link add qg-1 type veth peer name qg-2; nft add table ip nat");
	run(another, "ip link add qg-1 type veth peer name qg-2; nft add table ip nat");
	g_assert_cmpstr(told(ground, 100), ==, "");
	close(ns_fd);
	close(another);
}

static void test_thousands_of_changes_are_one_word(struct ground *ground, const void *data)
{
	int ns_fd = new_namespace();

	follow(ground, ns_fd, NAME);
	be_silent(ground);
	run(ns_fd, "ip link add qg-1 type veth peer name qg-2; ip link set qg-1 up; for i in $(seq 250); do for j in 1 2 3 4 5 6 7 8; do "
	    "echo addr add 10.$j.$i.1/32 dev qg-1; done; done | ip -batch -");
	g_assert_cmpstr(told(ground, PATIENCE_MS), ==, "changed " NAME);
	g_assert_cmpstr(told(ground, 50), ==, "");
	close(ns_fd);
}

static void test_after_an_overflow_everything_may_have_changed(struct ground *ground, const void *data)
{
	int ns_fd = new_namespace(), size = 1, fds[WATCH_FDS];

	follow(ground, ns_fd, NAME);
	be_silent(ground);
	watch_fds(ground->watch, fds);
	for (unsigned i = 1; i < WATCH_FDS; i++)
		g_assert_no_errno(setsockopt(fds[i], SOL_SOCKET, SO_RCVBUF, &size, sizeof size));
	run(ns_fd, "ip link add qg-1 type veth peer name qg-2; ip link set qg-1 up; for i in $(seq 200); do "
	    "echo addr add 10.1.$i.1/32 dev qg-1; done | ip -batch -");
	g_assert_cmpstr(told(ground, PATIENCE_MS), ==, "everything ");
	be_silent(ground);
	run(ns_fd, "ip addr del 10.1.7.1/32 dev qg-1"); /* and it goes on */
	g_assert_true(g_str_has_prefix(told(ground, PATIENCE_MS), "changed") ||
	              g_str_has_prefix(ground->told->str, "everything"));
	close(ns_fd);
}

/* The kernel gives the number of a namespace that is gone to the next. */
static void test_a_number_that_is_used_again_means_the_new_one(struct ground *ground, const void *data)
{
	for (unsigned i = 0; i < 5; i++) {
		const char *name = i % 2 ? NAME : OTHER;
		g_autofree char *expected = g_strconcat("changed ", name, NULL);
		int ns_fd = new_namespace();

		follow(ground, ns_fd, name);
		be_silent(ground);
		run(ns_fd, "ip link add qg-1 type veth peer name qg-2");
		g_assert_cmpstr(told(ground, PATIENCE_MS), ==, expected);
		watch_forget(ground->watch, name);
		close(ns_fd);
		be_silent(ground);
	}
}

static void test_names_that_come_and_go(struct ground *ground, const void *data)
{
	g_autofree char *router = g_build_filename(ground->directory, NAME, NULL);
	g_autofree char *junk = g_build_filename(ground->directory, "qrouter-junk", NULL);

	g_assert_true(g_file_set_contents(junk, "", 0, NULL));
	g_assert_cmpstr(told(ground, 50), ==, "");
	close(g_creat(router, 0600));
	g_assert_cmpstr(told(ground, PATIENCE_MS), ==, "came " NAME);
	g_assert_no_errno(g_unlink(router));
	g_assert_cmpstr(told(ground, PATIENCE_MS), ==, "went " NAME);
	g_unlink(junk);
}

static void test_a_directory_that_goes_is_said(struct ground *ground, const void *data)
{
	g_autoptr(GError) error = NULL;

	g_assert_no_errno(g_rmdir(ground->directory));
	g_assert_false(watch_take(ground->watch, take, ground, &error));
	g_assert_error(error, G_FILE_ERROR, G_FILE_ERROR_NOENT);
	g_assert_nonnull(strstr(error->message, ground->directory));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define CASE(name) g_test_add("/watch/" #name, struct ground, NULL, set_up, test_##name, tear_down)
	CASE(every_kind_of_change_is_heard);
	CASE(nobodys_business_is_not_heard);
	CASE(thousands_of_changes_are_one_word);
	CASE(after_an_overflow_everything_may_have_changed);
	CASE(a_number_that_is_used_again_means_the_new_one);
	CASE(names_that_come_and_go);
	CASE(a_directory_that_goes_is_said);
	return g_test_run();
}

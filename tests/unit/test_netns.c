/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kernel/netns.c and kernel/netlink.c against the kernel.  What mounts or makes namespaces needs root and
 * runs in a child of its own with a mount namespace of its own.
 */
#include "kernel/netlink.h"
#include "kernel/netns.h"
#include "kernel/nftables.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <libnftnl/common.h>
#include <libnftnl/table.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../scratch.h"

static bool need_root(void)
{
	if (geteuid() == 0)
		return true;
	g_test_skip("needs root");
	return false;
}

/* Its asserts end the child, and by that the test. */
static void in_child(void (*run)(void))
{
	int status;
	pid_t child = fork();

	g_assert_cmpint(child, >=, 0);
	if (!child) {
		run();
		_exit(0);
	}
	g_assert_cmpint(waitpid(child, &status, 0), ==, child);
	g_assert_cmpint(status, ==, 0);
}

static ino_t own_inode(void)
{
	struct stat file;

	g_assert_no_errno(stat("/proc/thread-self/ns/net", &file));
	return file.st_ino;
}

static void assert_refused(const char *directory, const char *name, enum netns_error code)
{
	g_autoptr(GError) error = NULL;

	g_assert_cmpint(netns_open(directory, name, &error), ==, -1);
	g_assert_error(error, NETNS_ERROR, (int)code);
}

/* ---- opening ---- */

static void touch(const char *directory, const char *name)
{
	g_autofree char *path = g_build_filename(directory, name, NULL);

	g_assert_true(g_file_set_contents(path, "", 0, NULL));
}

static void test_open_junk(void)
{
	g_autofree char *directory = scratch_new();
	g_autofree char *link = g_build_filename(directory, "link", NULL);
	g_autofree char *inner = g_build_filename(directory, "directory", NULL);
	g_autofree char *fifo = g_build_filename(directory, "fifo", NULL);
	g_autofree char *plain = g_build_filename(directory, "plain", NULL);

	g_assert_no_errno(symlink("/proc/self/ns/net", link));
	g_assert_no_errno(mkdir(inner, 0700));
	g_assert_no_errno(mkfifo(fifo, 0600));
	touch(directory, "plain");
	assert_refused(directory, "missing", NETNS_ERROR_GONE);
	assert_refused("/nowhere", "missing", NETNS_ERROR_GONE);
	assert_refused(directory, "link", NETNS_ERROR_JUNK);
	assert_refused(directory, "directory", NETNS_ERROR_JUNK);
	assert_refused(directory, "fifo", NETNS_ERROR_JUNK);
	assert_refused(directory, "plain", NETNS_ERROR_NOT_YET);
	assert_refused(directory, ".", NETNS_ERROR_JUNK);
	assert_refused(directory, "..", NETNS_ERROR_JUNK);
	assert_refused(directory, "", NETNS_ERROR_JUNK);
	assert_refused(directory, "directory/x", NETNS_ERROR_JUNK);
	g_unlink(link);
	g_rmdir(inner);
	g_unlink(fifo);
	g_unlink(plain);
	g_rmdir(directory);
}

static void bind_file(const char *source, const char *directory, const char *name)
{
	g_autofree char *path = g_build_filename(directory, name, NULL);

	touch(directory, name);
	g_assert_no_errno(mount(source, path, NULL, MS_BIND, NULL));
}

static bool tell_inode(void *data, GError **error)
{
	*(ino_t *)data = own_inode();
	return true;
}

static bool refuse(void *data, GError **error)
{
	g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NOSPC, "no");
	return false;
}

static void namespaces(void)
{
	g_autofree char *directory = scratch_new();
	g_autofree char *source = NULL;
	g_autoptr(GError) error = NULL;
	ino_t own = own_inode(), inside = 0;
	struct stat file;
	int made, opened;

	g_assert_no_errno(unshare(CLONE_NEWNS));
	g_assert_no_errno(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
	g_assert_no_errno(mount("none", directory, "tmpfs", 0, NULL));
	made = netns_new(&error);
	g_assert_no_error(error);
	g_assert_cmpuint(own_inode(), ==, own);
	source = g_strdup_printf("/proc/self/fd/%d", made);
	bind_file(source, directory, "made");
	bind_file("/proc/self/ns/net", directory, "own");
	bind_file("/proc/self/ns/uts", directory, "uts");
	assert_refused(directory, "own", NETNS_ERROR_JUNK);
	assert_refused(directory, "uts", NETNS_ERROR_JUNK);
	opened = netns_open(directory, "made", &error);
	g_assert_no_error(error);
	g_assert_no_errno(fstat(made, &file));
	g_assert_true(netns_call(opened, tell_inode, &inside, &error));
	g_assert_cmpuint(inside, ==, file.st_ino);
	g_assert_cmpuint(own_inode(), ==, own);
	g_assert_false(netns_call(opened, refuse, NULL, &error));
	g_assert_error(error, G_FILE_ERROR, G_FILE_ERROR_NOSPC);
	g_assert_cmpuint(own_inode(), ==, own);
	g_assert_cmpint(fcntl(opened, F_GETFD), ==, FD_CLOEXEC);
	umount2(directory, MNT_DETACH);
	g_rmdir(directory);
}

static void test_namespaces(void)
{
	if (need_root())
		in_child(namespaces);
}

static void test_cannot_enter(void)
{
	int fd = open("/dev/null", O_RDONLY);
	g_autoptr(GError) error = NULL;

	g_assert_false(netns_call(fd, tell_inode, NULL, &error));
	g_assert_error(error, NETNS_ERROR, NETNS_ERROR_FAILED);
	close(fd);
}

/* ---- netlink ---- */

struct request {
	union {
		struct nlmsghdr header;
		char bytes[256];
	};
};

static struct nlmsghdr *link_request(struct request *request, uint16_t type, uint16_t flags, int device)
{
	struct nlmsghdr *header = mnl_nlmsg_put_header(request->bytes);
	struct ifinfomsg *head = mnl_nlmsg_put_extra_header(header, sizeof *head);

	header->nlmsg_type = type;
	header->nlmsg_flags = flags;
	head->ifi_index = device;
	return header;
}

static int count(const struct nlmsghdr *header, void *data)
{
	(*(unsigned *)data)++;
	return MNL_CB_OK;
}

static int give_up(const struct nlmsghdr *header, void *data)
{
	errno = ENOMEM;
	return MNL_CB_ERROR;
}

static struct netlink *open_new(int bus)
{
	g_autoptr(GError) error = NULL;
	int ns_fd = netns_new(&error);
	struct netlink *netlink = netlink_open(ns_fd, bus, &error);

	g_assert_no_error(error);
	close(ns_fd);
	return netlink;
}

static void talks(void)
{
	struct netlink *netlink = open_new(NETLINK_ROUTE);
	struct request request;
	g_autoptr(GError) error = NULL;
	unsigned n = 0;

	for (unsigned i = 0; i < 3; i++)
		g_assert_false(netlink_talk(netlink, link_request(&request, RTM_GETLINK, NLM_F_DUMP, 0),
		                            give_up, NULL, NULL));
	g_assert_true(netlink_talk(netlink, link_request(&request, RTM_GETLINK, NLM_F_DUMP, 0), count, &n,
	                           &error));
	g_assert_cmpuint(n, >=, 1);
	n = 0;
	g_assert_true(netlink_talk(netlink, link_request(&request, RTM_GETLINK, 0, 1), count, &n, &error));
	g_assert_cmpuint(n, ==, 1);
	g_assert_true(netlink_talk(netlink, link_request(&request, RTM_SETLINK, 0, 1), NULL, NULL, &error));
	g_assert_false(netlink_talk(netlink, link_request(&request, RTM_GETLINK, 0, 4711), count, &n,
	                            &error));
	g_assert_error(error, NETLINK_ERROR, NETLINK_ERROR_FAILED);
	netlink_close(netlink);
}

/* The kernel's own words (extended acknowledgement) stand in the message. */
static void refusals(void)
{
	struct netlink *netlink = open_new(NETLINK_ROUTE);
	struct request request;
	struct nlmsghdr *header = link_request(&request, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0);
	struct nlattr *info = mnl_attr_nest_start(header, IFLA_LINKINFO);
	g_autoptr(GError) error = NULL;

	mnl_attr_put_strz(header, IFLA_INFO_KIND, "no-such-kind");
	mnl_attr_nest_end(header, info);
	g_assert_false(netlink_talk(netlink, header, NULL, NULL, &error));
	g_assert_error(error, NETLINK_ERROR, NETLINK_ERROR_UNSUPPORTED);
	g_test_message("%s", error->message);
	g_assert_nonnull(strstr(error->message, "(Unknown device type)"));
	netlink_close(netlink);
}

static void test_refusal(void)
{
	if (need_root())
		in_child(refusals);
}

static void test_talk(void)
{
	if (need_root())
		in_child(talks);
}

static void put_table(GByteArray *messages, uint16_t type, uint16_t flags, const char *name, uint32_t seq)
{
	char buffer[512];
	struct nlmsghdr *header = nftnl_nlmsg_build_hdr(buffer, type, NFPROTO_IPV4, flags, seq);
	struct nftnl_table *table = nftnl_table_alloc();

	nftnl_table_set_str(table, NFTNL_TABLE_NAME, name);
	nftnl_table_nlmsg_build_payload(header, table);
	nftnl_table_free(table);
	g_byte_array_append(messages, (guint8 *)buffer, header->nlmsg_len);
}

/* A transaction of n new tables t1, t2, ...; the one that is number refused has no name that could be. */
static GByteArray *make_batch(unsigned n, unsigned refused, uint16_t flags)
{
	GByteArray *messages = g_byte_array_new();
	char buffer[512];

	g_byte_array_append(messages, (guint8 *)buffer, nftnl_batch_begin(buffer, 0)->nlmsg_len);
	for (unsigned i = 1; i <= n; i++) {
		g_autofree char *name = g_strdup_printf("t%u", i);

		if (i == refused)
			put_table(messages, NFT_MSG_DELTABLE, flags, "missing", i);
		else
			put_table(messages, NFT_MSG_NEWTABLE, (uint16_t)(flags | NLM_F_CREATE | NLM_F_EXCL),
			          name, i);
	}
	g_byte_array_append(messages, (guint8 *)buffer, nftnl_batch_end(buffer, n + 1)->nlmsg_len);
	return messages;
}

static bool send_batch(struct netlink *netlink, GByteArray *messages, unsigned acks, uint32_t *failed,
                       GError **error)
{
	bool done = netlink_send_batch(netlink, messages->data, messages->len, acks, failed, error);

	g_byte_array_unref(messages);
	return done;
}

static void batches(void)
{
	struct netlink *netlink = open_new(NETLINK_NETFILTER);
	GError *error = NULL;
	uint32_t failed = 99, before, after;
	struct nftables_table tables[2];
	bool exists;

	g_assert_true(nftables_generation(netlink, &before, &error));
	g_assert_true(send_batch(netlink, make_batch(3, 0, NLM_F_ACK), 3, &failed, &error));
	g_assert_cmpuint(failed, ==, 99);
	g_assert_true(nftables_has_table(netlink, NFPROTO_IPV4, "t3", &exists, &error) && exists);
	g_assert_true(nftables_look(netlink, NFPROTO_IPV4, "t2", &tables[0], &error));
	g_assert_true(nftables_look(netlink, NFPROTO_IPV4, "t3", &tables[1], &error));
	g_assert_true(tables[0].handle && tables[1].handle > tables[0].handle && !tables[0].dormant);
	g_assert_true(nftables_look(netlink, NFPROTO_IPV4, "none", &tables[0], &error) && !tables[0].handle);
	g_assert_true(nftables_generation(netlink, &after, &error));
	g_assert_cmpuint(after, ==, before + 1);

	/* Refused although all that was asked for was acknowledged; and what else was refused does not
	 * disturb the next. */
	g_assert_false(send_batch(netlink, make_batch(5, 4, NLM_F_ACK), 1, &failed, &error));
	g_assert_error(error, NETLINK_ERROR, NETLINK_ERROR_EXISTS);
	g_assert_cmpuint(failed, ==, 1);
	g_clear_error(&error);
	g_assert_true(nftables_has_table(netlink, NFPROTO_IPV4, "t4", &exists, &error) && !exists);
	netlink_close(netlink);

	netlink = open_new(NETLINK_NETFILTER);
	g_assert_false(send_batch(netlink, make_batch(5, 4, NLM_F_ACK), 2, &failed, &error));
	g_assert_error(error, NETLINK_ERROR, NETLINK_ERROR_MISSING);
	g_assert_cmpuint(failed, ==, 4);
	g_clear_error(&error);
	g_assert_true(nftables_has_table(netlink, NFPROTO_IPV4, "t1", &exists, &error) && !exists);
	g_assert_true(send_batch(netlink, make_batch(8000, 0, NLM_F_ACK), 8000, &failed, &error));
	g_assert_false(netlink_send_batch(netlink, "garbage of some bytes", 21, 1, &failed, &error));
	g_clear_error(&error);
	netlink_close(netlink);
}

static void test_batch(void)
{
	if (need_root())
		in_child(batches);
}

/* ---- nf_tables ---- */

static bool no_rule(const struct nftnl_rule *rule, void *data, GError **error)
{
	g_assert_not_reached();
}

static bool no_object(const struct nftnl_obj *object, void *data, GError **error)
{
	g_assert_not_reached();
}

static bool no_name(const char *name, void *data, GError **error)
{
	g_assert_not_reached();
}

static bool no_element(const struct nftnl_set_elem *element, void *data, GError **error)
{
	g_assert_not_reached();
}

static void missing_things(void)
{
	struct netlink *netlink = open_new(NETLINK_NETFILTER);
	g_autoptr(GError) error = NULL;
	uint32_t failed;

	for (unsigned i = 0; i < 2; i++) {
		g_assert_true(nftables_each_rule(netlink, NFPROTO_IPV4, "t1", no_rule, NULL, &error));
		g_assert_true(nftables_each_object(netlink, NFPROTO_IPV4, "t1", no_object, NULL, &error));
		g_assert_true(nftables_each_set(netlink, NFPROTO_IPV4, "t1", no_name, NULL, &error));
		g_assert_true(nftables_each_chain(netlink, NFPROTO_IPV4, "t1", no_name, NULL, &error));
		g_assert_false(nftables_each_element(netlink, NFPROTO_IPV4, "t1", "s", no_element, NULL,
		                                     &error));
		g_assert_error(error, NETLINK_ERROR, NETLINK_ERROR_MISSING);
		g_clear_error(&error);
		if (!i)
			g_assert_true(send_batch(netlink, make_batch(1, 0, NLM_F_ACK), 1, &failed, &error));
	}
	netlink_close(netlink);
}

static void test_missing(void)
{
	if (need_root())
		in_child(missing_things);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/netns/open/junk", test_open_junk);
	g_test_add_func("/netns/call/cannot-enter", test_cannot_enter);
	g_test_add_func("/netns/namespaces", test_namespaces);
	g_test_add_func("/netlink/talk", test_talk);
	g_test_add_func("/netlink/refusal", test_refusal);
	g_test_add_func("/netlink/batch", test_batch);
	g_test_add_func("/nftables/missing", test_missing);
	return g_test_run();
}

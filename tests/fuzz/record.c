/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * record DIRECTORY: run in a router's namespace, writes what the kernel answers there as inputs of fuzz_netlink
 * (DIRECTORY/netlink) and fuzz_xtables (DIRECTORY/xtables).  How the corpus began; tests/fuzz/README says how.
 */
#include "fuzz.h"
#include "readers.h"

#include <libiptc/libiptc.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static GByteArray *answers;

ssize_t __wrap_recvmsg(int fd, struct msghdr *message, int flags);
ssize_t __real_recvmsg(int fd, struct msghdr *message, int flags);

ssize_t __wrap_recvmsg(int fd, struct msghdr *message, int flags)
{
	ssize_t got = __real_recvmsg(fd, message, flags);

	if (got >= 0 && got < 0x8000) {
		g_byte_array_append(answers, (const uint8_t[]){ (uint8_t)got, (uint8_t)(got >> 8) }, 2);
		g_byte_array_append(answers, message->msg_iov[0].iov_base, (unsigned)got);
	}
	return got;
}

static void keep(const char *directory, const char *fuzzer, unsigned number, const void *data, size_t size)
{
	g_autofree char *path = g_strdup_printf("%s/%s/%d-%u", directory, fuzzer, (int)getpid(), number);
	g_autoptr(GError) error = NULL;

	if (!g_file_set_contents(path, data, (gssize)size, &error))
		g_error("%s", error->message);
}

static void record_table(const char *directory)
{
	struct ipt_getinfo info = { .name = "nat" };
	socklen_t length = sizeof info;
	int fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
	g_autofree struct ipt_get_entries *entries = NULL;

	if (fd < 0 || getsockopt(fd, SOL_IP, IPT_SO_GET_INFO, &info, &length) < 0)
		return;
	length = sizeof *entries + info.size;
	entries = g_malloc0(length);
	strcpy(entries->name, "nat");
	entries->size = info.size;
	if (getsockopt(fd, SOL_IP, IPT_SO_GET_ENTRIES, entries, &length) == 0)
		keep(directory, "xtables", 0, entries->entrytable, info.size);
	close(fd);
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
		return 2;
	}
	for (unsigned i = 0; i < READERS; i++) {
		answers = g_byte_array_new();
		g_byte_array_append(answers, (const uint8_t[]){ (uint8_t)i }, 1);
		readers_run(i);
		keep(argv[1], "netlink", i, answers->data, answers->len);
		g_byte_array_unref(answers);
	}
	record_table(argv[1]);
	return 0;
}

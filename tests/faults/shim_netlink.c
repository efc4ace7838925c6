/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A kernel whose netlink answers are damaged, for one process: to be preloaded (ld.so(8), LD_PRELOAD).  What the kernel
 * really answered is spoilt on its way, in structure and never in a value alone: a kernel that tells another number is
 * believed by everybody.
 *
 *	FAULT_NETLINK=KIND:SEED:ONE_IN
 * One in ONE_IN datagrams, drawn by SEED, is spoilt by KIND:
 *	interrupted  a dump says that what it dumps changed meanwhile (NLM_F_DUMP_INTR)
 *	lost         the datagram is gone, the call fails with ENOBUFS
 *	truncated    it did not fit (MSG_TRUNC), half of it is there
 *	cut          it ends in the middle of a message, and nothing says so
 *	oversized    its last message claims to be longer than the datagram
 *	length       an attribute somewhere has a length of chance
 *	type         an attribute somewhere has a type that nobody knows
 *	alien        before it comes one that is not from the kernel, with other numbers in it
 *	another      it is an answer to somebody else (another sequence number)
 *
 * Who crashes over it is told on stderr: "crashed in FILE", the innermost object that is not the C library.
 */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ALIEN_PORT 4242
#define ATTRIBUTES_MAX 4096
#define UNKNOWN_TYPE 0x1ff
#define FRAMES_MAX 32

static char kind[16];
static uint64_t state;
static unsigned one_in;

static bool is_of_interest(const char *object)
{
	return object && !strstr(object, "shim_netlink") && !strstr(object, "/libc.so") && !strstr(object, "/libc-");
}

/* The signal comes again when this returns, and then ends the process as it would have. */
static void on_crash(int number)
{
	void *frames[FRAMES_MAX];
	int n = backtrace(frames, FRAMES_MAX);
	Dl_info object;

	signal(number, SIG_DFL);
	for (int i = 0; i < n; i++) {
		if (!dladdr(frames[i], &object) || !is_of_interest(object.dli_fname))
			continue;
		dprintf(STDERR_FILENO, "crashed in %s\n", object.dli_fname);
		return;
	}
}

__attribute__((constructor)) static void begin(void)
{
	const char *wanted = getenv("FAULT_NETLINK");
	void *frame;

	backtrace(&frame, 1); /* loads what it needs: a handler must not */
	signal(SIGSEGV, on_crash);

	if (!wanted || sscanf(wanted, "%15[a-z]:%lu:%u", kind, &state, &one_in) != 3 || !one_in)
		abort();
}

/* splitmix64 */
static uint64_t draw(void)
{
	uint64_t z = (state += 0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static bool is(const char *name)
{
	return !strcmp(kind, name);
}

static bool is_netlink(int fd)
{
	int domain = 0;
	socklen_t length = sizeof domain;

	return syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 && domain == AF_NETLINK;
}

/* ---- attributes ---- */

struct found {
	struct nlattr *attributes[ATTRIBUTES_MAX];
	unsigned n;
};

/* Attributes, and those nested in them: what reads as a row of attributes from end to end is taken for one. */
static bool collect(char *at, size_t left, struct found *found)
{
	unsigned before = found->n;

	while (left >= NLA_HDRLEN) {
		struct nlattr *attribute = (struct nlattr *)at;
		size_t length = attribute->nla_len, step = NLA_ALIGN(length);

		if (length < NLA_HDRLEN || length > left || found->n == ATTRIBUTES_MAX || !(attribute->nla_type & NLA_TYPE_MASK)) {
			found->n = before;
			return false;
		}
		found->attributes[found->n++] = attribute;
		collect(at + NLA_HDRLEN, length - NLA_HDRLEN, found);
		at += step < left ? step : left;
		left -= step < left ? step : left;
	}
	return true;
}

static size_t fixed_part(int fd, const struct nlmsghdr *message)
{
	int protocol = -1;
	socklen_t length = sizeof protocol;

	syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &length);
	if (protocol == NETLINK_NETFILTER)
		return sizeof(struct nfgenmsg);
	switch (message->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		return sizeof(struct ifinfomsg);
	case RTM_NEWADDR:
	case RTM_DELADDR:
		return 8; /* struct ifaddrmsg */
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		return sizeof(struct rtmsg);
	default:
		return sizeof(struct rtgenmsg);
	}
}

static void spoil_attribute(int fd, char *data, ssize_t length)
{
	static struct found found;
	int left = (int)length;

	found.n = 0;
	for (struct nlmsghdr *message = (struct nlmsghdr *)data; NLMSG_OK(message, left); message = NLMSG_NEXT(message, left)) {
		size_t head = NLMSG_ALIGN(fixed_part(fd, message)), payload = message->nlmsg_len - NLMSG_HDRLEN;

		if (message->nlmsg_type >= NLMSG_MIN_TYPE && payload > head)
			collect((char *)NLMSG_DATA(message) + head, payload - head, &found);
	}
	if (!found.n)
		return;
	struct nlattr *victim = found.attributes[draw() % found.n];

	if (is("length"))
		victim->nla_len = (uint16_t)(draw() % 4 ? draw() % 64 : draw());
	else
		victim->nla_type = UNKNOWN_TYPE;
}

/* ---- messages ---- */

static struct nlmsghdr *last_of(char *data, ssize_t length)
{
	struct nlmsghdr *last = NULL;
	int left = (int)length;

	for (struct nlmsghdr *message = (struct nlmsghdr *)data; NLMSG_OK(message, left); message = NLMSG_NEXT(message, left))
		last = message;
	return last;
}

static void mark_all(char *data, ssize_t length)
{
	int left = (int)length;

	for (struct nlmsghdr *message = (struct nlmsghdr *)data; NLMSG_OK(message, left); message = NLMSG_NEXT(message, left))
		if (is("another"))
			message->nlmsg_seq += 1000;
		else if (message->nlmsg_flags & NLM_F_MULTI)
			message->nlmsg_flags |= NLM_F_DUMP_INTR;
}

/* A real datagram with every long attribute changed: who bills it bills much too much. */
static void forge(char *data, ssize_t length)
{
	for (ssize_t at = NLMSG_HDRLEN + 8; at + 8 <= length; at += 4)
		if (!(draw() % 4))
			data[at] = (char)draw();
}

/* What was really got and is kept for the next call. */
static char kept[64 * 1024 + 1];
static ssize_t kept_length;
static int kept_fd = -1;

static ssize_t spoil(int fd, struct msghdr *msg, ssize_t got)
{
	char *data = msg->msg_iov[0].iov_base;
	struct nlmsghdr *last = last_of(data, got);

	if (is("lost")) {
		errno = ENOBUFS;
		return -1;
	}
	if (is("truncated")) {
		msg->msg_flags |= MSG_TRUNC;
		return got / 2;
	}
	if (is("alien") && !msg->msg_control && msg->msg_namelen >= sizeof(struct sockaddr_nl) && got <= (ssize_t)sizeof kept) {
		memcpy(kept, data, (size_t)got);
		kept_length = got;
		kept_fd = fd;
		((struct sockaddr_nl *)msg->msg_name)->nl_pid = ALIEN_PORT;
		forge(data, got);
		return got;
	}
	if (is("cut") && last)
		return (char *)last - data + (ssize_t)(draw() % last->nlmsg_len);
	if (is("oversized") && last)
		last->nlmsg_len += 4 + (uint32_t)(draw() % 4096);
	else if (is("length") || is("type"))
		spoil_attribute(fd, data, got);
	else
		mark_all(data, got);
	return got;
}

/* ---- the calls ---- */

ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
	ssize_t got;

	if (kept_fd >= 0 && fd == kept_fd && msg->msg_iovlen == 1 && msg->msg_iov[0].iov_len >= (size_t)kept_length) {
		memcpy(msg->msg_iov[0].iov_base, kept, (size_t)kept_length);
		memset(msg->msg_name, 0, msg->msg_namelen);
		((struct sockaddr_nl *)msg->msg_name)->nl_family = AF_NETLINK;
		msg->msg_flags = 0;
		msg->msg_controllen = 0;
		kept_fd = -1;
		return kept_length;
	}
	got = syscall(SYS_recvmsg, fd, msg, flags);
	if (got <= 0 || msg->msg_iovlen != 1 || !is_netlink(fd) || draw() % one_in)
		return got;
	return spoil(fd, msg, got);
}

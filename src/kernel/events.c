/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel puts each event into the queue of each listener while it makes the change (net/netlink/af_netlink.c,
 * do_one_broadcast()), so what is done is in the queue.  A full queue takes nothing more until it has been read to its
 * end; the next read says ENOBUFS once, and after it comes what the queue held.  So a loss is remembered and the
 * reading goes on.
 */
#include "kernel/events.h"

#include "kernel/netlink.h"

#include <errno.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

#define BUFFER_SIZE (64 * 1024)          /* no event is longer than 32 KiB */
#define RECEIVE_BUFFER (8 * 1024 * 1024) /* of the socket; the kernel doubles it */
/* One call takes more than such a queue holds (the shortest event costs 768 bytes of it), and yet ends beside somebody
 * who makes events faster than they are taken. */
#define TAKE_MAX 65536

struct events {
	struct mnl_socket *socket;
	int bus;
	char *buffer;
};

/* What one recvmsg(2) came to. */
enum receipt { RECEIPT_MESSAGES, RECEIPT_STRANGE, RECEIPT_LOST, RECEIPT_EMPTY, RECEIPT_FAILED };

static void set_error(const struct events *events, enum events_error code, const char *what, int number, GError **error)
{
	const char *bus = events->bus == NETLINK_ROUTE ? "rtnetlink" :
	                  events->bus == NETLINK_NETFILTER ? "nfnetlink" : "netlink";

	g_set_error(error, EVENTS_ERROR, (int)code, "%s events: %s: %s", bus, what, g_strerror(number));
}

static bool fail(const struct events *events, const char *what, GError **error)
{
	set_error(events, EVENTS_ERROR_FAILED, what, errno, error);
	return false;
}

/* ---- opening ---- */

/* The groups are joined last: what is heard before the options are set would be heard of one namespace only. */
static bool prepare(const struct events *events, const unsigned *groups, unsigned n, GError **error)
{
	int on = 1, size = RECEIVE_BUFFER;

	if (mnl_socket_bind(events->socket, 0, MNL_SOCKET_AUTOPID) < 0)
		return fail(events, "cannot bind the socket", error);
	if (mnl_socket_setsockopt(events->socket, NETLINK_LISTEN_ALL_NSID, &on, sizeof on) < 0)
		return fail(events, "cannot listen to other namespaces (it takes CAP_NET_BROADCAST)", error);
	if (setsockopt(events_fd(events), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0)
		return fail(events, "cannot enlarge the receive buffer (it takes CAP_NET_ADMIN)", error);
	for (unsigned i = 0; i < n; i++)
		if (mnl_socket_setsockopt(events->socket, NETLINK_ADD_MEMBERSHIP, (void *)&groups[i],
		                          sizeof groups[i]) < 0) {
			g_autofree char *what = g_strdup_printf("cannot join group %u", groups[i]);

			return fail(events, what, error);
		}
	return true;
}

struct events *events_open(int bus, const unsigned *groups, unsigned n, GError **error)
{
	struct events *events = g_new0(struct events, 1);

	events->bus = bus;
	events->socket = mnl_socket_open2(bus, SOCK_CLOEXEC);
	if (events->socket ? prepare(events, groups, n, error) : fail(events, "cannot open a socket", error)) {
		events->buffer = g_malloc(BUFFER_SIZE);
		return events;
	}
	events_close(events);
	return NULL;
}

void events_close(struct events *events)
{
	if (!events)
		return;
	if (events->socket)
		mnl_socket_close(events->socket);
	g_free(events->buffer);
	g_free(events);
}

int events_fd(const struct events *events)
{
	return mnl_socket_get_fd(events->socket);
}

/* ---- taking ---- */

static int nsid_of(struct msghdr *datagram)
{
	int nsid = -1;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(datagram); c; c = CMSG_NXTHDR(datagram, c))
		if (c->cmsg_level == SOL_NETLINK && c->cmsg_type == NETLINK_LISTEN_ALL_NSID &&
		    c->cmsg_len >= CMSG_LEN(sizeof nsid))
			memcpy(&nsid, CMSG_DATA(c), sizeof nsid);
	return nsid;
}

/* Whoever may administer the network can send to a group, too: only the kernel (port 0) is believed. */
static enum receipt receive(const struct events *events, int *length, int *nsid)
{
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(__alignof__(struct cmsghdr))));
	struct sockaddr_nl from = { 0 };
	struct iovec iov = { .iov_base = events->buffer, .iov_len = BUFFER_SIZE };
	struct msghdr datagram = { .msg_name = &from, .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t got;

	do {
		datagram.msg_namelen = sizeof from;
		datagram.msg_control = control;
		datagram.msg_controllen = sizeof control;
		got = recvmsg(events_fd(events), &datagram, MSG_DONTWAIT);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return errno == EAGAIN ? RECEIPT_EMPTY : errno == ENOBUFS ? RECEIPT_LOST : RECEIPT_FAILED;
	if (from.nl_pid != 0)
		return RECEIPT_STRANGE;
	if (datagram.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
		return RECEIPT_LOST;
	*length = (int)got;
	*nsid = nsid_of(&datagram);
	return RECEIPT_MESSAGES;
}

/* False if the datagram does not consist of messages from end to end. */
static bool hand_over(const struct events *events, int length, int nsid, events_call call, void *data)
{
	const struct nlmsghdr *message = (const struct nlmsghdr *)events->buffer;

	for (; netlink_message_fits(message, length); message = mnl_nlmsg_next(message, &length))
		call(message, nsid, data);
	return length <= 0;
}

bool events_take(struct events *events, events_call call, void *data, GError **error)
{
	enum receipt receipt = RECEIPT_STRANGE;
	int length = 0, nsid = -1;
	bool lost = false;

	for (unsigned i = 0; i < TAKE_MAX && receipt != RECEIPT_EMPTY; i++) {
		receipt = receive(events, &length, &nsid);
		if (receipt == RECEIPT_FAILED)
			return fail(events, "cannot receive", error);
		if (receipt == RECEIPT_LOST ||
		    (receipt == RECEIPT_MESSAGES && !hand_over(events, length, nsid, call, data)))
			lost = true;
	}
	if (lost)
		set_error(events, EVENTS_ERROR_LOST, "some were lost", ENOBUFS, error);
	return !lost;
}

/* ---- nsids ---- */

struct request {
	union {
		struct nlmsghdr header;
		char bytes[128];
	};
};

static struct nlmsghdr *nsid_request(struct request *request, uint16_t type, int ns_fd)
{
	struct nlmsghdr *header = mnl_nlmsg_put_header(request->bytes);
	struct rtgenmsg *head = mnl_nlmsg_put_extra_header(header, sizeof *head);

	header->nlmsg_type = type;
	head->rtgen_family = AF_UNSPEC;
	mnl_attr_put_u32(header, NETNSA_FD, (uint32_t)ns_fd);
	return header;
}

static int take_nsid(const struct nlmsghdr *header, void *data)
{
	const struct nlattr *attr;

	mnl_attr_for_each(attr, header, sizeof(struct rtgenmsg))
		if (mnl_attr_get_type(attr) == NETNSA_NSID && mnl_attr_validate(attr, MNL_TYPE_U32) == 0)
			*(int *)data = (int)mnl_attr_get_u32(attr);
	return MNL_CB_OK;
}

/* Gives it one of the kernel's choice.  Somebody else may have done so, and may do so at any time: a veth(4) into the
 * namespace is enough. */
static bool assign(struct netlink *netlink, int ns_fd, GError **error)
{
	struct request request;
	struct nlmsghdr *header = nsid_request(&request, RTM_NEWNSID, ns_fd);
	GError *refusal = NULL;

	mnl_attr_put_u32(header, NETNSA_NSID, (uint32_t)NETNSA_NSID_NOT_ASSIGNED);
	if (netlink_talk(netlink, header, NULL, NULL, &refusal))
		return true;
	if (g_error_matches(refusal, NETLINK_ERROR, NETLINK_ERROR_EXISTS)) {
		g_error_free(refusal);
		return true;
	}
	g_propagate_prefixed_error(error, refusal, "cannot give the namespace an nsid: ");
	return false;
}

static int ask(struct netlink *netlink, int ns_fd, GError **error)
{
	struct request request;
	int nsid = NETNSA_NSID_NOT_ASSIGNED;

	if (!netlink_talk(netlink, nsid_request(&request, RTM_GETNSID, ns_fd), take_nsid, &nsid, error)) {
		g_prefix_error(error, "cannot ask for the nsid of the namespace: ");
		return -1;
	}
	if (nsid < 0)
		g_set_error(error, EVENTS_ERROR, EVENTS_ERROR_FAILED,
		            "the kernel gave the namespace an nsid, and does not tell it");
	return nsid;
}

int events_nsid(int ns_fd, GError **error)
{
	struct netlink *netlink = netlink_open(-1, NETLINK_ROUTE, error);
	int nsid = netlink && assign(netlink, ns_fd, error) ? ask(netlink, ns_fd, error) : -1;

	netlink_close(netlink);
	return nsid;
}

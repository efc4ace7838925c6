/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel works on a request inside sendmsg(2) and has then queued all its answers (a dump goes on with
 * each recvmsg(2)); see net/netlink/af_netlink.c.  So what is still in the queue when a new request starts
 * belongs to one that was given up, and is thrown away; after that every answer must be to the request at
 * hand, or it is an error.  libmnl builds and walks messages; its callback runner is not used: it loses the
 * error that a dump can end with, and the text of extended acknowledgements.
 */
#include "kernel/netlink.h"

#include "kernel/netns.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#define BUFFER_SIZE (64 * 1024) /* the kernel fills at most 32 KiB of a dump into one message */
#define BATCH_MAX (256 * 1024 * 1024)
#define TIMEOUT_S 5
#define ACK_COST 1024 /* what one acknowledgement takes of the receive buffer, rounded up */

struct netlink {
	struct mnl_socket *socket;
	int bus;
	uint32_t portid, seq;
	int refusal; /* errno of the last one */
};

/* What is waited for, and what came of it. */
struct wait {
	uint32_t first, last; /* sequence numbers of what was sent */
	mnl_cb_t call;        /* may be NULL */
	void *data;
	unsigned acks, wanted;
	bool batch, interrupted, overrun;
	uint32_t failed_seq;
	char *buffer; /* BUFFER_SIZE; on the stack, as one for each of thousands of sockets would fill the memory and the caches */
};

enum step { STEP_MORE, STEP_DONE, STEP_FAILED };

static const char *bus_name(int bus)
{
	return bus == NETLINK_ROUTE ? "rtnetlink" : bus == NETLINK_NETFILTER ? "nfnetlink" : "netlink";
}

static enum netlink_error error_of(int number)
{
	switch (number) {
	case EEXIST:
		return NETLINK_ERROR_EXISTS;
	case ENOENT:
	case ESRCH:
		return NETLINK_ERROR_MISSING;
	case EBUSY:
	case EAGAIN:
		return NETLINK_ERROR_BUSY;
	case EOPNOTSUPP:
	case EPROTONOSUPPORT:
	case EAFNOSUPPORT:
		return NETLINK_ERROR_UNSUPPORTED;
	case EINVAL:
		return NETLINK_ERROR_INVALID;
	default:
		return NETLINK_ERROR_FAILED;
	}
}

/* text: the kernel's own words (extended acknowledgement), or NULL. */
static void set_refusal(const struct netlink *netlink, int number, const char *text, GError **error)
{
	g_autofree char *shown = text ? g_strescape(text, NULL) : NULL;

	g_set_error(error, NETLINK_ERROR, error_of(number), "%s: %s%s%s%s", bus_name(netlink->bus),
	            g_strerror(number), shown ? " (" : "", shown ? shown : "", shown ? ")" : "");
}

/* Without the numbers' meaning: it is this side that failed. */
static enum step fail(const struct netlink *netlink, GError **error, const char *what, int number)
{
	g_set_error(error, NETLINK_ERROR, NETLINK_ERROR_FAILED, "%s: %s%s%s", bus_name(netlink->bus), what,
	            number ? ": " : "", number ? g_strerror(number) : "");
	return STEP_FAILED;
}

/* ---- opening ---- */

struct opening {
	int bus;
	struct mnl_socket *socket;
};

static bool open_socket(void *data, GError **error)
{
	struct opening *opening = data;

	opening->socket = mnl_socket_open2(opening->bus, SOCK_CLOEXEC);
	if (!opening->socket)
		g_set_error(error, NETLINK_ERROR, error_of(errno), "cannot open a %s socket: %s",
		            bus_name(opening->bus), g_strerror(errno));
	return opening->socket;
}

/* A refusal should not come with the whole request, and should say why: NETLINK_CAP_ACK is of Linux 4.3,
 * NETLINK_EXT_ACK of 4.12; both are a comfort only. */
static bool prepare_socket(struct mnl_socket *socket, GError **error)
{
	struct timeval timeout = { .tv_sec = TIMEOUT_S };
	int on = 1;

	mnl_socket_setsockopt(socket, NETLINK_CAP_ACK, &on, sizeof on);
	mnl_socket_setsockopt(socket, NETLINK_EXT_ACK, &on, sizeof on);
	if (setsockopt(mnl_socket_get_fd(socket), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) == 0 &&
	    mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) == 0)
		return true;
	g_set_error(error, NETLINK_ERROR, NETLINK_ERROR_FAILED, "cannot set up a netlink socket: %s",
	            g_strerror(errno));
	return false;
}

struct netlink *netlink_open(int ns_fd, int bus, GError **error)
{
	struct opening opening = { .bus = bus };
	struct netlink *netlink;

	if (!(ns_fd < 0 ? open_socket(&opening, error) : netns_call(ns_fd, open_socket, &opening, error)))
		return NULL;
	if (!prepare_socket(opening.socket, error)) {
		mnl_socket_close(opening.socket);
		return NULL;
	}
	netlink = g_new0(struct netlink, 1);
	netlink->socket = opening.socket;
	netlink->bus = bus;
	netlink->portid = mnl_socket_get_portid(opening.socket);
	return netlink;
}

void netlink_close(struct netlink *netlink)
{
	if (!netlink)
		return;
	mnl_socket_close(netlink->socket);
	g_free(netlink);
}

/* ---- sending ---- */

/* What is longer than the buffer is thrown away with it. */
static void drain(struct netlink *netlink)
{
	char first;
	ssize_t got;

	do
		got = recv(mnl_socket_get_fd(netlink->socket), &first, sizeof first, MSG_DONTWAIT);
	while (got >= 0 || errno == EINTR || errno == ENOBUFS);
}

bool netlink_ns_cookie(struct netlink *netlink, uint64_t *cookie, GError **error)
{
	socklen_t length = sizeof *cookie;

	if (getsockopt(mnl_socket_get_fd(netlink->socket), SOL_SOCKET, SO_NETNS_COOKIE, cookie, &length) == 0)
		return true;
	g_set_error(error, NETLINK_ERROR, NETLINK_ERROR_UNSUPPORTED, "cannot tell a network namespace from others: %s "
	            "(it takes kernel 5.14)", g_strerror(errno));
	return false;
}

static bool send_all(struct netlink *netlink, const void *messages, size_t length, GError **error)
{
	ssize_t sent;

	drain(netlink);
	do
		sent = mnl_socket_sendto(netlink->socket, messages, length);
	while (sent < 0 && errno == EINTR);
	if (sent == (ssize_t)length)
		return true;
	fail(netlink, error, "cannot send", sent < 0 ? errno : EMSGSIZE);
	return false;
}

/* Lets a buffer of the socket hold at least size bytes, by force where that is allowed. */
static void widen(struct netlink *netlink, int option, int force, size_t size)
{
	int fd = mnl_socket_get_fd(netlink->socket), has = 0, want = (int)MIN(size, (size_t)INT_MAX / 2);
	socklen_t length = sizeof has;

	if (getsockopt(fd, SOL_SOCKET, option, &has, &length) == 0 && has >= want)
		return;
	if (setsockopt(fd, SOL_SOCKET, force, &want, sizeof want) < 0)
		setsockopt(fd, SOL_SOCKET, option, &want, sizeof want);
}

/* ---- answers ---- */

/* The kernel's words behind an error or the end of a dump; NULL if there are none. */
static const char *extended_text(const struct nlmsghdr *header, size_t offset)
{
	const struct nlattr *attr;

	if (!(header->nlmsg_flags & NLM_F_ACK_TLVS) || mnl_nlmsg_get_payload_len(header) < offset)
		return NULL;
	mnl_attr_for_each(attr, header, offset)
		if (mnl_attr_get_type(attr) == NLMSGERR_ATTR_MSG &&
		    mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) == 0)
			return mnl_attr_get_str(attr);
	return NULL;
}

/* An error number without its sign.  The lowest of all has no counterpart. */
static int unsigned_number(int number)
{
	return number == INT_MIN ? INT_MAX : abs(number);
}

/* NLMSG_ERROR: an acknowledgement if its number is 0. */
static enum step take_error(struct netlink *netlink, const struct nlmsghdr *header, struct wait *wait,
                            GError **error)
{
	const struct nlmsgerr *refusal = mnl_nlmsg_get_payload(header);
	size_t offset = MNL_ALIGN(sizeof *refusal);

	if (mnl_nlmsg_get_payload_len(header) < sizeof *refusal)
		return fail(netlink, error, "an answer that is cut short", 0);
	if (!refusal->error) {
		wait->acks++;
		return wait->batch ? STEP_MORE : STEP_DONE;
	}
	if (!(header->nlmsg_flags & NLM_F_CAPPED) && refusal->msg.nlmsg_len > MNL_NLMSG_HDRLEN)
		offset += MNL_ALIGN(refusal->msg.nlmsg_len - MNL_NLMSG_HDRLEN);
	wait->failed_seq = header->nlmsg_seq;
	netlink->refusal = unsigned_number(refusal->error);
	set_refusal(netlink, netlink->refusal, extended_text(header, offset), error);
	return STEP_FAILED;
}

/* NLMSG_DONE: the end of a dump, with an error number or 0. */
static enum step take_end(struct netlink *netlink, const struct nlmsghdr *header, struct wait *wait,
                          GError **error)
{
	int number = 0;

	if (mnl_nlmsg_get_payload_len(header) >= sizeof number)
		memcpy(&number, mnl_nlmsg_get_payload(header), sizeof number);
	if (number < 0) {
		set_refusal(netlink, unsigned_number(number), extended_text(header, MNL_ALIGN(sizeof number)), error);
		return STEP_FAILED;
	}
	if (wait->interrupted) {
		g_set_error(error, NETLINK_ERROR, NETLINK_ERROR_INTERRUPTED,
		            "%s: what is there changed while it was read", bus_name(netlink->bus));
		return STEP_FAILED;
	}
	return STEP_DONE;
}

static enum step take_message(struct netlink *netlink, const struct nlmsghdr *header, struct wait *wait,
                              GError **error)
{
	if (header->nlmsg_pid != netlink->portid ||
	    header->nlmsg_seq - wait->first > wait->last - wait->first)
		return fail(netlink, error, "an answer to another request", 0);
	if (header->nlmsg_flags & NLM_F_DUMP_INTR)
		wait->interrupted = true;
	switch (header->nlmsg_type) {
	case NLMSG_NOOP:
		return STEP_MORE;
	case NLMSG_ERROR:
		return take_error(netlink, header, wait, error);
	case NLMSG_DONE:
		return take_end(netlink, header, wait, error);
	case NLMSG_OVERRUN:
		return fail(netlink, error, "answers were lost", 0);
	}
	if (wait->call && !wait->interrupted && wait->call(header, wait->data) < MNL_CB_STOP)
		return fail(netlink, error, "cannot take an answer", errno);
	return STEP_MORE;
}

/* Receives one datagram, from the kernel and whole.  Returns its length; -1 with *number set on failure. */
static ssize_t receive(struct netlink *netlink, char *buffer, int flags, int *number)
{
	struct sockaddr_nl from = { 0 };
	struct iovec iov = { .iov_base = buffer, .iov_len = BUFFER_SIZE };
	struct msghdr msg = { .msg_name = &from, .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t got;

	do {
		msg.msg_namelen = sizeof from;
		got = recvmsg(mnl_socket_get_fd(netlink->socket), &msg, flags);
	} while ((got < 0 && errno == EINTR) || (got >= 0 && from.nl_pid != 0));
	*number = got < 0 ? errno : 0;
	if (got >= 0 && (msg.msg_flags & MSG_TRUNC)) {
		*number = EMSGSIZE;
		return -1;
	}
	return got;
}

bool netlink_message_fits(const struct nlmsghdr *header, int left)
{
	return left >= (int)sizeof *header && header->nlmsg_len >= sizeof *header && header->nlmsg_len <= (unsigned)left;
}

static enum step take_datagram(struct netlink *netlink, ssize_t length, struct wait *wait, GError **error)
{
	const struct nlmsghdr *header = (const struct nlmsghdr *)wait->buffer;
	enum step step = STEP_MORE;
	int left = (int)length;

	for (; step == STEP_MORE && netlink_message_fits(header, left); header = mnl_nlmsg_next(header, &left))
		step = take_message(netlink, header, wait, error);
	if (step == STEP_MORE && left > 0) /* the padding of the last one may be left out */
		return fail(netlink, error, "an answer that is cut short", 0);
	return step;
}

/* A batch may be refused by any of its messages, asked or not: all that the queue holds is looked at. */
static bool may_be_all(const struct wait *wait)
{
	return wait->batch && (wait->overrun || wait->acks >= wait->wanted);
}

static enum step take_failure(struct netlink *netlink, int number, struct wait *wait, GError **error)
{
	if (number == ENOBUFS && wait->batch && !wait->overrun) {
		wait->overrun = true; /* the queue keeps what came first, so a refusal is in it */
		return STEP_MORE;
	}
	if (number != EAGAIN)
		return fail(netlink, error, "cannot receive", number);
	if (!may_be_all(wait))
		return fail(netlink, error, "the kernel did not answer in time", 0);
	if (wait->overrun)
		return fail(netlink, error, "more answers than the receive buffer holds", 0);
	return STEP_DONE;
}

/* Takes answers until the last one that is wanted. */
static bool wait_for(struct netlink *netlink, struct wait *wait, GError **error)
{
	enum step step = STEP_MORE;

	while (step == STEP_MORE) {
		int number;
		ssize_t got = receive(netlink, wait->buffer, may_be_all(wait) ? MSG_DONTWAIT : 0, &number);

		step = got >= 0 ? take_datagram(netlink, got, wait, error) :
		                  take_failure(netlink, number, wait, error);
	}
	return step == STEP_DONE;
}

bool netlink_talk(struct netlink *netlink, struct nlmsghdr *request, mnl_cb_t call, void *data,
                  GError **error)
{
	_Alignas(struct nlmsghdr) char buffer[BUFFER_SIZE];
	struct wait wait = { .call = call, .data = data, .buffer = buffer };

	/* An acknowledgement ends every answer but a dump's, which has an end of its own and takes no
	 * notice. */
	request->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	request->nlmsg_seq = wait.first = wait.last = ++netlink->seq;
	request->nlmsg_pid = 0;
	return send_all(netlink, request, request->nlmsg_len, error) && wait_for(netlink, &wait, error);
}

/* Sequence numbers of the first and the last message; false if they are not messages from end to end. */
static bool batch_span(const void *messages, size_t length, struct wait *wait)
{
	const struct nlmsghdr *header = messages;
	int left = (int)length;

	if (length > BATCH_MAX || !netlink_message_fits(header, left))
		return false;
	wait->first = header->nlmsg_seq;
	for (; netlink_message_fits(header, left); header = mnl_nlmsg_next(header, &left))
		wait->last = header->nlmsg_seq;
	return left <= 0; /* the last one need not be padded */
}

bool netlink_send_batch(struct netlink *netlink, const void *messages, size_t length, unsigned acks,
                        uint32_t *failed_seq, GError **error)
{
	_Alignas(struct nlmsghdr) char buffer[BUFFER_SIZE];
	struct wait wait = { .batch = true, .wanted = acks, .buffer = buffer };
	bool done;

	if (!batch_span(messages, length, &wait)) {
		fail(netlink, error, "a batch that is too long or no row of messages", 0);
		return false;
	}
	widen(netlink, SO_SNDBUF, SO_SNDBUFFORCE, length + 4096);
	widen(netlink, SO_RCVBUF, SO_RCVBUFFORCE, (size_t)acks * ACK_COST);
	done = send_all(netlink, messages, length, error) && wait_for(netlink, &wait, error);
	if (!done)
		*failed_seq = wait.failed_seq;
	return done;
}

int netlink_refusal(const struct netlink *netlink)
{
	return netlink->refusal;
}

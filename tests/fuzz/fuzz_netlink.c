/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What comes out of a netlink socket: the kernel's answers and events, cut short, doubled, out of order and with wrong
 * lengths, through all of the code between recvmsg(2) and what the readers hand over.
 *
 * The first byte says which reader; then datagrams follow, each with two bytes of length.  The highest bit of the length
 * leaves the headers as they are; without it they get the number of the request at hand, as an answer would have.
 * The calls at the edge are replaced at link time (ld(1), --wrap).
 *
 * Answers of nf_tables are not among them: libnftnl parses those, and it believes the kernel (an attribute that is missing
 * or of another kind ends the process).  What it has parsed is fuzz_rules'.
 */
#include "fuzz.h"
#include "readers.h"

#include "kernel/netlink.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <string.h>
#include <sys/socket.h>

#define PORT 4711u
#define AS_IT_IS 0x8000u

static struct {
	const uint8_t *at;
	size_t left;
	uint32_t seq;
} input;

ssize_t __wrap_mnl_socket_sendto(const struct mnl_socket *socket, const void *request, size_t length);
unsigned __wrap_mnl_socket_get_portid(const struct mnl_socket *socket);
ssize_t __wrap_recv(int fd, void *buffer, size_t length, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *message, int flags);

ssize_t __wrap_mnl_socket_sendto(const struct mnl_socket *socket, const void *request, size_t length)
{
	input.seq = ((const struct nlmsghdr *)request)->nlmsg_seq;
	return (ssize_t)length;
}

unsigned __wrap_mnl_socket_get_portid(const struct mnl_socket *socket)
{
	return PORT;
}

/* There is nothing left of an earlier request. */
ssize_t __wrap_recv(int fd, void *buffer, size_t length, int flags)
{
	errno = EAGAIN;
	return -1;
}

static void address_headers(void *datagram, int left)
{
	struct nlmsghdr *header = datagram;

	for (; netlink_message_fits(header, left); header = mnl_nlmsg_next(header, &left)) {
		header->nlmsg_seq = input.seq;
		header->nlmsg_pid = PORT;
	}
}

ssize_t __wrap_recvmsg(int fd, struct msghdr *message, int flags)
{
	size_t length, room = message->msg_iov[0].iov_len;
	unsigned head;

	if (input.left < 2) {
		errno = EAGAIN;
		return -1;
	}
	head = input.at[0] | (unsigned)input.at[1] << 8;
	length = MIN(head & ~AS_IT_IS, input.left - 2);
	memcpy(message->msg_iov[0].iov_base, input.at + 2, MIN(length, room));
	input.at += 2 + length;
	input.left -= 2 + length;
	message->msg_flags = length > room ? MSG_TRUNC : 0;
	message->msg_controllen = 0;
	memset(message->msg_name, 0, message->msg_namelen);
	if (!(head & AS_IT_IS))
		address_headers(message->msg_iov[0].iov_base, (int)MIN(length, room));
	return (ssize_t)MIN(length, room);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	input.at = data + 1;
	input.left = size - 1;
	readers_run(data[0] % READERS);
	return 0;
}

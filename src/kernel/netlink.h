/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One netlink socket in one namespace, over libmnl.  Requests are built by the callers (rtnetlink(7), and nf_tables
 * by libnftnl); here they are sent, and answered or refused.
 */
#ifndef FIPMETER_KERNEL_NETLINK_H
#define FIPMETER_KERNEL_NETLINK_H

#include <glib.h>
#include <libmnl/libmnl.h>
#include <stdbool.h>
#include <stdint.h>

#define NETLINK_ERROR (g_quark_from_static_string("fipmeter-netlink"))
enum netlink_error {
	NETLINK_ERROR_FAILED,
	NETLINK_ERROR_INTERRUPTED, /* NLM_F_DUMP_INTR: what was dumped changed meanwhile; it is no reading, again */
	NETLINK_ERROR_EXISTS,      /* EEXIST */
	NETLINK_ERROR_MISSING,     /* ENOENT, ESRCH */
	NETLINK_ERROR_BUSY,        /* EBUSY, EAGAIN */
	NETLINK_ERROR_UNSUPPORTED, /* EOPNOTSUPP, EPROTONOSUPPORT, EAFNOSUPPORT: the kernel lacks it */
	NETLINK_ERROR_INVALID,     /* EINVAL; nfnetlink says that, too, where the kernel lacks a whole subsystem */
};

struct netlink;

/* Opens a socket of bus (NETLINK_ROUTE, NETLINK_NETFILTER) inside the namespace; it keeps the namespace alive until
 * netlink_close().  ns_fd -1: the process's own namespace. */
struct netlink *netlink_open(int ns_fd, int bus, GError **error);
void netlink_close(struct netlink *netlink); /* takes NULL */

/* The cookie of the socket's namespace, which no other one has or had since the boot (SO_NETNS_COOKIE, kernel 5.14 and
 * later). */
bool netlink_ns_cookie(struct netlink *netlink, uint64_t *cookie, GError **error);

/* Sends one request (its sequence number is set here) and hands each answer to call, which returns MNL_CB_OK, or
 * MNL_CB_ERROR with errno set.  Dumps run to their end.  call NULL: only the acknowledgement counts. */
bool netlink_talk(struct netlink *netlink, struct nlmsghdr *request, mnl_cb_t call, void *data, GError **error);

/* Sends messages that were built one behind the other (an nf_tables transaction: nfnetlink, begin and end of batch
 * included; those with NLM_F_ACK are acknowledged) and waits until acks of them are answered.  The first refusal is
 * the error; *failed_seq is then the sequence number of the message that was refused, 0 if not known. */
bool netlink_send_batch(struct netlink *netlink, const void *messages, size_t length, unsigned acks,
                        uint32_t *failed_seq, GError **error);

/* Is there a whole message at header, with left bytes to the end of the datagram?  What mnl_nlmsg_ok() is for, but that
 * takes a length of 2 GiB and more for a negative one. */
bool netlink_message_fits(const struct nlmsghdr *header, int left);

/* The error number of the kernel's last refusal; some subsystems have numbers of their own, from 4096 on. */
int netlink_refusal(const struct netlink *netlink);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A kernel and a device that offload, for one process: to be preloaded (ld.so(8), LD_PRELOAD).  What asks for it is answered
 * by the kernel at hand, and to that is added what one with CONFIG_NF_FLOW_TABLE and such a device would say:
 *
 *	each namespace has the flow table `inet fast quick`; in the chain `inet fast onward`, where that is there, stands a
 *	rule that adds connections to it;
 *	each device whose name begins with FAULT_OFFLOAD has hw-tc-offload on.
 */
#include <libmnl/libmnl.h>
#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/flowtable.h>
#include <libnftnl/rule.h>
#include <linux/ethtool.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TABLE "fast"
#define CHAIN "onward"
#define FLOWTABLE "quick"
#define FEATURE "hw-tc-offload"
#define MESSAGE(number) (NFNL_SUBSYS_NFTABLES << 8 | (number))

/* ---- nf_tables ---- */

static int asked_fd = -1, asked; /* the request that is to get more than its answer */

static void put_flowtable(struct nlmsghdr *header)
{
	static const char *devices[] = { "lo", NULL };
	struct nftnl_flowtable *flowtable = nftnl_flowtable_alloc();

	nftnl_flowtable_set_str(flowtable, NFTNL_FLOWTABLE_TABLE, TABLE);
	nftnl_flowtable_set_str(flowtable, NFTNL_FLOWTABLE_NAME, FLOWTABLE);
	nftnl_flowtable_set_u32(flowtable, NFTNL_FLOWTABLE_HOOKNUM, 0);
	nftnl_flowtable_set_u32(flowtable, NFTNL_FLOWTABLE_PRIO, 0);
	nftnl_flowtable_set_data(flowtable, NFTNL_FLOWTABLE_DEVICES, devices, 0);
	nftnl_flowtable_nlmsg_build_payload(header, flowtable);
	nftnl_flowtable_free(flowtable);
}

static void put_rule(struct nlmsghdr *header)
{
	struct nftnl_rule *rule = nftnl_rule_alloc();
	struct nftnl_expr *add = nftnl_expr_alloc("flow_offload");

	nftnl_rule_set_str(rule, NFTNL_RULE_TABLE, TABLE);
	nftnl_rule_set_str(rule, NFTNL_RULE_CHAIN, CHAIN);
	nftnl_expr_set_str(add, NFTNL_EXPR_FLOW_TABLE_NAME, FLOWTABLE);
	nftnl_rule_add_expr(rule, add);
	nftnl_rule_nlmsg_build_payload(header, rule);
	nftnl_rule_free(rule);
}

ssize_t sendto(int fd, const void *message, size_t length, int flags, const struct sockaddr *to, socklen_t to_length)
{
	const struct nlmsghdr *header = message;

	if (length >= sizeof *header && (header->nlmsg_type == MESSAGE(NFT_MSG_GETFLOWTABLE) ||
	    (header->nlmsg_type == MESSAGE(NFT_MSG_GETRULE) && memmem(message, length, TABLE, sizeof TABLE)))) {
		asked_fd = fd;
		asked = header->nlmsg_type;
	}
	return syscall(SYS_sendto, fd, message, length, flags, to, to_length);
}

ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
	ssize_t got = syscall(SYS_recvmsg, fd, msg, flags);
	char more[1024], *data = msg->msg_iov[0].iov_base;
	const struct nlmsghdr *first = (const void *)data;
	struct nlmsghdr *header;

	if (fd != asked_fd || got < (ssize_t)sizeof *first || first->nlmsg_type == NLMSG_ERROR)
		return got;
	asked_fd = -1;
	header = nftnl_nlmsg_build_hdr(more, asked == MESSAGE(NFT_MSG_GETRULE) ? NFT_MSG_NEWRULE : NFT_MSG_NEWFLOWTABLE,
	                               NFPROTO_INET, NLM_F_MULTI, first->nlmsg_seq);
	header->nlmsg_pid = first->nlmsg_pid;
	if (asked == MESSAGE(NFT_MSG_GETRULE))
		put_rule(header);
	else
		put_flowtable(header);
	if (msg->msg_iov[0].iov_len < (size_t)got + header->nlmsg_len)
		abort();
	memmove(data + header->nlmsg_len, data, (size_t)got);
	memcpy(data, more, header->nlmsg_len);
	return got + header->nlmsg_len;
}

/* ---- ethtool ---- */

static unsigned number = UINT32_MAX; /* of the feature, as the names have told it */

static void find_feature(const struct ethtool_gstrings *names)
{
	for (unsigned i = 0; i < names->len; i++)
		if (!strncmp((const char *)names->data + i * ETH_GSTRING_LEN, FEATURE, ETH_GSTRING_LEN))
			number = i;
}

int ioctl(int fd, unsigned long request, ...)
{
	const char *devices = getenv("FAULT_OFFLOAD");
	struct ifreq *asked_of;
	va_list arguments;
	void *argument;
	int result;

	va_start(arguments, request);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	result = (int)syscall(SYS_ioctl, fd, request, argument);
	if (request != SIOCETHTOOL || result < 0)
		return result;
	asked_of = argument;
	if (*(uint32_t *)asked_of->ifr_data == ETHTOOL_GSTRINGS)
		find_feature((const void *)asked_of->ifr_data);
	else if (*(uint32_t *)asked_of->ifr_data == ETHTOOL_GFEATURES && number != UINT32_MAX && devices &&
	         !strncmp(asked_of->ifr_name, devices, strlen(devices)))
		((struct ethtool_gfeatures *)asked_of->ifr_data)->features[number / 32].active |= 1U << number % 32;
	return result;
}

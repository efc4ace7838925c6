/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See qdisc.h.
 */
#include "kernel/qdisc.h"

#include <linux/gen_stats.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <string.h>

/* Asks for a dump; a kernel without it has nothing to tell. */
static bool dump(struct netlink *netlink, uint16_t type, const struct tcmsg *of, mnl_cb_t call, void *data,
                 GError **error)
{
	char buffer[64] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);
	g_autoptr(GError) reason = NULL;

	header->nlmsg_type = type;
	header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	memcpy(mnl_nlmsg_put_extra_header(header, sizeof *of), of, sizeof *of);
	if (netlink_talk(netlink, header, call, data, &reason) ||
	    g_error_matches(reason, NETLINK_ERROR, NETLINK_ERROR_UNSUPPORTED))
		return true;
	g_propagate_error(error, g_steal_pointer(&reason));
	return false;
}

/* TCA_STATS2 of rtnetlink.h. */
static uint32_t drops_of(const struct nlattr *stats)
{
	struct gnet_stats_queue queue;
	const struct nlattr *attr;

	mnl_attr_for_each_nested(attr, stats) {
		if (mnl_attr_get_type(attr) != TCA_STATS_QUEUE || mnl_attr_get_payload_len(attr) < sizeof queue)
			continue;
		memcpy(&queue, mnl_attr_get_payload(attr), sizeof queue);
		return queue.drops;
	}
	return 0;
}

static int take_qdisc(const struct nlmsghdr *message, void *data)
{
	const struct tcmsg *head = mnl_nlmsg_get_payload(message);
	struct qdisc qdisc = { .device = 0 };
	const struct nlattr *attr;

	if (message->nlmsg_type != RTM_NEWQDISC || message->nlmsg_len < mnl_nlmsg_size(sizeof *head) ||
	    (head->tcm_parent != TC_H_ROOT && head->tcm_parent != TC_H_INGRESS))
		return MNL_CB_OK;
	qdisc.device = head->tcm_ifindex;
	qdisc.ingress = head->tcm_parent == TC_H_INGRESS;
	mnl_attr_for_each(attr, message, sizeof *head) {
		if (mnl_attr_get_type(attr) == TCA_KIND && mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0)
			g_strlcpy(qdisc.kind, mnl_attr_get_str(attr), sizeof qdisc.kind);
		else if (mnl_attr_get_type(attr) == TCA_STATS2)
			qdisc.dropped = drops_of(attr);
	}
	g_array_append_val(data, qdisc);
	return MNL_CB_OK;
}

GArray *qdisc_read(struct netlink *netlink, GError **error)
{
	g_autoptr(GArray) qdiscs = g_array_new(FALSE, FALSE, sizeof(struct qdisc));
	const struct tcmsg all = { .tcm_family = AF_UNSPEC };

	return dump(netlink, RTM_GETQDISC, &all, take_qdisc, qdiscs, error) ? g_steal_pointer(&qdiscs) : NULL;
}

static int take_filter(const struct nlmsghdr *message, void *data)
{
	if (message->nlmsg_type == RTM_NEWTFILTER)
		*(bool *)data = true;
	return MNL_CB_OK;
}

/* `ingress` answers for either place (linux/pkt_sched.h) with what it has for what comes in. */
bool qdisc_has_filters(struct netlink *netlink, const struct qdisc *qdisc, bool egress, bool *has, GError **error)
{
	const struct tcmsg of = { .tcm_family = AF_UNSPEC, .tcm_ifindex = qdisc->device,
		.tcm_parent = TC_H_MAKE(TC_H_CLSACT, egress ? TC_H_MIN_EGRESS : TC_H_MIN_INGRESS) };
	bool found = false, may = !egress || g_str_equal(qdisc->kind, "clsact");

	if (may && !dump(netlink, RTM_GETTFILTER, &of, take_filter, &found, error))
		return false;
	*has = found;
	return true;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From the sets that stand in the live bank to those that a plan asks for, element by element, in an order in which every
 * moment is right.
 */
#ifndef FIPMETER_BACKEND_IPTABLES_CHANGE_H
#define FIPMETER_BACKEND_IPTABLES_CHANGE_H

#include "backend/iptables_standing.h"

/* What would ipt_change() do?  A set that is missing, or a counted one that would have to grow: CHANGE_ANEW is needed. */
enum ipt_difference { IPT_SAME, IPT_DIFFERENT, IPT_UNFIT };
enum ipt_difference ipt_compare(const struct ipt_bank *standing, const struct ipt_bank *wanted);

/* Does it, in bank; counted elements that are not wanted stay, and have stopped. */
bool ipt_change(struct netlink *netlink, unsigned bank, const struct ipt_standing *standing,
                const struct ipt_bank *wanted, GError **error);

/* Makes the sets of a bank with all of their elements. */
bool ipt_create(struct netlink *netlink, const struct ipt_bank *wanted, GError **error);

/* Removes all sets of a bank. */
bool ipt_destroy(struct netlink *netlink, const struct ipt_bank *standing, GError **error);

/* Removes the counted elements that plan does not have. */
bool ipt_bury(struct netlink *netlink, const struct ipt_bank *standing, const struct plan *plan, GError **error);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What of ours stands in a namespace's sets: both banks, out of one dump, and what that comes to as a reading.
 */
#ifndef FIPMETER_BACKEND_IPTABLES_STANDING_H
#define FIPMETER_BACKEND_IPTABLES_STANDING_H

#include "backend/iptables_layout.h"

struct ipt_standing {
	struct ipt_bank banks[IPTABLES_BANKS];
	bool strange[IPTABLES_BANKS]; /* a counted element that says nothing we understand */
	struct instant at;            /* when it was read */
};

/* Elements ascending in each set.  False on failure; *standing is then as it was. */
bool ipt_standing_read(struct netlink *netlink, struct ipt_standing *standing, GError **error);
void ipt_standing_clear(struct ipt_standing *standing);

/* Lets go of the addresses; which sets there are, and local prefixes, stay known. */
void ipt_standing_forget_addresses(struct ipt_standing *standing);

/* The counters of a bank.  Not intact: strange elements, two tags, half of a pair.  The caller frees. */
struct snapshot *ipt_standing_snapshot(const struct ipt_standing *standing, unsigned bank);

/* A number for what the sets of a bank hold, the counters' values left out. */
uint64_t ipt_bank_content(const struct ipt_bank *bank);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What stands ahead of our rules in a built-in chain.  Rules of others that only mark may stand there: Neutron puts its
 * own jumps first whenever it writes.  One that takes packets away before they come to us must not.
 */
#ifndef FIPMETER_KERNEL_XTAHEAD_H
#define FIPMETER_KERNEL_XTAHEAD_H

#include "kernel/xtables.h"

/* Can a packet leave the chain before the first rule there that leads to a chain whose name begins with prefix: by a
 * verdict, or by an extension that is not known to go on?  Rules are followed into chains, whatever they match.  False
 * where no rule leads to such a chain. */
bool xtahead_diverts(struct xtc_handle *handle, const char *chain, const char *prefix);

/* The same, asked of all that comes early in a namespace: PREROUTING of the tables raw and mangle. */
struct xtahead {
	bool raw_drops, mangle_drops;   /* a packet can be dropped there, whatever it must match */
	bool mangle_diverts;            /* xtahead_diverts() of mangle */
	bool sets_zone, takes_untracked; /* a rule of raw puts packets into another conntrack zone than 0; past conntrack */
};

/* Tables that do not exist have nothing ahead. */
bool xtahead_look(int ns_fd, const char *prefix, struct xtahead *found, GError **error);

#endif

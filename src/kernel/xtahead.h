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

#endif

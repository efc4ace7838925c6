/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The steps of a cycle, from what was looked at to what is in the books.  The order is the caller's (agent.c: cycle());
 * core/ledger.h says why it is what it is.  A namespace that fails is left out of the steps that follow; what returns
 * false is that nothing can be kept, and then the kernel's counters keep it.
 */
#ifndef FIPMETER_CMD_CYCLE_H
#define FIPMETER_CMD_CYCLE_H

#include "cmd/node.h"

/* Last readings of the namespaces that are gone, which are closed by that. */
bool cycle_part(struct node *node, GError **error);

/* Last readings of those of which only counters are left: they went while no agent was there.  In a cycle about all. */
bool cycle_remains(struct node *node, GError **error);

/* Takes down what other back ends have left in the sites that this process sees for the first time. */
bool cycle_evict(struct node *node, GError **error);

/* Reads what stands in each site. */
void cycle_read(struct node *node);

/* Takes down the sites for which ruin is true: stops them, settles what they counted, removes what is ours. */
bool cycle_take_down(struct node *node, bool (*ruin)(const struct site *site), GError **error);

/* Commits the births that the plans ask for, then makes the kernel count by the plans. */
bool cycle_sync(struct node *node, GError **error);

/* Reads again what changed, settles everything, commits, removes the dead. */
bool cycle_settle(struct node *node, GError **error);

#endif

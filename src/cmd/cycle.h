/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The steps of a cycle, from what was looked at to what is in the books.  The order is the caller's (agent.c: cycle());
 * core/ledger.h says why it is what it is.  A namespace that fails is left out of the steps that follow; what returns
 * false is that nothing can be kept, and then the kernel's counters keep it.
 */
#ifndef FIPMETER_CMD_CYCLE_H
#define FIPMETER_CMD_CYCLE_H

#include "cmd/node.h"

/* Why not all was counted. */
#define CYCLE_BROKEN "rules of ours were found changed or missing"
#define CYCLE_NEW_SUBNET "a subnet appeared between two looks, what it sent was not counted"
#define CYCLE_REPLACED "another namespace had come under the name before anybody looked"
#define CYCLE_BEHIND "a change could not be followed when it was seen"
#define CYCLE_TURNED "where out counts was changed"

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

/* What stands there counts `out` at another place than it is to: rows say where, so it is a new life of the counters. */
bool cycle_has_turned(const struct site *site);

/* Commits the births that the plans ask for, then makes the kernel count by the plans. */
bool cycle_sync(struct node *node, GError **error);

/* Reads again what changed, settles everything, commits, removes the dead. */
bool cycle_settle(struct node *node, GError **error);

/* ---- what cycle.c and cycle_part.c share ---- */

/* Reads the site anew, into found; false if it has failed. */
bool cycle_read_one(struct node *node, struct site *site);

/* The batch into the store, then into the ledger and the second home.  False: nothing of it is kept. */
bool cycle_commit(struct node *node, struct batch *batch, GError **error);

/* Reads what the router's devices say went through: right after its counters, which are site->found.  Not knowing is no
 * fault. */
void cycle_take_traffic(struct node *node, struct site *site);

/* Holds what has come into the batch since the mark, all of it the site's, against that; the residue goes into the batch. */
void cycle_weigh(struct node *node, struct site *site, struct batch *batch, const struct batch_mark *mark);

/* The time since the last sample is not to be judged. */
void cycle_spoil_window(struct site *site);

/* Complains of what could not be explained in the last window that was judged. */
void cycle_tell_suspicions(struct node *node);

/* Commits the last reading of a generation of the site. */
bool cycle_end_one(struct node *node, struct site *site, const struct snapshot *last, GError **error);

/* What a second generation there counted until it stopped.  Committed by itself, before anything else is prepared: the
 * books have to know that it is over. */
bool cycle_settle_former(struct node *node, struct site *site, GError **error);

#endif

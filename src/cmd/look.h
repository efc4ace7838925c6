/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Looking at the routers of the node (sites.h), and hearing when that is needed: fills, for one cycle, node->turn.
 */
#ifndef FIPMETER_CMD_LOOK_H
#define FIPMETER_CMD_LOOK_H

#include "cmd/node.h"

enum look {
	LOOK_HEARD,  /* at what was heard of; the turn has these alone */
	LOOK_SAMPLE, /* the same, and at what is new in the directory; the turn has all */
	LOOK_ALL,    /* at everything, whatever was heard */
};

/* Fails only if the netns directory cannot be read. */
bool look(struct node *node, enum look which, GError **error);

/* After counters were made: marks addresses that have come since the look, perhaps before their counters (planned_meter's
 * came). */
bool look_for_arrivals(struct site *site, GError **error);

/* ---- hearing ---- */

/* Opens node->watch, or complains that it cannot be had. */
void look_listen(struct node *node);

/* Takes what was heard: marks sites and names.  True if there is something to look at; *everything: look at all. */
bool look_hear(struct node *node, bool *everything);

/* Asks the legacy nat tables, which make no events; of those that have none yet only where all is set.  True if there is
 * something to look at. */
bool look_poll(struct node *node, bool all);

/* True if a site has a legacy nat table: look_poll() is wanted. */
bool look_wants_poll(const struct node *node);

#endif

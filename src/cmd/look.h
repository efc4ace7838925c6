/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Finding the routers of the node, and looking at them: fills node->sites and, for one cycle, node->turn.
 *
 * A namespace is opened when it is first seen and held open (a descriptor and a socket) until it has been read for the
 * last time, at most some milliseconds after its name is gone: held longer, its devices would stay and be in the way of
 * their names.
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

/* Before the first look of an agent: opens what the one before it held, if somebody has kept it. */
void look_take_kept(struct node *node);

/* After counters were made: marks addresses that have come since the look, perhaps before their counters (planned_meter's
 * came). */
bool look_for_arrivals(struct site *site, GError **error);

/* After a cycle: closes and forgets what is gone. */
void look_sweep(struct node *node);

/* Closes what is held of a namespace; its last reading is taken. */
void site_close(struct site *site);
void site_free(void *site);

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

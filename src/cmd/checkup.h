/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Gathers what core/diagnosis judges: asks kernel, host, agent and store, and changes nothing.  What cannot be asked is a
 * fact like others, so this always comes to an end.  The routers' part is checkup_router.c.
 */
#ifndef FIPMETER_CMD_CHECKUP_H
#define FIPMETER_CMD_CHECKUP_H

#include "cmd/node.h"
#include "core/facts.h"

/* node: as node_open() leaves it, and silent; it is looked at.  The caller frees. */
struct facts *checkup_gather(struct node *node);

/* All facts of one router, of a site that was looked at. */
struct router_facts *checkup_router(const struct facts *facts, const struct site *site);

#endif

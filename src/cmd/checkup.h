/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Gathers what core/diagnosis judges: asks kernel, host, agent and store, and changes nothing.  What cannot be asked is a
 * fact like others, so this always comes to an end.  The host's part is checkup_host.c, the routers' checkup_router.c.
 */
#ifndef FIPMETER_CMD_CHECKUP_H
#define FIPMETER_CMD_CHECKUP_H

#include "cmd/node.h"
#include "core/facts.h"

#include <jansson.h>

/* node: as node_open() leaves it, and silent; it is looked at.  The caller frees. */
struct facts *checkup_gather(struct node *node);

/* What the host has.  told: what the agent has posted, or NULL.  Takes node->usual as an agent would. */
void checkup_host(struct facts *facts, struct node *node, const json_t *told);

/* The message of an error that is over and done with; NULL if there is none.  The caller frees. */
char *checkup_message(const GError *error);

/* All facts of one router, of a site that was looked at. */
struct router_facts *checkup_router(const struct facts *facts, const struct site *site);

#endif

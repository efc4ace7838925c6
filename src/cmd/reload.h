/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The configuration, read anew while the agent runs: as a whole, or not at all.
 */
#ifndef FIPMETER_CMD_RELOAD_H
#define FIPMETER_CMD_RELOAD_H

#include "cmd/node.h"

/* Takes interval, backend and [backends], [classes], keep_minutes, keep_hours and quota.  Another netns_dir, node,
 * xtables_lock, path or timezone, and a back end that does not work here, are refused; then nothing has changed.  The next
 * cycle has to look at everything. */
bool reload(struct node *node, const struct node_options *options, GError **error);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which router namespaces there are: fills and empties node->sites.
 *
 * A namespace is opened when it is first seen and held open (a descriptor and a socket) until it has been read for the
 * last time, at most some milliseconds after its name is gone: held longer, its devices would stay and be in the way of
 * their names.
 */
#ifndef FIPMETER_CMD_SITES_H
#define FIPMETER_CMD_SITES_H

#include "cmd/node.h"

/* Closes what is held of a namespace; its last reading is taken. */
void site_close(struct site *site);
void site_free(void *site);

/* Does the name still lead to the namespace that is held open under it?  Where that cannot be told, yes. */
bool site_is_still(const struct node *node, const struct site *site);

/* Before the first look of an agent: opens what the one before it held, if somebody has kept it. */
void sites_take_kept(struct node *node);

/* A name that is to be opened. */
void sites_await(struct node *node, const char *ns);

/* Opens those that can be by now. */
void sites_open_pending(struct node *node);

/* Compares the directory with what is open: what is new is to be opened, what went is gone.  Fails if it cannot be read. */
bool sites_scan(struct node *node, GError **error);

/* After a cycle: closes and forgets what is gone. */
void sites_sweep(struct node *node);

#endif

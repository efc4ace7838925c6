/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One network node as agent, plan and detach see it: its configuration, the routers that are there, what is planned
 * for each and what stands there, the books and the store.  What is done with them is in cmd/cycle.h.
 *
 * The unit of failure is one namespace in one cycle: its site is marked, the reason told (once when it starts, once
 * when it ends), and the others go on.
 */
#ifndef FIPMETER_CMD_NODE_H
#define FIPMETER_CMD_NODE_H

#include "backend/backend.h"
#include "cmd/cmd.h"
#include "core/config.h"
#include "core/ledger.h"
#include "inventory/inventory.h"
#include "store/store.h"

/* A router namespace in one cycle. */
struct site {
	struct router *router;       /* the inventory's */
	struct plan *plan;
	struct place place;
	struct snapshot *found;      /* NULL: not read */
	char *tag;                   /* of the generation that counts here, or will */
	const char *missed;          /* constant: why what stood there did not count all; NULL: it did */
	bool going;                  /* what stands there is taken down in this cycle */
	bool synced;                 /* changed in this cycle: read again before settling */
	bool failed;
};

struct node {
	struct config *config;
	const char *name;
	struct backend *backend;
	struct store *store;          /* NULL for those who only look */
	struct ledger *ledger;
	int lock;
	struct inventory *inventory;
	GPtrArray *sites;             /* of struct site * */
	unsigned unmetered;           /* routers of this cycle that are, or may be, not metered */
	GHashTable *masters;          /* namespace -> struct router, as it was when it last was no standby */
	GHashTable *complaints;       /* what is wrong: about -> message, as the last cycle left it */
	GHashTable *said;             /* the same, of this cycle */
};

/* What the command line says; NULL or 0: the configuration's. */
struct node_options {
	char *config, *state_dir, *netns_dir, *backend, *node;
	int interval_s;
};

void node_options_clear(struct node_options *options);

/* The options that all commands of a node have, for cmd_parse(). */
#define NODE_OPTIONS(options) \
	{ "config", 'c', 0, G_OPTION_ARG_FILENAME, &(options)->config, "Configuration (" CONFIG_PATH ")", "FILE" }, \
	{ "netns-dir", 0, 0, G_OPTION_ARG_FILENAME, &(options)->netns_dir, "Where the network namespaces are", "DIR" }, \
	{ "backend", 0, 0, G_OPTION_ARG_STRING, &(options)->backend, "How to count: auto, nft", "NAME" }, \
	{ "node", 0, 0, G_OPTION_ARG_STRING, &(options)->node, "This node's name in the records", "NAME" }
#define NODE_STATE_OPTION(options) \
	{ "state-dir", 0, 0, G_OPTION_ARG_FILENAME, &(options)->state_dir, "Where the usage is kept", "DIR" }

/* Configuration and back end: enough to look.  The caller calls node_close() in any case. */
bool node_open(struct node *node, const struct node_options *options, GError **error);

/* The node's lock (one agent a netns directory), the store and the books: needed to change anything. */
bool node_open_books(struct node *node, GError **error);
void node_close(struct node *node);

/* ---- looking ---- */

/* Scans the namespaces and plans; fills sites.  Fails only if the netns directory cannot be read. */
bool node_look(struct node *node, GError **error);

/* Drops what the last look found. */
void node_forget(struct node *node);

/* ---- telling ---- */

/* Logs that something is wrong, unless the last cycle has said just that.  about: "namespace=NAME" or the like. */
void node_complain(struct node *node, const char *about, const char *message);

/* The site is out of this cycle, and may be unmetered.  Takes error, which says why. */
void node_fail_site(struct node *node, struct site *site, GError *error);

/* The end of a cycle: what was wrong before and is no more is said to be well again. */
void node_end_cycle(struct node *node);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One network node as agent, plan and detach see it: its configuration, the routers that are there, what is planned
 * for each and what stands there, the books and the store.  Which routers there are is in cmd/sites.h, how they are looked
 * at in cmd/look.h, what is done with them in cmd/cycle.h.
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
#include "core/residue.h"
#include "inventory/watch.h"
#include "store/store.h"

/* A router namespace, from when it is first seen until it is gone. */
struct site {
	char *ns;                  /* its name in the netns directory */
	struct place place;        /* held open all the time: a namespace that is deleted is read a last time */
	uint64_t inode;            /* of the namespace: nobody else's as long as it is held */
	struct backend *backend;   /* that counts here; interned */
	struct router *router;     /* as it was when it was last looked at; NULL: never yet */
	struct router *master;     /* as it was when it last was no standby; NULL: never */
	enum flavour ruling;       /* which flavour's rules hold if both are there: the one that came later; NONE: not known */
	struct plan *plan;
	struct instant known_at;   /* then it was as it had been looked at */
	struct instant since;      /* known_at when it fell behind: what is new came after that */
	int64_t heard_us;          /* boot clock: when something was first heard of it since the last look; 0: nothing */
	uint64_t legacy_nat;       /* fingerprint of its legacy nat table at the last look; 0: it has none */
	bool dirty;                /* is to be looked at: it has changed, or may have */
	bool fresh;                /* this process has not acted in it yet */
	bool gone;                 /* its name is no more, or is another's */
	bool parted;               /* and its last reading is in the books */
	/* ---- what a cycle finds and does ---- */
	struct snapshot *found;    /* NULL: not read */
	char *tag;                 /* of the generation that counts here, or will */
	const char *missed;        /* constant: why what stood there did not count all; NULL: it did */
	const char *between;       /* constant: why nothing counted between the old counters and the new ones; or NULL */
	int64_t followed_us;       /* boot clock: when the change was heard of that the look of this cycle found; 0: not */
	struct instant stopped_at; /* when what stands there was stopped, to be taken down */
	bool going;                /* what stands there is taken down in this cycle */
	bool synced;               /* changed in this cycle: read again before settling */
	bool behind;               /* what counts is not known yet to be as the last look wants it */
	int64_t behind_us;         /* boot clock: since when */
	bool late;                 /* it was so for PROMPT_US when this cycle began: what it follows now had changed before */
	bool overlooked;           /* something was heard of it, and the look at it failed: what that was nobody knows */
	bool strayed;              /* while it was, a look wanted what the next one did not: nobody counted that */
	bool unread;               /* what counts was changed, and no reading after that is in the books yet */
	bool stale;                /* it was so already when this cycle began */
	bool unheard;              /* it was looked at without having been heard of, and no reading after that is in the books yet */
	bool failed;
	/* ---- the continuous audit ---- */
	struct statistics *statistics; /* of its devices, opened when first needed; or NULL */
	struct traffic *traffic;   /* read right after found; NULL: it was not, or could not be */
	struct window window;      /* since the last sample */
	char *suspicion;           /* what the last window that could be judged leaves unexplained; NULL: nothing */
};

struct bulletin;

struct node {
	struct config *config;
	char *name;
	struct backend **backends;    /* backends_new() */
	struct backend *usual;        /* the one for a router for which nothing else is configured */
	struct store *store;          /* NULL for those who only look */
	struct ledger *ledger;
	bool mended;                  /* the store was lost in this cycle and is well again: another cycle now */
	int64_t mended_us;            /* boot clock: when it last was; 0: never */
	int lock;
	char *lock_path;
	char *upkeep_failure;         /* what is wrong with the upkeep of the store; NULL: nothing */
	struct bulletin *bulletin;    /* what `fipmeter status` reads; NULL for those who only look */
	struct watch *watch;          /* NULL: nothing is heard, every sample looks at everything */
	GHashTable *sites;            /* name -> struct site: every router namespace that is open */
	GPtrArray *names;             /* of char *: all routers' names in the directory when it was last read; or NULL */
	GHashTable *pending;          /* names that are not open yet -> boot clock since when (int64_t *) */
	GPtrArray *turn;              /* of struct site *: those that this cycle is about, ascending by name */
	bool all;                     /* this cycle is about all, and has read the directory */
	bool again;                   /* somebody changed a router all the while it was read: to be looked at again soon */
	bool unscanned;               /* the directory could not be read when it was to be: what was heard is not all */
	struct instant heard_at;      /* all that had happened by then has been heard */
	int64_t busy_us;              /* boot clock: since then nobody has listened to the watch; 0: somebody does */
	uint64_t looks;               /* how often a router was looked at */
	bool silent;                  /* what is wrong is not logged: who looks tells it in his own way */
	unsigned unmetered;           /* routers of this cycle that are, or may be, not metered */
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
	{ "backend", 0, 0, G_OPTION_ARG_STRING, &(options)->backend, "How to count: auto, nft, iptables, ebpf", "NAME" }, \
	{ "node", 0, 0, G_OPTION_ARG_STRING, &(options)->node, "This node's name in the records", "NAME" }
#define NODE_STATE_OPTION(options) \
	{ "state-dir", 0, 0, G_OPTION_ARG_FILENAME, &(options)->state_dir, "Where the usage is kept", "DIR" }

/* Says what is wrong with them: EXIT_USAGE; EXIT_DONE if nothing is. */
int node_check_options(const char *command, const struct node_options *options);

/* The configuration with what the command line says. */
struct config *node_load_config(const struct node_options *options, GError **error);

/* Takes node->usual by the configuration, and tries every back end that it names. */
bool node_choose_backends(struct node *node, GError **error);

/* Configuration and back end: enough to look.  The caller calls node_close() in any case. */
bool node_open(struct node *node, const struct node_options *options, GError **error);

/* The back end that is to count in a namespace. */
struct backend *node_backend_for(const struct node *node, const char *ns);

/* The file in /run/fipmeter that belongs to a netns directory and ends in suffix.  It is keyed by the directory itself,
 * not by the name it has in this mount namespace.  The caller frees. */
char *node_run_path(const char *netns_dir, const char *suffix);

/* The node's lock: one agent a netns directory.  It is of the directory that has the name now, so it is taken anew when that
 * is made, or another one comes in its place.  False if another agent was first: nothing may be done there, then. */
bool node_hold(struct node *node, GError **error);

/* If the store is lost (store_is_lost()): a new one, and books to it.  What is not in the store stays in the counters. */
void node_mend_books(struct node *node);

/* The node's lock, the store and the books: needed to change anything. */
bool node_open_books(struct node *node, GError **error);
void node_close(struct node *node);

/* ---- telling ---- */

/* Logs that something is wrong, unless the last cycle has said just that.  about: "namespace=NAME" or the like. */
void node_complain(struct node *node, const char *about, const char *message);

void node_complain_of(struct node *node, const char *ns, const char *message); /* about a namespace */

/* The site is out of this cycle, and may be unmetered.  Takes error, which says why. */
void node_fail_site(struct node *node, struct site *site, GError *error);

/* The end of a cycle: what was wrong before and is no more is said to be well again. */
void node_end_cycle(struct node *node);

#endif

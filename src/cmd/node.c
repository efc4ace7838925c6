/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See node.h.
 */
#include "cmd/node.h"

#include "core/plan.h"
#include "kernel/clock.h"
#include "kernel/lock.h"
#include "kernel/netns.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define LOCK_DIR "/run/fipmeter"

/* ---- opening ---- */

void node_options_clear(struct node_options *options)
{
	g_free(options->config);
	g_free(options->state_dir);
	g_free(options->netns_dir);
	g_free(options->backend);
	g_free(options->node);
}

static void override(char **setting, const char *option)
{
	if (!option)
		return;
	g_free(*setting);
	*setting = g_strdup(option);
}

static bool choose_backend(struct node *node, GError **error)
{
	const char *wanted = node->config->backend;

	if (!g_str_equal(wanted, "auto") && !g_str_equal(wanted, "nft")) {
		g_set_error(error, BACKEND_ERROR, BACKEND_ERROR_FAILED,
		            "back end %s is not in this build; use auto or nft", wanted);
		return false;
	}
	node->backend = backend_nft_new();
	return true;
}

bool node_open(struct node *node, const struct node_options *options, GError **error)
{
	memset(node, 0, sizeof *node);
	node->lock = -1;
	node->complaints = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	node->said = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	node->masters = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, (GDestroyNotify)router_free);
	node->config = cmd_load_config(options->config, error);
	if (!node->config)
		return false;
	override(&node->config->netns_dir, options->netns_dir);
	override(&node->config->state_dir, options->state_dir);
	override(&node->config->backend, options->backend);
	override(&node->config->node, options->node);
	if (options->interval_s)
		node->config->interval_s = options->interval_s;
	node->name = node->config->node ? node->config->node : g_get_host_name();
	return choose_backend(node, error);
}

/* The lock is keyed by the directory itself, not by the name it has in this mount namespace. */
static bool take_lock(struct node *node, GError **error)
{
	g_autofree char *path = NULL;
	GError *refusal = NULL;
	struct stat directory = { 0 };

	if (g_mkdir_with_parents(LOCK_DIR, 0755) < 0) {
		g_set_error(error, LOCK_ERROR, LOCK_ERROR_FAILED, "%s: %s", LOCK_DIR, g_strerror(errno));
		return false;
	}
	if (stat(node->config->netns_dir, &directory) == 0)
		path = g_strdup_printf(LOCK_DIR "/netns-%u-%u-%" G_GUINT64_FORMAT ".lock", major(directory.st_dev),
		                       minor(directory.st_dev), (guint64)directory.st_ino);
	else
		path = g_strdup(LOCK_DIR "/netns.lock");
	node->lock = lock_take(path, &refusal);
	if (node->lock >= 0)
		return true;
	if (g_error_matches(refusal, LOCK_ERROR, LOCK_ERROR_HELD))
		g_prefix_error(&refusal, "%s is metered already, one agent a node: ", node->config->netns_dir);
	else
		g_prefix_error(&refusal, "cannot take the node's lock (run as root): ");
	g_propagate_error(error, refusal);
	return false;
}

bool node_open_books(struct node *node, GError **error)
{
	g_autofree char *boot = clock_boot_id(error), *notice = NULL;
	struct ledger_state state = { 0 };

	if (!boot || !take_lock(node, error) || !node->backend->probe(node->backend, error))
		return false;
	node->store = store_open(node->config->state_dir, &notice, error);
	if (notice)
		cmd_log(CMD_WARNING, "%s", notice);
	if (!node->store || !store_load(node->store, &state, error))
		return false;
	node->ledger = ledger_new(node->name, boot, node->config->interval_s * INT64_C(1000000), &state);
	return true;
}

void node_close(struct node *node)
{
	node_forget(node);
	ledger_free(node->ledger);
	store_close(node->store);
	if (node->backend)
		node->backend->free(node->backend);
	if (node->lock >= 0)
		close(node->lock);
	g_hash_table_unref(node->complaints);
	g_hash_table_unref(node->said);
	g_hash_table_unref(node->masters);
	config_free(node->config);
}

/* ---- telling ---- */

void node_complain(struct node *node, const char *about, const char *message)
{
	if (g_strcmp0(g_hash_table_lookup(node->complaints, about), message))
		cmd_log(CMD_WARNING, "%s %s", message, about);
	g_hash_table_replace(node->said, g_strdup(about), g_strdup(message));
}

void node_end_cycle(struct node *node)
{
	GHashTable *said = node->said;
	GHashTableIter each;
	void *about;

	g_hash_table_iter_init(&each, node->complaints);
	while (g_hash_table_iter_next(&each, &about, NULL))
		if (!g_hash_table_contains(said, about))
			cmd_log(CMD_NOTICE, "well again %s", (char *)about);
	node->said = node->complaints;
	node->complaints = said;
	g_hash_table_remove_all(node->said);
}

static void complain_of_namespace(struct node *node, const char *ns, const char *message)
{
	g_autofree char *about = g_strconcat("namespace=", ns, NULL);
	g_autofree char *skipping = g_strconcat(message, ", skipping", NULL);

	node_complain(node, about, skipping);
}

void node_fail_site(struct node *node, struct site *site, GError *error)
{
	complain_of_namespace(node, site->place.ns, error->message);
	site->failed = true;
	node->unmetered++;
	g_error_free(error);
}

/* ---- looking ---- */

static void site_free(void *data)
{
	struct site *site = data;

	if (site->place.ns_fd >= 0)
		close(site->place.ns_fd);
	plan_free(site->plan);
	snapshot_free(site->found);
	g_free(site->tag);
	g_free(site);
}

/* What is local to a router, and what it has on-link, goes with its addresses when it becomes standby.  Its counters
 * keep what they had as master, so that they count from the first packet when it is master again. */
static void recall_prefixes(struct node *node, struct router *router)
{
	struct router *master = g_hash_table_lookup(node->masters, router->ns);

	if (!plan_is_standby(router)) {
		master = router_new(router->ns, router->name);
		g_array_append_vals(master->local, router->local->data, router->local->len);
		g_array_append_vals(master->onlink, router->onlink->data, router->onlink->len);
		g_hash_table_replace(node->masters, master->ns, master);
	} else if (master && !router->local->len) {
		g_array_append_vals(router->local, master->local->data, master->local->len);
		g_array_set_size(router->onlink, 0);
		g_array_append_vals(router->onlink, master->onlink->data, master->onlink->len);
	}
}

static void add_site(struct node *node, struct router *router)
{
	struct site *site = g_new0(struct site, 1);
	GError *error = NULL;

	recall_prefixes(node, router);
	site->router = router;
	site->plan = plan_make(router, node->config->classes);
	site->place.ns = router->ns;
	site->place.ns_fd = netns_open(node->config->netns_dir, router->ns, &error);
	g_ptr_array_add(node->sites, site);
	if (site->place.ns_fd < 0)
		node_fail_site(node, site, error);
}

static void tell_problems(struct node *node)
{
	for (unsigned i = 0; i < node->inventory->problems->len; i++) {
		const struct inventory_problem *problem = node->inventory->problems->pdata[i];

		complain_of_namespace(node, problem->ns, problem->message);
		node->unmetered += problem->is_router;
	}
}

/* Two names for one namespace would bill it twice.  The one that the books know has it, else the first. */
static void drop_second_name(struct node *node, struct site *first, struct site *second)
{
	bool second_is_known = node->ledger && ledger_knows(node->ledger, second->place.ns) &&
	                       !ledger_knows(node->ledger, first->place.ns);
	struct site *dropped = second_is_known ? first : second, *kept = second_is_known ? second : first;
	g_autofree char *message = g_strconcat("is the same namespace as ", kept->place.ns, NULL);

	complain_of_namespace(node, dropped->place.ns, message);
	dropped->failed = true;
}

static void drop_second_names(struct node *node)
{
	g_autoptr(GHashTable) seen = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);

	for (unsigned i = 0; i < node->sites->len; i++) {
		struct site *site = node->sites->pdata[i], *first;
		struct stat file;
		int64_t inode;

		if (site->failed || fstat(site->place.ns_fd, &file) < 0)
			continue;
		inode = file.st_ino; /* all namespaces are in one file system, nsfs; ours is held open */
		first = g_hash_table_lookup(seen, &inode);
		if (first)
			drop_second_name(node, first, site);
		if (!site->failed)
			g_hash_table_replace(seen, g_memdup2(&inode, sizeof inode), site);
	}
}

/* Routers that are gone need not be remembered. */
static gboolean is_not_there(void *ns, void *master, void *node)
{
	const GPtrArray *sites = ((struct node *)node)->sites;

	for (unsigned i = 0; i < sites->len; i++)
		if (g_str_equal(((struct site *)sites->pdata[i])->place.ns, ns))
			return false;
	return true;
}

bool node_look(struct node *node, GError **error)
{
	node_forget(node);
	node->inventory = inventory_scan(node->config->netns_dir, error);
	if (!node->inventory)
		return false;
	node->sites = g_ptr_array_new_with_free_func(site_free);
	tell_problems(node);
	for (unsigned i = 0; i < node->inventory->routers->len; i++)
		add_site(node, node->inventory->routers->pdata[i]);
	drop_second_names(node);
	if (g_hash_table_size(node->masters) > node->sites->len)
		g_hash_table_foreach_remove(node->masters, is_not_there, node);
	return true;
}

void node_forget(struct node *node)
{
	g_clear_pointer(&node->sites, g_ptr_array_unref);
	g_clear_pointer(&node->inventory, inventory_free);
	node->unmetered = 0;
}

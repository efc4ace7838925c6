/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See node.h.
 */
#include "cmd/node.h"

#include "cmd/bulletin.h"
#include "cmd/sites.h"
#include "kernel/capability.h"
#include "kernel/clock.h"
#include "kernel/lock.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define RUN_DIR "/run/fipmeter"
#define MEND_AGAIN_US (60 * INT64_C(1000000))

/* ---- opening ---- */

void node_options_clear(struct node_options *options)
{
	g_free(options->config);
	g_free(options->state_dir);
	g_free(options->netns_dir);
	g_free(options->backend);
	g_free(options->node);
}

int node_check_options(const char *command, const struct node_options *options)
{
	const char *right = options->backend ? config_judge_backend(options->backend) : NULL;

	if (right)
		return cmd_misuse(command, "--backend '%s' does not do (right: %s)", options->backend, right);
	right = options->node ? config_judge_node(options->node) : NULL;
	if (right)
		return cmd_misuse(command, "--node '%s' does not do (right: %s)", options->node, right);
	return EXIT_DONE;
}

static int backend_named(const char *name)
{
	static const char *const names[BACKENDS] = { "nft", "iptables", "ebpf" };

	for (int i = 0; i < BACKENDS; i++)
		if (g_str_equal(names[i], name))
			return i;
	return -1; /* auto */
}

static void make_backends(struct node *node)
{
	node->backends = backends_new(node->config->xtables_lock, node->config->netns_dir, node->config->ebpf_place);
	node->usual = node->backends[MAX(backend_named(node->config->backend), 0)];
}

/* Of `auto` the first that works; ebpf is taken by who asks for it only. */
static bool choose_usual(struct node *node, GError **error)
{
	GError *first = NULL;

	for (unsigned i = 0; i < BACKEND_EBPF; i++) {
		g_autoptr(GError) refusal = NULL;

		node->usual = node->backends[i];
		if (backend_probe(node->usual, false, first ? &refusal : &first)) {
			if (first)
				cmd_log(CMD_WARNING, "%s, taking %s", first->message, node->usual->name);
			g_clear_error(&first);
			return true;
		}
		if (refusal)
			g_prefix_error(&first, "%s; ", refusal->message);
	}
	g_propagate_error(error, first);
	return false;
}

static bool try_backend(const struct node *node, struct backend *backend, GError **error)
{
	return backend_probe(backend, node->config->out_sent && backend->sends, error);
}

bool node_choose_backends(struct node *node, GError **error)
{
	bool is_auto = g_str_equal(node->config->backend, "auto");
	GHashTableIter each;
	void *name;

	node->usual = node->backends[MAX(backend_named(node->config->backend), 0)];
	if (!(is_auto ? choose_usual(node, error) : try_backend(node, node->usual, error)))
		return false;
	g_hash_table_iter_init(&each, node->config->router_backends);
	while (g_hash_table_iter_next(&each, NULL, &name)) {
		struct backend *backend = node->backends[backend_named(name)];

		if (backend != node->usual && !try_backend(node, backend, error))
			return false;
	}
	return true;
}

struct backend *node_backend_for(const struct node *node, const char *ns)
{
	const char *name = g_hash_table_lookup(node->config->router_backends, router_name_of(ns));

	return name ? node->backends[backend_named(name)] : node->usual;
}

static bool is_built(const char *name)
{
	struct backend *backend = backend_named(name) == BACKEND_EBPF ? backend_ebpf_new("", "auto") : NULL;
	bool built = backend || backend_named(name) != BACKEND_EBPF;

	if (backend)
		backend->free(backend);
	return built;
}

/* What the configuration names may have been left out when this was built. */
static bool check_backends(const struct config *config, GError **error)
{
	const char *missing = is_built(config->backend) ? NULL : config->backend;
	GHashTableIter each;
	void *name;

	g_hash_table_iter_init(&each, config->router_backends);
	while (!missing && g_hash_table_iter_next(&each, NULL, &name))
		missing = is_built(name) ? NULL : name;
	if (missing)
		g_set_error(error, BACKEND_ERROR, BACKEND_ERROR_FAILED,
		            "back end %s is not in this build (right: auto, nft or iptables)", missing);
	return !missing;
}

/* Of `out` where it is sent only ebpf knows; where single routers have that, the others count as ever. */
static bool check_out_point(const struct config *config, const char *file, GError **error)
{
	bool any = !config->out_sent || backend_named(config->backend) == BACKEND_EBPF;
	GHashTableIter each;
	void *name;

	g_hash_table_iter_init(&each, config->router_backends);
	while (!any && g_hash_table_iter_next(&each, NULL, &name))
		any = backend_named(name) == BACKEND_EBPF;
	if (!any)
		g_set_error(error, BACKEND_ERROR, BACKEND_ERROR_FAILED, "%s: [agent] out_point: egress takes back end ebpf, and no router "
		            "has it: the back end is %s (right: backend = ebpf, or [backends] ebpf = ROUTER, or out_point = ingress)",
		            file ? file : CONFIG_PATH, config->backend);
	return any;
}

struct config *node_load_config(const struct node_options *options, GError **error)
{
	SCOPED(config) *config = cmd_load_config(options->config, error);

	if (!config)
		return NULL;
	config_override(&config->netns_dir, options->netns_dir);
	config_override(&config->state_dir, options->state_dir);
	config_override(&config->backend, options->backend);
	config_override(&config->node, options->node);
	if (options->interval_s)
		config->interval_s = options->interval_s;
	if (!g_str_equal(config->backend, "auto") && backend_named(config->backend) < 0) {
		g_set_error(error, BACKEND_ERROR, BACKEND_ERROR_FAILED,
		            "there is no back end %s (right: auto, nft, iptables or ebpf)", config->backend);
		return NULL;
	}
	if (!check_backends(config, error) || !check_out_point(config, options->config, error))
		return NULL;
	return g_steal_pointer(&config);
}

/* Two descriptors a router: what the service manager allows in all is asked for; the default is 1,024 (getrlimit(2)). */
static void allow_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

bool node_open(struct node *node, const struct node_options *options, GError **error)
{
	memset(node, 0, sizeof *node);
	node->lock = -1;
	allow_descriptors();
	node->complaints = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	node->said = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	node->sites = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, site_free);
	node->pending = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	node->turn = g_ptr_array_new();
	node->config = node_load_config(options, error);
	if (!node->config)
		return false;
	/* A host may be named with any bytes. */
	node->name = node->config->node ? g_strdup(node->config->node) : cmd_escape(g_get_host_name());
	make_backends(node);
	return true;
}

char *node_run_path(const char *netns_dir, const char *suffix)
{
	struct stat directory;

	if (stat(netns_dir, &directory) < 0)
		return g_strconcat(RUN_DIR "/netns", suffix, NULL);
	return g_strdup_printf(RUN_DIR "/netns-%u-%u-%" G_GUINT64_FORMAT "%s", major(directory.st_dev),
	                       minor(directory.st_dev), (guint64)directory.st_ino, suffix);
}

/* Takes the lock at path in place of the one that is held, if one is. */
static bool take_lock(struct node *node, const char *path, GError **error)
{
	GError *refusal = NULL;
	int lock;

	if (g_mkdir_with_parents(RUN_DIR, 0755) < 0) {
		g_set_error(error, LOCK_ERROR, LOCK_ERROR_FAILED, "%s: %s", RUN_DIR, g_strerror(errno));
		return false;
	}
	lock = lock_take(path, &refusal);
	if (lock >= 0) {
		if (node->lock >= 0)
			close(node->lock);
		node->lock = lock;
		g_free(node->lock_path);
		node->lock_path = g_strdup(path);
		return true;
	}
	if (g_error_matches(refusal, LOCK_ERROR, LOCK_ERROR_HELD))
		g_prefix_error(&refusal, "%s is metered already, one agent a node: ", node->config->netns_dir);
	else
		g_prefix_error(&refusal, "cannot take the node's lock (run as root): ");
	g_propagate_error(error, refusal);
	return false;
}

bool node_hold(struct node *node, GError **error)
{
	g_autofree char *path = node_run_path(node->config->netns_dir, ".lock");

	if (node->lock >= 0 &&
	    (g_str_equal(path, node->lock_path) || !g_file_test(node->config->netns_dir, G_FILE_TEST_EXISTS)))
		return true;
	if (!take_lock(node, path, error))
		return false;
	if (node->bulletin)
		bulletin_move(node->bulletin, node->config->netns_dir);
	return true;
}

bool node_open_books(struct node *node, GError **error)
{
	g_autofree char *boot = clock_boot_id(error), *notice = NULL;
	struct ledger_state state = { 0 };

	if (!boot || !capability_check_metering(error) || !node_hold(node, error))
		return false;
	node->bulletin = bulletin_new(node->config->netns_dir);
	if (!node_choose_backends(node, error))
		return false;
	node->store = store_open(node->config->state_dir, &notice, error);
	if (notice)
		cmd_log(CMD_WARNING, "%s", notice);
	if (!node->store || !store_set_timezone(node->store, node->config->timezone, error) ||
	    !store_load(node->store, &state, error))
		return false;
	node->ledger = ledger_new(node->name, boot, node->config->interval_s * INT64_C(1000000), &state);
	return true;
}

static bool renew_books(struct node *node, char **notice, GError **error)
{
	g_autofree char *boot = clock_boot_id(error);
	g_autoptr(GPtrArray) open = ledger_open_meters(node->ledger);
	struct ledger_state state = { 0 };

	if (!boot || !store_renew(node->store, open, &state, notice, error))
		return false;
	ledger_free(node->ledger);
	node->ledger = ledger_new(node->name, boot, node->config->interval_s * INT64_C(1000000), &state);
	return true;
}

void node_mend_books(struct node *node)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *notice = NULL;
	int64_t now_us = clock_now().boot_us;

	if (!store_is_lost(node->store))
		return;
	if (!renew_books(node, &notice, &error)) {
		node_complain(node, "store that was lost, retrying", error->message);
		return;
	}
	cmd_log(CMD_WARNING, "%s", notice);
	/* A disk that damages each new one as well is not to be filled with them. */
	node->mended = !node->mended_us || now_us - node->mended_us > MEND_AGAIN_US;
	node->mended_us = now_us;
}

void node_close(struct node *node)
{
	g_ptr_array_unref(node->turn);
	g_hash_table_unref(node->sites);
	g_hash_table_unref(node->pending);
	g_clear_pointer(&node->names, g_ptr_array_unref);
	watch_close(node->watch);
	ledger_free(node->ledger);
	store_close(node->store);
	backends_free(node->backends);
	bulletin_free(node->bulletin); /* as long as the lock is held */
	if (node->lock >= 0)
		close(node->lock);
	g_free(node->lock_path);
	g_free(node->upkeep_failure);
	g_free(node->name);
	g_hash_table_unref(node->complaints);
	g_hash_table_unref(node->said);
	config_free(node->config);
}

/* ---- telling ---- */

void node_complain(struct node *node, const char *about, const char *message)
{
	if (!node->silent && g_strcmp0(g_hash_table_lookup(node->complaints, about), message))
		cmd_log(CMD_WARNING, "%s %s", message, about);
	g_hash_table_replace(node->said, g_strdup(about), g_strdup(message));
}

#define ABOUT_NS "namespace="

static char *about_ns(const char *ns)
{
	return g_strconcat(ABOUT_NS, ns, NULL);
}

void node_complain_of(struct node *node, const char *ns, const char *message)
{
	g_autofree char *about = about_ns(ns);

	node_complain(node, about, message);
}

void node_fail_site(struct node *node, struct site *site, GError *error)
{
	g_autofree char *skipping = g_strconcat(error->message, ", skipping", NULL);

	node_complain_of(node, site->ns, skipping);
	site->failed = true;
	node->unmetered++;
	g_error_free(error);
}

/* What this cycle has looked at: all, or the sites of its turn. */
static GHashTable *looked_at(const struct node *node)
{
	GHashTable *about = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

	for (unsigned i = 0; i < node->turn->len; i++)
		g_hash_table_add(about, about_ns(((struct site *)node->turn->pdata[i])->ns));
	return about;
}

/* Nothing is known yet of names that are still waited for. */
static bool is_pending(const struct node *node, const char *about)
{
	const char *ns = g_str_has_prefix(about, ABOUT_NS) ? about + strlen(ABOUT_NS) : NULL;

	return ns && g_hash_table_contains(node->pending, ns);
}

void node_end_cycle(struct node *node)
{
	g_autoptr(GHashTable) looked = looked_at(node);
	GHashTable *said = node->said;
	GHashTableIter each;
	void *about, *message;

	g_hash_table_iter_init(&each, node->complaints);
	while (g_hash_table_iter_next(&each, &about, &message)) {
		if (g_hash_table_contains(said, about))
			continue;
		if ((node->all || g_hash_table_contains(looked, about)) && !is_pending(node, about))
			cmd_log(CMD_NOTICE, "well again %s", (char *)about);
		else
			g_hash_table_insert(said, g_strdup(about), g_strdup(message));
	}
	node->said = node->complaints;
	node->complaints = said;
	g_hash_table_remove_all(node->said);
}

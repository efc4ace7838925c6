/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See sites.h.
 */
#include "cmd/sites.h"

#include "cmd/supervisor.h"
#include "inventory/inventory.h"
#include "inventory/statistics.h"
#include "kernel/clock.h"
#include "kernel/netlink.h"
#include "kernel/netns.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* For files that are no namespaces yet: 0.6 to 2.3 ms with a real Neutron.  An agent can do something else meanwhile. */
#define WAIT_ROUNDS 5
#define WAIT_US 2000
#define PATIENCE_US 2000000

/* ---- one site ---- */

void site_close(struct site *site)
{
	netlink_close(site->place.netfilter);
	statistics_close(site->statistics);
	site->place.netfilter = NULL;
	site->statistics = NULL;
	if (site->place.ns_fd >= 0)
		close(site->place.ns_fd);
	site->place.ns_fd = -1;
}

void site_free(void *data)
{
	struct site *site = data;

	site_close(site);
	router_free(site->router);
	router_free(site->master);
	plan_free(site->plan);
	snapshot_free(site->found);
	traffic_free(site->traffic);
	window_clear(&site->window);
	g_free(site->suspicion);
	g_free(site->tag);
	g_free(site->ns);
	g_free(site);
}

static struct site *site_new(struct node *node, const char *ns, int ns_fd)
{
	struct site *site = g_new0(struct site, 1);

	site->ns = g_strdup(ns);
	site->place.ns = site->ns;
	site->place.ns_fd = ns_fd;
	site->dirty = site->fresh = true;
	site->backend = node_backend_for(node, ns);
	return site;
}

/* Opens a namespace under its name, or by the descriptor that was kept of it; NULL on failure. */
static struct site *site_open(struct node *node, const char *ns, int kept, GError **error)
{
	int ns_fd = kept >= 0 ? kept : netns_open(node->config->netns_dir, ns, error);
	struct site *site = site_new(node, ns, ns_fd);
	struct stat file;

	if (ns_fd >= 0 && fstat(ns_fd, &file) < 0) {
		g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno), "cannot look at its namespace: %s",
		            g_strerror(errno));
	} else if (ns_fd >= 0) {
		site->inode = file.st_ino;
		site->place.netfilter = netlink_open(ns_fd, NETLINK_NETFILTER, error);
	}
	if (site->place.netfilter)
		return site;
	site_free(site);
	return NULL;
}

/* ---- which are there ---- */

/* Does the name still lead to the namespace that is held open under it?  Where that cannot be told, yes: the counters of one
 * that is gone are read once more, while those of one that is not would be let go with what they count. */
bool site_is_still(const struct node *node, const struct site *site)
{
	return netns_is_still(node->config->netns_dir, site->ns, site->inode);
}

static struct site *find_twin(const struct node *node, const struct site *site)
{
	GHashTableIter each;
	void *other;

	g_hash_table_iter_init(&each, node->sites);
	while (g_hash_table_iter_next(&each, NULL, &other))
		if (!((struct site *)other)->gone && ((struct site *)other)->inode == site->inode)
			return other;
	return NULL;
}

static void add_site(struct node *node, struct site *site)
{
	g_autoptr(GError) error = NULL;

	if (node->watch && !watch_follow(node->watch, site->place.ns_fd, site->ns, &error))
		node_complain_of(node, site->ns, error->message);
	g_hash_table_replace(node->sites, site->ns, site);
}

void sites_take_kept(struct node *node)
{
	g_autoptr(GHashTable) kept = supervisor_kept();
	GHashTableIter each;
	void *ns, *fd;

	g_hash_table_iter_init(&each, kept);
	while (g_hash_table_iter_next(&each, &ns, &fd)) {
		g_autoptr(GError) error = NULL;
		struct site *site = site_open(node, ns, GPOINTER_TO_INT(fd), &error); /* which closes what is no namespace */

		if (site && inventory_is_router(ns)) {
			add_site(node, site);
			continue;
		}
		supervisor_drop(ns);
		if (site)
			site_free(site);
	}
}

/* It is metered no more. */
static void let_go(struct node *node, const struct site *site)
{
	if (node->watch)
		watch_forget(node->watch, site->ns);
	supervisor_drop(site->ns);
	for (unsigned i = 0; i < BACKENDS && node->backends[i]; i++)
		if (node->backends[i]->forget)
			node->backends[i]->forget(node->backends[i], &site->place);
}

/* Two names for one namespace would bill it twice.  The one that the books know has it, else the first. */
static void admit(struct node *node, struct site *site)
{
	struct site *twin = find_twin(node, site);
	bool is_known = node->ledger && ledger_knows(node->ledger, site->ns);
	g_autofree char *message = NULL;

	if (!twin) {
		add_site(node, site);
		supervisor_keep(site->ns, site->place.ns_fd);
	} else if (is_known && !ledger_knows(node->ledger, twin->ns)) {
		message = g_strconcat("is the same namespace as ", site->ns, ", skipping", NULL);
		node_complain_of(node, twin->ns, message);
		let_go(node, twin);
		g_hash_table_remove(node->sites, twin->ns);
		add_site(node, site);
		supervisor_keep(site->ns, site->place.ns_fd);
	} else {
		message = g_strconcat("is the same namespace as ", twin->ns, ", skipping", NULL);
		node_complain_of(node, site->ns, message);
		site_free(site);
	}
}

static void complain_of_file(struct node *node, const char *ns, const char *reason)
{
	g_autofree char *message = g_strconcat(reason, ", skipping", NULL);

	node_complain_of(node, ns, message);
	node->unmetered++;
}

/* Opens one of the pending names.  True if it is pending no more. */
static bool open_pending(struct node *node, const char *ns, bool can_wait)
{
	g_autoptr(GError) error = NULL;
	struct site *site = g_hash_table_lookup(node->sites, ns);

	if (site && site_is_still(node, site))
		return true;
	if (site) {
		site->gone = true; /* it has its last reading first, then the new one its turn */
		return false;
	}
	site = site_open(node, ns, -1, &error);
	if (site) {
		admit(node, site);
	} else if (can_wait && g_error_matches(error, NETNS_ERROR, NETNS_ERROR_NOT_YET)) {
		return false;
	} else if (!g_error_matches(error, NETNS_ERROR, NETNS_ERROR_GONE)) {
		complain_of_file(node, ns, error->message);
	}
	return true;
}

static bool has_waiting(const struct node *node)
{
	GHashTableIter each;
	void *ns;

	g_hash_table_iter_init(&each, node->pending);
	while (g_hash_table_iter_next(&each, &ns, NULL))
		if (!g_hash_table_contains(node->sites, ns))
			return true;
	return false;
}

void sites_await(struct node *node, const char *ns)
{
	int64_t now_us = clock_now().boot_us;

	if (!g_hash_table_contains(node->pending, ns))
		g_hash_table_insert(node->pending, g_strdup(ns), g_memdup2(&now_us, sizeof now_us));
}

/* Who hears of them tries again and again for a while; who does not waits here. */
void sites_open_pending(struct node *node)
{
	unsigned rounds = node->watch ? 0 : WAIT_ROUNDS;

	for (unsigned round = 0; round <= rounds; round++) {
		g_autoptr(GList) names = g_list_sort(g_hash_table_get_keys(node->pending), (GCompareFunc)strcmp);
		int64_t oldest_us = clock_now().boot_us - PATIENCE_US;

		for (GList *each = names; each; each = each->next) {
			int64_t since_us = *(const int64_t *)g_hash_table_lookup(node->pending, each->data);

			if (open_pending(node, each->data, node->watch ? since_us > oldest_us : round < rounds))
				g_hash_table_remove(node->pending, each->data);
		}
		if (round == rounds || !has_waiting(node))
			return;
		g_usleep(WAIT_US);
	}
}

/* Compares the directory with what is open. */
bool sites_scan(struct node *node, GError **error)
{
	g_autoptr(GPtrArray) strangers = g_ptr_array_new_with_free_func(g_free);
	GPtrArray *names = inventory_names(node->config->netns_dir, strangers, error);
	GHashTableIter each;
	void *site;

	if (!names)
		return false;
	g_clear_pointer(&node->names, g_ptr_array_unref);
	node->names = names;
	for (unsigned i = 0; i < strangers->len; i++)
		node_complain_of(node, strangers->pdata[i],
		                 "named like a router, but without a uuid (not one of Neutron's?), skipping");
	g_hash_table_iter_init(&each, node->sites);
	while (g_hash_table_iter_next(&each, NULL, &site))
		((struct site *)site)->gone |= !site_is_still(node, site);
	for (unsigned i = 0; i < names->len; i++)
		sites_await(node, names->pdata[i]);
	return true;
}

/* ---- the end of a cycle ---- */

static bool is_over(const struct site *site)
{
	return site->gone && (site->parted || site->failed);
}

void sites_sweep(struct node *node)
{
	GHashTableIter each;
	void *site;

	g_ptr_array_set_size(node->turn, 0);
	g_hash_table_iter_init(&each, node->sites);
	while (g_hash_table_iter_next(&each, NULL, &site)) {
		if (!is_over(site))
			continue;
		let_go(node, site);
		g_hash_table_iter_remove(&each);
	}
}

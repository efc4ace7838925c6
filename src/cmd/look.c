/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See look.h.
 */
#include "cmd/look.h"

#include "cmd/supervisor.h"
#include "core/plan.h"
#include "inventory/inventory.h"
#include "kernel/clock.h"
#include "kernel/netlink.h"
#include "kernel/netns.h"
#include "kernel/xtables.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* For files that are no namespaces yet: 0.6 to 2.3 ms with a real Neutron.  An agent can do something else meanwhile. */
#define WAIT_ROUNDS 5
#define WAIT_US 2000
#define PATIENCE_US 2000000
#define NAT "nat"

/* ---- one site ---- */

void site_close(struct site *site)
{
	netlink_close(site->place.netfilter);
	site->place.netfilter = NULL;
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
static bool is_still(const struct node *node, const struct site *site)
{
	g_autofree char *path = g_build_filename(node->config->netns_dir, site->ns, NULL);
	struct stat file;

	if (lstat(path, &file) < 0)
		return errno != ENOENT && errno != ENOTDIR;
	return file.st_ino == site->inode && !S_ISLNK(file.st_mode);
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

void look_take_kept(struct node *node)
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

	if (site && is_still(node, site))
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

static void add_pending(struct node *node, const char *ns)
{
	int64_t now_us = clock_now().boot_us;

	if (!g_hash_table_contains(node->pending, ns))
		g_hash_table_insert(node->pending, g_strdup(ns), g_memdup2(&now_us, sizeof now_us));
}

/* Who hears of them tries again and again for a while; who does not waits here. */
static void open_all_pending(struct node *node)
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
static bool scan(struct node *node, GError **error)
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
		((struct site *)site)->gone |= !is_still(node, site);
	for (unsigned i = 0; i < names->len; i++)
		add_pending(node, names->pdata[i]);
	return true;
}

/* ---- looking ---- */

/* What is local to a router, and what it has on-link, goes with its addresses when it becomes standby.  Its counters
 * keep what they had as master, so that they count from the first packet when it is master again. */
static void recall_prefixes(struct site *site, struct router *router)
{
	const struct router *master = site->master;

	if (!plan_is_standby(router)) {
		router_free(site->master);
		site->master = router_new(router->ns, router->name);
		g_array_append_vals(site->master->local, router->local->data, router->local->len);
		g_array_append_vals(site->master->onlink, router->onlink->data, router->onlink->len);
	} else if (master && !router->local->len) {
		g_array_append_vals(router->local, master->local->data, master->local->len);
		g_array_set_size(router->onlink, 0);
		g_array_append_vals(router->onlink, master->onlink->data, master->onlink->len);
	}
}

/* In which flavour are the rules that hold, should the router turn out to have both by now? */
static enum flavour ruling(const struct site *site)
{
	enum flavour before = site->router ? site->router->flavour : FLAVOUR_NONE;

	return before == FLAVOUR_NFT ? FLAVOUR_LEGACY : before == FLAVOUR_LEGACY ? FLAVOUR_NFT : site->ruling;
}

/* Who does not hear looks at what changed without having read the directory. */
static void notice_end(struct node *node, struct site *site)
{
	g_autofree char *path = g_build_filename(node->config->netns_dir, site->ns, NULL);
	struct stat file;

	if (is_still(node, site))
		return;
	site->gone = true;
	if (lstat(path, &file) == 0)
		add_pending(node, site->ns);
}

static void fall_behind(struct site *site, const struct instant *now)
{
	if (site->behind)
		return;
	site->behind = true;
	site->behind_us = site->heard_us ? site->heard_us : now->boot_us;
	site->since = site->known_at;
}

static void look_at(struct node *node, struct site *site)
{
	struct instant now = clock_now();
	struct router *router;
	struct plan *plan;
	GError *error = NULL;
	uint64_t legacy_nat;

	/* asked before it is read: a change in between shows at the next poll */
	router = xtables_fingerprint(site->place.ns_fd, NAT, &legacy_nat, &error) ?
	         inventory_look(site->place.ns_fd, site->place.netfilter, site->ns, ruling(site), &error) : NULL;
	if (!router) {
		fall_behind(site, &now); /* of what it is to be */
		node->again |= g_error_matches(error, NETLINK_ERROR, NETLINK_ERROR_INTERRUPTED);
		node_fail_site(node, site, error);
		return;
	}
	if (!site->gone)
		notice_end(node, site);
	site->ruling = ruling(site);
	if (!site->gone)
		recall_prefixes(site, router);
	router->external |= site->gone; /* its devices went first; of its rules it is to be known what they asked for */
	plan = plan_make(router, node->config->classes);
	plan->standby &= !site->gone; /* without its addresses it only looks like one */
	site->strayed |= site->late && site->plan && !plan_is_same(site->plan, plan);
	if (site->plan)
		plan_keep_arrivals(plan, site->plan);
	if (site->plan && site->unread)
		plan_keep_lent(plan, site->plan);
	router_free(site->router);
	plan_free(site->plan);
	site->router = router;
	site->plan = plan;
	fall_behind(site, &now);
	if (!site->gone) /* else what was read may be what its end had left */
		site->known_at = now;
	site->legacy_nat = legacy_nat;
	site->followed_us = site->heard_us;
	site->heard_us = 0;
	site->dirty = false;
}

bool look_for_arrivals(struct site *site, GError **error)
{
	struct router *router;

	if (!plan_awaits_address(site->plan))
		return true;
	router = inventory_look(site->place.ns_fd, site->place.netfilter, site->ns, site->ruling, error);
	if (!router)
		return false;
	plan_mark_arrivals(site->plan, router, site->found);
	router_free(router);
	return true;
}

static int compare_sites(const void *a, const void *b)
{
	return strcmp((*(struct site *const *)a)->ns, (*(struct site *const *)b)->ns);
}

/* That nothing counts since the last cycle stays known until something does. */
static void forget_cycle(struct site *site)
{
	g_clear_pointer(&site->found, snapshot_free);
	g_clear_pointer(&site->tag, g_free);
	site->missed = NULL;
	if (site->synced || !site->plan || !site->plan->meters->len)
		site->between = NULL;
	site->followed_us = 0;
	site->stale = site->unread;
	site->going = site->synced = site->late = site->failed = false;
}

bool look(struct node *node, enum look which, GError **error)
{
	GHashTableIter each;
	void *item;

	node->unmetered = 0;
	node->again = false;
	if (node->unscanned)
		which = LOOK_ALL;
	node->all = which != LOOK_HEARD;
	g_ptr_array_set_size(node->turn, 0);
	node->unscanned = node->all && !scan(node, error);
	if (node->unscanned)
		return false;
	open_all_pending(node);
	g_hash_table_iter_init(&each, node->sites);
	while (g_hash_table_iter_next(&each, NULL, &item)) {
		struct site *site = item;

		site->dirty |= which == LOOK_ALL;
		if (node->all || site->dirty || site->gone)
			g_ptr_array_add(node->turn, site);
	}
	g_ptr_array_sort(node->turn, compare_sites);
	for (unsigned i = 0; i < node->turn->len; i++) {
		struct site *site = node->turn->pdata[i];

		if (site->gone && site->place.ns_fd < 0) /* its last reading waits to be committed */
			continue;
		if (site->dirty && !site->gone)
			notice_end(node, site);
		forget_cycle(site);
		site->late = site->behind && clock_now().boot_us - site->behind_us >= PROMPT_US;
		if (site->dirty && (!site->gone || !site->plan)) /* of one that was kept for us nothing is known */
			look_at(node, site);
		else if (node->watch && !site->gone && site->router->flavour == FLAVOUR_NFT)
			site->known_at = node->heard_at; /* nothing was heard */
		if (site->plan)
			site->plan->known_at = site->known_at;
	}
	return true;
}

static bool is_over(const struct site *site)
{
	return site->gone && (site->parted || site->failed);
}

void look_sweep(struct node *node)
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

/* ---- hearing ---- */

void look_listen(struct node *node)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *message = NULL;
	GHashTableIter each;
	void *item;

	node->watch = watch_open(node->config->netns_dir, &error);
	if (!node->watch) {
		message = g_strconcat(error->message, ": changes are seen at the next sample only", NULL);
		node_complain(node, "events", message);
		return;
	}
	g_hash_table_iter_init(&each, node->sites);
	while (g_hash_table_iter_next(&each, NULL, &item)) {
		struct site *site = item;

		if (site->place.ns_fd < 0) /* gone; its last reading waits to be committed */
			continue;
		if (!watch_follow(node->watch, site->place.ns_fd, site->ns, &error))
			node_complain_of(node, site->ns, error->message);
		g_clear_error(&error);
		site->dirty = true;
	}
}

struct hearing {
	struct node *node;
	int64_t at_us;
	bool any, everything;
};

static void touch(struct site *site, int64_t at_us)
{
	site->dirty = true;
	if (!site->heard_us)
		site->heard_us = at_us;
}

static void take_event(enum watch_event event, const char *ns, void *data)
{
	struct hearing *hearing = data;
	struct site *site = ns ? g_hash_table_lookup(hearing->node->sites, ns) : NULL;

	switch (event) {
	case WATCH_CHANGED:
		if (site)
			touch(site, hearing->at_us);
		break;
	case WATCH_CAME:
		add_pending(hearing->node, ns);
		break;
	case WATCH_WENT:
		if (site && !is_still(hearing->node, site)) {
			site->gone = true;
			site->heard_us = hearing->at_us;
		}
		break;
	case WATCH_EVERYTHING:
		hearing->everything = true;
		break;
	}
	hearing->any = true;
}

/* Nobody knows what has changed: of no router is it known that it is still as it was seen. */
static void doubt_all(struct node *node)
{
	GHashTableIter each;
	void *site;

	g_hash_table_iter_init(&each, node->sites);
	while (g_hash_table_iter_next(&each, NULL, &site))
		((struct site *)site)->dirty = true;
}

bool look_hear(struct node *node, bool *everything)
{
	/* what happened while nobody listened may have happened at its begin */
	struct hearing hearing = { .node = node, .at_us = node->busy_us ? node->busy_us : clock_now().boot_us };
	g_autoptr(GError) error = NULL;

	*everything = false;
	if (!node->watch)
		return false;
	node->heard_at = clock_now();
	node->busy_us = 0;
	if (!watch_take(node->watch, take_event, &hearing, &error)) {
		node_complain(node, "events", error->message);
		g_clear_pointer(&node->watch, watch_close);
		hearing.any = hearing.everything = true;
	}
	if (hearing.everything)
		doubt_all(node);
	*everything = hearing.everything;
	return hearing.any;
}

static bool has_changed(struct node *node, struct site *site)
{
	g_autoptr(GError) error = NULL;
	uint64_t legacy_nat;

	if (!xtables_fingerprint(site->place.ns_fd, NAT, &legacy_nat, &error)) {
		node_complain_of(node, site->ns, error->message);
		return false;
	}
	if (legacy_nat == site->legacy_nat) {
		if (node->watch) /* else its addresses, and rules of the other flavour, may have changed all the same */
			site->known_at = node->heard_at;
		return false;
	}
	site->dirty = true; /* not heard: nobody knows when */
	return true;
}

bool look_poll(struct node *node, bool all)
{
	GHashTableIter each;
	bool any = false;
	void *item;

	g_hash_table_iter_init(&each, node->sites);
	while (g_hash_table_iter_next(&each, NULL, &item)) {
		struct site *site = item;

		if ((all || site->legacy_nat) && !site->dirty && !site->gone)
			any |= has_changed(node, site);
	}
	return any;
}

bool look_wants_poll(const struct node *node)
{
	GHashTableIter each;
	void *site;

	g_hash_table_iter_init(&each, node->sites);
	while (g_hash_table_iter_next(&each, NULL, &site))
		if (((struct site *)site)->legacy_nat)
			return true;
	return false;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See look.h.
 */
#include "cmd/look.h"

#include "cmd/sites.h"
#include "core/plan.h"
#include "inventory/inventory.h"
#include "kernel/clock.h"
#include "kernel/netlink.h"
#include "kernel/xtables.h"

#include <string.h>
#include <sys/stat.h>

#define NAT "nat"

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

	if (site_is_still(node, site))
		return;
	site->gone = true;
	if (lstat(path, &file) == 0)
		sites_await(node, site->ns);
}

static void fall_behind(struct site *site, const struct instant *now)
{
	if (site->behind)
		return;
	site->behind = true;
	site->behind_us = site->heard_us ? site->heard_us : site->known_at.boot_us ? site->known_at.boot_us : now->boot_us;
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
		bool changing = g_error_matches(error, NETLINK_ERROR, NETLINK_ERROR_INTERRUPTED);

		fall_behind(site, &now); /* of what it is to be */
		site->overlooked |= site->dirty && !changing;
		site->dirty = true;
		node->again |= changing;
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
	plan->look = ++node->looks;
	plan->out_sent = node->config->out_sent && site->backend->sends;
	plan->standby &= !site->gone; /* without its addresses it only looks like one */
	site->strayed |= site->late && site->plan && (site->overlooked || !plan_is_same(site->plan, plan));
	site->overlooked = false;
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
	site->unheard |= !site->heard_us;
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
	node->unscanned = node->all && !sites_scan(node, error);
	if (node->unscanned)
		return false;
	sites_open_pending(node);
	g_hash_table_iter_init(&each, node->sites);
	while (g_hash_table_iter_next(&each, NULL, &item)) {
		struct site *site = item;

		if (node->all || site->dirty || site->gone)
			g_ptr_array_add(node->turn, site);
	}
	g_ptr_array_sort(node->turn, compare_sites);
	for (unsigned i = 0; i < node->turn->len; i++) {
		struct site *site = node->turn->pdata[i];
		bool wanted = site->dirty || which == LOOK_ALL;

		if (site->gone && site->place.ns_fd < 0) /* its last reading waits to be committed */
			continue;
		if (wanted && !site->gone)
			notice_end(node, site);
		forget_cycle(site);
		site->late = site->behind && clock_now().boot_us - site->behind_us >= PROMPT_US;
		if (wanted && (!site->gone || !site->plan)) /* of one that was kept for us nothing is known */
			look_at(node, site);
		else if (node->watch && !site->gone && site->router->flavour == FLAVOUR_NFT)
			site->known_at = node->heard_at; /* nothing was heard */
		if (site->plan)
			site->plan->known_at = site->known_at;
	}
	return true;
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

/* Of one that may have changed before, nobody knows when. */
static void touch(struct site *site, int64_t at_us)
{
	if (!site->heard_us && (site->fresh || !site->dirty))
		site->heard_us = at_us;
	site->dirty = true;
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
		sites_await(hearing->node, ns);
		break;
	case WATCH_WENT:
		if (site && !site_is_still(hearing->node, site)) {
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

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Namespaces that have gone: those that we held when they went, and those of which a back end has kept the counters.
 */
#include "cmd/cycle.h"

#include "cmd/sites.h"
#include "core/plan.h"
#include "kernel/clock.h"
#include "kernel/netlink.h"

#include <string.h>

#define LAST_TRIES 3

/* ---- those that went ---- */

/* Another namespace has the name already, and had it before that was heard of: what was in it until now nobody counted,
 * while this one, which is held, still stood.  Neutron takes longer than PROMPT_US to lead packets through a new one. */
static bool is_replaced(const struct node *node, const struct site *site)
{
	bool prompt = site->heard_us && clock_now().boot_us - site->heard_us < PROMPT_US;

	return g_hash_table_contains(node->pending, site->ns) && !prompt;
}

/* What keeps the namespace alive although it is gone. */
static void let_go(struct node *node, const struct site *site)
{
	GError *error = NULL;

	if (!site->backend->leave || site->backend->leave(site->backend, &site->place, &error))
		return;
	node_complain_of(node, site->ns, error->message);
	g_error_free(error);
}

/* Of a namespace that cannot be looked at any more: what stands in it says itself what it has counted. */
static struct plan *bare_plan(const struct node *node, const char *ns)
{
	SCOPED(router) *router = router_new(ns, router_name_of(ns));

	return plan_make(router, node->config->classes);
}

/* Where nothing was done yet, what stands may be another back end's, and a look at it may have failed.  What fails is tried
 * again: there is no next sample. */
static bool read_last(struct node *node, struct site *site)
{
	bool done = false;

	if (!site->plan)
		site->plan = bare_plan(node, site->ns);
	for (unsigned i = 0; !done && i < LAST_TRIES; i++) {
		site->failed = false;
		done = cycle_read_one(node, site);
	}
	for (unsigned i = 0; done && site->fresh && !site->found->generation && i < BACKENDS && node->backends[i]; i++) {
		site->backend = node->backends[i];
		done = cycle_read_one(node, site);
	}
	if (done && site->found->out_sent)
		cycle_take_traffic(node, site);
	return done;
}

bool cycle_part(struct node *node, GError **error)
{
	for (unsigned i = 0; i < node->turn->len; i++) {
		struct site *site = node->turn->pdata[i];

		if (!site->gone || site->place.ns_fd < 0)
			continue;
		if (!read_last(node, site))
			site->failed = true;
		if (!site->failed && is_replaced(node, site)) {
			site->found->missed = "another namespace took the place of this one between two looks";
			site->found->missed_since = site->known_at;
		}
		if (!site->failed && site->late)
			site->found->missed = CYCLE_BEHIND;
		if (!site->failed && !site->found->intact)
			site->found->missed = CYCLE_BROKEN;
		let_go(node, site);
		site_close(site); /* before the commit: its devices stay as long as it is held */
	}
	for (unsigned i = 0; i < node->turn->len; i++) {
		struct site *site = node->turn->pdata[i];

		if (!site->gone || site->failed)
			continue;
		if (!cycle_settle_former(node, site, error) ||
		    (site->found->generation && !cycle_end_one(node, site, site->found, error)))
			return false; /* what was read is kept until it can be committed */
		site->parted = true;
	}
	return true;
}

/* ---- those that are gone already ---- */

/* Where that cannot be told, yes. */
static bool still_lives(const struct node *node, const struct remains *remains)
{
	const struct site *site = g_hash_table_lookup(node->sites, remains->ns);
	uint64_t cookie;

	if (!site)
		return g_ptr_array_find_with_equal_func(node->names, remains->ns, g_str_equal, NULL);
	if (site->gone)
		return !site->parted;
	return !netlink_ns_cookie(site->place.netfilter, &cookie, NULL) || cookie == remains->cookie;
}

/* What it counted to its end.  The books may have that already. */
static bool settle_remains(struct node *node, struct backend *backend, const struct remains *remains, GError **error)
{
	struct place place = { .ns_fd = -1, .ns = remains->ns, .cookie = remains->cookie };
	SCOPED(plan) *plan = bare_plan(node, remains->ns);
	SCOPED(snapshot) *last = NULL;
	struct batch *batch = batch_new();
	g_autoptr(GError) refusal = NULL;
	bool done;

	last = backend->read(backend, &place, &refusal);
	if (last && !last->intact)
		last->missed = CYCLE_BROKEN;
	else if (last && g_hash_table_contains(node->sites, remains->ns))
		last->missed = CYCLE_REPLACED; /* and nobody knows since when that has had traffic */
	if (last && last->generation)
		ledger_end(node->ledger, plan, last, batch);
	done = cycle_commit(node, batch, error);
	batch_free(batch);
	if (done && (!last || !backend->remove(backend, &place, &refusal)))
		node_complain_of(node, remains->ns, refusal->message);
	return done;
}

bool cycle_remains(struct node *node, GError **error)
{
	for (unsigned i = 0; i < BACKENDS && node->all; i++) {
		struct backend *backend = node->backends[i];
		g_autoptr(GError) refusal = NULL;
		g_autoptr(GArray) found = backend && backend->remains ? backend->remains(backend, &refusal) : NULL;

		if (refusal)
			node_complain(node, backend->name, refusal->message);
		for (unsigned j = 0; found && j < found->len; j++) {
			const struct remains *remains = &g_array_index(found, struct remains, j);

			if (!still_lives(node, remains) && !settle_remains(node, backend, remains, error))
				return false;
		}
	}
	return true;
}

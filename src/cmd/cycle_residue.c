/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The continuous audit (core/residue.h): at each sample, what has come into the books of a router since the last one is held
 * against what its devices say.  A window in which anything was out of the ordinary is not judged, and a new one begins; so
 * is one that a commit which failed has left without its rows.
 */
#include "cmd/cycle.h"

#include "inventory/statistics.h"

void cycle_take_traffic(struct node *node, struct site *site)
{
	g_clear_pointer(&site->traffic, traffic_free);
	if (!node->ledger || !site->router || !site->router->external)
		return;
	if (!site->statistics)
		site->statistics = statistics_open(site->place.ns_fd, NULL);
	if (site->statistics)
		site->traffic = statistics_read(site->statistics, NULL);
	site->found->most = window_bound(&site->window, site->traffic, site->backend->basis);
}

/* A standby sees what is flooded, and counts nothing. */
static bool counts(const struct site *site)
{
	return !site->plan->standby && site->plan->meters->len;
}

static bool is_long_enough(const struct site *site)
{
	const struct window *window = &site->window;

	return !window->from || window->unfit || !site->traffic ||
	       site->traffic->at.boot_us - window->from->at.boot_us >= WINDOW_MIN_US;
}

static void judge(struct node *node, struct site *site, struct batch *batch)
{
	struct residue residue, *found;

	if (!window_judge(&site->window, site->traffic, site->backend->basis, &residue))
		return;
	found = g_memdup2(&residue, sizeof residue);
	found->node = g_strdup(node->name);
	found->router = g_strdup(site->plan->router);
	g_ptr_array_add(batch->residues, found);
	window_learn(&site->window, found);
	if (!found->flagged)
		g_clear_pointer(&site->suspicion, g_free);
	else if (!site->suspicion) /* the first tells of all that follow: what changes is logged each time */
		site->suspicion = residue_describe(found);
}

void cycle_weigh(struct node *node, struct site *site, struct batch *batch, const struct batch_mark *mark)
{
	struct window *window = &site->window;

	window_add(window, batch, mark);
	window->unfit |= site->found->missed || !counts(site);
	if (!node->all || !is_long_enough(site))
		return;
	judge(node, site, batch);
	window_begin(window, g_steal_pointer(&site->traffic));
	window->unfit = !counts(site);
}

void cycle_spoil_window(struct site *site)
{
	site->window.unfit = true;
}

void cycle_tell_suspicions(struct node *node)
{
	for (unsigned i = 0; i < node->turn->len; i++) {
		const struct site *site = node->turn->pdata[i];

		if (site->suspicion && !site->failed && !site->gone)
			node_complain_of(node, site->ns, site->suspicion);
	}
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The continuous audit (core/residue.h): at each sample, what has come into the books of a router since the last one is held
 * against what its devices say.  A window in which anything was out of the ordinary is not judged, and a new one begins; so
 * is one that a commit which failed has left without its rows.
 */
#include "cmd/cycle.h"

#include "core/plan.h"
#include "inventory/statistics.h"

#define CHECK_TRIES 5 /* until nothing is sent while it is read; some 0.1 ms each */

static enum basis basis_of(const struct site *site)
{
	return plan_basis(site->plan, site->backend->basis);
}

static bool read_traffic(struct site *site, GError **error)
{
	g_clear_pointer(&site->traffic, traffic_free);
	if (!site->statistics)
		site->statistics = statistics_open(site->place.ns_fd, error);
	if (site->statistics)
		site->traffic = statistics_read(site->statistics, error);
	return site->traffic;
}

/* Has the back end seen all that the devices have sent?  Where that cannot be asked, it is told: it is not known. */
static void check_sent(struct site *site)
{
	g_autoptr(GError) error = NULL;
	bool again = true;

	for (unsigned i = 0; i < CHECK_TRIES && again; i++) {
		if (i || !site->traffic)
			read_traffic(site, &error);
		if (site->traffic && site->backend->check(site->backend, &site->place, site->traffic, site->found, &again, &error))
			continue;
		g_free(site->found->unseen);
		site->found->unseen = g_strdup_printf("out: whether all that was sent was seen could not be asked: %s", error->message);
		return;
	}
}

void cycle_take_traffic(struct node *node, struct site *site)
{
	g_clear_pointer(&site->traffic, traffic_free);
	if (!node->ledger || !site->router || !site->router->external)
		return;
	read_traffic(site, NULL);
	if (site->found->out_sent)
		check_sent(site);
	site->found->most = window_bound(&site->window, site->traffic, basis_of(site));
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

	if (!window_judge(&site->window, site->traffic, basis_of(site), &residue))
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
	window->unfit |= site->found->missed || site->found->unseen || !counts(site);
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

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See cycle.h.
 */
#include "cmd/cycle.h"

#include "core/plan.h"
#include "kernel/clock.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TRIES 5 /* reads of a namespace that changes under our hands */

/* ---- reading ---- */

/* Reads until what was read is a reading: not cut short, not below the books (unless it stays so). */
static struct snapshot *read_site(struct node *node, const struct site *site, GError **error)
{
	struct snapshot *snapshot = NULL;
	bool shrunk = false;

	for (unsigned i = 0; i < TRIES; i++) {
		g_clear_error(error);
		g_clear_pointer(&snapshot, snapshot_free);
		snapshot = node->backend->read(node->backend, &site->place, error);
		if (!snapshot) {
			if (!g_error_matches(*error, BACKEND_ERROR, BACKEND_ERROR_AGAIN))
				return NULL;
			continue;
		}
		if (!node->ledger || shrunk || !ledger_shrunk(node->ledger, snapshot, site->place.ns))
			return snapshot;
		shrunk = true;
	}
	return snapshot;
}

static bool read_into(struct node *node, struct site *site)
{
	GError *error = NULL;

	snapshot_free(site->found);
	site->found = read_site(node, site, &error);
	if (!site->found)
		node_fail_site(node, site, error);
	return site->found;
}

void cycle_read(struct node *node)
{
	for (unsigned i = 0; i < node->sites->len; i++) {
		struct site *site = node->sites->pdata[i];

		if (!site->failed && read_into(node, site))
			site->tag = g_strdup(site->found->generation);
	}
}

/* ---- committing ---- */

static bool commit(struct node *node, struct batch *batch, GError **error)
{
	g_autoptr(GPtrArray) open = NULL;
	GError *second_home = NULL;

	if (batch_is_empty(batch))
		return true;
	if (!store_commit(node->store, batch, error))
		return false;
	ledger_adopt(node->ledger, batch);
	open = ledger_open_meters(node->ledger);
	if (!store_save_baselines(node->store, open, &second_home)) {
		node_complain(node, "second home of the baselines", second_home->message);
		g_error_free(second_home);
	}
	return true;
}

/* After this no packet is on its way any more to a counter that has stopped matching: an RCU grace period
 * (membarrier(2)).  Where it is not to be had, a read this much later sees the same in all but theory. */
static void wait_for_packets(void)
{
	syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
}

/* ---- taking down ---- */

/* Nothing matches any more in the sites that go. */
static bool stop_all(struct node *node, bool (*ruin)(const struct site *site))
{
	bool any = false;

	for (unsigned i = 0; i < node->sites->len; i++) {
		struct site *site = node->sites->pdata[i];
		GError *error = NULL;

		site->going = !site->failed && ruin(site);
		if (!site->going)
			continue;
		any = true;
		if (!site->found->intact)
			site->missed = "rules of ours were found changed or missing";
		if (!node->backend->stop(node->backend, &site->place, &error))
			node_fail_site(node, site, error);
	}
	return any;
}

/* As if nothing were planned there: every meter ends with its last reading. */
static void settle_for_good(struct node *node, struct site *site, struct batch *batch)
{
	GArray *meters = site->plan->meters;

	site->found->missed = site->missed;
	site->plan->meters = g_array_new(FALSE, TRUE, sizeof(struct planned_meter));
	ledger_settle(node->ledger, site->plan, node->backend->basis, site->found, batch);
	g_array_unref(site->plan->meters);
	site->plan->meters = meters;
}

static void remove_site(struct node *node, struct site *site)
{
	GError *error = NULL;

	if (!node->backend->remove(node->backend, &site->place, &error)) {
		node_fail_site(node, site, error);
		return;
	}
	site->missed = NULL;
	g_clear_pointer(&site->tag, g_free);
	snapshot_free(site->found);
	site->found = snapshot_new();
	site->found->intact = true;
}

bool cycle_take_down(struct node *node, bool (*ruin)(const struct site *site), GError **error)
{
	struct batch *batch;
	bool done;

	if (!stop_all(node, ruin))
		return true;
	wait_for_packets();
	batch = batch_new();
	for (unsigned i = 0; i < node->sites->len; i++) {
		struct site *site = node->sites->pdata[i];

		if (site->going && !site->failed && read_into(node, site) && site->found->generation)
			settle_for_good(node, site, batch);
	}
	done = commit(node, batch, error);
	batch_free(batch);
	for (unsigned i = 0; done && i < node->sites->len; i++) {
		struct site *site = node->sites->pdata[i];

		if (site->going && !site->failed)
			remove_site(node, site);
	}
	return done;
}

/* ---- making it so ---- */

static bool wants_sync(struct node *node, const struct site *site)
{
	return !site->failed && site->plan->meters->len &&
	       node->backend->differs(node->backend, &site->place, site->plan, site->found);
}

/* A subnet that came after the last look: what it sent was nobody's. */
static void declare_missed(struct node *node, struct site *site, const struct instant *now, struct batch *batch)
{
	GError *error = NULL;
	bool lacks = false;

	if (!site->found->generation)
		return;
	if (!node->backend->lacks(node->backend, &site->place, site->plan, &lacks, &error)) {
		node_fail_site(node, site, error);
	} else if (lacks) {
		site->missed = "a subnet appeared between two looks, what it sent was not counted";
		ledger_miss(node->ledger, site->plan, site->missed, now, batch);
	}
}

static void open_meters(struct node *node, struct site *site, const struct instant *now, struct batch *batch)
{
	declare_missed(node, site, now, batch);
	if (!site->tag)
		site->tag = backend_new_tag();
	ledger_open(node->ledger, site->plan, site->tag, node->backend->basis, site->found, now, batch);
}

static void sync_site(struct node *node, struct site *site)
{
	GError *error = NULL;

	if (node->backend->sync(node->backend, &site->place, site->plan, site->tag, site->found, &error))
		site->synced = true;
	else
		node_fail_site(node, site, error);
}

bool cycle_sync(struct node *node, GError **error)
{
	struct batch *births = batch_new();
	struct instant now = clock_now();
	bool done, any = false;

	for (unsigned i = 0; i < node->sites->len; i++) {
		struct site *site = node->sites->pdata[i];

		if (wants_sync(node, site))
			open_meters(node, site, &now, births);
	}
	done = commit(node, births, error);
	for (unsigned i = 0; done && i < node->sites->len; i++) {
		struct site *site = node->sites->pdata[i];

		if (!wants_sync(node, site))
			continue;
		sync_site(node, site);
		any = true;
	}
	batch_free(births);
	if (any)
		wait_for_packets();
	return done;
}

/* ---- settling ---- */

static void add_gone(struct node *node, struct batch *batch)
{
	g_autoptr(GHashTable) present = g_hash_table_new(g_str_hash, g_str_equal);
	struct instant now = clock_now();

	for (unsigned i = 0; i < node->sites->len; i++)
		g_hash_table_add(present, (char *)((struct site *)node->sites->pdata[i])->place.ns);
	for (unsigned i = 0; i < node->inventory->problems->len; i++)
		g_hash_table_add(present, ((struct inventory_problem *)node->inventory->problems->pdata[i])->ns);
	ledger_bury(node->ledger, present, &now, batch);
}

static void bury_dead(struct node *node)
{
	for (unsigned i = 0; i < node->sites->len; i++) {
		struct site *site = node->sites->pdata[i];
		GError *error = NULL;

		if (site->failed || !site->found->generation)
			continue;
		if (!node->backend->bury(node->backend, &site->place, site->plan, site->found, &error))
			node_fail_site(node, site, error);
	}
}

bool cycle_settle(struct node *node, GError **error)
{
	struct batch *batch = batch_new();
	bool done;

	for (unsigned i = 0; i < node->sites->len; i++) {
		struct site *site = node->sites->pdata[i];

		if (site->failed || (site->synced && !read_into(node, site)) || !site->found->generation)
			continue;
		site->found->missed = site->missed;
		ledger_settle(node->ledger, site->plan, node->backend->basis, site->found, batch);
	}
	add_gone(node, batch);
	done = commit(node, batch, error);
	batch_free(batch);
	if (done)
		bury_dead(node);
	return done;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See cycle.h.
 */
#include "cmd/cycle.h"

#include "cmd/look.h"
#include "core/plan.h"
#include "kernel/clock.h"

#include <linux/membarrier.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- reading ---- */

/* What is below the books is read once more, before it is believed. */
static struct snapshot *read_site(struct node *node, const struct site *site, GError **error)
{
	struct snapshot *snapshot = backend_read_settled(site->backend, &site->place, error);

	if (!snapshot || !node->ledger || !ledger_shrunk(node->ledger, snapshot, site->ns))
		return snapshot;
	snapshot_free(snapshot);
	return backend_read_settled(site->backend, &site->place, error);
}

bool cycle_read_one(struct node *node, struct site *site)
{
	GError *error = NULL;

	snapshot_free(site->found);
	site->found = read_site(node, site, &error);
	if (!site->found) {
		if (g_error_matches(error, BACKEND_ERROR, BACKEND_ERROR_AGAIN))
			node->again = site->dirty = true;
		node_fail_site(node, site, error);
		return false;
	}
	/* Legacy tables make no event, so of a change in them nobody knows when it was. */
	site->found->prompt = site->followed_us && !site->late && !site->stale && !site->unheard && site->router &&
	                      site->router->flavour == FLAVOUR_NFT &&
	                      site->found->at.boot_us - site->followed_us < PROMPT_US;
	return true;
}

/* A reading that is settled, so held against what the devices say.  What else is read ends something, and is not. */
static bool read_to_settle(struct node *node, struct site *site)
{
	if (!cycle_read_one(node, site))
		return false;
	cycle_take_traffic(node, site);
	return true;
}

void cycle_read(struct node *node)
{
	for (unsigned i = 0; i < node->turn->len; i++) {
		struct site *site = node->turn->pdata[i];

		if (!site->failed && !site->gone && read_to_settle(node, site))
			site->tag = g_strdup(site->found->generation);
	}
}

/* ---- committing ---- */

#define SECOND_HOME "second home of the baselines"

/* Where nothing was committed the second home was not tried: what was wrong with it still is. */
static void complain_again(struct node *node)
{
	const char *before = g_hash_table_lookup(node->complaints, SECOND_HOME);

	if (before)
		node_complain(node, SECOND_HOME, before);
}

bool cycle_commit(struct node *node, struct batch *batch, GError **error)
{
	g_autoptr(GPtrArray) open = NULL;
	GError *second_home = NULL;

	if (batch_is_empty(batch))
		return true;
	if (!store_commit_sure(node->store, batch, error)) {
		complain_again(node);
		node_mend_books(node); /* the batch is of the old books: what it says is read again */
		return false;
	}
	ledger_adopt(node->ledger, batch);
	open = ledger_open_meters(node->ledger);
	if (!store_save_baselines(node->store, open, &second_home)) {
		node_complain(node, SECOND_HOME, second_home->message);
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

/* ---- readings that end something ---- */

bool cycle_end_one(struct node *node, struct site *site, const struct snapshot *last, GError **error)
{
	struct batch *batch = batch_new();
	bool done;

	cycle_spoil_window(site);
	ledger_end(node->ledger, site->plan, last, batch);
	done = cycle_commit(node, batch, error);
	batch_free(batch);
	return done;
}

bool cycle_settle_former(struct node *node, struct site *site, GError **error)
{
	struct snapshot *former = site->found ? site->found->former : NULL;

	if (!former || !former->generation)
		return true;
	former->missed = site->missed ? site->missed : site->found->intact ? NULL : CYCLE_BROKEN;
	return cycle_end_one(node, site, former, error);
}

/* ---- taking down ---- */

/* A subnet that came after the last look: what it sent was nobody's. */
static bool lacks_subnet(struct node *node, struct site *site)
{
	GError *error = NULL;
	bool lacks = false;

	if (!site->backend->lacks(site->backend, &site->place, site->plan, &lacks, &error))
		node_fail_site(node, site, error);
	return lacks;
}

/* Why what stands there, and goes, did not count all; NULL: it did. */
static const char *missed_before_stop(struct node *node, struct site *site)
{
	bool counted = site->found->generation && site->plan->meters->len;

	if (!site->found->intact)
		return CYCLE_BROKEN;
	if (site->late && (site->plan->meters->len || site->strayed))
		return CYCLE_BEHIND;
	return counted && lacks_subnet(node, site) ? CYCLE_NEW_SUBNET : NULL;
}

bool cycle_has_turned(const struct site *site)
{
	return site->found->generation && site->found->out_sent != site->plan->out_sent;
}

/* Nothing matches any more in the sites that go. */
static bool stop_all(struct node *node, bool (*ruin)(const struct site *site))
{
	bool any = false;

	for (unsigned i = 0; i < node->turn->len; i++) {
		struct site *site = node->turn->pdata[i];
		const char *missed;
		GError *error = NULL;

		site->going = !site->failed && !site->gone && ruin(site);
		if (!site->going)
			continue;
		any = true;
		missed = missed_before_stop(node, site);
		if (site->failed)
			continue;
		if (missed)
			site->missed = missed;
		if (!site->found->intact)
			site->between = CYCLE_BROKEN;
		else if (!site->between && cycle_has_turned(site) && site->plan->meters->len)
			site->between = CYCLE_TURNED;
		site->stopped_at = clock_now();
		if (!site->backend->stop(site->backend, &site->place, &error))
			node_fail_site(node, site, error);
	}
	return any;
}

static void remove_site(struct node *node, struct site *site)
{
	GError *error = NULL;

	if (!site->backend->remove(site->backend, &site->place, &error)) {
		node_fail_site(node, site, error);
		return;
	}
	g_clear_pointer(&site->tag, g_free);
	snapshot_free(site->found);
	site->found = snapshot_new();
	site->found->intact = true;
}

/* What the reading before it was stopped has found out goes for this one. */
static bool read_stopped(struct node *node, struct site *site)
{
	g_autofree char *unseen = g_steal_pointer(&site->found->unseen);

	if (!cycle_read_one(node, site))
		return false;
	site->found->unseen = g_steal_pointer(&unseen);
	return true;
}

bool cycle_take_down(struct node *node, bool (*ruin)(const struct site *site), GError **error)
{
	struct batch *batch;
	bool done = true;

	if (!stop_all(node, ruin))
		return true;
	wait_for_packets();
	for (unsigned i = 0; done && i < node->turn->len; i++) {
		struct site *site = node->turn->pdata[i];

		if (site->going && !site->failed && read_stopped(node, site))
			done = cycle_settle_former(node, site, error);
	}
	batch = batch_new();
	for (unsigned i = 0; done && i < node->turn->len; i++) {
		struct site *site = node->turn->pdata[i];

		if (!site->going || site->failed || !site->found->generation)
			continue;
		site->found->at = site->stopped_at; /* what is read later is what it was then */
		site->found->missed = site->missed;
		cycle_spoil_window(site);
		ledger_end(node->ledger, site->plan, site->found, batch);
	}
	done = done && cycle_commit(node, batch, error);
	batch_free(batch);
	for (unsigned i = 0; done && i < node->turn->len; i++) {
		struct site *site = node->turn->pdata[i];

		if (site->going && !site->failed)
			remove_site(node, site);
	}
	return done;
}

/* Is there something of another back end? */
static bool is_left_over(const struct site *site)
{
	return site->fresh && site->found && (site->found->generation || !site->found->intact);
}

static bool evict(struct node *node, struct backend *backend, GError **error)
{
	g_autofree struct backend **own = g_new(struct backend *, node->turn->len);
	bool done;

	for (unsigned i = 0; i < node->turn->len; i++) {
		struct site *site = node->turn->pdata[i];

		own[i] = site->backend;
		g_clear_pointer(&site->found, snapshot_free);
		if (!site->fresh || site->failed || site->gone || site->backend == backend)
			continue;
		site->backend = backend;
		if (cycle_read_one(node, site) && is_left_over(site))
			site->between = "the back end was changed";
	}
	done = cycle_take_down(node, is_left_over, error);
	for (unsigned i = 0; i < node->turn->len; i++)
		((struct site *)node->turn->pdata[i])->backend = own[i];
	return done;
}

bool cycle_evict(struct node *node, GError **error)
{
	bool any = false;

	for (unsigned i = 0; i < node->turn->len; i++)
		any |= ((struct site *)node->turn->pdata[i])->fresh;
	for (unsigned i = 0; any && i < BACKENDS && node->backends[i]; i++)
		if (!evict(node, node->backends[i], error))
			return false;
	return true;
}

/* ---- making it so ---- */

/* What is left of a generation that has stopped, by an agent that was killed, goes first. */
static bool drop_former(struct node *node, struct site *site, GError **error)
{
	GError *refusal = NULL;

	if (!site->found->former)
		return true;
	if (!cycle_settle_former(node, site, error))
		return false;
	if (!site->backend->bury(site->backend, &site->place, NULL, site->found, &refusal))
		node_fail_site(node, site, refusal);
	else
		g_clear_pointer(&site->found->former, snapshot_free);
	return true;
}

static enum change wanted_change(struct node *node, struct site *site)
{
	enum change change = CHANGE_NONE;
	GError *error = NULL;

	if (site->failed || site->gone)
		return CHANGE_NONE;
	if (site->plan->meters->len &&
	    !site->backend->compare(site->backend, &site->place, site->plan, site->found, &change, &error))
		node_fail_site(node, site, error);
	else if (change == CHANGE_NONE)
		site->behind = site->strayed; /* until the books have it */
	return site->failed ? CHANGE_NONE : change;
}

static void declare_missed(struct node *node, struct site *site, const struct instant *now, struct batch *batch)
{
	if (!lacks_subnet(node, site))
		return;
	site->missed = CYCLE_NEW_SUBNET;
	ledger_miss(node->ledger, site->plan, site->missed, now, batch);
}

static void open_meters(struct node *node, struct site *site, enum change change, const struct instant *now,
                        struct batch *batch)
{
	if (change == CHANGE_ANEW)
		g_clear_pointer(&site->tag, g_free);
	if (site->found->generation && site->late) {
		site->missed = CYCLE_BEHIND;
		ledger_miss(node->ledger, site->plan, site->missed, now, batch);
	}
	if (site->found->generation)
		declare_missed(node, site, now, batch);
	else if (site->between)
		ledger_miss(node->ledger, site->plan, site->between, now, batch);
	if (!site->tag)
		site->tag = backend_new_tag();
	site->plan->queued = ledger_open(node->ledger, site->plan, site->tag, plan_basis(site->plan, site->backend->basis),
	                                 site->found, site->since.boot_us ? &site->since : NULL, now, batch);
	site->plan->queued |= site->between != NULL;
}

static void sync_site(struct node *node, struct site *site)
{
	GError *error = NULL;

	site->synced = site->backend->sync(site->backend, &site->place, site->plan, site->tag, site->found, &error);
	if (!site->synced && !site->behind)
		site->behind_us = clock_now().boot_us;
	site->behind = !site->synced;
	if (site->synced)
		site->unread = true;
	else
		node_fail_site(node, site, error);
	if (site->backend->warning)
		cmd_log(CMD_WARNING, "%s namespace=%s", site->backend->warning, site->ns);
	g_clear_pointer(&site->backend->warning, g_free);
}

/* Puts the births that the plans ask for into the batch, and the sites that are to be changed into changing. */
static void prepare(struct node *node, GPtrArray *changing, struct batch *births)
{
	struct instant now = clock_now();

	for (unsigned i = 0; i < node->turn->len; i++) {
		struct site *site = node->turn->pdata[i];
		enum change change = wanted_change(node, site);
		struct batch_mark mark = batch_mark(births);

		if (site->strayed && !site->failed && !site->gone)
			ledger_miss(node->ledger, site->plan, CYCLE_BEHIND, &now, births);
		if (change == CHANGE_NONE)
			continue;
		open_meters(node, site, change, &now, births);
		window_add(&site->window, births, &mark);
		if (!site->failed)
			g_ptr_array_add(changing, site);
	}
}

/* Who leaves is written down if that can be: a store that is locked or full keeps no change from being followed.  What is
 * wrong with it the next commit says. */
static void note_leaving(struct node *node, const GPtrArray *changing)
{
	struct batch *leaving = batch_new();

	for (unsigned i = 0; i < changing->len; i++) {
		const struct site *site = changing->pdata[i];

		if (!g_strcmp0(site->found->generation, site->tag))
			ledger_leave(node->ledger, site->plan, site->tag, leaving);
	}
	if (!batch_is_empty(leaving) && store_commit_sure(node->store, leaving, NULL))
		ledger_adopt(node->ledger, leaving);
	batch_free(leaving);
}

/* The books have it now. */
static void forget_strayed(struct node *node)
{
	for (unsigned i = 0; i < node->turn->len; i++) {
		struct site *site = node->turn->pdata[i];

		if (!site->strayed || site->failed || site->gone)
			continue;
		site->strayed = site->behind = false;
	}
}

bool cycle_sync(struct node *node, GError **error)
{
	g_autoptr(GPtrArray) changing = g_ptr_array_new();
	struct batch *births;
	bool done = true;

	for (unsigned i = 0; done && i < node->turn->len; i++) {
		struct site *site = node->turn->pdata[i];

		if (!site->failed && !site->gone)
			done = drop_former(node, site, error);
	}
	if (!done)
		return false;
	births = batch_new();
	prepare(node, changing, births);
	done = cycle_commit(node, births, error);
	batch_free(births);
	if (done) {
		forget_strayed(node);
		note_leaving(node, changing);
	}
	for (unsigned i = 0; done && i < changing->len; i++)
		sync_site(node, changing->pdata[i]);
	if (done && changing->len)
		wait_for_packets();
	return done;
}

/* ---- settling ---- */

/* The namespaces that are there; NULL where the directory was not read, and it is not known. */
static GHashTable *names_present(const struct node *node)
{
	GHashTable *present = node->all ? g_hash_table_new(g_str_hash, g_str_equal) : NULL;

	for (unsigned i = 0; present && i < node->names->len; i++)
		g_hash_table_add(present, node->names->pdata[i]);
	return present;
}

/* Of those alone whose last counts have just been committed: in others there may be some of an earlier cycle that were
 * not. */
static void bury_dead(struct node *node, const GPtrArray *due)
{
	for (unsigned i = 0; i < due->len; i++) {
		struct site *site = due->pdata[i];
		GError *error = NULL;

		site->unread = site->unheard = false;
		plan_forget_lent(site->plan);
		if (!site->backend->bury(site->backend, &site->place, site->plan, site->found, &error))
			node_fail_site(node, site, error);
	}
}

/* It is in the coverage; the log has it, too. */
static void tell_unseen(struct node *node, const GPtrArray *due)
{
	for (unsigned i = 0; i < due->len; i++) {
		const struct site *site = due->pdata[i];

		if (site->found->unseen)
			node_complain_of(node, site->ns, site->found->unseen);
	}
}

/* A sample is of all; in between only what has changed is settled. */
static bool is_due(struct node *node, struct site *site)
{
	GError *error = NULL;

	if (site->failed || site->gone || !(node->all || site->synced))
		return false;
	if (site->synced && !look_for_arrivals(site, &error)) {
		node_fail_site(node, site, error);
		return false;
	}
	return (!site->synced || read_to_settle(node, site)) && site->found->generation;
}

bool cycle_settle(struct node *node, GError **error)
{
	g_autoptr(GHashTable) present = names_present(node);
	g_autoptr(GPtrArray) due = g_ptr_array_new();
	struct instant now;
	struct batch *batch;
	bool done = true;

	for (unsigned i = 0; done && i < node->turn->len; i++) {
		struct site *site = node->turn->pdata[i];

		if (!is_due(node, site))
			continue;
		g_ptr_array_add(due, site);
		done = cycle_settle_former(node, site, error);
	}
	if (!done)
		return false;
	batch = batch_new();
	for (unsigned i = 0; i < due->len; i++) {
		struct site *site = due->pdata[i];
		struct batch_mark mark = batch_mark(batch);

		site->found->missed = site->missed ? site->missed : site->between ? site->between :
		                      site->found->intact ? NULL : CYCLE_BROKEN;
		ledger_settle(node->ledger, site->plan, plan_basis(site->plan, site->backend->basis), site->found, batch);
		cycle_weigh(node, site, batch, &mark);
		plan_keep_strangers(site->plan, site->found); /* the batch has the others, and may be as large */
	}
	now = clock_now();
	if (present)
		ledger_bury(node->ledger, present, &now, batch);
	done = cycle_commit(node, batch, error);
	batch_free(batch);
	for (unsigned i = 0; !done && i < due->len; i++)
		cycle_spoil_window(due->pdata[i]);
	if (!done)
		return false;
	cycle_tell_suspicions(node);
	tell_unseen(node, due);
	bury_dead(node, due);
	for (unsigned i = 0; i < node->turn->len; i++) {
		struct site *site = node->turn->pdata[i];

		site->fresh &= site->failed;
	}
	if (present)
		ledger_forget(node->ledger, present, &now);
	return true;
}

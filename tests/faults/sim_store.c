/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The made-up store: what was committed outlives the agent; a commit may fail; the whole file may be lost, or an older
 * one be put in its place, and then the second home of the baselines decides, as src/store/open.c has it.  What the
 * real store refuses is refused here too, and is a failure: the ledger must not ask for it.
 */
#include "sim.h"

#include "store/store.h"

#include <string.h>

struct seen { /* a store id in the file */
	int number;
	int64_t commits;
	int after;
	int64_t after_commits;
};

struct file { /* usage.db */
	GArray *ids;         /* of struct seen, the last one is the current */
	GPtrArray *meters;   /* of struct meter *: the open ones */
	GPtrArray *coverage; /* of struct coverage *: the latest of each router and address, of the current id */
	int64_t next_meter, next_coverage;
};

struct home { /* baselines.N */
	int store;
	int64_t commits;
	GPtrArray *meters;
};

static struct file *file, *backup;
static struct home *homes[2];
static unsigned turn;
static int numbers; /* of store ids that there ever were */

/* ---- copies ---- */

static struct generation *generation_copy(GPtrArray *known, const struct generation *of)
{
	struct generation *copy;

	for (unsigned i = 0; i < known->len; i++) {
		copy = known->pdata[i];
		if (g_str_equal(copy->tag, of->tag) && g_str_equal(copy->boot, of->boot) && g_str_equal(copy->ns, of->ns))
			return copy;
	}
	copy = generation_new(of->tag, of->boot, of->node, of->ns, of->router, of->basis);
	copy->made_at = of->made_at;
	copy->read_at = of->read_at;
	g_ptr_array_add(known, copy);
	return copy;
}

/* Meters with generations of their own. */
static GPtrArray *meters_copy(const GPtrArray *meters)
{
	g_autoptr(GPtrArray) known = g_ptr_array_new_with_free_func((GDestroyNotify)generation_unref);
	GPtrArray *copies = g_ptr_array_new_with_free_func((GDestroyNotify)meter_free);

	for (unsigned i = 0; i < meters->len; i++) {
		struct meter *copy = meter_copy(meters->pdata[i]);
		struct generation *of = generation_copy(known, copy->of);

		generation_unref(copy->of);
		copy->of = generation_ref(of);
		g_ptr_array_add(copies, copy);
	}
	return copies;
}

static void *copy_coverage(const void *row, void *data)
{
	return coverage_copy(row);
}

static struct file *file_copy(const struct file *from)
{
	struct file *copy = g_memdup2(from, sizeof *from);

	copy->ids = g_array_copy(from->ids);
	copy->meters = meters_copy(from->meters);
	copy->coverage = g_ptr_array_copy(from->coverage, copy_coverage, NULL);
	g_ptr_array_set_free_func(copy->coverage, (GDestroyNotify)coverage_free);
	return copy;
}

static struct file *file_new(void)
{
	struct file *new = g_new0(struct file, 1);

	new->ids = g_array_new(FALSE, FALSE, sizeof(struct seen));
	new->meters = g_ptr_array_new_with_free_func((GDestroyNotify)meter_free);
	new->coverage = g_ptr_array_new_with_free_func((GDestroyNotify)coverage_free);
	new->next_meter = new->next_coverage = 1;
	return new;
}

static void file_free(struct file *old)
{
	if (!old)
		return;
	g_array_unref(old->ids);
	g_ptr_array_unref(old->meters);
	g_ptr_array_unref(old->coverage);
	g_free(old);
}

static void home_free(struct home *home)
{
	if (home)
		g_ptr_array_unref(home->meters);
	g_free(home);
}

void disk_init(void)
{
	file = backup = NULL;
	homes[0] = homes[1] = NULL;
	turn = 0;
	numbers = 0;
}

void disk_clear(void)
{
	g_clear_pointer(&file, file_free);
	g_clear_pointer(&backup, file_free);
	g_clear_pointer(&homes[0], home_free);
	g_clear_pointer(&homes[1], home_free);
}

/* ---- accidents ---- */

static struct home *newest_home(void)
{
	if (!homes[0] || !homes[1])
		return homes[0] ? homes[0] : homes[1];
	return homes[1]->commits > homes[0]->commits ? homes[1] : homes[0];
}

void disk_back_up(void)
{
	if (!file)
		return;
	file_free(backup);
	backup = file_copy(file);
}

void disk_accident(void)
{
	switch (sim_random(4)) {
	case 0:
		sim_trace("the store is lost");
		g_clear_pointer(&file, file_free);
		break;
	case 1:
		if (!backup)
			return;
		sim_trace("an old backup of the store is put back");
		file_free(file);
		file = g_steal_pointer(&backup);
		break;
	case 2:
		sim_trace("the store and its second home are lost");
		g_clear_pointer(&file, file_free);
		g_clear_pointer(&homes[0], home_free);
		g_clear_pointer(&homes[1], home_free);
		break;
	default:
		sim_trace("the older half of the second home is damaged");
		if (homes[0] && homes[1])
			g_clear_pointer(&homes[homes[0] == newest_home()], home_free);
	}
}

/* ---- opening ---- */

static bool has_seen(const struct home *home)
{
	for (unsigned i = 0; i < file->ids->len; i++) {
		const struct seen *id = &g_array_index(file->ids, struct seen, i);

		if ((id->number == home->store && id->commits >= home->commits) ||
		    (id->after == home->store && id->after_commits >= home->commits))
			return true;
	}
	return false;
}

static struct seen *current(void)
{
	return &g_array_index(file->ids, struct seen, file->ids->len - 1);
}

/* write_new_store() */
static void begin_store(const struct home *from)
{
	struct seen id = { .number = ++numbers, .after = from ? from->store : 0, .after_commits = from ? from->commits : 0 };
	int64_t most = id.after_commits;

	for (unsigned i = 0; i < file->ids->len; i++)
		most = MAX(most, g_array_index(file->ids, struct seen, i).commits);
	id.commits = most + 1;
	g_array_append_val(file->ids, id);
	g_ptr_array_unref(file->meters);
	file->meters = from ? meters_copy(from->meters) : g_ptr_array_new_with_free_func((GDestroyNotify)meter_free);
	for (unsigned i = 0; i < file->meters->len; i++) {
		struct meter *meter = file->meters->pdata[i];

		meter->id = file->next_meter++;
		meter->first = meter->last;
		meter->first_at = meter->last_at;
	}
	g_ptr_array_set_size(file->coverage, 0);
	file->next_coverage = 1;
	judge_lost_store(from);
	judge_new_store(file->meters);
}

struct store *store_open(const char *directory, char **notice, GError **error)
{
	struct home *second = newest_home();
	bool anew;

	*notice = NULL;
	sim_point("store_open");
	anew = !file || (second && !has_seen(second));
	if (!file)
		file = file_new();
	turn = second == homes[0];
	if (anew) {
		sim_trace("a new store id begins%s", second ? " from the second home" : "");
		begin_store(second);
		store_save_baselines(NULL, file->meters, NULL);
	}
	return (struct store *)&file;
}

bool store_set_timezone(struct store *store, GTimeZone *timezone, GError **error)
{
	return true;
}

bool store_load(struct store *store, struct ledger_state *state, GError **error)
{
	g_autoptr(GPtrArray) rows = g_ptr_array_copy(file->coverage, copy_coverage, NULL);

	state->meters = meters_copy(file->meters);
	for (unsigned i = 0; i < state->meters->len; i++) {
		struct meter *meter = state->meters->pdata[i];

		if (meter->of->read_at.boot_us > meter->last_at.boot_us)
			meter->last_at = meter->of->read_at;
	}
	g_ptr_array_set_free_func(rows, (GDestroyNotify)coverage_free);
	state->coverage = g_steal_pointer(&rows);
	state->next_meter = file->next_meter;
	state->next_coverage = file->next_coverage;
	return true;
}

void store_close(struct store *store)
{
}

/* ---- committing ---- */

static bool is_same_generation(const struct generation *a, const struct generation *b)
{
	return g_str_equal(a->tag, b->tag) && g_str_equal(a->boot, b->boot) && g_str_equal(a->ns, b->ns);
}

static void put_generation(const struct generation *of)
{
	for (unsigned i = 0; i < file->meters->len; i++) {
		struct meter *meter = file->meters->pdata[i];

		if (is_same_generation(meter->of, of))
			meter->of->read_at = of->read_at;
	}
}

/* The meters of one generation share it. */
static struct generation *shared(const struct generation *of)
{
	for (unsigned i = 0; i < file->meters->len; i++) {
		struct meter *meter = file->meters->pdata[i];

		if (is_same_generation(meter->of, of))
			return generation_ref(meter->of);
	}
	return NULL;
}

static int find_meter(int64_t id)
{
	for (unsigned i = 0; i < file->meters->len; i++)
		if (((struct meter *)file->meters->pdata[i])->id == id)
			return (int)i;
	return -1;
}

static void put_new(const struct meter *meter)
{
	g_autoptr(GPtrArray) one = g_ptr_array_new();
	g_autoptr(GPtrArray) copies = NULL;
	struct meter *copy;
	struct generation *of;

	if (meter->id < file->next_meter)
		sim_fail("meter %" G_GINT64_FORMAT " is another one there, or has ended", meter->id);
	for (unsigned i = 0; !meter->closed_us && i < file->meters->len; i++) {
		const struct meter *other = file->meters->pdata[i];

		if (is_same_generation(other->of, meter->of) && !meter_key_compare(&other->key, &meter->key))
			sim_fail("meters %" G_GINT64_FORMAT " and %" G_GINT64_FORMAT " are open for one counter", other->id,
			         meter->id);
	}
	file->next_meter = meter->id + 1;
	if (meter->closed_us)
		return;
	g_ptr_array_add(one, (void *)meter);
	copies = meters_copy(one);
	copy = meter_copy(copies->pdata[0]);
	of = shared(meter->of);
	if (of) {
		generation_unref(copy->of);
		copy->of = of;
	}
	g_ptr_array_add(file->meters, copy);
}

static void put_meter(const struct meter *meter)
{
	int at = find_meter(meter->id);
	struct meter *old;

	if (at < 0) {
		put_new(meter);
		return;
	}
	old = file->meters->pdata[at];
	if (!is_same_generation(old->of, meter->of) || meter_key_compare(&old->key, &meter->key) ||
	    old->fixed != meter->fixed || memcmp(&old->first, &meter->first, sizeof old->first) ||
	    memcmp(&old->first_at, &meter->first_at, sizeof old->first_at))
		sim_fail("meter %" G_GINT64_FORMAT " turns into another one", meter->id);
	old->last = meter->last;
	old->last_at = meter->last_at;
	old->flags = meter->flags;
	if (meter->closed_us)
		g_ptr_array_remove_index(file->meters, (unsigned)at);
}

static void put_coverage(const struct coverage *row)
{
	struct coverage *copy = coverage_copy(row);

	if (row->seq > file->next_coverage)
		sim_fail("coverage %" G_GINT64_FORMAT " comes before %" G_GINT64_FORMAT, row->seq, file->next_coverage);
	file->next_coverage = MAX(file->next_coverage, row->seq + 1);
	for (unsigned i = 0; i < file->coverage->len; i++) {
		const struct coverage *other = file->coverage->pdata[i];

		if (other->address != row->address || !g_str_equal(other->router, row->router) || other->seq > row->seq)
			continue;
		g_ptr_array_remove_index(file->coverage, i);
		break;
	}
	g_ptr_array_add(file->coverage, copy);
}

bool store_commit_sure(struct store *store, const struct batch *batch, GError **error)
{
	sim_point("commit");
	if (sim_fault("commit")) {
		g_set_error(error, STORE_ERROR, sim_random(2) ? STORE_ERROR_BUSY : STORE_ERROR_FAILED, "busy, or full");
		return false;
	}
	sim.commits++;
	judge_commit(batch);
	for (unsigned i = 0; i < batch->generations->len; i++)
		put_generation(batch->generations->pdata[i]);
	for (unsigned i = 0; i < batch->meters->len; i++)
		put_meter(batch->meters->pdata[i]);
	for (unsigned i = 0; i < batch->coverage->len; i++)
		put_coverage(batch->coverage->pdata[i]);
	current()->commits++;
	sim.real_us++; /* no commit takes no time: what is read after it was not made in the same moment */
	sim_point("commit, after");
	return true;
}

bool store_save_baselines(struct store *store, const GPtrArray *open_meters, GError **error)
{
	struct home *home;

	sim_point("second home");
	if (sim_fault("second home")) {
		g_set_error(error, STORE_ERROR, STORE_ERROR_FAILED, "second home: refused");
		return false;
	}
	home = g_new(struct home, 1);
	*home = (struct home){ current()->number, current()->commits, meters_copy(open_meters) };
	home_free(homes[turn]);
	homes[turn] = home;
	turn = !turn;
	judge_saved();
	sim_point("second home, after");
	return true;
}

/* ---- lost under a running agent: that is tests/faults/damage.c's and backup.c's ---- */

bool store_is_lost(const struct store *store)
{
	return false;
}

bool store_renew(struct store *store, const GPtrArray *open_meters, struct ledger_state *state, char **notice,
                 GError **error)
{
	g_assert_not_reached();
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See write.h.  What would count something twice is refused here, whoever asks for it: a meter that turns into
 * another one or opens again, two open meters of one counter, a row of a meter that does not exist.
 */
#include "store/write.h"

#include "core/residue.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

static bool put_generation(struct store *store, const struct generation *of, GError **error)
{
	struct sql_call call = sql_call(store, SQL_PUT_GENERATION);
	bool is_sent = of->basis == BASIS_WIRE_SENT;

	sql_bind_text(&call, of->tag);
	sql_bind_text(&call, of->boot);
	sql_bind_text(&call, of->node);
	sql_bind_text(&call, of->ns);
	sql_bind_text(&call, of->router);
	sql_bind_text(&call, basis_name(is_sent ? BASIS_WIRE : of->basis));
	sql_bind_text(&call, is_sent ? "egress" : "ingress");
	sql_bind_instant(&call, &of->made_at);
	sql_bind_instant(&call, &of->read_at);
	if (sql_run(&call, error))
		return true;
	g_prefix_error(error, "generation %s of namespace %s: ", of->tag, of->ns);
	return false;
}

/* The number of a meter's generation; rows remembers those asked for before. */
static bool find_generation(struct store *store, GHashTable *rows, const struct generation *of, int64_t *row,
                            GError **error)
{
	struct sql_call call = sql_call(store, SQL_FIND_GENERATION);
	int64_t *known = g_hash_table_lookup(rows, of);
	enum sql_result result;

	if (known) {
		*row = *known;
		return true;
	}
	sql_bind_text(&call, of->tag);
	sql_bind_text(&call, of->boot);
	sql_bind_text(&call, of->ns);
	result = sql_step(&call, error);
	if (result == SQL_NONE) {
		store->at_odds = true;
		g_set_error(error, STORE_ERROR, STORE_ERROR_FAILED, "%s: generation %s of namespace %s is not in it",
		            store->path, of->tag, of->ns);
	}
	if (result != SQL_ROW)
		return false;
	*row = sqlite3_column_int64(call.statement, 0);
	sql_end(&call);
	g_hash_table_insert(rows, (void *)of, g_memdup2(row, sizeof *row));
	return true;
}

/* All of a meter into a statement that takes all of it. */
static bool run_meter(struct store *store, enum sql which, int64_t generation, const struct meter *meter,
                      GError **error)
{
	struct sql_call call = sql_call(store, which);

	sql_bind_int(&call, meter->id);
	sql_bind_int(&call, generation);
	sql_bind_text(&call, kind_name(meter->key.kind));
	sql_bind_address(&call, meter->key.address);
	sql_bind_address(&call, meter->fixed);
	sql_bind_text(&call, meter->key.class_name);
	sql_bind_int(&call, meter->flags);
	sql_bind_instant(&call, &meter->first_at);
	sql_bind_counts(&call, &meter->first);
	sql_bind_instant(&call, &meter->last_at);
	sql_bind_counts(&call, &meter->last);
	sql_bind_int(&call, meter->closed_us);
	return sql_run(&call, error);
}

static bool close_meter(struct store *store, const struct meter *meter, GError **error)
{
	struct sql_call call = sql_call(store, SQL_CLOSE_METER);

	sql_bind_int(&call, meter->id);
	sql_bind_int(&call, meter->closed_us);
	return sql_run(&call, error);
}

/* Moves it on if it is there, else it is a new one; one that is there and another fails for its number. */
static bool put_meter(struct store *store, int64_t generation, const struct meter *meter, GError **error)
{
	bool ok = run_meter(store, SQL_MOVE_METER, generation, meter, error);

	if (ok && sqlite3_changes(store->db) == 0)
		ok = run_meter(store, SQL_PUT_METER, generation, meter, error);
	else if (ok && meter->closed_us)
		ok = close_meter(store, meter, error);
	if (!ok)
		g_prefix_error(error, "meter %" G_GINT64_FORMAT "%s: ", meter->id,
		               sqlite3_extended_errcode(store->db) == SQLITE_CONSTRAINT_PRIMARYKEY ?
		               " is another one there, or has ended" : "");
	return ok;
}

static bool put_usage(struct store *store, int64_t seq, const struct usage *row, GError **error)
{
	struct sql_call call = sql_call(store, SQL_PUT_USAGE);

	sql_bind_int(&call, store->number);
	sql_bind_int(&call, seq);
	sql_bind_int(&call, row->meter);
	sql_bind_int(&call, row->start_us);
	sql_bind_int(&call, row->end_us);
	sql_bind_counts(&call, &row->counts);
	sql_bind_int(&call, row->flags);
	sql_bind_counts(&call, &row->reading);
	if (sql_run(&call, error))
		return true;
	g_prefix_error(error, "usage of meter %" G_GINT64_FORMAT ": ", row->meter);
	return false;
}

static bool put_coverage(struct store *store, const struct coverage *row, GError **error)
{
	struct sql_call call = sql_call(store, SQL_PUT_COVERAGE);

	sql_bind_int(&call, store->number);
	sql_bind_int(&call, row->seq);
	sql_bind_text(&call, row->node);
	sql_bind_text(&call, row->router);
	sql_bind_address(&call, row->address);
	sql_bind_int(&call, row->start_us);
	sql_bind_int(&call, row->end_us);
	sql_bind_text(&call, state_name(row->state));
	sql_bind_text(&call, row->reason);
	if (!sql_run(&call, error)) {
		g_prefix_error(error, "coverage of router %s: ", row->router);
		return false;
	}
	if (sqlite3_changes(store->db) == 1)
		return true;
	store->at_odds = true;
	g_set_error(error, STORE_ERROR, STORE_ERROR_FAILED, "%s: coverage %" G_GINT64_FORMAT
	            " of router %s is another row there", store->path, row->seq, row->router);
	return false;
}

#define HOUR_US (3600 * INT64_C(1000000))

static bool add_residue(struct store *store, const struct residue *residue, GError **error)
{
	struct sql_call call = sql_call(store, SQL_ADD_RESIDUE);
	const uint64_t sums[] = { residue->received, residue->sent, residue->in, residue->out, residue->residue_in,
	                          residue->residue_out, residue->excess };

	sql_bind_int(&call, residue->start_us / HOUR_US * HOUR_US);
	sql_bind_text(&call, residue->node);
	sql_bind_text(&call, residue->router);
	sql_bind_int(&call, residue->end_us);
	for (unsigned i = 0; i < G_N_ELEMENTS(sums); i++)
		sql_bind_int(&call, (int64_t)MIN(sums[i], RESIDUE_MOST));
	sql_bind_int(&call, residue->flagged);
	if (sql_run(&call, error))
		return true;
	g_prefix_error(error, "residue of router %s: ", residue->router);
	return false;
}

static bool put_meters(struct store *store, const GPtrArray *meters, GError **error)
{
	g_autoptr(GHashTable) rows = g_hash_table_new_full(g_direct_hash, g_direct_equal, NULL, g_free);

	for (unsigned i = 0; i < meters->len; i++) {
		const struct meter *meter = meters->pdata[i];
		int64_t generation;

		if (!find_generation(store, rows, meter->of, &generation, error) ||
		    !put_meter(store, generation, meter, error))
			return false;
	}
	return true;
}

static bool advance_store(struct store *store, int64_t commits, int64_t last_seq, GError **error)
{
	struct sql_call call = sql_call(store, SQL_ADVANCE_STORE);

	sql_bind_int(&call, store->number);
	sql_bind_int(&call, commits);
	sql_bind_int(&call, last_seq);
	return sql_run(&call, error);
}

bool write_batch(struct store *store, const struct batch *batch, int64_t *commits, int64_t *last_seq, GError **error)
{
	struct sql_call call = sql_call(store, SQL_GET_STORE);

	if (sql_step(&call, error) != SQL_ROW)
		return false;
	*commits = sqlite3_column_int64(call.statement, 2) + 1;
	*last_seq = sqlite3_column_int64(call.statement, 3);
	sql_end(&call);
	for (unsigned i = 0; i < batch->generations->len; i++)
		if (!put_generation(store, batch->generations->pdata[i], error))
			return false;
	if (!put_meters(store, batch->meters, error))
		return false;
	for (unsigned i = 0; i < batch->usage->len; i++)
		if (!put_usage(store, ++*last_seq, &g_array_index(batch->usage, struct usage, i), error))
			return false;
	for (unsigned i = 0; i < batch->coverage->len; i++)
		if (!put_coverage(store, batch->coverage->pdata[i], error))
			return false;
	for (unsigned i = 0; i < batch->residues->len; i++)
		if (!add_residue(store, batch->residues->pdata[i], error))
			return false;
	return advance_store(store, *commits, *last_seq, error);
}

/* ---- a new store id ---- */

static bool make_id(char id[STORE_ID_LEN + 1], GError **error)
{
	unsigned char random[STORE_ID_LEN / 2];

	if (getrandom(random, sizeof random, 0) != sizeof random) {
		g_set_error(error, STORE_ERROR, STORE_ERROR_FAILED, "getrandom: %s", g_strerror(errno));
		return false;
	}
	for (unsigned i = 0; i < sizeof random; i++)
		g_snprintf(id + 2 * i, 3, "%02x", random[i]);
	return true;
}

static bool close_meters(struct store *store, GError **error)
{
	struct sql_call call = sql_call(store, SQL_CLOSE_ALL);

	sql_bind_int(&call, MAX(g_get_real_time(), 1));
	return sql_run(&call, error);
}

static bool begin_store(struct store *store, const struct baselines *from, const char *reason, GError **error)
{
	struct sql_call most = sql_call(store, SQL_MAX_COMMITS), call = sql_call(store, SQL_PUT_STORE);
	struct sql_call rollup = sql_call(store, SQL_PUT_ROLLUP);
	char id[STORE_ID_LEN + 1];
	int64_t commits;

	if (!make_id(id, error) || sql_step(&most, error) != SQL_ROW)
		return false;
	commits = sqlite3_column_int64(most.statement, 0);
	sql_end(&most);
	sql_bind_text(&call, id);
	sql_bind_int(&call, g_get_real_time());
	sql_bind_text(&call, reason);
	sql_bind_text(&call, from ? from->store : "");
	sql_bind_int(&call, from ? from->commits : 0);
	sql_bind_int(&call, MAX(commits, from ? from->commits : 0) + 1);
	return sql_run(&call, error) && sql_run(&rollup, error);
}

/* What a baseline goes on as: a meter that begins where it stands. */
static struct meter *begin_again(const struct meter *baseline, int64_t id)
{
	struct meter *meter = meter_copy(baseline);

	meter->id = id;
	meter->first = meter->last;
	meter->first_at = meter->last_at;
	meter->closed_us = 0;
	return meter;
}

bool write_new_store(struct store *store, const struct baselines *from, const char *reason, GError **error)
{
	g_autoptr(GPtrArray) meters = g_ptr_array_new_with_free_func((GDestroyNotify)meter_free);
	struct sql_call next = sql_call(store, SQL_NEXT_METER);
	int64_t id;

	if (sql_step(&next, error) != SQL_ROW)
		return false;
	id = sqlite3_column_int64(next.statement, 0);
	sql_end(&next);
	if (!close_meters(store, error) || !begin_store(store, from, reason, error))
		return false;
	for (unsigned i = 0; from && i < from->generations->len; i++)
		if (!put_generation(store, from->generations->pdata[i], error))
			return false;
	for (unsigned i = 0; from && i < from->meters->len; i++)
		g_ptr_array_add(meters, begin_again(from->meters->pdata[i], id++));
	return put_meters(store, meters, error);
}

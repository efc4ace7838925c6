/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See rollup.h.
 */
#include "store/rollup.h"

#include "core/period.h"
#include "store/retention.h"
#include "store/sql.h"

#define ROWS_AT_ONCE 20000  /* some 30 ms, in which the agent hears nothing */
#define ROWS_PER_SUM 10     /* how much is gathered before it is written, within the hour */
#define SUMS_MAX 200000     /* a sum takes some 150 bytes */

struct sum {
	/* the key */
	int64_t start_us, meter;
	bool day;
	/* what is added up */
	int64_t end_us;
	struct counts counts;
	unsigned flags;
	int64_t usage_rows, crossing;
};

struct rollup {
	int64_t store;           /* number of the store id whose rows are gathered; 0: none are */
	int64_t to_seq;          /* gathered up to here */
	uint64_t rows;
	GHashTable *sums;        /* set of struct sum */
	int64_t hour_us;         /* of the last time that sums were written */
	unsigned refused;        /* how often in a row the store would not take the sums of its own rows */
	int64_t starts[2], ends[2]; /* hour and day that were looked up last: rows come in order, mostly */
};

static guint sum_hash(const void *key)
{
	const struct sum *sum = key;

	return g_int64_hash(&sum->start_us) * 31 + (guint)sum->meter * 2 + sum->day;
}

static gboolean sum_equal(const void *a, const void *b)
{
	const struct sum *first = a, *second = b;

	return first->start_us == second->start_us && first->meter == second->meter && first->day == second->day;
}

struct rollup *rollup_new(void)
{
	struct rollup *rollup = g_new0(struct rollup, 1);

	rollup->sums = g_hash_table_new_full(sum_hash, sum_equal, g_free, NULL);
	return rollup;
}

void rollup_free(struct rollup *rollup)
{
	if (!rollup)
		return;
	g_hash_table_unref(rollup->sums);
	g_free(rollup);
}

/* Nothing is gathered; where it goes on is asked of the store again. */
static void forget(struct rollup *rollup)
{
	rollup->store = 0;
	rollup->rows = 0;
	g_hash_table_remove_all(rollup->sums);
}

/* ---- gathering ---- */

static void find_period(struct rollup *rollup, bool day, int64_t time_us, GTimeZone *timezone)
{
	if (time_us < rollup->starts[day] || time_us >= rollup->ends[day])
		period_bounds(day ? PERIOD_DAY : PERIOD_HOUR, time_us, timezone, &rollup->starts[day], &rollup->ends[day]);
}

static void gather(struct rollup *rollup, bool day, const struct usage *row, GTimeZone *timezone)
{
	struct sum key = { .meter = row->meter, .day = day }, *sum;

	find_period(rollup, day, row->start_us, timezone);
	key.start_us = rollup->starts[day];
	key.end_us = rollup->ends[day];
	sum = g_hash_table_lookup(rollup->sums, &key);
	if (!sum) {
		sum = g_memdup2(&key, sizeof key);
		g_hash_table_add(rollup->sums, sum);
	}
	counts_add(&sum->counts, &row->counts);
	sum->flags |= row->flags;
	sum->usage_rows++;
	sum->crossing += row->end_us > sum->end_us;
}

/* The oldest store id with rows that are in no sum yet; NONE: there is none. */
static enum sql_result find_store(struct store *store, GError **error)
{
	struct sql_call call = sql_call(store, SQL_ROLLUP_NEXT);
	enum sql_result result = sql_step(&call, error);

	if (result != SQL_ROW)
		return result;
	store->rollup->store = sqlite3_column_int64(call.statement, 0);
	store->rollup->to_seq = sqlite3_column_int64(call.statement, 1);
	sql_end(&call);
	return SQL_ROW;
}

/* Reads on.  *read: how many rows there were. */
static bool gather_rows(struct store *store, GTimeZone *timezone, unsigned *read, GError **error)
{
	struct sql_call call = sql_call(store, SQL_ROLLUP_ROWS);
	struct rollup *rollup = store->rollup;
	enum sql_result result;

	*read = 0;
	sql_bind_int(&call, rollup->store);
	sql_bind_int(&call, rollup->to_seq);
	sql_bind_int(&call, ROWS_AT_ONCE);
	while ((result = sql_step(&call, error)) == SQL_ROW) {
		struct usage row = {
			.meter = sqlite3_column_int64(call.statement, 1),
			.start_us = sqlite3_column_int64(call.statement, 2),
			.end_us = sqlite3_column_int64(call.statement, 3),
			.flags = sqlite3_column_int64(call.statement, 8),
		};

		sql_get_counts(&call, 4, &row.counts);
		gather(rollup, false, &row, timezone);
		gather(rollup, true, &row, timezone);
		rollup->to_seq = sqlite3_column_int64(call.statement, 0);
		++*read;
	}
	rollup->rows += *read;
	return result == SQL_NONE;
}

/* ---- writing ---- */

static bool write_sum(struct store *store, const struct sum *sum, int64_t hours_from_us, GError **error)
{
	struct sql_call call = sql_call(store, sum->day ? SQL_ADD_DAY : SQL_ADD_HOUR);

	if (!sum->day && sum->start_us < hours_from_us)
		return true; /* a late row, of a time for which no hours are kept */
	sql_bind_int(&call, sum->start_us);
	sql_bind_int(&call, sum->meter);
	sql_bind_int(&call, sum->end_us);
	sql_bind_counts(&call, &sum->counts);
	sql_bind_int(&call, sum->flags);
	sql_bind_int(&call, sum->usage_rows);
	sql_bind_int(&call, sum->crossing);
	if (sql_run(&call, error))
		return true;
	g_prefix_error(error, "sums of meter %" G_GINT64_FORMAT ": ", sum->meter);
	return false;
}

static int compare_sums(const void *a, const void *b)
{
	const struct sum *first = *(const struct sum *const *)a, *second = *(const struct sum *const *)b;

	if (first->start_us != second->start_us)
		return first->start_us < second->start_us ? -1 : 1;
	return first->meter == second->meter ? 0 : first->meter < second->meter ? -1 : 1;
}

/* In the order of the tables: each page is written once. */
static bool write_sums(struct store *store, GError **error)
{
	struct rollup *rollup = store->rollup;
	g_autofree const struct sum **sums = (const struct sum **)g_hash_table_get_keys_as_array(rollup->sums, NULL);
	unsigned n = g_hash_table_size(rollup->sums);
	struct sql_call advance = sql_call(store, SQL_ROLLUP_ADVANCE);
	struct kept kept;

	if (!sql_get_kept(store, &kept, error))
		return false;
	qsort(sums, n, sizeof *sums, compare_sums);
	for (unsigned i = 0; i < n; i++)
		if (!write_sum(store, sums[i], kept.hours_from_us, error))
			return false;
	sql_bind_int(&advance, rollup->store);
	sql_bind_int(&advance, rollup->to_seq);
	return sql_run(&advance, error);
}

/* All that goes into a sum is in the file, so what the file refuses of it contradicts itself; it is read twice, the second
 * time from the disk. */
static void doubt(struct store *store, const GError *refusal)
{
	if (!store->rollup->refused++)
		sqlite3_db_release_memory(store->db);
	else if (!store->damage)
		store->damage = g_strdup_printf("what is there does not go together: %s", refusal->message);
}

static bool flush(struct store *store, GError **error)
{
	g_autoptr(GError) refusal = NULL;
	bool done = store_begin_write(store, &refusal);

	if (done) {
		done = write_sums(store, &refusal);
		if (done)
			store->rollup->refused = 0;
		else if (!sql_may_pass(store))
			doubt(store, refusal);
		done = sql_end_transaction(store, done, &refusal);
	}
	/* If it failed the rows are read again. */
	forget(store->rollup);
	if (refusal)
		g_propagate_error(error, g_steal_pointer(&refusal));
	return done;
}

/* Sums of an hour that is over are written at once, others when it pays. */
static bool is_due(const struct rollup *rollup, bool current, int64_t hour_us)
{
	unsigned sums = g_hash_table_size(rollup->sums);

	return rollup->rows && (!current || hour_us != rollup->hour_us || sums > SUMS_MAX ||
	                        rollup->rows >= ROWS_PER_SUM * (uint64_t)sums);
}

/* One step of summing up. */
static bool roll_up(struct store *store, GTimeZone *timezone, int64_t now_us, bool *more, GError **error)
{
	struct rollup *rollup = store->rollup;
	int64_t hour_us, hour_end_us;
	unsigned read = 0;

	if (!rollup->store) {
		enum sql_result result = find_store(store, error);

		if (result != SQL_ROW)
			return result == SQL_NONE;
	}
	if (!gather_rows(store, timezone, &read, error)) {
		forget(rollup);
		return false;
	}
	period_bounds(PERIOD_HOUR, now_us, timezone, &hour_us, &hour_end_us);
	*more = read == ROWS_AT_ONCE;
	if (*more ? g_hash_table_size(rollup->sums) < SUMS_MAX : !is_due(rollup, rollup->store == store->number, hour_us))
		return true;
	if (!flush(store, error))
		return false;
	if (!*more)
		rollup->hour_us = hour_us;
	return true;
}

bool store_tend(struct store *store, const struct store_keep *keep, int64_t now_us, bool *more, GError **error)
{
	bool drops = false;

	*more = false;
	if (store_is_lost(store)) {
		g_set_error(error, STORE_ERROR, STORE_ERROR_FAILED, "%s: not open", store->path);
		return false;
	}
	if (!roll_up(store, keep->timezone, now_us, more, error))
		return false;
	if (!retention_step(store, keep, now_us, &drops, error))
		return false;
	*more |= drops;
	return true;
}

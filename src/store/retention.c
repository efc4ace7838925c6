/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See retention.h.  Rows go in the order of their seq, and only when they are in the sums of their hour and day.  A row
 * that a wrong clock has stamped with a time to come holds back those behind it: what is kept too long does no harm.
 * Only the quota does not ask for the time.
 */
#include "store/retention.h"

#include "core/period.h"

#define ROWS_AT_ONCE 20000
#define ROWS_OVER_QUOTA 1000 /* between two looks at the size */
#define HOUR_US (3600 * INT64_C(1000000))

/* Bytes in use: what has been dropped leaves room in the file, which is filled before the file grows again. */
static bool get_size(struct store *store, uint64_t *size, GError **error)
{
	int64_t pages, unused, page_size;

	if (!sql_get_number(store, "PRAGMA page_count", &pages, error) ||
	    !sql_get_number(store, "PRAGMA freelist_count", &unused, error) ||
	    !sql_get_number(store, "PRAGMA page_size", &page_size, error))
		return false;
	*size = (uint64_t)(pages - unused) * page_size;
	return true;
}

/* ---- rows ---- */

/* How far the rows of one store id may go. */
struct progress {
	int64_t store, rolled_seq, dropped_seq;
	int64_t to_seq;    /* the last one that goes; dropped_seq: none does */
	int64_t latest_us; /* the latest start of those that go */
	unsigned n;
};

/* Which of its rows are before limit_us. */
static bool look_at_rows(struct store *store, struct progress *progress, int64_t limit_us, GError **error)
{
	struct sql_call call = sql_call(store, SQL_DROPPABLE_ROWS);
	enum sql_result result;

	progress->to_seq = progress->dropped_seq;
	progress->latest_us = INT64_MIN;
	progress->n = 0;
	sql_bind_int(&call, progress->store);
	sql_bind_int(&call, progress->dropped_seq);
	sql_bind_int(&call, progress->rolled_seq);
	sql_bind_int(&call, store->over_quota ? ROWS_OVER_QUOTA : ROWS_AT_ONCE);
	while ((result = sql_step(&call, error)) == SQL_ROW) {
		int64_t start_us = sqlite3_column_int64(call.statement, 1);

		if (start_us >= limit_us) {
			sql_end(&call);
			return true;
		}
		progress->to_seq = sqlite3_column_int64(call.statement, 0);
		progress->latest_us = MAX(progress->latest_us, start_us);
		progress->n++;
	}
	return result == SQL_NONE;
}

static bool drop_rows(struct store *store, const struct progress *progress, GTimeZone *timezone, GError **error)
{
	struct sql_call drop = sql_call(store, SQL_DROP_ROWS), note = sql_call(store, SQL_ROLLUP_DROPPED);
	struct sql_call keep = sql_call(store, SQL_KEEP_ROWS_FROM);
	int64_t hour_us, end_us;

	period_bounds(PERIOD_HOUR, progress->latest_us, timezone, &hour_us, &end_us);
	sql_bind_int(&drop, progress->store);
	sql_bind_int(&drop, progress->to_seq);
	sql_bind_int(&note, progress->store);
	sql_bind_int(&note, progress->to_seq);
	sql_bind_int(&keep, end_us);
	return sql_run(&drop, error) && sql_run(&note, error) && sql_run(&keep, error);
}

/* The first store id that has rows to lose; n is 0 if there is none. */
static bool find_rows(struct store *store, int64_t limit_us, struct progress *progress, GError **error)
{
	struct sql_call call = sql_call(store, SQL_ROLLUP_PROGRESS);
	g_autoptr(GArray) all = g_array_new(FALSE, FALSE, sizeof *progress);
	enum sql_result result;

	while ((result = sql_step(&call, error)) == SQL_ROW) {
		struct progress one = {
			.store = sqlite3_column_int64(call.statement, 0),
			.rolled_seq = sqlite3_column_int64(call.statement, 1),
			.dropped_seq = sqlite3_column_int64(call.statement, 2),
		};

		g_array_append_val(all, one);
	}
	progress->n = 0;
	if (result != SQL_NONE)
		return false;
	for (unsigned i = 0; i < all->len && !progress->n; i++) {
		*progress = g_array_index(all, struct progress, i);
		if (!look_at_rows(store, progress, limit_us, error))
			return false;
	}
	return true;
}

static bool rows_step(struct store *store, const struct store_keep *keep, int64_t limit_us, bool *more, GError **error)
{
	struct progress progress;

	if (!find_rows(store, limit_us, &progress, error))
		return false;
	*more = progress.n;
	return !progress.n || (store_begin_write(store, error) &&
	                       sql_end_transaction(store, drop_rows(store, &progress, keep->timezone, error), error));
}

/* ---- hours ---- */

static bool drop_hours(struct store *store, int64_t start_us, int64_t day_end_us, GError **error)
{
	struct sql_call drop = sql_call(store, SQL_DROP_HOUR), keep = sql_call(store, SQL_KEEP_HOURS_FROM);

	sql_bind_int(&drop, start_us);
	sql_bind_int(&keep, day_end_us);
	return sql_run(&drop, error) && sql_run(&keep, error);
}

/* Drops the oldest hour, if its day ends before limit_us; from then on the day stands for all of its hours.  Rows of that
 * day have to be gone: a question is never answered from rows where hours are not kept. */
static bool hours_step(struct store *store, const struct store_keep *keep, int64_t limit_us, bool *more, GError **error)
{
	struct sql_call oldest = sql_call(store, SQL_OLDEST_HOUR);
	enum sql_result result = sql_step(&oldest, error);
	int64_t start_us, day_us, end_us;
	struct kept kept;

	if (result != SQL_ROW)
		return result == SQL_NONE;
	start_us = sqlite3_column_int64(oldest.statement, 0);
	sql_end(&oldest);
	period_bounds(PERIOD_DAY, start_us, keep->timezone, &day_us, &end_us);
	if (!sql_get_kept(store, &kept, error))
		return false;
	*more = end_us <= limit_us && end_us <= kept.rows_from_us;
	return !*more || (store_begin_write(store, error) &&
	                  sql_end_transaction(store, drop_hours(store, start_us, end_us, error), error));
}

/* ---- residues ---- */

/* As long as single rows, an hour at a time. */
static bool residues_step(struct store *store, int64_t limit_us, bool *more, GError **error)
{
	struct sql_call oldest = sql_call(store, SQL_OLDEST_RESIDUE), drop = sql_call(store, SQL_DROP_RESIDUES);
	enum sql_result result = sql_step(&oldest, error);
	int64_t start_us;

	if (result != SQL_ROW)
		return result == SQL_NONE;
	start_us = sqlite3_column_int64(oldest.statement, 0);
	sql_end(&oldest);
	*more = start_us < limit_us;
	if (!*more)
		return true;
	if (!store_begin_write(store, error))
		return false;
	sql_bind_int(&drop, start_us + 1);
	return sql_end_transaction(store, sql_run(&drop, error), error);
}

/* ---- all ---- */

/* Whole days, so that what is kept does not change with every minute. */
static int64_t limit(int64_t now_us, int64_t keep_us, GTimeZone *timezone)
{
	int64_t start_us, end_us;

	period_bounds(PERIOD_DAY, MAX(now_us - keep_us, 0), timezone, &start_us, &end_us);
	return start_us;
}

bool retention_step(struct store *store, const struct store_keep *keep, int64_t now_us, bool *more, GError **error)
{
	int64_t rows_us = limit(now_us, keep->rows_us, keep->timezone), hours_us = limit(now_us, keep->hours_us, keep->timezone);
	uint64_t size = 0;

	*more = false;
	if (keep->quota && !get_size(store, &size, error))
		return false;
	store->over_quota = keep->quota && size > keep->quota;
	if (store->over_quota) {
		int64_t hour_us, hour_end_us;

		period_bounds(PERIOD_HOUR, now_us, keep->timezone, &hour_us, &hour_end_us);
		rows_us = hour_us - HOUR_US; /* the last whole hour and this one stay */
		hours_us = limit(now_us, HOUR_US, keep->timezone);
	} else if (keep->clock_in_doubt) {
		return true;
	}
	if (!rows_step(store, keep, rows_us, more, error))
		return false;
	if (!*more && !residues_step(store, rows_us, more, error))
		return false;
	if (*more)
		return true;
	return hours_step(store, keep, hours_us, more, error);
}

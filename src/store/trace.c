/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See trace.h.  Rows have no index by meter (schema.sql says why): the row before a time is found by going back from there,
 * past the rows of others, and never further than to the meter's first reading.
 */
#include "store/trace.h"

#include "store/sql.h"

static bool refuse(struct sql_call *call, const char *what, GError **error)
{
	sql_end(call);
	g_set_error(error, STORE_ERROR, STORE_ERROR_FAILED, "%s: a %s holds a value that no fipmeter wrote (fipmeter audit says more)",
	            call->store->path, what);
	return false;
}

/* ---- meters ---- */

#define LATEST_US INT64_C(253402300799000000) /* the last second of 9999 */
#define GENERATION_COLUMN 20 /* of SQL_TRACE_METERS: from there on it is the generation's */

static struct generation *take_generation(const struct sql_call *call, GHashTable *generations)
{
	int64_t number = sqlite3_column_int64(call->statement, 1);
	struct generation *of = g_hash_table_lookup(generations, &number);

	if (of)
		return of;
	of = sql_get_generation(call, GENERATION_COLUMN);
	if (of)
		g_hash_table_insert(generations, g_memdup2(&number, sizeof number), of);
	return of;
}

/* No clock was ever before 1970. */
static bool is_time(int64_t time_us)
{
	return time_us >= 0 && time_us <= LATEST_US;
}

static bool take_meter(const struct sql_call *call, GHashTable *generations, struct meter *meter)
{
	struct generation *of = take_generation(call, generations);

	if (!sql_get_meter(call, of, meter))
		return false;
	meter->closed_us = sqlite3_column_int64(call->statement, 19);
	return is_time(meter->first_at.utc_us) && is_time(meter->last_at.utc_us) && is_time(meter->closed_us) &&
	       is_time(of->read_at.utc_us);
}

static bool read_meters(struct store *store, struct explanation *explanation, GError **error)
{
	g_autoptr(GHashTable) generations = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free,
	                                                          (GDestroyNotify)generation_unref);
	struct sql_call call = sql_call(store, SQL_TRACE_METERS);
	enum sql_result result;

	sql_bind_address(&call, explanation->address);
	while ((result = sql_step(&call, error)) == SQL_ROW) {
		struct meter *meter = g_new0(struct meter, 1);

		if (!take_meter(&call, generations, meter)) {
			meter_free(meter);
			return refuse(&call, "meter", error);
		}
		g_ptr_array_add(explanation->meters, meter);
	}
	return result == SQL_NONE;
}

/* ---- what is booked ---- */

static struct explain_line *find_line(const struct explanation *explanation, int64_t meter)
{
	for (unsigned i = 0; i < explanation->lines->len; i++) {
		struct explain_line *line = &g_array_index(explanation->lines, struct explain_line, i);

		if (line->meter->id == meter)
			return line;
	}
	return NULL;
}

/* Days, or rows that are in no day yet; both statements begin with meter, start, end, counts. */
static bool add_booked(struct store *store, struct explanation *explanation, enum sql which, GError **error)
{
	struct sql_call call = sql_call(store, which);
	enum sql_result result;

	sql_bind_int(&call, INT64_MIN);
	sql_bind_int(&call, INT64_MAX);
	if (which == SQL_USAGE_DAYS_OF_SOME) {
		sql_bind_address(&call, explanation->address);
		sql_bind_text(&call, NULL);
		sql_bind_text(&call, NULL);
	}
	while ((result = sql_step(&call, error)) == SQL_ROW) {
		struct explain_line *line = find_line(explanation, sqlite3_column_int64(call.statement, 0));
		struct counts counts;

		if (!line)
			continue;
		sql_get_counts(&call, 3, &counts);
		counts_add(&line->booked, &counts);
	}
	return result == SQL_NONE;
}

/* ---- the window ---- */

/* The last row of a meter that starts at until_us or before it. */
static bool find_row(struct store *store, const struct meter *meter, int64_t until_us, struct explain_row *row, bool *found,
                     GError **error)
{
	struct sql_call call = sql_call(store, SQL_TRACE_ROW);
	enum sql_result result;

	sql_bind_int(&call, meter->id);
	sql_bind_int(&call, meter->first_at.utc_us);
	sql_bind_int(&call, MIN(until_us, meter->last_at.utc_us));
	result = sql_step(&call, error);
	*found = result == SQL_ROW;
	if (!*found)
		return result == SQL_NONE;
	g_strlcpy(row->store, sql_text(&call, 0), sizeof row->store);
	row->seq = sqlite3_column_int64(call.statement, 1);
	row->start_us = sqlite3_column_int64(call.statement, 2);
	row->end_us = sqlite3_column_int64(call.statement, 3);
	sql_get_counts(&call, 4, &row->counts);
	sql_get_counts(&call, 8, &row->reading);
	row->flags = sqlite3_column_int64(call.statement, 12);
	sql_end(&call);
	return true;
}

/* What the counters showed before the first row that starts after the window; without one they stand as they stood. */
static bool find_reading_after(struct store *store, const struct explanation *explanation, struct explain_line *line,
                               GError **error)
{
	struct sql_call call = sql_call(store, SQL_TRACE_ROW_AFTER);
	struct counts counts, reading;
	enum sql_result result;

	line->reading = line->meter->last;
	if (explanation->end_us >= line->meter->last_at.utc_us)
		return true;
	sql_bind_int(&call, line->meter->id);
	sql_bind_int(&call, explanation->start_us);
	sql_bind_int(&call, line->meter->last_at.utc_us);
	result = sql_step(&call, error);
	if (result == SQL_ROW) {
		sql_get_counts(&call, 0, &counts);
		sql_get_counts(&call, 4, &reading);
		line->reading = counts_minus(&reading, &counts);
		sql_end(&call);
	}
	return result != SQL_FAILED;
}

/* Is the baseline of the line's row the reading of the row before it?  By labels that is found at once; where the clock was
 * set back it is another one, which only the numbers tell.  What came before rows that were dropped cannot be told. */
static bool find_chain(struct store *store, const struct explanation *explanation, struct explain_line *line, GError **error)
{
	struct sql_call call = sql_call(store, SQL_TRACE_ROW_BEFORE);
	struct explain_row before;
	struct counts reading = line->meter->first;
	enum sql_result result;
	bool found;

	if (!find_row(store, line->meter, line->row.start_us - 1, &before, &found, error))
		return false;
	if (found && explain_is_same(&before.reading, &line->baseline))
		return true;
	sql_bind_int(&call, line->meter->id);
	sql_bind_text(&call, line->row.store);
	sql_bind_int(&call, line->row.seq);
	result = sql_step(&call, error);
	if (result == SQL_ROW) {
		sql_get_counts(&call, 0, &reading);
		sql_end(&call);
	}
	line->chains = explain_is_same(&reading, &line->baseline) ||
	               (result == SQL_NONE && line->meter->first_at.utc_us < explanation->kept.rows_from_us);
	return result != SQL_FAILED;
}

/* A line without a row in the window: its counters stood still. */
static bool stand_still(struct store *store, const struct explanation *explanation, struct explain_line *line, bool earlier,
                        GError **error)
{
	if (earlier)
		line->reading = line->row.reading;
	else if (!find_reading_after(store, explanation, line, error))
		return false;
	line->baseline = line->reading;
	line->row = (struct explain_row){ .start_us = explanation->start_us, .end_us = explanation->end_us };
	return true;
}

static bool fill_rows(struct store *store, struct explanation *explanation, GError **error)
{
	for (unsigned i = 0; i < explanation->lines->len; i++) {
		struct explain_line *line = &g_array_index(explanation->lines, struct explain_line, i);

		if (!find_row(store, line->meter, explanation->at_us, &line->row, &line->has_row, error))
			return false;
		if (!line->has_row || (explanation->has_window && line->row.start_us <= explanation->start_us))
			continue;
		explanation->has_window = true;
		explanation->start_us = line->row.start_us;
		explanation->end_us = line->row.end_us;
	}
	for (unsigned i = 0; explanation->has_window && i < explanation->lines->len; i++) {
		struct explain_line *line = &g_array_index(explanation->lines, struct explain_line, i);
		bool earlier = line->has_row;

		line->has_row = line->has_row && line->row.start_us == explanation->start_us;
		if (line->has_row) {
			line->reading = line->row.reading;
			line->baseline = counts_minus(&line->row.reading, &line->row.counts);
			if (!find_chain(store, explanation, line, error))
				return false;
		} else if (!stand_still(store, explanation, line, earlier, error)) {
			return false;
		}
	}
	return true;
}

/* Where rows are no longer kept: the sums of the hour, or the day, that holds the time. */
static bool fill_sums(struct store *store, struct explanation *explanation, GError **error)
{
	bool hours = explanation->at_us >= explanation->kept.hours_from_us;
	g_autoptr(GTimeZone) timezone = store_get_timezone(store), utc = g_time_zone_new_utc();

	explanation->level = hours ? LEVEL_HOUR : LEVEL_DAY;
	period_bounds(hours ? PERIOD_HOUR : PERIOD_DAY, explanation->at_us, timezone ? timezone : utc, &explanation->start_us,
	              &explanation->end_us);
	for (unsigned i = 0; i < explanation->lines->len; i++) {
		struct explain_line *line = &g_array_index(explanation->lines, struct explain_line, i);
		struct sql_call call = sql_call(store, hours ? SQL_TRACE_HOUR : SQL_TRACE_DAY);
		enum sql_result result;

		line->row = (struct explain_row){ .start_us = explanation->start_us, .end_us = explanation->end_us };
		sql_bind_int(&call, explanation->start_us);
		sql_bind_int(&call, line->meter->id);
		result = sql_step(&call, error);
		if (result == SQL_FAILED)
			return false;
		if (result == SQL_NONE)
			continue;
		line->has_row = explanation->has_window = true;
		sql_get_counts(&call, 0, &line->row.counts);
		line->row.flags = sqlite3_column_int64(call.statement, 4);
		sql_end(&call);
	}
	return true;
}

static bool fill_window(struct store *store, struct explanation *explanation, GError **error)
{
	if (!sql_get_kept(store, &explanation->kept, error))
		return false;
	if (explanation->at_us < explanation->kept.rows_from_us)
		return fill_sums(store, explanation, error);
	return fill_rows(store, explanation, error);
}

/* ---- coverage ---- */

static bool read_coverage(struct store *store, struct explanation *explanation, GError **error)
{
	struct sql_call call = sql_call(store, SQL_TRACE_COVERAGE);
	int64_t at_us = explanation->at_us;
	int64_t from_us = explanation->has_window ? MIN(explanation->start_us, at_us) : at_us;
	int64_t until_us = explanation->has_window ? MAX(explanation->end_us, at_us) : at_us;
	enum sql_result result;

	sql_bind_text(&call, explanation->life->of->node);
	sql_bind_text(&call, explanation->life->of->router);
	sql_bind_address(&call, explanation->address);
	sql_bind_int(&call, from_us - EXPLAIN_AROUND_US);
	sql_bind_int(&call, MIN(until_us, LATEST_US) + EXPLAIN_AROUND_US);
	while ((result = sql_step(&call, error)) == SQL_ROW) {
		struct coverage row = {
			.node = (char *)explanation->life->of->node, .router = (char *)explanation->life->of->router,
			.start_us = sqlite3_column_int64(call.statement, 1), .end_us = sqlite3_column_int64(call.statement, 2),
			.reason = (char *)sql_text(&call, 4),
		};

		if (!sql_get_address(&call, 0, &row.address) || !sql_get_state(&call, 3, &row.state))
			return refuse(&call, "row of coverage", error);
		g_ptr_array_add(explanation->coverage, coverage_copy(&row));
	}
	return result == SQL_NONE;
}

/* ---- all of it ---- */

static bool trace(struct store *store, struct explanation *explanation, bool *known, GError **error)
{
	if (!read_meters(store, explanation, error))
		return false;
	*known = explanation->meters->len;
	if (!*known)
		return true;
	explanation_choose(explanation);
	return fill_window(store, explanation, error) &&
	       add_booked(store, explanation, SQL_USAGE_DAYS_OF_SOME, error) &&
	       add_booked(store, explanation, SQL_USAGE_FRESH, error) && read_coverage(store, explanation, error);
}

bool store_trace(struct store *store, struct explanation *explanation, bool *known, GError **error)
{
	struct sql_call begin = sql_call(store, SQL_BEGIN_READ);
	bool done;

	if (!sql_run(&begin, error))
		return false;
	done = trace(store, explanation, known, error);
	sql_end_transaction(store, false, NULL);
	return done;
}

bool store_each_address(struct store *store, void (*call)(uint32_t address, uint32_t fixed, void *data), void *data,
                        GError **error)
{
	struct sql_call query = sql_call(store, SQL_ADDRESSES);
	enum sql_result result;

	while ((result = sql_step(&query, error)) == SQL_ROW) {
		uint32_t address, fixed;

		if (!sql_get_address(&query, 0, &address) || !sql_get_address(&query, 1, &fixed))
			return refuse(&query, "meter", error);
		call(address, fixed, data);
	}
	return result == SQL_NONE;
}

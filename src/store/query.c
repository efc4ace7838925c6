/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See query.h.  Usage is asked for part by part (core/levels.h), in one state of the store: what is summed already at the
 * level of the part, and the rows that are in no sum yet.  What the meters are is read first, so that no row needs a join.
 */
#include "store/query.h"

#include "core/period.h"
#include "store/sql.h"

#define HOUR_US (3600 * INT64_C(1000000))

static bool is_of_some(const struct usage_filter *filter)
{
	return filter->address || filter->router || filter->class_name;
}

static void bind_meters(struct sql_call *call, const struct usage_filter *filter)
{
	if (filter->address)
		sql_bind_address(call, filter->address);
	else
		sql_bind_text(call, NULL);
	sql_bind_text(call, filter->router);
	sql_bind_text(call, filter->class_name);
}

/* ---- meters ---- */

/* One question: the meters that it is about, and who is called for each of their rows. */
struct question {
	struct store *store;
	const struct usage_filter *filter;
	GHashTable *meters; /* number of the meter (as a pointer) -> struct report_line: what is the same in all of its rows */
	void (*call)(const struct report_line *row, void *data);
	void *data;
	bool ends_open;     /* nothing there is behind its end: a sum that is longer holds no row that is */
};

static bool read_meter(const struct sql_call *call, struct report_line *line)
{
	enum kind kind;
	enum basis basis;

	if (!kind_from_name(sql_text(call, 3), &kind) || !sql_get_address(call, 4, &line->address) ||
	    !sql_get_address(call, 5, &line->fixed) || !sql_get_basis(call, 7, &basis))
		return false;
	line->node = g_intern_string(sql_text(call, 1));
	line->router = g_intern_string(sql_text(call, 2));
	line->class_name = g_intern_string(sql_text(call, 6));
	line->kind = kind;
	line->basis = basis;
	return true;
}

static void *meter_number(const struct sql_call *call)
{
	return (void *)(intptr_t)sqlite3_column_int64(call->statement, 0);
}

static bool read_meters(const struct question *question, GError **error)
{
	struct sql_call call = sql_call(question->store, SQL_METERS);
	enum sql_result result;

	bind_meters(&call, question->filter);
	while ((result = sql_step(&call, error)) == SQL_ROW) {
		struct report_line *line = g_new0(struct report_line, 1);

		g_hash_table_insert(question->meters, meter_number(&call), line);
		if (read_meter(&call, line))
			continue;
		sql_end(&call);
		g_set_error(error, STORE_ERROR, STORE_ERROR_FAILED,
		            "%s: a meter holds a value that no fipmeter wrote (fipmeter audit says more)", question->store->path);
		return false;
	}
	return result == SQL_NONE;
}

/* ---- rows and sums ---- */

static bool is_of_sums(enum sql which)
{
	return which == SQL_USAGE_HOURS || which == SQL_USAGE_DAYS || which == SQL_USAGE_HOURS_OF_SOME ||
	       which == SQL_USAGE_DAYS_OF_SOME;
}

static bool ask_part(const struct question *question, enum sql which, int64_t since_us, int64_t until_us, GError **error)
{
	struct sql_call call = sql_call(question->store, which);
	enum sql_result result;

	sql_bind_int(&call, since_us);
	sql_bind_int(&call, until_us);
	if (which == SQL_USAGE_ROWS_OF_SOME || which == SQL_USAGE_HOURS_OF_SOME || which == SQL_USAGE_DAYS_OF_SOME)
		bind_meters(&call, question->filter);
	while ((result = sql_step(&call, error)) == SQL_ROW) {
		const struct report_line *meter = g_hash_table_lookup(question->meters, meter_number(&call));
		struct report_line row;

		if (!meter)
			continue;
		row = *meter;
		row.start_us = sqlite3_column_int64(call.statement, 1);
		row.end_us = sqlite3_column_int64(call.statement, 2);
		sql_get_counts(&call, 3, &row.counts);
		row.flags = sqlite3_column_int64(call.statement, 7);
		row.crossing = sqlite3_column_int64(call.statement, 8);
		if (question->ends_open && is_of_sums(which))
			row.end_us = MIN(row.end_us, question->filter->until_us);
		question->call(&row, question->data);
	}
	return result == SQL_NONE;
}

/* A class alone is of too many meters to seek each of them. */
static enum sql statement_for(const struct question *question, enum level level)
{
	bool of_few = question->filter->address || question->filter->router;

	switch (level) {
	case LEVEL_ROW:
		return is_of_some(question->filter) ? SQL_USAGE_ROWS_OF_SOME : SQL_USAGE_ROWS;
	case LEVEL_HOUR:
		return of_few ? SQL_USAGE_HOURS_OF_SOME : SQL_USAGE_HOURS;
	case LEVEL_DAY:
		break;
	}
	return of_few ? SQL_USAGE_DAYS_OF_SOME : SQL_USAGE_DAYS;
}

/* A bound behind all that there is need not cut the last hour and day: they are whole. */
static bool get_until(struct question *question, GTimeZone *timezone, const struct kept *kept, int64_t *until_us,
                      GError **error)
{
	struct sql_call call = sql_call(question->store, SQL_LATEST);
	int64_t latest_us, start_us;

	if (sql_step(&call, error) != SQL_ROW)
		return false;
	latest_us = MAX(sqlite3_column_int64(call.statement, 0), kept->rows_from_us - 1);
	sql_end(&call);
	*until_us = question->filter->until_us;
	question->ends_open = *until_us > latest_us && *until_us > question->filter->since_us;
	if (question->ends_open)
		period_bounds(PERIOD_DAY, *until_us, timezone, &start_us, until_us);
	return true;
}

static bool ask_parts(struct question *question, GTimeZone *timezone, GError **error)
{
	const struct usage_filter *filter = question->filter;
	g_autoptr(GArray) parts = NULL;
	struct kept kept;
	int64_t until_us;
	bool done;

	if (!sql_get_kept(question->store, &kept, error) || !read_meters(question, error) ||
	    !get_until(question, timezone, &kept, &until_us, error))
		return false;
	parts = levels_cut(filter->per, filter->since_us, until_us, &kept, timezone);
	done = ask_part(question, SQL_USAGE_FRESH, filter->since_us, filter->until_us, error);
	for (unsigned i = 0; done && i < parts->len; i++) {
		const struct part *part = &g_array_index(parts, struct part, i);

		done = ask_part(question, statement_for(question, part->level), part->since_us, part->until_us, error);
	}
	return done;
}

bool store_each_usage(struct store *store, const struct usage_filter *filter,
                      void (*call)(const struct report_line *row, void *data), void *data, GError **error)
{
	g_autoptr(GHashTable) meters = g_hash_table_new_full(g_direct_hash, g_direct_equal, NULL, g_free);
	g_autoptr(GTimeZone) timezone = store_get_timezone(store);
	struct question question = { store, filter, meters, call, data, false };
	struct sql_call begin = sql_call(store, SQL_BEGIN_READ);
	bool done;

	if (!timezone)
		timezone = g_time_zone_new_utc();
	if (!sql_run(&begin, error))
		return false;
	done = ask_parts(&question, timezone, error);
	sql_end_transaction(store, false, NULL);
	return done;
}

bool store_get_levels(struct store *store, struct kept *kept, GError **error)
{
	return sql_get_kept(store, kept, error);
}

/* ---- coverage ---- */

static bool refuse_coverage(struct sql_call *call, GError **error)
{
	sql_end(call);
	g_set_error(error, STORE_ERROR, STORE_ERROR_FAILED,
	            "%s: a row of coverage holds a value that no fipmeter wrote (fipmeter audit says more)",
	            call->store->path);
	return false;
}

bool store_each_router(struct store *store, void (*call)(const char *router, int64_t read_us, void *data), void *data,
                       GError **error)
{
	struct sql_call query = sql_call(store, SQL_ROUTERS);
	enum sql_result result;

	while ((result = sql_step(&query, error)) == SQL_ROW)
		call(sql_text(&query, 0), sqlite3_column_int64(query.statement, 1), data);
	return result == SQL_NONE;
}

bool store_each_gap(struct store *store, int64_t since_us, void (*call)(const struct coverage *gap, void *data),
                    void *data, GError **error)
{
	struct sql_call query = sql_call(store, SQL_GAPS);
	enum sql_result result;

	sql_bind_int(&query, since_us);
	while ((result = sql_step(&query, error)) == SQL_ROW) {
		struct coverage gap = {
			.seq = sqlite3_column_int64(query.statement, 0),
			.node = (char *)sql_text(&query, 1), .router = (char *)sql_text(&query, 2),
			.start_us = sqlite3_column_int64(query.statement, 4),
			.end_us = sqlite3_column_int64(query.statement, 5),
			.state = STATE_GAP, .reason = (char *)sql_text(&query, 6),
		};

		if (!sql_get_address(&query, 3, &gap.address))
			return refuse_coverage(&query, error);
		call(&gap, data);
	}
	return result == SQL_NONE;
}

bool store_each_residue(struct store *store, int64_t since_us, void (*call)(const struct residue_sum *sum, void *data),
                        void *data, GError **error)
{
	struct sql_call query = sql_call(store, SQL_RESIDUES);
	enum sql_result result;

	sql_bind_int(&query, since_us - HOUR_US);
	while ((result = sql_step(&query, error)) == SQL_ROW) {
		struct residue_sum sum = { .router = sql_text(&query, 0) };
		uint64_t *const sums[] = { &sum.received, &sum.sent, &sum.in, &sum.out, &sum.residue_in, &sum.residue_out, &sum.excess };

		sum.end_us = sqlite3_column_int64(query.statement, 1);
		sum.windows = sqlite3_column_int64(query.statement, 2);
		for (unsigned i = 0; i < G_N_ELEMENTS(sums); i++)
			*sums[i] = (uint64_t)sqlite3_column_int64(query.statement, 3 + (int)i);
		sum.flagged = sqlite3_column_int64(query.statement, 3 + G_N_ELEMENTS(sums));
		call(&sum, data);
	}
	return result == SQL_NONE;
}

static bool take_answer(struct sql_call *call, bool *known, GError **error)
{
	if (sql_step(call, error) != SQL_ROW)
		return false;
	*known = sqlite3_column_int(call->statement, 0);
	sql_end(call);
	return true;
}

bool store_knows_address(struct store *store, uint32_t address, bool *known, GError **error)
{
	struct sql_call call = sql_call(store, SQL_KNOWS_ADDRESS);

	sql_bind_address(&call, address);
	return take_answer(&call, known, error);
}

bool store_knows_router(struct store *store, const char *router, bool *known, GError **error)
{
	struct sql_call call = sql_call(store, SQL_KNOWS_ROUTER);

	sql_bind_text(&call, router);
	return take_answer(&call, known, error);
}

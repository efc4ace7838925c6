/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See query.h.  Rows are found by time; of some meters alone by an index that knows the meter, too.
 */
#include "store/query.h"

#include "store/sql.h"

static bool is_of_some(const struct usage_filter *filter)
{
	return filter->address || filter->router || filter->class_name;
}

static void bind_filter(struct sql_call *call, const struct usage_filter *filter)
{
	sql_bind_int(call, filter->since_us);
	sql_bind_int(call, filter->until_us);
	if (!is_of_some(filter))
		return;
	if (filter->address)
		sql_bind_address(call, filter->address);
	else
		sql_bind_text(call, NULL);
	sql_bind_text(call, filter->router);
	sql_bind_text(call, filter->class_name);
}

static bool read_row(const struct sql_call *call, struct report_line *row)
{
	enum kind kind;
	enum basis basis;

	if (!kind_from_name(sql_text(call, 2), &kind) || !sql_get_address(call, 3, &row->address) ||
	    !sql_get_address(call, 4, &row->fixed) || !sql_get_basis(call, 12, &basis))
		return false;
	row->node = g_intern_string(sql_text(call, 0));
	row->router = g_intern_string(sql_text(call, 1));
	row->kind = kind;
	row->class_name = g_intern_string(sql_text(call, 5));
	row->start_us = sqlite3_column_int64(call->statement, 6);
	row->end_us = sqlite3_column_int64(call->statement, 7);
	sql_get_counts(call, 8, &row->counts);
	row->basis = basis;
	row->flags = sqlite3_column_int64(call->statement, 13);
	return true;
}

bool store_each_usage(struct store *store, const struct usage_filter *filter,
                      void (*call)(const struct report_line *row, void *data), void *data, GError **error)
{
	struct sql_call query = sql_call(store, is_of_some(filter) ? SQL_USAGE_OF_SOME : SQL_USAGE);
	enum sql_result result;

	bind_filter(&query, filter);
	while ((result = sql_step(&query, error)) == SQL_ROW) {
		struct report_line row;

		if (!read_row(&query, &row)) {
			sql_end(&query);
			g_set_error(error, STORE_ERROR, STORE_ERROR_FAILED,
			            "%s: a meter holds a value that no fipmeter wrote (fipmeter audit says more)",
			            store->path);
			return false;
		}
		call(&row, data);
	}
	return result == SQL_NONE;
}

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

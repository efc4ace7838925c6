/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The columns of a row, as sql.h says.
 */
#include "store/sql.h"

const char *sql_text(const struct sql_call *call, int column)
{
	const char *text = (const char *)sqlite3_column_text(call->statement, column);

	return text ? text : "";
}

void sql_get_counts(const struct sql_call *call, int column, struct counts *counts)
{
	counts->in_bytes = sqlite3_column_int64(call->statement, column);
	counts->in_packets = sqlite3_column_int64(call->statement, column + 1);
	counts->out_bytes = sqlite3_column_int64(call->statement, column + 2);
	counts->out_packets = sqlite3_column_int64(call->statement, column + 3);
}

void sql_get_instant(const struct sql_call *call, int column, struct instant *at)
{
	at->utc_us = sqlite3_column_int64(call->statement, column);
	at->boot_us = sqlite3_column_int64(call->statement, column + 1);
}

bool sql_get_address(const struct sql_call *call, int column, uint32_t *address)
{
	const char *text = sql_text(call, column);

	if (*text)
		return address_from_string(text, address);
	*address = 0;
	return true;
}

bool sql_get_basis(const struct sql_call *call, int column, enum basis *basis)
{
	const char *name = sql_text(call, column);

	for (enum basis each = BASIS_SKB; each <= BASIS_WIRE_SENT; each++)
		if (g_str_equal(name, basis_name(each))) {
			*basis = each;
			return true;
		}
	return false;
}

bool sql_get_state(const struct sql_call *call, int column, enum state *state)
{
	const char *name = sql_text(call, column);

	for (enum state each = STATE_METERED; each <= STATE_UNKNOWN; each++)
		if (g_str_equal(name, state_name(each))) {
			*state = each;
			return true;
		}
	return false;
}

struct generation *sql_get_generation(const struct sql_call *call, int column)
{
	struct generation *of;
	enum basis basis;

	if (!sql_get_basis(call, column + 5, &basis))
		return NULL;
	of = generation_new(sql_text(call, column), sql_text(call, column + 1), sql_text(call, column + 2),
	                    sql_text(call, column + 3), sql_text(call, column + 4), basis);
	sql_get_instant(call, column + 6, &of->made_at);
	sql_get_instant(call, column + 8, &of->read_at);
	return of;
}

bool sql_get_meter(const struct sql_call *call, struct generation *of, struct meter *meter)
{
	if (!of || !kind_from_name(sql_text(call, 2), &meter->key.kind) ||
	    !sql_get_address(call, 3, &meter->key.address) || !sql_get_address(call, 4, &meter->fixed))
		return false;
	meter->id = sqlite3_column_int64(call->statement, 0);
	meter->of = generation_ref(of);
	meter->key.class_name = g_intern_string(sql_text(call, 5));
	meter->flags = sqlite3_column_int64(call->statement, 6);
	sql_get_instant(call, 7, &meter->first_at);
	sql_get_counts(call, 9, &meter->first);
	sql_get_instant(call, 13, &meter->last_at);
	sql_get_counts(call, 15, &meter->last);
	return true;
}

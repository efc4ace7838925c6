/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See audit.h.  Meters are read first and held, then the rows run by once in the order of (store, seq), which is the
 * order they were written in: after a step of the clock their times are in none.  Then the sums of hours and days.
 */
#include "store/audit.h"

#include "store/sql.h"

#define N_COUNTS 4

static const char *const count_names[N_COUNTS] = { "in_bytes", "in_packets", "out_bytes", "out_packets" };

/* Sums of one meter that are checked against each other (schema_2.sql says why they must be equal). */
enum sum {
	SUM_ALL,          /* days, and rows that are in no sum yet: = last - first */
	SUM_DAYS,         /* days for which hours are kept = those hours */
	SUM_HOURS,
	SUM_HOURS_RECENT, /* hours for which rows are kept = those rows */
	SUM_ROWS_RECENT,
	N_SUMS,
};

/* A meter, as its row says and as its usage rows made it up to here. */
struct tally {
	int64_t meter;
	char *label; /* what it counts for */
	int64_t first[N_COUNTS], last[N_COUNTS];
	int64_t sums[N_SUMS][N_COUNTS], reading[N_COUNTS];
	bool begun;  /* its reading is known: no row before those read so far was dropped */
	bool beyond; /* the rows sum to more than 64 bits hold */
};

/* A store id, and how far its rows have come. */
struct progress {
	int64_t rolled_seq, last_seq;
};

struct auditor {
	struct store *store;
	struct audit *result;
	GArray *tallies;      /* of struct tally, ascending by meter */
	GHashTable *progress; /* number of the store id -> struct progress */
	bool dropped;         /* there were rows once that are here no more */
	struct kept kept;
};

static void tell(struct audit_list *list, const char *format, ...) G_GNUC_PRINTF(2, 3);

static void tell(struct audit_list *list, const char *format, ...)
{
	va_list arguments;

	if (list->n++ >= AUDIT_TOLD_MAX)
		return;
	va_start(arguments, format);
	g_ptr_array_add(list->texts, g_strdelimit(g_strdup_vprintf(format, arguments), "\n", ' '));
	va_end(arguments);
}

static void add_up(uint64_t *sum, int64_t more)
{
	if (__builtin_add_overflow(*sum, (uint64_t)MAX(more, 0), sum))
		*sum = UINT64_MAX;
}

/* Columns from..to (not included) as integers.  False, and a finding, if one of them is none. */
static bool get_integers(struct auditor *auditor, const struct sql_call *call, int from, int to, int64_t *values,
                         const char *what)
{
	for (int i = from; i < to; i++) {
		if (sqlite3_column_type(call->statement, i) != SQLITE_INTEGER) {
			tell(&auditor->result->findings, "%s: %s is no integer: %s", what,
			     sqlite3_column_name(call->statement, i), sql_text(call, i));
			return false;
		}
		values[i - from] = sqlite3_column_int64(call->statement, i);
	}
	return true;
}

/* A file that SQLite cannot read on is a finding; anything else that stops us is an error. */
static bool end_of_rows(struct auditor *auditor, enum sql_result result, GError *failure, GError **error)
{
	if (result == SQL_NONE)
		return true;
	if (!auditor->store->damage) {
		g_propagate_error(error, failure);
		return false;
	}
	tell(&auditor->result->findings, "SQLite cannot read on: %s", failure->message);
	g_error_free(failure);
	return true;
}

/* ---- the file ---- */

static bool check_file(struct auditor *auditor, GError **error)
{
	sqlite3_stmt *statement = NULL;
	GError *failure = NULL;
	int code = sqlite3_prepare_v2(auditor->store->db, "PRAGMA integrity_check", -1, &statement, NULL);

	while (code == SQLITE_OK || code == SQLITE_ROW) {
		code = sqlite3_step(statement);
		if (code == SQLITE_ROW && g_strcmp0((const char *)sqlite3_column_text(statement, 0), "ok"))
			tell(&auditor->result->findings, "SQLite: %s",
			     (const char *)sqlite3_column_text(statement, 0));
	}
	if (code != SQLITE_DONE)
		sql_set_error(auditor->store, &failure);
	sqlite3_finalize(statement);
	return end_of_rows(auditor, code == SQLITE_DONE ? SQL_NONE : SQL_FAILED, failure, error);
}

/* ---- meters ---- */

static void tally_clear(void *data)
{
	g_free(((struct tally *)data)->label);
}

static int tally_compare(const void *a, const void *b)
{
	const struct tally *first = a, *second = b;

	return (first->meter > second->meter) - (first->meter < second->meter);
}

static void take_meter(struct auditor *auditor, const struct sql_call *call)
{
	const char *router = sql_text(call, 1), *address = sql_text(call, 3);
	struct tally tally = {
		.meter = sqlite3_column_int64(call->statement, 0),
		.label = g_strdup_printf("meter %" G_GINT64_FORMAT " (%s%s%s, %s, router %s)",
		                         (int64_t)sqlite3_column_int64(call->statement, 0), sql_text(call, 2),
		                         *address ? " " : "", address, sql_text(call, 4),
		                         *router ? router : "unknown"),
	};

	auditor->result->meters++;
	auditor->result->open_meters += !sqlite3_column_int64(call->statement, 5);
	if (!*router)
		tell(&auditor->result->findings, "%s: its generation is not in the store", tally.label);
	if (get_integers(auditor, call, 6, 6 + N_COUNTS, tally.first, tally.label))
		get_integers(auditor, call, 6 + N_COUNTS, 6 + 2 * N_COUNTS, tally.last, tally.label);
	for (unsigned i = 0; i < N_COUNTS; i++)
		tally.reading[i] = tally.first[i];
	tally.begun = !auditor->dropped;
	g_array_append_val(auditor->tallies, tally);
}

static bool read_meters(struct auditor *auditor, GError **error)
{
	struct sql_call call = sql_call(auditor->store, SQL_AUDIT_METERS);
	GError *failure = NULL;
	enum sql_result result;

	while ((result = sql_step(&call, &failure)) == SQL_ROW)
		take_meter(auditor, &call);
	/* A damaged table may give its rows in any order. */
	g_array_sort(auditor->tallies, tally_compare);
	return end_of_rows(auditor, result, failure, error);
}

static void check_equal(struct auditor *auditor, const struct tally *tally, unsigned i, const char *fine, enum sum first,
                        const char *coarse, enum sum second)
{
	if (tally->sums[first][i] != tally->sums[second][i])
		tell(&auditor->result->findings, "%s: its %s sum to %s %" G_GINT64_FORMAT ", expected %" G_GINT64_FORMAT
		     " as the %s of the same time have it", tally->label, fine, count_names[i], tally->sums[first][i],
		     tally->sums[second][i], coarse);
}

static void add_counts(struct tally *tally, enum sum sum, const int64_t *counts)
{
	for (unsigned i = 0; i < N_COUNTS; i++)
		tally->beyond |= __builtin_add_overflow(tally->sums[sum][i], counts[i], &tally->sums[sum][i]);
}

static struct tally *find_tally(struct auditor *auditor, int64_t meter)
{
	struct tally wanted = { .meter = meter };
	unsigned at;

	if (!g_array_binary_search(auditor->tallies, &wanted, tally_compare, &at))
		return NULL;
	return &g_array_index(auditor->tallies, struct tally, at);
}

static void check_meter(struct auditor *auditor, const struct tally *tally)
{
	struct audit_list *findings = &auditor->result->findings;

	if (tally->beyond)
		tell(findings, "%s: its rows sum to more than 64 bits hold", tally->label);
	for (unsigned i = 0; i < N_COUNTS && !tally->beyond; i++) {
		int64_t expected, all = tally->sums[SUM_ALL][i];

		if (__builtin_sub_overflow(tally->last[i], tally->first[i], &expected) || expected != all)
			tell(findings, "%s: its rows sum to %s %" G_GINT64_FORMAT ", expected last - first = %"
			     G_GINT64_FORMAT " - %" G_GINT64_FORMAT, tally->label, count_names[i], all, tally->last[i],
			     tally->first[i]);
		check_equal(auditor, tally, i, "hours", SUM_HOURS, "days", SUM_DAYS);
		check_equal(auditor, tally, i, "rows", SUM_ROWS_RECENT, "hours", SUM_HOURS_RECENT);
		if (tally->begun && tally->reading[i] != tally->last[i])
			tell(findings, "%s: its rows end at a reading of %s %" G_GINT64_FORMAT ", expected %"
			     G_GINT64_FORMAT, tally->label, count_names[i], tally->reading[i], tally->last[i]);
	}
}

/* ---- rows ---- */

enum { ROW_STORE, ROW_SEQ, ROW_METER, ROW_START, ROW_END, ROW_COUNTS, ROW_READING = ROW_COUNTS + N_COUNTS,
       ROW_FLAGS = ROW_READING + N_COUNTS, N_ROW };

static void check_link(struct auditor *auditor, struct tally *tally, const int64_t *row)
{
	struct audit_list *findings = &auditor->result->findings;

	for (unsigned i = 0; i < N_COUNTS; i++) {
		int64_t count = row[ROW_COUNTS + i], reading = row[ROW_READING + i], begin = 0;

		if (count < 0 || __builtin_sub_overflow(reading, count, &begin) ||
		    (tally->begun && begin != tally->reading[i]))
			tell(findings, "%s, seq %" G_GINT64_FORMAT ": it begins at a reading of %s %" G_GINT64_FORMAT
			     ", expected %" G_GINT64_FORMAT, tally->label, row[ROW_SEQ], count_names[i], begin,
			     tally->reading[i]);
		tally->reading[i] = reading;
	}
	tally->begun = true;
}

static void sum_row(struct auditor *auditor, struct tally *tally, const int64_t *row)
{
	const struct progress *progress = g_hash_table_lookup(auditor->progress, &row[ROW_STORE]);

	if (!progress || row[ROW_SEQ] > progress->rolled_seq)
		add_counts(tally, SUM_ALL, &row[ROW_COUNTS]);
	else if (row[ROW_START] >= auditor->kept.rows_from_us)
		add_counts(tally, SUM_ROWS_RECENT, &row[ROW_COUNTS]);
}

static void check_row(struct auditor *auditor, const int64_t *row)
{
	struct tally *tally = find_tally(auditor, row[ROW_METER]);
	struct audit *result = auditor->result;

	result->rows++;
	add_up(&result->bytes, row[ROW_COUNTS]);
	add_up(&result->packets, row[ROW_COUNTS + 1]);
	add_up(&result->bytes, row[ROW_COUNTS + 2]);
	add_up(&result->packets, row[ROW_COUNTS + 3]);
	if (row[ROW_END] < row[ROW_START])
		tell(&result->findings, "seq %" G_GINT64_FORMAT " of store number %" G_GINT64_FORMAT ": it ends at %"
		     G_GINT64_FORMAT ", before its start %" G_GINT64_FORMAT, row[ROW_SEQ], row[ROW_STORE],
		     row[ROW_END], row[ROW_START]);
	if (!tally) {
		tell(&result->findings, "seq %" G_GINT64_FORMAT " of store number %" G_GINT64_FORMAT ": its meter %"
		     G_GINT64_FORMAT " is not in the store", row[ROW_SEQ], row[ROW_STORE], row[ROW_METER]);
		return;
	}
	check_link(auditor, tally, row);
	sum_row(auditor, tally, row);
}

/* How far each store id has come.  last_seqs: the seq before the first row that is still there. */
static bool read_progress(struct auditor *auditor, GHashTable *last_seqs, GError **error)
{
	struct sql_call call = sql_call(auditor->store, SQL_AUDIT_STORES);
	GError *failure = NULL;
	enum sql_result result;

	while ((result = sql_step(&call, &failure)) == SQL_ROW) {
		int64_t number = sqlite3_column_int64(call.statement, 0), dropped_seq = sqlite3_column_int64(call.statement, 3);
		struct progress progress = { sqlite3_column_int64(call.statement, 4), sqlite3_column_int64(call.statement, 2) };

		auditor->result->stores++;
		auditor->dropped |= dropped_seq > 0;
		auditor->result->dropped_rows += dropped_seq;
		if (progress.rolled_seq > progress.last_seq || dropped_seq > progress.rolled_seq)
			tell(&auditor->result->findings, "store %s: rows up to seq %" G_GINT64_FORMAT " are said to be in the sums, and "
			     "up to %" G_GINT64_FORMAT " to be dropped, of %" G_GINT64_FORMAT, sql_text(&call, 1),
			     progress.rolled_seq, dropped_seq, progress.last_seq);
		g_hash_table_insert(auditor->progress, g_memdup2(&number, sizeof number), g_memdup2(&progress, sizeof progress));
		g_hash_table_insert(last_seqs, g_memdup2(&number, sizeof number), g_memdup2(&dropped_seq, sizeof dropped_seq));
	}
	return end_of_rows(auditor, result, failure, error);
}

/* The last seq of each store id, as its rows have it and as its row in table store has it. */
static void check_stores(struct auditor *auditor, GHashTable *last_seqs)
{
	GHashTableIter each;
	void *number, *last;

	g_hash_table_iter_init(&each, last_seqs);
	while (g_hash_table_iter_next(&each, &number, &last)) {
		const struct progress *progress = g_hash_table_lookup(auditor->progress, number);

		if (!progress)
			tell(&auditor->result->findings, "store number %" G_GINT64_FORMAT ": it has rows, but is not in table store",
			     *(int64_t *)number);
		else if (progress->last_seq != *(int64_t *)last)
			tell(&auditor->result->findings, "store number %" G_GINT64_FORMAT ": its rows end at seq %" G_GINT64_FORMAT
			     ", expected %" G_GINT64_FORMAT, *(int64_t *)number, *(int64_t *)last, progress->last_seq);
	}
}

static void check_seq(struct auditor *auditor, GHashTable *last_seqs, int64_t store, int64_t seq)
{
	int64_t *last = g_hash_table_lookup(last_seqs, &store);

	if (!last) {
		last = g_new0(int64_t, 1);
		g_hash_table_insert(last_seqs, g_memdup2(&store, sizeof store), last);
	}
	if (seq - 1 != *last)
		tell(&auditor->result->findings, "store number %" G_GINT64_FORMAT ": seq %" G_GINT64_FORMAT
		     " is followed by %" G_GINT64_FORMAT ", expected %" G_GINT64_FORMAT, store, *last, seq,
		     *last + 1);
	*last = seq;
}

static bool check_rows(struct auditor *auditor, GHashTable *last_seqs, GError **error)
{
	struct sql_call call = sql_call(auditor->store, SQL_AUDIT_USAGE);
	GError *failure = NULL;
	enum sql_result result;

	while ((result = sql_step(&call, &failure)) == SQL_ROW) {
		g_autofree char *what = NULL;
		int64_t row[N_ROW];

		if (sqlite3_column_int64(call.statement, ROW_SEQ) < 1) {
			tell(&auditor->result->findings, "a row with seq %" G_GINT64_FORMAT ", expected 1 or more",
			     (int64_t)sqlite3_column_int64(call.statement, ROW_SEQ));
			continue;
		}
		check_seq(auditor, last_seqs, sqlite3_column_int64(call.statement, ROW_STORE),
		          sqlite3_column_int64(call.statement, ROW_SEQ));
		if (get_integers(auditor, &call, 0, N_ROW, row, "a usage row"))
			check_row(auditor, row);
	}
	check_stores(auditor, last_seqs);
	return end_of_rows(auditor, result, failure, error);
}

/* ---- hours and days ---- */

enum { PART_DAY, PART_METER, PART_START, PART_COUNTS, N_PART = PART_COUNTS + N_COUNTS };

static bool check_sums(struct auditor *auditor, GError **error)
{
	struct sql_call call = sql_call(auditor->store, SQL_AUDIT_SUMS);
	GError *failure = NULL;
	enum sql_result result;

	while ((result = sql_step(&call, &failure)) == SQL_ROW) {
		struct tally *tally;
		int64_t row[N_PART];

		if (!get_integers(auditor, &call, 0, N_PART, row, "a sum"))
			continue;
		tally = find_tally(auditor, row[PART_METER]);
		if (!tally) {
			tell(&auditor->result->findings, "%s at %" G_GINT64_FORMAT ": its meter %" G_GINT64_FORMAT
			     " is not in the store", row[PART_DAY] ? "a day" : "an hour", row[PART_START], row[PART_METER]);
			continue;
		}
		if (row[PART_DAY])
			add_counts(tally, SUM_ALL, &row[PART_COUNTS]);
		if (row[PART_START] >= auditor->kept.hours_from_us)
			add_counts(tally, row[PART_DAY] ? SUM_DAYS : SUM_HOURS, &row[PART_COUNTS]);
		if (!row[PART_DAY] && row[PART_START] >= auditor->kept.rows_from_us)
			add_counts(tally, SUM_HOURS_RECENT, &row[PART_COUNTS]);
	}
	return end_of_rows(auditor, result, failure, error);
}

/* ---- coverage ---- */

/* The row of coverage that ends last, among those of one router or address that were read so far. */
struct reach {
	int64_t store, end_us;
	char *owner, *state;
};

static void check_reach(struct auditor *auditor, const struct sql_call *call, struct reach *reach)
{
	g_autofree char *owner = g_strdup_printf("%s router %s%s%s", sql_text(call, 2), sql_text(call, 3),
	                                         *sql_text(call, 4) ? " address " : "", sql_text(call, 4));
	int64_t store = sqlite3_column_int64(call->statement, 0), seq = sqlite3_column_int64(call->statement, 1);
	int64_t start_us = sqlite3_column_int64(call->statement, 5);
	int64_t end_us = sqlite3_column_int64(call->statement, 6);
	const char *state = sql_text(call, 7);

	auditor->result->coverage++;
	if (end_us < start_us)
		tell(&auditor->result->findings, "coverage %" G_GINT64_FORMAT " of %s: it ends at %" G_GINT64_FORMAT
		     ", before its start %" G_GINT64_FORMAT, seq, owner, end_us, start_us);
	if (store == reach->store && !g_strcmp0(owner, reach->owner)) {
		if (start_us < reach->end_us && !g_str_equal(state, reach->state))
			tell(&auditor->result->remarks, "coverage %" G_GINT64_FORMAT " of %s: %s from %"
			     G_GINT64_FORMAT ", where %s reaches to %" G_GINT64_FORMAT, seq, owner, state, start_us,
			     reach->state, reach->end_us);
		if (end_us < reach->end_us)
			return;
	}
	g_free(reach->owner);
	g_free(reach->state);
	*reach = (struct reach){ store, end_us, g_steal_pointer(&owner), g_strdup(state) };
}

static bool check_coverage(struct auditor *auditor, GError **error)
{
	struct sql_call call = sql_call(auditor->store, SQL_AUDIT_COVERAGE);
	struct reach reach = { 0 };
	GError *failure = NULL;
	enum sql_result result;

	while ((result = sql_step(&call, &failure)) == SQL_ROW)
		check_reach(auditor, &call, &reach);
	g_free(reach.owner);
	g_free(reach.state);
	return end_of_rows(auditor, result, failure, error);
}

/* ---- all ---- */

static bool check_all(struct auditor *auditor, GError **error)
{
	g_autoptr(GHashTable) last_seqs = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);

	if (!check_file(auditor, error) || !sql_get_kept(auditor->store, &auditor->kept, error) ||
	    !read_progress(auditor, last_seqs, error) || !read_meters(auditor, error) ||
	    !check_rows(auditor, last_seqs, error) || !check_sums(auditor, error) || !check_coverage(auditor, error))
		return false;
	for (unsigned i = 0; i < auditor->tallies->len; i++)
		check_meter(auditor, &g_array_index(auditor->tallies, struct tally, i));
	return true;
}

bool store_audit(struct store *store, struct audit *result, GError **error)
{
	struct sql_call begin = sql_call(store, SQL_BEGIN_READ);
	struct audit audit = {
		.findings.texts = g_ptr_array_new_with_free_func(g_free),
		.remarks.texts = g_ptr_array_new_with_free_func(g_free),
	};
	struct auditor auditor = { .store = store, .result = &audit };
	bool ok;

	if (!sql_run(&begin, error)) {
		audit_clear(&audit);
		return false;
	}
	auditor.tallies = g_array_new(FALSE, FALSE, sizeof(struct tally));
	g_array_set_clear_func(auditor.tallies, tally_clear);
	auditor.progress = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
	ok = check_all(&auditor, error);
	g_hash_table_unref(auditor.progress);
	g_array_unref(auditor.tallies);
	sql_end_transaction(store, false, NULL);
	if (ok)
		*result = audit;
	else
		audit_clear(&audit);
	return ok;
}

void audit_clear(struct audit *result)
{
	g_clear_pointer(&result->findings.texts, g_ptr_array_unref);
	g_clear_pointer(&result->remarks.texts, g_ptr_array_unref);
}

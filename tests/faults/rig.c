/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See rig.h.
 */
#include "rig.h"

#include <glib/gstdio.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "store/audit.h"
#include "store/sql.h"

#define NOON INT64_C(1784808000000000)
#define NET 0xc6330000u /* 198.51.0.0: site and key number follow */

static const char *class_of(unsigned key)
{
	return g_intern_static_string(key % 3 ? "internet" : "cloud");
}

static uint32_t address_of(unsigned site, unsigned key)
{
	return NET + site * 4096 + key + 1;
}

int rig_key_index(uint32_t address, const char *class_name)
{
	unsigned site = (address - NET - 1) / 4096, key = (address - NET - 1) % 4096;

	return address <= NET || site >= SITES || key >= KEYS_MAX || !g_str_equal(class_name, class_of(key)) ? -1 :
	       (int)(site * KEYS_MAX + key);
}

/* ---- life ---- */

struct rig *rig_new(const char *directory, unsigned keys, guint32 seed)
{
	struct rig *rig = g_new0(struct rig, 1);

	rig->directory = g_strdup(directory);
	rig->boot = g_strdup("boot-1");
	rig->now = (struct instant){ NOON, 5 * MINUTE_US };
	rig->random = g_rand_new_with_seed(seed);
	rig->utc = g_time_zone_new_utc();
	for (unsigned i = 0; i < SITES; i++) {
		struct plan *plan = rig->sites[i].plan = g_new0(struct plan, 1);

		plan->router = g_strdup_printf("router-%u", i);
		plan->ns = g_strdup_printf("qrouter-%u", i);
		plan->meters = g_array_new(FALSE, FALSE, sizeof(struct planned_meter));
		plan->local = g_array_new(FALSE, FALSE, sizeof(struct prefix));
		plan->ranges = g_array_new(FALSE, FALSE, sizeof(struct class_range));
		plan->classes = g_ptr_array_new();
		rig->sites[i].kernel = snapshot_new();
		rig->sites[i].kernel->intact = true;
		rig_plan_more(rig, i, keys);
	}
	return rig;
}

static void drop_books(struct rig *rig)
{
	g_clear_pointer(&rig->ledger, ledger_free);
}

void rig_close(struct rig *rig)
{
	g_clear_pointer(&rig->store, store_close);
	drop_books(rig);
}

void rig_kill(struct rig *rig)
{
	g_clear_pointer(&rig->store, sql_store_free);
	drop_books(rig);
}

void rig_free(struct rig *rig)
{
	if (!rig)
		return;
	rig_close(rig);
	for (unsigned i = 0; i < SITES; i++) {
		plan_free(rig->sites[i].plan);
		snapshot_free(rig->sites[i].kernel);
	}
	g_rand_free(rig->random);
	g_time_zone_unref(rig->utc);
	g_free(rig->renewal);
	g_free(rig->boot);
	g_free(rig->directory);
	g_free(rig);
}

static void copy_array(GArray *to, const GArray *from)
{
	g_array_set_size(to, 0);
	if (from->len)
		g_array_append_vals(to, from->data, from->len);
}

void rig_copy_kernel(struct rig *rig, const struct rig *from)
{
	rig->now = from->now;
	rig->truth = from->truth;
	g_free(rig->boot);
	rig->boot = g_strdup(from->boot);
	for (unsigned i = 0; i < SITES; i++) {
		struct site *site = &rig->sites[i];

		g_free(site->kernel->generation);
		site->kernel->generation = g_strdup(from->sites[i].kernel->generation);
		copy_array(site->kernel->readings, from->sites[i].kernel->readings);
		copy_array(site->plan->meters, from->sites[i].plan->meters);
		site->next_key = from->sites[i].next_key;
	}
}

static void take_books(struct rig *rig, struct ledger_state *state)
{
	drop_books(rig);
	rig->ledger = ledger_new("node", rig->boot, MINUTE_US, state);
}

bool rig_open(struct rig *rig, char **notice, GError **error)
{
	struct ledger_state state;

	*notice = NULL;
	rig->store = store_open(rig->directory, notice, error);
	if (!rig->store)
		return false;
	if (!store_set_timezone(rig->store, rig->utc, error) || !store_load(rig->store, &state, error)) {
		rig_close(rig);
		return false;
	}
	take_books(rig, &state);
	return true;
}

void rig_reboot(struct rig *rig)
{
	g_free(rig->boot);
	rig->boot = g_strdup("boot-2");
	rig->now.boot_us = MINUTE_US;
	for (unsigned i = 0; i < SITES; i++) {
		g_clear_pointer(&rig->sites[i].kernel->generation, g_free);
		g_array_set_size(rig->sites[i].kernel->readings, 0);
	}
}

/* ---- the kernel ---- */

/* Plans are ascending by key, as the readings are. */
static int planned_compare(const void *key, const void *planned)
{
	return meter_key_compare(key, &((const struct planned_meter *)planned)->key);
}

static bool is_planned(const struct site *site, const struct meter_key *key)
{
	const GArray *meters = site->plan->meters;

	return meters->len && bsearch(key, meters->data, meters->len, sizeof(struct planned_meter), planned_compare);
}

/* What is not planned any more has stopped matching before it is read a last time. */
void rig_pass(struct rig *rig)
{
	rig->now.utc_us += MINUTE_US;
	rig->now.boot_us += MINUTE_US;
	for (unsigned i = 0; i < SITES; i++)
		for (unsigned j = 0; j < rig->sites[i].kernel->readings->len; j++) {
			struct reading *reading = &g_array_index(rig->sites[i].kernel->readings, struct reading, j);
			uint32_t in = g_rand_int_range(rig->random, 0, 9), out = g_rand_int_range(rig->random, 0, 9);
			struct counts more = { in * 1000 + j, in, out * 100 + i, out };

			if (j % 8 == 7 || !is_planned(&rig->sites[i], &reading->key))
				continue;
			counts_add(&reading->counts, &more);
			counts_add(&rig->truth.counts[rig_key_index(reading->key.address, reading->key.class_name)], &more);
		}
}

void rig_plan_more(struct rig *rig, unsigned site, unsigned n)
{
	struct site *of = &rig->sites[site];

	for (unsigned i = 0; i < n && of->next_key < KEYS_MAX; i++) {
		struct planned_meter planned = {
			.key = { KIND_FLOATING, address_of(site, of->next_key), class_of(of->next_key) }, .fixed = 0x0a000001,
		};

		g_array_append_val(of->plan->meters, planned);
		of->next_key++;
	}
}

void rig_plan_fewer(struct rig *rig, unsigned site, unsigned n)
{
	g_array_remove_range(rig->sites[site].plan->meters, 0, MIN(n, rig->sites[site].plan->meters->len));
}

static void make_counters(struct site *site, const char *tag)
{
	g_autoptr(GArray) new = g_array_new(FALSE, FALSE, sizeof(struct reading));

	g_free(site->kernel->generation);
	site->kernel->generation = g_strdup(tag);
	for (unsigned i = 0; i < site->plan->meters->len; i++) {
		struct reading fresh = { .key = g_array_index(site->plan->meters, struct planned_meter, i).key };

		if (!snapshot_find(site->kernel, &fresh.key))
			g_array_append_val(new, fresh);
	}
	if (!new->len)
		return;
	g_array_append_vals(site->kernel->readings, new->data, new->len);
	g_array_sort(site->kernel->readings, snapshot_compare);
}

static void remove_dead(struct site *site)
{
	for (unsigned i = 0; i < site->kernel->readings->len; i++)
		if (!is_planned(site, &g_array_index(site->kernel->readings, struct reading, i).key))
			g_array_remove_index(site->kernel->readings, i--);
}

/* ---- cycles ---- */

static void renew(struct rig *rig)
{
	g_autoptr(GPtrArray) open = ledger_open_meters(rig->ledger);
	struct ledger_state state;
	char *notice;

	if (!store_is_lost(rig->store) || !store_renew(rig->store, open, &state, &notice, NULL))
		return;
	g_free(rig->renewal);
	rig->renewal = notice;
	take_books(rig, &state);
}

static bool commit(struct rig *rig, struct batch *batch, GError **error)
{
	g_autoptr(GPtrArray) open = NULL;

	if (batch_is_empty(batch))
		return true;
	if (rig->on_commit)
		rig->on_commit(rig, batch, false, rig->data);
	if (!store_commit_sure(rig->store, batch, error)) {
		renew(rig);
		return false;
	}
	if (rig->on_commit)
		rig->on_commit(rig, batch, true, rig->data);
	ledger_adopt(rig->ledger, batch);
	open = ledger_open_meters(rig->ledger);
	store_save_baselines(rig->store, open, NULL); /* as the agent: a failure is told, and loses nothing */
	return true;
}

static bool give_birth(struct rig *rig, struct site *site, GError **error)
{
	g_autofree char *tag = site->kernel->generation ? g_strdup(site->kernel->generation) :
	                       g_strdup_printf("%08x%08x%08x%08x", g_rand_int(rig->random), g_rand_int(rig->random),
	                                       g_rand_int(rig->random), g_rand_int(rig->random));
	struct batch *batch = batch_new();
	bool done;

	ledger_open(rig->ledger, site->plan, tag, BASIS_SKB, site->kernel, NULL, &rig->now, batch);
	done = commit(rig, batch, error);
	batch_free(batch);
	if (done)
		make_counters(site, tag);
	return done;
}

bool rig_cycle(struct rig *rig, GError **error)
{
	struct batch *batch;
	bool done = true;

	for (unsigned i = 0; done && i < SITES; i++)
		done = give_birth(rig, &rig->sites[i], error);
	if (!done)
		return false;
	batch = batch_new();
	for (unsigned i = 0; i < SITES; i++) {
		rig->sites[i].kernel->at = rig->now;
		ledger_settle(rig->ledger, rig->sites[i].plan, BASIS_SKB, rig->sites[i].kernel, batch);
	}
	done = commit(rig, batch, error);
	batch_free(batch);
	for (unsigned i = 0; done && i < SITES; i++)
		remove_dead(&rig->sites[i]);
	return done;
}

bool rig_tend(struct rig *rig, unsigned keep_days, GError **error)
{
	struct store_keep keep = {
		.timezone = rig->utc, .rows_us = (keep_days ? keep_days : 35) * 1440 * MINUTE_US,
		.hours_us = (keep_days ? keep_days + 1 : 400) * 1440 * MINUTE_US,
	};
	bool more = true;

	while (more)
		if (!store_tend(rig->store, &keep, rig->now.utc_us, &more, error)) {
			renew(rig);
			return false;
		}
	return true;
}

/* ---- past the program ---- */

#define BOOKED \
	"SELECT m.address, m.class, sum(b.in_bytes), sum(b.in_packets), sum(b.out_bytes), sum(b.out_packets) " \
	"FROM booked b JOIN meter m ON m.meter = b.meter GROUP BY m.address, m.class"
#define GAPS "SELECT count(*) FROM coverage_fact WHERE state = 'gap'"

static bool take_booked(sqlite3 *db, struct tally *booked)
{
	sqlite3_stmt *statement = NULL;
	int code = sqlite3_prepare_v2(db, BOOKED, -1, &statement, NULL);

	while (code == SQLITE_OK || code == SQLITE_ROW) {
		const char *address, *class_name;
		uint32_t number;
		int index;

		code = sqlite3_step(statement);
		if (code != SQLITE_ROW)
			break;
		address = (const char *)sqlite3_column_text(statement, 0);
		class_name = (const char *)sqlite3_column_text(statement, 1);
		index = address && class_name && address_from_string(address, &number) ?
		        rig_key_index(number, class_name) : -1;
		if (index >= 0)
			counts_add(&booked->counts[index], &(struct counts){
				sqlite3_column_int64(statement, 2), sqlite3_column_int64(statement, 3),
				sqlite3_column_int64(statement, 4), sqlite3_column_int64(statement, 5) });
	}
	sqlite3_finalize(statement);
	return code == SQLITE_DONE;
}

bool rig_read_booked(const char *path, struct tally *booked, unsigned *gaps)
{
	sqlite3_stmt *statement = NULL;
	sqlite3 *db = NULL;
	bool ok;

	memset(booked, 0, sizeof *booked);
	ok = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK;
	if (ok)
		sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	ok = ok && take_booked(db, booked);
	if (ok && gaps && sqlite3_prepare_v2(db, GAPS, -1, &statement, NULL) == SQLITE_OK &&
	    sqlite3_step(statement) == SQLITE_ROW)
		*gaps = sqlite3_column_int(statement, 0);
	sqlite3_finalize(statement);
	sqlite3_close(db);
	return ok;
}

void rig_tally_book(struct tally *to, const struct batch *batch)
{
	for (unsigned i = 0; i < batch->usage->len; i++) {
		const struct usage *row = &g_array_index(batch->usage, struct usage, i);

		for (unsigned j = 0; j < batch->meters->len; j++) {
			const struct meter *meter = batch->meters->pdata[j];

			if (meter->id != row->meter)
				continue;
			counts_add(&to->counts[rig_key_index(meter->key.address, meter->key.class_name)], &row->counts);
			break;
		}
	}
}

void rig_tally_add(struct tally *to, const struct tally *more)
{
	for (unsigned i = 0; i < SITES * KEYS_MAX; i++)
		counts_add(&to->counts[i], &more->counts[i]);
}

uint64_t rig_tally_bytes(const struct tally *tally)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < SITES * KEYS_MAX; i++)
		bytes += tally->counts[i].in_bytes + tally->counts[i].out_bytes;
	return bytes;
}

bool rig_tally_equal(const struct tally *a, const struct tally *b)
{
	return !memcmp(a, b, sizeof *a);
}

bool rig_tally_exceeds(const struct tally *a, const struct tally *b)
{
	for (unsigned i = 0; i < SITES * KEYS_MAX; i++) {
		const struct counts *first = &a->counts[i], *second = &b->counts[i];

		if (first->in_bytes > second->in_bytes || first->in_packets > second->in_packets ||
		    first->out_bytes > second->out_bytes || first->out_packets > second->out_packets)
			return true;
	}
	return false;
}

char *rig_findings(struct store *store)
{
	g_autoptr(GError) error = NULL;
	GString *lines = g_string_new(NULL);
	struct audit audit;

	if (!store_audit(store, &audit, &error))
		return g_string_free(g_string_append(lines, error->message), FALSE);
	for (unsigned i = 0; i < audit.findings.texts->len && i < 5; i++)
		g_string_append_printf(lines, "%s; ", (const char *)audit.findings.texts->pdata[i]);
	audit_clear(&audit);
	return g_string_free(lines, FALSE);
}

void rig_remove_files(const char *directory)
{
	g_autoptr(GDir) files = g_dir_open(directory, 0, NULL);
	const char *name;

	while (files && (name = g_dir_read_name(files))) {
		g_autofree char *path = g_build_filename(directory, name, NULL);

		g_remove(path);
	}
}

void rig_copy_files(const char *from, const char *to)
{
	g_autoptr(GDir) files = g_dir_open(from, 0, NULL);
	const char *name;

	rig_remove_files(to);
	while (files && (name = g_dir_read_name(files))) {
		g_autofree char *source = g_build_filename(from, name, NULL), *target = g_build_filename(to, name, NULL);
		g_autofree char *data = NULL;
		gsize length;

		if (g_file_get_contents(source, &data, &length, NULL)) {
			FILE *file = fopen(target, "w");

			g_assert_true(file && fwrite(data, 1, length, file) == length);
			fclose(file);
		}
	}
}

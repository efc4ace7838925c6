/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The truth against the books.  At each commit: every row takes its parcels out of the life of the counter that it is a
 * reading of; it must find just as many bytes and packets as it says, and no parcel may be in two rows.  At the end: a
 * parcel that is in no row lies in a gap, or in a time of which the coverage says nothing; and in no row that says it
 * is complete.
 */
#include "sim.h"

#include <string.h>

#define TOLERANCE (2 * SECOND) /* of labels, after the clock was set */
#define LATE_NFT (500 * SECOND / 1000) /* a cycle may take 300 ms at one point, and hears nothing meanwhile */
#define LATE_LEGACY (1300 * SECOND / 1000)

struct account { /* a meter, as the rows make it */
	struct meter *meter;
	struct counts sum;
	unsigned life; /* the number of the counter's life that it was read in last */
};

struct billing { /* what the second home does not know yet */
	struct life *life;
	struct parcel *parcel;
	uint64_t end;
};

struct covered {
	int store;
	struct coverage *row;
	int64_t offset_us;    /* of the clock when it was written last */
	int64_t home_end_us;  /* as it was when the second home was; INT64_MIN: not there then */
};

struct said { /* a row without flags */
	const char *router; /* interned */
	struct meter_key key;
	int64_t start_us, end_us, offset_us;
};

static GHashTable *accounts; /* meter id -> struct account */
static GArray *billings;     /* of struct billing */
static GPtrArray *owed;      /* of struct parcel * */
static GPtrArray *covered;   /* of struct covered * */
static GArray *complete;     /* of struct said */
static int store;            /* which of the store ids */

static void account_free(void *data)
{
	struct account *account = data;

	meter_free(account->meter);
	g_free(account);
}

static void covered_free(void *data)
{
	coverage_free(((struct covered *)data)->row);
	g_free(data);
}

void judge_init(void)
{
	accounts = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, account_free);
	billings = g_array_new(FALSE, FALSE, sizeof(struct billing));
	owed = g_ptr_array_new();
	covered = g_ptr_array_new_with_free_func(covered_free);
	complete = g_array_new(FALSE, FALSE, sizeof(struct said));
	store = 0;
}

void judge_clear(void)
{
	g_hash_table_unref(accounts);
	g_array_unref(billings);
	g_ptr_array_unref(owed);
	g_ptr_array_unref(covered);
	g_array_unref(complete);
}

static struct account *open_account(const struct meter *meter)
{
	struct account *account = g_hash_table_lookup(accounts, &meter->id);

	if (account)
		return account;
	account = g_new0(struct account, 1);
	account->meter = meter_copy(meter);
	account->sum = meter->first;
	g_hash_table_insert(accounts, &account->meter->id, account);
	return account;
}

/* ---- lives ---- */

static bool was_read(const struct life *life, const struct counts *counts)
{
	for (unsigned i = 0; i < life->marks->len; i++)
		if (!memcmp(&g_array_index(life->marks, struct counts, i), counts, sizeof *counts))
			return true;
	return false;
}

/* The latest life in which the counter was read with these values, or NULL. */
static struct life *life_of(const struct meter *meter, const struct counts *counts)
{
	GPtrArray *all = counters_lives(meter->of->tag, &meter->key);

	for (unsigned i = all ? all->len : 0; i > 0; i--)
		if (was_read(all->pdata[i - 1], counts))
			return all->pdata[i - 1];
	return NULL;
}

/* Takes the unbilled parcels up to a reading out of a life. */
static GPtrArray *take(struct life *life, const struct counts *counts, GArray *ends)
{
	GPtrArray *taken = g_ptr_array_new();
	unsigned kept = 0;

	for (unsigned i = 0; i < life->parcels->len; i++) {
		struct parcel *parcel = life->parcels->pdata[i];
		uint64_t end = g_array_index(life->ends, uint64_t, i);

		if (end <= (parcel->out ? counts->out_bytes : counts->in_bytes)) {
			g_ptr_array_add(taken, parcel);
			g_array_append_val(ends, end);
			continue;
		}
		life->parcels->pdata[kept] = parcel;
		g_array_index(life->ends, uint64_t, kept++) = end;
	}
	g_ptr_array_set_size(life->parcels, (int)kept);
	g_array_set_size(life->ends, kept);
	return taken;
}

static struct counts total(const GPtrArray *parcels)
{
	struct counts sum = { 0 };

	for (unsigned i = 0; i < parcels->len; i++) {
		const struct parcel *parcel = parcels->pdata[i];

		*(parcel->out ? &sum.out_bytes : &sum.in_bytes) += parcel->bytes;
		*(parcel->out ? &sum.out_packets : &sum.in_packets) += parcel->packets;
	}
	return sum;
}

/* ---- rows ---- */

/* The counter was set back, and counted beyond its baseline again before it was read: nobody can see that. */
static void excuse(const struct meter *meter, const struct life *life)
{
	GPtrArray *all = counters_lives(meter->of->tag, &meter->key);

	for (unsigned i = 0; i < life->number; i++) {
		struct life *before = all->pdata[i];

		for (unsigned j = 0; !before->seen_gone && j < before->parcels->len; j++) {
			struct parcel *parcel = before->parcels->pdata[j];

			sim.hidden_bytes += !parcel->excused && !parcel->billed ? parcel->bytes : 0;
			parcel->excused = true;
		}
	}
}

/* Of what was taken less is billed: the first of them are not. */
static void hide(GPtrArray *taken, const struct counts *billed)
{
	struct counts sum = total(taken);
	uint64_t hidden_in = sum.in_bytes - billed->in_bytes, hidden_out = sum.out_bytes - billed->out_bytes;

	for (unsigned i = 0; i < taken->len; i++) {
		struct parcel *parcel = taken->pdata[i];
		uint64_t *hidden = parcel->out ? &hidden_out : &hidden_in;

		if (!*hidden)
			continue;
		sim.hidden_bytes += MIN(*hidden, parcel->bytes);
		*hidden -= MIN(*hidden, parcel->bytes);
		parcel->excused = true;
	}
}

static void bill_parcel(const struct account *account, const struct usage *row, struct parcel *parcel)
{
	const struct meter *meter = account->meter;
	bool own = !meter_key_compare(&parcel->key, &meter->key) && parcel->fixed == meter->fixed;

	if (parcel->billed++)
		sim_fail("twice: meter %" G_GINT64_FORMAT " bills %" G_GUINT64_FORMAT " bytes that another row has", meter->id,
		         parcel->bytes);
	if (own)
		return;
	sim.astray_bytes += parcel->bytes;
	/* What a floating IP's VM sends before that is known goes on the router's own bill: nobody is asked to pay for another. */
	if (meter->key.kind != KIND_FLOATING || row->flags & (FLAG_MOVED | FLAG_GAP | FLAG_CATCHUP | FLAG_LATE))
		return;
	if (parcel->version->looked &&
	    parcel->at_us - parcel->version->since_us > (parcel->legacy ? LATE_LEGACY : LATE_NFT)) {
		parcel->astray = true;
		sim_trace("astray: %" G_GUINT64_FORMAT " bytes of %x -> %x, on the bill of %x -> %x", parcel->bytes,
		          parcel->key.address, parcel->fixed, meter->key.address, meter->fixed);
	}
}

static void check_sum(const struct account *account, const struct usage *row, const struct life *life,
                      const struct counts *found)
{
	const struct counts *said = &row->counts;
	bool same = !memcmp(said, found, sizeof *said);
	bool less = said->in_bytes <= found->in_bytes && said->out_bytes <= found->out_bytes &&
	            said->in_packets <= found->in_packets && said->out_packets <= found->out_packets;

	if (same || (less && life->number > 0 && account->life < life->number))
		return;
	sim_fail("meter %" G_GINT64_FORMAT " (%x %s, life %u): the row has in %" G_GUINT64_FORMAT " out %" G_GUINT64_FORMAT
	         " bytes, the truth is in %" G_GUINT64_FORMAT " out %" G_GUINT64_FORMAT, account->meter->id,
	         account->meter->key.address, account->meter->key.class_name, life->number, said->in_bytes,
	         said->out_bytes, found->in_bytes, found->out_bytes);
}

static void remember(struct life *life, const GPtrArray *taken, const GArray *ends)
{
	for (unsigned i = 0; i < taken->len; i++) {
		struct billing billing = { life, taken->pdata[i], g_array_index(ends, uint64_t, i) };

		if (billing.parcel->billed)
			g_array_append_val(billings, billing);
	}
}

static void say_complete(const struct account *account, const struct usage *row)
{
	struct said said = {
		.router = g_intern_string(account->meter->of->router), .key = account->meter->key,
		.start_us = row->start_us, .end_us = row->end_us, .offset_us = sim.offset_us,
	};

	/* A meter's first row starts when its birth was written down, a moment before its counter was made. */
	if (!row->flags && row->start_us != account->meter->first_at.utc_us)
		g_array_append_val(complete, said);
}

/* For who plays a seed again. */
static void tell_row(const struct meter *meter, const struct usage *row)
{
	sim_trace("row: meter %" G_GINT64_FORMAT ", %x %s of %s, %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT ", in %"
	          G_GUINT64_FORMAT " out %" G_GUINT64_FORMAT ", flags %#x", meter->id, meter->key.address,
	          meter->key.class_name, meter->of->router, row->start_us, row->end_us, row->counts.in_bytes,
	          row->counts.out_bytes, row->flags);
}

static void judge_row(const struct usage *row)
{
	struct account *account = g_hash_table_lookup(accounts, &row->meter);
	g_autoptr(GArray) ends = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	g_autoptr(GPtrArray) taken = NULL;
	struct life *life;
	struct counts found;

	if (!account)
		sim_fail("a row of meter %" G_GINT64_FORMAT ", which is not there", row->meter);
	if (row->end_us < row->start_us)
		sim_fail("a row of meter %" G_GINT64_FORMAT " ends before it starts", row->meter);
	life = life_of(account->meter, &row->reading);
	if (!life)
		sim_fail("meter %" G_GINT64_FORMAT ": nothing was ever read as %" G_GUINT64_FORMAT " bytes in", row->meter,
		         row->reading.in_bytes);
	taken = take(life, &row->reading, ends);
	found = total(taken);
	check_sum(account, row, life, &found);
	if (memcmp(&row->counts, &found, sizeof found))
		hide(taken, &row->counts);
	if (account->life < life->number)
		excuse(account->meter, life);
	for (unsigned i = 0; i < taken->len; i++)
		if (!((struct parcel *)taken->pdata[i])->excused)
			bill_parcel(account, row, taken->pdata[i]);
	remember(life, taken, ends);
	account->life = life->number;
	life->booked = row->reading;
	counters_excuse(life);
	counts_add(&account->sum, &row->counts);
	say_complete(account, row);
	tell_row(account->meter, row);
	sim.rows++;
	sim.billed_bytes += row->counts.in_bytes + row->counts.out_bytes;
}

/* A meter that begins at a value: what the counter has counted up to there is in no row any more. */
static void judge_birth(struct account *account)
{
	struct life *life = life_of(account->meter, &account->meter->first);
	g_autoptr(GArray) ends = g_array_new(FALSE, FALSE, sizeof(uint64_t));

	if (!life)
		return; /* it has no counter yet */
	g_ptr_array_unref(take(life, &account->meter->first, ends));
	account->life = life->number;
	life->booked = account->meter->first;
	counters_excuse(life);
}

static void judge_coverage(const struct coverage *row)
{
	struct covered *made;

	if (row->end_us < row->start_us)
		sim_fail("coverage %" G_GINT64_FORMAT " ends before it starts", row->seq);
	for (unsigned i = covered->len; i > 0; i--) {
		struct covered *known = covered->pdata[i - 1];

		if (known->store != store || known->row->seq != row->seq)
			continue;
		if (known->row->start_us != row->start_us || known->row->state != row->state ||
		    known->row->address != row->address || row->end_us < known->row->end_us)
			sim_fail("coverage %" G_GINT64_FORMAT " turns into another one", row->seq);
		known->row->end_us = row->end_us;
		if (row->state == STATE_GAP)
			sim_trace("the gap %" G_GINT64_FORMAT " of %s %x lasts to %" G_GINT64_FORMAT, row->seq, row->router, row->address,
			          row->end_us);
		known->offset_us = sim.offset_us;
		return;
	}
	sim_trace("coverage %" G_GINT64_FORMAT " of %s %x: %s, %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT " %s", row->seq,
	          row->router, row->address, state_name(row->state), row->start_us, row->end_us, row->reason);
	made = g_new(struct covered, 1);
	*made = (struct covered){ store, coverage_copy(row), sim.offset_us, INT64_MIN };
	g_ptr_array_add(covered, made);
}

void judge_commit(const struct batch *batch)
{
	g_autoptr(GPtrArray) born = g_ptr_array_new();

	for (unsigned i = 0; i < batch->meters->len; i++) {
		const struct meter *meter = batch->meters->pdata[i];

		if (!g_hash_table_contains(accounts, &meter->id))
			g_ptr_array_add(born, open_account(meter));
	}
	for (unsigned i = 0; i < batch->usage->len; i++)
		judge_row(&g_array_index(batch->usage, struct usage, i));
	for (unsigned i = 0; i < born->len; i++)
		judge_birth(born->pdata[i]);
	for (unsigned i = 0; i < batch->meters->len; i++) {
		const struct meter *meter = batch->meters->pdata[i];
		const struct account *account = g_hash_table_lookup(accounts, &meter->id);

		if (i + 1 < batch->meters->len && ((struct meter *)batch->meters->pdata[i + 1])->id == meter->id)
			continue;
		if (memcmp(&account->sum, &meter->last, sizeof meter->last))
			sim_fail("meter %" G_GINT64_FORMAT ": its rows sum to in %" G_GUINT64_FORMAT ", last is %"
			         G_GUINT64_FORMAT, meter->id, account->sum.in_bytes, meter->last.in_bytes);
	}
	for (unsigned i = 0; i < batch->coverage->len; i++)
		judge_coverage(batch->coverage->pdata[i]);
	for (unsigned i = 0; sim.untold->len && i < batch->meters->len; i++)
		world_told_of(((struct meter *)batch->meters->pdata[i])->of->router);
	for (unsigned i = 0; sim.untold->len && i < batch->coverage->len; i++)
		world_told_of(((struct coverage *)batch->coverage->pdata[i])->router);
}

/* ---- what is to be in rows ---- */

static bool is_in_books(const struct life *life)
{
	GHashTableIter each;
	void *account;

	g_hash_table_iter_init(&each, accounts);
	while (g_hash_table_iter_next(&each, NULL, &account)) {
		const struct meter *meter = ((struct account *)account)->meter;

		if (g_str_equal(meter->of->tag, life->tag) && !meter_key_compare(&meter->key, &life->key))
			return ((struct account *)account)->life == life->number;
	}
	return false;
}

void judge_removed(const struct life *life)
{
	for (unsigned i = 0; i < life->parcels->len; i++) {
		const struct parcel *parcel = life->parcels->pdata[i];

		if (!parcel->excused && is_in_books(life))
			sim_fail("the agent removes a counter of %x (%s) with %" G_GUINT64_FORMAT " bytes that are in no row",
			         life->key.address, life->key.class_name, parcel->bytes);
	}
}

void judge_owed(const struct life *life)
{
	const struct counts *read = life->marks->len ? &g_array_index(life->marks, struct counts, life->marks->len - 1) : NULL;

	for (unsigned i = 0; read && i < life->parcels->len; i++) {
		struct parcel *parcel = life->parcels->pdata[i];

		if (g_array_index(life->ends, uint64_t, i) <= (parcel->out ? read->out_bytes : read->in_bytes) && is_in_books(life))
			g_ptr_array_add(owed, parcel);
	}
}

void judge_forgive(void)
{
	g_ptr_array_set_size(owed, 0);
}

static void judge_debts(void)
{
	for (unsigned i = 0; i < owed->len; i++) {
		const struct parcel *parcel = owed->pdata[i];

		if (!parcel->billed && !parcel->excused)
			sim_fail("%" G_GUINT64_FORMAT " bytes of %x (%s) at %" G_GINT64_FORMAT ", read when the namespace went, are in no row",
			         parcel->bytes, parcel->key.address, parcel->router, parcel->utc_us);
	}
}

/* ---- stores that go ---- */

void judge_saved(void)
{
	g_array_set_size(billings, 0);
	for (unsigned i = 0; i < covered->len; i++)
		((struct covered *)covered->pdata[i])->home_end_us = ((struct covered *)covered->pdata[i])->row->end_us;
}

/* What the second home had not seen is billed again from there: those rows are gone. */
static void undo(void)
{
	for (unsigned i = billings->len; i > 0; i--) {
		struct billing *billing = &g_array_index(billings, struct billing, i - 1);

		billing->parcel->billed--;
		sim.billed_bytes -= billing->parcel->bytes;
		g_ptr_array_insert(billing->life->parcels, 0, billing->parcel);
		g_array_prepend_val(billing->life->ends, billing->end);
	}
	for (unsigned i = covered->len; i > 0; i--) {
		struct covered *row = covered->pdata[i - 1];

		if (row->row->state == STATE_GAP)
			continue; /* the store that was set aside says it still */
		if (row->home_end_us == INT64_MIN)
			g_ptr_array_remove_index(covered, i - 1);
		else
			row->row->end_us = row->home_end_us;
	}
	g_array_set_size(complete, 0);
}

void judge_lost_store(bool goes_on)
{
	if (goes_on)
		undo();
	g_array_set_size(billings, 0);
	store++;
}

void judge_new_store(const GPtrArray *meters)
{
	g_hash_table_remove_all(accounts);
	for (unsigned i = 0; i < meters->len; i++)
		open_account(meters->pdata[i]);
}

/* ---- the end ---- */

static bool is_inside(const struct covered *row, int64_t utc_us, int64_t tolerance_us)
{
	return utc_us > row->row->start_us - tolerance_us && utc_us < row->row->end_us + tolerance_us;
}

enum word { SAYS_MEASURED, SAYS_NOTHING, SAYS_GAP };

/* What the coverage says of that moment. */
static enum word word_of(const struct parcel *parcel)
{
	int64_t tolerance_us = sim.steps_of_clock ? TOLERANCE : 1, then_us;
	bool claimed = false, gap = false;

	for (unsigned i = 0; i < covered->len; i++) {
		const struct covered *row = covered->pdata[i];

		if (!g_str_equal(row->row->router, parcel->router) ||
		    (row->row->address && row->row->address != parcel->key.address && row->row->address != parcel->led_to.address))
			continue;
		then_us = parcel->at_us + row->offset_us; /* by the clock as it was when the row was written */
		if (row->row->state == STATE_GAP)
			gap |= is_inside(row, parcel->utc_us, tolerance_us) || is_inside(row, then_us, tolerance_us);
		else if (row->row->state == STATE_METERED || !*row->row->reason) /* else it says that it does not know */
			claimed |= is_inside(row, parcel->utc_us, 0) && is_inside(row, then_us, 0);
	}
	return gap ? SAYS_GAP : claimed ? SAYS_MEASURED : SAYS_NOTHING;
}

/* The clock was set back: it has shown that moment before, or shows it once more. */
static bool is_ambiguous(const struct parcel *parcel)
{
	unsigned shown = 0;

	for (unsigned i = 0; i < sim.eras->len; i++) {
		const struct era *era = &g_array_index(sim.eras, struct era, i);
		int64_t end_us = i + 1 < sim.eras->len ? era[1].since_us : sim.real_us;

		shown += parcel->utc_us >= era->since_us + era->offset_us && parcel->utc_us <= end_us + era->offset_us;
	}
	return shown > 1;
}

/* For who plays a seed again: what the books say around that moment. */
static void tell_coverage(const struct parcel *parcel)
{
	sim_trace("the state since %" G_GINT64_FORMAT "; bytes %" G_GUINT64_FORMAT, parcel->version->since_us + sim.offset_us, parcel->bytes);
	for (unsigned i = 0; i < covered->len; i++) {
		const struct coverage *row = ((struct covered *)covered->pdata[i])->row;

		if (g_str_equal(row->router, parcel->router) && row->start_us < parcel->utc_us + HOUR &&
		    row->end_us > parcel->utc_us - HOUR)
			sim_trace("coverage %" G_GINT64_FORMAT " of %x: %s %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT " %s", row->seq,
			          row->address, state_name(row->state), row->start_us, row->end_us, row->reason);
	}
}

static void judge_missing(const struct parcel *parcel)
{
	const struct meter_key *key = parcel->led ? &parcel->led_to : &parcel->key;

	for (unsigned i = 0; i < complete->len; i++) {
		const struct said *row = &g_array_index(complete, struct said, i);

		if (!sim.steps_of_clock && row->router == parcel->router && !meter_key_compare(&row->key, key) &&
		    parcel->utc_us > row->start_us && parcel->utc_us < row->end_us)
			sim_undeclared("%" G_GUINT64_FORMAT " bytes of %x (%s) at %" G_GINT64_FORMAT " are missing in a row without flags, "
			         "%" G_GINT64_FORMAT " to %" G_GINT64_FORMAT, parcel->bytes, parcel->key.address, parcel->router,
			         parcel->utc_us, row->start_us, row->end_us);
	}
}

static void judge_overlaps(void)
{
	for (unsigned i = 0; i < covered->len; i++)
		for (unsigned j = 0; j < i; j++) {
			const struct covered *a = covered->pdata[i], *b = covered->pdata[j];

			if (a->row->state != STATE_GAP && b->row->state != STATE_GAP && a->store == b->store && a->row->address == b->row->address &&
			    g_str_equal(a->row->router, b->row->router) && a->row->start_us < b->row->end_us &&
			    b->row->start_us < a->row->end_us) {
				sim_trace("coverage %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT " %s, %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT " %s", a->row->start_us,
				          a->row->end_us, a->row->reason, b->row->start_us, b->row->end_us, b->row->reason);
				sim_fail("coverage %" G_GINT64_FORMAT " (%s) and %" G_GINT64_FORMAT " (%s) of %s %x overlap", b->row->seq,
				         state_name(b->row->state), a->row->seq, state_name(a->row->state), a->row->router,
				         a->row->address);
			    }
		}
}

void judge_end(void)
{
	judge_debts();
	for (unsigned i = 0; i < sim.parcels->len; i++) {
		const struct parcel *parcel = sim.parcels->pdata[i];

		if (parcel->astray && word_of(parcel) == SAYS_MEASURED) {
			tell_coverage(parcel);
			sim_undeclared("%" G_GUINT64_FORMAT " bytes of %x -> %x (%s) at %" G_GINT64_FORMAT " are on another's bill without a flag",
			         parcel->bytes, parcel->key.address, parcel->fixed, parcel->router, parcel->utc_us);
		}
		if (parcel->billed || parcel->excused)
			continue;
		if (is_ambiguous(parcel))
			continue; /* what the coverage says of its label may be meant for the other time */
		/* What came and went between two looks: nobody knows that it was there.  A change is followed in a moment. */
		if (!parcel->stay->looked || (parcel->deaf && !parcel->version->looked) ||
		    parcel->at_us - parcel->version->since_us < LATE_NFT) {
			sim.unseen_bytes += parcel->bytes;
			continue;
		}
		sim.lost_bytes += parcel->bytes;
		if (word_of(parcel) == SAYS_MEASURED) {
			tell_coverage(parcel);
			sim_undeclared("%" G_GUINT64_FORMAT " bytes %s of %x -> %x (%s, %s, %s) at %" G_GINT64_FORMAT
			         " are in no row, and no gap says so", parcel->bytes, parcel->out ? "out" : "in",
			         parcel->key.address, parcel->fixed, parcel->key.class_name, parcel->router,
			         parcel->counted ? "counted" : "not counted", parcel->utc_us);
		}
		if (word_of(parcel) == SAYS_GAP)
			judge_missing(parcel);
	}
	if (!sim.steps_of_clock)
		judge_overlaps();
}

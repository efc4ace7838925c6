/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ledger's decisions.  What it remembers is in core/books, what it says of the time in core/cover.
 *
 * Usage is a difference inside one meter, and a meter never outlives what it counts for: another generation,
 * another fixed address, a counter set back each end it and begin a new one.  So `sum of rows = last - first` holds
 * for every meter at every moment, and anybody can check it in the store.
 */
#include "core/books.h"
#include "core/cover.h"
#include "core/plan.h"

/* ---- meters ---- */

/* The reading that the meter's next row starts from. */
static const struct instant *last_read(const struct meter *meter)
{
	return meter->of->read_at.boot_us > meter->last_at.boot_us ? &meter->of->read_at : &meter->last_at;
}

static struct meter *begin_meter(const struct ledger *ledger, struct batch *batch, struct generation *of,
                                 const struct meter_key *key, uint32_t fixed, const struct instant *at,
                                 const struct counts *first, unsigned flags)
{
	struct meter *meter = g_new0(struct meter, 1);

	meter->id = ledger->next_meter + batch->meters_begun++;
	meter->of = generation_ref(of);
	meter->key = *key;
	meter->fixed = fixed;
	meter->flags = flags;
	meter->first_at = meter->last_at = *at;
	meter->first = meter->last = *first;
	g_ptr_array_add(batch->meters, meter);
	return meter;
}

static void end_meter(struct batch *batch, const struct meter *meter, int64_t closed_us)
{
	struct meter *closed = meter_copy(meter);

	closed->closed_us = MAX(closed_us, 1);
	g_ptr_array_add(batch->meters, closed);
}

static void mark(struct batch *batch, const struct meter *meter, unsigned flags)
{
	struct meter *marked = meter_copy(meter);

	marked->flags = flags;
	g_ptr_array_add(batch->meters, marked);
}

/* Puts what meter counted up to the reading into the batch, as a row if it is anything.  Returns the meter as it is
 * then: the batch's, or NULL where nothing changed. */
static struct meter *move_meter(const struct ledger *ledger, struct batch *batch, const struct meter *meter,
                                const struct instant *at, const struct counts *counts, unsigned flags)
{
	const struct instant *since = last_read(meter);
	struct usage row = {
		.meter = meter->id, .start_us = cover_label(ledger, meter->of, since, at), .end_us = at->utc_us,
		.counts = counts_minus(counts, &meter->last), .reading = *counts,
		.flags = (meter->flags | flags) & FLAG_ALL,
	};
	struct meter *moved;

	if (counts_is_zero(&row.counts))
		return NULL;
	if (!(row.flags & FLAG_CATCHUP) && at->boot_us - since->boot_us > ledger->interval_us * 3 / 2)
		row.flags |= FLAG_LATE;
	g_array_append_val(batch->usage, row);
	moved = meter_copy(meter);
	moved->last = *counts;
	moved->last_at = *at;
	moved->flags = 0;
	g_ptr_array_add(batch->meters, moved);
	return moved;
}

/* ---- births ---- */

/* The keys of a namespace's open meters of other generations: what counters that are gone counted until now. */
static GHashTable *orphaned_keys(const struct books *books, const char *tag)
{
	GHashTable *keys = g_hash_table_new(meter_key_hash, meter_key_equal);
	GHashTableIter each;
	void *meter;

	if (!books)
		return keys;
	g_hash_table_iter_init(&each, books->meters);
	while (g_hash_table_iter_next(&each, &meter, NULL))
		if (!g_str_equal(((struct meter *)meter)->of->tag, tag))
			g_hash_table_add(keys, &((struct meter *)meter)->key);
	return keys;
}

static bool is_generation(const struct generation *generation, const char *ns, const char *tag)
{
	return g_str_equal(generation->tag, tag) && g_str_equal(generation->ns, ns);
}

/* The generation of that tag: the ledger's own, or the one that this batch brings in, or a new one. */
static struct generation *generation_for(const struct ledger *ledger, struct batch *batch, const struct plan *plan,
                                         const char *tag, enum basis basis, const struct instant *now)
{
	const struct books *books = books_find(ledger, plan->ns);
	struct generation *generation;

	generation = books ? books_find_generation(books, tag) : NULL;
	if (generation)
		return generation;
	for (unsigned i = 0; i < batch->generations->len; i++)
		if (is_generation(batch->generations->pdata[i], plan->ns, tag))
			return batch->generations->pdata[i];
	generation = generation_new(tag, ledger->boot, ledger->node, plan->ns, plan->router, basis);
	generation->made_at = generation->read_at = *now;
	g_ptr_array_add(batch->generations, generation);
	return generation;
}

#define UNSEEN "the address appeared between two looks"
#define INTERRUPTED "the agent ended while its counter was made"
#define LEFT "the address went and came back between two readings"

/* Until it was seen, what the address sent and received was not counted. */
static void declare_unseen(const struct ledger *ledger, struct batch *batch, const struct plan *plan,
                           const struct generation *of, uint32_t address, const struct instant *since,
                           const struct instant *now)
{
	const struct coverage *latest = books_latest_coverage(ledger, batch, plan->router, address);
	int64_t since_us = cover_label(ledger, of, since ? since : &of->read_at, now);

	if (since_us < now->utc_us && !(latest && latest->end_us == now->utc_us))
		cover_add(ledger, batch, plan->router, address, STATE_GAP, since_us, now->utc_us, UNSEEN);
}

/* The address came after the router was looked at, and perhaps before its counter was made. */
static void declare_arrival(const struct ledger *ledger, struct batch *batch, const struct instant *known,
                            const struct meter *meter, const struct instant *at)
{
	bool before = known->boot_us && known->boot_us < meter->first_at.boot_us;
	const struct coverage *latest = books_latest_coverage(ledger, batch, meter->of->router, meter->key.address);

	if (!(latest && latest->end_us == at->utc_us))
		cover_add(ledger, batch, meter->of->router, meter->key.address, STATE_GAP,
		          cover_label(ledger, meter->of, before ? known : &meter->first_at, at), at->utc_us, UNSEEN);
}

/* Its counter was made a moment after that was written down.  The books of an earlier agent may have been lost, and with
 * them the gap. */
static void extend_unseen(const struct ledger *ledger, struct batch *batch, const struct meter *meter,
                          const struct instant *at)
{
	const struct coverage *latest;

	if (!(meter->flags & FLAG_GAP))
		return;
	latest = books_latest_coverage(ledger, batch, meter->of->router, meter->key.address);
	if (latest && latest->state == STATE_GAP && latest->end_us >= meter->first_at.utc_us)
		cover_extend(batch, latest, at->utc_us);
	else if (meter->id < ledger->first_own_meter)
		cover_miss_address(ledger, batch, meter->of->router, meter->key.address,
		                   cover_label(ledger, meter->of, &meter->first_at, at), at->utc_us, INTERRUPTED);
}

/* An earlier process has metered the router and taken its counters down, and did not come to making new ones: what there
 * was to count since then was not counted. */
static bool declare_absence(const struct ledger *ledger, struct batch *batch, const struct plan *plan,
                            const struct instant *now)
{
	const struct coverage *latest = books_latest_coverage(ledger, batch, plan->router, 0);

	if (!latest || !g_hash_table_contains(ledger->inherited, plan->router) || latest->end_us >= now->utc_us ||
	    (latest->state == STATE_STANDBY && plan->standby))
		return false;
	cover_miss(ledger, batch, plan, latest->end_us, now->utc_us, "no counters of ours stood there when the agent came");
	return true;
}

/* Has its counter been read since it was made?  One that goes on counting for another owner has. */
static bool is_read(const struct meter *meter)
{
	const struct generation *of = meter->of;

	return of->read_at.boot_us > of->made_at.boot_us && of->read_at.boot_us >= meter->first_at.boot_us;
}

/* The counter of an open meter is not there: it never was made, or somebody removed it.  It begins anew at 0; what it
 * would have counted since the last reading is not known. */
static void reopen(const struct ledger *ledger, struct batch *batch, const struct meter *meter,
                   const struct planned_meter *planned, const struct instant *now)
{
	static const struct counts zero;
	const struct instant *since = last_read(meter);

	if (!is_read(meter) && meter->key.address && !planned->served)
		return; /* there was nothing to count yet */
	cover_miss_address(ledger, batch, meter->of->router, meter->key.address, cover_label(ledger, meter->of, since, now),
	                   now->utc_us, "its counter was not there");
	end_meter(batch, meter, now->utc_us);
	begin_meter(ledger, batch, meter->of, &meter->key, planned->fixed, now, &zero,
	            counts_is_zero(&meter->last) ? FLAG_GAP : FLAG_RESET | FLAG_GAP);
}

/* A counter that is wanted stands, and perhaps no packets are led to it: an earlier agent made it and ended before it read
 * it, or it was taken out of their way, was not read since, and is wanted again. */
static void doubt(const struct ledger *ledger, struct batch *batch, const struct meter *meter, bool served,
                  const struct instant *now)
{
	bool left = meter->flags & METER_LEAVES;
	bool unsure = served && meter->id < ledger->first_own_meter && !is_read(meter) && !(meter->flags & FLAG_GAP);

	if (!left && !unsure)
		return;
	cover_miss_address(ledger, batch, meter->of->router, meter->key.address,
	                   cover_label(ledger, meter->of, left ? last_read(meter) : &meter->first_at, now), now->utc_us,
	                   left ? LEFT : INTERRUPTED);
	mark(batch, meter, (meter->flags | FLAG_GAP) & FLAG_ALL);
}

/* What is not there now may have been until it became standby. */
static bool was_master(const struct ledger *ledger, const struct batch *batch, const struct plan *plan)
{
	const struct coverage *latest = books_latest_coverage(ledger, batch, plan->router, 0);

	return latest && latest->state != STATE_STANDBY;
}

/* A counter that is dead by the books and still stands, because it could not be removed, is wanted again.  What it has
 * counted is not in the bill, and until now it was not asked. */
static void revive(const struct ledger *ledger, struct batch *batch, const struct plan *plan, struct generation *of,
                   const struct planned_meter *planned, const struct snapshot *found, bool was_there,
                   const struct instant *since, const struct instant *now)
{
	if (was_there)
		declare_unseen(ledger, batch, plan, of, planned->key.address, since, now);
	begin_meter(ledger, batch, of, &planned->key, planned->fixed, &found->at, snapshot_find(found, &planned->key),
	            FLAG_UNKNOWN_START | (was_there ? FLAG_GAP : 0));
}

bool ledger_open(const struct ledger *ledger, const struct plan *plan, const char *tag, enum basis basis,
                 const struct snapshot *found, const struct instant *since, const struct instant *now,
                 struct batch *batch)
{
	static const struct counts zero;
	const struct books *books = books_find(ledger, plan->ns);
	bool same = found && !g_strcmp0(found->generation, tag);
	bool succeeds = found && found->generation && !same;
	struct generation *known = found && found->generation && books ? books_find_generation(books, found->generation) : NULL;
	g_autoptr(GHashTable) orphaned = orphaned_keys(books, tag);
	bool turned = plan->standby && was_master(ledger, batch, plan);
	bool absent = !books && !(found && found->generation) && declare_absence(ledger, batch, plan, now);

	for (unsigned i = 0; i < plan->meters->len; i++) {
		const struct planned_meter *planned = &g_array_index(plan->meters, struct planned_meter, i);
		bool unseen = same || (succeeds && !g_hash_table_contains(orphaned, &planned->key));
		const struct meter *meter = books_find_meter(books, tag, &planned->key);
		struct generation *of;
		unsigned flags = 0;

		if (same && snapshot_find(found, &planned->key)) {
			if (meter)
				doubt(ledger, batch, meter, planned->served, now);
			else if (known)
				revive(ledger, batch, plan, known, planned, found, planned->served || turned, since, now);
			continue;
		}
		if (meter) {
			if (same)
				reopen(ledger, batch, meter, planned, now);
			continue;
		}
		of = generation_for(ledger, batch, plan, tag, basis, now);
		if (unseen && (planned->served || turned)) {
			declare_unseen(ledger, batch, plan, known ? known : of, planned->key.address, since, now);
			flags |= FLAG_GAP;
		}
		if (absent || (!succeeds && g_hash_table_contains(orphaned, &planned->key)))
			flags |= FLAG_GAP;
		begin_meter(ledger, batch, of, &planned->key, planned->fixed, now, &zero, flags);
	}
	return absent;
}

void ledger_leave(const struct ledger *ledger, const struct plan *plan, const char *generation, struct batch *batch)
{
	const struct books *books = books_find(ledger, plan->ns);
	GHashTableIter each;
	void *item;

	if (!books)
		return;
	g_hash_table_iter_init(&each, books->meters);
	while (g_hash_table_iter_next(&each, &item, NULL)) {
		const struct meter *meter = item;

		if (g_str_equal(meter->of->tag, generation) && !(meter->flags & METER_LEAVES) && !plan_find_meter(plan, &meter->key))
			mark(batch, meter, meter->flags | METER_LEAVES);
	}
}

/* ---- readings ---- */

bool ledger_shrunk(const struct ledger *ledger, const struct snapshot *snapshot, const char *ns)
{
	const struct books *books = books_find(ledger, ns);

	for (unsigned i = 0; snapshot->generation && i < snapshot->readings->len; i++) {
		const struct reading *reading = &g_array_index(snapshot->readings, struct reading, i);
		const struct meter *meter = books_find_meter(books, snapshot->generation, &reading->key);

		if (meter && counts_is_below(&reading->counts, &meter->last))
			return true;
	}
	return false;
}

static char *describe_reset(const struct meter *meter, const struct reading *reading)
{
	const char *class_name = meter->key.class_name;
	const struct counts *from = &meter->last, *to = &reading->counts;

	if (counts_is_below(to, from))
		return g_strdup_printf("a counter of class %s was set back: in %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT
		                       " bytes, out %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT " bytes", class_name,
		                       from->in_bytes, to->in_bytes, from->out_bytes, to->out_bytes);
	return g_strdup_printf("a counter of class %s rose by more than its router received: in %" G_GUINT64_FORMAT " to %"
	                       G_GUINT64_FORMAT " bytes, out %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT " bytes", class_name,
	                       from->in_bytes, to->in_bytes, from->out_bytes, to->out_bytes);
}

/* Somebody zeroed a counter, restored it, or wrote into it.  What it counted since is not known. */
static void settle_reset(const struct ledger *ledger, struct batch *batch, const struct meter *meter,
                         const struct reading *reading, const struct instant *at, bool planned, uint32_t fixed)
{
	g_autofree char *reason = describe_reset(meter, reading);

	end_meter(batch, meter, at->utc_us);
	cover_add(ledger, batch, meter->of->router, meter->key.address, STATE_GAP,
	          cover_label(ledger, meter->of, last_read(meter), at), at->utc_us, reason);
	if (planned)
		begin_meter(ledger, batch, meter->of, &meter->key, fixed, at, &reading->counts,
		            FLAG_RESET | FLAG_GAP);
}

#define SETTLED_US 1000000 /* then no packet that a device had received is still on its way to its counter */

/* It has counted more since its last reading than the router's devices have received since well before that. */
static bool is_impossible(const struct meter *meter, const struct reading *reading, const struct bound *most)
{
	if (!most->since_us || most->since_us > last_read(meter)->boot_us - SETTLED_US)
		return false;
	return reading->counts.in_bytes - meter->last.in_bytes > most->in_bytes ||
	       reading->counts.out_bytes - meter->last.out_bytes > most->out_bytes;
}

/* What is to be said of the time before a counter was made, when it is read first.  Returns flags for the row. */
static unsigned settle_first(const struct ledger *ledger, struct batch *batch, const struct meter *meter,
                             const struct planned_meter *planned, const struct plan *plan, const struct instant *at)
{
	if (is_read(meter))
		return 0;
	extend_unseen(ledger, batch, meter, at);
	if (!planned || !planned->came)
		return 0;
	declare_arrival(ledger, batch, plan_came_after(plan, planned), meter, at);
	return FLAG_GAP;
}

static void settle_meter(const struct ledger *ledger, struct batch *batch, const struct meter *meter,
                         const struct reading *reading, const struct planned_meter *found,
                         const struct snapshot *snapshot, const struct plan *plan, unsigned flags)
{
	const struct instant *at = &snapshot->at;
	bool planned = found;
	uint32_t fixed = planned ? found->fixed : 0;
	bool moved = planned && fixed != meter->fixed;
	const struct meter *after;

	if (counts_is_below(&reading->counts, &meter->last) || is_impossible(meter, reading, &snapshot->most)) {
		settle_reset(ledger, batch, meter, reading, at, planned, fixed);
		return;
	}
	/* of one that nobody else has now, the moment is not known either */
	if ((moved || !planned || found->lent) && !snapshot->prompt)
		flags |= FLAG_MOVED;
	flags |= settle_first(ledger, batch, meter, found, plan, at);
	after = move_meter(ledger, batch, meter, at, &reading->counts, flags);
	if (planned && !moved) {
		if (!after && meter->flags & METER_LEAVES)
			mark(batch, meter, meter->flags & FLAG_ALL); /* it stays: it was not taken out of the way after all */
		return;
	}
	end_meter(batch, after ? after : meter, at->utc_us);
	if (moved)
		begin_meter(ledger, batch, meter->of, &meter->key, fixed, at, &reading->counts, 0);
}

/* Ends the meters whose counters are gone: of other generations, and single ones that somebody removed.  A meter that
 * never was read above zero and is still planned may yet get its counter: the back end tries again. */
static int64_t end_lost(const struct ledger *ledger, struct batch *batch, const struct books *books,
                        const struct snapshot *snapshot, const struct plan *plan, int64_t from_us)
{
	int64_t lost_since_us = 0;
	GHashTableIter each;
	void *item;

	g_hash_table_iter_init(&each, books->meters);
	while (g_hash_table_iter_next(&each, &item, NULL)) {
		const struct meter *meter = item;
		bool same = g_str_equal(meter->of->tag, snapshot->generation);
		int64_t since_us = cover_label(ledger, meter->of, last_read(meter), &snapshot->at);

		if (same && (snapshot_find(snapshot, &meter->key) ||
		             (counts_is_zero(&meter->last) && plan_find_meter(plan, &meter->key))))
			continue;
		end_meter(batch, meter, snapshot->at.utc_us);
		if (same)
			cover_miss_address(ledger, batch, plan->router, meter->key.address, since_us, snapshot->at.utc_us,
			                   "its counter was not there");
		if (!same) /* a gap even where the clock was set back: by a little, or before a boot, when nobody knows by how much */
			since_us = MIN(since_us, from_us - 1);
		lost_since_us = MAX(lost_since_us, since_us);
	}
	return lost_since_us;
}

void ledger_miss(const struct ledger *ledger, const struct plan *plan, const char *reason, const struct instant *now,
                 struct batch *batch)
{
	const struct books *books = books_find(ledger, plan->ns);
	const struct coverage *latest = books_latest_coverage(ledger, batch, plan->router, 0);

	if (books)
		cover_miss(ledger, batch, plan, cover_label(ledger, books->generation, &books->generation->read_at, now),
		           now->utc_us, reason);
	else if (latest)
		cover_miss(ledger, batch, plan, MIN(latest->end_us, now->utc_us), now->utc_us, reason);
}

/* The generation has been read. */
static void mark_read(struct batch *batch, const struct generation *of, const struct instant *at)
{
	struct generation *read = generation_new(of->tag, of->boot, of->node, of->ns, of->router, of->basis);

	read->made_at = of->made_at;
	read->read_at = *at;
	g_ptr_array_add(batch->generations, read);
}

/* Has what stood there counted all since the last reading, as far as is known? */
static bool has_seen_all(const struct ledger *ledger, const struct batch *batch, const struct plan *plan,
                         const struct generation *of, const struct snapshot *snapshot)
{
	const struct coverage *latest = books_latest_coverage(ledger, batch, plan->router, 0);

	return !snapshot->missed && !snapshot->unseen && (plan->standby || !cover_is_blind(latest)) && !cover_is_open(latest, of);
}

void ledger_settle(const struct ledger *ledger, const struct plan *plan, enum basis basis,
                   const struct snapshot *snapshot, struct batch *batch)
{
	const struct books *books = books_find(ledger, plan->ns);
	struct generation *of = generation_for(ledger, batch, plan, snapshot->generation, basis, &snapshot->at);
	int64_t from_us = cover_label(ledger, of, &of->read_at, &snapshot->at), lost_since_us = 0;
	bool saw_all = has_seen_all(ledger, batch, plan, of, snapshot);
	unsigned met = 0, at = 0;

	for (unsigned i = 0; i < snapshot->readings->len; i++) {
		const struct reading *reading = &g_array_index(snapshot->readings, struct reading, i);
		const struct meter *meter = books_find_meter(books, snapshot->generation, &reading->key);
		const struct planned_meter *planned = plan_find_next(plan, &reading->key, &at);

		met += meter != NULL;
		if (meter)
			settle_meter(ledger, batch, meter, reading, planned, snapshot, plan, (saw_all ? 0 : FLAG_GAP) |
			             (of->catchup && meter->id < ledger->first_own_meter ? FLAG_CATCHUP : 0));
		else if (planned)
			begin_meter(ledger, batch, of, &reading->key, planned->fixed, &snapshot->at, &reading->counts,
			            FLAG_UNKNOWN_START);
	}
	if (books && met < g_hash_table_size(books->meters)) /* else each of them was read */
		lost_since_us = end_lost(ledger, batch, books, snapshot, plan, from_us);
	if (lost_since_us && lost_since_us < from_us)
		cover_add(ledger, batch, plan->router, 0, STATE_GAP, lost_since_us, snapshot->at.utc_us,
		          "the counters were removed and had to be made again");
	if (snapshot->missed)
		cover_miss(ledger, batch, plan, from_us, snapshot->at.utc_us, snapshot->missed);
	else if (snapshot->unseen) /* each has a number of its own */
		cover_add(ledger, batch, plan->router, 0, STATE_GAP, from_us, snapshot->at.utc_us, snapshot->unseen);
	else if (plan->meters->len || books)
		cover_state(ledger, batch, plan, of, &snapshot->at);
	mark_read(batch, of, &snapshot->at);
}

/* The last reading of one meter; of a counter that is not there any more, what it counted since is not known. */
static void end_with(const struct ledger *ledger, struct batch *batch, const struct meter *meter,
                     const struct plan *plan, const struct snapshot *last, unsigned flags)
{
	struct reading reading = { .key = meter->key };
	const struct counts *counts = snapshot_find(last, &meter->key);
	const struct meter *after;

	if (!counts)
		cover_miss_address(ledger, batch, meter->of->router, meter->key.address,
		                   cover_label(ledger, meter->of, last_read(meter), &last->at), last->at.utc_us,
		                   "the counter was removed before a last reading");
	reading.counts = counts ? *counts : meter->last;
	if (counts_is_below(&reading.counts, &meter->last)) {
		settle_reset(ledger, batch, meter, &reading, &last->at, false, 0);
		return;
	}
	flags |= settle_first(ledger, batch, meter, plan_find_meter(plan, &meter->key), plan, &last->at);
	after = move_meter(ledger, batch, meter, &last->at, &reading.counts, flags);
	end_meter(batch, after ? after : meter, last->at.utc_us);
}

/* What it counts for has another meaning by the plan, or none. */
static bool has_moved(const struct meter *meter, const struct plan *plan)
{
	const struct planned_meter *planned = plan_find_meter(plan, &meter->key);

	return !planned || planned->fixed != meter->fixed || planned->lent;
}

/* Addresses that never got a counter in a generation that ends, nor in one that takes over from it. */
static void miss_unmade(const struct ledger *ledger, struct batch *batch, const struct books *books,
                        const struct plan *plan, const struct snapshot *last, int64_t from_us)
{
	g_autoptr(GHashTable) elsewhere = orphaned_keys(books, last->generation);

	for (unsigned i = 0; i < plan->meters->len && !plan->standby; i++) {
		const struct meter_key *key = &g_array_index(plan->meters, struct planned_meter, i).key;

		if (key->address && !snapshot_find(last, key) && !books_find_meter(books, last->generation, key) &&
		    !g_hash_table_contains(elsewhere, key))
			cover_miss_address(ledger, batch, plan->router, key->address, from_us, last->at.utc_us,
			                   "the address came, and its router ended before it was counted");
	}
}

void ledger_end(const struct ledger *ledger, const struct plan *plan, const struct snapshot *last, struct batch *batch)
{
	const struct books *books = books_find(ledger, plan->ns);
	struct generation *of = NULL;
	GHashTableIter each;
	bool saw_all = false;
	const struct instant *since;
	void *item;

	if (!books)
		return;
	g_hash_table_iter_init(&each, books->meters);
	while (g_hash_table_iter_next(&each, &item, NULL)) {
		struct meter *meter = item;

		if (!g_str_equal(meter->of->tag, last->generation))
			continue;
		if (!of)
			saw_all = has_seen_all(ledger, batch, plan, meter->of, last);
		of = meter->of;
		end_with(ledger, batch, meter, plan, last, (saw_all ? 0 : FLAG_GAP) |
		         (has_moved(meter, plan) && !last->prompt ? FLAG_MOVED : 0) |
		         (of->catchup && meter->id < ledger->first_own_meter ? FLAG_CATCHUP : 0));
	}
	if (!of)
		return;
	miss_unmade(ledger, batch, books, plan, last, cover_label(ledger, of, &of->read_at, &last->at));
	since = last->missed_since.boot_us && last->missed_since.boot_us < of->read_at.boot_us ? &last->missed_since :
	        &of->read_at;
	if (last->missed)
		cover_miss(ledger, batch, plan, cover_label(ledger, of, since, &last->at), last->at.utc_us, last->missed);
	else if (last->unseen)
		cover_add(ledger, batch, plan->router, 0, STATE_GAP, cover_label(ledger, of, &of->read_at, &last->at),
		          last->at.utc_us, last->unseen);
	else
		cover_state(ledger, batch, plan, of, &last->at);
	mark_read(batch, of, &last->at);
}

void ledger_bury(const struct ledger *ledger, GHashTable *present, const struct instant *now, struct batch *batch)
{
	GHashTableIter each_ns, each_meter;
	void *ns, *books, *meter;

	g_hash_table_iter_init(&each_ns, ledger->books);
	while (g_hash_table_iter_next(&each_ns, &ns, &books)) {
		const struct generation *of = ((struct books *)books)->generation;

		if (g_hash_table_contains(present, ns))
			continue;
		g_hash_table_iter_init(&each_meter, ((struct books *)books)->meters);
		while (g_hash_table_iter_next(&each_meter, &meter, NULL))
			end_meter(batch, meter, now->utc_us);
		cover_add(ledger, batch, of->router, 0, STATE_GAP, cover_label(ledger, of, &of->read_at, now), now->utc_us,
		          "the namespace went away before a last reading");
	}
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ledger: readings of kernel counters become usage rows, so that nothing is lost and nothing counted twice.
 *
 * The kernel's counters are the write-ahead log.  The ledger holds, for every open meter, the reading up to which
 * usage is in the books (its baseline), and takes a difference only inside one life of one counter (generation and
 * key).  It never changes by itself: each function below returns a batch, the caller commits the batch to the
 * store as one transaction, and only then has the ledger adopt it.  A commit that fails is dropped; the next
 * reading makes a longer row and nothing is lost.
 *
 * Order in which the caller must act, per namespace:
 *   birth     ledger_open() -> commit -> adopt -> backend makes the counters (at 0, exclusively)
 *   reading   backend reads -> ledger_settle() -> commit -> adopt
 *   death     backend stops matching -> reads -> ledger_settle() -> commit -> adopt -> backend removes
 *   hand-over backend changes what matches -> reads -> ledger_settle() -> commit -> adopt
 * Killed between any two of these, the next start ends the work.
 *
 * No system calls, no clock of its own: the caller says what time it is.
 */
#ifndef FIPMETER_CORE_LEDGER_H
#define FIPMETER_CORE_LEDGER_H

#include "core/model.h"

/* One transaction.  Its members hold whole new states: the store upserts them, the ledger replaces its own. */
struct batch {
	GPtrArray *generations; /* of struct generation *: new ones (before their meters), and those read again */
	GPtrArray *meters;      /* of struct meter *, in the state after the commit; new, moved or closed */
	GArray *usage;          /* of struct usage: rows to append, in this order */
	GPtrArray *coverage;    /* of struct coverage *: new rows, and rows whose end moved */
	GPtrArray *residues;    /* of struct residue * (core/residue.h): to add to those of their hours */
	int64_t meters_begun, coverage_begun; /* how many ids of each it has used up */
};

struct batch *batch_new(void);
void batch_free(struct batch *batch);
bool batch_is_empty(const struct batch *batch);

/* What the store hands over at start: moved into the ledger, the struct's pointers are then NULL. */
struct ledger_state {
	GPtrArray *meters;     /* of struct meter *: all that are open, those of one generation sharing it */
	GPtrArray *coverage;   /* of struct coverage *: the latest row of each router and address */
	int64_t next_meter;    /* ids are given from here on */
	int64_t next_coverage;
};

void ledger_state_clear(struct ledger_state *state);

struct ledger;

/* node labels new meters and coverage; boot is this kernel's boot id; interval_us is the sampling interval: a row
 * of a running agent that spans more than one and a half of it is flagged late. */
struct ledger *ledger_new(const char *node, const char *boot, int64_t interval_us, struct ledger_state *state);
void ledger_free(struct ledger *ledger);
void ledger_set_interval(struct ledger *ledger, int64_t interval_us);

/* Adds to batch a meter with baseline 0 for each meter of the plan that has none open in this generation and no
 * counter in found (the namespace's snapshot, or NULL where nothing of ours was there).  since: when the router was last
 * seen without what is new in it; NULL: at its last reading.  An address that is served already may have had traffic
 * since then: a gap.  Where found has another generation, that one goes on until the new one takes over.  Where nothing of
 * ours stands in a router that an earlier process has metered, the time since then is a gap; true is returned if that had
 * taken its counters down. */
bool ledger_open(const struct ledger *ledger, const struct plan *plan, const char *generation, enum basis basis,
                 const struct snapshot *found, const struct instant *since, const struct instant *now,
                 struct batch *batch);

/* Of the generation that stands under that tag: writes down which counters are about to stop matching.  Whoever is killed
 * before he reads them a last time, and finds their addresses wanted again, knows that they may have missed something. */
void ledger_leave(const struct ledger *ledger, const struct plan *plan, const char *generation, struct batch *batch);

/* Adds to batch a gap from the last reading until now: what was there to count was not all counted.  Called
 * before that is mended, so that it stays known whatever happens next; the reading behind it has missed set. */
void ledger_miss(const struct ledger *ledger, const struct plan *plan, const char *reason, const struct instant *now,
                 struct batch *batch);

/*
 * Adds to batch all that a reading of a namespace tells: usage rows, new baselines, meters that ended because the
 * plan no longer has them or the fixed address changed, meters of counters found without a baseline, coverage.
 * plan is what was in force when the snapshot was taken; meters of other generations of the namespace end here,
 * with what was not read declared as a gap.  A counter that is smaller than its baseline is taken for reset: read
 * it twice before (ledger_shrunk).  So is one that has counted more than snapshot->most allows.
 */
void ledger_settle(const struct ledger *ledger, const struct plan *plan, enum basis basis,
                   const struct snapshot *snapshot, struct batch *batch);

/* Adds to batch what the last reading of a generation tells, and the end of all of its meters: it has stopped counting, or
 * its namespace is gone.  Other generations of the namespace are not touched. */
void ledger_end(const struct ledger *ledger, const struct plan *plan, const struct snapshot *last, struct batch *batch);

/* True if a counter of the snapshot stands below its baseline: the caller reads once more before settling. */
bool ledger_shrunk(const struct ledger *ledger, const struct snapshot *snapshot, const char *ns);

/* Ends the meters of every namespace that is not in present (a set of namespace names): they are gone, and what
 * they counted after their last reading with them. */
void ledger_bury(const struct ledger *ledger, GHashTable *present, const struct instant *now, struct batch *batch);

/* After the commit: takes over the batch's states. */
void ledger_adopt(struct ledger *ledger, const struct batch *batch);

/* Lets go of the coverage of routers that have no namespace in present and no open meter, an hour after it ended: nothing
 * goes on from it any more.  So what is remembered does not grow with every router that ever was. */
void ledger_forget(struct ledger *ledger, GHashTable *present, const struct instant *now);

/* True if the namespace has open meters. */
bool ledger_knows(const struct ledger *ledger, const char *ns);

/* The open meters (struct meter *, the ledger's own) in no order, for the second home of the baselines. */
GPtrArray *ledger_open_meters(const struct ledger *ledger);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A node for the tests of the store's faults: the product's ledger and store over counters made by hand, with a clock of
 * its own.  It acts in the agent's order (core/ledger.h): births committed before the counter is made, deaths before it is
 * removed, the second home written after each commit, a lost store renewed.
 *
 * The truth is kept beside it: what passed each counter, by key, since the beginning.
 */
#ifndef FIPMETER_TESTS_RIG_H
#define FIPMETER_TESTS_RIG_H

#include "core/ledger.h"
#include "core/model.h"
#include "store/store.h"

#define SITES 3
#define KEYS_MAX 400 /* of one site */
#define MINUTE_US INT64_C(60000000)

/* What passed, or is booked, for each key: keys of site s begin at s * KEYS_MAX. */
struct tally {
	struct counts counts[SITES * KEYS_MAX];
};

struct site {
	struct plan *plan;
	struct snapshot *kernel; /* what stands there */
	unsigned next_key;       /* keys up to here were planned at some time */
};

struct rig {
	char *directory;
	struct store *store;     /* NULL: not open */
	struct ledger *ledger;
	char *boot;
	struct instant now;
	GRand *random;
	struct site sites[SITES];
	struct tally truth;
	GTimeZone *utc;
	char *renewal;           /* notice of the last store_renew(), or NULL */
	void (*on_commit)(struct rig *rig, const struct batch *batch, bool done, void *data); /* before, and after */
	void *data;
};

struct rig *rig_new(const char *directory, unsigned keys, guint32 seed);
void rig_free(struct rig *rig);  /* closes, too; leaves the directory; takes NULL */

/* The counters and the clock as another rig has them now: for a store that goes on from there. */
void rig_copy_kernel(struct rig *rig, const struct rig *from);

bool rig_open(struct rig *rig, char **notice, GError **error);
void rig_close(struct rig *rig);
void rig_kill(struct rig *rig); /* as kill -9 leaves it: no checkpoint, nothing written */

/* The machine starts anew: no counters, another boot id. */
void rig_reboot(struct rig *rig);

/* A minute later; packets pass every counter that stands. */
void rig_pass(struct rig *rig);

/* n more addresses of a site are planned, or the oldest n are not any more. */
void rig_plan_more(struct rig *rig, unsigned site, unsigned n);
void rig_plan_fewer(struct rig *rig, unsigned site, unsigned n);

/* Births, then a reading of all.  False if something could not be committed: tried again next time. */
bool rig_cycle(struct rig *rig, GError **error);

/* All that is due; keep_days 0: what a real node keeps. */
bool rig_tend(struct rig *rig, unsigned keep_days, GError **error);

/* ---- past the program ---- */

/* What is booked in a database, by key; false: it cannot be read.  gaps: coverage rows that say gap, or NULL. */
bool rig_read_booked(const char *path, struct tally *booked, unsigned *gaps);
void rig_tally_add(struct tally *to, const struct tally *more);
void rig_tally_book(struct tally *to, const struct batch *batch); /* the rows of a commit that returned */
uint64_t rig_tally_bytes(const struct tally *tally);
bool rig_tally_equal(const struct tally *a, const struct tally *b);
bool rig_tally_exceeds(const struct tally *a, const struct tally *b); /* some count of a is above b's */

/* The index of a key in struct tally; -1: none of the rig's. */
int rig_key_index(uint32_t address, const char *class_name);

char *rig_findings(struct store *store); /* the audit's, "" for none */
void rig_remove_files(const char *directory);
void rig_copy_files(const char *from, const char *to);

#endif

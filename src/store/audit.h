/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The audit: does all that the store says add up?  For every meter the rows sum to its last reading minus its first,
 * and chain: a row's reading minus its counts is the reading before it.  Rows of a store are numbered without holes.
 * Where rows were dropped after their time their days stand for them: the days of a meter, and its rows that are in no day
 * yet, sum to the same.  Hours sum to the days, and rows to the hours, for which both are kept.
 * The file itself passes SQLite's integrity_check.
 *
 * Findings are what cannot be in a sound store.  Remarks are what a set clock explains as well as an error would:
 * coverage that overlaps.
 */
#ifndef FIPMETER_STORE_AUDIT_H
#define FIPMETER_STORE_AUDIT_H

#include "store/store.h"

#define AUDIT_TOLD_MAX 100 /* texts kept of each kind; all are counted */

struct audit_list {
	GPtrArray *texts; /* of char *, the first AUDIT_TOLD_MAX; each names meter or store, expected and found */
	uint64_t n;
};

struct audit {
	uint64_t stores, meters, open_meters, rows, coverage;
	uint64_t dropped_rows; /* once there; their hours or days still are */
	uint64_t bytes, packets; /* in and out of all rows checked; UINT64_MAX: more than that */
	struct audit_list findings, remarks;
};

/* Reads one state of the whole store.  False if it could not be read to the end; what is wrong with the records, or
 * with the file, is no error but a finding.  After true the caller calls audit_clear(). */
bool store_audit(struct store *store, struct audit *result, GError **error);

void audit_clear(struct audit *result);

#endif

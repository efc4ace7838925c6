/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a disk may hold after a power cut, made from a record (edge.h).
 *
 * What was synced is there.  Of what was not, any part may be: each write or truncation of a file for itself, and of the
 * last ones single sectors.  Changes of names keep their order, as every journaling file system keeps it, but are there
 * for certain only after a sync of the directory: that of a file does not bring its name along.  A sync that failed
 * loses what was to be synced for good: the kernel takes it for written then (fsync(2), "fsyncgate"), and no later sync
 * brings it, unless it is written once more.
 */
#ifndef FIPMETER_TESTS_POWER_H
#define FIPMETER_TESTS_POWER_H

#include "edge.h"

enum power_loss { POWER_ALL_LOST, POWER_ALL_THERE, POWER_SOME, POWER_TORN, POWER_LAST_TORN, POWER_LOSSES };

struct power;

/* record stays the caller's, and has to outlive it.  lying: a disk that answers a sync and does nothing. */
struct power *power_new(const GArray *record, bool lying);
void power_free(struct power *power);

/* Goes on until the cut is right before change number `cut`; never back.  *note: the last note before it, or -1. */
void power_run_to(struct power *power, unsigned cut, int64_t *note);

/* Changes that are not synced at this moment. */
unsigned power_unsynced(const struct power *power);

/* Writes one image into an empty directory. */
void power_make_image(struct power *power, enum power_loss loss, GRand *random, const char *directory);

#endif

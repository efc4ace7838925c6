/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the ledger says of the time: was a router, or an address of it, measured from when to when?  For core/ledger.c
 * only.  All of these add to a batch, and see what is in it already.
 */
#ifndef FIPMETER_CORE_COVER_H
#define FIPMETER_CORE_COVER_H

#include "core/books.h"

/* The UTC label of an earlier moment in a generation's life, by today's setting of the clock if somebody has set it
 * since.  Across a boot the boot clock says nothing. */
int64_t cover_label(const struct ledger *ledger, const struct generation *of, const struct instant *then,
                    const struct instant *now);

void cover_add(const struct ledger *ledger, struct batch *batch, const char *router, uint32_t address,
               enum state state, int64_t start_us, int64_t end_us, const char *reason);

/* Moves the end of a row to to_us: the state has held without a break. */
void cover_extend(struct batch *batch, const struct coverage *row, int64_t to_us);

/* Is a router's latest coverage that of a standby of which we never saw what is local? */
bool cover_is_blind(const struct coverage *latest);

/* Is a router's latest coverage a gap that was written down after the last reading of its counters, before what had made
 * it was mended?  When that was done nobody knows until they are read. */
bool cover_is_open(const struct coverage *latest, const struct generation *of);

/* A reading of a generation: the router is in a state, and the counters stood since its last reading.  Before the first
 * one they were made, a moment after their birth was written down. */
void cover_state(const struct ledger *ledger, struct batch *batch, const struct plan *plan,
                 const struct generation *of, const struct instant *at);

/* Not all of an address (0: of the router) was counted from from_us to to_us; or, if that has been said already, until
 * to_us. */
void cover_miss_address(const struct ledger *ledger, struct batch *batch, const char *router, uint32_t address,
                        int64_t from_us, int64_t to_us, const char *reason);

/* The same of the whole router. */
void cover_miss(const struct ledger *ledger, struct batch *batch, const struct plan *plan, int64_t from_us,
                int64_t to_us, const char *reason);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What `fipmeter explain` asks the store: all that it knows of one public address, in one state of the store.
 */
#ifndef FIPMETER_STORE_TRACE_H
#define FIPMETER_STORE_TRACE_H

#include "core/explain.h"
#include "store/store.h"

/* Fills an explanation that is new: its meters, their rows in the window, what is booked of them, and the coverage around
 * it.  *known false: there is no meter of the address, and nothing is filled in. */
bool store_trace(struct store *store, struct explanation *explanation, bool *known, GError **error);

/* Calls call for each public address on record, with each fixed address that it had (0: none), in no order. */
bool store_each_address(struct store *store, void (*call)(uint32_t address, uint32_t fixed, void *data), void *data,
                        GError **error);

#endif

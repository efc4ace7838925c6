/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For backend/ebpf.c: from what stands to what the plan asks for.  Each function changes the maps and, with them, what the
 * standing knows; after one that failed, what stands is to be read again.
 */
#ifndef FIPMETER_BACKEND_EBPF_CHANGE_H
#define FIPMETER_BACKEND_EBPF_CHANGE_H

#include "backend/ebpf_standing.h"

/* All is as the plan asks for. */
bool ebpf_change_is_none(const struct standing *standing, const struct plan *plan);

/* Is in the maps what we have put there?  Entries that somebody adds are not looked for. */
bool ebpf_change_stands(const struct ebpf_maps *maps, const struct standing *standing);

/* Makes the missing counters, then what leads to them. */
bool ebpf_change_apply(const struct ebpf_maps *maps, struct standings *standings, struct standing *standing,
                       const struct plan *plan, GError **error);

/* The plan has local prefixes that are not there. */
bool ebpf_change_lacks_local(const struct standing *standing, const struct plan *plan);

/* Drops the prefixes that were in force before. */
bool ebpf_change_drop_old(const struct ebpf_maps *maps, struct standing *standing, GError **error);

/* Drops the counters of found that the plan (or NULL) does not want. */
bool ebpf_change_bury(const struct ebpf_maps *maps, struct standing *standing, const struct plan *plan,
                      const struct snapshot *found, GError **error);

/* Nothing matches any more. */
bool ebpf_change_stop(const struct ebpf_maps *maps, struct standings *standings, struct standing *standing, GError **error);

/* Stops, and drops all.  Killed in between, read() tells that it is going. */
bool ebpf_change_remove(const struct ebpf_maps *maps, struct standings *standings, struct standing *standing, GError **error);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What time it is, on both clocks of struct instant (clock_gettime(2): CLOCK_REALTIME, CLOCK_BOOTTIME), and how well that is
 * known.
 */
#ifndef FIPMETER_KERNEL_CLOCK_H
#define FIPMETER_KERNEL_CLOCK_H

#include "core/model.h"

struct instant clock_now(void);

/* The id of this boot (/proc/sys/kernel/random/boot_id, random(4)).  NULL on failure; the caller frees. */
char *clock_boot_id(GError **error);

/* Does somebody keep the clock right (adjtimex(2): STA_UNSYNC is not set)?  error_us: by how much it may be off. */
bool clock_is_synchronised(bool *synchronised, int64_t *error_us, GError **error);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The upkeep of the store between samples: sums of hours and days, and what goes when its time is over, in small steps, so
 * that the agent hears what happens in the routers meanwhile.
 *
 * Whether something is too old is asked of the wall clock, which may be wrong: as long as it has not kept step with the
 * time since boot for an hour, nothing is.
 */
#ifndef FIPMETER_CMD_UPKEEP_H
#define FIPMETER_CMD_UPKEEP_H

#include "cmd/node.h"

struct upkeep {
	int64_t offset_us; /* of the wall clock against the time since boot, at the last step; 0: none yet */
	int64_t steady_us; /* boot clock: since then it has not changed by more than a minute */
};

/* One step.  True if there is more to do now.  What goes wrong is complained of; the next step tries again. */
bool upkeep_step(struct upkeep *upkeep, struct node *node);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See cover.h.
 */
#include "core/cover.h"

#include <stdlib.h>

#define STEP_US 1000000 /* the two clocks differ by more than this: somebody has set UTC */

int64_t cover_label(const struct ledger *ledger, const struct generation *of, const struct instant *then,
                    const struct instant *now)
{
	int64_t expected_us = now->utc_us - (now->boot_us - then->boot_us);
	bool stepped = ABS(then->utc_us - expected_us) > STEP_US && g_str_equal(of->boot, ledger->boot);

	return stepped ? expected_us : MIN(then->utc_us, now->utc_us);
}

void cover_add(const struct ledger *ledger, struct batch *batch, const char *router, uint32_t address,
               enum state state, int64_t start_us, int64_t end_us, const char *reason)
{
	struct coverage row = {
		.seq = ledger->next_coverage + batch->coverage_begun++, .node = ledger->node, .router = (char *)router,
		.address = address, .state = state, .start_us = start_us, .end_us = MAX(start_us, end_us),
		.reason = (char *)reason,
	};

	g_ptr_array_add(batch->coverage, coverage_copy(&row));
}

void cover_extend(struct batch *batch, const struct coverage *row, int64_t to_us)
{
	struct coverage *moved = coverage_copy(row);

	moved->end_us = MAX(row->end_us, to_us);
	g_ptr_array_add(batch->coverage, moved);
}

/* A standby that was master before keeps its plan: it counts from the first packet when it is master again.  Of one
 * that we never saw as master we do not know what is local, and cannot. */
#define BLIND "standby since it is metered: what is local there is not known"

bool cover_is_blind(const struct coverage *latest)
{
	return latest && latest->state == STATE_STANDBY && *latest->reason;
}

bool cover_is_open(const struct coverage *latest, const struct generation *of)
{
	return latest && latest->state == STATE_GAP && latest->end_us > of->read_at.utc_us;
}

/* Does that time go on where the row is?  Not where the clock was set back to before it. */
static bool goes_on(const struct coverage *latest, int64_t from_us, int64_t to_us)
{
	return latest && latest->start_us <= to_us && latest->end_us >= from_us;
}

/* A change of state is seen only now: whoever became standby counted all that there was until then. */
void cover_state(const struct ledger *ledger, struct batch *batch, const struct plan *plan,
                 const struct generation *of, const struct instant *at)
{
	const struct coverage *latest = books_latest_coverage(ledger, batch, plan->router, 0);
	int64_t from_us = cover_label(ledger, of, &of->read_at, at), to_us = at->utc_us;
	bool first = of->read_at.boot_us <= of->made_at.boot_us;
	bool follows = goes_on(latest, from_us, to_us), unbroken = follows && latest->state != STATE_GAP;
	enum state state = plan->standby ? STATE_STANDBY : STATE_METERED;
	const char *reason = plan->standby && !plan->local->len ? BLIND : "";

	if (unbroken && latest->state == state && g_str_equal(latest->reason, reason)) {
		cover_extend(batch, latest, to_us);
		return;
	}
	if (unbroken && plan->standby) {
		cover_extend(batch, latest, to_us);
		from_us = to_us;
	} else if (unbroken && cover_is_blind(latest)) {
		cover_add(ledger, batch, plan->router, 0, STATE_GAP, latest->end_us, to_us,
		          "it became master between two looks");
		from_us = to_us;
	} else if (follows && !unbroken && (first || cover_is_open(latest, of))) {
		cover_extend(batch, latest, to_us);
		from_us = to_us;
	} else if (follows) { /* what was read last may be of counters older than what was said then */
		from_us = latest->end_us;
	} else if (first) {
		from_us = to_us;
	}
	cover_add(ledger, batch, plan->router, 0, state, MIN(from_us, to_us), to_us, reason);
}

void cover_miss_address(const struct ledger *ledger, struct batch *batch, const char *router, uint32_t address,
                        int64_t from_us, int64_t to_us, const char *reason)
{
	const struct coverage *latest = books_latest_coverage(ledger, batch, router, address);

	if (goes_on(latest, from_us, from_us) && latest->state == STATE_GAP)
		cover_extend(batch, latest, to_us);
	else
		cover_add(ledger, batch, router, address, STATE_GAP, from_us, to_us, reason);
}

void cover_miss(const struct ledger *ledger, struct batch *batch, const struct plan *plan, int64_t from_us,
                int64_t to_us, const char *reason)
{
	cover_miss_address(ledger, batch, plan->router, 0, from_us, to_us, reason);
}

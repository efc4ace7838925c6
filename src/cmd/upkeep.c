/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See upkeep.h.
 */
#include "cmd/upkeep.h"

#include "kernel/clock.h"

#define MINUTE_US (60 * INT64_C(1000000))
#define HOUR_US (60 * MINUTE_US)
#define DAY_US (24 * HOUR_US)

static bool is_in_doubt(struct upkeep *upkeep, const struct instant *now)
{
	int64_t offset_us = now->utc_us - now->boot_us;

	if (!upkeep->offset_us || ABS(offset_us - upkeep->offset_us) > MINUTE_US)
		upkeep->steady_us = now->boot_us;
	upkeep->offset_us = offset_us;
	return now->boot_us - upkeep->steady_us < HOUR_US;
}

bool upkeep_step(struct upkeep *upkeep, struct node *node)
{
	const struct config *config = node->config;
	struct instant now = clock_now();
	struct store_keep keep = {
		.timezone = config->timezone, .rows_us = config->keep_rows_days * DAY_US,
		.hours_us = config->keep_hours_days * DAY_US, .quota = config->quota,
		.clock_in_doubt = is_in_doubt(upkeep, &now),
	};
	g_autoptr(GError) error = NULL;
	bool more = false;

	g_clear_pointer(&node->upkeep_failure, g_free);
	if (!store_tend(node->store, &keep, now.utc_us, &more, &error)) {
		node->upkeep_failure = g_strdup_printf("summing up and dropping old rows: %s, retrying", error->message);
		node_mend_books(node);
	} else if (!store_check_wal(node->store, &error)) {
		node->upkeep_failure = g_strdup(error->message);
	} else if (!more && store_is_over_quota(node->store)) {
		node->upkeep_failure = g_strdup("larger than [store] quota, and days are never dropped (raise it)");
	}
	return more;
}

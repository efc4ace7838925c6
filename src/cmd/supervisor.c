/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See supervisor.h: systemd.
 */
#include "cmd/supervisor.h"

#include <fcntl.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define SAMPLES_MISSED 3

void supervisor_keep(const char *name, int fd)
{
	g_autofree char *message = g_strdup_printf("FDSTORE=1\nFDNAME=%s\nFDPOLL=0", name);

	sd_pid_notify_with_fds(0, 0, message, &fd, 1);
}

void supervisor_drop(const char *name)
{
	g_autofree char *message = g_strdup_printf("FDSTOREREMOVE=1\nFDNAME=%s", name);

	sd_notify(0, message);
}

void supervisor_ready(const char *status)
{
	sd_notifyf(0, "READY=1\nSTATUS=%s", status);
}

/* MONOTONIC_USEC is what Type=notify-reload asks for; others do not mind. */
void supervisor_reloading(void)
{
	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" G_GINT64_FORMAT, g_get_monotonic_time());
}

void supervisor_stopping(void)
{
	sd_notify(0, "STOPPING=1\nSTATUS=taking a last sample");
}

void supervisor_sampled(const char *status, int64_t interval_us)
{
	uint64_t patience_us, wanted_us = (uint64_t)interval_us * SAMPLES_MISSED;

	if (sd_watchdog_enabled(0, &patience_us) > 0 && patience_us < wanted_us)
		sd_notifyf(0, "WATCHDOG_USEC=%" G_GUINT64_FORMAT, wanted_us);
	sd_notifyf(0, "WATCHDOG=1\nSTATUS=%s", status);
}

GHashTable *supervisor_kept(void)
{
	GHashTable *kept = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	char **names = NULL;
	int n = sd_listen_fds_with_names(1, &names);

	for (int i = 0; i < n; i++) {
		int fd = SD_LISTEN_FDS_START + i;

		if (g_hash_table_contains(kept, names[i]))
			close(fd); /* one of a name is held at a time */
		else
			g_hash_table_insert(kept, g_strdup(names[i]), GINT_TO_POINTER(fd));
		free(names[i]);
	}
	free(names);
	return kept;
}

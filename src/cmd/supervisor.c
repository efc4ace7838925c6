/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See supervisor.h: systemd.
 */
#include "cmd/supervisor.h"

#include <fcntl.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

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

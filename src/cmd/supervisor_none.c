/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See supervisor.h: built without libsystemd (-Dsystemd=disabled).
 */
#include "cmd/supervisor.h"

void supervisor_keep(const char *name, int fd)
{
}

void supervisor_drop(const char *name)
{
}

void supervisor_ready(const char *status)
{
}

void supervisor_reloading(void)
{
}

void supervisor_stopping(void)
{
}

void supervisor_sampled(const char *status, int64_t interval_us)
{
}

GHashTable *supervisor_kept(void)
{
	return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
}

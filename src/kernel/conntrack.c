/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See conntrack.h.  /proc/sys/net shows the namespace of the process that opens a file there (proc(5)).
 */
#include "kernel/conntrack.h"

#include "kernel/netns.h"

#define SYSCTL "/proc/sys/net/netfilter/nf_conntrack_"

static uint64_t get_number(const char *path)
{
	g_autofree char *text = NULL;

	return g_file_get_contents(path, &text, NULL, NULL) ? g_ascii_strtoull(text, NULL, 10) : 0;
}

static bool count_inside(void *data, GError **error)
{
	uint64_t *numbers = data;

	numbers[0] = get_number(SYSCTL "count");
	numbers[1] = get_number(SYSCTL "max");
	return true;
}

bool conntrack_count(int ns_fd, uint64_t *connections, uint64_t *max, GError **error)
{
	uint64_t numbers[2];

	if (!netns_call(ns_fd, count_inside, numbers, error))
		return false;
	*connections = numbers[0];
	*max = numbers[1];
	return true;
}

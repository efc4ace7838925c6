/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See ipstat.h.  The file has pairs of lines, names and values: the kernel adds names with the years, so each is looked for.
 */
#include "kernel/ipstat.h"

#include "kernel/netns.h"

#include <string.h>

#define FILE_NAME "/proc/thread-self/net/netstat"
#define LINE "IpExt: "

/* What follows LINE in the next line that begins so; moves *text behind it.  NULL if there is none. */
static char *take_line(const char **text)
{
	const char *at = g_str_has_prefix(*text, LINE) ? *text : strstr(*text, "\n" LINE);
	const char *end;

	if (!at)
		return NULL;
	at += strlen(LINE) + (*at == '\n');
	end = strchr(at, '\n');
	*text = end ? end : at + strlen(at);
	return g_strndup(at, (gsize)(*text - at));
}

static bool find(char *const *names, char *const *values, const char *name, uint64_t *value)
{
	guint64 found;

	for (unsigned i = 0; names[i] && values[i]; i++)
		if (g_str_equal(names[i], name) && g_ascii_string_to_unsigned(values[i], 10, 0, UINT64_MAX, &found, NULL)) {
			*value = found;
			return true;
		}
	return false;
}

bool ipstat_parse(const char *text, struct ipstat *ipstat, GError **error)
{
	g_autofree char *first = take_line(&text), *second = first ? take_line(&text) : NULL;
	g_auto(GStrv) names = second ? g_strsplit(first, " ", -1) : NULL;
	g_auto(GStrv) values = second ? g_strsplit(second, " ", -1) : NULL;
	struct ipstat found;

	if (second && find(names, values, "InOctets", &found.received) && find(names, values, "InMcastOctets", &found.multicast) &&
	    find(names, values, "InBcastOctets", &found.broadcast)) {
		*ipstat = found;
		return true;
	}
	g_set_error(error, IPSTAT_ERROR, IPSTAT_ERROR_STRANGE, "%s does not say what IPv4 has received", FILE_NAME);
	return false;
}

static bool read_inside(void *data, GError **error)
{
	g_autofree char *text = NULL;

	return g_file_get_contents(FILE_NAME, &text, NULL, error) && ipstat_parse(text, data, error);
}

bool ipstat_read(int ns_fd, struct ipstat *ipstat, GError **error)
{
	return netns_call(ns_fd, read_inside, ipstat, error);
}

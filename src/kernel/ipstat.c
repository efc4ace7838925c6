/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See ipstat.h.  The file has pairs of lines, names and values: the kernel adds names with the years, so each is looked for.
 * It is read at each sample of each router, so it stays open, and nothing is allocated.
 */
#include "kernel/ipstat.h"

#include "kernel/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define FILE_NAME "/proc/thread-self/net/netstat"
#define FILE_MAX 16384 /* 6.18 writes 4 KiB */
#define LINE "IpExt: "

/* Where what follows LINE begins, at *text or in a line behind it; moves *text to the end of that line.  NULL: nowhere. */
static const char *take_line(const char **text)
{
	const char *at = g_str_has_prefix(*text, LINE) ? *text : strstr(*text, "\n" LINE);

	if (!at)
		return NULL;
	at += strlen(LINE) + (*at == '\n');
	*text = strchrnul(at, '\n');
	return at;
}

static bool is_word(const char *at, size_t length, const char *word)
{
	return strlen(word) == length && !memcmp(at, word, length);
}

/* Digits and no more. */
static bool take_number(const char *at, size_t length, uint64_t *value)
{
	char digits[24];
	guint64 number;

	if (length >= sizeof digits)
		return false;
	memcpy(digits, at, length);
	digits[length] = '\0';
	if (!g_ascii_string_to_unsigned(digits, 10, 0, UINT64_MAX, &number, NULL))
		return false;
	*value = number;
	return true;
}

/* How many of the three were found. */
static unsigned take_values(const char *name, const char *value, struct ipstat *ipstat)
{
	unsigned found = 0;

	while (*name && *name != '\n' && *value && *value != '\n') {
		size_t name_length = strcspn(name, " \n"), length = strcspn(value, " \n");
		uint64_t *to = is_word(name, name_length, "InOctets") ? &ipstat->received :
		               is_word(name, name_length, "InMcastOctets") ? &ipstat->multicast :
		               is_word(name, name_length, "InBcastOctets") ? &ipstat->broadcast : NULL;

		found += to && take_number(value, length, to);
		name += name_length + (name[name_length] == ' ');
		value += length + (value[length] == ' ');
	}
	return found;
}

bool ipstat_parse(const char *text, struct ipstat *ipstat, GError **error)
{
	const char *names = take_line(&text), *values = names ? take_line(&text) : NULL;
	struct ipstat found;

	if (values && take_values(names, values, &found) == 3) {
		*ipstat = found;
		return true;
	}
	g_set_error(error, IPSTAT_ERROR, IPSTAT_ERROR_STRANGE, "%s does not say what IPv4 has received", FILE_NAME);
	return false;
}

static bool refuse(GError **error)
{
	g_set_error(error, IPSTAT_ERROR, IPSTAT_ERROR_FAILED, "%s: %s", FILE_NAME, g_strerror(errno));
	return false;
}

static bool open_inside(void *data, GError **error)
{
	*(int *)data = open(FILE_NAME, O_RDONLY | O_CLOEXEC);
	return *(int *)data >= 0 || refuse(error);
}

int ipstat_open(int ns_fd, GError **error)
{
	int fd = -1;

	return netns_call(ns_fd, open_inside, &fd, error) ? fd : -1;
}

/* The kernel hands out a page or more at once; from the beginning on it counts anew. */
bool ipstat_read(int fd, struct ipstat *ipstat, GError **error)
{
	char text[FILE_MAX];
	size_t length = 0;
	ssize_t n;

	while ((n = pread(fd, text + length, sizeof text - 1 - length, (off_t)length)) > 0)
		length += (size_t)n;
	if (n < 0)
		return refuse(error);
	text[length] = '\0';
	return ipstat_parse(text, ipstat, error);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table is taken as one snapshot (iptc_init), so rules never mix two states of it.
 */
#include "kernel/xtables.h"

#include "kernel/netns.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define NAMES "/proc/thread-self/net/ip_tables_names"

struct reading {
	const char *table;
	xtables_call call;
	void *data;
};

/* A match or a target (both begin with struct xt_entry_match): within room bytes, and with a name that
 * ends.  Its size; 0 if it is none. */
static size_t extension_size(const void *extension, size_t room)
{
	struct xt_entry_match head;

	G_STATIC_ASSERT(sizeof(struct xt_entry_match) == sizeof(struct xt_entry_target));
	if (room < sizeof head)
		return 0;
	memcpy(&head, extension, sizeof head);
	if (head.u.match_size < sizeof head || head.u.match_size > room ||
	    !memchr(head.u.user.name, 0, sizeof head.u.user.name))
		return 0;
	return head.u.match_size;
}

bool xtables_entry_check(const struct ipt_entry *entry, size_t length)
{
	const char *bytes = (const char *)entry;
	size_t at = sizeof *entry;

	if (length < sizeof *entry || entry->next_offset > length ||
	    entry->target_offset > entry->next_offset || entry->target_offset < sizeof *entry)
		return false;
	while (at < entry->target_offset) {
		size_t size = extension_size(bytes + at, entry->target_offset - at);

		if (!size)
			return false;
		at += size;
	}
	return extension_size(bytes + at, entry->next_offset - at) > 0;
}

static bool each_rule_of(struct xtc_handle *handle, const char *chain, const struct reading *reading,
                         GError **error)
{
	for (const struct ipt_entry *entry = iptc_first_rule(chain, handle); entry;
	     entry = iptc_next_rule(entry, handle)) {
		if (!xtables_entry_check(entry, entry->next_offset)) {
			g_set_error(error, XTABLES_ERROR, XTABLES_ERROR_FAILED,
			            "legacy table %s: a rule of chain %s is not well formed", reading->table, chain);
			return false;
		}
		if (!reading->call(chain, entry, reading->data, error))
			return false;
	}
	return true;
}

static bool read_table(const struct reading *reading, GError **error)
{
	struct xtc_handle *handle = iptc_init(reading->table);
	bool done = true;

	if (!handle) {
		g_set_error(error, XTABLES_ERROR, XTABLES_ERROR_FAILED, "legacy table %s: %s", reading->table,
		            iptc_strerror(errno));
		return false;
	}
	for (const char *chain = iptc_first_chain(handle); chain && done; chain = iptc_next_chain(handle))
		done = each_rule_of(handle, chain, reading, error);
	iptc_free(handle);
	return done;
}

bool xtables_has_table(const char *table, bool *exists, GError **error)
{
	g_autofree char *names = NULL;
	g_auto(GStrv) lines = NULL;
	GError *refusal = NULL;

	if (!g_file_get_contents(NAMES, &names, NULL, &refusal)) {
		*exists = false;
		if (g_error_matches(refusal, G_FILE_ERROR, G_FILE_ERROR_NOENT)) {
			g_error_free(refusal);
			return true;
		}
		g_propagate_error(error, refusal);
		return false;
	}
	lines = g_strsplit(names, "\n", -1);
	*exists = g_strv_contains((const char *const *)lines, table);
	return true;
}

static bool read_inside(void *data, GError **error)
{
	const struct reading *reading = data;
	bool exists;

	if (!xtables_has_table(reading->table, &exists, error))
		return false;
	return !exists || read_table(reading, error);
}

bool xtables_each_rule(int ns_fd, const char *table, xtables_call call, void *data, GError **error)
{
	struct reading reading = { .table = table, .call = call, .data = data };

	return netns_call(ns_fd, read_inside, &reading, error);
}

/* ---- fingerprints ---- */

#define TRIES 5

struct fingerprint {
	const char *table;
	uint64_t value;
};

/* FNV-1a, by words: what is hashed is a multiple of eight bytes long (XT_ALIGN), or its rest is taken as it is. */
static uint64_t hash_bytes(uint64_t hash, const char *bytes, size_t length)
{
	for (size_t at = 0; at < length; at += sizeof hash) {
		uint64_t word = 0;

		memcpy(&word, bytes + at, MIN(sizeof word, length - at));
		hash = (hash ^ word) * UINT64_C(1099511628211);
		hash ^= hash >> 29;
	}
	return hash;
}

/* All of each entry but its counters, which stand between comefrom and the matches. */
static bool hash_entries(const struct ipt_get_entries *entries, uint64_t *value)
{
	const char *bytes = (const char *)entries->entrytable;
	uint64_t hash = UINT64_C(14695981039346656037);
	size_t at = 0;

	while (at < entries->size) {
		struct ipt_entry head;

		if (entries->size - at < sizeof head)
			return false;
		memcpy(&head, bytes + at, sizeof head);
		if (head.next_offset < sizeof head || head.next_offset > entries->size - at)
			return false;
		hash = hash_bytes(hash, bytes + at, offsetof(struct ipt_entry, comefrom));
		hash = hash_bytes(hash, bytes + at + sizeof head, head.next_offset - sizeof head);
		at += head.next_offset;
	}
	*value = hash ? hash : 1;
	return true;
}

static bool refuse_table(const char *table, GError **error)
{
	g_set_error(error, XTABLES_ERROR, XTABLES_ERROR_FAILED, "legacy table %s: %s", table, g_strerror(errno));
	return false;
}

/* False with errno set; EAGAIN: the table has another size than a moment ago. */
static bool get_fingerprint(int fd, struct fingerprint *fingerprint)
{
	struct ipt_getinfo info = { 0 };
	g_autofree struct ipt_get_entries *entries = NULL;
	socklen_t length = sizeof info;

	g_strlcpy(info.name, fingerprint->table, sizeof info.name);
	if (getsockopt(fd, SOL_IP, IPT_SO_GET_INFO, &info, &length) < 0)
		return false;
	length = sizeof *entries + info.size;
	entries = g_malloc0(length);
	g_strlcpy(entries->name, fingerprint->table, sizeof entries->name);
	entries->size = info.size;
	if (getsockopt(fd, SOL_IP, IPT_SO_GET_ENTRIES, entries, &length) < 0)
		return false;
	errno = EBADMSG;
	return hash_entries(entries, &fingerprint->value);
}

static bool fingerprint_inside(void *data, GError **error)
{
	struct fingerprint *fingerprint = data;
	bool exists, done = false;
	int fd;

	if (!xtables_has_table(fingerprint->table, &exists, error))
		return false;
	if (!exists)
		return true;
	fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	if (fd < 0)
		return refuse_table(fingerprint->table, error);
	errno = EAGAIN;
	for (unsigned i = 0; i < TRIES && !done && errno == EAGAIN; i++)
		done = get_fingerprint(fd, fingerprint);
	if (!done)
		refuse_table(fingerprint->table, error);
	close(fd);
	return done;
}

bool xtables_fingerprint(int ns_fd, const char *table, uint64_t *fingerprint, GError **error)
{
	struct fingerprint asked = { .table = table };

	if (!netns_call(ns_fd, fingerprint_inside, &asked, error))
		return false;
	*fingerprint = asked.value;
	return true;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table is taken as one snapshot (iptc_init), so rules never mix two states of it.
 */
#include "kernel/xtables.h"

#include "kernel/netns.h"

#include <errno.h>
#include <string.h>

#define NAMES "/proc/thread-self/net/ip_tables_names"
#define TABLE "nat"

struct reading {
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

static bool each_rule_of(struct xtc_handle *table, const char *chain, const struct reading *reading,
                         GError **error)
{
	for (const struct ipt_entry *entry = iptc_first_rule(chain, table); entry;
	     entry = iptc_next_rule(entry, table)) {
		if (!xtables_entry_check(entry, entry->next_offset)) {
			g_set_error(error, XTABLES_ERROR, XTABLES_ERROR_FAILED,
			            "legacy table %s: a rule of chain %s is not well formed", TABLE, chain);
			return false;
		}
		if (!reading->call(chain, entry, reading->data, error))
			return false;
	}
	return true;
}

static bool read_table(void *data, GError **error)
{
	struct xtc_handle *table = iptc_init(TABLE);
	bool done = true;

	if (!table) {
		g_set_error(error, XTABLES_ERROR, XTABLES_ERROR_FAILED, "legacy table %s: %s", TABLE,
		            iptc_strerror(errno));
		return false;
	}
	for (const char *chain = iptc_first_chain(table); chain && done; chain = iptc_next_chain(table))
		done = each_rule_of(table, chain, data, error);
	iptc_free(table);
	return done;
}

/* True with *exists told.  A kernel without legacy tables has no such file. */
static bool look_for_table(bool *exists, GError **error)
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
	*exists = g_strv_contains((const char *const *)lines, TABLE);
	return true;
}

static bool read_inside(void *data, GError **error)
{
	bool exists;

	if (!look_for_table(&exists, error))
		return false;
	return !exists || read_table(data, error);
}

bool xtables_each_nat_rule(int ns_fd, xtables_call call, void *data, GError **error)
{
	struct reading reading = { .call = call, .data = data };

	return netns_call(ns_fd, read_inside, &reading, error);
}

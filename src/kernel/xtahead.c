/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See xtahead.h.
 */
#include "kernel/xtahead.h"

#include "kernel/netns.h"

#include <errno.h>
#include <linux/netfilter/xt_CT.h>
#include <string.h>

#define HOOK "PREROUTING"
#define NO_CHAIN "\n" /* no chain's name begins so: a walk to the end */

/* Targets after which a packet goes on to the next rule (iptables-extensions(8)). */
static const char *const PASSING[] = {
	"", "AUDIT", "CHECKSUM", "CLASSIFY", "CONNMARK", "CONNSECMARK", "CT", "DSCP", "ECN", "HL", "HMARK", "IDLETIMER",
	"LED", "LOG", "MARK", "NFLOG", "NOTRACK", "RATEEST", "SECMARK", "SET", "TCPMSS", "TCPOPTSTRIP", "TEE", "TOS", "TRACE",
	"TTL", "ULOG", NULL,
};

struct step {
	char *target;
	bool is_goto;
};

static void step_clear(void *data)
{
	g_free(((struct step *)data)->target);
}

/* Where the rules of a chain lead, up to the first of ours.  The handle knows one place in the rules alone, so a walk
 * has to be over before the next begins. */
static GArray *steps_of(struct xtc_handle *handle, const char *chain, const char *prefix, bool *reached)
{
	GArray *steps = g_array_new(FALSE, FALSE, sizeof(struct step));

	g_array_set_clear_func(steps, step_clear);
	*reached = false;
	for (const struct ipt_entry *entry = iptc_first_rule(chain, handle); entry && !*reached;
	     entry = iptc_next_rule(entry, handle)) {
		const char *target = iptc_get_target(entry, handle);
		struct step step = { .target = g_strdup(target ? target : ""), .is_goto = entry->ip.flags & IPT_F_GOTO };

		*reached = g_str_has_prefix(step.target, prefix);
		g_array_append_val(steps, step);
	}
	return steps;
}

/* seen: names of chains that were followed already, and let everything pass. */
static bool chain_diverts(struct xtc_handle *handle, const char *chain, const char *prefix, GHashTable *seen)
{
	bool reached, diverts = false;
	g_autoptr(GArray) steps = steps_of(handle, chain, prefix, &reached);

	for (unsigned i = 0; i < steps->len && !diverts; i++) {
		const struct step *step = &g_array_index(steps, struct step, i);

		if (g_str_has_prefix(step->target, prefix))
			break;
		if (g_strv_contains(PASSING, step->target) || g_str_equal(step->target, "RETURN"))
			continue; /* back to the caller */
		if (!iptc_is_chain(step->target, handle) || iptc_builtin(step->target, handle) || step->is_goto)
			diverts = true;
		else if (g_hash_table_add(seen, g_strdup(step->target)))
			diverts = chain_diverts(handle, step->target, prefix, seen);
	}
	return diverts;
}

/* RETURN from a built-in chain is its policy. */
static bool returns(const GArray *steps)
{
	for (unsigned i = 0; i < steps->len; i++)
		if (g_str_equal(g_array_index(steps, struct step, i).target, "RETURN"))
			return true;
	return false;
}

bool xtahead_diverts(struct xtc_handle *handle, const char *chain, const char *prefix)
{
	g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	bool reached;
	g_autoptr(GArray) steps = steps_of(handle, chain, prefix, &reached);

	return reached && (returns(steps) || chain_diverts(handle, chain, prefix, seen));
}

/* ---- all that comes early ---- */

struct asked {
	const char *prefix;
	struct xtahead *found;
};

/* seen: names of chains that were followed already. */
static bool chain_drops(struct xtc_handle *handle, const char *chain, GHashTable *seen)
{
	bool reached, drops = false;
	g_autoptr(GArray) steps = steps_of(handle, chain, NO_CHAIN, &reached);

	for (unsigned i = 0; i < steps->len && !drops; i++) {
		const char *target = g_array_index(steps, struct step, i).target;

		if (!iptc_is_chain(target, handle) || iptc_builtin(target, handle))
			drops = g_str_equal(target, "DROP") || g_str_equal(target, "QUEUE") || g_str_equal(target, "NFQUEUE");
		else if (g_hash_table_add(seen, g_strdup(target)))
			drops = chain_drops(handle, target, seen);
	}
	return drops;
}

static bool hook_drops(struct xtc_handle *handle)
{
	g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	struct xt_counters counters;
	const char *policy = iptc_get_policy(HOOK, &counters, handle);

	return chain_drops(handle, HOOK, seen) || !g_strcmp0(policy, "DROP");
}

/* net/netfilter/xt_CT.c; all revisions begin alike. */
static void take_tracking(const struct ipt_entry *entry, struct xtahead *found)
{
	const struct xt_entry_target *target = (const void *)((const char *)entry + entry->target_offset);
	struct xt_ct_target_info info;

	found->takes_untracked |= g_str_equal(target->u.user.name, "NOTRACK");
	if (!g_str_equal(target->u.user.name, "CT") ||
	    target->u.target_size < sizeof *target + offsetof(struct xt_ct_target_info, ct_events))
		return;
	memcpy(&info, target->data, offsetof(struct xt_ct_target_info, ct_events));
	found->takes_untracked |= info.flags & XT_CT_NOTRACK;
	found->sets_zone |= info.zone != 0;
}

static void look_at(struct xtc_handle *handle, const char *table, const struct asked *asked)
{
	bool drops = hook_drops(handle);

	if (g_str_equal(table, "raw")) {
		asked->found->raw_drops = drops;
		for (const char *chain = iptc_first_chain(handle); chain; chain = iptc_next_chain(handle))
			for (const struct ipt_entry *entry = iptc_first_rule(chain, handle); entry;
			     entry = iptc_next_rule(entry, handle))
				if (!g_str_equal(chain, "OUTPUT") && xtables_entry_check(entry, entry->next_offset))
					take_tracking(entry, asked->found);
	} else {
		asked->found->mangle_drops = drops;
		asked->found->mangle_diverts = xtahead_diverts(handle, HOOK, asked->prefix);
	}
}

static bool look_inside(void *data, GError **error)
{
	static const char *const tables[] = { "raw", "mangle" };
	const struct asked *asked = data;

	for (unsigned i = 0; i < G_N_ELEMENTS(tables); i++) {
		struct xtc_handle *handle;
		bool exists;

		if (!xtables_has_table(tables[i], &exists, error))
			return false;
		if (!exists)
			continue;
		handle = iptc_init(tables[i]);
		if (!handle) {
			g_set_error(error, XTABLES_ERROR, XTABLES_ERROR_FAILED, "legacy table %s: %s", tables[i],
			            iptc_strerror(errno));
			return false;
		}
		look_at(handle, tables[i], asked);
		iptc_free(handle);
	}
	return true;
}

bool xtahead_look(int ns_fd, const char *prefix, struct xtahead *found, GError **error)
{
	struct asked asked = { .prefix = prefix, .found = found };

	*found = (struct xtahead){ 0 };
	return netns_call(ns_fd, look_inside, &asked, error);
}

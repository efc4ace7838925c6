/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See xtahead.h.
 */
#include "kernel/xtahead.h"

#include <string.h>

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

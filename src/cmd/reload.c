/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See reload.h.  A new configuration is made beside the old one and changes places with it when it is known to do.
 */
#include "cmd/reload.h"

#define RELOAD_ERROR (g_quark_from_static_string("fipmeter-reload"))

/* What an agent is, and not what it does. */
static bool refuse_changes(const struct config *old, const struct config *new, GError **error)
{
	const struct {
		const char *key, *old, *new;
	} fixed[] = {
		{ "[agent] netns_dir", old->netns_dir, new->netns_dir },
		{ "[agent] node", old->node, new->node },
		{ "[agent] ebpf_place", old->ebpf_place, new->ebpf_place },
		{ "[agent] xtables_lock", old->xtables_lock, new->xtables_lock },
		{ "[store] path", old->state_dir, new->state_dir },
		{ "[store] timezone", g_time_zone_get_identifier(old->timezone), g_time_zone_get_identifier(new->timezone) },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(fixed); i++)
		if (g_strcmp0(fixed[i].old, fixed[i].new)) {
			g_set_error(error, RELOAD_ERROR, 0, "%s cannot change while the agent runs: it is %s (restart the agent)",
			            fixed[i].key, fixed[i].old ? fixed[i].old : "not set");
			return false;
		}
	return true;
}

/* Where another back end is to count from now on: the next cycle takes the old one's last reading and what is left of it. */
static void change_backends(struct node *node)
{
	GHashTableIter each;
	void *value;

	g_hash_table_iter_init(&each, node->sites);
	while (g_hash_table_iter_next(&each, NULL, &value)) {
		struct site *site = value;
		struct backend *backend = node_backend_for(node, site->ns);

		site->fresh |= backend != site->backend;
		site->backend = backend;
	}
}

bool reload(struct node *node, const struct node_options *options, GError **error)
{
	SCOPED(config) *new = node_load_config(options, error);
	struct config *old = node->config;
	struct backend *usual = node->usual;

	if (!new || !refuse_changes(old, new, error))
		return false;
	node->config = new;
	if (!node_choose_backends(node, error)) {
		node->config = old;
		node->usual = usual;
		return false;
	}
	new = old; /* freed at the end */
	change_backends(node);
	if (node->ledger) /* a dry run has no books */
		ledger_set_interval(node->ledger, node->config->interval_s * INT64_C(1000000));
	return true;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See checkup.h.  The agent's own word comes from its bulletin, the rest is asked here, once more and by itself.
 */
#include "cmd/checkup.h"

#include "cmd/bulletin.h"
#include "cmd/look.h"
#include "core/plan.h"
#include "inventory/inventory.h"
#include "kernel/clock.h"
#include "store/query.h"

#include <string.h>
#include <sys/stat.h>

#define DAY_US (24 * 3600 * INT64_C(1000000))
#define ABOUT_NS "namespace="
#define SKIPPING ", skipping"

char *checkup_message(const GError *error)
{
	return error ? g_strdup(error->message) : NULL;
}

/* ---- the agent ---- */

static void take_problems(struct facts *facts, const json_t *told)
{
	const char *about;
	json_t *message;

	json_object_foreach(json_object_get(told, "problems"), about, message)
		if (!g_str_has_prefix(about, ABOUT_NS))
			g_ptr_array_add(facts->problems, g_strdup_printf("%s: %s", about, json_string_value(message)));
}

/* What it has posted, NULL if nothing; the caller frees. */
static json_t *ask_agent(struct facts *facts)
{
	g_autoptr(GError) error = NULL;
	json_t *told = NULL;
	long holder;

	if (!bulletin_read(facts->netns_dir, &told, &holder, &error)) {
		g_ptr_array_add(facts->problems, checkup_message(error));
		return NULL;
	}
	facts->running = told && holder;
	facts->posted = told;
	facts->pid = holder > 0 ? holder : (long)json_integer_value(json_object_get(told, "pid"));
	facts->sampled_us = json_integer_value(json_object_get(told, "sampled"));
	facts->interval_s = (int)json_integer_value(json_object_get(told, "interval_s"));
	facts->events = json_is_true(json_object_get(told, "events"));
	if (*bulletin_text(told, "failure"))
		facts->agent_failure = g_strdup(bulletin_text(told, "failure"));
	take_problems(facts, told);
	return told;
}

/* ---- the store ---- */

static uint64_t size_of(const char *directory, const char *name)
{
	g_autofree char *path = g_build_filename(directory, name, NULL);
	struct stat file;

	return stat(path, &file) == 0 ? (uint64_t)file.st_size : 0;
}

static void take_gap(const struct coverage *gap, void *data)
{
	const struct facts *facts = data;

	for (unsigned i = 0; i < facts->routers->len; i++) {
		struct router_facts *router = facts->routers->pdata[i];

		if (!g_str_equal(router_name_of(router->ns), gap->router))
			continue;
		router->gaps++;
		router->gaps_us += gap->end_us - gap->start_us;
		g_free(router->gap_reason);
		router->gap_reason = g_strdup(gap->reason);
	}
}

static void ask_store(struct facts *facts, const struct config *config)
{
	g_autoptr(GError) error = NULL;
	struct store *store = store_open_reader(facts->state_dir, &error);

	facts->has_store = store;
	facts->quota = config->quota;
	facts->database = size_of(facts->state_dir, STORE_FILE);
	facts->log = size_of(facts->state_dir, STORE_FILE "-wal");
	if (store)
		store_each_gap(store, facts->now_us - DAY_US, take_gap, facts, &error);
	store_close(store);
	if (!g_error_matches(error, STORE_ERROR, STORE_ERROR_MISSING))
		facts->store_failure = checkup_message(error);
}

/* ---- routers ---- */

/* The agent may have been started with another back end than the configuration has now. */
static void adopt_backend(const struct node *node, struct site *site, const json_t *posted)
{
	for (unsigned i = 0; i < BACKENDS && node->backends[i]; i++)
		if (g_str_equal(node->backends[i]->name, bulletin_text(posted, "backend")))
			site->backend = node->backends[i];
}

/* What it stopped is the agent's affair. */
static char *without_skipping(const char *complaint)
{
	g_autofree char *text = g_strdup(complaint);

	if (g_str_has_suffix(text, SKIPPING))
		text[strlen(text) - strlen(SKIPPING)] = '\0';
	return g_steal_pointer(&text);
}

static void take_site(struct facts *facts, const struct node *node, struct site *site, const json_t *told)
{
	g_autofree char *about = g_strconcat(ABOUT_NS, site->ns, NULL);
	const char *complaint = g_hash_table_lookup(node->said, about);
	const char *trouble = bulletin_text(json_object_get(told, "problems"), about);
	const json_t *posted = json_object_get(json_object_get(told, "routers"), site->ns);
	struct router_facts *router;

	adopt_backend(node, site, posted);
	router = checkup_router(facts, site);
	router->posted = posted;
	router->out_sent = node->config->out_sent && site->backend->sends;
	if (*trouble)
		router->trouble = g_strdup(trouble);
	if (site->failed && complaint) {
		g_free(router->failure);
		router->failure = without_skipping(complaint);
	}
	router->standby = site->router && plan_is_standby(site->router);
	router->router = g_steal_pointer(&site->router);
	facts->lock_needed |= g_str_equal(router->backend, "iptables");
	g_ptr_array_add(facts->routers, router);
}

/* Complaints about names that came to no site. */
static void take_strangers(struct facts *facts, const struct node *node)
{
	g_autoptr(GList) all = g_list_sort(g_hash_table_get_keys(node->said), (GCompareFunc)strcmp);

	for (GList *each = all; each; each = each->next) {
		const char *ns = g_str_has_prefix(each->data, ABOUT_NS) ? (char *)each->data + strlen(ABOUT_NS) : "";
		struct stranger stranger = { .is_router = inventory_is_router(ns) };

		if (!*ns || g_hash_table_contains(node->sites, ns))
			continue;
		stranger.ns = g_strdup(ns);
		stranger.why = without_skipping(g_hash_table_lookup(node->said, each->data));
		g_ptr_array_add(facts->strangers, g_memdup2(&stranger, sizeof stranger));
	}
}

static void ask_routers(struct facts *facts, struct node *node, const json_t *told)
{
	g_autoptr(GError) error = NULL;

	if (!facts->can_look)
		return;
	if (!look(node, LOOK_ALL, &error))
		facts->look_failure = checkup_message(error);
	for (unsigned i = 0; i < node->turn->len; i++)
		take_site(facts, node, node->turn->pdata[i], told);
	take_strangers(facts, node);
}

struct facts *checkup_gather(struct node *node)
{
	struct facts *facts = facts_new();
	json_t *told;

	facts->now_us = clock_now().utc_us;
	facts->netns_dir = node->config->netns_dir;
	facts->state_dir = node->config->state_dir;
	told = ask_agent(facts);
	checkup_host(facts, node, told);
	ask_routers(facts, node, told);
	ask_store(facts, node->config);
	json_decref(told);
	return facts;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See facts.h: made empty, and freed.
 */
#include "core/facts.h"

static void backend_clear(void *data)
{
	g_free(((struct backend_facts *)data)->refusal);
}

static void lock_clear(void *data)
{
	g_free(((struct lock_facts *)data)->path);
}

static void stranger_free(void *data)
{
	struct stranger *stranger = data;

	g_free(stranger->ns);
	g_free(stranger->why);
	g_free(stranger);
}

static void obstacle_free(void *data)
{
	struct obstacle *obstacle = data;

	g_free(obstacle->place);
	g_free(obstacle->show);
	g_free(obstacle);
}

static void limit_free(void *data)
{
	struct limit *limit = data;

	g_free(limit->device);
	g_free(limit->kind);
	g_free(limit);
}

static void mtu_free(void *data)
{
	g_free(((struct mtu_facts *)data)->device);
	g_free(data);
}

static void router_facts_free(void *data)
{
	struct router_facts *router = data;

	g_free(router->ns);
	router_free(router->router);
	g_free(router->failure);
	g_free(router->trouble);
	g_ptr_array_unref(router->obstacles);
	g_ptr_array_unref(router->limits);
	g_ptr_array_unref(router->mtus);
	g_array_unref(router->outside);
	g_hash_table_unref(router->forwarded);
	g_free(router->gap_reason);
	g_free(router);
}

struct router_facts *router_facts_new(const char *ns)
{
	struct router_facts *router = g_new0(struct router_facts, 1);

	router->ns = g_strdup(ns);
	router->backend = "";
	router->obstacles = g_ptr_array_new_with_free_func(obstacle_free);
	router->limits = g_ptr_array_new_with_free_func(limit_free);
	router->mtus = g_ptr_array_new_with_free_func(mtu_free);
	router->outside = g_array_new(FALSE, FALSE, sizeof(struct outside));
	router->forwarded = g_hash_table_new(NULL, NULL);
	return router;
}

void obstacle_add(struct router_facts *facts, enum obstacle_kind kind, char *place, char *show)
{
	struct obstacle *obstacle = g_new0(struct obstacle, 1);

	obstacle->kind = kind;
	obstacle->place = place;
	obstacle->show = show;
	g_ptr_array_add(facts->obstacles, obstacle);
}

struct facts *facts_new(void)
{
	struct facts *facts = g_new0(struct facts, 1);

	facts->problems = g_ptr_array_new_with_free_func(g_free);
	facts->backends = g_array_new(FALSE, TRUE, sizeof(struct backend_facts));
	g_array_set_clear_func(facts->backends, backend_clear);
	facts->locks = g_array_new(FALSE, TRUE, sizeof(struct lock_facts));
	g_array_set_clear_func(facts->locks, lock_clear);
	facts->strangers = g_ptr_array_new_with_free_func(stranger_free);
	facts->routers = g_ptr_array_new_with_free_func(router_facts_free);
	return facts;
}

void facts_free(struct facts *facts)
{
	if (!facts)
		return;
	g_free(facts->privileges);
	g_free(facts->agent_failure);
	g_ptr_array_unref(facts->problems);
	g_array_unref(facts->backends);
	g_array_unref(facts->locks);
	g_free(facts->lock_failure);
	g_free(facts->clock_failure);
	g_free(facts->disk_failure);
	g_free(facts->store_failure);
	g_free(facts->look_failure);
	g_ptr_array_unref(facts->strangers);
	g_ptr_array_unref(facts->routers);
	g_free(facts);
}

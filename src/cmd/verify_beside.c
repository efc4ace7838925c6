/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A second back end that counts in the same router while the agent's own does, to compare the two.  What it counts is never
 * stored, and it is gone at the end.
 */
#include "cmd/verify.h"

#include "backend/backend.h"
#include "core/plan.h"
#include "inventory/inventory.h"

struct beside {
	struct backend **backends, *backend;
	struct place place;
	char *ns;
	bool counts; /* something of it is in the kernel */
};

static struct backend *find_backend(struct backend **backends, const char *name, GError **error)
{
	g_autoptr(GString) known = g_string_new(NULL);

	for (unsigned i = 0; backends[i]; i++) {
		if (g_str_equal(backends[i]->name, name))
			return backends[i];
		g_string_append_printf(known, "%s%s", i ? ", " : "", backends[i]->name);
	}
	g_set_error(error, BACKEND_ERROR, BACKEND_ERROR_FAILED, "there is no back end %s in this build (right: %s)", name, known->str);
	return NULL;
}

static bool make_count(struct beside *beside, const struct config *config, GError **error)
{
	struct backend *backend = beside->backend;
	SCOPED(snapshot) *found = backend_read_settled(backend, &beside->place, error);
	SCOPED(router) *router = NULL;
	SCOPED(plan) *plan = NULL;
	g_autofree char *tag = backend_new_tag();

	if (!found)
		return false;
	if (found->generation || !found->intact) {
		g_set_error(error, BACKEND_ERROR, BACKEND_ERROR_EXISTS, "counters of %s stand there already (right: another back end "
		            "than the agent's; what an earlier --beside has left goes with the agent's next start)", backend->name);
		return false;
	}
	router = inventory_look(beside->place.ns_fd, beside->place.netfilter, beside->ns, FLAVOUR_NONE, error);
	if (!router)
		return false;
	plan = plan_make(router, config->classes);
	beside->counts = true;
	return backend->sync(backend, &beside->place, plan, tag, found, error);
}

struct beside *beside_new(const struct config *config, const char *ns, const char *name, GError **error)
{
	struct beside *beside = g_new0(struct beside, 1);

	beside->ns = g_strdup(ns);
	beside->place.ns_fd = -1;
	beside->backends = backends_new(config->xtables_lock, config->netns_dir, config->ebpf_place);
	beside->backend = find_backend(beside->backends, name, error);
	if (beside->backend && place_open(&beside->place, config->netns_dir, beside->ns, error) &&
	    make_count(beside, config, error))
		return beside;
	g_prefix_error(error, "--beside %s: ", name);
	beside_free(beside, NULL);
	return NULL;
}

bool beside_read(struct beside *beside, uint32_t address, struct counts *counts, GError **error)
{
	SCOPED(snapshot) *found = backend_read_settled(beside->backend, &beside->place, error);

	*counts = (struct counts){ 0 };
	if (!found)
		return false;
	for (unsigned i = 0; i < found->readings->len; i++) {
		const struct reading *reading = &g_array_index(found->readings, struct reading, i);

		if (reading->key.address == address)
			counts_add(counts, &reading->counts);
	}
	return true;
}

bool beside_free(struct beside *beside, GError **error)
{
	bool gone = true;

	if (!beside)
		return true;
	if (beside->counts)
		gone = beside->backend->stop(beside->backend, &beside->place, error) &&
		       beside->backend->remove(beside->backend, &beside->place, error);
	place_close(&beside->place);
	backends_free(beside->backends);
	g_free(beside->ns);
	g_free(beside);
	return gone;
}

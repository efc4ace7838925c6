/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is there now of the counters that are explained: what the agent posts of their namespace, and what the kernel shows.
 * Both are looked at only, and either may be missing.
 */
#include "cmd/explain.h"

#include "backend/backend.h"
#include "cmd/bulletin.h"
#include "cmd/cmd.h"
#include "core/plan.h"
#include "kernel/capability.h"
#include "kernel/clock.h"



static void set(char **text, const char *value)
{
	g_free(*text);
	*text = g_strdup(value ? value : "");
}

/* ---- the agent ---- */

static void take_bulletin(struct explain_live *live, const struct generation *of, const char *netns_dir)
{
	g_autofree char *about = g_strconcat("namespace=", of->ns, NULL);
	g_autoptr(GError) error = NULL;
	const json_t *router;
	json_t *told = NULL;
	long holder;

	if (!bulletin_read(netns_dir, &told, &holder, &error))
		return;
	router = json_object_get(json_object_get(told, "routers"), of->ns);
	if (holder && router) {
		set(&live->flavour, bulletin_text(router, "flavour"));
		set(&live->role, bulletin_text(router, "role"));
		set(&live->problem, bulletin_text(json_object_get(told, "problems"), about));
		/* What counts there now may be something else than what counted then. */
		if (g_str_equal(bulletin_text(router, "generation"), of->tag))
			set(&live->backend, bulletin_text(router, "backend"));
	}
	json_decref(told);
}

/* ---- the kernel ---- */

/* The counters that carry the tag, be they in use or about to go. */
static const struct snapshot *find_tagged(const struct snapshot *found, const char *tag)
{
	for (; found; found = found->former)
		if (!g_strcmp0(found->generation, tag))
			return found;
	return NULL;
}

static void take_counts(struct explain_live *live, const struct explanation *explanation, const struct snapshot *found)
{
	for (unsigned i = 0; i < explanation->lines->len; i++) {
		const struct meter *meter = g_array_index(explanation->lines, struct explain_line, i).meter;
		struct explain_kernel *kernel = &g_array_index(live->kernel, struct explain_kernel, i);
		const struct counts *counts = snapshot_find(found, &meter->key);

		kernel->seen = counts && !meter->closed_us;
		if (!kernel->seen)
			continue;
		kernel->counts = *counts;
		kernel->below = counts_is_below(counts, &meter->last);
	}
	live->read_us = found->at.utc_us;
}

/* True if the counters were found in it. */
static bool try_backend(struct explain_live *live, const struct explanation *explanation, struct backend *backend,
                        const struct place *place, GError **error)
{
	SCOPED(snapshot) *found = backend_read_settled(backend, place, error);
	const struct snapshot *ours = found ? find_tagged(found, explanation->life->of->tag) : NULL;

	if (!found || !ours)
		return false;
	take_counts(live, explanation, ours);
	set(&live->backend, backend->name);
	return true;
}

static bool counts_by(const struct backend *backend, enum basis basis)
{
	return backend->basis == basis || (backend->sends && basis == BASIS_WIRE_SENT);
}

static bool read_place(struct explain_live *live, const struct explanation *explanation, struct backend *const *backends,
                       const struct place *place, GError **error)
{
	for (unsigned i = 0; backends[i]; i++) {
		GError *failure = NULL;

		if (!counts_by(backends[i], explanation->life->of->basis))
			continue;
		if (try_backend(live, explanation, backends[i], place, &failure)) {
			g_clear_error(error);
			return true;
		}
		if (failure && error && !*error)
			g_propagate_error(error, failure);
		else
			g_clear_error(&failure);
	}
	if (error && !*error)
		g_set_error(error, BACKEND_ERROR, BACKEND_ERROR_FAILED,
		            "the counters do not stand there any more (others took their place, or somebody removed them)");
	return false;
}

static bool read_kernel(struct explain_live *live, const struct explanation *explanation, struct backend *const *backends,
                        const char *netns_dir, GError **error)
{
	const struct generation *of = explanation->life->of;
	struct place place;
	bool done;

	if (!place_open(&place, netns_dir, of->ns, error))
		return false;
	done = read_place(live, explanation, backends, &place, error);
	place_close(&place);
	return done;
}

static void look_into_kernel(struct explain_live *live, const struct explanation *explanation,
                             struct backend *const *backends, const char *netns_dir)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *boot = clock_boot_id(NULL);

	if (explanation->life->to_us)
		set(&live->failure, "its meters are closed, the counters are gone or count for others");
	else if (g_strcmp0(boot, explanation->life->of->boot))
		set(&live->failure, "the counters were those of an earlier boot, or of another machine");
	else if (!capability_check_looking(&error) || !read_kernel(live, explanation, backends, netns_dir, &error))
		set(&live->failure, error->message);
}

/* ---- both ---- */

/* How the counters of the address begin: all of its classes and both ways. */
static char *name_of_counters(const struct explanation *explanation)
{
	g_autofree char *address = address_to_string(explanation->address);

	return g_strdup_printf(explanation->life->kind == KIND_GATEWAY ? "traffic_snat_%s_" : "traffic_%s_vm_", address);
}

static char *show_command(const struct explanation *explanation, const struct backend *backend, const char *netns_dir)
{
	g_autofree char *name = name_of_counters(explanation), *inside = NULL;

	if (!backend->show)
		return bulletin_list_command(netns_dir, explanation->life->of->ns, backend);
	inside = g_strdup_printf("%s %s", backend->show, name);
	return bulletin_command(netns_dir, explanation->life->of->ns, inside);
}

static void tell_commands(struct explain_live *live, const struct explanation *explanation,
                          struct backend *const *backends, const char *netns_dir)
{
	for (unsigned i = 0; backends[i]; i++) {
		if (!g_str_equal(backends[i]->name, live->backend))
			continue;
		g_free(live->list_command);
		live->list_command = bulletin_list_command(netns_dir, explanation->life->of->ns, backends[i]);
		g_free(live->show_command);
		live->show_command = show_command(explanation, backends[i], netns_dir);
	}
	for (unsigned i = 0; !*live->backend && i < G_N_ELEMENTS(live->guesses); i++)
		live->guesses[i] = show_command(explanation, backends[i], netns_dir);
}

struct explain_live *explain_live_new(const struct explanation *explanation, const struct config *config)
{
	struct backend **backends = backends_new(config->xtables_lock, config->netns_dir, config->ebpf_place);
	struct explain_live *live = g_new0(struct explain_live, 1);
	char **texts[] = { &live->flavour, &live->role, &live->problem, &live->backend, &live->list_command, &live->show_command,
		           &live->failure };

	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++)
		*texts[i] = g_strdup("");
	live->kernel = g_array_new(FALSE, TRUE, sizeof(struct explain_kernel));
	g_array_set_size(live->kernel, explanation->lines->len);
	if (explanation->life->of->basis != BASIS_SKB)
		set(&live->backend, "ebpf");
	if (!explanation->life->to_us)
		take_bulletin(live, explanation->life->of, config->netns_dir);
	look_into_kernel(live, explanation, backends, config->netns_dir);
	if (!explanation->life->to_us)
		tell_commands(live, explanation, backends, config->netns_dir);
	backends_free(backends);
	return live;
}

void explain_live_free(struct explain_live *live)
{
	if (!live)
		return;
	g_free(live->flavour);
	g_free(live->role);
	g_free(live->problem);
	g_free(live->backend);
	g_free(live->list_command);
	g_free(live->show_command);
	g_free(live->guesses[0]);
	g_free(live->guesses[1]);
	g_free(live->failure);
	g_array_unref(live->kernel);
	g_free(live);
}

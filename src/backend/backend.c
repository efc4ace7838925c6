/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What all back ends share.
 */
#include "backend/backend.h"

#include "core/plan.h"
#include "kernel/netlink.h"
#include "kernel/netns.h"

#include <stdio.h>
#include <sys/random.h>
#include <unistd.h>

char *backend_new_tag(void)
{
	uint8_t random[GENERATION_LEN / 2];
	GString *tag = g_string_sized_new(GENERATION_LEN);

	/* 16 bytes come whole and, once the system has booted, at once: getrandom(2) */
	while (getrandom(random, sizeof random, 0) != sizeof random)
		;
	for (unsigned i = 0; i < sizeof random; i++)
		g_string_append_printf(tag, "%02x", random[i]);
	return g_string_free(tag, FALSE);
}

bool place_open(struct place *place, const char *netns_dir, const char *ns, GError **error)
{
	*place = (struct place){ .ns = ns, .ns_fd = netns_open(netns_dir, ns, error) };
	if (place->ns_fd < 0)
		return false;
	place->netfilter = netlink_open(place->ns_fd, NETLINK_NETFILTER, error);
	if (!place->netfilter)
		place_close(place);
	return place->netfilter;
}

void place_close(struct place *place)
{
	netlink_close(place->netfilter);
	place->netfilter = NULL;
	if (place->ns_fd >= 0)
		close(place->ns_fd);
	place->ns_fd = -1;
}

bool backend_refuse(GError **error)
{
	if (!error || !*error)
		return false;
	if (g_error_matches(*error, NETLINK_ERROR, NETLINK_ERROR_EXISTS)) {
		(*error)->domain = BACKEND_ERROR;
		(*error)->code = BACKEND_ERROR_EXISTS;
	} else if (g_error_matches(*error, NETLINK_ERROR, NETLINK_ERROR_INTERRUPTED) ||
	           g_error_matches(*error, NETLINK_ERROR, NETLINK_ERROR_BUSY) ||
	           g_error_matches(*error, NETLINK_ERROR, NETLINK_ERROR_MISSING)) {
		(*error)->domain = BACKEND_ERROR;
		(*error)->code = BACKEND_ERROR_AGAIN;
	}
	return false;
}

/* The smallest router that needs every kind of object. */
static struct plan *sample_plan(bool out_sent)
{
	SCOPED(router) *router = router_new("probe", "probe");
	struct classes *classes = classes_new();
	struct floating floating = { .address = 0xc6336465, .fixed = 0x0a00010b };
	struct prefix local = { .address = 0x0a000100, .length = 24 };
	struct plan *plan;

	router->external = true;
	router->gateway = 0xc6336401;
	g_array_append_val(router->floating, floating);
	g_array_append_val(router->local, local);
	plan = plan_make(router, classes);
	plan->out_sent = out_sent;
	classes_free(classes);
	return plan;
}

static bool try_in(struct backend *backend, const struct place *place, bool out_sent, GError **error)
{
	SCOPED(plan) *plan = sample_plan(out_sent);
	SCOPED(snapshot) *empty = snapshot_new();
	SCOPED(snapshot) *found = NULL;
	g_autofree char *tag = backend_new_tag();

	if (!backend->sync(backend, place, plan, tag, empty, error))
		return false;
	found = backend->read(backend, place, error);
	if (!found)
		return false;
	if (g_strcmp0(found->generation, tag) || !found->intact || found->readings->len != plan->meters->len) {
		g_set_error(error, BACKEND_ERROR, BACKEND_ERROR_FAILED,
		            "the kernel took what we made but does not show it as it was made");
		return false;
	}
	return backend->remove(backend, place, error);
}

bool backend_probe(struct backend *backend, bool out_sent, GError **error)
{
	struct place place = { .ns_fd = netns_new(error), .ns = "(a namespace made to try it)", .alone = true };
	bool works = false;

	if (place.ns_fd < 0)
		return false;
	place.netfilter = netlink_open(place.ns_fd, NETLINK_NETFILTER, error);
	if (place.netfilter)
		works = try_in(backend, &place, out_sent, error);
	place_close(&place);
	if (!works)
		g_prefix_error(error, "back end %s does not work here: ", backend->name);
	return works;
}

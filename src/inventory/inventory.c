/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A namespace is read piece by piece while Neutron may be at work in it.  Each piece is whole or is read
 * again: dumps that the kernel calls interrupted, nft rules if the generation id moved meanwhile.  Between
 * the pieces no such promise is needed: whoever changes something makes an event, and after an event the
 * router is looked at again.
 */
#include "inventory/inventory.h"

#include "inventory/links.h"
#include "inventory/nat.h"
#include "kernel/netns.h"
#include "kernel/nftables.h"
#include "kernel/xtables.h"

#include <dirent.h>
#include <errno.h>
#include <linux/netlink.h>
#include <string.h>
#include <unistd.h>

#define ATTEMPTS 5          /* at a piece that changes under our hands */
#define WAIT_ROUNDS 5       /* for files that are no namespaces yet */
#define WAIT_US 2000
#define UUID_LEN 36

/* ---- one namespace ---- */

static void netlink_scoped(struct netlink **netlink)
{
	netlink_close(*netlink);
}
#define scoped_netlink __attribute__((cleanup(netlink_scoped))) struct netlink

SCOPED_DEFINE(links)
SCOPED_DEFINE(nat)

static bool is_interrupted(const GError *error)
{
	return g_error_matches(error, NETLINK_ERROR, NETLINK_ERROR_INTERRUPTED);
}

static struct links *read_links(int ns_fd, GError **error)
{
	scoped_netlink *netlink = netlink_open(ns_fd, NETLINK_ROUTE, error);
	struct links *links = NULL;
	GError *refusal = NULL;

	if (!netlink)
		return NULL;
	for (unsigned i = 0; i < ATTEMPTS; i++) {
		g_clear_error(&refusal);
		links = links_read(netlink, &refusal);
		if (links || !is_interrupted(refusal))
			break;
	}
	if (!links)
		g_propagate_error(error, refusal);
	else
		g_clear_error(&refusal);
	return links;
}

static bool take_nft_rule(const struct nftnl_rule *rule, void *data, GError **error)
{
	struct nat_rule decoded;

	nat_decode_nft(rule, &decoded);
	return nat_take(data, &decoded, error);
}

static struct nat *read_nft_once(struct netlink *netlink, const struct links *links, GError **error)
{
	SCOPED(nat) *nat = nat_new(links);
	uint32_t before, after;

	if (!nftables_generation(netlink, &before, error) ||
	    !nftables_each_rule(netlink, NFPROTO_IPV4, "nat", take_nft_rule, nat, error) ||
	    !nftables_generation(netlink, &after, error))
		return NULL;
	if (before == after)
		return g_steal_pointer(&nat);
	g_set_error(error, NETLINK_ERROR, NETLINK_ERROR_INTERRUPTED,
	            "nft rules changed each time they were read");
	return NULL;
}

/* A kernel without nf_tables has no rules in it. */
static struct nat *read_nft(int ns_fd, const struct links *links, GError **error)
{
	GError *refusal = NULL;
	scoped_netlink *netlink = netlink_open(ns_fd, NETLINK_NETFILTER, &refusal);
	struct nat *nat = NULL;

	for (unsigned i = 0; netlink && !nat && i < ATTEMPTS && (!i || is_interrupted(refusal)); i++) {
		g_clear_error(&refusal);
		nat = read_nft_once(netlink, links, &refusal);
	}
	if (nat)
		return nat;
	if (g_error_matches(refusal, NETLINK_ERROR, NETLINK_ERROR_UNSUPPORTED)) {
		g_error_free(refusal);
		return nat_new(links);
	}
	g_propagate_prefixed_error(error, refusal, "cannot read nft nat rules: ");
	return NULL;
}

static bool take_legacy_rule(const char *chain, const struct ipt_entry *entry, void *data, GError **error)
{
	struct nat_rule decoded;

	nat_decode_legacy(chain, entry, &decoded);
	return nat_take(data, &decoded, error);
}

static struct nat *read_legacy(int ns_fd, const struct links *links, GError **error)
{
	SCOPED(nat) *nat = nat_new(links);

	if (xtables_each_nat_rule(ns_fd, take_legacy_rule, nat, error))
		return g_steal_pointer(&nat);
	g_prefix_error(error, "cannot read legacy nat rules: ");
	return NULL;
}

/* The uuid in the name of a router namespace; NULL in any other. */
static const char *uuid_of(const char *ns)
{
	const char *uuid = g_str_has_prefix(ns, "qrouter-") ? ns + strlen("qrouter-") :
	                   g_str_has_prefix(ns, "snat-") ? ns + strlen("snat-") : NULL;

	if (!uuid || strlen(uuid) != UUID_LEN)
		return NULL;
	for (unsigned i = 0; i < UUID_LEN; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? uuid[i] != '-' : !g_ascii_isxdigit(uuid[i]) || g_ascii_isupper(uuid[i]))
			return NULL;
	}
	return uuid;
}

static void take_links(struct router *router, const struct links *links)
{
	bool dvr = links_has_role(links, DEVICE_DVR);

	router->external = dvr || links_has_role(links, DEVICE_GATEWAY);
	router->dvr = dvr && g_str_has_prefix(router->ns, "qrouter-");
	router->ha = links_has_role(links, DEVICE_HA);
	g_array_append_vals(router->local, links->local->data, links->local->len);
	g_array_append_vals(router->onlink, links->onlink->data, links->onlink->len);
}

struct router *inventory_look(int ns_fd, const char *ns, GError **error)
{
	const char *uuid = uuid_of(ns);
	SCOPED(links) *links = read_links(ns_fd, error);
	SCOPED(nat) *nft = links ? read_nft(ns_fd, links, error) : NULL;
	SCOPED(nat) *legacy = nft ? read_legacy(ns_fd, links, error) : NULL;
	struct router *router;

	if (!legacy)
		return NULL;
	router = router_new(ns, uuid ? uuid : ns);
	take_links(router, links);
	nat_merge(nft, legacy, links, router);
	return router;
}

/* ---- all of them ---- */

static void problem_free(void *data)
{
	struct inventory_problem *problem = data;

	g_free(problem->ns);
	g_free(problem->message);
	g_free(problem);
}

static void add_problem(struct inventory *inventory, const char *ns, const char *message, bool is_router)
{
	struct inventory_problem *problem = g_new0(struct inventory_problem, 1);

	problem->ns = g_strdup(ns);
	problem->message = g_strdup(message);
	problem->is_router = is_router;
	g_ptr_array_add(inventory->problems, problem);
}

static void free_router(void *router)
{
	router_free(router);
}

static struct inventory *inventory_new(void)
{
	struct inventory *inventory = g_new0(struct inventory, 1);

	inventory->routers = g_ptr_array_new_with_free_func(free_router);
	inventory->problems = g_ptr_array_new_with_free_func(problem_free);
	return inventory;
}

void inventory_free(struct inventory *inventory)
{
	if (!inventory)
		return;
	g_ptr_array_unref(inventory->routers);
	g_ptr_array_unref(inventory->problems);
	g_free(inventory);
}
SCOPED_DEFINE(inventory)

/* Looks at one entry.  False if it is no namespace yet and can wait. */
static bool look_at(struct inventory *inventory, const char *directory, const char *ns, bool can_wait)
{
	g_autoptr(GError) error = NULL;
	int ns_fd = netns_open(directory, ns, &error);
	struct router *router = ns_fd >= 0 ? inventory_look(ns_fd, ns, &error) : NULL;

	if (ns_fd >= 0)
		close(ns_fd);
	if (router)
		g_ptr_array_add(inventory->routers, router);
	else if (can_wait && g_error_matches(error, NETNS_ERROR, NETNS_ERROR_NOT_YET))
		return false;
	else if (!g_error_matches(error, NETNS_ERROR, NETNS_ERROR_GONE))
		add_problem(inventory, ns, error->message, true);
	return true;
}

/* Looks at all names that can be looked at, and keeps those that have to wait. */
static void look_at_all(struct inventory *inventory, const char *directory, GPtrArray *names, bool can_wait)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < names->len; i++) {
		char *name = names->pdata[i];

		if (look_at(inventory, directory, name, can_wait))
			g_free(name);
		else
			names->pdata[kept++] = name;
	}
	names->len = kept;
}

static void take_name(struct inventory *inventory, const char *name, GPtrArray *names)
{
	if (uuid_of(name))
		g_ptr_array_add(names, g_strdup(name));
	else if (g_str_has_prefix(name, "qrouter-") || g_str_has_prefix(name, "snat-"))
		add_problem(inventory, name,
		            "named like a router, but without a uuid (not one of Neutron's?)", false);
}

/* The names of router namespaces; NULL if the directory cannot be read. */
static GPtrArray *list_names(struct inventory *inventory, const char *directory, GError **error)
{
	DIR *dir = opendir(directory);
	GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
	struct dirent *entry;
	int number = errno;

	if (!dir && number == ENOENT)
		return names;
	if (dir) {
		while ((errno = 0, entry = readdir(dir)))
			take_name(inventory, entry->d_name, names);
		number = errno;
		closedir(dir);
		if (!number)
			return names;
	}
	g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(number),
	            "cannot read the netns directory %s: %s", directory, g_strerror(number));
	g_ptr_array_unref(names);
	return NULL;
}

static int compare_routers(const void *a, const void *b)
{
	const struct router *const *left = a, *const *right = b;

	return strcmp((*left)->ns, (*right)->ns);
}

struct inventory *inventory_scan(const char *directory, GError **error)
{
	SCOPED(inventory) *inventory = inventory_new();
	g_autoptr(GPtrArray) names = list_names(inventory, directory, error);

	if (!names)
		return NULL;
	for (unsigned round = 0; round <= WAIT_ROUNDS && names->len; round++) {
		if (round)
			g_usleep(WAIT_US);
		look_at_all(inventory, directory, names, round < WAIT_ROUNDS);
	}
	g_ptr_array_sort(inventory->routers, compare_routers);
	return g_steal_pointer(&inventory);
}

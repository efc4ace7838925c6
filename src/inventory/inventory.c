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
#include "kernel/nftables.h"
#include "kernel/xtables.h"

#include <dirent.h>
#include <errno.h>
#include <linux/netlink.h>
#include <string.h>

#define ATTEMPTS 6          /* at a piece that changes under our hands */
#define PAUSE_US 500        /* before the second one, then twice as long each time: whoever changes it comes to an end */
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
static struct nat *read_nft(struct netlink *netlink, const struct links *links, GError **error)
{
	GError *refusal = NULL;
	struct nat *nat = NULL;

	for (unsigned i = 0; !nat && i < ATTEMPTS && (!i || is_interrupted(refusal)); i++) {
		if (i)
			g_usleep(PAUSE_US << i);
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

	if (xtables_each_rule(ns_fd, "nat", take_legacy_rule, nat, error))
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

bool inventory_is_router(const char *ns)
{
	return uuid_of(ns);
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

struct router *inventory_look(int ns_fd, struct netlink *netfilter, const char *ns, enum flavour ruling, GError **error)
{
	const char *uuid = uuid_of(ns);
	SCOPED(links) *links = read_links(ns_fd, error);
	SCOPED(nat) *nft = links ? read_nft(netfilter, links, error) : NULL;
	SCOPED(nat) *legacy = nft ? read_legacy(ns_fd, links, error) : NULL;
	struct router *router;

	if (!legacy)
		return NULL;
	router = router_new(ns, uuid ? uuid : ns);
	take_links(router, links);
	nat_merge(nft, legacy, links, ruling, router);
	return router;
}

/* ---- all of them ---- */

static void take_name(const char *name, GPtrArray *names, GPtrArray *strangers)
{
	if (uuid_of(name))
		g_ptr_array_add(names, g_strdup(name));
	else if (g_str_has_prefix(name, "qrouter-") || g_str_has_prefix(name, "snat-"))
		g_ptr_array_add(strangers, g_strdup(name));
}

GPtrArray *inventory_names(const char *directory, GPtrArray *strangers, GError **error)
{
	DIR *dir = opendir(directory);
	GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
	struct dirent *entry;
	int number = errno;

	if (!dir && number == ENOENT)
		return names;
	if (dir) {
		while ((errno = 0, entry = readdir(dir)))
			take_name(entry->d_name, names, strangers);
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

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The configuration, an INI file as OpenStack's own:
 *
 *   [agent]    interval = 60           seconds between samples, 1 to 3600
 *              netns_dir = /run/netns  where the network namespaces are
 *              backend = auto          auto, nft, iptables or ebpf
 *              ebpf_place = auto       by what ebpf is called: auto, link or rule (docs/ebpf.md)
 *              out_point = ingress     where `out` counts: where it came in (ingress), or where it is sent (egress; ebpf only)
 *              node = NAME             label of this node in the records; by default the host name
 *              xtables_lock = PATH     the lock file that Neutron's l3-agent sees; by default found by itself
 *   [store]    path = /var/lib/fipmeter
 *              timezone = UTC          where days begin; settled by the first start
 *              keep_minutes = 35       days for which the rows themselves are kept
 *              keep_hours = 400        days for which sums of hours are kept; sums of days are for ever
 *              quota = 0               bytes (or 500M, 2G) of the database; beyond it rows, then hours, go before their
 *                                      time; 0: none
 *   [backends] iptables = ROUTER, …    routers (their ids) that another back end is to count in than `backend` says:
 *              nft = ROUTER, …         nft or iptables
 *   [classes]  NAME = PREFIX, PREFIX   see core/classes.h
 *
 * Whatever is unknown, written twice or does not parse is refused: a typing error must not change a bill in
 * silence.
 */
#ifndef FIPMETER_CORE_CONFIG_H
#define FIPMETER_CORE_CONFIG_H

#include "core/classes.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define CONFIG_PATH "/etc/fipmeter/fipmeter.conf"
#define CONFIG_INTERVAL_MIN 1 /* seconds */
#define CONFIG_INTERVAL_MAX 3600
#define CONFIG_KEEP_MAX 36500 /* days */
#define CONFIG_NODE_MAX 255   /* bytes, as a name in the DNS */

struct config {
	int interval_s;
	char *netns_dir;
	char *backend;         /* "auto", "nft", "iptables" or "ebpf" */
	char *ebpf_place;      /* "auto", "link" or "rule" */
	bool out_sent;         /* [agent] out_point is egress: for the routers of back ends that can */
	char *node;            /* NULL: the host name */
	char *xtables_lock;    /* NULL: to be found */
	char *state_dir;
	GTimeZone *timezone;
	int keep_rows_days, keep_hours_days;
	uint64_t quota;        /* bytes; 0: none */
	struct classes *classes;
	GHashTable *router_backends; /* router's id, in lower case -> "nft" or "iptables" */
};

/* The defaults. */
struct config *config_new(void);
void config_free(struct config *config); /* takes NULL */

/* What the command line says takes the place of a text; NULL leaves it. */
void config_override(char **setting, const char *option);

/* Parses a text of that length, with a NUL behind it; file is its name for messages, which have one line and name
 * file, section, key and what would be right.  NULL on failure. */
struct config *config_parse(const char *text, size_t length, const char *file, GError **error);

/* What would be right for [agent] node (a text in UTF-8) and [agent] backend; NULL: the value does. */
const char *config_judge_node(const char *value);
const char *config_judge_backend(const char *value);

SCOPED_DEFINE(config)

#endif

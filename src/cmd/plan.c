/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fipmeter plan: what is there, what would be counted, and what of it stands already.  Changes nothing.
 */
#include "cmd/cycle.h"
#include "cmd/look.h"

#include "cmd/output.h"
#include "core/plan.h"
#include "core/prefix.h"
#include "kernel/capability.h"

#include <jansson.h>
#include <stdio.h>

/* ---- for people ---- */

static char *join_prefixes(const GArray *prefixes)
{
	GString *text = g_string_new(NULL);

	for (unsigned i = 0; i < prefixes->len; i++) {
		g_autofree char *prefix = prefix_to_string(&g_array_index(prefixes, struct prefix, i));

		g_string_append_printf(text, "%s%s", i ? ", " : "", prefix);
	}
	if (!text->len)
		g_string_append(text, "none");
	return g_string_free(text, FALSE);
}

static unsigned missing_meters(const struct site *site)
{
	unsigned missing = 0;

	for (unsigned i = 0; i < site->plan->meters->len; i++)
		missing += !snapshot_find(site->found, &g_array_index(site->plan->meters, struct planned_meter, i).key);
	return missing;
}

static void print_site(const struct site *site)
{
	const struct router *router = site->router;
	g_autofree char *gateway = address_to_string(router->gateway);
	g_autofree char *local = join_prefixes(site->plan->local), *onlink = join_prefixes(router->onlink);
	unsigned missing = missing_meters(site);

	printf("%s\n  rules          %s%s%s\n", router->ns, flavour_name(router->flavour),
	       router->dvr ? ", DVR" : "", site->plan->standby ? ", standby" : "");
	printf("  gateway        %s%s\n", *gateway ? gateway : router->external ? "no SNAT rule" : "no external device",
	       *gateway && !router->gateway_served ? " (address not here)" : "");
	for (unsigned i = 0; i < router->floating->len; i++) {
		const struct floating *floating = &g_array_index(router->floating, struct floating, i);
		g_autofree char *address = address_to_string(floating->address);
		g_autofree char *fixed = address_to_string(floating->fixed);

		printf("  floating IP    %s -> %s%s\n", address, fixed, floating->served ? "" : " (address not here)");
	}
	printf("  local          %s\n  on-link        %s\n", local, onlink);
	printf("  meters         %u (%u to be created), %s\n\n", site->plan->meters->len, missing,
	       !site->found->intact ? "what stands there is broken and would be made anew" :
	       cycle_has_turned(site) ? "counters of ours stand, and would be made anew for out_point" :
	       site->found->generation ? "counters of ours stand" : "nothing of ours there");
}

/* ---- for machines ---- */

static json_t *address_json(uint32_t address)
{
	g_autofree char *text = address_to_string(address);

	return json_string(text);
}

static json_t *prefixes_json(const GArray *prefixes)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < prefixes->len; i++) {
		g_autofree char *text = prefix_to_string(&g_array_index(prefixes, struct prefix, i));

		json_array_append_new(list, json_string(text));
	}
	return list;
}

static json_t *floating_json(const GArray *floating)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < floating->len; i++) {
		const struct floating *each = &g_array_index(floating, struct floating, i);

		json_array_append_new(list, json_pack("{s:o, s:o, s:b}", "address", address_json(each->address),
		                                      "fixed", address_json(each->fixed), "served", each->served));
	}
	return list;
}

/* The bounds of a range: 0 is an address here. */
static json_t *bound_json(uint32_t address)
{
	return address ? address_json(address) : json_string("0.0.0.0");
}

static json_t *classes_json(const GArray *ranges)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < ranges->len; i++) {
		const struct class_range *range = &g_array_index(ranges, struct class_range, i);

		json_array_append_new(list, json_pack("{s:o, s:o, s:s}", "first", bound_json(range->first), "last",
		                                      bound_json(range->last), "class", range->class_name));
	}
	return list;
}

static json_t *meters_json(const struct site *site)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < site->plan->meters->len; i++) {
		const struct planned_meter *meter = &g_array_index(site->plan->meters, struct planned_meter, i);
		g_autofree char *in = plan_counter_name(&meter->key, false), *out = plan_counter_name(&meter->key, true);

		json_array_append_new(list, json_pack("{s:s, s:o, s:o, s:s, s:s, s:s, s:b}",
			"kind", kind_name(meter->key.kind), "address", address_json(meter->key.address),
			"fixed", address_json(meter->fixed), "class", meter->key.class_name,
			"counter_in", in, "counter_out", out,
			"exists", snapshot_find(site->found, &meter->key) != NULL));
	}
	return list;
}

static json_t *site_json(const struct node *node, const struct site *site)
{
	const struct router *router = site->router;
	g_autofree char *name = g_utf8_make_valid(node->name, -1);

	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:b, s:b, s:o, s:o, s:o, s:o, s:o, s:o}",
		"node", name, "router", router->name, "namespace", router->ns,
		"flavour", flavour_name(router->flavour), "backend", site->backend->name,
		"external", router->external, "dvr", router->dvr, "standby", site->plan->standby,
		"gateway", address_json(router->gateway), "floating", floating_json(router->floating),
		"local", prefixes_json(site->plan->local), "onlink", prefixes_json(router->onlink),
		"classes", classes_json(site->plan->ranges), "meters", meters_json(site));
}

static void print_json(const struct node *node)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < node->turn->len; i++) {
		const struct site *site = node->turn->pdata[i];

		if (!site->failed)
			json_array_append_new(list, site_json(node, site));
	}
	json_dumpf(list, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII); /* a terminal obeys some characters beyond ASCII */
	putchar('\n');
	json_decref(list);
}

static void print_people(const struct node *node)
{
	g_autofree char *directory = cmd_printable(node->config->netns_dir);

	for (unsigned i = 0; i < node->turn->len; i++)
		if (!((struct site *)node->turn->pdata[i])->failed)
			print_site(node->turn->pdata[i]);
	printf("%u router%s in %s\n", node->turn->len, node->turn->len == 1 ? "" : "s", directory);
}

static int check_options(const struct node_options *options, const char *format)
{
	if (format && !g_str_equal(format, "table") && !g_str_equal(format, "json"))
		return cmd_misuse("plan", "-o %s is not known (right: table or json)", format);
	return node_check_options("plan", options);
}

int cmd_plan(int argc, char **argv)
{
	struct node_options options = { 0 };
	struct node node;
	g_autofree char *format = NULL;
	const GOptionEntry entries[] = {
		NODE_OPTIONS(&options),
		{ "output", 'o', 0, G_OPTION_ARG_STRING, &format, "table or json (table)", "FORMAT" },
		{ NULL },
	};
	g_autoptr(GError) error = NULL;
	int status;

	if (!cmd_parse("plan", "Shows the routers of this node and what would be counted. Changes nothing.",
	               "  fipmeter plan\n"
	               "  fipmeter plan -o json | jq '.[].floating'\n"
	               "Exit status: 0 done; 1 failed; 2 wrong usage; 4 a router could not be looked at.",
	               entries, &argc, &argv, &status) || (status = check_options(&options, format)) != EXIT_DONE) {
		node_options_clear(&options);
		return status;
	}
	if (!node_open(&node, &options, &error) || !capability_check_looking(&error) || !look(&node, LOOK_ALL, &error)) {
		status = cmd_fail("plan", error);
	} else {
		cycle_read(&node);
		if (format && g_str_equal(format, "json"))
			print_json(&node);
		else
			print_people(&node);
		status = cmd_finish_output("plan");
		if (status == EXIT_DONE && node.unmetered)
			status = EXIT_PARTIAL;
	}
	node_close(&node);
	node_options_clear(&options);
	return status;
}

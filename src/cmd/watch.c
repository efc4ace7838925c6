/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fipmeter watch: what each address does at this moment, second by second, out of the kernel's counters themselves.  This
 * file has the command and what is no screen: a table a second for people, a line of JSON a second for machines.
 */
#include "cmd/watch.h"

#include "cmd/cmd.h"
#include "cmd/output.h"
#include "core/classes.h"
#include "core/period.h"
#include "kernel/capability.h"
#include "kernel/clock.h"

#include <jansson.h>
#include <stdio.h>
#include <unistd.h>

#define COMMAND "watch"
#define COUNT_MAX 1000000 /* seconds: eleven days */

struct options {
	char *sort, *filter, *class_name, *count, *output, *netns_dir, *config;
	gboolean plain;
};

/* ---- what both ways to show it share ---- */

bool watch_turn(struct watch *watch, GError **error)
{
	return watch_read(watch->reader, watch->rates, &watch->found, error);
}

int64_t watch_wait_us(int64_t boot_us)
{
	return CLAMP(boot_us + WATCH_TURN_US - clock_now().boot_us, 0, WATCH_HOLD_US);
}

char *watch_name(const struct rate *rate)
{
	return rate->address ? address_to_string(rate->address) : g_strdup(kind_name(rate->kind));
}

/* ---- a table a second ---- */

static const struct output_column columns[] = {
	{ "address", "ADDRESS", OUTPUT_TEXT }, { "router", "ROUTER", OUTPUT_TEXT, .shorten = 8 },
	{ "in", "IN/S", OUTPUT_BYTES }, { "out", "OUT/S", OUTPUT_BYTES },
	{ "in_packets", "IN-PKTS/S", OUTPUT_COUNT, .leave_out = 1 }, { "out_packets", "OUT-PKTS/S", OUTPUT_COUNT, .leave_out = 1 },
};

static void put_rate(struct output *output, const struct rate *rate, const char *class_name)
{
	g_autofree char *name = watch_name(rate);
	struct counts moved = rate_moved(rate, class_name);
	const union output_cell cells[] = {
		{ .text = name }, { .text = rate->router }, { .number = rate_per_second(rate, moved.in_bytes) },
		{ .number = rate_per_second(rate, moved.out_bytes) }, { .number = rate_per_second(rate, moved.in_packets) },
		{ .number = rate_per_second(rate, moved.out_packets) },
	};

	output_row(output, cells);
}

static void print_table(const struct watch *watch)
{
	const struct output_column *shown[G_N_ELEMENTS(columns)];
	g_autoptr(GTimeZone) local = g_time_zone_new_local();
	struct output_style style = { .width = output_terminal_width(stdout), .timezone = local };
	g_autoptr(GPtrArray) list = rates_list(watch->rates, &watch->view);
	g_autofree char *at = time_format(watch->found.at.utc_us, local);
	struct output *output;

	for (unsigned i = 0; i < G_N_ELEMENTS(columns); i++)
		shown[i] = &columns[i];
	style.exact = !style.width;
	output = output_new(output_format_find("table"), stdout, shown, G_N_ELEMENTS(columns), &style);
	output_caption(output, "%s, %u of %u addresses have traffic, %u of %u routers have counters", at, list->len,
	               rates_count(watch->rates), watch->found.counting, watch->found.routers);
	for (unsigned i = 0; i < list->len; i++)
		put_rate(output, list->pdata[i], watch->view.class_name);
	output_note(output, "%s", "");
	output_finish(output);
}

/* ---- a line of JSON a second ---- */

static void add_counts(json_t *object, const struct counts *counts)
{
	json_object_set_new(object, "in_bytes", json_integer((json_int_t)counts->in_bytes));
	json_object_set_new(object, "in_packets", json_integer((json_int_t)counts->in_packets));
	json_object_set_new(object, "out_bytes", json_integer((json_int_t)counts->out_bytes));
	json_object_set_new(object, "out_packets", json_integer((json_int_t)counts->out_packets));
}

static json_t *rate_json(const struct rate *rate)
{
	g_autofree char *address = address_to_string(rate->address), *router = g_utf8_make_valid(rate->router, -1);
	json_t *told = json_pack("{s:s, s:s, s:s, s:I}", "router", router, "kind", kind_name(rate->kind), "address", address,
	                         "interval_us", (json_int_t)rate->took_us);
	json_t *classes = json_array();

	add_counts(told, &rate->moved);
	for (unsigned i = 0; i < rate->classes->len; i++) {
		const struct rate_class *each = &g_array_index(rate->classes, struct rate_class, i);
		json_t *class = json_pack("{s:s}", "class", each->name);

		add_counts(class, &each->moved);
		json_array_append_new(classes, class);
	}
	json_object_set_new(told, "classes", classes);
	return told;
}

static void print_json(const struct watch *watch)
{
	g_autoptr(GPtrArray) list = rates_list(watch->rates, &watch->view);
	g_autoptr(GTimeZone) utc = g_time_zone_new_utc();
	g_autofree char *at = time_format(watch->found.at.utc_us, utc);
	json_t *addresses = json_array(), *told;

	for (unsigned i = 0; i < list->len; i++)
		json_array_append_new(addresses, rate_json(list->pdata[i]));
	told = json_pack("{s:s, s:i, s:i, s:i, s:i, s:o}", "at", at, "routers", (int)watch->found.routers, "counting",
	                 (int)watch->found.counting, "failed", (int)watch->found.failed, "known", (int)rates_count(watch->rates),
	                 "addresses", addresses);
	json_dumpf(told, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
	putchar('\n');
	json_decref(told);
}

/* ---- turns without a screen ---- */

static int tell_failures(const struct watch *watch)
{
	if (!watch->found.failed)
		return EXIT_DONE;
	cmd_say(COMMAND, "%u of %u routers cannot be read: %s", watch->found.failed, watch->found.routers, watch->found.failure);
	return EXIT_PARTIAL;
}

static void rest(const struct watch *watch, int64_t began_us)
{
	int64_t wait_us;

	while ((wait_us = watch_wait_us(began_us))) {
		g_usleep((gulong)wait_us);
		watch_let_go(watch->reader, watch->rates);
	}
}

/* The first reading is what the second one counts from. */
static int watch_plainly(struct watch *watch, void (*print)(const struct watch *watch))
{
	int status = EXIT_DONE, output = EXIT_DONE;

	for (unsigned turn = 0; !watch->turns || turn <= watch->turns; turn++) {
		g_autoptr(GError) error = NULL;
		int64_t began_us = clock_now().boot_us;

		if (!watch_turn(watch, &error))
			return cmd_fail(COMMAND, error);
		if (turn)
			print(watch);
		output = cmd_finish_output(COMMAND);
		if (output != EXIT_DONE)
			return output;
		status = watch->turns && turn == watch->turns ? tell_failures(watch) : EXIT_DONE;
		if (!watch->turns || turn < watch->turns)
			rest(watch, began_us);
	}
	return status;
}

static int show(struct watch *watch, const struct options *options)
{
	g_autoptr(GError) error = NULL;
	bool json = options->output && g_str_equal(options->output, "json");

	if (json || options->plain || !isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO))
		return watch_plainly(watch, json ? print_json : print_table);
	if (!watch_screen(watch, &error))
		return cmd_fail(COMMAND, error);
	return EXIT_DONE;
}

/* ---- the command ---- */

static int run(struct watch *watch, const struct options *options)
{
	g_autoptr(GError) error = NULL;
	SCOPED(config) *config = cmd_load_config(options->config, &error);
	int status;

	if (!config || !capability_check_looking(&error))
		return cmd_fail(COMMAND, error);
	config_override(&config->netns_dir, options->netns_dir);
	watch->netns_dir = config->netns_dir;
	watch->reader = watch_reader_new(config);
	watch->rates = rates_new();
	status = show(watch, options);
	rates_free(watch->rates);
	watch_reader_free(watch->reader);
	watch_found_clear(&watch->found);
	return status;
}

static int ask(const struct options *options)
{
	struct watch watch = { .view = { .filter = options->filter, .busy = true } };
	guint64 count = 0;

	if (options->output && !g_str_equal(options->output, "table") && !g_str_equal(options->output, "json"))
		return cmd_misuse(COMMAND, "-o %s is not known (right: table or json)", options->output);
	if (options->sort && !rates_sort_from_name(options->sort, &watch.view.sort))
		return cmd_misuse(COMMAND, "--sort %s is not known (right: total, in, out, packets, address or router)",
		                  options->sort);
	if (options->class_name && !class_name_is_valid(options->class_name))
		return cmd_misuse(COMMAND, "--class %s is no class name (right: internet, cloud, free, or one of yours)",
		                  options->class_name);
	if (options->count && !g_ascii_string_to_unsigned(options->count, 10, 1, COUNT_MAX, &count, NULL))
		return cmd_misuse(COMMAND, "--count '%s' does not do (right: whole seconds from 1 to %d)", options->count, COUNT_MAX);
	watch.turns = (unsigned)count;
	watch.view.class_name = options->class_name ? g_intern_string(options->class_name) : NULL;
	return run(&watch, options);
}

static void options_clear(struct options *options)
{
	g_free(options->sort);
	g_free(options->filter);
	g_free(options->class_name);
	g_free(options->count);
	g_free(options->output);
	g_free(options->netns_dir);
	g_free(options->config);
}

int cmd_watch(int argc, char **argv)
{
	struct options options = { 0 };
	const GOptionEntry entries[] = {
		{ "sort", 0, 0, G_OPTION_ARG_STRING, &options.sort, "total, in, out, packets, address, router (total)", "KEY" },
		{ "class", 0, 0, G_OPTION_ARG_STRING, &options.class_name, "This class of remote addresses alone", "CLASS" },
		{ "filter", 0, 0, G_OPTION_ARG_STRING, &options.filter, "Addresses and routers that have it in them", "TEXT" },
		{ "plain", 0, 0, G_OPTION_ARG_NONE, &options.plain, "A table each second, on a terminal too", NULL },
		{ "count", 0, 0, G_OPTION_ARG_STRING, &options.count, "So many seconds, 1 to 1000000, then the end (for ever)", "N" },
		{ "output", 'o', 0, G_OPTION_ARG_STRING, &options.output, "table or json (table)", "FORMAT" },
		{ "netns-dir", 0, 0, G_OPTION_ARG_FILENAME, &options.netns_dir, "Where the network namespaces are", "DIR" },
		{ "config", 'c', 0, G_OPTION_ARG_FILENAME, &options.config, "Configuration (" CONFIG_PATH ")", "FILE" },
		{ NULL },
	};
	int status;

	if (cmd_parse(COMMAND, "Shows what each address does at this moment, second by second, out of the\n"
	              "kernel's counters. No agent need run; nothing is changed, kept or billed.",
	              "  fipmeter watch                            on a terminal; ? shows the keys\n"
	              "  fipmeter watch --filter 198.51.100. --sort out\n"
	              "  fipmeter watch --plain --count 1 | head   who uses most, now\n"
	              "  fipmeter watch -o json | jq -c '.addresses[0]'\n"
	              "Exit status: 0 done; 1 failed; 2 wrong usage; 4 a router could not be read.",
	              entries, &argc, &argv, &status))
		status = ask(&options);
	options_clear(&options);
	return status;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fipmeter usage: the sums of a time, by address, router, class, project or node; or the rows themselves.
 *
 * Times without a zone are read in the local one, and tables show local times; days and months are those of
 * the store's time zone.
 */
#include "cmd/cmd.h"
#include "cmd/output.h"
#include "cmd/progress.h"
#include "core/report.h"
#include "store/query.h"
#include "store/store.h"

#include <string.h>

#define COMMAND "usage"

/* ---- the question ---- */

struct options {
	char *since, *until, *per, *by, *address, *router, *class_name, *state_dir, *config, *output;
	gboolean exact;
};

struct question {
	const struct output_format *format;
	enum report_by by;
	enum period per;
	struct usage_filter filter;
	GTimeZone *local;
	bool exact;
};

static bool by_from_name(const char *name, enum report_by *by)
{
	static const char *const names[] = {
		[REPORT_BY_ADDRESS] = "address", [REPORT_BY_ROUTER] = "router", [REPORT_BY_CLASS] = "class",
		[REPORT_BY_PROJECT] = "project", [REPORT_BY_NODE] = "node",
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++)
		if (g_str_equal(name, names[i])) {
			*by = (enum report_by)i;
			return true;
		}
	return false;
}

/* Each of these returns EXIT_DONE, or EXIT_USAGE after saying why. */

static int ask_time(const struct options *options, struct question *question)
{
	const char *since = options->since ? options->since : "today";
	const char *until = options->until ? options->until : "now";
	int64_t now_us = g_get_real_time();
	g_autoptr(GError) error = NULL;

	if (!time_parse(since, now_us, question->local, &question->filter.since_us, &error))
		return cmd_misuse(COMMAND, "--since: %s", error->message);
	if (!time_parse(until, now_us, question->local, &question->filter.until_us, &error))
		return cmd_misuse(COMMAND, "--until: %s", error->message);
	if (question->filter.since_us > question->filter.until_us)
		return cmd_misuse(COMMAND, "--since %s is later than --until %s (right: an earlier --since)",
		                  since, until);
	return EXIT_DONE;
}

static int ask_shape(const struct options *options, struct question *question)
{
	question->format = output_format_find(options->output ? options->output : "table");
	if (!question->format)
		return cmd_misuse(COMMAND, "-o %s is not known (right: table, json, csv or markdown)", options->output);
	question->per = PERIOD_TOTAL;
	if (options->per && !period_from_name(options->per, &question->per))
		return cmd_misuse(COMMAND,
		                  "--per %s is not known (right: interval, minute, hour, day, month or total)",
		                  options->per);
	question->by = REPORT_BY_ADDRESS;
	if (options->by && !by_from_name(options->by, &question->by))
		return cmd_misuse(COMMAND, "--by %s is not known (right: address, router, class, project or node)",
		                  options->by);
	return EXIT_DONE;
}

static int ask_filter(const struct options *options, struct question *question)
{
	struct usage_filter *filter = &question->filter;

	if (options->address && (!address_from_string(options->address, &filter->address) || !filter->address))
		return cmd_misuse(COMMAND, "--address %s is no IPv4 address (right: 192.0.2.1)", options->address);
	if (options->class_name && !class_name_is_valid(options->class_name))
		return cmd_misuse(COMMAND,
		                  "--class %s is no class name (right: internet, cloud, free, or one of yours)",
		                  options->class_name);
	filter->per = question->per;
	filter->router = options->router;
	filter->class_name = options->class_name;
	return EXIT_DONE;
}

/* ---- the answer ---- */

enum field {
	FIELD_NODE, FIELD_ROUTER, FIELD_KIND, FIELD_ADDRESS, FIELD_FIXED, FIELD_CLASS, FIELD_START, FIELD_END,
	FIELD_IN_BYTES, FIELD_IN_PACKETS, FIELD_OUT_BYTES, FIELD_OUT_PACKETS, FIELD_BASIS, FIELD_FLAGS,
	FIELDS_OF_MACHINES, /* all above, in this order: their names are a contract */
	FIELD_PROJECT = FIELDS_OF_MACHINES,
	N_FIELDS,
};

static const struct output_column columns[N_FIELDS] = {
	[FIELD_NODE] = { "node", "NODE", OUTPUT_TEXT, 30, 0 },
	[FIELD_ROUTER] = { "router", "ROUTER", OUTPUT_TEXT, 8, 1 },
	[FIELD_KIND] = { "kind", "KIND", OUTPUT_TEXT, 8, 2 },
	[FIELD_ADDRESS] = { "address", "ADDRESS", OUTPUT_TEXT, 0, 0 },
	[FIELD_FIXED] = { "fixed", "FIXED", OUTPUT_TEXT, 0, 5 },
	[FIELD_CLASS] = { "class", "CLASS", OUTPUT_TEXT, 0, 0 },
	[FIELD_START] = { "start", "START", OUTPUT_TIME, 0, 0 },
	[FIELD_END] = { "end", "END", OUTPUT_TIME, 0, 6 },
	[FIELD_IN_BYTES] = { "in_bytes", "IN", OUTPUT_BYTES, 0, 0 },
	[FIELD_IN_PACKETS] = { "in_packets", "IN-PKTS", OUTPUT_COUNT, 0, 3 },
	[FIELD_OUT_BYTES] = { "out_bytes", "OUT", OUTPUT_BYTES, 0, 0 },
	[FIELD_OUT_PACKETS] = { "out_packets", "OUT-PKTS", OUTPUT_COUNT, 0, 3 },
	[FIELD_BASIS] = { "basis", "BASIS", OUTPUT_TEXT, 0, 0 },
	[FIELD_FLAGS] = { "flags", "FLAGS", OUTPUT_WORDS, 0, 0 },
	[FIELD_PROJECT] = { "project", "PROJECT", OUTPUT_TEXT, 0, 0 },
};

/* Which fields are shown, in their order. */
struct layout {
	unsigned n;
	enum field fields[N_FIELDS];
	const struct output_column *columns[N_FIELDS];
};

static void lay_out(struct layout *layout, enum field field)
{
	layout->fields[layout->n] = field;
	layout->columns[layout->n++] = &columns[field];
}

static void lay_out_key(struct layout *layout, const struct question *question)
{
	if (question->per != PERIOD_TOTAL)
		lay_out(layout, FIELD_START);
	if (question->per == PERIOD_INTERVAL) {
		lay_out(layout, FIELD_END);
		lay_out(layout, FIELD_ADDRESS);
		lay_out(layout, FIELD_FIXED);
		lay_out(layout, FIELD_KIND);
		lay_out(layout, FIELD_CLASS);
		lay_out(layout, FIELD_ROUTER);
		return;
	}
	switch (question->by) {
	case REPORT_BY_ADDRESS:
		lay_out(layout, FIELD_ADDRESS);
		lay_out(layout, FIELD_KIND);
		lay_out(layout, FIELD_ROUTER);
		break;
	case REPORT_BY_ROUTER:
		lay_out(layout, FIELD_ROUTER);
		break;
	case REPORT_BY_CLASS:
		lay_out(layout, FIELD_CLASS);
		break;
	case REPORT_BY_PROJECT:
		lay_out(layout, FIELD_PROJECT);
		break;
	case REPORT_BY_NODE:
		lay_out(layout, FIELD_NODE);
		break;
	}
}

static struct layout layout_for(const struct question *question)
{
	struct layout layout = { .n = 0 };

	if (!output_format_is_for_people(question->format)) {
		for (unsigned i = 0; i < FIELDS_OF_MACHINES; i++)
			lay_out(&layout, (enum field)i);
		return layout;
	}
	lay_out_key(&layout, question);
	lay_out(&layout, FIELD_IN_BYTES);
	lay_out(&layout, FIELD_OUT_BYTES);
	lay_out(&layout, FIELD_IN_PACKETS);
	lay_out(&layout, FIELD_OUT_PACKETS);
	lay_out(&layout, FIELD_FLAGS);
	return layout;
}

static char *flags_to_string(unsigned flags)
{
	GString *words = g_string_new(NULL);

	for (unsigned flag = 1; flag < FLAG_ALL; flag <<= 1)
		if (flags & flag)
			g_string_append_printf(words, "%s%s", words->len ? " " : "", flag_name((enum flag)flag));
	return g_string_free(words, FALSE);
}

static void put(struct output *output, const struct layout *layout, const struct report_line *line,
                void (*function)(struct output *output, const union output_cell *cells))
{
	g_autofree char *address = address_to_string(line->address), *fixed = address_to_string(line->fixed);
	g_autofree char *flags = flags_to_string(line->flags);
	const union output_cell all[N_FIELDS] = {
		[FIELD_NODE].text = line->node, [FIELD_ROUTER].text = line->router,
		[FIELD_KIND].text = line->kind < 0 ? "" : kind_name((enum kind)line->kind),
		[FIELD_ADDRESS].text = address, [FIELD_FIXED].text = fixed, [FIELD_CLASS].text = line->class_name,
		[FIELD_START].time_us = line->start_us, [FIELD_END].time_us = line->end_us,
		[FIELD_IN_BYTES].number = line->counts.in_bytes,
		[FIELD_IN_PACKETS].number = line->counts.in_packets,
		[FIELD_OUT_BYTES].number = line->counts.out_bytes,
		[FIELD_OUT_PACKETS].number = line->counts.out_packets,
		[FIELD_BASIS].text = line->basis < 0 ? "mixed" : basis_name((enum basis)line->basis),
		[FIELD_FLAGS].text = flags, [FIELD_PROJECT].text = "",
	};
	union output_cell cells[N_FIELDS];

	for (unsigned i = 0; i < layout->n; i++)
		cells[i] = all[layout->fields[i]];
	function(output, cells);
}

static void put_caption(struct output *output, const struct question *question)
{
	const struct usage_filter *filter = &question->filter;
	g_autofree char *since = time_format(filter->since_us - filter->since_us % G_USEC_PER_SEC, question->local);
	g_autofree char *until = time_format(filter->until_us - filter->until_us % G_USEC_PER_SEC, question->local);

	output_caption(output, "%s to %s, %s", since, until, question->exact ? "bytes" : "1 kB = 1000 bytes");
}

/* What was asked for more finely than it is kept. */
static void put_levels(struct output *output, const struct question *question, const struct kept *kept)
{
	g_autofree char *rows = time_format(kept->rows_from_us, question->local);
	g_autofree char *hours = time_format(kept->hours_from_us, question->local);

	if (question->per <= PERIOD_MINUTE && question->filter.since_us < kept->rows_from_us)
		output_note(output, "Single rows are kept since %s; before that the lines are hours.", rows);
	if (question->per <= PERIOD_HOUR && question->filter.since_us < kept->hours_from_us)
		output_note(output, "Hours are kept since %s; before that the lines are days.", hours);
}

static void put_notes(struct output *output, const struct question *question, const struct kept *kept, uint64_t crossing)
{
	put_levels(output, question, kept);
	if (question->by == REPORT_BY_PROJECT && question->per != PERIOD_INTERVAL)
		output_note(output, "Owners are not known here: all usage stands under no project.");
	if (crossing == 1)
		output_note(output, "1 row reaches past the end of its period; it is counted whole where it starts.");
	else if (crossing)
		output_note(output, "%" G_GUINT64_FORMAT " rows reach past the end of their period; "
		            "they are counted whole where they start.", crossing);
}

static int answer(const struct question *question, const struct kept *kept, struct report *report)
{
	const GArray *lines = report_lines(report);
	struct layout layout = layout_for(question);
	unsigned width = output_terminal_width(stdout);
	struct output_style style = {
		.width = width, .exact = question->exact || !width, .timezone = question->local,
	};
	struct output *output;
	struct report_line total = { .node = "", .router = "", .class_name = "", .kind = -1 };

	if (!lines->len && output_format_is_for_people(question->format)) {
		cmd_say(COMMAND, "no usage in this time");
		return EXIT_DONE;
	}
	output = output_new(question->format, stdout, layout.columns, layout.n, &style);
	if (width)
		put_caption(output, question);
	for (unsigned i = 0; i < lines->len; i++) {
		const struct report_line *line = &g_array_index(lines, struct report_line, i);

		put(output, &layout, line, output_row);
		counts_add(&total.counts, &line->counts);
	}
	put(output, &layout, &total, output_total);
	put_notes(output, question, kept, report_crossing(report));
	output_finish(output);
	return cmd_finish_output(COMMAND);
}

/* ---- asking the store ---- */

static void add_row(const struct report_line *row, void *report)
{
	report_add(report, row);
}

/* EXIT_DONE if the store knows what is asked for. */
static int check_known(struct store *store, const struct usage_filter *filter, const char *directory)
{
	g_autofree char *address = address_to_string(filter->address);
	g_autoptr(GError) error = NULL;
	bool known = true;

	if (filter->address && !store_knows_address(store, filter->address, &known, &error))
		return cmd_fail(COMMAND, error);
	if (!known) {
		cmd_say(COMMAND, "address %s is not known to the store in %s: it was never metered there", address,
		        directory);
		return EXIT_UNKNOWN;
	}
	if (filter->router && !store_knows_router(store, filter->router, &known, &error))
		return cmd_fail(COMMAND, error);
	if (!known) {
		cmd_say(COMMAND, "router %s is not known to the store in %s (right: its whole uuid)", filter->router,
		        directory);
		return EXIT_UNKNOWN;
	}
	return EXIT_DONE;
}

static int ask_store(const struct question *question, struct store *store, const struct config *config)
{
	const struct usage_filter *filter = &question->filter;
	g_autofree char *what = g_strdup_printf("reading %s", config->state_dir);
	g_autoptr(GTimeZone) timezone = store_get_timezone(store);
	g_autoptr(GError) error = NULL;
	struct progress progress;
	struct report *report;
	struct kept kept;
	int status = check_known(store, filter, config->state_dir);
	bool done;

	if (status != EXIT_DONE)
		return status;
	report = report_new(question->by, question->per, timezone ? timezone : config->timezone, filter->since_us,
	                    filter->until_us);
	progress_begin(&progress, COMMAND, what, store);
	done = store_get_levels(store, &kept, &error) && store_each_usage(store, filter, add_row, report, &error);
	progress_end(&progress, store);
	status = done ? answer(question, &kept, report) : cmd_fail(COMMAND, error);
	report_free(report);
	return status;
}

static int open_and_ask(const struct question *question, const struct options *options)
{
	g_autoptr(GError) error = NULL;
	SCOPED(config) *config = cmd_load_config(options->config, &error);
	struct store *store;
	int status;

	if (!config)
		return cmd_fail(COMMAND, error);
	config_override(&config->state_dir, options->state_dir);
	store = cmd_open_store(COMMAND, config->state_dir);
	if (!store)
		return EXIT_FAILED;
	status = ask_store(question, store, config);
	store_close(store);
	return status;
}

static int ask(const struct options *options)
{
	g_autoptr(GTimeZone) local = g_time_zone_new_local();
	struct question question = { .local = local, .exact = options->exact };
	int status = ask_shape(options, &question);

	if (status == EXIT_DONE)
		status = ask_time(options, &question);
	if (status == EXIT_DONE)
		status = ask_filter(options, &question);
	if (status == EXIT_DONE)
		status = open_and_ask(&question, options);
	return status;
}

static void options_clear(struct options *options)
{
	g_free(options->since);
	g_free(options->until);
	g_free(options->per);
	g_free(options->by);
	g_free(options->address);
	g_free(options->router);
	g_free(options->class_name);
	g_free(options->state_dir);
	g_free(options->config);
	g_free(options->output);
}

int cmd_usage(int argc, char **argv)
{
	struct options options = { 0 };
	const GOptionEntry entries[] = {
		{ "since", 0, 0, G_OPTION_ARG_STRING, &options.since, "From this time on (today)", "TIME" },
		{ "until", 0, 0, G_OPTION_ARG_STRING, &options.until, "Up to, not including, this time (now)",
		  "TIME" },
		{ "per", 0, 0, G_OPTION_ARG_STRING, &options.per,
		  "interval, minute, hour, day, month, total (total)", "PERIOD" },
		{ "by", 0, 0, G_OPTION_ARG_STRING, &options.by,
		  "address, router, class, project, node (address)", "KEY" },
		{ "address", 0, 0, G_OPTION_ARG_STRING, &options.address, "This public address alone", "ADDRESS" },
		{ "router", 0, 0, G_OPTION_ARG_STRING, &options.router, "This router alone", "UUID" },
		{ "class", 0, 0, G_OPTION_ARG_STRING, &options.class_name,
		  "This class of remote addresses alone", "CLASS" },
		{ "exact", 0, 0, G_OPTION_ARG_NONE, &options.exact, "Whole numbers on a terminal too", NULL },
		{ "output", 'o', 0, G_OPTION_ARG_STRING, &options.output, "table, json, csv or markdown (table)", "FORMAT" },
		{ "state-dir", 0, 0, G_OPTION_ARG_FILENAME, &options.state_dir, "Where the usage is kept", "DIR" },
		{ "config", 'c', 0, G_OPTION_ARG_FILENAME, &options.config,
		  "Configuration (" CONFIG_PATH ")", "FILE" },
		{ NULL },
	};
	int status;

	if (cmd_parse(COMMAND, "Shows the bytes (IP header onward) and packets that each public address\n"
	              "received (in) and sent (out).",
	              "  fipmeter usage                                   today, each address\n"
	              "  fipmeter usage --since -1h --address 192.0.2.10  one address in the last hour\n"
	              "  fipmeter usage --since 2026-07-01 --until 2026-08-01 --per day -o csv\n"
	              "  fipmeter usage --by class -o json\n"
	              "Times: 2026-07-23, 2026-07-23T14:05:00+02:00 (without offset: local), epoch\n"
	              "seconds, now, today, or back from now: -30s -90m -1h -2d -1w.\n"
	              "Exit status: 0 done; 1 failed; 2 wrong usage; 3 address or router not known.",
	              entries, &argc, &argv, &status))
		status = ask(&options);
	options_clear(&options);
	return status;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fipmeter explain: from the usage of one address back to the counters.  Out of the store alone, which it only reads; what
 * the agent and the kernel tell at this moment comes beside it, where they may be asked.
 */
#include "cmd/explain.h"

#include "cmd/cmd.h"
#include "cmd/progress.h"
#include "core/period.h"
#include "store/trace.h"

#define COMMAND "explain"
#define LIKE_MAX 4 /* addresses that are told to who asked for one that is not known */

struct options {
	char *at, *output, *netns_dir, *state_dir, *config;
};

struct asked {
	uint32_t address;
	int64_t at_us;
	bool at, json;
};

/* ---- an address that is not known ---- */

struct likeness {
	uint32_t address;
	unsigned value;
};

struct search {
	uint32_t wanted;
	GArray *floating; /* of uint32_t: whose fixed address it is */
	GArray *like;     /* of struct likeness */
};

static void look_for_like(uint32_t address, uint32_t fixed, void *data)
{
	struct search *search = data;
	struct likeness like = { address, explain_likeness(address, search->wanted) };

	if (fixed == search->wanted)
		g_array_append_val(search->floating, address);
	for (unsigned i = 0; like.value && i < search->like->len; i++)
		if (g_array_index(search->like, struct likeness, i).address == address)
			return;
	if (like.value)
		g_array_append_val(search->like, like);
}

static int compare_likeness(const void *a, const void *b)
{
	const struct likeness *x = a, *y = b;

	return x->value != y->value ? (x->value < y->value) - (x->value > y->value) :
	       (x->address > y->address) - (x->address < y->address);
}

static void append_address(GString *text, uint32_t address)
{
	g_autofree char *shown = address_to_string(address);

	g_string_append_printf(text, "%s%s", text->len ? ", " : "", shown);
}

/* What to do instead. */
static char *advise(struct search *search)
{
	GString *text = g_string_new(NULL);
	g_autofree char *list = NULL;

	for (unsigned i = 0; i < MIN(search->floating->len, LIKE_MAX); i++)
		append_address(text, g_array_index(search->floating, uint32_t, i));
	if (text->len) {
		list = g_string_free(text, FALSE);
		return g_strdup_printf("it is the fixed address of the floating IP %s: ask for that", list);
	}
	g_array_sort(search->like, compare_likeness);
	for (unsigned i = 0; i < MIN(search->like->len, LIKE_MAX); i++)
		append_address(text, g_array_index(search->like, struct likeness, i).address);
	list = g_string_free(text, FALSE);
	if (*list)
		return g_strdup_printf("those like it are %s (fipmeter usage --since 0 lists them; was it on another node?)", list);
	return g_strdup("none is like it (fipmeter usage --since 0 lists them; was it on another node?)");
}

static int refuse_unknown(struct store *store, uint32_t address, const char *directory)
{
	struct search search = {
		address, g_array_new(FALSE, FALSE, sizeof(uint32_t)), g_array_new(FALSE, FALSE, sizeof(struct likeness)),
	};
	g_autofree char *shown = address_to_string(address), *advice = NULL;
	g_autoptr(GError) error = NULL;
	int status = EXIT_UNKNOWN;

	if (store_each_address(store, look_for_like, &search, &error)) {
		advice = advise(&search);
		cmd_say(COMMAND, "address %s is not known to the store in %s: %s", shown, directory, advice);
	} else {
		status = cmd_fail(COMMAND, error);
	}
	g_array_unref(search.floating);
	g_array_unref(search.like);
	return status;
}

/* ---- the answer ---- */

/* 4 if it is known that not all was counted at that time, or not known that it was. */
static int status_of(const struct explanation *explanation)
{
	enum state state = explanation_state(explanation, NULL);

	return explanation->in_force && (state == STATE_GAP || state == STATE_UNKNOWN) ? EXIT_PARTIAL : EXIT_DONE;
}

static int answer(const struct explanation *explanation, const struct config *config, bool json)
{
	SCOPED(explain_live) *live = explain_live_new(explanation, config);
	g_autoptr(GArray) sums = explain_sums(explanation, config->state_dir);
	int status;

	if (json)
		explain_print_json(explanation, live, sums);
	else
		explain_print_people(explanation, live, sums);
	status = cmd_finish_output(COMMAND);
	return status == EXIT_DONE ? status_of(explanation) : status;
}

static int ask_store(const struct asked *asked, struct store *store, const struct config *config)
{
	SCOPED(explanation) *explanation = explanation_new(asked->address, asked->at_us, asked->at);
	g_autofree char *what = g_strdup_printf("reading %s", config->state_dir);
	g_autoptr(GError) error = NULL;
	struct progress progress;
	bool known, done;

	progress_begin(&progress, COMMAND, what, store);
	done = store_trace(store, explanation, &known, &error);
	progress_end(&progress, store);
	if (!done)
		return cmd_fail(COMMAND, error);
	return known ? answer(explanation, config, asked->json) : refuse_unknown(store, asked->address, config->state_dir);
}

static int open_and_ask(const struct asked *asked, const struct options *options)
{
	g_autoptr(GError) error = NULL;
	SCOPED(config) *config = cmd_load_config(options->config, &error);
	struct store *store;
	int status;

	if (!config)
		return cmd_fail(COMMAND, error);
	config_override(&config->state_dir, options->state_dir);
	config_override(&config->netns_dir, options->netns_dir);
	store = cmd_open_store(COMMAND, config->state_dir);
	if (!store)
		return EXIT_FAILED;
	status = ask_store(asked, store, config);
	store_close(store);
	return status;
}

/* ---- the question ---- */

static int ask(const char *address, const struct options *options)
{
	g_autoptr(GTimeZone) local = g_time_zone_new_local();
	g_autoptr(GError) error = NULL;
	struct asked asked = { .at = options->at, .json = options->output && g_str_equal(options->output, "json") };

	if (options->output && !asked.json && !g_str_equal(options->output, "table"))
		return cmd_misuse(COMMAND, "-o %s is not known (right: table or json)", options->output);
	if (options->at && !time_parse(options->at, g_get_real_time(), local, &asked.at_us, &error))
		return cmd_misuse(COMMAND, "--at: %s", error->message);
	if (!address_from_string(address, &asked.address) || !asked.address)
		return cmd_misuse(COMMAND, "'%s' is no IPv4 address (right: 192.0.2.1; see fipmeter " COMMAND " --help)", address);
	return open_and_ask(&asked, options);
}

static void options_clear(struct options *options)
{
	g_free(options->at);
	g_free(options->output);
	g_free(options->netns_dir);
	g_free(options->state_dir);
	g_free(options->config);
}

int cmd_explain(int argc, char **argv)
{
	struct options options = { 0 };
	const GOptionEntry entries[] = {
		{ "at", 0, 0, G_OPTION_ARG_STRING, &options.at, "The row at this time (the latest)", "TIME" },
		{ "output", 'o', 0, G_OPTION_ARG_STRING, &options.output, "table or json (table)", "FORMAT" },
		{ "netns-dir", 0, 0, G_OPTION_ARG_FILENAME, &options.netns_dir, "Where the network namespaces are", "DIR" },
		{ "state-dir", 0, 0, G_OPTION_ARG_FILENAME, &options.state_dir, "Where the usage is kept", "DIR" },
		{ "config", 'c', 0, G_OPTION_ARG_FILENAME, &options.config, "Configuration (" CONFIG_PATH ")", "FILE" },
		{ NULL },
	};
	const char *address = NULL;
	int status;

	if (cmd_parse_argument(COMMAND, "Tells where the usage of a public address comes from: its router and namespace,\n"
	                       "its counters in the kernel, what they showed, and how to check it. Changes\n"
	                       "nothing.",
	                       "  fipmeter explain 192.0.2.10                 the latest row\n"
	                       "  fipmeter explain 192.0.2.10 --at -2h        the row of two hours ago\n"
	                       "  fipmeter explain 192.0.2.10 --at 2026-07-23T14:05 -o json | jq .sentence\n"
	                       "As root it also shows what the counters have at this moment. Times as in\n"
	                       "fipmeter usage --help.\n"
	                       "Exit status: 0 done; 1 failed; 2 wrong usage; 3 address not known;\n"
	                       "4 it was not metered at that time, or not all of it.",
	                       entries, "ADDRESS", &address, &argc, &argv, &status))
		status = ask(address, &options);
	options_clear(&options);
	return status;
}

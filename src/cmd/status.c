/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fipmeter status: is everything metered, and if not, what is not and why.  Out of what the agent posts (bulletin.h) and
 * what the store has on record; needs no more than to read both.
 *
 * One JSON object holds it all; -o json prints it, the rest of this file shows it to people:
 *   running pid       is there an agent; its process
 *   metered           true if the exit status is 0
 *   node version started interval_s netns_dir state_dir backend sampled kept failure events locks ebpf
 *                     as the agent posted them; missing where none has
 *   store             { path, read: the last reading on record, failure: why it cannot be read, or "" }
 *   problems          [ { about, message } ]: what is wrong beside the routers
 *   routers           [ { router namespace flavour backend role dvr gateway gateway_served floating list_command
 *                     generation basis last_reading, problem, gaps: [ { start end address reason } ] and residue: { ... } of the last
 *                     24 hours } ]
 * Times are RFC 3339 in UTC, "" where there is none.
 */
#include "cmd/bulletin.h"
#include "cmd/cmd.h"
#include "cmd/output.h"
#include "core/period.h"
#include "kernel/clock.h"
#include "store/query.h"

#include <stdio.h>
#include <string.h>

#define COMMAND "status"
#define DAY_US (24 * 3600 * INT64_C(1000000))
#define LATE 2 /* intervals without a sample */

struct asked {
	const char *state_dir, *netns_dir;
	char *router; /* NULL: all */
	bool json;
	int64_t now_us;
};

/* ---- gathering ---- */

static int64_t time_of(const json_t *object, const char *name)
{
	return json_integer_value(json_object_get(object, name));
}

/* Of the hours that end in the last 24. */
static json_t *residue_json(const struct residue_sum *sum)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "end", (json_int_t)sum->end_us,
		"windows", (json_int_t)sum->windows, "flagged", (json_int_t)sum->flagged,
		"received_bytes", (json_int_t)sum->received, "sent_bytes", (json_int_t)sum->sent,
		"in_bytes", (json_int_t)sum->in, "out_bytes", (json_int_t)sum->out,
		"residue_in_bytes", (json_int_t)sum->residue_in, "residue_out_bytes", (json_int_t)sum->residue_out,
		"excess_bytes", (json_int_t)sum->excess);
}

/* The routers that were posted, and namespaces of which there is nothing but a problem. */
static void add_routers(json_t *state, const json_t *told)
{
	static const struct residue_sum none;
	json_t *routers = json_array(), *problems = json_array(), *router, *message;
	const char *about, *ns;

	json_object_foreach(json_object_get(told, "routers"), ns, router) {
		g_autofree char *key = g_strconcat("namespace=", ns, NULL);
		json_t *shown = json_copy(router);

		json_object_set_new(shown, "problem", json_string(bulletin_text(json_object_get(told, "problems"), key)));
		json_object_set_new(shown, "gaps", json_array());
		json_object_set_new(shown, "residue", residue_json(&none));
		json_array_append_new(routers, shown);
	}
	json_object_foreach(json_object_get(told, "problems"), about, message) {
		const char *name = g_str_has_prefix(about, "namespace=") ? about + strlen("namespace=") : NULL;

		if (name && json_object_get(json_object_get(told, "routers"), name))
			continue;
		if (name)
			json_array_append_new(routers, json_pack("{s:s, s:s, s:s, s:s, s:s, s:O, s:[], s:o}", "router", "",
				"namespace", name, "flavour", "", "backend", "", "role", "", "problem", message, "gaps",
				"residue", residue_json(&none)));
		else
			json_array_append_new(problems, json_pack("{s:s, s:O}", "about", about, "message", message));
	}
	json_object_set_new(state, "problems", problems);
	json_object_set_new(state, "routers", routers);
}

static void take_residue(const struct residue_sum *sum, void *data)
{
	json_t *router;
	size_t i;

	json_array_foreach(json_object_get(data, "routers"), i, router)
		if (g_str_equal(bulletin_text(router, "router"), sum->router))
			json_object_set_new(router, "residue", residue_json(sum));
}

static void take_reading(const char *router, int64_t read_us, void *data)
{
	int64_t *latest = data;

	*latest = MAX(*latest, read_us);
}

static void take_gap(const struct coverage *gap, void *data)
{
	g_autofree char *address = address_to_string(gap->address), *reason = cmd_escape(gap->reason);
	json_t *router;
	size_t i;

	json_array_foreach(json_object_get(data, "routers"), i, router)
		if (g_str_equal(bulletin_text(router, "router"), gap->router))
			json_array_append_new(json_object_get(router, "gaps"), json_pack("{s:I, s:I, s:s, s:s}", "start",
				(json_int_t)gap->start_us, "end", (json_int_t)gap->end_us, "address", address, "reason", reason));
}

static void add_store(json_t *state, const struct asked *asked)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *path = cmd_escape(asked->state_dir), *failure = NULL;
	struct store *store = store_open_reader(asked->state_dir, &error);
	int64_t read_us = 0;

	if (store && store_each_router(store, take_reading, &read_us, &error))
		(void)(store_each_gap(store, asked->now_us - DAY_US, take_gap, state, &error) &&
		       store_each_residue(store, asked->now_us - DAY_US, take_residue, state, &error));
	if (store)
		store_close(store);
	failure = cmd_escape(error ? error->message : "");
	json_object_set_new(state, "store", json_pack("{s:s, s:I, s:s}", "path", path, "read", (json_int_t)read_us,
	                                              "failure", failure));
}

static bool has_problem(const json_t *state)
{
	const json_t *router;
	size_t i;

	json_array_foreach(json_object_get(state, "routers"), i, router)
		if (*bulletin_text(router, "problem"))
			return true;
	return json_array_size(json_object_get(state, "problems"));
}

static bool is_late(const json_t *state, int64_t now_us)
{
	return now_us - time_of(state, "sampled") > LATE * G_USEC_PER_SEC * time_of(state, "interval_s");
}

/* NULL on failure. */
static json_t *gather(const struct asked *asked, GError **error)
{
	json_t *told, *state;
	bool metered;
	long holder;

	if (!bulletin_read(asked->netns_dir, &told, &holder, error))
		return NULL;
	state = json_pack("{s:b, s:I}", "running", told && holder, "pid",
	                  (json_int_t)(holder > 0 ? holder : time_of(told, "pid")));
	json_object_update(state, told);
	json_object_set_new(state, "running", json_boolean(told && holder));
	add_routers(state, told);
	add_store(state, asked);
	metered = told && holder && !*bulletin_text(state, "failure") && !is_late(state, asked->now_us) && !has_problem(state);
	json_object_set_new(state, "metered", json_boolean(metered));
	json_decref(told);
	return state;
}

/* What a router is called: its id, also where it could not be entered and the namespace alone is known. */
static const char *name_of(const json_t *router)
{
	const char *name = bulletin_text(router, "router");

	return *name ? name : router_name_of(bulletin_text(router, "namespace"));
}

/* Leaves the one router whose id, or namespace, begins so.  False if there is none, or more than one. */
static bool select_router(json_t *state, const char *wanted)
{
	json_t *chosen = json_array(), *router;
	size_t i;

	json_array_foreach(json_object_get(state, "routers"), i, router)
		if (g_str_has_prefix(name_of(router), wanted) || g_str_has_prefix(bulletin_text(router, "namespace"), wanted))
			json_array_append(chosen, router);
	json_object_set_new(state, "routers", chosen);
	return json_array_size(chosen) == 1;
}

/* ---- for machines ---- */

/* Numbers that are times become texts, everywhere below. */
static void format_times(json_t *value, GTimeZone *utc)
{
	static const char *const times[] = { "started", "sampled", "kept", "read", "last_reading", "start", "end", NULL };
	const char *name;
	json_t *member;
	size_t i;

	json_array_foreach(value, i, member)
		format_times(member, utc);
	json_object_foreach(value, name, member) {
		if (json_is_integer(member) && g_strv_contains(times, name)) {
			int64_t time_us = json_integer_value(member);
			g_autofree char *text = time_us ? time_format(time_us, utc) : g_strdup("");

			json_object_set_new(value, name, json_string(text));
		} else {
			format_times(member, utc);
		}
	}
}

static void print_json(json_t *state)
{
	g_autoptr(GTimeZone) utc = g_time_zone_new_utc();

	format_times(state, utc);
	json_dumpf(state, stdout, JSON_INDENT(2));
	putchar('\n');
}

/* ---- for people ---- */

/* "12 s", "3 min", "5 h", "2 d". */
static char *duration(int64_t us)
{
	int64_t s = us / G_USEC_PER_SEC;

	if (us < G_USEC_PER_SEC)
		return g_strdup_printf("%" G_GINT64_FORMAT " ms", MAX(us, 0) / 1000);
	return s < 120 ? g_strdup_printf("%" G_GINT64_FORMAT " s", s) :
	       s < 7200 ? g_strdup_printf("%" G_GINT64_FORMAT " min", s / 60) :
	       s < 172800 ? g_strdup_printf("%" G_GINT64_FORMAT " h", s / 3600) :
	                    g_strdup_printf("%" G_GINT64_FORMAT " d", s / 86400);
}

static char *ago(int64_t time_us, int64_t now_us)
{
	g_autofree char *age = duration(now_us - time_us);

	return time_us ? g_strconcat(age, " ago", NULL) : g_strdup("never");
}

static void say(const char *label, const char *text)
{
	g_autofree char *printable = cmd_printable(text);

	printf("%-9s %s\n", label, printable);
}

static void say_agent(const json_t *state, const struct asked *asked)
{
	g_autofree char *since = ago(time_of(state, "started"), asked->now_us), *text = NULL;

	if (json_is_true(json_object_get(state, "running")))
		text = g_strdup_printf("running, pid %" JSON_INTEGER_FORMAT ", started %s, back end %s",
		                       (json_int_t)time_of(state, "pid"), since, bulletin_text(state, "backend"));
	else if (time_of(state, "pid"))
		text = g_strdup_printf("not running: pid %" JSON_INTEGER_FORMAT " ended without a word. Counters that stand go on; "
		                       "start it, and nothing of them is lost", (json_int_t)time_of(state, "pid"));
	else
		text = g_strdup_printf("not running for %s: start fipmeter agent. Counters that stand go on", asked->netns_dir);
	say("agent", text);
}

static void say_sample(const json_t *state, const struct asked *asked)
{
	g_autofree char *sampled = ago(time_of(state, "sampled"), asked->now_us);
	g_autofree char *kept = ago(time_of(state, "kept"), asked->now_us), *text = NULL;
	const char *failure = bulletin_text(state, "failure");

	if (*failure)
		text = g_strdup_printf("%s, kept %s: %s (the counters keep it until then)", sampled, kept, failure);
	else
		text = g_strdup_printf("%s, one every %" JSON_INTEGER_FORMAT " s%s", sampled,
		                       (json_int_t)time_of(state, "interval_s"),
		                       is_late(state, asked->now_us) ? ": LATE" : "");
	say("sampled", text);
	say("events", json_is_true(json_object_get(state, "events")) ? "heard" :
	    "not heard: what changes is seen at the next sample only");
	if (*bulletin_text(state, "locks"))
		say("locks", bulletin_text(state, "locks"));
	if (*bulletin_text(state, "ebpf"))
		say("ebpf", bulletin_text(state, "ebpf"));
}

static void say_store(const json_t *state, const struct asked *asked)
{
	const json_t *store = json_object_get(state, "store");
	g_autofree char *read = ago(time_of(store, "read"), asked->now_us), *text = NULL;

	if (*bulletin_text(store, "failure"))
		text = g_strdup(bulletin_text(store, "failure"));
	else
		text = g_strdup_printf("%s, last reading %s", bulletin_text(store, "path"), read);
	say("store", text);
}

static void say_head(const json_t *state, const struct asked *asked)
{
	const json_t *problem;
	size_t i;

	say_agent(state, asked);
	if (json_object_get(state, "sampled"))
		say_sample(state, asked);
	say_store(state, asked);
	say("note", "IPv6 is not counted yet");
	json_array_foreach(json_object_get(state, "problems"), i, problem) {
		g_autofree char *text = g_strdup_printf("%s: %s", bulletin_text(problem, "about"), bulletin_text(problem, "message"));

		say("problem", text);
	}
}

static char *addresses(const json_t *router)
{
	size_t floating = json_array_size(json_object_get(router, "floating"));
	const char *gateway = bulletin_text(router, "gateway");

	return g_strdup_printf("%s%s%zu floating", gateway, *gateway ? " + " : "", floating);
}

static char *gaps(const json_t *router)
{
	const json_t *list = json_object_get(router, "gaps"), *gap;
	g_autofree char *length = NULL;
	int64_t total_us = 0;
	size_t i;

	json_array_foreach(list, i, gap)
		total_us += time_of(gap, "end") - time_of(gap, "start");
	length = duration(total_us);
	return i ? g_strdup_printf("%zu, %s", i, length) : g_strdup("-");
}

/* What no counter has, of both directions; "-" where nothing could be judged. */
static char *residue(const json_t *router)
{
	const json_t *sums = json_object_get(router, "residue");
	uint64_t bytes = (uint64_t)time_of(sums, "residue_in_bytes") + (uint64_t)time_of(sums, "residue_out_bytes");

	return time_of(sums, "windows") ? output_number_for_people(bytes, "B") : g_strdup("-");
}

static const char *or_dash(const char *text)
{
	return *text ? text : "-";
}

#define PROBLEM_SHOWN 40 /* columns of a table that is narrow */

static void print_row(struct output *output, const json_t *router, int64_t now_us)
{
	g_autofree char *read = ago(time_of(router, "last_reading"), now_us), *all = addresses(router), *lost = gaps(router);
	g_autofree char *uncounted = residue(router);
	const union output_cell cells[] = {
		{ .text = name_of(router) }, { .text = or_dash(bulletin_text(router, "flavour")) },
		{ .text = or_dash(bulletin_text(router, "backend")) }, { .text = or_dash(bulletin_text(router, "role")) }, { .text = all },
		{ .text = read }, { .text = lost }, { .text = uncounted }, { .text = or_dash(bulletin_text(router, "problem")) },
	};

	output_row(output, cells);
}

static void print_table(const json_t *state, const struct asked *asked)
{
	static const struct output_column columns[] = {
		{ "router", "ROUTER", OUTPUT_TEXT, .shorten = 8 }, { "flavour", "RULES", OUTPUT_TEXT, .leave_out = 2 },
		{ "backend", "BACKEND", OUTPUT_TEXT, .leave_out = 1 }, { "role", "ROLE", OUTPUT_TEXT },
		{ "addresses", "ADDRESSES", OUTPUT_TEXT, .leave_out = 3 }, { "read", "READ", OUTPUT_TEXT },
		{ "gaps", "GAPS-24H", OUTPUT_TEXT }, { "residue", "RESIDUE-24H", OUTPUT_TEXT, .leave_out = 4 },
		{ "problem", "PROBLEM", OUTPUT_TEXT, .shorten = PROBLEM_SHOWN },
	};
	const struct output_column *shown[G_N_ELEMENTS(columns)];
	g_autoptr(GTimeZone) local = g_time_zone_new_local();
	struct output_style style = { .width = output_terminal_width(stdout), .timezone = local };
	struct output *output;
	const json_t *router;
	size_t i;

	for (i = 0; i < G_N_ELEMENTS(columns); i++)
		shown[i] = &columns[i];
	putchar('\n');
	output = output_new(output_format_find("table"), stdout, shown, G_N_ELEMENTS(columns), &style);
	json_array_foreach(json_object_get(state, "routers"), i, router)
		print_row(output, router, asked->now_us);
	/* the first words of a problem say too little */
	json_array_foreach(json_object_get(state, "routers"), i, router)
		if (style.width && g_utf8_strlen(bulletin_text(router, "problem"), -1) > PROBLEM_SHOWN)
			output_note(output, "%s: %s", bulletin_text(router, "namespace"), bulletin_text(router, "problem"));
	output_finish(output);
}

static void print_gap(const json_t *gap)
{
	g_autoptr(GTimeZone) local = g_time_zone_new_local();
	g_autofree char *start = time_format(time_of(gap, "start"), local), *end = time_format(time_of(gap, "end"), local);
	g_autofree char *length = duration(time_of(gap, "end") - time_of(gap, "start"));
	g_autofree char *text = g_strdup_printf("%s to %s (%s) %s: %s", start, end, length,
		*bulletin_text(gap, "address") ? bulletin_text(gap, "address") : "all addresses", bulletin_text(gap, "reason"));

	say("gap", text);
}

static void print_residue(const json_t *router)
{
	const json_t *sums = json_object_get(router, "residue");
	g_autofree char *received = output_number_for_people((uint64_t)time_of(sums, "received_bytes"), "B");
	g_autofree char *sent = output_number_for_people((uint64_t)time_of(sums, "sent_bytes"), "B");
	g_autofree char *in = output_number_for_people((uint64_t)time_of(sums, "residue_in_bytes"), "B");
	g_autofree char *out = output_number_for_people((uint64_t)time_of(sums, "residue_out_bytes"), "B");
	g_autofree char *text = g_strdup_printf("in 24 h no counter has %s of %s from outside, %s of %s to the outside", in,
	                                        received, out, sent);

	say("residue", time_of(sums, "windows") ? text : "not known yet: it takes two samples");
}

/* All that is known of one router. */
static void print_router(const json_t *state, const struct asked *asked)
{
	const json_t *router = json_array_get(json_object_get(state, "routers"), 0), *each;
	g_autofree char *read = ago(time_of(router, "last_reading"), asked->now_us), *how = NULL, *gateway = NULL;
	size_t i;

	putchar('\n');
	say("router", name_of(router));
	say("namespace", bulletin_text(router, "namespace"));
	how = g_strdup_printf("%s%s, rules in %s, counted by %s%s, read %s", or_dash(bulletin_text(router, "role")),
	                      json_is_true(json_object_get(router, "dvr")) ? ", DVR" : "", or_dash(bulletin_text(router, "flavour")),
	                      or_dash(bulletin_text(router, "backend")),
	                      g_str_equal(bulletin_text(router, "basis"), basis_name(BASIS_WIRE_SENT)) ? " (out where it is sent)" : "",
	                      read);
	say("state", how);
	if (*bulletin_text(router, "problem"))
		say("problem", bulletin_text(router, "problem"));
	gateway = g_strconcat(bulletin_text(router, "gateway"),
	                      json_is_true(json_object_get(router, "gateway_served")) ? "" : " (address not here)", NULL);
	say("gateway", *bulletin_text(router, "gateway") ? gateway : "none");
	json_array_foreach(json_object_get(router, "floating"), i, each) {
		g_autofree char *text = g_strdup_printf("%s -> %s%s", bulletin_text(each, "address"), bulletin_text(each, "fixed"),
			json_is_true(json_object_get(each, "served")) ? "" : " (address not here)");

		say("floating", text);
	}
	json_array_foreach(json_object_get(router, "gaps"), i, each)
		print_gap(each);
	print_residue(router);
	say("counters", bulletin_text(router, "list_command"));
}

/* ---- the command ---- */

static int show(json_t *state, const struct asked *asked)
{
	bool metered = json_is_true(json_object_get(state, "metered"));
	int status;

	if (asked->router && !select_router(state, asked->router)) {
		cmd_say(COMMAND, "router %s is not known here, or not the only one whose id begins so (fipmeter status lists them)",
		        asked->router);
		return EXIT_UNKNOWN;
	}
	if (asked->json) {
		print_json(state);
	} else {
		say_head(state, asked);
		if (asked->router)
			print_router(state, asked);
		else if (json_array_size(json_object_get(state, "routers")))
			print_table(state, asked);
	}
	status = cmd_finish_output(COMMAND);
	return status == EXIT_DONE && !metered ? EXIT_PARTIAL : status;
}

static int ask(struct asked *asked, const char *config_path)
{
	g_autoptr(GError) error = NULL;
	SCOPED(config) *config = cmd_load_config(config_path, &error);
	json_t *state;
	int status;

	if (!config)
		return cmd_fail(COMMAND, error);
	asked->state_dir = asked->state_dir ? asked->state_dir : config->state_dir;
	asked->netns_dir = asked->netns_dir ? asked->netns_dir : config->netns_dir;
	asked->now_us = clock_now().utc_us;
	state = gather(asked, &error);
	if (!state)
		return cmd_fail(COMMAND, error);
	status = show(state, asked);
	json_decref(state);
	return status;
}

int cmd_status(int argc, char **argv)
{
	g_autofree char *config = NULL, *state_dir = NULL, *netns_dir = NULL, *format = NULL, *router = NULL;
	const GOptionEntry entries[] = {
		{ "router", 0, 0, G_OPTION_ARG_STRING, &router, "All about this router (its id, or how that begins)", "UUID" },
		{ "output", 'o', 0, G_OPTION_ARG_STRING, &format, "table or json (table)", "FORMAT" },
		{ "netns-dir", 0, 0, G_OPTION_ARG_FILENAME, &netns_dir, "Where the network namespaces are", "DIR" },
		{ "state-dir", 0, 0, G_OPTION_ARG_FILENAME, &state_dir, "Where the usage is kept", "DIR" },
		{ "config", 'c', 0, G_OPTION_ARG_FILENAME, &config, "Configuration (" CONFIG_PATH ")", "FILE" },
		{ NULL },
	};
	struct asked asked;
	int status;

	if (!cmd_parse(COMMAND, "Shows whether everything on this node is metered, and if not, why.",
	               "  fipmeter status                     the agent and each router\n"
	               "  fipmeter status --router 3f1e9a52   its addresses, gaps, and its counters\n"
	               "  fipmeter status -o json | jq '.routers[] | select(.problem != \"\")'\n"
	               "Exit status: 0 all is metered; 1 failed; 2 wrong usage; 3 router not known;\n"
	               "4 something is not metered.",
	               entries, &argc, &argv, &status))
		return status;
	if (format && !g_str_equal(format, "table") && !g_str_equal(format, "json"))
		return cmd_misuse(COMMAND, "-o %s is not known (right: table or json)", format);
	asked = (struct asked){ .state_dir = state_dir, .netns_dir = netns_dir, .router = router,
	                        .json = format && g_str_equal(format, "json") };
	return ask(&asked, config);
}

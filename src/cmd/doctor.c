/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fipmeter doctor: what an experienced colleague would look at on this node, and what he would say of it.  Changes nothing.
 * cmd/checkup gathers, core/diagnosis judges; this prints, and the exit status is the verdict.
 *
 * People see what holds for the node, one line a router, and what is wrong there; --all has every line.  Text is broken at the
 * width of the terminal; a command never is, so that it can be copied.
 */
#include "cmd/checkup.h"
#include "cmd/cmd.h"
#include "cmd/output.h"
#include "core/diagnosis.h"
#include "core/period.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define COMMAND "doctor"
#define INDENT 21 /* columns before the text: level, check */
#define NARROW 20 /* columns of text at the least */

/* ---- for machines ---- */

/* Printable, so that it is UTF-8, too. */
static json_t *text_json(const char *text)
{
	g_autofree char *printable = cmd_escape(text);

	return json_string(printable);
}

static json_t *routers_json(const struct facts *facts)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < facts->routers->len; i++) {
		const struct router_facts *each = facts->routers->pdata[i];

		json_array_append_new(list, json_pack("{s:o, s:o, s:s, s:s}", "router", text_json(router_name_of(each->ns)),
			"namespace", text_json(each->ns), "flavour", each->router ? flavour_name(each->router->flavour) : "",
			"backend", each->backend));
	}
	return list;
}

static json_t *findings_json(const GPtrArray *findings)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < findings->len; i++) {
		const struct finding *each = findings->pdata[i];

		json_array_append_new(list, json_pack("{s:s, s:s, s:o, s:o, s:o, s:o}", "check", each->check, "level",
			level_name(each->level), "about", text_json(each->about), "text", text_json(each->text), "remedy",
			text_json(each->remedy), "command", text_json(each->command)));
	}
	return list;
}

static void print_json(const struct node *node, const struct facts *facts, const GPtrArray *findings)
{
	g_autoptr(GTimeZone) utc = g_time_zone_new_utc();
	g_autofree char *checked = time_format(facts->now_us, utc);
	json_t *all = json_pack("{s:o, s:o, s:o, s:s, s:i, s:i, s:o, s:o}", "node", text_json(node->name), "netns_dir",
		text_json(facts->netns_dir), "state_dir", text_json(facts->state_dir), "checked", checked,
		"problems", diagnosis_count(findings, LEVEL_PROBLEM), "warnings", diagnosis_count(findings, LEVEL_WARNING),
		"routers", routers_json(facts), "findings", findings_json(findings));

	json_dumpf(all, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(all);
}

/* ---- for people ---- */

/* Breaks at blanks; lines after the first are indented. width 0: no limit. */
static void print_text(const char *text, unsigned width)
{
	g_autofree char *printable = cmd_printable(text);
	g_auto(GStrv) words = g_strsplit(printable, " ", -1);
	unsigned room = width ? MAX(width, INDENT + NARROW) - INDENT : G_MAXUINT, used = 0;

	for (unsigned i = 0; words[i]; i++) {
		unsigned length = (unsigned)g_utf8_strlen(words[i], -1);

		if (used && length + 1 > room - used) {
			printf("\n%*s", INDENT, "");
			used = 0;
		}
		printf("%s%s", used ? " " : "", words[i]);
		used = MIN(used + length + (used ? 1 : 0), room);
	}
	putchar('\n');
}

static void print_finding(const struct finding *finding, unsigned width, bool all)
{
	bool is_named = strcmp(finding->check, "kernel") == 0 && *finding->about;
	g_autofree char *text = g_strconcat(is_named ? finding->about : "", is_named ? ": " : "", finding->text, NULL);
	g_autofree char *remedy = g_strconcat("-> ", finding->remedy, NULL), *command = cmd_printable(finding->command);

	printf("%-8s %-11s ", level_name(finding->level), finding->check);
	print_text(text, width);
	if (*finding->remedy) {
		printf("%*s", INDENT, "");
		print_text(remedy, width);
	}
	if (*command && (all || finding->level != LEVEL_OK))
		printf("%*s%s\n", width && strlen(command) + INDENT > width ? 3 : INDENT, "", command);
}

/* Is it about one namespace? */
static bool is_inside(const struct finding *finding)
{
	return *finding->about && strcmp(finding->check, "kernel");
}

/* The worst of those about the same namespace; they stand together. */
static enum level worst_from(const GPtrArray *findings, unsigned first)
{
	const struct finding *head = findings->pdata[first];
	enum level worst = LEVEL_OK;

	for (unsigned i = first; i < findings->len; i++) {
		const struct finding *each = findings->pdata[i];

		if (strcmp(each->about, head->about))
			break;
		worst = MAX(worst, each->level);
	}
	return worst;
}

/* One line a namespace. */
static void print_heading(const struct facts *facts, const char *ns, enum level worst)
{
	g_autofree char *printable = cmd_printable(ns);
	const struct router_facts *found = NULL;

	for (unsigned i = 0; i < facts->routers->len && !found; i++)
		if (!strcmp(((struct router_facts *)facts->routers->pdata[i])->ns, ns))
			found = facts->routers->pdata[i];
	if (found && found->router)
		printf("%-8s %-44s %s rules, by %s\n", level_name(worst), printable, flavour_name(found->router->flavour),
		       found->backend);
	else
		printf("%-8s %s\n", level_name(worst), printable);
}

static void print_people(const struct facts *facts, const GPtrArray *findings, bool all)
{
	unsigned width = output_terminal_width(stdout);
	unsigned problems = diagnosis_count(findings, LEVEL_PROBLEM), warnings = diagnosis_count(findings, LEVEL_WARNING);
	const char *about = "";

	for (unsigned i = 0; i < findings->len; i++) {
		const struct finding *finding = findings->pdata[i];

		if (is_inside(finding) && strcmp(finding->about, about)) {
			fputs(*about && !all ? "" : "\n", stdout);
			print_heading(facts, finding->about, worst_from(findings, i));
			about = finding->about;
		}
		if (all || !is_inside(finding) || finding->level != LEVEL_OK)
			print_finding(finding, width, all);
	}
	printf("\n%u problem%s, %u warning%s\n", problems, problems == 1 ? "" : "s", warnings, warnings == 1 ? "" : "s");
}

/* ---- the command ---- */

static int examine(const struct node_options *options, bool json, bool all)
{
	g_autoptr(GError) error = NULL;
	struct node node;
	int status;

	if (!node_open(&node, options, &error)) {
		status = cmd_fail(COMMAND, error);
	} else {
		SCOPED(facts) *facts = NULL;
		g_autoptr(GPtrArray) findings = NULL;

		node.silent = true;
		facts = checkup_gather(&node);
		findings = diagnosis_make(facts);
		if (json)
			print_json(&node, facts, findings);
		else
			print_people(facts, findings, all);
		status = cmd_finish_output(COMMAND);
		if (status == EXIT_DONE && diagnosis_count(findings, LEVEL_PROBLEM))
			status = EXIT_PARTIAL;
	}
	node_close(&node);
	return status;
}

int cmd_doctor(int argc, char **argv)
{
	struct node_options options = { 0 };
	g_autofree char *format = NULL;
	gboolean all = FALSE;
	const GOptionEntry entries[] = {
		{ "all", 'a', 0, G_OPTION_ARG_NONE, &all, "Also what is in order, of each router", NULL },
		{ "output", 'o', 0, G_OPTION_ARG_STRING, &format, "table or json (table)", "FORMAT" },
		{ "netns-dir", 0, 0, G_OPTION_ARG_FILENAME, &options.netns_dir, "Where the network namespaces are", "DIR" },
		NODE_STATE_OPTION(&options),
		{ "config", 'c', 0, G_OPTION_ARG_FILENAME, &options.config, "Configuration (" CONFIG_PATH ")", "FILE" },
		{ NULL },
	};
	int status;

	if (cmd_parse(COMMAND, "Looks at all that metering on this node depends on, and says what to do. Changes\nnothing.",
	              "  fipmeter doctor          each line ok, warning or problem, with the remedy\n"
	              "  fipmeter doctor --all    and of each router what is in order\n"
	              "  fipmeter doctor -o json | jq '.findings[] | select(.level != \"ok\")'\n"
	              "Exit status: 0 no problem; 1 failed; 2 wrong usage; 4 a problem: something is\n"
	              "not metered, or soon will not be.",
	              entries, &argc, &argv, &status)) {
		if (format && !g_str_equal(format, "table") && !g_str_equal(format, "json"))
			status = cmd_misuse(COMMAND, "-o %s is not known (right: table or json)", format);
		else
			status = examine(&options, format && g_str_equal(format, "json"), all);
	}
	node_options_clear(&options);
	return status;
}

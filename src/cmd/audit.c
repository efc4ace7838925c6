/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fipmeter audit: do the records add up?  The store checks itself (store/audit.h); this prints what it looked
 * at, what it found, and the verdict, which is also the exit status.
 */
#include "cmd/cmd.h"
#include "cmd/output.h"
#include "cmd/progress.h"
#include "store/audit.h"
#include "store/store.h"

#include <stdio.h>

#define COMMAND "audit"

static void print_list(const char *what, const struct audit_list *list)
{
	for (unsigned i = 0; i < list->texts->len; i++) {
		g_autofree char *text = cmd_printable(list->texts->pdata[i]);

		printf("%-10s%s\n", what, text);
	}
	if (list->n > list->texts->len)
		printf("%-10sand %" G_GUINT64_FORMAT " more\n", what, list->n - list->texts->len);
}

static void print_people(const struct audit *audit, const char *directory)
{
	g_autofree char *where = cmd_printable(directory);

	printf("store     %s\n", where);
	printf("meters    %" G_GUINT64_FORMAT " (%" G_GUINT64_FORMAT " open)\n", audit->meters, audit->open_meters);
	printf("rows      %" G_GUINT64_FORMAT ", %" G_GUINT64_FORMAT " bytes in %" G_GUINT64_FORMAT " packets\n",
	       audit->rows, audit->bytes, audit->packets);
	if (audit->dropped_rows)
		printf("dropped   %" G_GUINT64_FORMAT " rows whose time was over; their days stand for them\n",
		       audit->dropped_rows);
	printf("coverage  %" G_GUINT64_FORMAT " rows\n", audit->coverage);
	print_list("finding", &audit->findings);
	print_list("remark", &audit->remarks);
	if (audit->findings.n)
		printf("verdict   the records do not add up: %" G_GUINT64_FORMAT " finding%s\n", audit->findings.n,
		       audit->findings.n == 1 ? "" : "s");
	else
		printf("verdict   the %s of every meter sum to its last reading minus its first\n",
		       audit->dropped_rows ? "days and rows" : "rows");
}

static void print_json_list(const char *name, const struct audit_list *list)
{
	printf(", \"%s\": [", name);
	for (unsigned i = 0; i < list->texts->len; i++) {
		fputs(i ? ",\n  " : "\n  ", stdout);
		output_json_string(stdout, list->texts->pdata[i]);
	}
	fputs(list->texts->len ? "\n]" : "]", stdout);
}

static void print_json(const struct audit *audit, const char *directory)
{
	fputs("{\"store\": ", stdout);
	output_json_string(stdout, directory);
	printf(", \"whole\": %s, \"meters\": %" G_GUINT64_FORMAT ", \"open_meters\": %" G_GUINT64_FORMAT
	       ", \"rows\": %" G_GUINT64_FORMAT ", \"dropped_rows\": %" G_GUINT64_FORMAT ", \"bytes\": %" G_GUINT64_FORMAT ", \"packets\": %" G_GUINT64_FORMAT,
	       audit->findings.n ? "false" : "true", audit->meters, audit->open_meters, audit->rows, audit->dropped_rows,
	       audit->bytes, audit->packets);
	print_json_list("findings", &audit->findings);
	print_json_list("remarks", &audit->remarks);
	puts("}");
}

static int audit_store(struct store *store, const char *directory, bool json)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *what = g_strdup_printf("reading %s", directory);
	struct audit audit = { 0 };
	struct progress progress;
	bool done;
	int status;

	progress_begin(&progress, COMMAND, what, store);
	done = store_audit(store, &audit, &error);
	progress_end(&progress, store);
	if (!done)
		return cmd_fail(COMMAND, error);
	if (json)
		print_json(&audit, directory);
	else
		print_people(&audit, directory);
	status = cmd_finish_output(COMMAND);
	if (audit.findings.n)
		status = EXIT_FAILED;
	audit_clear(&audit);
	return status;
}

static int open_and_audit(const char *config_path, const char *state_dir, bool json)
{
	g_autoptr(GError) error = NULL;
	SCOPED(config) *config = cmd_load_config(config_path, &error);
	const char *directory = config && !state_dir ? config->state_dir : state_dir;
	struct store *store;
	int status;

	if (!config)
		return cmd_fail(COMMAND, error);
	store = cmd_open_store(COMMAND, directory);
	if (!store)
		return EXIT_FAILED;
	status = audit_store(store, directory, json);
	store_close(store);
	return status;
}

int cmd_audit(int argc, char **argv)
{
	g_autofree char *config = NULL, *state_dir = NULL, *format = NULL;
	const GOptionEntry entries[] = {
		{ "output", 'o', 0, G_OPTION_ARG_STRING, &format, "table or json (table)", "FORMAT" },
		{ "state-dir", 0, 0, G_OPTION_ARG_FILENAME, &state_dir, "Where the usage is kept", "DIR" },
		{ "config", 'c', 0, G_OPTION_ARG_FILENAME, &config, "Configuration (" CONFIG_PATH ")", "FILE" },
		{ NULL },
	};
	int status;

	if (!cmd_parse(COMMAND, "Checks that the rows of every meter sum to its last reading minus its first.",
	               "  fipmeter audit\n"
	               "  fipmeter audit --state-dir /srv/restored -o json\n"
	               "Exit status: 0 the records add up; 1 they do not, or cannot be read; 2 misuse.",
	               entries, &argc, &argv, &status))
		return status;
	if (format && !g_str_equal(format, "table") && !g_str_equal(format, "json"))
		return cmd_misuse(COMMAND, "-o %s is not known (right: table or json)", format);
	return open_and_audit(config, state_dir, format && g_str_equal(format, "json"));
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What all subcommands share.
 */
#include "cmd/cmd.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

static void escape_character(GString *escaped, gunichar c, bool ascii)
{
	if (ascii && c >= 0x2018 && c <= 0x201d) /* the quotes of GLib's own messages */
		g_string_append_c(escaped, '\'');
	else if (g_unichar_isprint(c) && (c < 0x80 || !ascii))
		g_string_append_unichar(escaped, c);
	else
		g_string_append_printf(escaped, c < 0x80 ? "\\x%02x" : "\\u{%04x}", c);
}

static char *escape(const char *text, bool ascii)
{
	GString *escaped = g_string_sized_new(64);

	while (*text) {
		gunichar c = g_utf8_get_char_validated(text, -1);

		if (c == (gunichar)-1 || c == (gunichar)-2) {
			g_string_append_printf(escaped, "\\x%02x", (unsigned char)*text++);
		} else {
			escape_character(escaped, c, ascii);
			text = g_utf8_next_char(text);
		}
	}
	return g_string_free(escaped, FALSE);
}

char *cmd_printable(const char *text)
{
	return escape(text, !g_get_charset(NULL));
}

char *cmd_escape(const char *text)
{
	return escape(text, false);
}

/* ---- stderr ---- */

static void G_GNUC_PRINTF(2, 0) print_error(const char *command, const char *format, va_list arguments)
{
	g_autofree char *message = g_strdup_vprintf(format, arguments);
	g_autofree char *printable = cmd_printable(message);

	fprintf(stderr, "fipmeter%s%s: %s\n", command ? " " : "", command ? command : "", printable);
}

void cmd_say(const char *command, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	print_error(command, format, arguments);
	va_end(arguments);
}

int cmd_fail(const char *command, const GError *error)
{
	cmd_say(command, "%s", error->message);
	return EXIT_FAILED;
}

int cmd_misuse(const char *command, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	print_error(command, format, arguments);
	va_end(arguments);
	return EXIT_USAGE;
}

int cmd_finish_output(const char *command)
{
	bool failed = ferror(stdout);

	errno = 0;
	if (fflush(stdout) == 0 && !failed)
		return EXIT_DONE;
	cmd_say(command, "the output is not complete: %s", errno ? g_strerror(errno) : "a write failed");
	return EXIT_FAILED;
}

void cmd_log(enum cmd_priority priority, const char *format, ...)
{
	g_autofree char *message = NULL, *printable = NULL;
	va_list arguments;

	va_start(arguments, format);
	message = g_strdup_vprintf(format, arguments);
	va_end(arguments);
	printable = cmd_printable(message);
	if (g_log_writer_is_journald(STDERR_FILENO))
		fprintf(stderr, "<%d>%s\n", priority, printable); /* sd-daemon(3) */
	else
		fprintf(stderr, "fipmeter: %s\n", printable);
}

/* ---- options ---- */

static GOptionContext *new_context(const char *summary, const char *examples, const GOptionEntry *entries)
{
	GOptionContext *context = g_option_context_new(NULL);
	g_autofree char *description = g_strdup_printf("Examples:\n%s\n", examples);

	g_option_context_add_main_entries(context, entries, NULL);
	g_option_context_set_summary(context, summary);
	g_option_context_set_description(context, description);
	g_option_context_set_help_enabled(context, FALSE);
	return context;
}

/* GOptionContext's own --help ends the process by itself and never learns that its output was lost. */
static int print_help(const char *command, GOptionContext *context)
{
	g_autofree char *help = g_option_context_get_help(context, TRUE, NULL);

	g_print("%s", help); /* in the character set of the locale */
	return cmd_finish_output(command);
}

/* For packaging/completion.py: long name, letter, argument's name and kind, description, with tabs between. */
static int list_options(const char *command, const GOptionEntry *entries)
{
	for (const GOptionEntry *entry = entries; entry->long_name; entry++)
		printf("%s\t%c\t%s\t%s\t%s\n", entry->long_name, entry->short_name ? entry->short_name : '-',
		       entry->arg_description ? entry->arg_description : "-",
		       entry->arg == G_OPTION_ARG_FILENAME ? "file" : entry->arg == G_OPTION_ARG_NONE ? "none" : "text",
		       entry->description);
	puts("help\th\t-\tnone\tShow this help");
	return cmd_finish_output(command);
}

static bool asks_for_help(int argc, char **argv)
{
	for (int i = 1; i < argc && !g_str_equal(argv[i], "--"); i++)
		if (g_str_equal(argv[i], "--help") || g_str_equal(argv[i], "-h"))
			return true;
	return false;
}

bool cmd_parse(const char *command, const char *summary, const char *examples, const GOptionEntry *entries,
               int *argc, char ***argv, int *status)
{
	g_autoptr(GOptionContext) context = new_context(summary, examples, entries);
	g_autofree char *name = g_strdup_printf("fipmeter %s", command);
	g_autoptr(GError) error = NULL;

	g_set_prgname(name);
	if (*argc == 2 && g_str_equal((*argv)[1], "--list-options")) {
		*status = list_options(command, entries);
		return false;
	}
	if (asks_for_help(*argc, *argv)) {
		*status = print_help(command, context);
		return false;
	}
	if (!g_option_context_parse(context, argc, argv, &error)) {
		*status = cmd_misuse(command, "%s (see fipmeter %s --help)", error->message, command);
		return false;
	}
	if (*argc > 1) {
		bool dashes = g_str_equal((*argv)[1], "--") && *argc > 2;

		*status = cmd_misuse(command, "'%s' is no option, and arguments are not taken (see fipmeter %s --help)",
		                     (*argv)[dashes ? 2 : 1], command);
		return false;
	}
	return true;
}

/* ---- configuration ---- */

struct config *cmd_load_config(const char *path, GError **error)
{
	const char *file = path ? path : CONFIG_PATH;
	g_autoptr(GError) reason = NULL;
	g_autofree char *text = NULL;
	gsize length;

	if (g_file_get_contents(file, &text, &length, &reason))
		return config_parse(text, length, file, error);
	if (!path && g_error_matches(reason, G_FILE_ERROR, G_FILE_ERROR_NOENT))
		return config_new();
	g_propagate_prefixed_error(error, g_steal_pointer(&reason), "configuration: ");
	return NULL;
}

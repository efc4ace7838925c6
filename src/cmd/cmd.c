/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What all subcommands share.
 */
#include "cmd/cmd.h"

#include "store/store.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void escape_character(GString *escaped, gunichar c, bool ascii)
{
	bool breaks = c == 0x2028 || c == 0x2029; /* lines and paragraphs, and counts as printable */

	if (ascii && c >= 0x2018 && c <= 0x201d) /* the quotes of GLib's own messages */
		g_string_append_c(escaped, '\'');
	else if (g_unichar_isprint(c) && !breaks && (c < 0x80 || !ascii))
		g_string_append_unichar(escaped, c);
	else
		g_string_append_printf(escaped, c < 0x80 ? "\\x%02x" : "\\u{%04x}", c);
}

/* Nearly all that is shown. */
static bool is_plain(const char *text)
{
	while (*text >= ' ' && *text <= '~')
		text++;
	return !*text;
}

static char *escape(const char *text, bool ascii)
{
	GString *escaped;

	if (is_plain(text))
		return g_strdup(text);
	escaped = g_string_sized_new(64);
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

#define MESSAGE_MAX 800 /* characters */
#define MESSAGE_END 300 /* of them from its end, where the remedy stands */

/* A message that holds what somebody else wrote may be as long as that: what is too much goes out of its middle. */
static char *G_GNUC_PRINTF(1, 0) printable_message(const char *format, va_list arguments)
{
	g_autofree char *message = g_strdup_vprintf(format, arguments), *printable = cmd_printable(message);
	glong length = g_utf8_strlen(printable, -1);
	g_autofree char *begin = NULL, *end = NULL;

	if (length <= MESSAGE_MAX)
		return g_steal_pointer(&printable);
	begin = g_utf8_substring(printable, 0, MESSAGE_MAX - MESSAGE_END);
	end = g_utf8_substring(printable, length - MESSAGE_END, length);
	return g_strdup_printf("%s [... %ld characters ...] %s", begin, length - MESSAGE_MAX, end);
}

static void G_GNUC_PRINTF(2, 0) print_error(const char *command, const char *format, va_list arguments)
{
	g_autofree char *printable = printable_message(format, arguments);

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

struct store *cmd_open_store(const char *command, const char *directory)
{
	g_autoptr(GError) error = NULL;
	struct store *store = store_open_reader(directory, &error);

	if (g_error_matches(error, STORE_ERROR, STORE_ERROR_MISSING))
		cmd_say(command, CMD_NO_STORE, directory);
	else if (!store)
		cmd_fail(command, error);
	return store;
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
	g_autofree char *printable = NULL;
	va_list arguments;

	va_start(arguments, format);
	printable = printable_message(format, arguments);
	va_end(arguments);
	if (g_log_writer_is_journald(STDERR_FILENO))
		fprintf(stderr, "<%d>%s\n", priority, printable); /* sd-daemon(3) */
	else
		fprintf(stderr, "fipmeter: %s\n", printable);
}

/* ---- options ---- */

static GOptionContext *new_context(const char *summary, const char *examples, const GOptionEntry *entries,
                                   const char *argument)
{
	GOptionContext *context = g_option_context_new(argument);
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

/* GLib passes over what stands behind a switch: --once=no would be --once. */
static const char *find_valued_switch(const GOptionEntry *entries, int argc, char **argv)
{
	for (int i = 1; i < argc && !g_str_equal(argv[i], "--"); i++)
		for (const GOptionEntry *entry = entries; entry->long_name; entry++) {
			size_t length = strlen(entry->long_name);

			if (entry->arg == G_OPTION_ARG_NONE && g_str_has_prefix(argv[i], "--") &&
			    !strncmp(argv[i] + 2, entry->long_name, length) && argv[i][2 + length] == '=')
				return entry->long_name;
		}
	return NULL;
}

/* The first that is no text; file names need not be. */
static const char *find_no_text(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		g_autofree char *text = g_locale_to_utf8(argv[i], -1, NULL, NULL, NULL);

		if (!text)
			return argv[i];
	}
	return "";
}

/* The first option whose value is empty, which none may be; NULL if there is none. */
static const GOptionEntry *find_empty(const GOptionEntry *entries)
{
	for (const GOptionEntry *entry = entries; entry->long_name; entry++) {
		bool has_text = entry->arg == G_OPTION_ARG_STRING || entry->arg == G_OPTION_ARG_FILENAME;
		const char *value = has_text ? *(char **)entry->arg_data : NULL;
		char **values = entry->arg == G_OPTION_ARG_STRING_ARRAY ? *(char ***)entry->arg_data : NULL;

		if ((value && !*value) || (values && g_strv_contains((const char *const *)values, "")))
			return entry;
	}
	return NULL;
}

static int misuse_of(const char *command, const char *no_text, const GError *error)
{
	const char *charset;

	if (error->domain != G_CONVERT_ERROR)
		return cmd_misuse(command, "%s (see fipmeter %s --help)", error->message, command);
	g_get_charset(&charset);
	return cmd_misuse(command, "'%s' is no text in the character set of this locale, %s (see fipmeter %s --help)",
	                  no_text, charset, command);
}

/* What is left once the options are taken: none, or the one that the command takes. */
static int take_argument(const char *command, const char *name, const char **argument, int argc, char **argv)
{
	bool dashes = argc > 1 && g_str_equal(argv[1], "--");
	int first = dashes ? 2 : 1;

	if (!name && argc > 1)
		return cmd_misuse(command, "'%s' is no option, and arguments are not taken (see fipmeter %s --help)",
		                  argv[dashes && argc > 2 ? 2 : 1], command);
	if (name && first >= argc)
		return cmd_misuse(command, "%s is missing (see fipmeter %s --help)", name, command);
	if (name && first + 1 < argc)
		return cmd_misuse(command, "'%s' is one argument too many, %s is all that is taken (see fipmeter %s --help)",
		                  argv[first + 1], name, command);
	if (name)
		*argument = argv[first];
	return EXIT_DONE;
}

bool cmd_parse(const char *command, const char *summary, const char *examples, const GOptionEntry *entries,
               int *argc, char ***argv, int *status)
{
	return cmd_parse_argument(command, summary, examples, entries, NULL, NULL, argc, argv, status);
}

bool cmd_parse_argument(const char *command, const char *summary, const char *examples, const GOptionEntry *entries,
                        const char *argument_name, const char **argument, int *argc, char ***argv, int *status)
{
	g_autoptr(GOptionContext) context = new_context(summary, examples, entries, argument_name);
	g_autofree char *name = g_strdup_printf("fipmeter %s", command);
	const char *valued = find_valued_switch(entries, *argc, *argv), *no_text = find_no_text(*argc, *argv);
	const GOptionEntry *empty;
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
	if (valued) {
		*status = cmd_misuse(command, "--%s takes no value (right: --%s alone, or left out)", valued, valued);
		return false;
	}
	if (!g_option_context_parse(context, argc, argv, &error)) {
		*status = misuse_of(command, no_text, error);
		return false;
	}
	empty = find_empty(entries);
	if (empty)
		*status = cmd_misuse(command, "--%s is empty (right: --%s %s, or left out)", empty->long_name,
		                     empty->long_name, empty->arg_description);
	else
		*status = take_argument(command, argument_name, argument, *argc, *argv);
	return *status == EXIT_DONE;
}

/* ---- configuration ---- */

#define CONFIG_LENGTH_MAX (1 << 20)

/* Of a file of any kind, also one that never ends.  With a NUL behind it; NULL on failure. */
static char *read_config(const char *file, size_t *length, GError **error)
{
	g_autofree char *text = g_malloc(CONFIG_LENGTH_MAX + 1);
	FILE *stream = fopen(file, "re");
	int number = errno;

	if (stream) {
		*length = fread(text, 1, CONFIG_LENGTH_MAX + 1, stream);
		number = ferror(stream) ? errno : *length > CONFIG_LENGTH_MAX ? EFBIG : 0;
		fclose(stream);
	}
	if (number) {
		g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(number),
		            "cannot read the configuration %s: %s (right: a text file of 1 MiB at most; see fipmeter.conf(5))",
		            file, g_strerror(number));
		return NULL;
	}
	text[*length] = '\0';
	return g_steal_pointer(&text);
}

struct config *cmd_load_config(const char *path, GError **error)
{
	const char *file = path ? path : CONFIG_PATH;
	g_autoptr(GError) reason = NULL;
	g_autofree char *text = NULL;
	size_t length = 0;

	text = read_config(file, &length, &reason);
	if (text)
		return config_parse(text, length, file, error);
	if (!path && g_error_matches(reason, G_FILE_ERROR, G_FILE_ERROR_NOENT))
		return config_new();
	g_propagate_error(error, g_steal_pointer(&reason));
	return NULL;
}

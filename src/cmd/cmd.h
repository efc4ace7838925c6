/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What all subcommands share: exit statuses, options, and how things are said on stderr.  Only code in
 * src/cmd prints or exits.
 */
#ifndef FIPMETER_CMD_CMD_H
#define FIPMETER_CMD_CMD_H

#include "core/config.h"

#include <glib.h>
#include <stdbool.h>

struct store;

enum exit_status {
	EXIT_DONE = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,   /* wrong options or arguments */
	EXIT_UNKNOWN = 3, /* the address or router asked for is not known */
	EXIT_PARTIAL = 4, /* done, but something is not metered */
};

/* The subcommands.  argv[0] is the subcommand's name; each returns the exit status. */
int cmd_agent(int argc, char **argv);
int cmd_audit(int argc, char **argv);
int cmd_detach(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_explain(int argc, char **argv);
int cmd_plan(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_usage(int argc, char **argv);
int cmd_verify(int argc, char **argv);
int cmd_watch(int argc, char **argv);

/*
 * Parses the options of a subcommand; arguments that are no options are refused.  summary stands above and
 * examples below the options in --help.  False if there is nothing left to do (wrong options, told on stderr;
 * or --help): the command then returns *status.
 */
bool cmd_parse(const char *command, const char *summary, const char *examples, const GOptionEntry *entries,
               int *argc, char ***argv, int *status);

/* The same of a command that takes exactly one argument, which help calls name: *argument is it, argv's own. */
bool cmd_parse_argument(const char *command, const char *summary, const char *examples, const GOptionEntry *entries,
                        const char *name, const char **argument, int *argc, char ***argv, int *status);

/* Each says one line, "fipmeter COMMAND: …", on stderr.  The first returns EXIT_FAILED, the second
 * EXIT_USAGE. */
int cmd_fail(const char *command, const GError *error);
int cmd_misuse(const char *command, const char *format, ...) G_GNUC_PRINTF(2, 3);
void cmd_say(const char *command, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* The message of those who read, with the directory, where there is no store. */
#define CMD_NO_STORE "there is no usage in %s yet: start fipmeter agent, or name the directory with --state-dir"

/* Reads the configuration.  path NULL means CONFIG_PATH, which may be missing: then the defaults hold. */
struct config *cmd_load_config(const char *path, GError **error);

/* Opens the store for reading.  NULL: it has said why, and the command ends with EXIT_FAILED. */
struct store *cmd_open_store(const char *command, const char *directory);

/* Flushes stdout at the end of a command: EXIT_DONE, or EXIT_FAILED if not all of the output could be
 * written. */
int cmd_finish_output(const char *command);

/* The log of a role that runs for long: one line on stderr, with the priority in front where the journal
 * reads it. */
enum cmd_priority { CMD_ERROR = 3, CMD_WARNING = 4, CMD_NOTICE = 5, CMD_INFO = 6 }; /* as in syslog(3) */
void cmd_log(enum cmd_priority priority, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* Copies of text that a terminal shows and does not obey: control and format characters, line ends too,
 * and bytes that are no UTF-8 become \xNN or \u{NNNN}.  All that the functions above print goes through
 * cmd_printable(), which also keeps to the characters of the locale; cmd_escape() gives the same
 * everywhere.  The caller frees. */
char *cmd_printable(const char *text);
char *cmd_escape(const char *text);

#endif

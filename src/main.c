/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fipmeter: the table of subcommands.
 */
#include "cmd/cmd.h"

#include <locale.h>
#include <stdio.h>
#include <sys/stat.h>

#ifndef FIPMETER_VERSION
#define FIPMETER_VERSION "unknown"
#endif

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *summary;
} commands[] = {
	{ "usage", cmd_usage, "Bytes and packets of each address; what bare fipmeter shows" },
	{ "agent", cmd_agent, "Meters this node's routers until it is told to stop" },
	{ "status", cmd_status, "Is everything on this node metered, and if not, why" },
	{ "doctor", cmd_doctor, "What is wrong or doubtful on this node, why, and what to do" },
	{ "watch", cmd_watch, "What each address does at this moment, second by second" },
	{ "plan", cmd_plan, "The routers of this node and what would be counted; changes nothing" },
	{ "explain", cmd_explain, "From the usage of one address back to the counters in the kernel" },
	{ "audit", cmd_audit, "Checks that all records sum to what the counters showed" },
	{ "verify", cmd_verify, "Sends known volumes and compares what is counted with what was sent" },
	{ "detach", cmd_detach, "Takes a last reading, then removes all of fipmeter from the kernel" },
};

static int print_help(void)
{
	puts("Usage:\n  fipmeter [COMMAND [OPTION...]]\n\n"
	     "Meters the traffic of OpenStack floating IPs and router gateway addresses.\n\nCommands:");
	for (unsigned i = 0; i < G_N_ELEMENTS(commands); i++)
		printf("  %-9s%s\n", commands[i].name, commands[i].summary);
	puts("\nfipmeter COMMAND --help tells more; fipmeter --version prints the version.");
	return cmd_finish_output(NULL);
}

/* For packaging/completion.py. */
static int list_commands(void)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(commands); i++)
		printf("%s\t%s\n", commands[i].name, commands[i].summary);
	return cmd_finish_output(NULL);
}

static int run_command(int argc, char **argv)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(commands); i++)
		if (g_str_equal(argv[0], commands[i].name))
			return commands[i].run(argc, argv);
	if (argv[0][0] == '-')
		return cmd_misuse(NULL, "%s stands before a command (right: fipmeter usage %s; see fipmeter --help)",
		                  argv[0], argv[0]);
	return cmd_misuse(NULL, "there is no command '%s' (fipmeter --help lists the commands)", argv[0]);
}

int main(int argc, char **argv)
{
	char *bare[] = { (char *)"usage", NULL };

	/* Characters alone: messages and numbers are the same in every locale. */
	setlocale(LC_CTYPE, "");
	umask(027);
	if (argc < 2)
		return run_command(1, bare);
	if (g_str_equal(argv[1], "--version")) {
		puts("fipmeter " FIPMETER_VERSION);
		return cmd_finish_output(NULL);
	}
	if (g_str_equal(argv[1], "--list-commands"))
		return list_commands();
	if (g_str_equal(argv[1], "--help") || g_str_equal(argv[1], "-h") || g_str_equal(argv[1], "help"))
		return print_help();
	return run_command(argc - 1, argv + 1);
}

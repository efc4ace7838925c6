/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fipmeter detach: takes a last reading of everything, keeps it, and leaves each router's rules as they were before
 * fipmeter.
 */
#include "cmd/cycle.h"
#include "cmd/look.h"

static bool everything(const struct site *site)
{
	return true;
}

static bool detach(struct node *node, GError **error)
{
	if (!look(node, LOOK_ALL, error) || !cycle_remains(node, error) || !cycle_evict(node, error))
		return false;
	cycle_read(node);
	return cycle_take_down(node, everything, error);
}

int cmd_detach(int argc, char **argv)
{
	struct node_options options = { 0 };
	struct node node;
	const GOptionEntry entries[] = { NODE_OPTIONS(&options), NODE_STATE_OPTION(&options), { NULL } };
	g_autoptr(GError) error = NULL;
	int status;

	if (!cmd_parse("detach", "Takes a last reading and removes all that fipmeter has put into the kernel.\n"
	               "Stop the agent first. What was counted stays in the store.",
	               "  fipmeter detach\n"
	               "Exit status: 0 done; 1 failed; 2 wrong usage; 4 a router could not be cleaned.",
	               entries, &argc, &argv, &status) ||
	    (status = node_check_options("detach", &options)) != EXIT_DONE) {
		node_options_clear(&options);
		return status;
	}
	if (!node_open(&node, &options, &error) || !node_open_books(&node, &error) || !detach(&node, &error))
		status = cmd_fail("detach", error);
	else
		status = node.unmetered ? EXIT_PARTIAL : EXIT_DONE;
	node_close(&node);
	node_options_clear(&options);
	return status;
}

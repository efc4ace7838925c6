/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fipmeter verify: sends known volumes to and from a public address, and compares what fipmeter has stored of them with
 * what was sent.  It reads the store and asks the agent for samples; it changes nothing.
 */
#include "cmd/verify.h"

#include "cmd/cmd.h"
#include "core/period.h"

#include <stdio.h>

#define COMMAND "verify"
#define PORT 5201 /* iperf3's own */
#define PATIENCE_INTERVALS 3
#define PATIENCE_US (10 * G_USEC_PER_SEC)

struct options {
	char *address, *server, *port, *client, *scale, *mtu, *card, *truth, *around, *beside, *output, *netns_dir, *state_dir, *config;
	char **tests;
	gboolean seed_table;
};

/* In minutes, both directions. */
static const char *const usual[] = { "in:100M:100M", "in:1G:1G", "out:100M:100M", "out:1G:1G", NULL };

/* ---- what is asked ---- */

static bool take_tests(struct verify *verify, const struct options *options, int *status)
{
	g_autoptr(GError) error = NULL;
	const char *const *texts = options->tests ? (const char *const *)options->tests : usual;
	struct accuracy_test test;

	if (options->seed_table) {
		unsigned n;
		const struct accuracy_test *seed = accuracy_seed_table(&n);

		g_array_append_vals(verify->tests, seed, n);
	}
	for (unsigned i = 0; texts[i] && (options->tests || !options->seed_table); i++) {
		if (!accuracy_parse_test(texts[i], &test, &error)) {
			*status = cmd_misuse(COMMAND, "--test %s", error->message);
			return false;
		}
		g_array_append_val(verify->tests, test);
	}
	for (unsigned i = 0; i < verify->tests->len; i++) {
		struct accuracy_test *each = &g_array_index(verify->tests, struct accuracy_test, i);

		each->volume = MAX(each->volume / verify->scale, 1);
	}
	return true;
}

static bool take_command(const char *name, const char *text, char ***argv, int *status)
{
	g_autoptr(GError) error = NULL;

	if (!text || g_shell_parse_argv(text, NULL, argv, &error))
		return true;
	*status = cmd_misuse(COMMAND, "--%s: %s", name, error->message);
	return false;
}

/* text NULL: number stays what it is. */
static bool take_number(const char *name, const char *text, unsigned lowest, unsigned highest, unsigned *number, int *status)
{
	guint64 value;

	if (!text)
		return true;
	if (!g_ascii_string_to_unsigned(text, 10, lowest, highest, &value, NULL)) {
		*status = cmd_misuse(COMMAND, "--%s: '%s' does not do (right: a whole number from %u to %u)", name, text, lowest,
		                     highest);
		return false;
	}
	*number = (unsigned)value;
	return true;
}

static bool take_ends(struct verify *verify, const struct options *options, int *status)
{
	if (!options->address) {
		*status = cmd_misuse(COMMAND, "--address is missing (right: --address 192.0.2.1, a public address that is "
		                     "metered here and has no other traffic now)");
		return false;
	}
	if (!address_from_string(options->address, &verify->address) || !verify->address) {
		*status = cmd_misuse(COMMAND, "--address: '%s' is no IPv4 address (right: 192.0.2.1)", options->address);
		return false;
	}
	verify->server = options->server ? options->server : options->address;
	verify->server_is_address = g_str_equal(verify->server, options->address);
	if (*verify->server == '-') {
		*status = cmd_misuse(COMMAND, "--server: '%s' is no host", verify->server);
		return false;
	}
	return true;
}

static bool take_options(struct verify *verify, const struct options *options, int *status)
{
	verify->beside = options->beside;
	return take_number("port", options->port, 1, 65535, &verify->port, status) &&
	       take_number("mtu", options->mtu, 576, 65535, &verify->mtu, status) &&
	       take_number("scale", options->scale, 1, 1000000, &verify->scale, status) &&
	       take_command("client", options->client, &verify->client, status) &&
	       take_command("card", options->card, &verify->card, status) &&
	       take_command("truth", options->truth, &verify->truth, status) &&
	       take_command("around", options->around, &verify->around, status) && take_tests(verify, options, status) &&
	       take_ends(verify, options, status);
}

/* ---- what is done ---- */

static void tell_duration(const struct verify *verify)
{
	g_autoptr(GTimeZone) local = g_time_zone_new_local();
	int64_t all_us = verify_duration_us(verify), all_s = all_us / G_USEC_PER_SEC;
	g_autofree char *end = time_format((g_get_real_time() + all_us) / G_USEC_PER_SEC * G_USEC_PER_SEC, local);
	uint64_t volume = 0;
	g_autofree char *shown = NULL;

	for (unsigned i = 0; i < verify->tests->len; i++)
		volume += g_array_index(verify->tests, struct accuracy_test, i).volume;
	shown = verify_volume_text(volume);
	cmd_say(COMMAND, "%u transfer%s, %s: %" G_GINT64_FORMAT " h %" G_GINT64_FORMAT " min %" G_GINT64_FORMAT " s and the time "
	        "that samples take; not before %s", verify->tests->len, verify->tests->len == 1 ? "" : "s", shown,
	        all_s / 3600, all_s / 60 % 60, all_s % 60, end);
}

/* What was sent twice did pass by, and is counted rightly. */
static int conclude(const struct verify *verify)
{
	int status = cmd_finish_output(COMMAND);

	for (unsigned i = 0; i < verify->transfers->len && status == EXIT_DONE; i++) {
		enum accuracy_verdict verdict = accuracy_judge(&g_array_index(verify->transfers, struct accuracy_transfer, i));

		if (verdict != ACCURACY_INSIDE && verdict != ACCURACY_LOSS)
			status = EXIT_PARTIAL;
	}
	return status;
}

static int carry_out(struct verify *verify, const struct options *options)
{
	const char *format = options->output ? options->output : "table";
	g_autoptr(GError) error = NULL;
	SCOPED(config) *config = cmd_load_config(options->config, &error);
	int status;

	if (!config)
		return cmd_fail(COMMAND, error);
	config_override(&config->state_dir, options->state_dir);
	config_override(&config->netns_dir, options->netns_dir);
	verify->config = config;
	verify->patience_us = PATIENCE_INTERVALS * config->interval_s * G_USEC_PER_SEC + PATIENCE_US;
	tell_duration(verify);
	status = verify_run(verify);
	if (!verify->transfers->len)
		return status;
	verify_show(verify, format); /* what was measured is not thrown away */
	return status == EXIT_DONE ? conclude(verify) : status;
}

static void verify_clear(struct verify *verify)
{
	g_free(verify->ns);
	g_free(verify->router);
	g_strfreev(verify->client);
	g_strfreev(verify->card);
	g_strfreev(verify->truth);
	g_strfreev(verify->around);
	g_array_unref(verify->tests);
	g_array_unref(verify->transfers);
}

static int verify_as_asked(const struct options *options)
{
	struct verify verify = {
		.port = PORT, .mtu = 1500, .scale = 1,
		.tests = g_array_new(FALSE, TRUE, sizeof(struct accuracy_test)),
		.transfers = g_array_new(FALSE, TRUE, sizeof(struct accuracy_transfer)),
	};
	int status;

	if (options->output && !g_str_equal(options->output, "table") && !g_str_equal(options->output, "json") &&
	    !g_str_equal(options->output, "markdown"))
		status = cmd_misuse(COMMAND, "-o %s is not known (right: table, json or markdown)", options->output);
	else if (take_options(&verify, options, &status))
		status = carry_out(&verify, options);
	verify_clear(&verify);
	return status;
}

static void options_clear(struct options *options)
{
	g_free(options->address);
	g_free(options->server);
	g_free(options->port);
	g_free(options->scale);
	g_free(options->mtu);
	g_free(options->client);
	g_free(options->card);
	g_free(options->truth);
	g_free(options->around);
	g_free(options->beside);
	g_free(options->output);
	g_free(options->netns_dir);
	g_free(options->state_dir);
	g_free(options->config);
	g_strfreev(options->tests);
}

int cmd_verify(int argc, char **argv)
{
	struct options options = { 0 };
	const GOptionEntry entries[] = {
		{ "address", 'a', 0, G_OPTION_ARG_STRING, &options.address, "The public address to and from which is sent", "ADDRESS" },
		{ "server", 0, 0, G_OPTION_ARG_STRING, &options.server, "Where iperf3 -s runs (behind the address)", "HOST" },
		{ "port", 0, 0, G_OPTION_ARG_STRING, &options.port, "Its port (5201)", "PORT" },
		{ "client", 0, 0, G_OPTION_ARG_STRING, &options.client, "Runs iperf3 where the client is: ssh VM (here)", "COMMAND" },
		{ "test", 't', 0, G_OPTION_ARG_STRING_ARRAY, &options.tests, "Direction, volume and bits a second; may be repeated", "in:1G:100M" },
		{ "seed-table", 0, 0, G_OPTION_ARG_NONE, &options.seed_table, "The rows by which the project began: 23 hours", NULL },
		{ "scale", 0, 0, G_OPTION_ARG_STRING, &options.scale, "All volumes divided by this", "N" },
		{ "mtu", 0, 0, G_OPTION_ARG_STRING, &options.mtu, "Bytes of the largest packet on the path (1500)", "BYTES" },
		{ "card", 0, 0, G_OPTION_ARG_STRING, &options.card, "Tells the counters of the VM's network card", "COMMAND" },
		{ "truth", 0, 0, G_OPTION_ARG_STRING, &options.truth, "Tells an exact count of the packets on the wire", "COMMAND" },
		{ "around", 0, 0, G_OPTION_ARG_STRING, &options.around, "Called around tests with a label", "COMMAND" },
		{ "beside", 0, 0, G_OPTION_ARG_STRING, &options.beside, "Has a second back end count beside the agent's", "BACKEND" },
		{ "output", 'o', 0, G_OPTION_ARG_STRING, &options.output, "table, json or markdown (table)", "FORMAT" },
		{ "netns-dir", 0, 0, G_OPTION_ARG_FILENAME, &options.netns_dir, "Where the network namespaces are", "DIR" },
		{ "state-dir", 0, 0, G_OPTION_ARG_FILENAME, &options.state_dir, "Where the usage is kept", "DIR" },
		{ "config", 'c', 0, G_OPTION_ARG_FILENAME, &options.config, "Configuration (" CONFIG_PATH ")", "FILE" },
		{ NULL },
	};
	int status;

	if (cmd_parse(COMMAND, "Proves the counters: sends known volumes by iperf3 to and from an address that\n"
	              "is metered on this node, and compares what is stored of them with what was sent.\n"
	              "The address should have no other traffic meanwhile.",
	              "  fipmeter verify --address 192.0.2.10\n"
	              "      iperf3 -s runs in the VM behind it, the client here\n"
	              "  fipmeter verify --address 192.0.2.10 --server 203.0.113.9 --client 'ssh VM'\n"
	              "      iperf3 -s runs at 203.0.113.9, the client in the VM\n"
	              "  fipmeter verify --address 192.0.2.10 --seed-table --scale 100 -o markdown\n"
	              "With --card, a command that writes four numbers (bytes and packets received,\n"
	              "bytes and packets sent), the error against the VM's own card is shown, too.\n"
	              "Exit status: 0 every count is between payload and payload with headers, or above\n"
	              "by no more than what was sent twice; 1 failed; 2 wrong usage; 3 address not\n"
	              "metered here; 4 a count is not.",
	              entries, &argc, &argv, &status))
		status = verify_as_asked(&options);
	options_clear(&options);
	return status;
}

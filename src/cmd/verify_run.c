/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One transfer after the other: a sample before and a sample behind each, so that the rows between are the transfer's.
 */
#include "cmd/verify.h"

#include "cmd/bulletin.h"
#include "cmd/cmd.h"
#include "kernel/clock.h"
#include "store/query.h"
#include "store/trace.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define COMMAND "verify"
#define VERIFY_ERROR (g_quark_from_static_string("fipmeter-verify"))
#define STEP_MS 250
#define SETTLE_US 500000           /* the last segments and the end of the connections are on their way */
#define BAR 20
#define ANSWER_MAX (4u << 20)      /* of a command */

/* ---- the end before the end ---- */

static volatile sig_atomic_t interrupted;

static void take_interrupt(int number)
{
	interrupted = number;
}

/* What has been made goes, and what has been measured is shown. */
static bool is_interrupted(GError **error)
{
	if (interrupted)
		g_set_error(error, VERIFY_ERROR, 0, "interrupted; what was measured until then is above");
	return interrupted;
}

/* ---- telling ---- */

static bool is_told(void)
{
	return isatty(STDERR_FILENO);
}

static void tell(const struct verify *verify, unsigned at, const char *what, int64_t passed_us, int64_t all_us)
{
	const struct accuracy_test *test = &g_array_index(verify->tests, struct accuracy_test, at);
	int64_t part = all_us ? CLAMP(passed_us * 100 / all_us, 0, 99) : 0, left_s = MAX(all_us - passed_us, 0) / G_USEC_PER_SEC;
	char bar[BAR + 1];

	if (!is_told())
		return;
	for (unsigned i = 0; i < BAR; i++)
		bar[i] = i < part * BAR / 100 ? '#' : '.';
	bar[BAR] = '\0';
	fprintf(stderr, "\r\033[K%u of %u  %-3s %s", at + 1, verify->tests->len, test->in ? "in" : "out", what);
	if (all_us)
		fprintf(stderr, "  [%s] %2" G_GINT64_FORMAT " %%, %" G_GINT64_FORMAT " s left", bar, part, left_s);
	fflush(stderr);
}

static void tell_no_more(void)
{
	if (is_told())
		fputs("\r\033[K", stderr); /* back to an empty line (ECMA-48, EL) */
}

/* ---- commands ---- */

static void G_GNUC_PRINTF(2, 3) set_error(GError **error, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	g_propagate_error(error, g_error_new_valist(VERIFY_ERROR, 0, format, arguments));
	va_end(arguments);
}

/* Reads what the child says until it has said all, or too much, and calls again each STEP_MS. */
static GString *read_all(int fd, void (*again)(void *data), void *data)
{
	GString *text = g_string_new(NULL);
	char part[4096];
	ssize_t n;

	for (;;) {
		struct pollfd ready = { .fd = fd, .events = POLLIN };

		if (poll(&ready, 1, STEP_MS) > 0) {
			n = read(fd, part, sizeof part);
			if (n <= 0 && !(n < 0 && errno == EINTR))
				break;
			if (n > 0)
				g_string_append_len(text, part, n);
		}
		if (text->len > ANSWER_MAX || interrupted)
			break;
		if (again)
			again(data);
	}
	return text;
}

/* Runs argv and waits for it; what it writes to stdout is returned, NULL if it cannot be run.  *status as wait(2) has it. */
static char *run(char **argv, int *status, void (*again)(void *data), void *data, GError **error)
{
	const GSpawnFlags flags = G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD;
	GString *text;
	GPid pid;
	int fd;

	if (!g_spawn_async_with_pipes(NULL, argv, NULL, flags, NULL, NULL, &pid, NULL, &fd, NULL, error))
		return NULL;
	text = read_all(fd, again, data);
	close(fd);
	while (waitpid(pid, status, 0) < 0 && errno == EINTR)
		;
	return g_string_free(text, FALSE);
}

/* argv and then so many words. */
static GPtrArray *words_new(char **argv)
{
	GPtrArray *words = g_ptr_array_new_with_free_func(g_free);

	for (unsigned i = 0; argv && argv[i]; i++)
		g_ptr_array_add(words, g_strdup(argv[i]));
	return words;
}

static void add_words(GPtrArray *words, ...) G_GNUC_NULL_TERMINATED;
static void add_words(GPtrArray *words, ...)
{
	va_list arguments;
	const char *word;

	va_start(arguments, words);
	while ((word = va_arg(arguments, const char *)))
		g_ptr_array_add(words, g_strdup(word));
	va_end(arguments);
}

/* Runs it; anything but the exit status 0 is an error. */
static char *run_command(GPtrArray *words, const char *option, GError **error)
{
	g_autofree char *said = NULL;
	int status;

	g_ptr_array_add(words, NULL);
	said = run((char **)words->pdata, &status, NULL, NULL, error);
	if (!said) {
		g_prefix_error(error, "%s: ", option);
		return NULL;
	}
	if (!g_spawn_check_wait_status(status, error)) {
		g_prefix_error(error, "%s %s: ", option, (char *)words->pdata[0]);
		return NULL;
	}
	return g_steal_pointer(&said);
}

/* Four whole numbers: bytes and packets to whoever is behind the address, then from it. */
static bool read_figures(char **argv, const char *option, uint64_t figures[4], GError **error)
{
	g_autoptr(GPtrArray) words = words_new(argv);
	g_autofree char *said = run_command(words, option, error);
	char *from = said, *end;

	for (unsigned i = 0; said && i < 4; i++) {
		figures[i] = g_ascii_strtoull(from, &end, 10);
		if (end == from) {
			set_error(error, "%s %s said %u numbers (right: four, bytes and packets to the VM, bytes and packets from it)",
			          option, argv[0], i);
			return false;
		}
		from = end;
	}
	return said;
}

static bool call_around(const struct verify *verify, const struct accuracy_test *test, const char *when, GError **error)
{
	g_autoptr(GPtrArray) words = words_new(verify->around);
	g_autofree char *said = NULL;

	if (!verify->around || !*test->label)
		return true;
	add_words(words, when, test->label, test->in ? "in" : "out", NULL);
	said = run_command(words, "--around", error);
	return said;
}

/* ---- the store ---- */

struct last_read {
	const char *router;
	int64_t read_us;
};

static void take_router(const char *router, int64_t read_us, void *data)
{
	struct last_read *last = data;

	if (g_str_equal(router, last->router))
		last->read_us = read_us;
}

/* When the router was read last.  The store is opened anew: it may have been set aside meanwhile. */
static bool last_reading(const struct verify *verify, int64_t *read_us, GError **error)
{
	struct store *store = store_open_reader(verify->config->state_dir, error);
	struct last_read last = { .router = verify->router };
	bool done = store && store_each_router(store, take_router, &last, error);

	store_close(store);
	*read_us = last.read_us;
	return done;
}

/* Who may do that need not wait for the agent's own time. */
static void ask_for_sample(const struct verify *verify)
{
	json_t *told = NULL;
	long holder = 0;

	if (bulletin_read(verify->config->netns_dir, &told, &holder, NULL) && told && holder > 0)
		kill((pid_t)holder, SIGUSR1);
	json_decref(told);
}

/* Until all that has passed is in the store.  *read_us: the reading that it is in. */
static bool await_sample(const struct verify *verify, unsigned at, int64_t *read_us, GError **error)
{
	int64_t now_us = g_get_real_time(), began_us = clock_now().boot_us, waited_us = 0;

	ask_for_sample(verify);
	while (waited_us < verify->patience_us) {
		if (is_interrupted(error) || !last_reading(verify, read_us, error))
			return false;
		if (*read_us > now_us)
			return true;
		tell(verify, at, "waiting for the agent's sample", 0, 0);
		g_usleep(STEP_MS * 1000);
		waited_us = clock_now().boot_us - began_us;
	}
	set_error(error, "no sample of router %s came into %s in %" G_GINT64_FORMAT " s: does the agent run? (fipmeter status)",
	          verify->router, verify->config->state_dir, verify->patience_us / G_USEC_PER_SEC);
	return false;
}

struct sum {
	struct accuracy_transfer *transfer;
	bool in;
};

static void add_row(const struct report_line *row, void *data)
{
	struct sum *sum = data;

	sum->transfer->collected += sum->in ? row->counts.in_bytes : row->counts.out_bytes;
	sum->transfer->packets += sum->in ? row->counts.in_packets : row->counts.out_packets;
	sum->transfer->flags |= row->flags;
	if (row->basis >= 0)
		sum->transfer->basis = (enum basis)row->basis;
}

/* All that was counted between two readings. */
static bool collect(const struct verify *verify, bool in, int64_t since_us, int64_t until_us,
                    struct accuracy_transfer *transfer, GError **error)
{
	struct usage_filter filter = {
		.since_us = since_us, .until_us = until_us, .address = verify->address, .per = PERIOD_INTERVAL,
	};
	struct store *store = store_open_reader(verify->config->state_dir, error);
	struct sum sum = { transfer, in };
	bool done = store && store_each_usage(store, &filter, add_row, &sum, error);

	store_close(store);
	return done;
}

/* ---- iperf3 ---- */

struct sending {
	const struct verify *verify;
	unsigned at;
	int64_t began_us, all_us;
};

static int64_t duration_us(const struct accuracy_test *test)
{
	return (int64_t)((long double)test->volume * 8 * G_USEC_PER_SEC / test->rate);
}

int64_t verify_duration_us(const struct verify *verify)
{
	int64_t all_us = 0;

	for (unsigned i = 0; i < verify->tests->len; i++)
		all_us += duration_us(&g_array_index(verify->tests, struct accuracy_test, i)) + 2 * SETTLE_US;
	return all_us;
}

static void tell_sending(void *data)
{
	const struct sending *sending = data;

	tell(sending->verify, sending->at, "sending", clock_now().boot_us - sending->began_us, sending->all_us);
}

static GPtrArray *iperf3_words(const struct verify *verify, const struct accuracy_test *test)
{
	GPtrArray *words = words_new(verify->client);
	g_autofree char *port = g_strdup_printf("%u", verify->port);
	g_autofree char *volume = g_strdup_printf("%" G_GUINT64_FORMAT, test->volume);
	g_autofree char *rate = g_strdup_printf("%" G_GUINT64_FORMAT, test->rate);

	add_words(words, "iperf3", "--client", verify->server, "--port", port, "--bytes", volume, "--bitrate", rate, "--json", NULL);
	if (test->in != verify->server_is_address) /* the server sends */
		add_words(words, "--reverse", NULL);
	g_ptr_array_add(words, NULL);
	return words;
}

static uint64_t figure(json_t *end, const char *who, const char *name)
{
	return (uint64_t)MAX(json_integer_value(json_object_get(json_object_get(end, who), name)), 0);
}

/* iperf3 says all in one object of JSON, errors too. */
static bool take_results(const struct verify *verify, const char *said, struct accuracy_transfer *transfer, GError **error)
{
	json_error_t wrong;
	json_t *told = json_loads(said, 0, &wrong), *end = json_object_get(told, "end");
	const char *failure = json_string_value(json_object_get(told, "error"));
	json_t *start = json_object_get(told, "start"), *mss = json_object_get(start, "tcp_mss_default");

	transfer->sent = figure(end, "sum_sent", "bytes");
	transfer->received = figure(end, "sum_received", "bytes");
	transfer->retransmitted = figure(end, "sum_sent", "retransmits");
	transfer->mss = (unsigned)json_integer_value(mss ? mss : json_object_get(start, "tcp_mss"));
	transfer->header = accuracy_header(verify->mtu, transfer->mss);
	if (failure)
		set_error(error, "iperf3: %s (right: iperf3 -s runs at %s, and its port %u is open to this end)", failure,
		          verify->server, verify->port);
	else if (!told || !transfer->sent || !transfer->received)
		set_error(error, "iperf3 told no result%s%s", told ? "" : ": ", told ? "" : wrong.text);
	json_decref(told);
	return !failure && transfer->sent && transfer->received;
}

static bool send_volume(const struct verify *verify, unsigned at, struct accuracy_transfer *transfer, GError **error)
{
	const struct accuracy_test *test = &g_array_index(verify->tests, struct accuracy_test, at);
	g_autoptr(GPtrArray) words = iperf3_words(verify, test);
	struct sending sending = { verify, at, clock_now().boot_us, duration_us(test) };
	g_autofree char *said = NULL;
	int status;

	said = run((char **)words->pdata, &status, tell_sending, &sending, error);
	if (said && is_interrupted(error))
		return false;
	if (!said) {
		g_prefix_error(error, "iperf3 cannot be run (right: it is installed where the client runs): ");
		return false;
	}
	if (!*said) {
		set_error(error, "%s ended without a word of iperf3's", (char *)words->pdata[0]);
		return false;
	}
	return take_results(verify, said, transfer, error);
}

/* ---- a test ---- */

struct figures {
	uint64_t card[4], truth[4];
	struct counts beside;
};

static bool read_all_figures(const struct verify *verify, struct beside *beside, struct figures *figures, GError **error)
{
	return (!verify->card || read_figures(verify->card, "--card", figures->card, error)) &&
	       (!verify->truth || read_figures(verify->truth, "--truth", figures->truth, error)) &&
	       (!beside || beside_read(beside, verify->address, &figures->beside, error));
}

static void take_figures(const struct verify *verify, bool in, const struct figures *before, const struct figures *after,
                         struct accuracy_transfer *transfer)
{
	unsigned bytes = in ? 0 : 2, packets = bytes + 1;
	struct counts beside = counts_minus(&after->beside, &before->beside);

	transfer->has_beside = verify->beside;
	transfer->beside = in ? beside.in_bytes : beside.out_bytes;
	transfer->beside_packets = in ? beside.in_packets : beside.out_packets;
	transfer->has_card = verify->card;
	transfer->card = after->card[bytes] - before->card[bytes];
	transfer->has_truth = verify->truth;
	transfer->truth = after->truth[bytes] - before->truth[bytes];
	transfer->truth_packets = after->truth[packets] - before->truth[packets];
}

static bool send_around(const struct verify *verify, unsigned at, struct accuracy_transfer *transfer, GError **error)
{
	const struct accuracy_test *test = &g_array_index(verify->tests, struct accuracy_test, at);
	bool done;

	if (!call_around(verify, test, "begin", error))
		return false;
	done = send_volume(verify, at, transfer, error);
	g_usleep(SETTLE_US);
	return call_around(verify, test, "end", done ? error : NULL) && done;
}

static bool run_test(struct verify *verify, struct beside *beside, unsigned at, GError **error)
{
	bool in = g_array_index(verify->tests, struct accuracy_test, at).in;
	struct accuracy_transfer transfer = { 0 };
	struct figures before = { 0 }, after = { 0 };
	int64_t since_us, until_us;

	if (!await_sample(verify, at, &since_us, error) || !read_all_figures(verify, beside, &before, error) ||
	    !send_around(verify, at, &transfer, error) || !read_all_figures(verify, beside, &after, error) ||
	    !await_sample(verify, at, &until_us, error) || !collect(verify, in, since_us, until_us, &transfer, error))
		return false;
	take_figures(verify, in, &before, &after, &transfer);
	g_array_append_val(verify->transfers, transfer);
	return true;
}

/* ---- all of them ---- */

/* Of an address that is metered now. */
static int find_router(struct verify *verify)
{
	SCOPED(explanation) *explanation = explanation_new(verify->address, 0, false);
	struct store *store = cmd_open_store(COMMAND, verify->config->state_dir);
	g_autofree char *shown = address_to_string(verify->address);
	g_autoptr(GError) error = NULL;
	bool known = false;
	int status = EXIT_DONE;

	if (!store)
		return EXIT_FAILED;
	if (!store_trace(store, explanation, &known, &error)) {
		status = cmd_fail(COMMAND, error);
	} else if (!known || !explanation->in_force) {
		cmd_say(COMMAND, "address %s is not metered on this node (fipmeter usage lists those that are)", shown);
		status = EXIT_UNKNOWN;
	} else {
		verify->router = g_strdup(explanation->life->of->router);
		verify->ns = g_strdup(explanation->life->of->ns);
	}
	store_close(store);
	return status;
}

static int run_all(struct verify *verify, struct beside *beside)
{
	g_autoptr(GError) error = NULL;

	for (unsigned i = 0; i < verify->tests->len; i++) {
		bool done = run_test(verify, beside, i, &error);

		tell_no_more();
		if (!done)
			return cmd_fail(COMMAND, error);
	}
	return EXIT_DONE;
}

static int run_beside(struct verify *verify)
{
	g_autoptr(GError) error = NULL;
	struct beside *beside = beside_new(verify->config, verify->ns, verify->beside, &error);
	int status;

	if (!beside)
		return cmd_fail(COMMAND, error);
	status = run_all(verify, beside);
	return beside_free(beside, &error) ? status : cmd_fail(COMMAND, error);
}

int verify_run(struct verify *verify)
{
	struct sigaction action = { .sa_handler = take_interrupt, .sa_flags = (int)SA_RESETHAND };
	int status = find_router(verify);

	if (status != EXIT_DONE)
		return status;
	sigaction(SIGINT, &action, NULL); /* a second one ends it at once */
	sigaction(SIGTERM, &action, NULL);
	return verify->beside ? run_beside(verify) : run_all(verify, NULL);
}

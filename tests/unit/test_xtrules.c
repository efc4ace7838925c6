/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Legacy rules written in this process, beside others who write and count in the same table: nothing of theirs may be
 * lost. Each case has a namespace of its own; the system's own iptables-legacy plays the neighbour and the witness.
 */
#include "kernel/ipset.h"
#include "kernel/netlink.h"
#include "kernel/netns.h"
#include "kernel/xtlock.h"
#include "kernel/xtrules.h"

#include <arpa/inet.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define TABLE "mangle"
#define PREFIX "ours"
#define ROUNDS 1000 /* sets-up and removals beside another writer */

struct ground {
	int ns_fd;
	GPtrArray *rules, *none;
};

/* ---- the ground ---- */

static char *run(const struct ground *ground, const char *command, int *status)
{
	g_autofree char *target = g_strdup_printf("--net=/proc/%d/fd/%d", getpid(), ground->ns_fd);
	const char *argv[] = { "nsenter", target, "sh", "-c", command, NULL };
	g_autoptr(GError) error = NULL;
	char *output = NULL;

	g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &output, NULL, status, &error);
	g_assert_no_error(error);
	return output;
}

static char *must(const struct ground *ground, const char *command)
{
	int status;
	char *output = run(ground, command, &status);

	if (status)
		g_error("%s: status %d", command, status);
	return output;
}

static void do_it(const struct ground *ground, const char *command)
{
	g_free(must(ground, command));
}

/* Some thirty rules in several chains, with sets and all kinds of matches. */
static GPtrArray *make_rules(const char *comment)
{
	GPtrArray *rules = g_ptr_array_new_with_free_func((GDestroyNotify)xtrule_free);
	struct xtrule *rule = xtrule_new("PREROUTING");

	xtrule_comment(rule, comment);
	xtrule_verdict(rule, XTRULE_JUMP, PREFIX);
	g_ptr_array_add(rules, rule);
	for (unsigned i = 0; i < 15; i++) {
		rule = xtrule_new(PREFIX);
		xtrule_match_device(rule, "qg-", true);
		xtrule_match_address(rule, XTRULE_DESTINATION, 0xc6336400 + i);
		xtrule_match_local_destination(rule);
		xtrule_verdict(rule, i % 2 ? XTRULE_GOTO : XTRULE_JUMP, PREFIX "-more");
		g_ptr_array_add(rules, rule);
		rule = xtrule_new(PREFIX "-more");
		xtrule_match_unknown_source(rule);
		xtrule_match_set(rule, XTRULE_SOURCE, "some", i % 2);
		xtrule_verdict(rule, i % 3 ? XTRULE_RETURN : XTRULE_NONE, NULL);
		g_ptr_array_add(rules, rule);
	}
	return rules;
}

static void set_up(struct ground *ground, const void *data)
{
	g_autoptr(GError) error = NULL;

	ground->ns_fd = netns_new(&error);
	g_assert_no_error(error);
	do_it(ground, "ip link set lo up; ipset create some hash:net");
	ground->rules = make_rules("fipmeter 0123456789abcdef");
	ground->none = g_ptr_array_new();
}

static void tear_down(struct ground *ground, const void *data)
{
	g_ptr_array_unref(ground->rules);
	g_ptr_array_unref(ground->none);
	close(ground->ns_fd);
}

static bool replace(const struct ground *ground, const GPtrArray *rules)
{
	g_autoptr(GError) error = NULL;
	bool damaged = false;

	xtrules_replace(ground->ns_fd, TABLE, PREFIX, rules, &damaged, &error);
	g_assert_no_error(error);
	return damaged;
}

static char *standing(const struct ground *ground)
{
	g_autofree char *comment = NULL, *jump = NULL;
	g_autoptr(GError) error = NULL;
	char *digest = NULL;

	xtrules_standing(ground->ns_fd, TABLE, PREFIX, &digest, &comment, &jump, &error);
	g_assert_no_error(error);
	g_assert_true(!jump || g_str_equal(jump, PREFIX));
	g_assert_cmpstr(comment, ==, jump ? "fipmeter 0123456789abcdef" : NULL);
	return digest;
}

static uint64_t fingerprint(const struct ground *ground)
{
	g_autoptr(GError) error = NULL;
	uint64_t value = 0;

	xtables_fingerprint(ground->ns_fd, TABLE, &value, &error);
	g_assert_no_error(error);
	return value;
}

static bool open_socket(void *data, GError **error)
{
	*(int *)data = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return *(int *)data >= 0;
}

/* UDP over lo: each packet is seen once by mangle PREROUTING. */
static void send_packets(const struct ground *ground, unsigned n)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd;

	g_assert_true(netns_call(ground->ns_fd, open_socket, &fd, NULL));
	for (unsigned i = 0; i < n;)
		i += sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof to) == 1; /* refused: the last one met a closed port */
	close(fd);
}

static unsigned counted(const struct ground *ground)
{
	g_autofree char *text = must(ground, "iptables-legacy -t mangle -nvxL PREROUTING | awk '/witness/ { print $1 }'");

	return (unsigned)g_ascii_strtoull(text, NULL, 10);
}

/* ---- cases ---- */

static void test_what_is_put_in_stands(struct ground *ground, const void *data)
{
	g_autofree char *digest = NULL, *stands = NULL, *after = NULL, *gone = NULL;
	g_autoptr(GError) error = NULL;
	uint64_t before;

	g_assert_cmpuint(fingerprint(ground), ==, 0);
	digest = xtrules_digest(ground->ns_fd, ground->rules, &error);
	g_assert_no_error(error);
	replace(ground, ground->rules);
	stands = standing(ground);
	g_assert_cmpstr(stands, ==, digest);
	before = fingerprint(ground);
	replace(ground, ground->rules); /* nothing to write */
	g_assert_cmpuint(fingerprint(ground), ==, before);
	do_it(ground, "iptables-legacy -t mangle -I " PREFIX "-more -j ACCEPT");
	after = standing(ground);
	g_assert_cmpstr(after, !=, digest);
	replace(ground, ground->none);
	gone = standing(ground);
	g_assert_cmpstr(gone, ==, "");
}

/* Rules of others may stand before ours as long as every packet comes to us. */
static void test_a_rule_before_ours_that_leads_packets_away(struct ground *ground, const void *data)
{
	static const struct { const char *rule; bool diverts; } cases[] = {
		{ "-j MARK --set-mark 1", false }, { "-j passing", false }, { "-j RETURN", true }, { "-s 192.0.2.1 -j ACCEPT", true },
		{ "-j DROP", true }, { "-j taking", true }, { "-g passing", true }, { "-j deeper", true },
	};
	g_autofree char *digest = NULL;

	replace(ground, ground->rules);
	digest = standing(ground);
	do_it(ground, "for c in passing taking deeper; do iptables-legacy -t mangle -N $c; done; "
	      "iptables-legacy -t mangle -A passing -j MARK --set-mark 2; iptables-legacy -t mangle -A passing -j RETURN; "
	      "iptables-legacy -t mangle -A taking -j passing; iptables-legacy -t mangle -A taking -j ACCEPT; "
	      "iptables-legacy -t mangle -A deeper -j taking");
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *insert = g_strconcat("iptables-legacy -t mangle -I PREROUTING ", cases[i].rule, NULL);
		g_autofree char *before = NULL, *after = NULL;

		do_it(ground, insert);
		before = standing(ground);
		g_assert_cmpint(g_str_equal(before, digest), ==, !cases[i].diverts);
		replace(ground, ground->rules);
		after = standing(ground);
		g_assert_cmpstr(after, ==, digest);
	}
}

static void test_nothing_of_others_changes(struct ground *ground, const void *data)
{
	g_autofree char *before = NULL, *after = NULL;

	do_it(ground, "iptables-legacy -t mangle -N theirs; iptables-legacy -t mangle -A PREROUTING -j theirs;"
	      "iptables-legacy -t mangle -A theirs -s 192.0.2.1 -m mark --mark 7 -j RETURN");
	before = must(ground, "iptables-legacy-save -t mangle | grep -v '^#'");
	for (unsigned i = 0; i < 3; i++) {
		replace(ground, ground->rules);
		replace(ground, ground->none);
	}
	after = must(ground, "iptables-legacy-save -t mangle | grep -v '^#'");
	g_assert_cmpstr(before, ==, after);
}

static void test_looking_makes_no_table(struct ground *ground, const void *data)
{
	g_autofree char *digest = NULL, *names = NULL;

	digest = standing(ground);
	g_assert_cmpstr(digest, ==, "");
	g_assert_cmpuint(fingerprint(ground), ==, 0);
	replace(ground, ground->none);
	names = must(ground, "cat /proc/net/ip_tables_names");
	g_assert_cmpstr(names, ==, "");
}

static void test_fingerprint_follows_rules_and_not_traffic(struct ground *ground, const void *data)
{
	uint64_t before;

	do_it(ground, "iptables-legacy -t mangle -A PREROUTING -s 127.0.0.1; iptables-legacy -t mangle -A PREROUTING "
	      "-m limit --limit 5/second; iptables-legacy -t mangle -A PREROUTING -m statistic --mode nth --every 3 --packet 0");
	before = fingerprint(ground);
	send_packets(ground, 100);
	g_assert_cmpuint(fingerprint(ground), ==, before);
	do_it(ground, "iptables-legacy -t mangle -R PREROUTING 1 -s 127.0.0.2");
	g_assert_cmpuint(fingerprint(ground), !=, before);
}

static void test_a_set_that_is_missing_is_said(struct ground *ground, const void *data)
{
	g_autoptr(GError) error = NULL;
	bool damaged;

	do_it(ground, "ipset destroy some");
	g_assert_false(xtrules_replace(ground->ns_fd, TABLE, PREFIX, ground->rules, &damaged, &error));
	g_assert_error(error, NETLINK_ERROR, NETLINK_ERROR_MISSING);
	g_assert_nonnull(strstr(error->message, "some"));
}

/* The neighbour: adds and removes rules of his own, always by the lock, and stops at the first that fails. */
static GPid start_writer(const struct ground *ground)
{
	g_autofree char *target = g_strdup_printf("--net=/proc/%d/fd/%d", getpid(), ground->ns_fd);
	const char *argv[] = {
		"nsenter", target, "sh", "-ec",
		"iptables-legacy -w -t mangle -N theirs\n"
		"n=0; while [ ! -e \"$1\" ]; do n=$((n + 1));\n"
		"iptables-legacy -w -t mangle -A theirs -s 192.0.2.$((n % 250 + 1)) -j ACCEPT\n"
		"[ $n -le 20 ] || iptables-legacy -w -t mangle -D theirs 1; done\n"
		"iptables-legacy -w -t mangle -S theirs | tail -n +2 >\"$1\"; echo $n >>\"$1\"", "sh", NULL, NULL,
	};
	g_autoptr(GError) error = NULL;
	GPid pid;

	argv[6] = g_test_get_filename(G_TEST_BUILT, "writer.done", NULL);
	unlink(argv[6]);
	g_spawn_async(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL, &pid, &error);
	g_assert_no_error(error);
	return pid;
}

/* Ends him in order. How many rules he had put in; his last twenty must stand, in order. */
static unsigned end_writer(const struct ground *ground, GPid pid)
{
	const char *path = g_test_get_filename(G_TEST_BUILT, "writer.done", NULL);
	g_autofree char *said = NULL;
	g_auto(GStrv) lines = NULL;
	unsigned n, rules;
	int status;

	g_assert_true(g_file_set_contents(path, "", 0, NULL));
	g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
	g_assert_cmpint(status, ==, 0);
	g_assert_true(g_file_get_contents(path, &said, NULL, NULL));
	unlink(path);
	lines = g_strsplit(g_strstrip(said), "\n", -1);
	rules = g_strv_length(lines) - 1;
	n = (unsigned)g_ascii_strtoull(lines[rules], NULL, 10);
	g_assert_cmpuint(rules, ==, MIN(n, 20));
	for (unsigned i = 0; i < rules; i++) {
		g_autofree char *address = g_strdup_printf(" 192.0.2.%u/32 ", (n - rules + 1 + i) % 250 + 1);

		g_assert_nonnull(strstr(lines[i], address));
	}
	return n;
}

static void write_locked(const struct ground *ground, const GPtrArray *rules)
{
	g_autoptr(GError) error = NULL;
	struct xtlock *lock = xtlock_take(NULL, 5000, &error);

	g_assert_no_error(error);
	g_assert_false(replace(ground, rules)); /* nobody's counters were damaged */
	xtlock_release(lock);
}

static void test_a_thousand_sets_up_beside_another_writer(struct ground *ground, const void *data)
{
	unsigned edits, sent = 0;
	GPid writer;

	do_it(ground, "iptables-legacy -w -t mangle -A PREROUTING -p udp -m comment --comment witness");
	writer = start_writer(ground);
	for (unsigned i = 0; i < ROUNDS; i++) {
		write_locked(ground, ground->rules);
		send_packets(ground, 5);
		if (i % 10 == 0)
			do_it(ground, "iptables-legacy -w -t mangle -D PREROUTING 1"); /* a repair next time */
		write_locked(ground, i % 10 == 0 ? ground->rules : ground->none);
		send_packets(ground, 5);
		sent += 10;
	}
	write_locked(ground, ground->none);
	edits = end_writer(ground, writer);
	g_assert_cmpuint(counted(ground), ==, sent);
	g_test_message("%u sets-up and repairs, %u edits of a neighbour, %u packets counted by his rule", 2 * ROUNDS, edits,
	               sent);
	g_assert_cmpuint(edits, >, 100);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define CASE(name) g_test_add("/xtrules/" #name, struct ground, NULL, set_up, test_##name, tear_down)
	CASE(what_is_put_in_stands);
	CASE(a_rule_before_ours_that_leads_packets_away);
	CASE(nothing_of_others_changes);
	CASE(looking_makes_no_table);
	CASE(fingerprint_follows_rules_and_not_traffic);
	CASE(a_set_that_is_missing_is_said);
	CASE(a_thousand_sets_up_beside_another_writer);
	return g_test_run();
}

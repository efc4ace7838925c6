/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The configuration: what is taken, and what each refusal says.
 */
#include "core/config.h"

#include <string.h>

#define FILE_NAME "fipmeter.conf"

static void test_defaults(void)
{
	static const char *const texts[] = { "", "\n", "# nothing\n", "[agent]\n", "[classes]\n[store]\n" };

	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++) {
		g_autoptr(GError) error = NULL;
		SCOPED(config) *config = config_parse(texts[i], strlen(texts[i]), FILE_NAME, &error);
		g_autoptr(GPtrArray) names = NULL;

		g_assert_no_error(error);
		g_assert_cmpint(config->interval_s, ==, 60);
		g_assert_cmpstr(config->netns_dir, ==, "/run/netns");
		g_assert_cmpstr(config->backend, ==, "auto");
		g_assert_null(config->node);
		g_assert_null(config->xtables_lock);
		g_assert_cmpstr(config->state_dir, ==, "/var/lib/fipmeter");
		g_assert_cmpstr(g_time_zone_get_identifier(config->timezone), ==, "UTC");
		names = classes_names(config->classes);
		g_assert_cmpuint(names->len, ==, 3);
	}
}

static void test_everything(void)
{
	static const char text[] =
		"# of one node\n"
		"[agent]\n"
		"  interval=5\n"
		"netns_dir = /var/run/netns  \r\n"
		"backend\t=\tebpf\n"
		"ebpf_place=rule\n"
		"out_point = egress\n"
		"node = network-1.example\n"
		"xtables_lock = /run/xtables.lock\n"
		"\n"
		"[store]\n"
		"path = /srv/fipmeter data\n"
		"timezone = +02:00\n"
		"[classes]\n"
		"free = 203.0.113.0/24,198.51.100.7\n"
		"peering = 192.0.2.0/25 , 192.0.2.128/25\n";
	g_autoptr(GError) error = NULL;
	SCOPED(config) *config = config_parse(text, strlen(text), FILE_NAME, &error);
	g_autoptr(GPtrArray) names = NULL;
	g_autoptr(GArray) ranges = NULL;

	g_assert_no_error(error);
	g_assert_cmpint(config->interval_s, ==, 5);
	g_assert_cmpstr(config->netns_dir, ==, "/var/run/netns");
	g_assert_cmpstr(config->backend, ==, "ebpf");
	g_assert_cmpstr(config->ebpf_place, ==, "rule");
	g_assert_true(config->out_sent);
	g_assert_cmpstr(config->node, ==, "network-1.example");
	g_assert_cmpstr(config->xtables_lock, ==, "/run/xtables.lock");
	g_assert_cmpstr(config->state_dir, ==, "/srv/fipmeter data");
	g_assert_cmpint(g_time_zone_get_offset(config->timezone, 0), ==, 7200);
	names = classes_names(config->classes);
	g_assert_cmpuint(names->len, ==, 4);
	ranges = classes_flatten(config->classes, NULL);
	g_assert_cmpuint(ranges->len, ==, 12);
}

static void test_refused(void)
{
	static const struct {
		const char *text;
		const char *told[3]; /* parts of the message */
	} cases[] = {
		{ "[agents]\ninterval = 60\n", { "[agents]", "unknown section", "agent, store, backends, classes" } },
		{ "[agent]\ninterwal = 60\n", { "[agent] interwal", "unknown key", "interval, netns_dir, backend" } },
		{ "[agent]\ninterval[de] = 60\n", { "[agent] interval[de]", "unknown key" } },
		{ "[store]\ninterval = 60\n", { "[store] interval", "unknown key", "path, timezone" } },
		{ "interval = 60\n", { "fipmeter.conf" } },
		{ "[agent]\ninterval\n", { "fipmeter.conf" } },
		{ "[agent]\n= 60\n", { "fipmeter.conf" } },
		{ "[agent\ninterval = 60\n", { "fipmeter.conf" } },
		{ "; remark\n[agent]\n", { "fipmeter.conf" } },
		{ "[agent]\ninterval = 60\ninterval = 60\n", { "[agent] interval", "twice" } },
		{ "[agent]\ninterval = 60\n  interval=30\n", { "[agent] interval", "twice" } },
		{ "[agent]\n[store]\n[agent]\n", { "[agent]", "twice" } },
		{ "[classes]\nfree = 10.0.0.0/8\nfree = 11.0.0.0/8\n", { "[classes] free", "twice" } },
		{ "[agent]\ninterval =\n", { "[agent] interval", "1 to 3600" } },
		{ "[agent]\ninterval = 0\n", { "[agent] interval", "1 to 3600" } },
		{ "[agent]\ninterval = 3601\n", { "[agent] interval", "1 to 3600" } },
		{ "[agent]\ninterval = -60\n", { "[agent] interval", "1 to 3600" } },
		{ "[agent]\ninterval = 60s\n", { "[agent] interval", "'60s'", "1 to 3600" } },
		{ "[agent]\ninterval = 1.5\n", { "[agent] interval", "1 to 3600" } },
		{ "[agent]\ninterval = 60 # a minute\n", { "[agent] interval", "1 to 3600" } },
		{ "[agent]\ninterval = 18446744073709551676\n", { "[agent] interval", "1 to 3600" } },
		{ "[agent]\nnetns_dir = netns\n", { "[agent] netns_dir", "absolute path" } },
		{ "[agent]\nnetns_dir =\n", { "[agent] netns_dir", "absolute path" } },
		{ "[agent]\nxtables_lock = lock\n", { "[agent] xtables_lock", "absolute path" } },
		{ "[agent]\nebpf_place = ingress\n", { "[agent] ebpf_place", "auto, link or rule" } },
		{ "[agent]\nout_point = Egress\n", { "[agent] out_point", "ingress or egress" } },
		{ "[agent]\nbackend = NFT\n", { "[agent] backend", "auto, nft, iptables or ebpf" } },
		{ "[agent]\nnode =\n", { "[agent] node", "a name" } },
		{ "[agent]\nnode = two words\n", { "[agent] node", "without blanks" } },
		{ "[agent]\nnode = a\x1b[31m\n", { "[agent] node", "without blanks" } },
		{ "[store]\npath = usage\n", { "[store] path", "absolute path" } },
		{ "[store]\ntimezone = Mars/Olympus\n", { "[store] timezone", "Mars/Olympus", "Europe/Berlin" } },
		{ "[store]\ntimezone =\n", { "[store] timezone", "Europe/Berlin" } },
		{ "[classes]\nFree = 10.0.0.0/8\n", { "[classes] Free", "a-z" } },
		{ "[classes]\nabcdefghijklmnop = 10.0.0.0/8\n", { "[classes] abcdefghijklmnop", "at most 15" } },
		{ "[classes]\nfree =\n", { "[classes] free", "empty", "192.0.2.0/24" } },
		{ "[classes]\nfree = 10.0.0.0/8,\n", { "[classes] free", "192.0.2.0/24" } },
		{ "[classes]\nfree = 10.0.0.0/8 11.0.0.0/8\n", { "[classes] free", "192.0.2.0/24" } },
		{ "[classes]\nfree = 10.0.0.1/8\n", { "[classes] free", "10.0.0.1/8", "right: 10.0.0.0/8" } },
		{ "[classes]\nfree = 10.0.0.0/8, 10.0.0.0/8\n", { "[classes] free", "10.0.0.0/8", "once" } },
		{ "[classes]\nfree = 10.0.0.1\npeering = 10.0.0.1/32\n",
		  { "[classes] peering", "10.0.0.1/32", "class free" } },
		{ "[backends]\nauto = 3f1e9a52-7f0e-4d53-9a0c-4d5c1d3f8f6a\n", { "[backends] auto", "nft, iptables, ebpf" } },
		{ "[backends]\nnft = router-1\n", { "[backends] nft", "'router-1'", "UUID" } },
		{ "[backends]\nnft =\n", { "[backends] nft", "empty" } },
		{ "[backends]\nnft = 3f1e9a52-7f0e-4d53-9a0c-4d5c1d3f8f6a\niptables = 3F1E9A52-7F0E-4D53-9A0C-4D5C1D3F8F6A\n",
		  { "[backends] iptables", "3f1e9a52-7f0e-4d53-9a0c-4d5c1d3f8f6a", "under nft already" } },
		{ "[agent]\nnode = \xff\n", { "fipmeter.conf", "UTF-8" } },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		SCOPED(config) *config = config_parse(cases[i].text, strlen(cases[i].text), FILE_NAME, &error);

		g_assert_null(config);
		g_assert_nonnull(error);
		g_test_message("%s", error->message);
		g_assert_true(g_str_has_prefix(error->message, FILE_NAME ": "));
		g_assert_null(strchr(error->message, '\n'));
		for (unsigned j = 0; j < G_N_ELEMENTS(cases[i].told) && cases[i].told[j]; j++)
			g_assert_nonnull(strstr(error->message, cases[i].told[j]));
	}
}

static void test_names(void)
{
	g_autofree char *longest = g_strnfill(CONFIG_NODE_MAX, 'n'), *longer = g_strconcat(longest, "n", NULL);

	g_assert_null(config_judge_node(longest));
	g_assert_nonnull(strstr(config_judge_node(longer), "255 bytes"));
	g_assert_nonnull(config_judge_node(""));
	g_assert_nonnull(config_judge_node("a\nb"));
	g_assert_null(config_judge_node("n\u00f6rdlich-1.example"));
	g_assert_null(config_judge_backend("ebpf"));
	g_assert_nonnull(strstr(config_judge_backend("nf"), "auto, nft"));
}

static void test_binary(void)
{
	g_autoptr(GError) error = NULL;

	g_assert_null(config_parse("[agent]\n\0interval = 0\n", 22, FILE_NAME, &error));
	g_assert_nonnull(strstr(error->message, FILE_NAME));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/config/defaults", test_defaults);
	g_test_add_func("/config/everything", test_everything);
	g_test_add_func("/config/refused", test_refused);
	g_test_add_func("/config/names", test_names);
	g_test_add_func("/config/binary", test_binary);
	return g_test_run();
}

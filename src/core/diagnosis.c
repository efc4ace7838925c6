/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The checks of the node itself, and how a finding is said.
 */
#include "core/diagnosis.h"

#include <string.h>

#define LATE 2                                /* intervals without a sample, as `fipmeter status` has it */
#define DISK_FULL (UINT64_C(64) << 20)        /* less is free: hours at best */
#define DISK_SCARCE (UINT64_C(1) << 30)
#define LOG_LONG (UINT64_C(64) << 20)         /* a write-ahead log that nobody could empty for a good while */

/* ---- saying ---- */

void finding_free(void *data)
{
	struct finding *finding = data;

	g_free(finding->about);
	g_free(finding->text);
	g_free(finding->remedy);
	g_free(finding->command);
	g_free(finding);
}

void diagnosis_say(struct diagnosis *diagnosis, enum level level, const char *remedy, char *command, const char *format,
                   ...)
{
	struct finding *finding = g_new0(struct finding, 1);
	va_list arguments;

	va_start(arguments, format);
	finding->text = g_strdup_vprintf(format, arguments);
	va_end(arguments);
	finding->check = diagnosis->check;
	finding->about = g_strdup(diagnosis->about);
	finding->level = level;
	finding->remedy = g_strdup(remedy ? remedy : "");
	finding->command = command ? command : g_strdup("");
	g_ptr_array_add(diagnosis->findings, finding);
}

const char *level_name(enum level level)
{
	switch (level) {
	case LEVEL_OK:
		return "ok";
	case LEVEL_WARNING:
		return "warning";
	case LEVEL_PROBLEM:
		return "problem";
	}
	return "";
}

char *diagnosis_duration(int64_t us)
{
	int64_t s = MAX(us, 0) / G_USEC_PER_SEC;

	return us < G_USEC_PER_SEC ? g_strdup_printf("%" G_GINT64_FORMAT " ms", MAX(us, 0) / 1000) :
	       s < 120 ? g_strdup_printf("%" G_GINT64_FORMAT " s", s) :
	       s < 7200 ? g_strdup_printf("%" G_GINT64_FORMAT " min", s / 60) :
	                  g_strdup_printf("%" G_GINT64_FORMAT " h", s / 3600);
}

/* "12.3 GB", with a plain blank. */
static char *size_text(uint64_t bytes)
{
	g_autofree char *text = g_format_size(bytes);
	g_auto(GStrv) parts = g_strsplit(text, "\302\240", 2);

	return g_strjoinv(" ", parts);
}

static const char *plural(unsigned n)
{
	return n == 1 ? "" : "s";
}

/* ---- the node ---- */

static void check_privileges(struct diagnosis *diagnosis)
{
	const struct facts *facts = diagnosis->facts;

	if (!facts->privileges)
		diagnosis_say(diagnosis, LEVEL_OK, NULL, NULL, "all that it takes to look at the routers and to meter them");
	else if (facts->can_look)
		diagnosis_say(diagnosis, LEVEL_WARNING, "an agent that is started like this does not meter", NULL, "%s",
		              facts->privileges);
	else
		diagnosis_say(diagnosis, LEVEL_PROBLEM, "run fipmeter doctor as root: kernel, locks and namespaces are not checked",
		              NULL, "%s", facts->privileges);
}

static void check_sample(struct diagnosis *diagnosis)
{
	const struct facts *facts = diagnosis->facts;
	int64_t age_us = facts->now_us - facts->sampled_us;
	g_autofree char *age = diagnosis_duration(age_us);

	if (facts->agent_failure)
		diagnosis_say(diagnosis, LEVEL_PROBLEM, "mend what is named; the counters keep it until then", NULL,
		              "its last sample is not in the store: %s", facts->agent_failure);
	else if (!facts->sampled_us)
		diagnosis_say(diagnosis, LEVEL_PROBLEM, "ask again in some seconds; if it stays so, its log says more",
		              g_strdup("journalctl -u fipmeter-agent"), "pid %ld runs, but has taken no sample yet", facts->pid);
	else if (age_us > LATE * INT64_C(1000000) * facts->interval_s)
		diagnosis_say(diagnosis, LEVEL_PROBLEM, "is the node overloaded? Its log says more",
		              g_strdup("journalctl -u fipmeter-agent"), "pid %ld runs, but its last sample is %s old, and there should "
		              "be one every %d s", facts->pid, age, facts->interval_s);
	else
		diagnosis_say(diagnosis, LEVEL_OK, NULL, NULL, "running, pid %ld, last sample %s ago, one every %d s", facts->pid,
		              age, facts->interval_s);
	if (!facts->events)
		diagnosis_say(diagnosis, LEVEL_WARNING, "its log says why", g_strdup("journalctl -u fipmeter-agent"),
		              "it does not hear what changes: new floating IPs are counted from the next sample on only");
}

static void check_agent(struct diagnosis *diagnosis)
{
	const struct facts *facts = diagnosis->facts;

	if (!facts->running) {
		g_autofree char *ended = g_strdup_printf(": pid %ld ended without a word", facts->pid);

		diagnosis_say(diagnosis, LEVEL_PROBLEM, "start it; nothing of what stands is lost",
		              g_strdup("systemctl start fipmeter-agent"), "not running for %s%s. Counters that stand count on, new "
		              "addresses are not counted", facts->netns_dir, facts->posted ? ended : "");
		return;
	}
	check_sample(diagnosis);
	for (unsigned i = 0; i < facts->problems->len; i++)
		diagnosis_say(diagnosis, LEVEL_PROBLEM, "docs/operate.md has this text, and what to do", g_strdup("fipmeter status"),
		              "it says: %s", (char *)facts->problems->pdata[i]);
}

static bool works(const struct facts *facts, const char *backend)
{
	for (unsigned i = 0; i < facts->backends->len; i++) {
		const struct backend_facts *each = &g_array_index(facts->backends, struct backend_facts, i);

		if (g_str_equal(each->name, backend))
			return !each->refusal;
	}
	return false;
}

static void check_backend(struct diagnosis *diagnosis, const struct backend_facts *backend)
{
	const struct facts *facts = diagnosis->facts;
	bool is_auto = g_str_equal(facts->configured, "auto") && !g_str_equal(backend->name, "ebpf");
	const char *other = g_str_equal(backend->name, "nft") ? "iptables" : "nft";

	diagnosis->about = backend->name;
	if (!backend->refusal)
		diagnosis_say(diagnosis, LEVEL_OK, NULL, NULL, "works here (%s)", backend->needs);
	else if (backend->wanted || (is_auto && !works(facts, other)))
		diagnosis_say(diagnosis, LEVEL_PROBLEM, "mend what is named, or take another back end ([agent] backend, [backends])",
		              NULL, "it is to count, and does not work here: %s. It takes %s", backend->refusal, backend->needs);
	else if (is_auto)
		diagnosis_say(diagnosis, LEVEL_WARNING, "nothing, as long as the other one does; or mend what is named", NULL,
		              "does not work here: %s. It takes %s. auto takes %s", backend->refusal, backend->needs, other);
	else
		diagnosis_say(diagnosis, LEVEL_OK, NULL, NULL, "does not work here, and nothing asks for it: %s", backend->refusal);
	diagnosis->about = "";
}

static void check_kernel(struct diagnosis *diagnosis)
{
	const struct facts *facts = diagnosis->facts;

	if (!facts->backends->len)
		diagnosis_say(diagnosis, LEVEL_WARNING, "run fipmeter doctor as root", NULL,
		              "not tried: it takes privileges that are missing");
	for (unsigned i = 0; i < facts->backends->len; i++)
		check_backend(diagnosis, &g_array_index(facts->backends, struct backend_facts, i));
}

static void check_lock(struct diagnosis *diagnosis)
{
	const struct facts *facts = diagnosis->facts;
	const struct lock_facts *own = facts->locks->len ? (const void *)facts->locks->data : NULL, *other = NULL;

	for (unsigned i = 1; i < facts->locks->len && !other; i++)
		if (own[i].device != own->device || own[i].inode != own->inode)
			other = &own[i];
	if (facts->lock_failure)
		diagnosis_say(diagnosis, facts->lock_needed ? LEVEL_PROBLEM : LEVEL_WARNING, facts->lock_needed ?
		              "set [agent] xtables_lock to the file that the l3-agent sees: without it no legacy rule is written" :
		              "nothing, as long as nft counts; for iptables set [agent] xtables_lock", NULL, "%s", facts->lock_failure);
	else if (!own)
		diagnosis_say(diagnosis, LEVEL_WARNING, "run fipmeter doctor as root", NULL,
		              "not looked for: it takes privileges that are missing");
	else if (other)
		diagnosis_say(diagnosis, LEVEL_WARNING, "run no iptables by hand in routers from here, or mount the host's "
		              "/run/xtables.lock into the container of the l3-agent", NULL, "not shared: %s is another file than %s. "
		              "An iptables of this host and Neutron's do not wait for each other, and each can undo the other's legacy "
		              "rules and counters. fipmeter takes both locks", other->path, own->path);
	else
		diagnosis_say(diagnosis, LEVEL_OK, NULL, NULL, facts->locks->len > 1 ?
		              "shared: %s is what the l3-agent locks, too" : "%s; no l3-agent is seen that has one of its own",
		              own->path);
}

/* ---- tools: the trap of the seed ---- */

static char *enter(const struct facts *facts, const char *ns)
{
	g_autofree char *path = NULL, *quoted = NULL;

	if (g_str_equal(facts->netns_dir, "/run/netns") || g_str_equal(facts->netns_dir, "/var/run/netns"))
		return g_strconcat("ip netns exec ", ns, NULL);
	path = g_build_filename(facts->netns_dir, ns, NULL);
	quoted = g_shell_quote(path);
	return g_strconcat("nsenter --net=", quoted, NULL);
}

char *diagnosis_command(const struct facts *facts, const char *ns, const char *tool)
{
	g_autofree char *entered = enter(facts, ns);

	return g_strconcat(entered, " ", tool, NULL);
}

#define LIST " -t nat -nvxL"

char *diagnosis_show_rules(const struct facts *facts, const char *ns, enum flavour flavour)
{
	bool legacy = flavour == FLAVOUR_LEGACY;
	enum host_iptables same = legacy ? HOST_LEGACY : HOST_NFT;

	if (flavour == FLAVOUR_BOTH) {
		g_autofree char *nft = diagnosis_show_rules(facts, ns, FLAVOUR_NFT);
		g_autofree char *other = diagnosis_show_rules(facts, ns, FLAVOUR_LEGACY);

		if (nft && other)
			return g_strconcat(nft, "; ", other, NULL);
		return nft ? g_steal_pointer(&nft) : g_steal_pointer(&other);
	}
	if (legacy ? facts->has_iptables_legacy : facts->has_iptables_nft)
		return diagnosis_command(facts, ns, legacy ? "iptables-legacy" LIST : "iptables-nft" LIST);
	if (facts->iptables == same)
		return diagnosis_command(facts, ns, "iptables" LIST);
	if (!legacy && facts->has_nft)
		return diagnosis_command(facts, ns, "nft list table ip nat");
	if (facts->l3_agent)
		return g_strdup_printf("nsenter -t %ld -m ip netns exec %s iptables" LIST, facts->l3_agent, ns);
	return NULL;
}

static const char *host_has(const struct facts *facts)
{
	switch (facts->iptables) {
	case HOST_NONE:
		return "there is no iptables on this host";
	case HOST_NFT:
		return "iptables on this host is of nft";
	case HOST_LEGACY:
		return "iptables on this host is legacy";
	case HOST_UNKNOWN:
		return "iptables on this host is of a kind that is not known";
	}
	return "";
}

static void check_tool_for(struct diagnosis *diagnosis, enum flavour flavour)
{
	const struct facts *facts = diagnosis->facts;
	enum host_iptables same = flavour == FLAVOUR_LEGACY ? HOST_LEGACY : HOST_NFT;
	const char *ns = NULL;
	unsigned n = 0;

	for (unsigned i = 0; i < facts->routers->len; i++) {
		const struct router_facts *each = facts->routers->pdata[i];

		if (!each->router || (each->router->flavour != flavour && each->router->flavour != FLAVOUR_BOTH))
			continue;
		ns = ns ? ns : each->ns;
		n++;
	}
	if (n && facts->iptables == same) {
		diagnosis_say(diagnosis, LEVEL_OK, NULL, NULL, "%s, and so are the rules of %u router%s", host_has(facts), n,
		              plural(n));
	} else if (n) {
		char *command = diagnosis_show_rules(facts, ns, flavour);

		diagnosis_say(diagnosis, LEVEL_WARNING, command ? "look at them with a tool of their own flavour, as this one is" :
		              "install the other iptables here, or use that of the l3-agent's container", command,
		              "%s, but the rules of %u router%s are %s: it shows nothing of them, as if there were none. fipmeter reads "
		              "both", host_has(facts), n, plural(n), flavour == FLAVOUR_LEGACY ? "legacy" : "of nft");
	}
}

static void check_tools(struct diagnosis *diagnosis)
{
	unsigned before = diagnosis->findings->len;

	check_tool_for(diagnosis, FLAVOUR_NFT);
	check_tool_for(diagnosis, FLAVOUR_LEGACY);
	if (diagnosis->findings->len == before)
		diagnosis_say(diagnosis, LEVEL_OK, NULL, NULL, "%s; there is no router whose rules it could show",
		              host_has(diagnosis->facts));
}

/* ---- clock, disk, store ---- */

static void check_clock(struct diagnosis *diagnosis)
{
	const struct facts *facts = diagnosis->facts;
	g_autofree char *off = diagnosis_duration(facts->clock_error_us);

	if (facts->clock_failure)
		diagnosis_say(diagnosis, LEVEL_WARNING, "see whether chronyd or ntpd is well", g_strdup("timedatectl"),
		              "cannot be asked whether it is synchronised: %s", facts->clock_failure);
	else if (!facts->synchronised)
		diagnosis_say(diagnosis, LEVEL_WARNING, "start chronyd, ntpd or systemd-timesyncd, and see that it has a server",
		              g_strdup("timedatectl"), "not synchronised: nobody tells the kernel that the time is right. Counts stay "
		              "exact, but rows may stand in the wrong minute, hour or day of a bill");
	else
		diagnosis_say(diagnosis, LEVEL_OK, NULL, NULL, "synchronised, off by %s at most", off);
}

static void check_disk(struct diagnosis *diagnosis)
{
	const struct facts *facts = diagnosis->facts;
	g_autofree char *room = size_text(facts->disk_free), *size = size_text(facts->disk_size);
	const char *remedy = "make room, or set [store] quota and keep_minutes; nothing is lost as long as counters stand";

	if (facts->disk_failure)
		diagnosis_say(diagnosis, facts->running ? LEVEL_PROBLEM : LEVEL_WARNING,
		              "is it the directory of the agent? --state-dir names another", NULL, "%s", facts->disk_failure);
	else if (facts->disk_free < DISK_FULL)
		diagnosis_say(diagnosis, LEVEL_PROBLEM, remedy, NULL, "full: %s of %s are free below %s. Without room no row is "
		              "written", room, size, facts->state_dir);
	else if (facts->disk_free < DISK_SCARCE)
		diagnosis_say(diagnosis, LEVEL_WARNING, remedy, NULL, "%s of %s are free below %s", room, size, facts->state_dir);
	else
		diagnosis_say(diagnosis, LEVEL_OK, NULL, NULL, "%s of %s are free below %s", room, size, facts->state_dir);
}

static void check_store(struct diagnosis *diagnosis)
{
	const struct facts *facts = diagnosis->facts;
	g_autofree char *database = size_text(facts->database), *log = size_text(facts->log), *quota = size_text(facts->quota);

	if (facts->store_failure) {
		diagnosis_say(diagnosis, LEVEL_PROBLEM, "docs/operate.md has this text, and what to do", NULL, "%s",
		              facts->store_failure);
		return;
	}
	if (!facts->has_store) {
		diagnosis_say(diagnosis, facts->running ? LEVEL_PROBLEM : LEVEL_WARNING,
		              "start fipmeter agent, or name the directory with --state-dir", NULL, "there is no store in %s",
		              facts->state_dir);
		return;
	}
	if (facts->quota && facts->database > facts->quota)
		diagnosis_say(diagnosis, LEVEL_WARNING, "raise [store] quota, or lower keep_minutes and keep_hours", NULL,
		              "%s, beyond its quota of %s: rows, then hours, go before their time; sums of days stay", database, quota);
	else
		diagnosis_say(diagnosis, LEVEL_OK, NULL, NULL, "%s, quota %s; fipmeter audit checks what is in it", database,
		              facts->quota ? quota : "none");
	if (facts->log > LOG_LONG)
		diagnosis_say(diagnosis, LEVEL_WARNING, "find who reads the store without an end, and have him end",
		              g_strdup_printf("fuser -v %s/usage.db", facts->state_dir),
		              "its write-ahead log has %s and cannot be emptied", log);
}

/* ---- namespaces ---- */

static void check_namespaces(struct diagnosis *diagnosis)
{
	const struct facts *facts = diagnosis->facts;

	if (facts->look_failure)
		diagnosis_say(diagnosis, LEVEL_PROBLEM, "name the right directory with --netns-dir, or [agent] netns_dir", NULL, "%s",
		              facts->look_failure);
	else if (!facts->can_look)
		diagnosis_say(diagnosis, LEVEL_WARNING, "run fipmeter doctor as root", NULL,
		              "not looked at: it takes privileges that are missing");
	else if (!facts->routers->len)
		diagnosis_say(diagnosis, LEVEL_WARNING, "is Neutron's l3-agent on this node, and does it share the directory? Another "
		              "one: --netns-dir", NULL, "no router in %s", facts->netns_dir);
	else
		diagnosis_say(diagnosis, LEVEL_OK, NULL, NULL, "%u router%s in %s", facts->routers->len,
		              plural(facts->routers->len), facts->netns_dir);
	for (unsigned i = 0; i < facts->strangers->len; i++) {
		const struct stranger *stranger = facts->strangers->pdata[i];

		diagnosis->about = stranger->ns;
		diagnosis_say(diagnosis, stranger->is_router ? LEVEL_PROBLEM : LEVEL_WARNING,
		              "if no router of Neutron's has this name, remove the file; else look into the log of the l3-agent", NULL,
		              "%s", stranger->why);
		diagnosis->about = "";
	}
}

/* ---- all of them ---- */

static const struct {
	const char *name;
	void (*run)(struct diagnosis *diagnosis);
} checks[] = {
	{ "privileges", check_privileges }, { "agent", check_agent }, { "kernel", check_kernel }, { "lock", check_lock },
	{ "tools", check_tools }, { "clock", check_clock }, { "disk", check_disk }, { "store", check_store },
	{ "namespaces", check_namespaces },
};

GPtrArray *diagnosis_make(const struct facts *facts)
{
	struct diagnosis diagnosis = { .facts = facts, .about = "", .findings = g_ptr_array_new_with_free_func(finding_free) };

	for (unsigned i = 0; i < G_N_ELEMENTS(checks); i++) {
		diagnosis.check = checks[i].name;
		checks[i].run(&diagnosis);
	}
	for (unsigned i = 0; i < facts->routers->len; i++)
		diagnosis_of_router(&diagnosis, facts->routers->pdata[i]);
	return diagnosis.findings;
}

unsigned diagnosis_count(const GPtrArray *findings, enum level level)
{
	unsigned n = 0;

	for (unsigned i = 0; i < findings->len; i++)
		n += ((const struct finding *)findings->pdata[i])->level == level;
	return n;
}

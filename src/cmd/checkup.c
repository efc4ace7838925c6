/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See checkup.h.  The agent's own word comes from its bulletin, the rest is asked here, once more and by itself.
 */
#include "cmd/checkup.h"

#include "cmd/bulletin.h"
#include "cmd/look.h"
#include "core/plan.h"
#include "inventory/inventory.h"
#include "kernel/bpffs.h"
#include "kernel/capability.h"
#include "kernel/clock.h"
#include "kernel/netns.h"
#include "kernel/xtlock.h"
#include "store/query.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define DAY_US (24 * 3600 * INT64_C(1000000))
#define ABOUT_NS "namespace="
#define SKIPPING ", skipping"
#define BTF "/sys/kernel/btf/vmlinux"
#define BPF_FS "/sys/fs/bpf"

/* The message of an error that is over and done with; NULL if there is none. */
static char *message_of(const GError *error)
{
	return error ? g_strdup(error->message) : NULL;
}

/* ---- this process ---- */

static void ask_privileges(struct facts *facts)
{
	g_autoptr(GError) error = NULL;

	facts->can_look = capability_check_looking(NULL);
	capability_check_metering(&error);
	facts->privileges = message_of(error);
}

/* ---- the agent ---- */

static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

static void take_problems(struct facts *facts, const json_t *told)
{
	const char *about;
	json_t *message;

	json_object_foreach(json_object_get(told, "problems"), about, message)
		if (!g_str_has_prefix(about, ABOUT_NS))
			g_ptr_array_add(facts->problems, g_strdup_printf("%s: %s", about, json_string_value(message)));
}

/* What it has posted, NULL if nothing; the caller frees. */
static json_t *ask_agent(struct facts *facts)
{
	g_autoptr(GError) error = NULL;
	json_t *told = NULL;
	long holder;

	if (!bulletin_read(facts->netns_dir, &told, &holder, &error)) {
		g_ptr_array_add(facts->problems, message_of(error));
		return NULL;
	}
	facts->running = told && holder;
	facts->posted = told;
	facts->pid = holder > 0 ? holder : (long)json_integer_value(json_object_get(told, "pid"));
	facts->sampled_us = json_integer_value(json_object_get(told, "sampled"));
	facts->interval_s = (int)json_integer_value(json_object_get(told, "interval_s"));
	facts->events = json_is_true(json_object_get(told, "events"));
	if (*text_of(told, "failure"))
		facts->agent_failure = g_strdup(text_of(told, "failure"));
	take_problems(facts, told);
	return told;
}

/* ---- back ends ---- */

static bool is_wanted(const struct node *node, const json_t *told, const char *name)
{
	GHashTableIter each;
	const json_t *router;
	void *other;
	const char *ns;

	g_hash_table_iter_init(&each, node->config->router_backends);
	while (g_hash_table_iter_next(&each, NULL, &other))
		if (g_str_equal(other, name))
			return true;
	json_object_foreach(json_object_get(told, "routers"), ns, router)
		if (g_str_equal(text_of(router, "backend"), name))
			return true;
	return g_str_equal(node->config->backend, name);
}

/* Its own probe would pin something, and mount what is to be pinned in. */
static bool try_ebpf(GError **error)
{
	int ns_fd;
	bool done;

	if (access(BTF, R_OK) < 0) {
		g_set_error(error, BPFFS_ERROR, BPFFS_ERROR_FAILED, "%s: %s (it takes a kernel with CONFIG_DEBUG_INFO_BTF)", BTF,
		            g_strerror(errno));
		return false;
	}
	ns_fd = netns_new(error);
	if (ns_fd < 0)
		return false;
	done = bpffs_try_prerouting(ns_fd, error);
	close(ns_fd);
	return done;
}

static char *refusal_of(struct backend *backend, unsigned which)
{
	g_autoptr(GError) error = NULL;

	if (!backend)
		return g_strdup("it is not in this build");
	if (which == BACKEND_EBPF ? try_ebpf(&error) : backend_probe(backend, &error))
		return NULL;
	return message_of(error);
}

static void ask_backends(struct facts *facts, struct node *node, const json_t *told)
{
	static const struct {
		const char *name, *needs;
	} known[BACKENDS] = {
		[BACKEND_NFT] = { "nft", "nf_tables with named counters, maps and fib" },
		[BACKEND_IPTABLES] = { "iptables", "ipset with counters and comments, the legacy table mangle" },
		[BACKEND_EBPF] = { "ebpf", "BTF, and programs at netfilter's hooks: kernel 6.4" },
	};

	facts->configured = node->config->backend;
	for (unsigned i = 0; i < BACKENDS && facts->can_look; i++) {
		struct backend_facts backend = { .name = known[i].name, .needs = known[i].needs,
		                                 .wanted = is_wanted(node, told, known[i].name) };

		backend.refusal = refusal_of(node->backends[i], i);
		g_array_append_val(facts->backends, backend);
	}
	if (g_str_equal(node->config->backend, "auto") && facts->can_look &&
	    g_array_index(facts->backends, struct backend_facts, BACKEND_NFT).refusal)
		node->usual = node->backends[BACKEND_IPTABLES];
}

/* ---- locks and tools of the host ---- */

/* Does a process see the same namespaces under the same name?  Else its tools are of no use for them. */
static bool shares_netns(long pid, const char *directory)
{
	g_autofree char *theirs = g_strdup_printf("/proc/%ld/root%s", pid, directory);
	struct stat own, other;

	return stat(directory, &own) == 0 && stat(theirs, &other) == 0 && own.st_dev == other.st_dev &&
	       own.st_ino == other.st_ino;
}

static void ask_locks(struct facts *facts, const struct config *config)
{
	g_autoptr(GError) unseen = NULL, error = NULL;
	g_autoptr(GPtrArray) seen = xtlock_list(NULL, &unseen);
	g_autoptr(GPtrArray) files = config->xtables_lock ? xtlock_list(config->xtables_lock, &error) :
	                             seen ? g_ptr_array_ref(seen) : NULL;

	for (unsigned i = 0; seen && i < seen->len; i++) {
		long pid = ((struct xtlock_file *)seen->pdata[i])->pid;

		if (pid && shares_netns(pid, facts->netns_dir))
			facts->l3_agent = pid;
	}
	for (unsigned i = 0; files && i < files->len; i++) {
		const struct xtlock_file *file = files->pdata[i];
		struct lock_facts lock = { .path = g_strdup(file->path), .device = file->device, .inode = file->inode };

		g_array_append_val(facts->locks, lock);
	}
	if (!files)
		facts->lock_failure = message_of(error ? error : unseen);
}

static char *find_tool(const char *name)
{
	g_autofree char *path = g_find_program_in_path(name), *usual = g_build_filename("/usr/sbin", name, NULL);

	if (path)
		return g_steal_pointer(&path);
	return g_file_test(usual, G_FILE_TEST_IS_EXECUTABLE) ? g_steal_pointer(&usual) : NULL;
}

static bool has_tool(const char *name)
{
	g_autofree char *path = find_tool(name);

	return path;
}

/* By the program behind all links: xtables-nft-multi, xtables-legacy-multi, or xtables-multi of versions before 1.8. */
static enum host_iptables ask_iptables(void)
{
	g_autofree char *path = find_tool("iptables"), *real = path ? g_canonicalize_filename(path, "/") : NULL, *end = NULL;

	if (!path)
		return HOST_NONE;
	end = realpath(real, NULL);
	if (!end)
		return HOST_UNKNOWN;
	return strstr(end, "nft-multi") ? HOST_NFT : g_str_has_suffix(end, "legacy-multi") ||
	       g_str_has_suffix(end, "/xtables-multi") ? HOST_LEGACY : HOST_UNKNOWN;
}

static void ask_host(struct facts *facts, const struct config *config)
{
	g_autoptr(GError) error = NULL;

	if (facts->can_look)
		ask_locks(facts, config);
	facts->iptables = ask_iptables();
	facts->has_iptables_nft = has_tool("iptables-nft");
	facts->has_iptables_legacy = has_tool("iptables-legacy");
	facts->has_nft = has_tool("nft");
	clock_is_synchronised(&facts->synchronised, &facts->clock_error_us, &error);
	facts->clock_failure = message_of(error);
}

/* ---- disk and store ---- */

static uint64_t size_of(const char *directory, const char *name)
{
	g_autofree char *path = g_build_filename(directory, name, NULL);
	struct stat file;

	return stat(path, &file) == 0 ? (uint64_t)file.st_size : 0;
}

static void take_gap(const struct coverage *gap, void *data)
{
	const struct facts *facts = data;

	for (unsigned i = 0; i < facts->routers->len; i++) {
		struct router_facts *router = facts->routers->pdata[i];

		if (!g_str_equal(router_name_of(router->ns), gap->router))
			continue;
		router->gaps++;
		router->gaps_us += gap->end_us - gap->start_us;
		g_free(router->gap_reason);
		router->gap_reason = g_strdup(gap->reason);
	}
}

static void ask_store(struct facts *facts, const struct config *config)
{
	g_autoptr(GError) error = NULL;
	struct store *store = store_open_reader(facts->state_dir, &error);

	facts->has_store = store;
	facts->quota = config->quota;
	facts->database = size_of(facts->state_dir, STORE_FILE);
	facts->log = size_of(facts->state_dir, STORE_FILE "-wal");
	if (store)
		store_each_gap(store, facts->now_us - DAY_US, take_gap, facts, &error);
	store_close(store);
	if (!g_error_matches(error, STORE_ERROR, STORE_ERROR_MISSING))
		facts->store_failure = message_of(error);
}

static void ask_disk(struct facts *facts)
{
	struct statvfs disk;

	if (statvfs(facts->state_dir, &disk) < 0) {
		facts->disk_failure = g_strdup_printf("%s: %s", facts->state_dir, g_strerror(errno));
		return;
	}
	facts->disk_size = (uint64_t)disk.f_blocks * disk.f_frsize;
	facts->disk_free = (uint64_t)disk.f_bavail * disk.f_frsize;
}

/* ---- routers ---- */

/* The agent may have been started with another back end than the configuration has now. */
static void adopt_backend(const struct node *node, struct site *site, const json_t *posted)
{
	for (unsigned i = 0; i < BACKENDS && node->backends[i]; i++)
		if (g_str_equal(node->backends[i]->name, text_of(posted, "backend")))
			site->backend = node->backends[i];
}

/* What it stopped is the agent's affair. */
static char *without_skipping(const char *complaint)
{
	g_autofree char *text = g_strdup(complaint);

	if (g_str_has_suffix(text, SKIPPING))
		text[strlen(text) - strlen(SKIPPING)] = '\0';
	return g_steal_pointer(&text);
}

static void take_site(struct facts *facts, const struct node *node, struct site *site, const json_t *told)
{
	g_autofree char *about = g_strconcat(ABOUT_NS, site->ns, NULL);
	const char *complaint = g_hash_table_lookup(node->said, about);
	const char *trouble = text_of(json_object_get(told, "problems"), about);
	const json_t *posted = json_object_get(json_object_get(told, "routers"), site->ns);
	struct router_facts *router;

	adopt_backend(node, site, posted);
	router = checkup_router(facts, site);
	router->posted = posted;
	if (*trouble)
		router->trouble = g_strdup(trouble);

	if (site->failed && complaint) {
		g_free(router->failure);
		router->failure = without_skipping(complaint);
	}
	router->standby = site->router && plan_is_standby(site->router);
	router->router = g_steal_pointer(&site->router);
	facts->lock_needed |= g_str_equal(router->backend, "iptables");
	g_ptr_array_add(facts->routers, router);
}

/* Complaints about names that came to no site. */
static void take_strangers(struct facts *facts, const struct node *node)
{
	g_autoptr(GList) all = g_list_sort(g_hash_table_get_keys(node->said), (GCompareFunc)strcmp);

	for (GList *each = all; each; each = each->next) {
		const char *ns = g_str_has_prefix(each->data, ABOUT_NS) ? (char *)each->data + strlen(ABOUT_NS) : "";
		struct stranger stranger = { .is_router = inventory_is_router(ns) };

		if (!*ns || g_hash_table_contains(node->sites, ns))
			continue;
		stranger.ns = g_strdup(ns);
		stranger.why = without_skipping(g_hash_table_lookup(node->said, each->data));
		g_ptr_array_add(facts->strangers, g_memdup2(&stranger, sizeof stranger));
	}
}

static void ask_routers(struct facts *facts, struct node *node, const json_t *told)
{
	g_autoptr(GError) error = NULL;

	if (!facts->can_look)
		return;
	if (!look(node, LOOK_ALL, &error))
		facts->look_failure = message_of(error);
	for (unsigned i = 0; i < node->turn->len; i++)
		take_site(facts, node, node->turn->pdata[i], told);
	take_strangers(facts, node);
}

struct facts *checkup_gather(struct node *node)
{
	struct facts *facts = facts_new();
	json_t *told;

	facts->now_us = clock_now().utc_us;
	facts->netns_dir = node->config->netns_dir;
	facts->state_dir = node->config->state_dir;
	ask_privileges(facts);
	told = ask_agent(facts);
	ask_backends(facts, node, told);
	ask_host(facts, node->config);
	ask_routers(facts, node, told);
	ask_disk(facts);
	ask_store(facts, node->config);
	json_decref(told);
	return facts;
}

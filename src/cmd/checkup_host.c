/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the host has: privileges, back ends that work, locks, tools, the clock, room on the disk.
 */
#include "cmd/checkup.h"

#include "kernel/bpffs.h"
#include "kernel/capability.h"
#include "kernel/clock.h"
#include "kernel/netns.h"
#include "kernel/xtlock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define BTF "/sys/kernel/btf/vmlinux"

/* ---- this process ---- */

static void ask_privileges(struct facts *facts)
{
	g_autoptr(GError) error = NULL;

	facts->can_look = capability_check_looking(NULL);
	capability_check_metering(&error);
	facts->privileges = checkup_message(error);
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
		if (!g_strcmp0(json_string_value(json_object_get(router, "backend")), name))
			return true;
	return g_str_equal(node->config->backend, name);
}

#define BEHIND "at prerouting, behind a policer at a device's ingress"

/* *place: by what the programs are called here. */
static bool try_places(const char *wanted, int ns_fd, const char **place, GError **error)
{
	g_autoptr(GError) first = NULL;

	*place = "BTF, and a link " BEHIND;
	if (!g_str_equal(wanted, "rule") && bpffs_try_prerouting(ns_fd, &first))
		return true;
	*place = "BTF, and a rule " BEHIND;
	if (!g_str_equal(wanted, "link") && bpffs_try_rule(ns_fd, error))
		return true;
	if (g_str_equal(wanted, "link"))
		g_propagate_error(error, g_steal_pointer(&first));
	else if (first)
		g_prefix_error(error, "%s; ", first->message);
	return false;
}

/* Its own probe would pin something, and mount what is to be pinned in. */
static bool try_ebpf(const char *wanted, const char **place, GError **error)
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
	done = try_places(wanted, ns_fd, place, error);
	close(ns_fd);
	return done;
}

/* *needs becomes what of it is there. */
static char *refusal_of(struct node *node, unsigned which, const char **needs)
{
	struct backend *backend = node->backends[which];
	g_autoptr(GError) error = NULL;
	const char *place;

	if (!backend)
		return g_strdup("it is not in this build");
	if (which != BACKEND_EBPF && backend_probe(backend, false, &error))
		return NULL;
	if (which == BACKEND_EBPF && try_ebpf(node->config->ebpf_place, &place, &error)) {
		*needs = place;
		return NULL;
	}
	return checkup_message(error);
}

static void ask_backends(struct facts *facts, struct node *node, const json_t *told)
{
	static const struct {
		const char *name, *needs;
	} known[BACKENDS] = {
		[BACKEND_NFT] = { "nft", "nf_tables with named counters, maps and fib" },
		[BACKEND_IPTABLES] = { "iptables", "ipset with counters and comments, the legacy table mangle" },
		[BACKEND_EBPF] = { "ebpf", "BTF, and programs at netfilter's hooks: kernel 6.4, or 5.14 with nft_compat and xt_bpf" },
	};

	facts->configured = node->config->backend;
	for (unsigned i = 0; i < BACKENDS && facts->can_look; i++) {
		struct backend_facts backend = { .name = known[i].name, .needs = known[i].needs,
		                                 .wanted = is_wanted(node, told, known[i].name) };

		backend.refusal = refusal_of(node, i, &backend.needs);
		g_array_append_val(facts->backends, backend);
	}
	if (g_str_equal(node->config->backend, "auto") && facts->can_look &&
	    g_array_index(facts->backends, struct backend_facts, BACKEND_NFT).refusal)
		node->usual = node->backends[BACKEND_IPTABLES];
}

/* ---- locks and tools ---- */

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
		facts->lock_failure = checkup_message(error ? error : unseen);
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

static void ask_tools(struct facts *facts)
{
	facts->iptables = ask_iptables();
	facts->has_iptables_nft = has_tool("iptables-nft");
	facts->has_iptables_legacy = has_tool("iptables-legacy");
	facts->has_nft = has_tool("nft");
}

/* ---- clock and disk ---- */

static void ask_clock(struct facts *facts)
{
	g_autoptr(GError) error = NULL;

	clock_is_synchronised(&facts->synchronised, &facts->clock_error_us, &error);
	facts->clock_failure = checkup_message(error);
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

void checkup_host(struct facts *facts, struct node *node, const json_t *told)
{
	ask_privileges(facts);
	ask_backends(facts, node, told);
	if (facts->can_look)
		ask_locks(facts, node->config);
	ask_tools(facts);
	ask_clock(facts);
	ask_disk(facts);
}

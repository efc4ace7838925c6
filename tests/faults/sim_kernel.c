/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The made-up clock, namespaces, events and service manager, in the place of src/kernel and src/inventory, and of the
 * calls of libc that src/cmd makes itself (linked with --wrap).
 */
#include "sim.h"

#include "cmd/bulletin.h"
#include "cmd/supervisor.h"
#include "cmd/upkeep.h"
#include "inventory/inventory.h"
#include "inventory/statistics.h"
#include "inventory/watch.h"
#include "kernel/capability.h"
#include "kernel/clock.h"
#include "kernel/lock.h"
#include "kernel/netlink.h"
#include "kernel/netns.h"
#include "kernel/xtables.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define FIRST_FD 100000

/* ---- the clock ---- */

struct instant clock_now(void)
{
	return (struct instant){ .utc_us = sim.real_us + sim.offset_us, .boot_us = sim.real_us - sim.booted_us };
}

char *clock_boot_id(GError **error)
{
	return g_strdup(sim.boot);
}

/* ---- descriptors ---- */

struct net *kernel_net(int fd)
{
	g_assert_cmpint(fd, >=, FIRST_FD);
	g_assert_cmpint(fd - FIRST_FD, <, sim.fds->len);
	return sim.fds->pdata[fd - FIRST_FD];
}

static int hold(struct net *net)
{
	net->holds++;
	g_ptr_array_add(sim.fds, net);
	return FIRST_FD + sim.fds->len - 1;
}

void kernel_drop(struct net *net)
{
	if (net->linked || net->holds)
		return;
	sim_trace("namespace %s is gone", net->ns);
	counters_clear(net);
	g_ptr_array_remove(sim.nets, net);
}

static void let_go(int fd)
{
	struct net *net = kernel_net(fd);

	if (!net)
		return;
	sim.fds->pdata[fd - FIRST_FD] = NULL;
	net->holds--;
	if (!net->linked && !net->holds)
		counters_owe(net);
	kernel_drop(net);
}

void kernel_release_all(void)
{
	GHashTableIter each;
	void *fd;

	for (unsigned i = 0; i < sim.fds->len; i++) {
		bool kept = false;

		g_hash_table_iter_init(&each, sim.kept);
		while (g_hash_table_iter_next(&each, NULL, &fd))
			kept |= GPOINTER_TO_INT(fd) == FIRST_FD + (int)i;
		if (!kept)
			let_go(FIRST_FD + (int)i);
	}
	sim.watching = false;
	for (unsigned i = 0; i < sim.nets->len; i++)
		((struct net *)sim.nets->pdata[i])->followed = false;
	g_ptr_array_set_size(sim.events, 0);
}

void kernel_clear(void)
{
	g_ptr_array_set_size(sim.fds, 0);
	g_hash_table_remove_all(sim.kept);
	g_ptr_array_set_size(sim.events, 0);
}

int netns_open(const char *directory, const char *name, GError **error)
{
	struct net *net = world_net(name);

	sim_point("netns_open");
	net = world_net(name);
	if (!net) {
		g_set_error(error, NETNS_ERROR, NETNS_ERROR_GONE, "%s: gone", name);
		return -1;
	}
	if (sim_fault("netns_open")) {
		g_set_error(error, NETNS_ERROR, sim_chance(0.7) ? NETNS_ERROR_NOT_YET : NETNS_ERROR_FAILED, "%s: refused", name);
		return -1;
	}
	return hold(net);
}

bool netns_is_still(const char *directory, const char *name, uint64_t inode)
{
	const struct net *net = world_net(name);

	return net && net->inode == inode;
}

struct netlink *netlink_open(int ns_fd, int bus, GError **error)
{
	if (!sim_fault("netlink_open"))
		return (struct netlink *)kernel_net(ns_fd);
	g_set_error(error, NETLINK_ERROR, NETLINK_ERROR_FAILED, "socket: refused");
	return NULL;
}

void netlink_close(struct netlink *netlink)
{
}

int lock_take(const char *path, GError **error)
{
	return FIRST_FD - 1;
}

int __wrap_close(int fd);
int __wrap_close(int fd)
{
	if (fd >= FIRST_FD)
		let_go(fd);
	return 0;
}

static int tell_of(const struct net *net, struct stat *file)
{
	memset(file, 0, sizeof *file);
	if (!net) {
		errno = ENOENT;
		return -1;
	}
	file->st_ino = net->inode;
	file->st_mode = S_IFREG | 0444;
	return 0;
}

int __wrap_fstat64(int fd, struct stat *file);
int __wrap_fstat64(int fd, struct stat *file)
{
	return tell_of(kernel_net(fd), file);
}

int __wrap_lstat64(const char *path, struct stat *file);
int __wrap_lstat64(const char *path, struct stat *file)
{
	return tell_of(world_net(strrchr(path, '/') + 1), file);
}

long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...)
{
	sim_point("membarrier");
	return 0;
}

void __wrap_g_usleep(gulong us);
void __wrap_g_usleep(gulong us)
{
	world_advance(sim.real_us + (int64_t)us);
}

int __wrap_g_mkdir_with_parents(const char *path, int mode);
int __wrap_g_mkdir_with_parents(const char *path, int mode)
{
	return 0;
}

/* ---- the inventory ---- */

/* Nothing is known of the devices, so nothing is judged by them. */
struct statistics *statistics_open(int ns_fd, GError **error)
{
	g_set_error(error, NETLINK_ERROR, NETLINK_ERROR_FAILED, "no statistics");
	return NULL;
}

void statistics_close(struct statistics *statistics)
{
}

struct traffic *statistics_read(struct statistics *statistics, GError **error)
{
	g_assert_not_reached();
}

bool inventory_is_router(const char *ns)
{
	return true;
}

GPtrArray *inventory_names(const char *directory, GPtrArray *strangers, GError **error)
{
	GPtrArray *names;

	sim_point("readdir");
	if (sim_fault("readdir")) {
		g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_IO, "%s: refused", directory);
		return NULL;
	}
	names = g_ptr_array_new_with_free_func(g_free);
	for (unsigned i = 0; i < sim.nets->len; i++)
		if (((struct net *)sim.nets->pdata[i])->linked)
			g_ptr_array_add(names, g_strdup(((struct net *)sim.nets->pdata[i])->ns));
	return names;
}

struct router *inventory_look(int ns_fd, struct netlink *netfilter, const char *ns, enum flavour ruling,
                              GError **error)
{
	struct net *net;

	sim_point("look");
	net = kernel_net(ns_fd);
	if (sim_fault("look")) {
		g_set_error(error, NETLINK_ERROR, NETLINK_ERROR_FAILED, "%s: not to be looked at", ns);
		return NULL;
	}
	world_looked_at(net);
	return world_router(net);
}

bool xtables_fingerprint(int ns_fd, const char *table, uint64_t *fingerprint, GError **error)
{
	struct net *net;

	sim_point("fingerprint");
	net = kernel_net(ns_fd);
	*fingerprint = net->flavour == FLAVOUR_LEGACY ? net->changes + 1 : 0;
	if (!sim_fault("fingerprint"))
		return true;
	g_set_error(error, XTABLES_ERROR, 0, "%s: not to be read", net->ns);
	return false;
}

/* ---- what is heard ---- */

struct event {
	enum watch_event event;
	const char *ns;
};

void kernel_tell(int event, const char *ns)
{
	const struct net *net = world_net(ns);
	struct event *told;

	if (!sim.watching || (event == WATCH_CHANGED && !(net && net->followed)))
		return;
	for (unsigned i = 0; i < sim.events->len; i++) {
		const struct event *before = sim.events->pdata[i];

		if ((int)before->event == event && before->ns == ns)
			return;
	}
	told = g_new(struct event, 1);
	*told = (struct event){ event, ns };
	g_ptr_array_add(sim.events, told);
}

struct watch *watch_open(const char *directory, GError **error)
{
	if (sim.deaf) {
		g_set_error(error, NETLINK_ERROR, NETLINK_ERROR_FAILED, "events: refused");
		return NULL;
	}
	sim.watching = true;
	return (struct watch *)&sim;
}

void watch_close(struct watch *watch)
{
	if (watch)
		sim.watching = false;
}

void watch_fds(const struct watch *watch, int fds[WATCH_FDS])
{
	for (int i = 0; i < WATCH_FDS; i++)
		fds[i] = i;
}

bool watch_follow(struct watch *watch, int ns_fd, const char *ns, GError **error)
{
	kernel_net(ns_fd)->followed = true;
	return true;
}

void watch_forget(struct watch *watch, const char *ns)
{
}

bool watch_take(struct watch *watch, watch_call call, void *data, GError **error)
{
	g_autoptr(GPtrArray) told = g_steal_pointer(&sim.events);

	sim.events = g_ptr_array_new_with_free_func(g_free);
	if (sim.events_lost) {
		sim.events_lost = false;
		call(WATCH_EVERYTHING, NULL, data);
		return true;
	}
	if (sim_fault("watch")) {
		g_set_error(error, NETLINK_ERROR, NETLINK_ERROR_FAILED, "events: nothing will be heard any more");
		return false;
	}
	for (unsigned i = 0; i < told->len; i++) {
		const struct event *event = told->pdata[i];

		call(event->event, event->ns, data);
	}
	return true;
}

/* ---- the service manager ---- */

void supervisor_keep(const char *name, int fd)
{
	if (!sim.keeps)
		return;
	supervisor_drop(name);
	g_hash_table_replace(sim.kept, g_strdup(name), GINT_TO_POINTER(hold(kernel_net(fd))));
}

void supervisor_drop(const char *name)
{
	int fd = GPOINTER_TO_INT(g_hash_table_lookup(sim.kept, name));

	g_hash_table_remove(sim.kept, name);
	if (fd)
		let_go(fd);
}

GHashTable *supervisor_kept(void)
{
	GHashTable *told = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	GHashTableIter each;
	void *name, *fd;

	g_hash_table_iter_init(&each, sim.kept);
	while (g_hash_table_iter_next(&each, &name, &fd))
		g_hash_table_insert(told, g_strdup(name), GINT_TO_POINTER(hold(kernel_net(GPOINTER_TO_INT(fd)))));
	return told;
}

void supervisor_ready(const char *status)
{
}

void supervisor_reloading(void)
{
}

void supervisor_stopping(void)
{
}

void supervisor_sampled(const char *status, int64_t interval_us)
{
}

/* Of the back end that is left out. */
bool netlink_ns_cookie(struct netlink *netlink, uint64_t *cookie, GError **error)
{
	g_set_error(error, NETLINK_ERROR, NETLINK_ERROR_UNSUPPORTED, "there are no cookies");
	return false;
}

/* ---- privileges: all ---- */

bool capability_check_looking(GError **error)
{
	return true;
}

bool capability_check_metering(GError **error)
{
	return true;
}

/* ---- what the agent tells ---- */

struct bulletin *bulletin_new(const char *netns_dir)
{
	return NULL;
}

void bulletin_free(struct bulletin *bulletin)
{
}

void bulletin_move(struct bulletin *bulletin, const char *netns_dir)
{
}

void bulletin_post(struct node *node, const GError *failure)
{
	sim.failures += failure != NULL;
}

bool upkeep_step(struct upkeep *upkeep, struct node *node)
{
	return false;
}

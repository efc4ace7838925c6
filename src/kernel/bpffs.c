/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See bpffs.h.
 */
#include "kernel/bpffs.h"

#include "kernel/lock.h"
#include "kernel/netns.h"
#include "kernel/nftbatch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/magic.h>
#include <libnftnl/rule.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#define LOCK_PATIENCE_US 10000000

static bool fail(GError **error, const char *what, const char *remedy)
{
	g_set_error(error, BPFFS_ERROR, BPFFS_ERROR_FAILED, "%s: %s%s", what, g_strerror(errno), remedy);
	return false;
}

bool bpffs_is_mounted(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && (unsigned long)fs.f_type == BPF_FS_MAGIC;
}

bool bpffs_mount(const char *path, GError **error)
{
	g_autofree char *what = g_strconcat("cannot mount a bpf file system at ", path, NULL);

	return bpffs_is_mounted(path) || mount("bpf", path, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") == 0 ||
	       fail(error, what, " (mount -t bpf bpf /sys/fs/bpf on the host; in a container let it see that one)");
}

int bpffs_lock(const char *directory, GError **error)
{
	int fd = -1;

	if (mkdir(directory, 0700) == 0 || errno == EEXIST)
		fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		fail(error, directory, "");
		return -1;
	}
	if (lock_wait(fd, g_get_monotonic_time() + LOCK_PATIENCE_US))
		return fd;
	fail(error, directory, errno == EWOULDBLOCK ? " (another process has held it for 10 seconds: fuser(1) tells which)" : "");
	close(fd);
	return -1;
}

void bpffs_unlock(int lock)
{
	flock(lock, LOCK_UN); /* whatever becomes of the descriptor */
	close(lock);
}

/* ---- links ---- */

#define ATTACH_NETFILTER 45 /* BPF_NETFILTER of linux/bpf.h; headers older than 6.4 lack it */

struct link_request { /* the part of union bpf_attr that BPF_LINK_CREATE reads for it */
	__u32 program, target, attach_type, flags;
	__u32 family, hook;
	__s32 priority;
	__u32 netfilter_flags;
};

struct attaching {
	struct link_request request;
	int link;
};

static bool attach(void *data, GError **error)
{
	struct attaching *attaching = data;

	attaching->link = syscall(SYS_bpf, BPF_LINK_CREATE, &attaching->request, sizeof attaching->request);
	return attaching->link >= 0 ||
	       fail(error, "cannot attach a program to netfilter", errno == EINVAL ?
	            " (it takes kernel 6.4 with CONFIG_NETFILTER_BPF_LINK)" : "");
}

int bpffs_link_prerouting(int ns_fd, int program, int32_t priority, GError **error)
{
	struct attaching attaching = {
		.request = { .program = program, .attach_type = ATTACH_NETFILTER, .family = NFPROTO_IPV4,
		             .hook = NF_INET_PRE_ROUTING, .priority = priority },
		.link = -1,
	};

	return netns_call(ns_fd, attach, &attaching, error) ? attaching.link : -1;
}

#define PROGRAM_NETFILTER 32 /* BPF_PROG_TYPE_NETFILTER, as ATTACH_NETFILTER */

/* return NF_ACCEPT, which for a filter of sockets is a yes */
static int load_passing_program(uint32_t type, uint32_t attach_type)
{
	static const struct bpf_insn program[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = NF_ACCEPT },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr request = {
		.prog_type = type, .expected_attach_type = attach_type, .insns = (uintptr_t)program,
		.insn_cnt = G_N_ELEMENTS(program), .license = (uintptr_t)"GPL",
	};

	return (int)syscall(SYS_bpf, BPF_PROG_LOAD, &request, sizeof request);
}

bool bpffs_try_prerouting(int ns_fd, GError **error)
{
	int program = load_passing_program(PROGRAM_NETFILTER, ATTACH_NETFILTER), link;

	if (program < 0)
		return fail(error, "the kernel takes no program for netfilter", errno == EINVAL ?
		            " (it takes kernel 6.4 with CONFIG_NETFILTER_BPF_LINK)" : "");
	link = bpffs_link_prerouting(ns_fd, program, 0, error);
	close(program);
	if (link >= 0)
		close(link);
	return link >= 0;
}

#define TRIAL "fipmeter_trial" /* table and chain */

static bool add_asking_rule(struct netlink *netlink, int program, GError **error)
{
	struct nftbatch *batch = nftbatch_new(TRIAL);
	struct nftnl_rule *rule = nftrule_new(TRIAL, TRIAL);
	bool done;

	nftbatch_add_table(batch);
	nftbatch_add_base_chain(batch, TRIAL, NF_INET_PRE_ROUTING, 0);
	nftrule_ask_program(rule, program);
	nftbatch_add_rule(batch, rule);
	nftbatch_delete_table(batch);
	done = nftbatch_commit(batch, netlink, error);
	nftnl_rule_free(rule);
	nftbatch_free(batch);
	return done;
}

bool bpffs_try_rule(int ns_fd, GError **error)
{
	int program = load_passing_program(BPF_PROG_TYPE_SOCKET_FILTER, 0);
	struct netlink *netlink;
	bool done;

	if (program < 0)
		return fail(error, "the kernel takes no program for a rule", "");
	netlink = netlink_open(ns_fd, NETLINK_NETFILTER, error);
	done = netlink && add_asking_rule(netlink, program, error);
	netlink_close(netlink);
	close(program);
	return done;
}

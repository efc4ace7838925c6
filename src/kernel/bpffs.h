/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The file system in which objects of bpf(2) have names (pins) and live on while no process holds them, and the one kind
 * of link that the libbpf of today's distributions cannot make.
 */
#ifndef FIPMETER_KERNEL_BPFFS_H
#define FIPMETER_KERNEL_BPFFS_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define BPFFS_ERROR (g_quark_from_static_string("fipmeter-bpffs"))
enum bpffs_error { BPFFS_ERROR_FAILED };

bool bpffs_is_mounted(const char *path);

/* Mounts one at path unless there is one.  In a mount namespace of our own it would end with us: there the host's has to be
 * seen. */
bool bpffs_mount(const char *path, GError **error);

/* Makes directory, and takes it for us alone (flock(2)) until bpffs_unlock() of what is returned; -1 on failure.  Waits 10 s
 * for who has it. */
int bpffs_lock(const char *directory, GError **error);
void bpffs_unlock(int lock);

/* Has the program (a descriptor) run for each IPv4 packet at netfilter's prerouting hook of the namespace: BPF_LINK_CREATE
 * of bpf(2), kernel 6.4 and later.  Returns the link, -1 on failure.  A link that is pinned keeps the namespace alive, its
 * devices included (net/netfilter/nf_bpf_link.c). */
int bpffs_link_prerouting(int ns_fd, int program, int32_t priority, GError **error);

/* Can this kernel do so?  Tried in the namespace with a program that lets everything pass, and undone. */
bool bpffs_try_prerouting(int ns_fd, GError **error);

/* The same by a rule of nf_tables that asks a program for sockets (nftbatch.h). */
bool bpffs_try_rule(int ns_fd, GError **error);

#endif

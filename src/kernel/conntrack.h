/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How full the table of connections of a namespace is (net.netfilter.nf_conntrack_count, nf_conntrack_max: the kernel's
 * Documentation/networking/nf_conntrack-sysctl.rst).
 */
#ifndef FIPMETER_KERNEL_CONNTRACK_H
#define FIPMETER_KERNEL_CONNTRACK_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* Both are 0 where the kernel tracks no connections there. */
bool conntrack_count(int ns_fd, uint64_t *connections, uint64_t *max, GError **error);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a network device does by itself: its features, as ethtool(8) -k lists them (linux/ethtool.h: ETHTOOL_GFEATURES).
 * Asks only.
 */
#ifndef FIPMETER_KERNEL_ETHTOOL_H
#define FIPMETER_KERNEL_ETHTOOL_H

#include <glib.h>
#include <stdbool.h>

#define ETHTOOL_ERROR (g_quark_from_static_string("fipmeter-ethtool"))

/* Is the feature of that name ("hw-tc-offload") in force at the device in the namespace?  Not, where the device or the
 * kernel has no such feature. */
bool ethtool_has_feature(int ns_fd, const char *device, const char *feature, bool *active, GError **error);

#endif

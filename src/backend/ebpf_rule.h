/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the kernel has no link of netfilter for programs: one rule of nf_tables in a table of our own, `ip fipmeter_ebpf`, at the
 * same hook and priority, calls them.  It lives with the namespace, whoever runs, and keeps nothing alive but the program.
 *
 * All functions fail with BACKEND_ERROR.  In a namespace that is gone there is no rule, and none to be missed.
 */
#ifndef FIPMETER_BACKEND_EBPF_RULE_H
#define FIPMETER_BACKEND_EBPF_RULE_H

#include "backend/ebpf_maps.h"

#define EBPF_RULE_TABLE "fipmeter_ebpf"

/* Is there a table of that name, of whichever maps? */
bool ebpf_rule_is_there(const struct place *place, bool *is_there, GError **error);

/* Does the rule stand as it was made, and call what counts into these maps? */
bool ebpf_rule_stands(const struct ebpf_maps *maps, const struct place *place, bool *stands, GError **error);

/* In place of what is there, in one step. */
bool ebpf_rule_make(const struct ebpf_maps *maps, const struct place *place, GError **error);
bool ebpf_rule_drop(const struct place *place, GError **error); /* done if there is none */

#endif

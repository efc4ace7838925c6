/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the maps of bpf/meter.h should hold for a plan.  Pure data, made from the plan alone; backend/ebpf.c compares it
 * with what is there and changes the difference.
 */
#ifndef FIPMETER_BACKEND_EBPF_LAYOUT_H
#define FIPMETER_BACKEND_EBPF_LAYOUT_H

#include "bpf/meter.h"
#include "core/model.h"

/* Which address is whose; in host byte order. */
struct ebpf_address {
	uint32_t address, kind; /* enum meter_address_kind */
	uint32_t owner;         /* the floating IP */
	uint32_t local;         /* as in struct meter_address; 0 where it is public */
};

/* An entry of the longest-prefix match. */
struct ebpf_prefix {
	struct prefix prefix;
	uint32_t local;         /* as in struct meter_prefix */
	const char *class_name; /* interned */
};

struct ebpf_layout {
	GArray *addresses; /* of struct ebpf_address, ascending */
	GArray *prefixes;  /* of struct ebpf_prefix, ascending; the first is for all of IPv4 */
	const char *usual; /* the class of that one; interned */
	uint32_t usual_octets[8];  /* as in struct meter_router */
	uint32_t first, last;      /* all public addresses are in here, or first is above last */
	bool unattributed, out_sent;
	uint32_t gateway;
};

struct ebpf_layout *ebpf_layout_new(const struct plan *plan);
void ebpf_layout_free(struct ebpf_layout *layout); /* takes NULL */
SCOPED_DEFINE(ebpf_layout)

/* As strcmp(); ebpf_address_compare() leaves the owner out, ebpf_prefix_compare() asks for all. */
int ebpf_address_compare(const void *a, const void *b);
int ebpf_prefix_compare(const void *a, const void *b);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The maps of meter.h, as the programs see them.  Nothing in the kernel makes, removes or changes an entry, counters and
 * marks apart.
 */
#ifndef FIPMETER_BPF_MAPS_H
#define FIPMETER_BPF_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "meter.h"

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} programs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, METER_ROUTERS);
	__type(key, __u64);
	__type(value, struct meter_router);
} routers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, METER_CLASSES);
	__type(key, __u32);
	__type(value, struct meter_class);
} classes SEC(".maps"); /* for who reads the counters */

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, METER_ADDRESSES);
	__type(key, struct meter_address_key);
	__type(value, struct meter_address);
} addresses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, METER_PREFIXES);
	__type(key, struct meter_prefix_key);
	__type(value, struct meter_prefix);
} prefixes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, METER_COUNTERS);
	__type(key, struct meter_counter_key);
	__type(value, struct meter_counts);
} counters SEC(".maps");

#endif

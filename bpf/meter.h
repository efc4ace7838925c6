/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What bpf/meter.bpf.c and the back end `ebpf` share: the maps, their keys and values.  All are pinned, so this is also
 * what an agent finds that another version has made: METER_LAYOUT grows with every change of it.
 *
 * A router has a slot, a small number of its own as long as one of its entries stands; all keys begin with it, the prefixes'
 * apart, which have a table: a whole set of prefixes that takes over from another one in one step, by the router's state.
 * Addresses are in network byte order.
 */
#ifndef FIPMETER_BPF_METER_H
#define FIPMETER_BPF_METER_H

#include <linux/types.h>

#define METER_LAYOUT 1

/* Nothing but `states` is there before it is needed, apart from the hash buckets: 16 bytes an entry. */
#define METER_ROUTERS 16384
#define METER_COUNTERS (1 << 19)
#define METER_ADDRESSES (1 << 18)
#define METER_PREFIXES (1 << 18)

#define METER_CLASS_LEN 16
#define METER_TAG_LEN 32
#define METER_NS_LEN 64
#define METER_DIRECTORY_LEN 48

/* routers: by the cookie of the network namespace, which no other one has in this boot (socket(7), SO_NETNS_COOKIE). */
struct meter_router {
	__u32 slot;
	__u32 going;                   /* it is being removed: its counters are in the books */
	char tag[METER_TAG_LEN + 4];   /* hexadecimal digits, then NUL */
	char ns[METER_NS_LEN];
	char directory[METER_DIRECTORY_LEN]; /* where that name is: the file system and inode of the netns directory */
};

/* states: by slot.  One word, which is written and read whole; table 0: nothing counts. */
union meter_state {
	__u64 word;
	struct {
		__u32 table;   /* the highest bit says METER_HAS_UNATTRIBUTED */
		__u32 gateway; /* 0: no SNAT rule */
	};
};
#define METER_HAS_UNATTRIBUTED (1U << 31)

/* addresses: which address is whose. */
enum meter_address_kind { METER_PUBLIC, METER_FIXED };

struct meter_address_key {
	__u32 slot, address, kind;
};

/* An entry that is removed may be another's at once, under the eyes of who has just found it: so the value says, in its
 * first word, whose it is, and is written and read in that order. */
struct meter_address {
	__u32 slot, address;
	__u64 owner; /* the floating IP */
};

/* prefixes: longest prefix match; prefixlen counts the 32 bits of the table, too. */
struct meter_prefix_key {
	__u32 prefixlen;
	__u32 table, address;
};

struct meter_prefix {
	char class_name[METER_CLASS_LEN];
	__u32 local; /* 1 + the length of the local prefix that it is in; 0: it is in none */
	__u32 router; /* slot */
};

/* counters: kind as enum kind of core/model.h, and METER_LOST: packets that should have counted and had no counter. */
#define METER_LOST 255

struct meter_counter_key {
	__u32 slot, kind;
	__u8 address[4];
	char class_name[METER_CLASS_LEN];
};

struct meter_counts {
	__u64 in_bytes, in_packets, out_bytes, out_packets;
};

#endif

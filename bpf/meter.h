/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What bpf/meter.bpf.c and the back end `ebpf` share: the maps, their keys and values.  All are pinned, so this is also
 * what an agent finds that another version has made: METER_LAYOUT grows with every change of it.
 *
 * A router has a slot, a small number of its own as long as one of its entries stands; all keys begin with it, the prefixes'
 * apart, which have a table: a whole set of prefixes that takes over from another one in one step, by the router's entry.
 * Keys of 8 bytes, so that what is looked at first of an entry is in one line of the processor's cache.
 * Addresses are in network byte order.
 *
 * An entry that is removed may be another's at once, under the eyes of who has just found it: so each value says whose it is,
 * and is read against the order in which it is written, from its beginning to its end.
 *
 * A mark says that the namespace's routes were asked, and said yes, and have not changed since: the number of their last
 * change, and what it was asked for.  The counting program writes marks, user space none but 0.
 */
#ifndef FIPMETER_BPF_METER_H
#define FIPMETER_BPF_METER_H

#include <linux/types.h>

#define METER_LAYOUT 2

/* Nothing but `classes` is there before it is needed, apart from the hash buckets: 16 bytes an entry. */
#define METER_ROUTERS 16384
#define METER_COUNTERS (1 << 19)
#define METER_ADDRESSES (1 << 18)
#define METER_PREFIXES (1 << 18)
#define METER_CLASSES 1024

#define METER_CLASS_LEN 16
#define METER_TAG_LEN 32
#define METER_NS_LEN 64
#define METER_DIRECTORY_LEN 48

/* routers: by the cookie of the network namespace, which no other one has in this boot (socket(7), SO_NETNS_COOKIE).
 * An entry is replaced as a whole, and then has another version: the same at both ends, or it is none. */
struct meter_router {
	__u64 cookie;                  /* whose it is */
	__u32 version;
	__u32 slot;
	__u32 table;                   /* 0: nothing counts; the highest bits say METER_HAS_UNATTRIBUTED, METER_OUT_SENT */
	__u32 gateway;                 /* 0: no SNAT rule */
	__u32 first, last;             /* in host byte order: all floating IPs are in here */
	__u32 usual;                   /* the class of ... */
	__u32 usual_octets[8];         /* ... all addresses that begin with these octets (a bit each); none of them is local */
	__u32 version_too;
	__u64 seen;                    /* the routes' last change, and the low half of the jiffies at which it was seen */
	__u64 gateway_mark;            /* the gateway address is served */
	__u32 going;                   /* it is being removed: its counters are in the books */
	char tag[METER_TAG_LEN + 4];   /* hexadecimal digits, then NUL */
	char ns[METER_NS_LEN];
	char directory[METER_DIRECTORY_LEN]; /* where that name is: the file system and inode of the netns directory */
};
#define METER_HAS_UNATTRIBUTED (1U << 31)
#define METER_OUT_SENT (1U << 30) /* `out` counts where it is sent: bpf/sent.bpf.c */
#define METER_TABLE (METER_OUT_SENT - 1)

/* classes: the names of the numbers; one that is given stays. */
struct meter_class {
	char name[METER_CLASS_LEN];    /* NUL where there is room; empty: not given yet */
};
#define METER_CLOUD 0

/* addresses: which address is whose. */
enum meter_address_kind { METER_PUBLIC, METER_FIXED };

struct meter_address_key {
	__u32 address;
	__u16 slot, kind;
};

struct meter_address {
	struct meter_address_key of; /* whose it is */
	__u32 owner;                 /* the floating IP */
	__u32 local;                 /* of a fixed address: 1 + the length of the local prefix that it is in; 0: ask the prefixes */
	__u64 mark;                  /* the floating IP is served, the local prefix routed */
};

/* prefixes: longest prefix match; prefixlen counts the 32 bits of the table, too. */
struct meter_prefix_key {
	__u32 prefixlen;
	__u32 table, address;
};

struct meter_prefix {
	__u16 class_id;
	__u16 router; /* slot */
	__u32 local; /* 1 + the length of the local prefix that it is in; 0: it is in none */
	__u64 mark; /* that local prefix is routed */
};

/* counters: kind as enum kind of core/model.h, and METER_LOST: packets that should have counted and had no counter. */
#define METER_LOST 63

struct meter_counter_key {
	__u8 address[4];
	__u16 slot;
	__u16 class_id : 10, kind : 6;
};

struct meter_counts {
	__u64 in_bytes, in_packets, out_bytes, out_packets;
};

/* ---- bpf/sent.bpf.c ---- */

#define METER_SENT_DEVICES (1 << 16)

/* sent_seen: how many packets an external device has sent under the eyes of the program.  sent_told: how many more it had
 * sent by its own statistics when that was last settled; user space writes it. */
struct meter_device_key {
	__u64 cookie;
	__u32 index; /* of the device */
	__u32 zero;
};

/* sent_waits: cookie -> until then (boot clock, ns) `out` counts nowhere: what waits in a queue was counted already. */

#endif

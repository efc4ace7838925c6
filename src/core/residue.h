/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The continuous audit: what the counters have counted, held against what the router's own devices and the kernel's IP
 * statistics say went through.  Those know nothing of our rules, sets and programs, so a rule that went, a set that was
 * emptied, or an address that nobody told us of shows as bytes that came and went and that no counter has: the residue.
 *
 * No statistic of the kernel says how much of it was to be counted: a device counts ARP, IPv6, frames for others and what a
 * policer then drops, and with or without Ethernet headers; the IP statistics tell no device.  So the residue is what is
 * left when all is taken off that may have been something else.  It may be too low, never too high:
 *
 *   in   the smaller of   IPv4 received in the namespace - broadcasts - IPv4 received by other than external devices - in
 *                and      received by external devices - Ethernet headers - IPv6 - in
 *        less PADDING_MAX a packet of in (what short frames are filled up with counts as received)
 *   out  the smaller of   sent by external devices - Ethernet headers - IPv6 - out - in of the gateway address (echoed)
 *                and      received by internal devices - Ethernet headers - IPv6 - out
 *
 * What is left is certain to have passed uncounted, save where the router itself was the sender.  That it is a fault is a
 * guess: docs/residue.md says what else it may be, and how large it has to be for that guess.
 */
#ifndef FIPMETER_CORE_RESIDUE_H
#define FIPMETER_CORE_RESIDUE_H

#include "core/ledger.h"

#define RESIDUE_MIN (1 << 20) /* bytes: less of it is never called a fault, ... */
#define RESIDUE_SHARE 16      /* ... nor less than this part of what went that way */
#define RESIDUE_MOST ((uint64_t)1 << 56) /* bytes: as much is said of more, which is no measurement */
#define BOUND_SLACK ((uint64_t)8 << 20)  /* bytes: fragments that waited for the rest of their packets (net.ipv4.ipfrag_high_thresh), twice */
#define WINDOW_MIN_US 1000000 /* counters and devices are read a moment one after the other: a longer window hides that */

enum side { SIDE_OUTSIDE, SIDE_INSIDE, SIDE_LOOPBACK };

/* A device's own statistics since it was made; bytes as its driver counts them, with or without Ethernet headers. */
struct device_traffic {
	int index;
	bool prompt; /* a device of software: it counts a packet before, or as soon as, anybody sees it, and in 64 bits */
	enum side side;
	uint64_t received, received6, sent, sent6; /* bytes; ...6: of IPv6, from the IP header on */
	uint64_t received_packets, sent_packets;
};

/* What a namespace says of itself at one moment. */
struct traffic {
	struct instant at;
	GArray *devices;          /* of struct device_traffic, in the order of the kernel */
	uint64_t ip, ip_to_many;  /* bytes of IPv4 received, for this host or by it forwarded; of those, to many */
};

struct traffic *traffic_new(void);
void traffic_free(struct traffic *traffic); /* takes NULL */

/* Since a sample: what the ledger has booked of a router, to be held against the same time of its devices. */
struct window {
	struct traffic *from; /* NULL: nothing is known of its begin */
	struct traffic *earlier; /* where the window before it began; NULL: not known */
	uint64_t in_bytes, in_packets, in_gateway_bytes, out_bytes;
	bool unfit;           /* some of it is known not to have been counted, or is of another time */
	bool proven;          /* the last that had traffic showed that the devices count all that ours do */
};

/* The next one begins: from (or NULL) is taken. */
void window_begin(struct window *window, struct traffic *from);
void window_clear(struct window *window); /* forgets all */

/* What of a batch is one router's: call ledger_settle() between mark and add. */
struct batch_mark { unsigned usage, meters, coverage; };
struct batch_mark batch_mark(const struct batch *batch);

/* Adds the usage that has come into the batch since the mark.  Usage of which not all was counted, or that is not of this
 * time alone, and a gap, make the window unfit. */
void window_add(struct window *window, const struct batch *batch, const struct batch_mark *mark);

struct residue { /* of one router in one window; bytes */
	char *node, *router;
	int64_t start_us, end_us;       /* UTC labels of the two readings */
	uint64_t received, sent;        /* by the external devices */
	uint64_t in, out;               /* counted */
	uint64_t residue_in, residue_out;
	uint64_t excess;                /* counted beyond what all devices together received */
	bool flagged;
};

void residue_free(struct residue *residue); /* takes NULL */

/* True if the window can be judged: it is fit, and the devices are the same at both ends and went on counting.  basis: of
 * the counters.  *residue has no names yet. */
bool window_judge(const struct window *window, const struct traffic *to, enum basis basis, struct residue *residue);

/* What the judged window says of the devices. */
void window_learn(struct window *window, const struct residue *residue);

/*
 * What no counter can have counted more than, until the reading to: all that the devices received since the begin of the
 * window before this one, and BOUND_SLACK.  Whole windows lie between a packet that was on its way when a device was read
 * and the counter's next baseline.  Unknown (since_us 0) unless the devices are proven, are the same all the time, and are
 * all prompt.
 */
struct bound window_bound(const struct window *window, const struct traffic *to, enum basis basis);

/* What is wrong, in one line for people; NULL if it is not flagged.  The caller frees. */
char *residue_describe(const struct residue *residue);

#endif

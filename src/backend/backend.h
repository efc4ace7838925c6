/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A back end makes the kernel count by a plan, and reads the counters.  This is the one interface; the contract test
 * (tests/contract) holds every back end, and a fake in memory, to the same rows for the same packets:
 *
 * Where a packet enters the router, before DNAT (netfilter prerouting, priority -150), for source s, destination d,
 * the floating IPs P, the gateway address G, and the local prefixes L; "served": d is local in the namespace at this
 * moment; devices lo and ha-* count nothing, qg-* and rfp-* are external, all others internal:
 *
 *  row came in by when                                                   counts as                       class by
 *   1  any        d in P, served                                         in of floating IP d             s
 *   2  any        d in G, served, and not (internal, s in L, s no fixed  in of gateway address d         s
 *                 address of P)
 *   3  internal   s in L and a fixed address of P, d not in L            out of that floating IP         d
 *   4  internal   s in L, not row 3's source, d not in L, d not in G     out of the gateway address, or  d
 *                                                                        unattributed; nothing in DVR
 *   5  external   the router has no SNAT rule, d in L                    in of unattributed              s
 *
 * For packets from internal devices a source in L is of class `cloud`, whatever its prefix: a tenant chooses his
 * subnets, he must not choose his price.  Rows 3 to 5 also ask that the namespace can route s at this moment: on an
 * HA standby, whose addresses and routes are gone, nothing counts without any reaction of ours.
 *
 * By a plan that says out_sent rows 3 and 4 count where an external device is given the packet to send, for its source and
 * destination there, if it came in by another device; packets that are `in` of an address of the same router, too, count as
 * ever: they never get there.
 *
 * Counting is lossless across every change: counters are created exclusively and at 0, never zeroed, and removed only
 * after they have stopped matching and were read (core/ledger.h says in which order the caller acts).
 */
#ifndef FIPMETER_BACKEND_BACKEND_H
#define FIPMETER_BACKEND_BACKEND_H

#include "core/model.h"

struct netlink;
struct traffic;

#define BACKEND_ERROR (g_quark_from_static_string("fipmeter-backend"))
enum backend_error {
	BACKEND_ERROR_FAILED,
	BACKEND_ERROR_STRANGE, /* what stands there is not as we make it; remove() it and begin anew */
	BACKEND_ERROR_EXISTS,  /* a counter that was to be created at 0 is there already: read again */
	BACKEND_ERROR_AGAIN,   /* changed under our hands: read again */
};

/* A namespace to work in. */
struct place {
	int ns_fd;                 /* open as long as the call lasts */
	struct netlink *netfilter; /* NETLINK_NETFILTER, opened in it (kernel/netlink.h) */
	const char *ns;            /* its name, for messages and for what the back end remembers of it */
	bool alone;                /* nobody else can write there: no lock is needed */
	uint64_t cookie;           /* of a namespace that is gone, of which there are remains: then ns_fd and netfilter are none */
};

/* Opens the namespace of that name under netns_dir, and a socket in it.  ns must outlive the place.  On failure there is
 * nothing to close. */
bool place_open(struct place *place, const char *netns_dir, const char *ns, GError **error);
void place_close(struct place *place);

/* What is left of a namespace, or stands there. */
struct remains {
	uint64_t cookie; /* netlink_ns_cookie() */
	char ns[64];
};

/* What it takes to make what stands equal to a plan. */
enum change {
	CHANGE_NONE,
	CHANGE_INSIDE, /* the counters that stand and are still wanted go on */
	CHANGE_ANEW,   /* a new generation is made beside the old one, and takes over from it in one step */
};

struct backend {
	const char *name;
	enum basis basis;
	int priority;     /* of its hook at prerouting (linux/netfilter_ipv4.h) */
	const char *list; /* the system's own command that lists the counters, inside the namespace ... */
	bool list_outside; /* ... or outside, of all namespaces */
	bool sends;       /* it can count `out` where it is sent (struct plan: out_sent) */
	const char *stands; /* in words, by what it is called, as long as that is something; NULL: there is but one way */
	const char *show; /* the same of some counters alone: how their names begin follows; NULL: only list does */
	char *warning;    /* set by a call that is done and has something to tell all the same; the caller frees it */

	/* What of ours is in the namespace, with the counters' values.  NULL on failure.  The caller frees.
	 * Its member former: a second generation that has stopped matching, or never began to, and waits for bury(). */
	struct snapshot *(*read)(struct backend *backend, const struct place *place, GError **error);

	/* Where `out` counts where it is sent: holds what was seen of that against what the devices say (traffic: read after
	 * snapshot and after the last call), and tells in snapshot->unseen if something was missed.  again: read once more, it
	 * is known more exactly.  NULL: there is no such thing. */
	bool (*check)(struct backend *backend, const struct place *place, const struct traffic *traffic,
	              struct snapshot *snapshot, bool *again, GError **error);

	/* What would a sync() have to do?  found is what read() told last. */
	bool (*compare)(struct backend *backend, const struct place *place, const struct plan *plan,
	                const struct snapshot *found, enum change *change, GError **error);

	/* Makes what matches equal to the plan.  Counters that the plan wants and found lacks are created exclusively, at 0;
	 * those that it does not want stop matching and stay.  tag is found->generation, or a new one where found has
	 * none or compare() said CHANGE_ANEW (then found has no former): everything is created, under tag.  At every
	 * moment in between each packet counts once, for whom it counted before or for whom it counts by the plan. */
	bool (*sync)(struct backend *backend, const struct place *place, const struct plan *plan, const char *tag,
	             const struct snapshot *found, GError **error);

	/* Does what matches now leave out addresses that the plan calls local?  Then what they sent was not counted. */
	bool (*lacks)(struct backend *backend, const struct place *place, const struct plan *plan, bool *lacks,
	              GError **error);

	/* Removes the counters that the plan does not want, and found->former whole.  They have stopped matching and
	 * their last values are in the books.  found may have lost the readings of all others (plan_keep_strangers()). */
	bool (*bury)(struct backend *backend, const struct place *place, const struct plan *plan,
	             const struct snapshot *found, GError **error);

	/* Nothing matches any more; all counters stay to be read. */
	bool (*stop)(struct backend *backend, const struct place *place, GError **error);

	/* Takes away everything of ours.  Done if there is nothing. */
	bool (*remove)(struct backend *backend, const struct place *place, GError **error);

	/* The namespace is metered no more: what is remembered of it goes.  NULL: nothing ever is. */
	void (*forget)(struct backend *backend, const struct place *place);

	/* The next two are NULL where the counters are in the namespace, and go with it.
	 *
	 * leave: the namespace is gone and was read a last time; nothing of ours keeps it alive any longer.
	 * remains: all namespaces of which there is something (struct remains; NULL on failure).  read() and remove() take
	 * one that is gone by its cookie. */
	bool (*leave)(struct backend *backend, const struct place *place, GError **error);
	GArray *(*remains)(struct backend *backend, GError **error);

	void (*free)(struct backend *backend);
};

/* All of this build, in the order in which one is tried, NULL behind the last. */
enum { BACKEND_NFT, BACKEND_IPTABLES, BACKEND_EBPF, BACKENDS };
struct backend **backends_new(const char *xtables_lock, const char *netns_dir, const char *ebpf_place);
void backends_free(struct backend **backends); /* takes NULL */

struct backend *backend_nft_new(void);
struct backend *backend_iptables_new(const char *xtables_lock); /* as xtlock_take() has it; may be NULL */
struct backend *backend_ebpf_new(const char *netns_dir, const char *place); /* as in core/config.h; NULL: not in this build */

/* read(), again where somebody changed something meanwhile; but not for ever. */
struct snapshot *backend_read_settled(struct backend *backend, const struct place *place, GError **error);

/* Can this kernel do it (out_sent: and count `out` where it is sent)?  Tried for real in a namespace that is thrown away. */
bool backend_probe(struct backend *backend, bool out_sent, GError **error);

/* For back ends: puts what netlink said into the words of this interface.  Returns false. */
bool backend_refuse(GError **error);

/* A new tag: GENERATION_LEN random hexadecimal digits.  The caller frees. */
char *backend_new_tag(void);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For backend/ebpf.c: the programs of bpf/sent.bpf.c, which count `out` where it is sent.  One pair for the node, pinned in
 * EBPF_PINS beside the routers' links as long as any router asks for it.
 *
 * A kernel may leave out a trace point now and then, so what the programs have seen of an external device is held against
 * what that says it has sent.  What it has sent more is remembered in the kernel when it is in the books (ebpf_sent_settle()),
 * so that it is told once, and by the next agent if this one is killed.
 *
 * All functions fail with BACKEND_ERROR.
 */
#ifndef FIPMETER_BACKEND_EBPF_SENT_H
#define FIPMETER_BACKEND_EBPF_SENT_H

#include "backend/ebpf_standing.h"
#include "core/residue.h"

/* For so long `out` of a router counts nowhere that has counted it where it came in: what waits in its queue was counted. */
#define EBPF_SENT_WAIT_US 2000000

/* Has this version's programs run, and makes what is missing. */
bool ebpf_sent_make(struct ebpf_maps *maps, GError **error);

/* Do programs run? */
bool ebpf_sent_stands(struct ebpf_maps *maps);

/* No router asks for it any more. */
void ebpf_sent_drop(struct ebpf_maps *maps);

/* From now on the router waits. */
bool ebpf_sent_wait(struct ebpf_maps *maps, uint64_t cookie, GError **error);

/* Has it waited since it was last settled? */
bool ebpf_sent_has_waited(struct ebpf_maps *maps, uint64_t cookie);

/* What external devices of a router have sent by their own statistics, and no program has seen. */
struct ebpf_unseen {
	uint64_t packets; /* since that was last settled */
	bool exact;       /* nothing was sent while it was found out; else there may be some more, which the next time finds */
	bool unknown;     /* a device is not of a kind whose statistics are to be held against it */
	bool gone;        /* a device has sent since the last comparison, and is no more */
};

/* traffic: read since the last call for this router. */
bool ebpf_sent_compare(struct ebpf_maps *maps, uint64_t cookie, const struct traffic *traffic, struct ebpf_unseen *unseen,
                       GError **error);

/* What was found last is in the books, by a reading at that time of the boot clock. */
bool ebpf_sent_settle(struct ebpf_maps *maps, uint64_t cookie, int64_t read_us, GError **error);

/* Nothing of the router is left there. */
bool ebpf_sent_forget(struct ebpf_maps *maps, uint64_t cookie, GError **error);

void ebpf_sent_close(struct ebpf_sent *sent); /* takes NULL */

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The plan: what is to be counted in one router namespace, from what is there.  Pure.  How the counters are made is
 * the back ends' affair; what every packet counts as is the truth table of backend/backend.h.
 */
#ifndef FIPMETER_CORE_PLAN_H
#define FIPMETER_CORE_PLAN_H

#include "core/classes.h"
#include "core/model.h"

/* Nothing of a router is served here although it has public addresses: the other node of an HA router has them. */
bool plan_is_standby(const struct router *router);

/* The plan for router, owned by the caller.  A router without an external device gets a plan without meters. */
struct plan *plan_make(const struct router *router, const struct classes *classes);

/* True if two plans of a router make the kernel count alike. */
bool plan_is_same(const struct plan *a, const struct plan *b);

/* The plan's meter of that key, or NULL. */
const struct planned_meter *plan_find_meter(const struct plan *plan, const struct meter_key *key);

/* The same for one key after the other: quick where they ascend.  *at: where to look first; 0 to begin with. */
const struct planned_meter *plan_find_next(const struct plan *plan, const struct meter_key *key, unsigned *at);

/* Marks those planned meters whose address was not there when the plan was made, and is in router, seen later.  Not those
 * that were counted before already (found: what stood there). */
void plan_mark_arrivals(struct plan *plan, const struct router *router, const struct snapshot *found);

/* When the address of such a meter was not there yet, as was last known. */
const struct instant *plan_came_after(const struct plan *plan, const struct planned_meter *meter);

/* Takes over from an older plan what was marked there: no reading may have come into the books since. */
void plan_keep_arrivals(struct plan *plan, const struct plan *older);

/* Marks those planned meters that count for another fixed address by an older plan, which was in force meanwhile, or were
 * marked in it: no reading may have come into the books since. */
void plan_keep_lent(struct plan *plan, const struct plan *older);

/* A reading is in the books. */
void plan_forget_lent(struct plan *plan);

/* True if the plan has an address that was not there. */
bool plan_awaits_address(const struct plan *plan);

/* True if the router has no SNAT rule: what is no floating IP's is counted, but nobody's. */
bool plan_has_unattributed(const struct plan *plan);

/* The first octets (uint32_t, ascending, as addresses N.0.0.0) under which there is anything but class internet: another
 * class, a local prefix, a public address of the router.  All that begins otherwise is simply far away, which a back end
 * can ask with one look-up in place of several.  The caller owns the array. */
GArray *plan_near(const struct plan *plan);

/* The basis of what is counted by it, in a back end whose usual one that is. */
enum basis plan_basis(const struct plan *plan, enum basis usual);

/* Lets go of the readings of meters that the plan has: what stays is for bury() of the back end (backend/backend.h). */
void plan_keep_strangers(const struct plan *plan, struct snapshot *found);

/* A digest of all that a back end makes of a plan.  The caller frees. */
char *plan_digest(const struct plan *plan);

/* The name of a counter, for people and for the system's own tools: traffic_198.51.100.7_vm_in_internet,
 * traffic_snat_198.51.100.1_out_cloud, traffic_unattributed_in_free.  The caller frees. */
char *plan_counter_name(const struct meter_key *key, bool out);

/* The reverse; false if it is no counter of ours. */
bool plan_counter_parse(const char *name, struct meter_key *key, bool *out);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What stands in the maps, router by router: read out of them once, and kept true by whoever changes them, which is one
 * process at a time.
 */
#ifndef FIPMETER_BACKEND_EBPF_STANDING_H
#define FIPMETER_BACKEND_EBPF_STANDING_H

#include "backend/ebpf_layout.h"
#include "backend/ebpf_maps.h"

/* The names of the classes by their numbers (interned), as all routers share them. */
struct class_names {
	GPtrArray *names;
};

struct standing {
	uint64_t cookie;
	struct meter_router router;
	GArray *addresses;    /* of struct ebpf_address, ascending */
	GArray *prefixes;     /* of struct ebpf_prefix of the table that state names, ascending */
	GArray *old;          /* of struct meter_prefix_key: entries of other tables */
	const struct class_names *classes;
	GHashTable *counters; /* set of struct meter_counter_key, each in place of a pointer (standing_word()) */
	char *plan;           /* digest of the plan that all this was made by; NULL: not known */
};

struct standings {
	GHashTable *routers;  /* cookie (int64_t *) -> struct standing */
	GHashTable *slots;    /* set of those that are taken */
	uint32_t last_table, last_version;
	struct class_names classes;
};

struct standings *standings_read(const struct ebpf_maps *maps, GError **error);
void standings_free(struct standings *standings); /* takes NULL */

struct standing *standings_find(const struct standings *standings, uint64_t cookie); /* or NULL */

/* A new one, with nothing in it, and a slot of its own; NULL if there is none left. */
struct standing *standings_add(struct standings *standings, uint64_t cookie, const char *ns, const char *directory,
                               const char *tag);

/* Gives numbers to those that have none. */
bool standings_name_class(const struct ebpf_maps *maps, struct standings *standings, const char *class_name, GError **error);

/* The number of a class; METER_CLASSES: it has none. */
uint32_t standing_class(const struct standing *standing, const char *class_name);

/* Writes what there is to say of the router, which is in force then. */
bool standings_put(const struct ebpf_maps *maps, struct standings *standings, struct standing *standing, enum ebpf_put how,
                   GError **error);

/* It has nothing in the maps any more. */
void standings_forget(struct standings *standings, struct standing *standing);

/* Between the words of the plan and those of the maps. */
struct meter_counter_key standing_counter(const struct standing *standing, const struct meter_key *key);
/* false: none of ours */
bool standing_meter(const struct standing *standing, const struct meter_counter_key *counter, struct meter_key *key);
uint32_t standing_table(const struct standing *standing); /* 0: nothing counts */
bool standing_is_sent(const struct standing *standing); /* it counts `out` where it is sent */
struct meter_counter_key standing_lost(const struct standing *standing);

/* A counter as a member of standing->counters, and back. */
void *standing_word(const struct meter_counter_key *counter);
struct meter_counter_key standing_key(const void *word);
struct meter_address_key standing_address(const struct standing *standing, const struct ebpf_address *address);
struct meter_prefix_key standing_prefix(uint32_t table, const struct prefix *prefix);

#endif

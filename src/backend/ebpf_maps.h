/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The maps of bpf/meter.bpf.c and bpf/rule.bpf.c, and the pins: EBPF_PINS/MAP, the programs (ebpf_programs.h), and a link
 * EBPF_PINS/link-COOKIE for each router that counts.  The pins are what lives while no agent runs.
 *
 * All functions fail with BACKEND_ERROR.
 */
#ifndef FIPMETER_BACKEND_EBPF_MAPS_H
#define FIPMETER_BACKEND_EBPF_MAPS_H

#include "backend/backend.h"
#include "bpf/meter.h"

#define EBPF_FS "/sys/fs/bpf"
#define EBPF_TOP EBPF_FS "/fipmeter"
#define EBPF_PINS EBPF_TOP "/2" /* METER_LAYOUT */
#define EBPF_PRIORITY (-450) /* NF_IP_PRI_RAW_BEFORE_DEFRAG: fragments as they are (linux/netfilter_ipv4.h) */

enum ebpf_map { EBPF_PROGRAMS, EBPF_ROUTERS, EBPF_CLASSES, EBPF_ADDRESSES, EBPF_PREFIXES, EBPF_COUNTERS, EBPF_MAPS };

/* By what the programs are called, for each packet of a namespace at netfilter's prerouting hook. */
enum ebpf_place {
	EBPF_PLACE_AUTO, /* the first that this kernel has */
	EBPF_PLACE_LINK, /* a link of netfilter: kernel 6.4 */
	EBPF_PLACE_RULE, /* a rule of nf_tables (ebpf_rule.h) */
};

extern const char *const ebpf_map_names[EBPF_MAPS];

struct ebpf_maps {
	int fds[EBPF_MAPS];
	enum ebpf_place place;       /* never auto, but before anything is open */
	int count;                   /* this build's program that counts; -1: only the maps are open */
	int hook;                    /* what is called for each packet, and calls the one that counts by the map `programs` */
	int cpus;                    /* that there may be */
	struct meter_counts *values; /* room for a counter of each of them */
	int lock;                    /* with our programs: held as long as they are */
	struct ebpf_sent *sent;      /* see ebpf_sent.h; NULL: not open */
};

struct ebpf_form { /* of a map, as bpf/maps.h and bpf/sent.bpf.c have it */
	unsigned type, key_size, value_size, entries;
};

/* Opens what is pinned there; *fd is -1 where nothing is.  Fails if it is no map of that form.  form NULL: of one that only
 * programs look into. */
bool ebpf_open_map(const char *pin, const struct ebpf_form *form, int *fd, GError **error);

/* Opens what is pinned; *maps is NULL where nothing is. */
bool ebpf_maps_open(struct ebpf_maps **maps, GError **error);

/* Makes what is not there, and has all routers run this version's program.  *maps may be open already.  Fails while another
 * process has them: what it knows of them must stay true.  What calls programs from another place counts nothing any more. */
bool ebpf_maps_load(struct ebpf_maps **maps, enum ebpf_place wanted, GError **error);

bool ebpf_maps_are_loaded(const struct ebpf_maps *maps);

/* What the map is called in which the program is that counts, so that nothing else is taken for ours: the kernel gives no two
 * maps the same number at a time.  0: it cannot be told. */
uint32_t ebpf_maps_programs(const struct ebpf_maps *maps);

/* Sets an error: what was to be done, and why it could not be, by errno.  Returns false. */
G_GNUC_PRINTF(2, 3)
bool ebpf_refuse(GError **error, const char *format, ...);

void ebpf_maps_close(struct ebpf_maps *maps); /* takes NULL */

/* The pin of a map, as programs of that place know it.  The caller frees it. */
char *ebpf_pin_of(enum ebpf_place place, const char *map);

/* Removes the pins whose names begin so. */
void ebpf_remove_pins(const char *prefix);

/* Removes all pins, links included: what nobody has open is gone. */
void ebpf_maps_unpin(void);

/* Does the program of the routers count?  Ours is put there anew if somebody has taken it away, and false returned. */
bool ebpf_maps_count(const struct ebpf_maps *maps);

/* Pins again what somebody has unpinned, after mounting what he has unmounted.  False if that cannot be. */
bool ebpf_maps_keep(struct ebpf_maps *maps);

/* ---- entries ---- */

enum ebpf_put { EBPF_ANY, EBPF_NEW }; /* EBPF_NEW fails with BACKEND_ERROR_EXISTS */

/* A full map is told with its name and size. */
bool ebpf_put(const struct ebpf_maps *maps, enum ebpf_map map, const void *key, const void *value, enum ebpf_put how,
              GError **error);

/* False, without an error, if there is no such entry. */
bool ebpf_get(const struct ebpf_maps *maps, enum ebpf_map map, const void *key, void *value);

/* Done if there is none. */
bool ebpf_drop(const struct ebpf_maps *maps, enum ebpf_map map, const void *key, GError **error);

/* Calls take for every key. */
bool ebpf_each(const struct ebpf_maps *maps, enum ebpf_map map, size_t key_size, void (*take)(const void *key, void *data),
               void *data, GError **error);

/* A counter at 0, or the sum over all processors. */
bool ebpf_put_counter(const struct ebpf_maps *maps, const struct meter_counter_key *key, GError **error);
bool ebpf_get_counter(const struct ebpf_maps *maps, const struct meter_counter_key *key, struct meter_counts *sum);

/* ---- links ---- */

bool ebpf_link_stands(uint64_t cookie);
bool ebpf_link_make(const struct ebpf_maps *maps, int ns_fd, uint64_t cookie, GError **error);
bool ebpf_link_drop(uint64_t cookie, GError **error); /* done if there is none */

#endif

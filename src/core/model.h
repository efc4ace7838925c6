/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * All that flows between the rooms of the house, as plain structs.  Read this first: inventory/ fills a
 * struct router, core/plan turns it into a struct plan, backend/ makes the kernel count by it and hands back
 * a struct snapshot, core/ledger turns two of those into struct usage rows, store/ keeps them.
 *
 * Conventions: IPv4 addresses and prefixes are in host byte order, 0 means "none".  Bytes are layer-3 bytes.
 * Times are microseconds.  `in` and `out` are always seen from the public address.  Every struct owns what its
 * pointers lead to, unless the member says "interned".
 */
#ifndef FIPMETER_CORE_MODEL_H
#define FIPMETER_CORE_MODEL_H

#include "core/scoped.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define CLASS_NAME_MAX 15  /* a class name is [a-z][a-z0-9_]*, so that it can stand in the name of a counter */
#define GENERATION_LEN 32  /* hexadecimal digits */
#define PROMPT_US 100000   /* a change that is followed in this time needs no flag in a row */
#define BOOT_ID_LEN 36     /* /proc/sys/kernel/random/boot_id */

struct prefix {
	uint32_t address; /* no bits set beyond length */
	uint8_t length;   /* 0 to 32 */
};

struct counts { /* of one counter pair, or the difference of two such values */
	uint64_t in_bytes, in_packets, out_bytes, out_packets;
};

struct instant { /* one moment on two clocks */
	int64_t utc_us;  /* labels rows; can be set back */
	int64_t boot_us; /* CLOCK_BOOTTIME: never steps; what a window's length comes from */
};

/* ---- what is there: filled by inventory/ ---- */

enum flavour { FLAVOUR_NONE, FLAVOUR_NFT, FLAVOUR_LEGACY, FLAVOUR_BOTH }; /* whose nat rules Neutron wrote there */

struct floating {
	uint32_t address; /* the floating IP */
	uint32_t fixed;   /* the address it is translated to */
	bool served;      /* the address is configured on a device of the namespace */
};

/* A router namespace as it was at one moment: built, used and dropped whole. */
struct router {
	char *name;         /* the router's uuid */
	char *ns;           /* the namespace: a file name below the netns directory */
	enum flavour flavour;
	bool external;      /* has an external device (qg- or rfp-); without one it counts nothing */
	bool dvr;           /* a DVR qrouter- namespace: its snat- counts what leaves by the gateway address */
	bool ha;            /* has a ha- device */
	uint32_t gateway;   /* the source-NAT address; 0: the router has no SNAT rule */
	bool gateway_served;
	GArray *floating;   /* of struct floating, ascending by address, one each */
	GArray *local;      /* of struct prefix: what internal devices are routed to, ascending, never /0 */
	GArray *onlink;     /* of struct prefix: what external devices have on-link, ascending */
};

/* ---- what to count: made by core/plan ---- */

enum kind { KIND_FLOATING, KIND_GATEWAY, KIND_UNATTRIBUTED };

/* What one pair of counters counts for, inside one router. */
struct meter_key {
	enum kind kind;
	uint32_t address;       /* 0 for KIND_UNATTRIBUTED */
	const char *class_name; /* interned: compare by pointer */
};

struct planned_meter {
	struct meter_key key;
	uint32_t fixed; /* the floating IP's fixed address; 0 for the other kinds */
	bool served;    /* the address was there already at the look, so it may have had traffic */
	bool came;      /* it was not, but it was before the counter's first reading */
	bool lent;      /* counted for another fixed address since the last reading that is in the books */
};

struct class_range {
	uint32_t first, last;   /* both included */
	const char *class_name; /* interned */
};

struct plan {
	char *router, *ns;
	bool dvr;
	bool standby;        /* rules but none of their addresses: the other node of an HA router has them */
	bool out_sent;       /* `out` counts where it is sent, behind the queue of the external device */
	bool queued;         /* what waits in that queue was counted where it came in */
	uint32_t gateway;
	struct instant known_at; /* then the router was known to be so; 0: not said */
	uint64_t look;       /* number of the look that it is of: no other one in this process has it; 0: not said */
	GArray *meters;      /* of struct planned_meter, ascending by key */
	GHashTable *awaited; /* of meters -> struct instant *, for plan_came_after(); NULL: none */
	GArray *local;       /* of struct prefix, disjoint, ascending */
	GArray *ranges;      /* of struct class_range, disjoint, ascending, covering all of IPv4 */
	GPtrArray *classes;  /* of const char *, interned, ascending: every class that has meters here */
};

/* ---- what was counted: handed back by backend/ ---- */

struct reading {
	struct meter_key key;
	struct counts counts;
};

struct bound { /* what no counter of a router can have counted more than */
	int64_t since_us;      /* boot clock: in the time from then on; 0: it is not known */
	uint64_t in_bytes, out_bytes;
};

struct snapshot { /* all counters of ours in one namespace at one moment */
	char *generation;    /* tag that lives and dies with the counters; NULL: nothing of ours is there */
	bool intact;         /* rules and tables stand as we made them */
	bool out_sent;       /* as in struct plan, of what stands there */
	const char *missed;  /* constant: why it did not count all since the last reading; NULL: it did */
	char *unseen;        /* the same, as the back end found out itself */
	struct instant missed_since; /* if missed: since then, where that is before the last reading; 0: since that */
	bool prompt;         /* what changed since the last reading was heard of and done at once (PROMPT_US) */
	struct instant at;
	struct bound most;   /* until then */
	GArray *readings;    /* of struct reading, ascending by key, one each */
	struct snapshot *former; /* a second generation there, which does not count (any more); usually NULL */
};

/* ---- what is kept: made by core/ledger, written by store/ ---- */

enum basis { BASIS_SKB, BASIS_WIRE, BASIS_WIRE_SENT }; /* sent: of `out`, what the external device was given to send */

enum flag { /* a row without flags is complete */
	FLAG_CATCHUP = 1 << 0,       /* covers a time in which the agent was away */
	FLAG_UNKNOWN_START = 1 << 1, /* the counter was found, not made: what it had counted before is not in the bill */
	FLAG_RESET = 1 << 2,         /* somebody zeroed or restored the counter before this row */
	FLAG_GAP = 1 << 3,           /* coverage has a gap inside or right before this row */
	FLAG_LATE = 1 << 4,          /* one or more samples before this one were missed */
	FLAG_MOVED = 1 << 5,         /* the address changed its owner, or went, inside this row, moment unknown */
	FLAG_ALL = (1 << 6) - 1,
};

/* Beside those, of a meter alone: its counter was about to stop matching.  No row has it. */
#define METER_LEAVES (1 << 6)

/* One life of our counters in one namespace: from their creation to their end, whoever ends them.  Shared by its
 * meters (generation_ref); its counters are read all together. */
struct generation {
	char *tag;      /* as in struct snapshot */
	char *boot;     /* boot id of the kernel that holds it */
	char *node, *ns, *router;
	enum basis basis;
	struct instant made_at; /* created, or found where we do not know it */
	struct instant read_at; /* the last reading that is in the books; made_at before the first */
	bool catchup;           /* it was last read by an earlier agent; not stored */
};

/* One counter pair, what it counts for, and what is already in the books.  A new one begins when either changes. */
struct meter {
	int64_t id;            /* unique in a store file, from 1 */
	struct generation *of; /* where it is */
	struct meter_key key;
	uint32_t fixed;
	unsigned flags;        /* enum flag: for the next row of it */
	struct instant first_at, last_at; /* last_at: of its last change; read without change up to of->read_at */
	struct counts first, last;        /* usage rows of it sum to last - first, always */
	int64_t closed_us;     /* UTC; 0: open */
};

struct usage {
	int64_t meter;
	int64_t start_us, end_us; /* UTC labels of the two readings */
	struct counts counts;
	struct counts reading;    /* of the counters, at the end */
	unsigned flags;
};

enum state { STATE_METERED, STATE_STANDBY, STATE_GAP, STATE_UNKNOWN };

struct coverage { /* was it measured?  An unbroken state is one row whose end moves */
	int64_t seq;      /* unique in a store, from 1 */
	char *node, *router;
	uint32_t address; /* 0: the whole router */
	int64_t start_us, end_us;
	enum state state;
	char *reason;     /* for people; "" where the state says all */
};

/* ---- core/model.c.  _free takes NULL; what _copy and _new return the caller frees. ---- */

struct router *router_new(const char *ns, const char *name);

/* What a router is called by its namespace's name: what follows qrouter- or snat-.  Points into ns. */
const char *router_name_of(const char *ns);
void router_free(struct router *router);
void plan_free(struct plan *plan);
struct snapshot *snapshot_new(void);
void snapshot_free(struct snapshot *snapshot);
int snapshot_compare(const void *a, const void *b); /* of two struct reading, by key */
const struct counts *snapshot_find(const struct snapshot *snapshot, const struct meter_key *key); /* or NULL */
struct generation *generation_new(const char *tag, const char *boot, const char *node, const char *ns,
                                  const char *router, enum basis basis);
struct generation *generation_ref(struct generation *generation);
void generation_unref(struct generation *generation); /* takes NULL */
struct meter *meter_copy(const struct meter *meter); /* shares the generation */
void meter_free(struct meter *meter);
struct coverage *coverage_copy(const struct coverage *coverage);
void coverage_free(struct coverage *coverage);

int meter_key_compare(const struct meter_key *a, const struct meter_key *b); /* as strcmp(); for any sort */
guint meter_key_hash(const void *key);                                       /* for GHashTable, with: */
gboolean meter_key_equal(const void *a, const void *b);
bool counts_is_zero(const struct counts *counts);
bool counts_is_below(const struct counts *a, const struct counts *b); /* some count of a is lower than b's */
void counts_add(struct counts *to, const struct counts *more);
struct counts counts_minus(const struct counts *now, const struct counts *before); /* of which no count is higher */

/* The names that records, JSON and tables use.  Never renamed.  The _from functions return false for a stranger. */
const char *kind_name(enum kind kind);
bool kind_from_name(const char *name, enum kind *kind);
const char *basis_name(enum basis basis);
const char *state_name(enum state state);
const char *flavour_name(enum flavour flavour);
const char *flag_name(enum flag flag);   /* of a single flag */
char *address_to_string(uint32_t address); /* "" for 0 */
bool address_from_string(const char *text, uint32_t *address);

SCOPED_DEFINE(router)
SCOPED_DEFINE(plan)
SCOPED_DEFINE(snapshot)

#endif

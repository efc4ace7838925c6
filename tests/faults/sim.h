/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The simulator: the agent as it is (src/cmd, src/core), and around it a made-up clock, kernel, Neutron, neighbours and
 * store.  What is replaced is the edge alone: the functions of src/kernel, src/inventory, src/backend and src/store,
 * and the few calls of libc that src/cmd makes itself.
 *
 * The truth is kept by parcels: each is some packets of one owner at one moment.  A parcel that the made-up kernel
 * counts lies in the life of a counter until a usage row that is committed covers it; so every byte of every row is
 * known by name, and what is billed twice, or not at all, is too.  The ledger's own numbers are never asked.
 *
 *	simulate.c     options, seeds, results            sim_world.c   Neutron: what comes, goes and moves
 *	sim_agent.c    the agent, and how it is killed    sim_kernel.c  clock, namespaces, events
 *	sim_counters.c the two back ends, the neighbours  sim_store.c   the store and the second home
 *	sim_judge.c    the truth
 */
#ifndef FIPMETER_FAULTS_SIM_H
#define FIPMETER_FAULTS_SIM_H

#include "backend/backend.h"
#include "core/ledger.h"

#include <setjmp.h>

#define SECOND INT64_C(1000000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define SIM_NETNS_DIR "/sim/netns"

enum { NFT, IPTABLES, TABLES };

/* A state of a router, from one change by Neutron to the next. */
struct version {
	int64_t since_us;   /* real time */
	const char *router; /* interned */
	bool looked;        /* an agent has seen it, and it is not among sim.untold when that is killed */
};

struct parcel {
	int64_t at_us, utc_us;    /* real time, and what the clock showed */
	struct meter_key key;     /* whose it is, by Neutron's rules at that moment */
	uint32_t fixed;
	const char *router;       /* interned */
	bool out;
	uint64_t bytes, packets;
	const struct version *version, *stay; /* stay: of its address in that router */
	bool legacy;              /* by rules that make no events */
	bool counted;             /* by a counter of ours */
	bool led;                 /* by the rules of ours, to the counter of: */
	struct meter_key led_to;
	bool deaf;                /* the agent could hear nothing then, or was not there */
	unsigned billed;          /* rows that have it: 0 or 1 */
	bool excused;             /* lost in a way that no reader of counters can see */
	bool astray;              /* billed to another, in a row without flags, and not at once after a change */
};

/* One life of one counter: from 0, or from the value that somebody gave it. */
struct life {
	const char *tag;          /* interned */
	struct meter_key key;
	unsigned number;          /* of the lives of that tag and key */
	struct counts counts;
	GPtrArray *parcels;       /* of struct parcel *, the unbilled ones in the order in which they came */
	GArray *ends;             /* of uint64_t: the counter's bytes after each of them, in its direction */
	GArray *marks;            /* of struct counts: what was read of it */
	struct counts booked;     /* up to there it is in the books */
	struct counts *set;       /* to what somebody has set it, which ended this life; NULL: nobody has */
	GArray *saved;            /* of struct counts: what a neighbour has saved of it */
	bool seen_gone;           /* somebody removed it, and the agent has read what was left */
};

struct era { /* from one setting of the clock to the next */
	int64_t since_us, offset_us; /* since: real time */
};

struct bank { /* a generation: counters and the plan by which they count */
	char *tag;                /* NULL: nothing is there */
	struct plan *plan;        /* NULL: never led packets to it */
	GPtrArray *lives;         /* of struct life * */
	GPtrArray *removed;       /* of struct life *: by somebody else */
	unsigned room;            /* counters that it has place for */
};

struct table { /* what one back end has in a namespace */
	struct bank banks[2];
	int live;                 /* the bank that packets are led to; -1: none */
	bool refused;             /* the last try to read it has failed */
	bool broken;              /* somebody changed the rules: nothing matches */
};

struct net { /* a router namespace */
	const char *ns, *router;  /* interned */
	uint64_t inode;
	bool linked;              /* its name leads to it */
	unsigned holds;
	enum flavour flavour;
	bool external, standby;
	uint32_t gateway;
	GArray *floating;         /* of struct floating; served: its address is there when the router is master */
	GArray *local;            /* of struct prefix */
	struct version *version;
	GHashTable *stays;        /* address -> struct version *: since it is there; looked at or not */
	uint64_t changes;         /* of the nat table */
	bool followed;            /* its events are heard */
	struct table tables[TABLES];
};

struct sim {
	uint64_t seed, random[2];
	bool trace, shrill;       /* shrill: no fault any more */
	int64_t days;
	/* ---- the clock ---- */
	int64_t real_us, offset_us, booted_us; /* UTC = real + offset, boot clock = real - booted */
	GArray *eras;                          /* of struct era, the first from the begin on */
	unsigned steps_of_clock, boots;
	char boot[BOOT_ID_LEN + 1];
	/* ---- the kernel ---- */
	GPtrArray *nets;          /* of struct net *: those that are alive */
	GPtrArray *fds;           /* of struct net *: descriptor - FIRST_FD; NULL: closed */
	GHashTable *lives;        /* "tag kind address class" -> GPtrArray of struct life *, the newest last */
	GPtrArray *parcels, *versions;
	GPtrArray *untold;        /* of struct version *: looked at, but no commit since then is about that router */
	uint64_t tags;
	/* ---- what is heard ---- */
	bool watching, events_lost, deaf;
	int64_t poll_us;          /* real time of the poll that will see a change of legacy rules; 0: there is none */
	GPtrArray *events;        /* of struct event * */
	GHashTable *kept;         /* ns -> descriptor: the service manager's */
	bool keeps;               /* there is one */
	/* ---- the agent ---- */
	bool up;
	int kill_in;              /* points until it is killed; 0: it is not */
	bool in_point;
	jmp_buf killed, ended;
	const char *backend;
	int interval_s;
	int64_t start_at_us;      /* real time of its next start, if it is down */
	/* ---- what is to come ---- */
	GArray *arrivals;         /* of struct arrival */
	double fault;             /* how likely a call fails */
	/* ---- figures ---- */
	uint64_t steps, cycles, kills, commits, failures, rows, resets, hidden_bytes, lost_bytes, astray_bytes, unseen_bytes, billed_bytes,
	         true_bytes, changes, injected;
	char *verdict;            /* what was found wrong; NULL: nothing */
	char *undeclared;         /* what is missing, or on another's bill, and the books do not say so; the first */
};

extern struct sim sim;

/* ---- simulate.c ---- */
uint64_t sim_random(uint64_t below);
bool sim_chance(double probability);
void sim_trace(const char *format, ...) G_GNUC_PRINTF(1, 2);
G_NORETURN void sim_fail(const char *format, ...) G_GNUC_PRINTF(1, 2);

/* Not on the bill, or on another's, and the books do not say so. */
void sim_undeclared(const char *format, ...) G_GNUC_PRINTF(1, 2);

/* A moment in which anything may happen: time passes, packets come, the agent may be killed.  what: for the trace. */
void sim_point(const char *what);

/* True if a call is to fail now. */
bool sim_fault(const char *what);

/* ---- sim_world.c ---- */
void world_init(void);
void world_clear(void);
void world_advance(int64_t to_us); /* real time; packets come meanwhile */
void world_change(void);           /* one thing happens */
void world_settle(void);           /* whoever is to come has come */
void world_reboot(void);
int64_t world_next_us(void);       /* real time of the next arrival; INT64_MAX: none is waited for */
struct net *world_net(const char *ns); /* by its name, or NULL */
void world_traffic(void);
void world_looked_at(struct net *net);
void world_told_of(const char *router); /* a commit is about it: what was seen of it outlives the agent */
void world_forget_looks(void);          /* the agent is no more, and what it had seen and not told of with it */
struct router *world_router(const struct net *net);

/* ---- sim_kernel.c ---- */
void kernel_tell(int event, const char *ns); /* enum watch_event */
void kernel_release_all(void);               /* the agent's descriptors */
void kernel_drop(struct net *net);           /* dies if nobody has it any more */
struct net *kernel_net(int fd);
void kernel_clear(void);

/* ---- sim_counters.c ---- */
void counters_receive(struct net *net, struct parcel *parcel, uint32_t address);
void counters_clear(struct net *net);
void counters_owe(const struct net *net); /* the agent lets go of a namespace that dies with that */
void counters_neighbour(struct net *net);
void counters_excuse(struct life *life); /* what somebody has set back, and no reader can know that */
GPtrArray *counters_lives(const char *tag, const struct meter_key *key);

/* ---- sim_store.c ---- */
void disk_init(void);
void disk_clear(void);
void disk_accident(void); /* while nobody has it open */
void disk_back_up(void);

/* ---- sim_judge.c ---- */
void judge_init(void);
void judge_clear(void);
void judge_commit(const struct batch *batch);  /* before the agent knows that it succeeded */
void judge_removed(const struct life *life);   /* by the agent's own hand: all that it has counted is in rows */
void judge_owed(const struct life *life);      /* what the agent has read of it has to come into rows, unless it is killed */
void judge_forgive(void);                      /* it was */
void judge_saved(void);                        /* the second home has all that was committed */
void judge_lost_store(bool goes_on);           /* goes_on: the second home does */
void judge_new_store(const GPtrArray *meters);
void judge_end(void);

/* ---- sim_agent.c ---- */
void agent_start(void);
void agent_sample(void);
void agent_look(void);
bool agent_wants_look(void);
void agent_hear(void);
void agent_poll(void);
void agent_reload(void);
void agent_stop(void);
void agent_detach(void);
void agent_die(void);   /* what a kill leaves behind is cleared away */
int64_t agent_next_sample_us(void); /* real time */

#endif

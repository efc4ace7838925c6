/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What was found on a node, as cmd/checkup gathers it for core/diagnosis.  Plain data: whatever is owned is freed with the
 * facts.  NULL in what is called failure, refusal, trouble or problem means that nothing is wrong.
 */
#ifndef FIPMETER_CORE_FACTS_H
#define FIPMETER_CORE_FACTS_H

#include "core/model.h"

struct backend_facts {
	const char *name, *needs; /* needs: of the kernel, in words */
	bool wanted;              /* by the configuration, for the node or for a router; or it counts somewhere */
	char *refusal;            /* why it does not work here */
};

struct lock_facts { /* as struct xtlock_file has them */
	char *path;
	uint64_t device, inode;
};

enum obstacle_kind {
	OBSTACLE_DROPS,     /* may drop packets before they are counted */
	OBSTACLE_DIVERTS,   /* leads packets past the rules that count */
	OBSTACLE_XDP,       /* a program sees the packets of a device first */
	OBSTACLE_FLOWTABLE, /* connections in it go past prerouting */
	OBSTACLE_IDLE_FLOWTABLE,
	OBSTACLE_HARDWARE,  /* the device may forward by itself */
	OBSTACLE_ZONE, OBSTACLE_NOTRACK,
};

struct obstacle { /* in the way between a packet and its counter */
	enum obstacle_kind kind;
	char *place; /* in words */
	char *show;  /* the command that shows it, to be run in the namespace */
};

struct outside { /* an address on an external device */
	uint32_t address;
	uint8_t length; /* of its prefix */
};

struct stranger { /* a file among the namespaces that is not metered */
	char *ns, *why;
	bool is_router; /* by its name */
};

struct mtu_facts {
	char *device;
	bool external;
	unsigned mtu;
};

struct limit { /* what may drop packets between a device and its wire */
	char *device;
	char *kind;       /* of queueing discipline, as tc(8) names it */
	bool egress;      /* else at ingress */
	bool filters;     /* its filters do it; else it does itself */
	uint64_t dropped; /* packets so far ... */
	bool both;        /* ... at ingress and egress together */
};

struct router_facts {
	char *ns;
	const char *backend;     /* constant; that counts there, or would */
	bool out_sent;           /* `out` counts where it is sent */
	struct router *router;   /* NULL: it could not be looked at */
	char *failure;           /* why not all of it could be looked at */
	bool posted;             /* the agent has said something of it ... */
	char *trouble;           /* ... and that is what is wrong; NULL: nothing */
	bool standby;
	GPtrArray *obstacles;    /* of struct obstacle */
	GPtrArray *limits;       /* of struct limit: of external devices */
	GPtrArray *mtus;         /* of struct mtu_facts */
	GArray *outside;         /* of struct outside */
	GHashTable *forwarded;   /* set of addresses, GUINT_TO_POINTER(), that rules translate by port */
	uint64_t connections, connections_max; /* of conntrack; max 0: not known */
	unsigned gaps;           /* that ended in the last 24 hours */
	int64_t gaps_us;         /* their length in all */
	char *gap_reason;        /* of the last one */
};

enum host_iptables { HOST_NONE, HOST_NFT, HOST_LEGACY, HOST_UNKNOWN }; /* what `iptables` on this host is */

struct facts {
	const char *netns_dir, *state_dir;
	int64_t now_us;
	char *privileges;             /* what is missing to meter ... */
	bool can_look;                /* ... but not to look */
	/* agent */
	bool running, posted;         /* posted: one is, or was, here */
	long pid;
	int64_t sampled_us;
	int interval_s;
	char *agent_failure;          /* why its last sample is not kept */
	bool events;
	GPtrArray *problems;          /* of char *: what it says is wrong beside the routers */
	/* kernel */
	const char *configured;       /* [agent] backend */
	GArray *backends;             /* of struct backend_facts; empty: could not be tried */
	/* legacy tables */
	GArray *locks;                /* of struct lock_facts, the own one first */
	char *lock_failure;
	bool lock_needed;             /* iptables counts somewhere */
	/* tools of the host */
	enum host_iptables iptables;
	bool has_iptables_nft, has_iptables_legacy, has_nft;
	long l3_agent;                /* a process of Neutron's l3-agent that sees the namespaces; 0: there is none */
	/* clock */
	char *clock_failure;
	bool synchronised;
	int64_t clock_error_us;
	/* store */
	char *disk_failure, *store_failure;
	bool has_store;
	uint64_t disk_size, disk_free;          /* bytes; free: for the agent */
	uint64_t database, log, quota;          /* bytes; quota 0: none */
	/* namespaces */
	char *look_failure;           /* the directory could not be read */
	GPtrArray *strangers;         /* of struct stranger */
	GPtrArray *routers;           /* of struct router_facts */
};

struct facts *facts_new(void);
void facts_free(struct facts *facts);
struct router_facts *router_facts_new(const char *ns);                      /* the facts it is added to own it */
void obstacle_add(struct router_facts *facts, enum obstacle_kind kind, char *place, char *show); /* takes both texts */

SCOPED_DEFINE(facts)

#endif

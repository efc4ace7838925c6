/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the iptables back end has in a namespace: sets of ipset with elements, and rules of the legacy table mangle.  The
 * same structs hold what a plan asks for (made here, from the plan alone) and what stands (iptables_standing.h).
 *
 * All of it exists in two banks, 0 and 1, with names of their own.  One of them is live: the jump from PREROUTING leads
 * to it.  What cannot be changed element by element is built in the other one, and one replacement of the table
 * makes that live: the old one stops counting in the moment in which the new one begins.
 */
#ifndef FIPMETER_BACKEND_IPTABLES_LAYOUT_H
#define FIPMETER_BACKEND_IPTABLES_LAYOUT_H

#include "core/model.h"
#include "kernel/ipset.h"
#include "kernel/xtrules.h"

#define IPTABLES_TABLE "mangle"
#define IPTABLES_PREFIX "fipmeter" /* of all names of ours, chains and sets */
#define IPTABLES_BANKS 2

enum ipt_role {
	IPT_NEAR,      /* first octets under which is more than class internet: filled first of all and emptied last */
	IPT_LOCAL_DST, /* the local prefixes, asked for destinations; filled before the next and emptied after it */
	IPT_LOCAL_SRC, /* the same, asked for sources */
	IPT_PUBLIC,    /* whose `in` counts: asked before the counters, so what is not in here has stopped */
	IPT_FIXED,     /* whose `out` counts */
	IPT_IS,        /* the prefixes of a class; `internet` is what is in none of them */
	IPT_IN,        /* counts: by public address */
	IPT_OUT,       /* counts: by fixed address; or, parked and never matched, by the floating IP itself */
	IPT_REST,      /* counts: two halves of all addresses, for row 4 */
	IPT_STRAY,     /* counts: the same, for row 5 */
	IPT_ROLES,
};

struct ipt_tag { /* of a generation, as a number: a node may have a million elements */
	uint64_t high, low;
};

struct ipt_element {
	uint32_t address;
	uint8_t length;
	/* of a counted one: */
	bool out;
	struct meter_key key;
	uint64_t packets, bytes;
	struct ipt_tag tag;
};

struct ipt_set {
	char *name;
	enum ipt_role role;
	const char *class_name; /* interned; NULL where the role has none */
	uint32_t hashsize;
	GArray *elements;       /* of struct ipt_element, ascending by address and length */
};

struct ipt_bank {
	GPtrArray *sets; /* of struct ipt_set * */
};

void ipt_bank_init(struct ipt_bank *bank);
void ipt_bank_clear(struct ipt_bank *bank);
struct ipt_set *ipt_bank_add(struct ipt_bank *bank, unsigned number, enum ipt_role role, const char *class_name);
struct ipt_set *ipt_bank_find(const struct ipt_bank *bank, enum ipt_role role, const char *class_name); /* or NULL */
int ipt_element_compare(const void *a, const void *b);
bool ipt_role_counts(enum ipt_role role);
enum ipset_type ipt_role_type(enum ipt_role role);

/* "fipmeter2_in_internet" and the like; the reverse is false for a stranger's. */
char *ipt_set_name(unsigned bank, enum ipt_role role, const char *class_name);
bool ipt_set_parse(const char *name, unsigned *bank, enum ipt_role *role, const char **class_name);

/* The text of a tag.  The caller frees. */
char *ipt_tag_text(const struct ipt_tag *tag);

/* The comment of a counted element: the counter's name as plan_counter_name() and the tag. */
char *ipt_comment(const struct ipt_element *element);
bool ipt_comment_parse(const char *comment, struct ipt_element *element);

/* Sets and elements for a plan, counters at 0; tag goes into the elements. */
void ipt_layout_fill(struct ipt_bank *bank, unsigned number, const struct plan *plan, const char *tag);

/* The rules for a plan (of struct xtrule *); the jump, with comment, is the first where comment is not NULL. */
GPtrArray *ipt_layout_rules(unsigned bank, const struct plan *plan, const char *comment);

/* Which bank a chain's name leads to; -1: none. */
int ipt_bank_of_chain(const char *chain);

#endif

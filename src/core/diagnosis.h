/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an experienced colleague would say of a node: facts, gathered by cmd/checkup, become findings.  Pure.
 *
 * A check is one small function that looks at the facts of one matter and says at least one finding of it; the tables of
 * checks are at the ends of core/diagnosis.c (the node) and core/diagnosis_router.c (each router).  The names of checks are
 * a promise to machines (docs/output.md): more may come, none is renamed.
 */
#ifndef FIPMETER_CORE_DIAGNOSIS_H
#define FIPMETER_CORE_DIAGNOSIS_H

#include "core/facts.h"

enum level { LEVEL_OK, LEVEL_WARNING, LEVEL_PROBLEM }; /* PROBLEM: something is not metered, or soon will not be */

struct finding {
	const char *check;
	enum level level;
	char *about;   /* a namespace, a back end; "": the node */
	char *text;    /* what is there, and why it matters */
	char *remedy;  /* "" where nothing is to be done */
	char *command; /* to be typed as it is, "" if there is none */
};

/* Of struct finding: those of the node, then router by router.  The caller unrefs. */
GPtrArray *diagnosis_make(const struct facts *facts);

/* How many there are of a level. */
unsigned diagnosis_count(const GPtrArray *findings, enum level level);

const char *level_name(enum level level); /* never renamed */
void finding_free(void *finding);

/* ---- what the two halves share ---- */

struct diagnosis {
	const struct facts *facts;
	const char *check, *about;
	GPtrArray *findings;
};

/* remedy and command may be NULL; command is taken over. */
void diagnosis_say(struct diagnosis *diagnosis, enum level level, const char *remedy, char *command, const char *format,
                   ...) G_GNUC_PRINTF(5, 6);
char *diagnosis_duration(int64_t us); /* "12 s", "3 min", "5 h"; the caller frees */

/* A tool's command in a namespace.  The caller frees. */
char *diagnosis_command(const struct facts *facts, const char *ns, const char *tool);

/* The command that shows the nat rules of a flavour in a namespace with the tools that are there; NULL: none can. */
char *diagnosis_show_rules(const struct facts *facts, const char *ns, enum flavour flavour);

void diagnosis_of_router(struct diagnosis *diagnosis, const struct router_facts *router);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the parts of `fipmeter explain` share: the books' side is core/explain.h, this adds what is there now (what the
 * agent posts, what the kernel shows), and the ways to tell both.
 */
#ifndef FIPMETER_CMD_EXPLAIN_H
#define FIPMETER_CMD_EXPLAIN_H

#include "core/config.h"
#include "core/explain.h"

#include <jansson.h>

/* What a counter shows in the kernel at this moment. */
struct explain_kernel {
	bool seen;
	bool below; /* less than the books have: it was set back */
	struct counts counts;
};

struct explain_live {
	/* What the agent posts of the namespace; "" where it does not. */
	char *flavour, *role, *problem;
	/* Known from the agent, or from the kernel; "" where from neither. */
	char *backend, *list_command, *show_command;
	char *guesses[2];     /* where nothing tells the back end: what shows the counters of nft, and of iptables; or NULL */
	char *failure;        /* why the kernel's counters were not read; "": they were */
	int64_t read_us;      /* UTC: when; 0: they were not */
	GArray *kernel;       /* of struct explain_kernel, one for each line of the explanation */
};

/* Never fails: what cannot be seen is left out, and failure says why. */
struct explain_live *explain_live_new(const struct explanation *explanation, const struct config *config);
void explain_live_free(struct explain_live *live); /* takes NULL */
SCOPED_DEFINE(explain_live)

/* ---- words; the caller frees all ---- */

/* What a single flag means. */
const char *explain_flag(enum flag flag);

/* The flags' names with a blank between. */
char *explain_flags(unsigned flags);

/* "floating IP of 10.0.1.11", "gateway address". */
char *explain_owner(const struct explain_life *life);

/* metered, standby, gap, unknown as in coverage; none: it was nobody's then. */
const char *explain_state(const struct explanation *explanation, const char **reason);

/* All of it in one sentence of plain text, for a ticket. */
char *explain_sentence(const struct explanation *explanation, const struct explain_live *live);

/* Something an auditor can do by himself: a command of the shell that shows it, and whether it holds. */
struct explain_sum {
	const char *what;
	char *command;
	bool holds;
};

GArray *explain_sums(const struct explanation *explanation, const char *state_dir); /* of struct explain_sum */

/* ---- showing ---- */

void explain_print_json(const struct explanation *explanation, const struct explain_live *live, const GArray *sums);
void explain_print_people(const struct explanation *explanation, const struct explain_live *live, const GArray *sums);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the parts of `fipmeter watch` share: the readings of the kernel's counters, and what is to be seen of them.  It only
 * reads; no agent need run, and none is disturbed.
 */
#ifndef FIPMETER_CMD_WATCH_H
#define FIPMETER_CMD_WATCH_H

#include "core/config.h"
#include "core/rates.h"

#define WATCH_TURN_US 1000000
#define WATCH_HOLD_US 100000 /* a namespace that is deleted is held no longer: its devices would be in the way of their names */

struct watch_reader;

/* Looks for routers in config's netns directory, from now on.  config must outlive it. */
struct watch_reader *watch_reader_new(const struct config *config);
void watch_reader_free(struct watch_reader *reader); /* takes NULL */

/* What a turn has found. */
struct watch_found {
	unsigned routers;     /* namespaces of routers */
	unsigned counting;    /* of them those with counters of ours */
	unsigned failed;      /* and those that could not be read */
	char *failure;        /* why the first of those; NULL: none */
	struct instant at;
};

void watch_found_clear(struct watch_found *found);

/* One reading of all.  Fails only if the netns directory cannot be read. */
bool watch_read(struct watch_reader *reader, struct rates *rates, struct watch_found *found, GError **error);

/* To be called between two readings, each WATCH_HOLD_US: lets go of namespaces that were deleted.  True if some were: what
 * rates_list() gave before is not to be used any more. */
bool watch_let_go(struct watch_reader *reader, struct rates *rates);

struct watch {
	struct watch_reader *reader;
	struct rates *rates;
	struct rates_view view;
	struct watch_found found;
	const char *netns_dir;
	unsigned turns; /* to be shown; 0: until it is told to end */
};

/* One turn of it, into found. */
bool watch_turn(struct watch *watch, GError **error);

/* Microseconds until the turn after the one that began at boot_us is due, or watch_let_go(). */
int64_t watch_wait_us(int64_t boot_us);

/* "floating" has its address alone, what is nobody's "unattributed".  The caller frees. */
char *watch_name(const struct rate *rate);

/* On a terminal, with keys, until q.  Fails only as watch_turn() does. */
bool watch_screen(struct watch *watch, GError **error);

#endif

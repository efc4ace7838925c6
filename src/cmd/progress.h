/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A line on stderr that says what takes so long: after a second, and only on a terminal.
 */
#ifndef FIPMETER_CMD_PROGRESS_H
#define FIPMETER_CMD_PROGRESS_H

#include "store/store.h"

struct progress {
	const char *command, *what; /* "reading DIRECTORY" */
	int64_t began_us, said_us;  /* since boot */
	bool said;
};

/* From here on until progress_end() what is read from the store is told.  what must outlive it. */
void progress_begin(struct progress *progress, const char *command, const char *what, struct store *store);
void progress_end(struct progress *progress, struct store *store);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See progress.h.
 */
#include "cmd/progress.h"

#include "cmd/cmd.h"
#include "kernel/clock.h"

#include <stdio.h>
#include <unistd.h>

#define STEP_US 250000

static void tell(void *data)
{
	struct progress *progress = data;
	int64_t now_us = clock_now().boot_us, seconds = (now_us - progress->began_us) / G_USEC_PER_SEC;
	g_autofree char *what = NULL;

	if (seconds < 1 || now_us - progress->said_us < STEP_US)
		return;
	what = cmd_printable(progress->what);
	fprintf(stderr, "\rfipmeter %s: %s, %" G_GINT64_FORMAT " s ", progress->command, what, seconds);
	fflush(stderr);
	progress->said_us = now_us;
	progress->said = true;
}

void progress_begin(struct progress *progress, const char *command, const char *what, struct store *store)
{
	*progress = (struct progress){ command, what, clock_now().boot_us };
	if (isatty(STDERR_FILENO))
		store_on_progress(store, tell, progress);
}

void progress_end(struct progress *progress, struct store *store)
{
	store_on_progress(store, NULL, NULL);
	if (progress->said)
		fputs("\r\033[K", stderr); /* back to an empty line (ECMA-48, EL) */
}

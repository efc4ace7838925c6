/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The parts of `fipmeter verify`: verify.c reads the question, verify_run.c sends and counts, verify_beside.c has a second
 * back end count, verify_show.c tells.
 */
#ifndef FIPMETER_CMD_VERIFY_H
#define FIPMETER_CMD_VERIFY_H

#include "core/accuracy.h"
#include "core/config.h"

#include <glib.h>

struct verify {
	/* ---- asked ---- */
	const struct config *config; /* the agent's */
	uint32_t address;            /* the public one */
	const char *server;          /* where iperf3 -s runs */
	bool server_is_address;      /* behind the address; else whoever is behind it is the client */
	unsigned port, mtu, scale;
	char **client;               /* what stands before iperf3's own words; NULL: it runs here */
	char **card, **truth, **around; /* commands; NULL: none */
	const char *beside;          /* a second back end; NULL: none */
	int64_t patience_us;         /* for a sample */
	GArray *tests;               /* of struct accuracy_test, volumes already scaled */
	/* ---- found ---- */
	GArray *transfers;           /* of struct accuracy_transfer, one a test, in their order */
	char *router, *ns;
};

/* Carries out the tests, with what takes so long told on stderr.  Returns an exit status; EXIT_DONE: all transfers are
 * there. */
int verify_run(struct verify *verify);

/* Makes another back end than the agent's count in the router of that namespace, by its plan of this moment.  NULL on
 * failure; else the caller frees it, which takes its counters away again (takes NULL). */
struct beside *beside_new(const struct config *config, const char *ns, const char *backend, GError **error);
bool beside_free(struct beside *beside, GError **error);

/* What it has counted of an address, all classes together. */
bool beside_read(struct beside *beside, uint32_t address, struct counts *counts, GError **error);

/* How long they will take at least. */
int64_t verify_duration_us(const struct verify *verify);

/* "10.0 GiB".  The caller frees. */
char *verify_volume_text(uint64_t volume);

/* The results: "table", "json" or "markdown", on stdout. */
void verify_show(const struct verify *verify, const char *format);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The back end in memory: the truth table written down a second time, as plainly as it can be, to hold the real ones
 * against and to test what stands above them without root.
 */
#ifndef FIPMETER_CONTRACT_FAKE_H
#define FIPMETER_CONTRACT_FAKE_H

#include "backend/backend.h"

struct backend *fake_new(void);

struct fake_packet {
	const char *device;
	uint32_t source, destination;
	uint64_t bytes; /* layer 3 */
};

/* A packet enters the namespace of router by a device.  router tells what the kernel would know at this moment: which
 * addresses are local, what is routed where. */
void fake_receive(struct backend *backend, const struct router *router, const struct fake_packet *packet);

/* Somebody throws away all that is ours in a namespace. */
void fake_flush(struct backend *backend, const char *ns);

/* Somebody sets a counter of ours. */
void fake_set(struct backend *backend, const char *ns, const struct meter_key *key, const struct counts *counts);

#endif

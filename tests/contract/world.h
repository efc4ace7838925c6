/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a back end is tried: a router in a network namespace of the test's own, whose devices are tun devices, so that
 * a packet written to one enters the kernel as if it had come in there (Documentation/networking/tuntap.rst); or, for
 * the fake, nothing at all.
 */
#ifndef FIPMETER_CONTRACT_WORLD_H
#define FIPMETER_CONTRACT_WORLD_H

#include "backend/backend.h"
#include "fake.h"

struct world;

/* Once: into a mount namespace of the test's own, where pins of bpf(2) are nobody else's. */
void world_enter(void);

/* Makes router real (or not). The router must outlive the world. */
struct world *world_new(const struct router *router, bool real);
void world_free(struct world *world);

struct place world_place(const struct world *world);

/* A packet comes in.  When it returns the kernel is done with it. */
void world_receive(struct world *world, struct backend *backend, const struct fake_packet *packet);

/* An internal device gets an address in that subnet: it is local from now on.  The router is not told. */
void world_attach(struct world *world, const struct prefix *prefix);

/* Takes all addresses and routes away, as keepalived does when the other node becomes master; the router says so too. */
void world_stand_by(struct world *world, struct router *router);

/* All rules and sets of the namespace as nft(8), iptables-save(8) and ipset(8) show them; "" for the fake.  The caller
 * frees. */
char *world_ruleset(const struct world *world);

#endif

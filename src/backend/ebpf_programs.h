/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The programs of bpf/, loaded into the kernel.  The verifier takes 0.1 s for those that count; they are pinned beside their
 * maps under a name that tells the build, so that a start of the same build only takes them up.
 *
 * All functions fail with BACKEND_ERROR.
 */
#ifndef FIPMETER_BACKEND_EBPF_PROGRAMS_H
#define FIPMETER_BACKEND_EBPF_PROGRAMS_H

#include "backend/ebpf_maps.h"

struct bpf_object;

/* This build's programs, in maps->count and maps->hook, by the first place that does of those that are wanted, and the maps
 * that they count into: those that are open already, or new ones.  All of it is pinned. */
bool ebpf_programs_take(struct ebpf_maps *maps, enum ebpf_place wanted, GError **error);

/* Loads programs into the kernel, with the maps of that place which are pinned already.  told: the one of which the verifier's
 * last words are in the error; what the programs are for and which kernel they need is there, too. */
bool ebpf_load(struct bpf_object *object, enum ebpf_place place, const char *told, const char *what, const char *needs,
               GError **error);

/* Descriptors of its n maps by their names; what is in fds is closed, but for -1. */
void ebpf_take_fds(const struct bpf_object *object, const char *const *maps, unsigned n, int *fds);

#endif

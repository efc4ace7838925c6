/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is there: every Neutron router namespace of the host as a struct router, found by looking at the kernel
 * alone (no fork, no credentials): the netns directory, rtnetlink, and the nat tables of both flavours.
 */
#ifndef FIPMETER_INVENTORY_INVENTORY_H
#define FIPMETER_INVENTORY_INVENTORY_H

#include "core/model.h"

/* A namespace that could not be looked at in this round: its file exists, what is in it is not known. */
struct inventory_problem {
	char *ns;         /* as found; may hold any byte: escape before printing */
	char *message;    /* why, in one line */
	bool is_router;   /* named like a router (qrouter-UUID, snat-UUID): something may be unmetered */
};

struct inventory {
	GPtrArray *routers;  /* of struct router *, ascending by ns */
	GPtrArray *problems; /* of struct inventory_problem * */
};

/* Looks at all of directory.  Returns NULL only if the directory itself cannot be read; a directory that does not
 * exist is an empty inventory.  Namespaces that are not enterable yet are tried again for some milliseconds. */
struct inventory *inventory_scan(const char *directory, GError **error);
void inventory_free(struct inventory *inventory);

/* Looks at one namespace that is open as ns_fd. */
struct router *inventory_look(int ns_fd, const char *ns, GError **error);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What this process may do (capabilities(7)).  A privilege that is missing shows at many places and by errors of many
 * kinds; asked for at the start it has one name.
 */
#ifndef FIPMETER_KERNEL_CAPABILITY_H
#define FIPMETER_KERNEL_CAPABILITY_H

#include <glib.h>
#include <stdbool.h>

#define CAPABILITY_ERROR (g_quark_from_static_string("fipmeter-capability"))

/* Fails if one of the capabilities that it takes to look at the routers, or to meter them, is not effective; the message
 * names all that are missing. */
bool capability_check_looking(GError **error);
bool capability_check_metering(GError **error);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What all back ends share.
 */
#include "backend/backend.h"

#include <stdio.h>
#include <sys/random.h>

char *backend_new_tag(void)
{
	uint8_t random[GENERATION_LEN / 2];
	GString *tag = g_string_sized_new(GENERATION_LEN);

	/* 16 bytes come whole and, once the system has booted, at once: getrandom(2) */
	while (getrandom(random, sizeof random, 0) != sizeof random)
		;
	for (unsigned i = 0; i < sizeof random; i++)
		g_string_append_printf(tag, "%02x", random[i]);
	return g_string_free(tag, FALSE);
}

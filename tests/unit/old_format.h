/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A store of an older format, made of a newer one: for tests of how it is brought up.
 */
#ifndef FIPMETER_TESTS_OLD_FORMAT_H
#define FIPMETER_TESTS_OLD_FORMAT_H

#include "store/schema.h"

#include <glib.h>
#include <string.h>

/* A view as a format has it. */
static inline void old_format_add_view(GString *statements, unsigned format, const char *name)
{
	g_autofree char *head = g_strconcat("CREATE VIEW ", name, " AS", NULL);
	const char *from = strstr(schema_steps[format - 1], head);

	g_string_append_len(statements, from, strchr(from, ';') + 1 - from);
}

/* The statements that make format 3 of format 4.  The caller frees. */
static inline char *old_format_3(void)
{
	GString *statements = g_string_new("DROP VIEW usage; DROP VIEW meters; DROP VIEW hour; DROP VIEW day; "
	                                   "ALTER TABLE generation DROP COLUMN out_point; PRAGMA user_version = 3;");

	old_format_add_view(statements, 1, "usage");
	old_format_add_view(statements, 1, "meters");
	old_format_add_view(statements, 2, "hour");
	old_format_add_view(statements, 2, "day");
	return g_string_free(statements, FALSE);
}

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a fault program leaves for the table of `make faults`: one JSON file in the directory that
 * FIPMETER_FAULTS_RESULTS names, if it names one; and how much of the faults is to be tried.
 */
#ifndef FIPMETER_TESTS_RESULT_H
#define FIPMETER_TESTS_RESULT_H

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>

/* Full if FIPMETER_FAULTS=full, a number if that is the first argument (and taken out of argv), else few. */
static inline unsigned result_times(int *argc, char **argv, unsigned few, unsigned full)
{
	unsigned n = g_strcmp0(g_getenv("FIPMETER_FAULTS"), "full") ? few : full;

	if (*argc > 1 && g_ascii_isdigit(argv[1][0])) {
		n = strtoul(argv[1], NULL, 10);
		for (int i = 1; i < *argc; i++)
			argv[i] = argv[i + 1];
		--*argc;
	}
	return n;
}

struct result {
	const char *fault;
	unsigned times, overcounts, failures;
	uint64_t expected, found; /* bytes */
	bool sums;                /* expected and found are known */
	int64_t gaps;             /* -1: not known */
	char *note;               /* "" or short */
};

static inline json_t *result_json(const struct result *result)
{
	json_t *one = json_pack("{s:s, s:s, s:i, s:n, s:n, s:n, s:i, s:s, s:s}", "fault", result->fault, "backend", "",
	                        "times", (int)result->times, "expected_bytes", "found_bytes", "gaps", "overcounts",
	                        (int)result->overcounts, "verdict",
	                        result->failures || result->overcounts ? "FAILS" : "holds", "note",
	                        result->note ? result->note : "");

	if (result->sums) {
		json_object_set_new(one, "expected_bytes", json_integer(result->expected));
		json_object_set_new(one, "found_bytes", json_integer(result->found));
	}
	if (result->gaps >= 0)
		json_object_set_new(one, "gaps", json_integer(result->gaps));
	return one;
}

static inline void result_write(const char *name, const struct result *results, unsigned n)
{
	const char *directory = g_getenv("FIPMETER_FAULTS_RESULTS");
	g_autofree char *file = g_strconcat(name, ".json", NULL), *path = NULL;
	json_t *list = json_array();

	for (unsigned i = 0; i < n; i++)
		json_array_append_new(list, result_json(&results[i]));
	if (directory && *directory) {
		path = g_build_filename(directory, file, NULL);
		g_assert_cmpint(json_dump_file(list, path, JSON_INDENT(2)), ==, 0);
	}
	json_decref(list);
}

#endif

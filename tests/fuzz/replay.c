/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * replay DIRECTORY: calls a fuzzer with each file of a corpus, so that `make test`, whose compiler may have no libFuzzer,
 * runs what fuzzing has found once.
 */
#include "fuzz.h"

#include <string.h>

static const char *corpus;

static void test_corpus(void)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GDir) files = g_dir_open(corpus, 0, &error);
	const char *name;
	unsigned n = 0;

	g_assert_no_error(error);
	while ((name = g_dir_read_name(files))) {
		g_autofree char *path = g_build_filename(corpus, name, NULL), *bytes = NULL;
		g_autofree uint8_t *exact = NULL;
		size_t size;

		g_assert_true(g_file_get_contents(path, &bytes, &size, &error));
		g_assert_no_error(error);
		exact = g_memdup2(bytes, size); /* without the NUL behind it, for whoever reads too far */
		LLVMFuzzerTestOneInput(exact, size);
		n++;
	}
	g_assert_cmpuint(n, >, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	if (argc != 2) {
		g_printerr("usage: %s DIRECTORY\n", argv[0]);
		return 2;
	}
	corpus = argv[1];
	g_test_add_func("/corpus", test_corpus);
	return g_test_run();
}

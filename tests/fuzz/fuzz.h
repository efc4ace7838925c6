/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One fuzzer a parser of bytes from outside.  Each file fuzz_NAME.c defines the entry that libFuzzer calls (`make fuzz`),
 * and that replay.c calls with each file of the corpus (`make test`).  An input is refused or taken; what must never
 * happen is a crash, a report of a sanitizer, a hang, or a result that breaks the promises of the header, which
 * each fuzzer checks with fuzz_check().
 */
#ifndef FIPMETER_TESTS_FUZZ_H
#define FIPMETER_TESTS_FUZZ_H

#include <glib.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Unlike g_assert() it is there in every build. */
#define fuzz_check(condition) \
	do { \
		if (!(condition)) { \
			g_printerr("%s:%d: broken promise: %s\n", __FILE__, __LINE__, #condition); \
			abort(); \
		} \
	} while (0)

/* What every function with a GError ** promises. */
#define fuzz_check_told(done, error) fuzz_check((done) ? !(error) : (error) && (error)->message[0])

#endif

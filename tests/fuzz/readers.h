/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What parses netlink messages by itself, for the fuzzer and for the program that records what the fuzzer begins with.
 */
#ifndef FIPMETER_TESTS_READERS_H
#define FIPMETER_TESTS_READERS_H

#include <stdbool.h>

#define READERS 5

/* Reads with reader number which (below READERS), and checks what it hands over. */
void readers_run(unsigned which);

#endif

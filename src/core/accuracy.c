/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See accuracy.h.
 */
#include "core/accuracy.h"

#include <string.h>

#define HEADER 52      /* IPv4 20, TCP 20, time stamps 12 (RFC 791, RFC 9293, RFC 7323) */
#define HEADER_MIN 40
#define HEADER_MAX 120 /* both with all the options that they have room for */
#define MSS 1448       /* of an MTU of 1,500 with that */

/* A test has a second connection, on which the ends of iperf3 agree and tell each other their results, and each connection
 * has a handshake: some 1,300 bytes (docs/accuracy.md). */
#define BESIDE 16384

#define TOO_LARGE (UINT64_C(1) << 50)

/* ---- what is to be sent ---- */

static const char right[] = "right: in:1G:100M, direction, volume and bits a second; a label may follow";

static bool refuse(GError **error, const char *text, const char *what)
{
	g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "'%s': %s (%s)", text, what, right);
	return false;
}

/* A whole number, with K, M or G behind it. */
static bool parse_amount(const char *text, uint64_t unit, uint64_t *amount)
{
	char *end;
	uint64_t factor = 1, number;

	if (!g_ascii_isdigit(*text))
		return false;
	number = g_ascii_strtoull(text, &end, 10);
	switch (*end) {
	case 'G':
		factor *= unit; /* fall through */
	case 'M':
		factor *= unit; /* fall through */
	case 'K':
		factor *= unit;
		end++;
	}
	*amount = number * factor;
	return !*end && number > 0 && number < TOO_LARGE / factor;
}

static bool is_label(const char *text)
{
	for (const char *c = text; *c; c++)
		if (!g_ascii_isalnum(*c) && *c != '-' && *c != '_')
			return false;
	return *text && strlen(text) <= ACCURACY_LABEL_MAX;
}

bool accuracy_parse_test(const char *text, struct accuracy_test *test, GError **error)
{
	g_auto(GStrv) parts = g_strsplit(text, ":", 5);
	unsigned n = g_strv_length(parts);

	memset(test, 0, sizeof *test);
	if (n < 3 || n > 4)
		return refuse(error, text, "not three or four parts");
	test->in = g_str_equal(parts[0], "in");
	if (!test->in && strcmp(parts[0], "out"))
		return refuse(error, text, "the direction is neither in nor out");
	if (!parse_amount(parts[1], 1024, &test->volume))
		return refuse(error, text, "that is no volume");
	if (!parse_amount(parts[2], 1000, &test->rate))
		return refuse(error, text, "that is no rate");
	if (n == 4 && !is_label(parts[3]))
		return refuse(error, text, "a label is of letters, digits, - and _");
	if (n == 4)
		g_strlcpy(test->label, parts[3], sizeof test->label);
	return true;
}

#define G(n) ((uint64_t)(n) << 30)
#define MBIT(n) ((n) * UINT64_C(1000000))

const struct accuracy_test *accuracy_seed_table(unsigned *n)
{
	static const struct accuracy_test tests[] = {
		{ true, G(10), MBIT(100) }, { true, G(10), MBIT(50) }, { true, G(10), MBIT(20) }, { true, G(10), MBIT(10) },
		{ true, G(1000), MBIT(1000) }, { true, G(1000), MBIT(500) },
		{ false, G(10), MBIT(100) }, { false, G(10), MBIT(50) }, { false, G(10), MBIT(20) }, { false, G(10), MBIT(10) },
		{ false, G(1000), MBIT(1000) }, { false, G(1000), MBIT(500) },
	};

	*n = G_N_ELEMENTS(tests);
	return tests;
}

/* ---- the bounds ---- */

unsigned accuracy_header(unsigned mtu, unsigned mss)
{
	return mtu > mss && mtu - mss >= HEADER_MIN && mtu - mss <= HEADER_MAX ? mtu - mss : HEADER;
}

uint64_t accuracy_lowest(const struct accuracy_transfer *transfer)
{
	return transfer->received;
}

/* What the counters saw as one packet may have been several segments, and a segment may be less than full. */
uint64_t accuracy_highest(const struct accuracy_transfer *transfer)
{
	unsigned mss = transfer->mss ? transfer->mss : MSS;
	uint64_t full = (transfer->sent + mss - 1) / mss;

	return transfer->sent + MAX(full, transfer->packets) * transfer->header + BESIDE;
}

uint64_t accuracy_retransmitted(const struct accuracy_transfer *transfer)
{
	return transfer->retransmitted * ((transfer->mss ? transfer->mss : MSS) + transfer->header);
}

uint64_t accuracy_ppm(uint64_t a, uint64_t b)
{
	uint64_t difference = a > b ? a - b : b - a;

	return b ? (uint64_t)((long double)difference * 1000000 / b + 0.5L) : 0;
}

/* ---- the verdict ---- */

const char *accuracy_verdict_name(enum accuracy_verdict verdict)
{
	switch (verdict) {
	case ACCURACY_INSIDE:
		return "inside";
	case ACCURACY_BELOW:
		return "outside: below";
	case ACCURACY_ABOVE:
		return "outside: above";
	case ACCURACY_LOSS:
		return "outside: loss";
	case ACCURACY_OFF_WIRE:
		return "outside: not the wire's";
	case ACCURACY_UNSURE:
		return "unsure";
	}
	g_assert_not_reached();
}

/* Flags of a row that may not have all, or whose owner is in doubt. */
#define INCOMPLETE (FLAG_UNKNOWN_START | FLAG_RESET | FLAG_GAP | FLAG_MOVED)

enum accuracy_verdict accuracy_judge(const struct accuracy_transfer *transfer)
{
	uint64_t highest = accuracy_highest(transfer);
	bool off = transfer->collected != transfer->truth || transfer->packets != transfer->truth_packets;

	if (transfer->flags & INCOMPLETE)
		return ACCURACY_UNSURE;
	if (transfer->collected < accuracy_lowest(transfer))
		return ACCURACY_BELOW;
	if (transfer->has_truth && transfer->basis != BASIS_SKB && off)
		return ACCURACY_OFF_WIRE;
	if (transfer->collected <= highest)
		return ACCURACY_INSIDE;
	return transfer->collected - highest <= accuracy_retransmitted(transfer) ? ACCURACY_LOSS : ACCURACY_ABOVE;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How accurate is a count?  The arithmetic of `fipmeter verify`: what a transfer of known payload may be counted as, and
 * whether it was.  docs/accuracy.md explains the bounds; the criterion is payload <= collected <= payload + headers.
 *
 * Bytes are layer-3 bytes (IP header onward) unless said otherwise; rates are bits a second.
 */
#ifndef FIPMETER_CORE_ACCURACY_H
#define FIPMETER_CORE_ACCURACY_H

#include "core/model.h"

#define ACCURACY_LABEL_MAX 32

/* What is to be sent: "in:1G:100M", or with a label behind it, "out:100M:50M:loss". */
struct accuracy_test {
	bool in;            /* towards the public address */
	uint64_t volume;    /* payload */
	uint64_t rate;
	char label[ACCURACY_LABEL_MAX + 1]; /* letters, digits, - and _; "": none */
};

/* Volumes take the suffixes K, M and G of 1,024, rates those of 1,000, as iperf3 takes them. */
bool accuracy_parse_test(const char *text, struct accuracy_test *test, GError **error);

/* The rows of the table in which the seed of this project proved its counters; *n of them, constant. */
const struct accuracy_test *accuracy_seed_table(unsigned *n);

/* What became of it, in the direction of the test. */
struct accuracy_transfer {
	uint64_t sent, received;        /* payload, as both ends told it */
	uint64_t retransmitted;         /* segments */
	unsigned mss;                   /* payload of a full segment */
	unsigned header;                /* of each segment: IP and TCP with their options */
	uint64_t collected, packets;    /* by the usage rows */
	enum basis basis;
	unsigned flags;                 /* of the usage rows, the union */
	bool has_card;
	uint64_t card;                  /* bytes by the VM's network card, with Ethernet headers */
	bool has_beside;
	uint64_t beside, beside_packets; /* by a second back end */
	bool has_truth;
	uint64_t truth, truth_packets;  /* counted where every packet is by itself */
};

enum accuracy_verdict {
	ACCURACY_INSIDE,
	ACCURACY_BELOW,    /* less than the payload */
	ACCURACY_ABOVE,    /* more than payload and headers */
	ACCURACY_LOSS,     /* above, by no more than what was sent twice */
	ACCURACY_OFF_WIRE, /* inside, but a count of the wire that is not the wire's */
	ACCURACY_UNSURE,   /* its rows say themselves that they are not complete */
};

const char *accuracy_verdict_name(enum accuracy_verdict verdict);

/* The header of each segment where path packets have mtu bytes and segments mss of payload; what is usual (20 of IPv4, 20 of
 * TCP, 12 of its time stamps, RFC 7323) where the two do not fit each other, or mtu is 0. */
unsigned accuracy_header(unsigned mtu, unsigned mss);

/* payload, and payload with all headers */
uint64_t accuracy_lowest(const struct accuracy_transfer *transfer);
uint64_t accuracy_highest(const struct accuracy_transfer *transfer);

/* What was sent twice, at most. */
uint64_t accuracy_retransmitted(const struct accuracy_transfer *transfer);

enum accuracy_verdict accuracy_judge(const struct accuracy_transfer *transfer);

/* |a - b| in millionths of b, rounded; 0 where b is. */
uint64_t accuracy_ppm(uint64_t a, uint64_t b);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sends small UDP frames into several routers in turn, and says what each batch of them cost in CPU time.
 *
 * Frames are put straight onto a veth (packet(7), past its queue): the kernel carries each of them through bridge, router and
 * bridge to where it is dropped, in the softirq that ends the very send, on this CPU and at the charge of this thread.  So the
 * thread's own CPU clock is the price of the packet's whole way, whoever else works on the machine: what they take is time,
 * not ours.  What stays of them is the caches; hence short batches, all ways in turn, many rounds.
 *
 * A way is a line of standard input, of words:
 *   NAMESPACE-FILE DEVICE FROM-MAC TO-MAC SOURCE STEP DESTINATION STEP ADDRESSES BYTES PACKETS
 * SOURCE and DESTINATION are taken on by their STEP for each of the ADDRESSES in turn.  A batch has PACKETS frames with IP
 * packets of BYTES bytes.  For each batch a line is printed: the way's number, packets, nanoseconds of CPU, and of the clock.
 *
 * usage: flood ROUNDS CPU <WAYS
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <inttypes.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/ether.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define TOGETHER 32 /* frames a call */
#define PORT 9

struct way {
	unsigned number, packets, next; /* next: the frame that is to be sent */
	int fd;
	GArray *vectors;                /* of struct iovec, one a frame */
};

static void give_up(const char *what)
{
	fprintf(stderr, "flood: %s: %s\n", what, g_strerror(errno));
	exit(1);
}

static int64_t now_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* A socket that sends out of a device of another namespace. */
static int open_in(const char *ns, const char *device)
{
	int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), other = open(ns, O_RDONLY | O_CLOEXEC), yes = 1, fd;
	struct sockaddr_ll at = { .sll_family = AF_PACKET };

	if (own < 0 || other < 0 || setns(other, CLONE_NEWNET) < 0)
		give_up(ns);
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0); /* protocol 0: it receives nothing */
	at.sll_ifindex = (int)if_nametoindex(device);
	if (fd < 0 || !at.sll_ifindex || bind(fd, (struct sockaddr *)&at, sizeof at) < 0 ||
	    setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &yes, sizeof yes) < 0 || setns(own, CLONE_NEWNET) < 0)
		give_up(device);
	close(own);
	close(other);
	return fd;
}

static uint16_t header_sum(const struct iphdr *ip)
{
	const uint16_t *words = (const uint16_t *)ip;
	uint32_t sum = 0;

	for (unsigned i = 0; i < sizeof *ip / 2; i++)
		sum += words[i];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void add_frame(struct way *way, const struct ether_header *ethernet, uint32_t source, uint32_t destination,
                      unsigned bytes)
{
	uint8_t *frame = g_malloc0(sizeof *ethernet + bytes);
	struct iovec vector = { frame, sizeof *ethernet + bytes };
	struct iphdr ip = { .version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP, .tot_len = htons((uint16_t)bytes),
	                    .saddr = htonl(source), .daddr = htonl(destination) };
	struct udphdr udp = { .uh_sport = htons(20000), .uh_dport = htons(PORT), .uh_ulen = htons((uint16_t)(bytes - sizeof ip)) };

	ip.check = header_sum(&ip);
	memcpy(frame, ethernet, sizeof *ethernet);
	memcpy(frame + sizeof *ethernet, &ip, sizeof ip);
	memcpy(frame + sizeof *ethernet + sizeof ip, &udp, sizeof udp); /* without a checksum, which IPv4 allows */
	g_array_append_val(way->vectors, vector);
}

/* False at the end of the input. */
static bool read_way(struct way *way)
{
	char ns[256], device[32], from[32], to[32], source_text[32], destination_text[32];
	unsigned source_step, destination_step, addresses, bytes;
	struct ether_header ethernet = { .ether_type = htons(ETHERTYPE_IP) };
	struct in_addr source, destination;
	int words = scanf("%255s %31s %31s %31s %31s %u %31s %u %u %u %u", ns, device, from, to, source_text, &source_step,
	                  destination_text, &destination_step, &addresses, &bytes, &way->packets);

	if (words == EOF)
		return false;
	errno = EINVAL;
	if (words != 11 || !inet_aton(source_text, &source) || !inet_aton(destination_text, &destination) || bytes < 28 ||
	    !ether_aton_r(from, (struct ether_addr *)ethernet.ether_shost) ||
	    !ether_aton_r(to, (struct ether_addr *)ethernet.ether_dhost))
		give_up("a line of the input");
	way->fd = open_in(ns, device);
	way->vectors = g_array_new(FALSE, TRUE, sizeof(struct iovec));
	for (unsigned i = 0; i < addresses; i++)
		add_frame(way, &ethernet, ntohl(source.s_addr) + i * source_step, ntohl(destination.s_addr) + i * destination_step,
		          bytes);
	return true;
}

static void send_batch(struct way *way)
{
	struct mmsghdr messages[TOGETHER] = { 0 };
	int64_t cpu_ns = now_ns(CLOCK_THREAD_CPUTIME_ID), clock_ns = now_ns(CLOCK_MONOTONIC);

	for (unsigned left = way->packets; left;) {
		unsigned together = MIN(left, TOGETHER);
		int sent;

		for (unsigned i = 0; i < together; i++) {
			messages[i].msg_hdr.msg_iov = &g_array_index(way->vectors, struct iovec, (way->next + i) % way->vectors->len);
			messages[i].msg_hdr.msg_iovlen = 1;
		}
		sent = sendmmsg(way->fd, messages, together, 0);
		if (sent <= 0)
			give_up("sending");
		way->next = (way->next + (unsigned)sent) % way->vectors->len;
		left -= (unsigned)sent;
	}
	cpu_ns = now_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_ns;
	clock_ns = now_ns(CLOCK_MONOTONIC) - clock_ns;
	printf("%u %u %" PRId64 " %" PRId64 "\n", way->number, way->packets, cpu_ns, clock_ns);
}

int main(int argc, char **argv)
{
	g_autoptr(GArray) ways = g_array_new(FALSE, TRUE, sizeof(struct way));
	struct way way = { 0 };
	cpu_set_t cpus;

	if (argc != 3) {
		fputs("usage: flood ROUNDS CPU <WAYS\n", stderr);
		return 2;
	}
	CPU_ZERO(&cpus);
	CPU_SET(atoi(argv[2]), &cpus);
	if (sched_setaffinity(0, sizeof cpus, &cpus) < 0)
		give_up("that CPU");
	for (; read_way(&way); way = (struct way){ .number = ways->len })
		g_array_append_val(ways, way);
	for (int round = 0; round < atoi(argv[1]); round++)
		for (unsigned i = 0; i < ways->len; i++) /* another one begins in each round */
			send_batch(&g_array_index(ways, struct way, (i + (unsigned)round) % ways->len));
	return fflush(stdout) || ferror(stdout);
}

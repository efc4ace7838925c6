// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Sends a known number of IPv4 packets of a known size, and says what it did in one line of JSON.
 *
 * Sizes are those of the whole IP packet (header included), because that is what a meter counts. UDP and unforged
 * echo requests leave through ordinary sockets; with --from the packet is built here and leaves by a raw socket with
 * that source. Without --rate the pace is bounded so that no queue on the way (1,000 packets a CPU in veth) can fill:
 * UDP goes in short bursts, echo requests wait for replies after a window of 16. A packet that could not be sent is
 * an error; a reply that does not come is only counted. SIGTERM ends it early: what was sent until then is said, and
 * counts as done.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <linux/icmp.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	IP_HEADER = 20,
	L4_HEADER = 8, /* UDP and ICMP echo alike */
	LARGEST = 65535,
	WINDOW = 16,
	BURST = 16,
	BURST_PAUSE_US = 500,
	OPENING_PAUSE_US = 2000, /* after the first packet: address resolution on the way */
	RETRY_MS = 5000,
};

struct job {
	bool icmp;
	bool forged;
	struct in_addr to;
	struct in_addr from;
	uint64_t count;
	uint32_t bytes;
	uint64_t rate; /* packets a second, 0: the built-in pace */
	uint16_t port;
	int wait_ms;
	/* running */
	int fd;
	uint16_t id; /* of the echo requests, or the forged source port */
	uint64_t sent;
	uint64_t replies;
	uint64_t reply_bytes;
	uint64_t outstanding;
};

static volatile sig_atomic_t told_to_end;

static void on_sigterm(int number)
{
	told_to_end = number;
}

static void fail(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fputs("send: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
	exit(1);
}

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void sleep_us(uint64_t us)
{
	struct timespec t = { .tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000) * 1000 };

	while (nanosleep(&t, &t) < 0 && errno == EINTR)
		;
}

static uint32_t sum16(const void *data, size_t len, uint32_t sum)
{
	const uint8_t *bytes = data;

	for (; len > 1; bytes += 2, len -= 2)
		sum += (uint32_t)bytes[0] << 8 | bytes[1];
	if (len)
		sum += (uint32_t)bytes[0] << 8;
	return sum;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

/* What the options say, written over the defaults; ends the program when they make no sense. */
static uint64_t number(const char *name, const char *text, uint64_t least, uint64_t most)
{
	char *end;

	errno = 0;
	uint64_t value = strtoull(text, &end, 10);
	if (errno || end == text || *end || *text == '-' || value < least || value > most)
		fail("--%s %s: expected a number from %" PRIu64 " to %" PRIu64, name, text, least, most);
	return value;
}

static struct in_addr address(const char *name, const char *text)
{
	struct in_addr found;

	if (inet_pton(AF_INET, text, &found) != 1)
		fail("--%s %s: not an IPv4 address", name, text);
	return found;
}

static void usage(int status)
{
	fputs("usage: send udp|icmp --to ADDRESS --count N --bytes M [options]\n"
	      "  --bytes M       length of each IP packet, header included (28 to 65535)\n"
	      "  --from ADDRESS  forge this source (raw socket)\n"
	      "  --rate PPS      packets a second; without it the pace fills no queue\n"
	      "  --port P        UDP destination port (default 9)\n"
	      "  --wait MS       how long to wait for the last echo replies (default 1000)\n"
	      "SIGTERM: sends no more, and says how much it was\n"
	      "example: send icmp --to 198.51.100.101 --count 10 --bytes 500\n",
	      status ? stderr : stdout);
	exit(status);
}

static void parse(struct job *job, int argc, char **argv)
{
	static const struct option options[] = {
		{ "to", required_argument, NULL, 't' },   { "from", required_argument, NULL, 'f' },
		{ "count", required_argument, NULL, 'c' }, { "bytes", required_argument, NULL, 'b' },
		{ "rate", required_argument, NULL, 'r' },  { "port", required_argument, NULL, 'p' },
		{ "wait", required_argument, NULL, 'w' },  { "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (option) {
		case 't': job->to = address("to", optarg); break;
		case 'f': job->from = address("from", optarg); job->forged = true; break;
		case 'c': job->count = number("count", optarg, 1, 1000000000); break;
		case 'b': job->bytes = (uint32_t)number("bytes", optarg, IP_HEADER + L4_HEADER, LARGEST); break;
		case 'r': job->rate = number("rate", optarg, 1, 10000000); break;
		case 'p': job->port = (uint16_t)number("port", optarg, 1, 65535); break;
		case 'w': job->wait_ms = (int)number("wait", optarg, 0, 600000); break;
		case 'h': usage(0); break;
		default: usage(2);
		}
	}
	if (optind + 1 != argc || !job->to.s_addr || !job->count || !job->bytes)
		usage(2);
	job->icmp = strcmp(argv[optind], "icmp") == 0;
	if (!job->icmp && strcmp(argv[optind], "udp") != 0)
		usage(2);
}

static void open_socket(struct job *job)
{
	int size = 4 << 20, yes = 1;

	if (job->forged)
		job->fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	else if (job->icmp)
		job->fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);
	else
		job->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (job->fd < 0)
		fail("socket: %s", strerror(errno));
	if (job->icmp && !job->forged) {
		struct icmp_filter filter = { .data = ~(1u << ICMP_ECHOREPLY) };

		if (setsockopt(job->fd, SOL_RAW, ICMP_FILTER, &filter, sizeof filter) < 0 ||
		    setsockopt(job->fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0)
			fail("setsockopt: %s", strerror(errno));
	}
	if (setsockopt(job->fd, SOL_SOCKET, SO_BROADCAST, &yes, sizeof yes) < 0)
		fail("setsockopt: %s", strerror(errno));
	if (getrandom(&job->id, sizeof job->id, 0) != sizeof job->id)
		fail("getrandom: %s", strerror(errno));
	job->id |= 0x8000; /* as a source port: among the ephemeral ones */
}

/* Writes the packet of number `sequence` into `buffer`; returns where in it the part handed to the socket starts. */
static size_t build(const struct job *job, uint8_t *buffer, uint64_t sequence)
{
	uint8_t *l4 = buffer + IP_HEADER;
	size_t l4_len = job->bytes - IP_HEADER;

	if (job->icmp) {
		struct icmphdr header = { .type = ICMP_ECHO,
					  .un.echo = { htons(job->id), htons((uint16_t)sequence) } };

		memcpy(l4, &header, sizeof header);
		header.checksum = fold(sum16(l4, l4_len, 0));
		memcpy(l4, &header, sizeof header);
	} else if (job->forged) {
		struct udphdr header = { .uh_sport = htons(job->id), .uh_dport = htons(job->port),
					 .uh_ulen = htons((uint16_t)l4_len) };
		uint32_t pseudo = sum16(&job->from, 4, sum16(&job->to, 4, IPPROTO_UDP + (uint32_t)l4_len));

		memcpy(l4, &header, sizeof header);
		header.uh_sum = fold(sum16(l4, l4_len, pseudo));
		if (!header.uh_sum)
			header.uh_sum = 0xffff;
		memcpy(l4, &header, sizeof header);
	}
	if (!job->forged)
		return job->icmp ? IP_HEADER : IP_HEADER + L4_HEADER;
	struct iphdr ip = { .version = 4, .ihl = 5, .ttl = 64, .protocol = job->icmp ? IPPROTO_ICMP : IPPROTO_UDP,
			    .tot_len = htons((uint16_t)job->bytes), .saddr = job->from.s_addr, .daddr = job->to.s_addr };
	memcpy(buffer, &ip, sizeof ip); /* the kernel fills the checksum and the id (raw(7)) */
	return 0;
}

static void send_one(struct job *job, uint8_t *buffer)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr = job->to,
				  .sin_port = htons(job->icmp ? 0 : job->port) };
	size_t start = build(job, buffer, job->sent);
	size_t len = job->bytes - start;
	uint64_t deadline = now_us() + RETRY_MS * 1000ull;

	for (;;) {
		ssize_t done = sendto(job->fd, buffer + start, len, 0, (struct sockaddr *)&to, sizeof to);

		if (done == (ssize_t)len)
			break;
		if (done >= 0)
			fail("packet %" PRIu64 " of %" PRIu64 ": only %zd of %zu bytes taken", job->sent + 1,
			     job->count, done, len);
		if (errno != EAGAIN && errno != ENOBUFS && errno != EINTR)
			fail("packet %" PRIu64 " of %" PRIu64 ": %s", job->sent + 1, job->count, strerror(errno));
		if (now_us() > deadline)
			fail("packet %" PRIu64 " of %" PRIu64 ": %s for 5 s", job->sent + 1, job->count, strerror(errno));
		sleep_us(200);
	}
	job->sent++;
	job->outstanding++;
}

/* Takes the replies that are there, waiting up to `wait_ms` for the first one. False: none came. */
static bool take_replies(struct job *job, int wait_ms)
{
	static uint8_t buffer[LARGEST];
	struct pollfd poller = { .fd = job->fd, .events = POLLIN };
	uint64_t before = job->replies;
	uint64_t deadline = now_us() + (uint64_t)wait_ms * 1000;

	for (;;) {
		ssize_t len = recv(job->fd, buffer, sizeof buffer, MSG_DONTWAIT);

		if (len > 0) {
			const struct iphdr *ip = (const struct iphdr *)buffer;
			struct icmphdr icmp;
			size_t header = ip->ihl * 4u;

			if ((size_t)len < header + sizeof icmp)
				continue;
			memcpy(&icmp, buffer + header, sizeof icmp);
			if (icmp.type != ICMP_ECHOREPLY || ntohs(icmp.un.echo.id) != job->id)
				continue;
			job->replies++;
			job->reply_bytes += (uint64_t)len;
			if (job->outstanding)
				job->outstanding--;
			continue;
		}
		if (len < 0 && errno == EINTR)
			continue;
		uint64_t now = now_us();
		if (job->replies > before || now >= deadline)
			return job->replies > before;
		poll(&poller, 1, (int)((deadline - now) / 1000) + 1);
	}
}

static void pace(struct job *job, uint64_t started)
{
	bool replies = job->icmp && !job->forged;

	if (job->rate) {
		uint64_t due = started + job->sent * 1000000 / job->rate, now = now_us();

		if (replies)
			take_replies(job, 0);
		if (due > now)
			sleep_us(due - now);
		return;
	}
	if (replies && (job->outstanding >= WINDOW || job->sent == 1)) {
		/* What does not come within this time is given up for the window, not for the count. */
		if (!take_replies(job, job->sent == 1 ? 20 : 100))
			job->outstanding = 0;
	} else if (!replies && job->sent % BURST == 0) {
		sleep_us(BURST_PAUSE_US);
	} else if (!replies && job->sent == 1) {
		sleep_us(OPENING_PAUSE_US);
	}
}

int main(int argc, char **argv)
{
	struct job job = { .port = 9, .wait_ms = 1000 };
	static uint8_t buffer[LARGEST];

	parse(&job, argc, argv);
	signal(SIGTERM, on_sigterm);
	open_socket(&job);
	uint64_t started = now_us();
	while (job.sent < job.count && !told_to_end) {
		send_one(&job, buffer);
		if (job.sent < job.count && !told_to_end)
			pace(&job, started);
	}
	if (job.icmp && !job.forged)
		while (job.replies < job.sent && take_replies(&job, job.wait_ms))
			;
	printf("{\"sent\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"replies\":%" PRIu64 ",\"reply_bytes\":%" PRIu64 "}\n",
	       job.sent, job.sent * job.bytes, job.replies, job.reply_bytes);
	return fflush(stdout) || ferror(stdout) ? 1 : 0;
}

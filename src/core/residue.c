/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See residue.h.  Every subtraction ends at zero: what is below it is a statistic that was read a moment later than another.
 */
#include "core/residue.h"

#define ETHERNET_HEADER 14
#define PADDING_MAX 26 /* the least Ethernet payload is 46 bytes, the least IP header 20 */

/* Bytes on the wire for one byte of IP: every segment that a merged packet is split into has its own headers, of IP and TCP
 * at most 60 bytes each, and carries a byte at least. */
#define WIRE_MAX 121

struct traffic *traffic_new(void)
{
	struct traffic *traffic = g_new0(struct traffic, 1);

	traffic->devices = g_array_new(FALSE, TRUE, sizeof(struct device_traffic));
	return traffic;
}

void traffic_free(struct traffic *traffic)
{
	if (!traffic)
		return;
	g_array_unref(traffic->devices);
	g_free(traffic);
}

void residue_free(struct residue *residue)
{
	if (!residue)
		return;
	g_free(residue->node);
	g_free(residue->router);
	g_free(residue);
}

/* ---- windows ---- */

void window_begin(struct window *window, struct traffic *from)
{
	traffic_free(window->earlier);
	*window = (struct window){ .from = from, .earlier = window->from, .proven = window->proven };
}

void window_clear(struct window *window)
{
	traffic_free(window->from);
	traffic_free(window->earlier);
	*window = (struct window){ 0 };
}

struct batch_mark batch_mark(const struct batch *batch)
{
	return (struct batch_mark){ batch->usage->len, batch->meters->len, batch->coverage->len };
}

static void add_row(struct window *window, const struct usage *row, const struct meter *meter)
{
	window->in_bytes += row->counts.in_bytes;
	window->in_packets += row->counts.in_packets;
	window->out_bytes += row->counts.out_bytes;
	if (meter->key.kind != KIND_FLOATING)
		window->in_gateway_bytes += row->counts.in_bytes;
	window->unfit |= row->flags & (FLAG_CATCHUP | FLAG_UNKNOWN_START | FLAG_RESET | FLAG_GAP);
}

/* The ledger adds a row and then its meter as it is after that, so both stand in one order. */
void window_add(struct window *window, const struct batch *batch, const struct batch_mark *mark)
{
	unsigned at = mark->meters;

	for (unsigned i = mark->usage; i < batch->usage->len; i++) {
		const struct usage *row = &g_array_index(batch->usage, struct usage, i);

		while (((struct meter *)batch->meters->pdata[at])->id != row->meter)
			at++;
		add_row(window, row, batch->meters->pdata[at]);
	}
	for (unsigned i = mark->coverage; i < batch->coverage->len; i++)
		window->unfit |= ((struct coverage *)batch->coverage->pdata[i])->state == STATE_GAP;
}

/* ---- what went through ---- */

struct passed { /* in a window */
	struct device_traffic outside, inside, loopback;
	uint64_t ip, ip_to_many;
	bool prompt; /* all but loopback are */
};

static bool differs(uint64_t *sum, uint64_t from, uint64_t to)
{
	*sum += to - from;
	return to < from;
}

/* False if the device does not go on where it was. */
static bool add_device(struct passed *passed, const struct device_traffic *from, const struct device_traffic *to)
{
	struct device_traffic *sum = to->side == SIDE_OUTSIDE ? &passed->outside :
	                             to->side == SIDE_INSIDE ? &passed->inside : &passed->loopback;

	passed->prompt &= to->prompt || to->side == SIDE_LOOPBACK;
	return from->index == to->index && from->side == to->side &&
	       !(differs(&sum->received, from->received, to->received) | differs(&sum->received6, from->received6, to->received6) |
	         differs(&sum->sent, from->sent, to->sent) | differs(&sum->sent6, from->sent6, to->sent6) |
	         differs(&sum->received_packets, from->received_packets, to->received_packets) |
	         differs(&sum->sent_packets, from->sent_packets, to->sent_packets));
}

static bool find_passed(const struct traffic *from, const struct traffic *to, struct passed *passed)
{
	*passed = (struct passed){ .ip = to->ip - from->ip, .ip_to_many = to->ip_to_many - from->ip_to_many,
	                            .prompt = true };
	if (from->devices->len != to->devices->len || to->ip < from->ip || to->ip_to_many < from->ip_to_many)
		return false;
	for (unsigned i = 0; i < to->devices->len; i++)
		if (!add_device(passed, &g_array_index(from->devices, struct device_traffic, i),
		                &g_array_index(to->devices, struct device_traffic, i)))
			return false;
	return true;
}

/* ---- judging ---- */

static uint64_t less(uint64_t from, uint64_t part)
{
	return from > part ? from - part : 0;
}

/* At most. */
static uint64_t received4(const struct device_traffic *device)
{
	return less(device->received, device->received6);
}

/* At least. */
static uint64_t received4_bare(const struct device_traffic *device)
{
	return less(received4(device), ETHERNET_HEADER * device->received_packets);
}

static uint64_t find_residue_in(const struct window *window, const struct passed *passed)
{
	uint64_t by_others = received4(&passed->inside) + passed->loopback.received;
	uint64_t by_ip = less(passed->ip, passed->ip_to_many + by_others + window->in_bytes);
	uint64_t by_devices = less(received4_bare(&passed->outside), window->in_bytes);

	return less(MIN(by_ip, by_devices), PADDING_MAX * window->in_packets);
}

static uint64_t find_residue_out(const struct window *window, const struct passed *passed)
{
	const struct device_traffic *outside = &passed->outside;
	uint64_t headers = ETHERNET_HEADER * outside->sent_packets;
	uint64_t by_sent = less(outside->sent, headers + outside->sent6 + window->out_bytes + window->in_gateway_bytes);

	return MIN(by_sent, less(received4_bare(&passed->inside), window->out_bytes));
}

/* Each packet counts once as `in` at most, and once as `out`, and that only if it came from inside; where it is sent, it may
 * have come before, and waited in a queue. */
static struct bound find_most(const struct passed *passed, enum basis basis)
{
	uint64_t times = basis == BASIS_SKB ? 1 : WIRE_MAX;
	uint64_t inside = passed->inside.received, all = inside + passed->outside.received;

	uint64_t out = inside + (basis == BASIS_WIRE_SENT ? passed->outside.sent : 0);

	return (struct bound){ .in_bytes = all * times, .out_bytes = out * times };
}

static uint64_t find_excess(const struct window *window, const struct passed *passed, enum basis basis)
{
	struct bound most = find_most(passed, basis);

	return MAX(less(window->in_bytes, most.in_bytes), less(window->out_bytes, most.out_bytes));
}

static bool is_grave(uint64_t bytes, uint64_t of)
{
	return bytes >= RESIDUE_MIN && bytes > of / RESIDUE_SHARE;
}

bool window_judge(const struct window *window, const struct traffic *to, enum basis basis, struct residue *residue)
{
	struct passed passed;

	if (!window->from || window->unfit || !to || !find_passed(window->from, to, &passed))
		return false;
	*residue = (struct residue){
		.start_us = window->from->at.utc_us, .end_us = MAX(to->at.utc_us, window->from->at.utc_us),
		.received = passed.outside.received, .sent = passed.outside.sent, .in = window->in_bytes, .out = window->out_bytes,
		.residue_in = find_residue_in(window, &passed), .residue_out = find_residue_out(window, &passed),
		.excess = find_excess(window, &passed, basis),
	};
	residue->flagged = is_grave(residue->residue_in, residue->received) || is_grave(residue->residue_out, residue->sent) ||
	                   is_grave(residue->excess, passed.inside.received + passed.outside.received);
	return true;
}

void window_learn(struct window *window, const struct residue *residue)
{
	if (residue->in || residue->out)
		window->proven = !residue->excess;
}

struct bound window_bound(const struct window *window, const struct traffic *to, enum basis basis)
{
	struct passed passed;
	struct bound most = { 0 };

	if (!window->proven || !window->earlier || !to || !find_passed(window->earlier, to, &passed) || !passed.prompt)
		return most;
	most = find_most(&passed, basis);
	most.in_bytes += BOUND_SLACK;
	most.out_bytes += BOUND_SLACK;
	most.since_us = window->earlier->at.boot_us;
	return most;
}

char *residue_describe(const struct residue *residue)
{
	if (!residue->flagged)
		return NULL;
	if (residue->excess >= RESIDUE_MIN)
		return g_strdup_printf("residue: %" G_GUINT64_FORMAT " bytes more were counted than the devices received",
		                       residue->excess);
	if (is_grave(residue->residue_in, residue->received))
		return g_strdup_printf("residue: of %" G_GUINT64_FORMAT " bytes from outside at least %" G_GUINT64_FORMAT
		                       " were counted for no address", residue->received, residue->residue_in);
	return g_strdup_printf("residue: of %" G_GUINT64_FORMAT " bytes to the outside at least %" G_GUINT64_FORMAT
	                       " were counted for no address", residue->sent, residue->residue_out);
}

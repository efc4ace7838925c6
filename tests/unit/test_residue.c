/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * core/residue.c: a made-up router whose devices, IP statistics and counters agree to the byte, and then one of them does
 * not.  Frames have 14 bytes before their IP packet, as over veth; or none, as over a bridge of Open vSwitch.
 */
#include "core/residue.h"

#include <string.h>

#define MIB ((uint64_t)1 << 20)
#define SECOND INT64_C(1000000)

enum { LO, QG, QR, DEVICES };

struct world {
	struct traffic *now;
	struct window window;
	unsigned header; /* bytes before the IP packet in what devices say they received */
};

static struct device_traffic *device(struct traffic *traffic, unsigned i)
{
	return &g_array_index(traffic->devices, struct device_traffic, i);
}

static struct traffic *copy(const struct traffic *traffic)
{
	struct traffic *new = traffic_new();

	new->at = traffic->at;
	new->ip = traffic->ip;
	new->ip_to_many = traffic->ip_to_many;
	g_array_append_vals(new->devices, traffic->devices->data, traffic->devices->len);
	return new;
}

static void setup(struct world *world, const void *data)
{
	static const struct device_traffic fresh[DEVICES] = {
		[LO] = { .index = 1, .side = SIDE_LOOPBACK }, [QG] = { .index = 7, .side = SIDE_OUTSIDE },
		[QR] = { .index = 8, .side = SIDE_INSIDE },
	};

	world->header = 14;
	world->now = traffic_new();
	world->now->at = (struct instant){ .utc_us = 100 * SECOND, .boot_us = SECOND };
	g_array_append_vals(world->now->devices, fresh, DEVICES);
	world->window = (struct window){ .from = copy(world->now) };
	world->now->at.utc_us += 60 * SECOND;
	world->now->at.boot_us += 60 * SECOND;
}

static void teardown(struct world *world, const void *data)
{
	window_clear(&world->window);
	traffic_free(world->now);
}

/* IPv4 packets that come in by one device and leave by another (DEVICES: stay). */
static void pass(struct world *world, unsigned in, unsigned out, uint64_t bytes, uint64_t packets)
{
	device(world->now, in)->received += bytes + world->header * packets;
	device(world->now, in)->received_packets += packets;
	world->now->ip += bytes;
	if (out == DEVICES)
		return;
	device(world->now, out)->sent += bytes + 14 * packets;
	device(world->now, out)->sent_packets += packets;
}

static void count_in(struct world *world, uint64_t bytes, uint64_t packets)
{
	world->window.in_bytes += bytes;
	world->window.in_packets += packets;
}

static struct residue judge(struct world *world)
{
	struct residue residue = { 0 };

	g_assert_true(window_judge(&world->window, world->now, BASIS_SKB, &residue));
	return residue;
}

/* 100 MiB both ways, all of it counted. */
static void carry(struct world *world)
{
	pass(world, QG, QR, 100 * MIB, 100000);
	count_in(world, 100 * MIB, 100000);
	pass(world, QR, QG, 100 * MIB, 100000);
	world->window.out_bytes += 100 * MIB;
}

static void assert_clean(struct world *world)
{
	struct residue residue = judge(world);

	g_assert_cmpuint(residue.residue_in, ==, 0);
	g_assert_cmpuint(residue.residue_out, ==, 0);
	g_assert_cmpuint(residue.excess, ==, 0);
	g_assert_false(residue.flagged);
	g_assert_null(residue_describe(&residue));
}

static void test_all_is_counted(struct world *world, const void *data)
{
	struct residue residue;

	carry(world);
	assert_clean(world);
	residue = judge(world);
	g_assert_cmpuint(residue.received, ==, 100 * MIB + 14 * 100000);
	g_assert_cmpuint(residue.sent, ==, 100 * MIB + 14 * 100000);
	g_assert_cmpuint(residue.in, ==, 100 * MIB);
	g_assert_cmpuint(residue.out, ==, 100 * MIB);
	g_assert_cmpint(residue.start_us, ==, 100 * SECOND);
	g_assert_cmpint(residue.end_us, ==, 160 * SECOND);
}

static void test_devices_that_count_no_headers(struct world *world, const void *data)
{
	world->header = 0;
	carry(world);
	assert_clean(world);
}

static void test_address_that_nobody_counts(struct world *world, const void *data)
{
	struct residue residue;
	g_autofree char *text = NULL;

	carry(world);
	pass(world, QG, DEVICES, 20 * MIB, 20000);
	residue = judge(world);
	/* headers inside and padding outside may be of it, and are taken off */
	g_assert_cmpuint(residue.residue_in, >, 15 * MIB);
	g_assert_cmpuint(residue.residue_in, <=, 20 * MIB);
	g_assert_cmpuint(residue.residue_out, ==, 0);
	g_assert_true(residue.flagged);
	text = residue_describe(&residue);
	g_assert_nonnull(strstr(text, "from outside"));
}

static void test_outbound_that_nobody_counts(struct world *world, const void *data)
{
	struct residue residue;
	g_autofree char *text = NULL;

	carry(world);
	pass(world, QR, QG, 20 * MIB, 20000);
	residue = judge(world);
	g_assert_cmpuint(residue.residue_in, ==, 0);
	g_assert_cmpuint(residue.residue_out, ==, 20 * MIB);
	g_assert_true(residue.flagged);
	text = residue_describe(&residue);
	g_assert_nonnull(strstr(text, "to the outside"));
}

/* Each of these is much, and by design not counted, or never came so far. */
static void test_by_design(struct world *world, const void *data)
{
	static const char *const cases[] = { "inside", "arp", "ipv6", "policed", "broadcast", "loopback", "echo", "tunnel", "wrapped" };

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct traffic *before = copy(world->now);
		struct window window = world->window;
		struct device_traffic *qg = device(world->now, QG), *qr = device(world->now, QR);

		switch (i) {
		case 0: /* between two subnets */
			pass(world, QR, QR, 500 * MIB, 500000);
			break;
		case 1: /* and what a switch floods to everybody */
			qg->received += 500 * MIB;
			break;
		case 2: /* forwarded both ways */
			qg->received += 500 * MIB, qg->received6 += 490 * MIB, qg->sent += 500 * MIB, qg->sent6 += 490 * MIB;
			qr->received += 500 * MIB, qr->received6 += 490 * MIB;
			qg->sent_packets += 1000000;
			break;
		case 3: /* dropped before IP sees it */
			qg->received += 500 * MIB;
			break;
		case 4:
			pass(world, QG, DEVICES, 500 * MIB, 500000);
			world->now->ip_to_many += 500 * MIB;
			break;
		case 5:
			device(world->now, LO)->received += 500 * MIB;
			world->now->ip += 500 * MIB;
			qg->received += 500 * MIB; /* of frames for others */
			qg->received_packets += 500000;
			break;
		case 6: /* the router answers a flood of pings, while it carries much inside */
			pass(world, QG, QG, 500 * MIB, 500000);
			count_in(world, 500 * MIB, 500000);
			world->window.in_gateway_bytes += 500 * MIB;
			pass(world, QR, QR, 500 * MIB, 500000);
			break;
		case 7: /* what a VPN of the router unpacks is received a second time, by the same device */
			pass(world, QG, QR, 500 * MIB, 500000);
			count_in(world, 500 * MIB, 500000);
			world->now->ip += 480 * MIB;
			break;
		case 8: /* and what it packs is longer when it leaves; so is what a limiter has split */
			pass(world, QR, QG, 500 * MIB, 500000);
			world->window.out_bytes += 500 * MIB;
			qg->sent += 50 * MIB;
			break;
		}
		g_test_message("%s", cases[i]);
		assert_clean(world);
		traffic_free(world->now);
		world->now = before;
		world->window = window;
	}
}

/* Acknowledgements of 40 bytes come in frames for 46. */
static void test_padding_is_no_residue(struct world *world, const void *data)
{
	pass(world, QG, QR, 46 * 1000000, 1000000);
	count_in(world, 40 * 1000000, 1000000);
	assert_clean(world);
}

static void test_little_is_shown_and_not_flagged(struct world *world, const void *data)
{
	struct residue residue;

	pass(world, QG, DEVICES, MIB - 1, 1000);
	residue = judge(world);
	g_assert_cmpuint(residue.residue_in, ==, MIB - 1);
	g_assert_false(residue.flagged);
	pass(world, QG, DEVICES, 1, 0);
	g_assert_true(judge(world).flagged);
	/* and not where it is a small part of much */
	pass(world, QG, QR, 15 * MIB, 100);
	count_in(world, 15 * MIB, 100);
	residue = judge(world);
	g_assert_cmpuint(residue.residue_in, >, MIB - 4096);
	g_assert_false(residue.flagged);
}

static void test_more_counted_than_received(struct world *world, const void *data)
{
	struct residue residue;
	g_autofree char *text = NULL;

	carry(world);
	count_in(world, 150 * MIB, 0); /* 200 came in all */
	residue = judge(world);
	g_assert_cmpuint(residue.excess, ==, 250 * MIB - 200 * MIB - 2 * 14 * 100000);
	g_assert_true(residue.flagged);
	text = residue_describe(&residue);
	g_assert_nonnull(strstr(text, "more were counted"));
	/* on the wire that may be headers of small segments */
	g_assert_true(window_judge(&world->window, world->now, BASIS_WIRE, &residue));
	g_assert_cmpuint(residue.excess, ==, 0);
	count_in(world, UINT64_C(1) << 50, 0);
	g_assert_true(window_judge(&world->window, world->now, BASIS_WIRE, &residue));
	g_assert_cmpuint(residue.excess, >, 0);
}

/* What waited in the queue of the external device when the last window ended. */
static void test_out_that_counts_where_it_is_sent_may_have_come_before(struct world *world, const void *data)
{
	struct residue residue;

	device(world->now, QG)->sent += 2 * MIB;
	device(world->now, QG)->sent_packets += 2000;
	world->window.out_bytes += 2 * MIB - 14 * 2000;
	g_assert_true(window_judge(&world->window, world->now, BASIS_WIRE, &residue));
	g_assert_true(residue.flagged);
	g_assert_true(window_judge(&world->window, world->now, BASIS_WIRE_SENT, &residue));
	g_assert_cmpuint(residue.excess, ==, 0);
	g_assert_cmpuint(residue.residue_out, ==, 0);
	g_assert_false(residue.flagged);
}

static void test_more_out_than_came_from_inside(struct world *world, const void *data)
{
	carry(world);
	world->window.out_bytes += 50 * MIB;
	g_assert_cmpuint(judge(world).excess, ==, 50 * MIB - 14 * 100000);
}

static void test_what_cannot_be_judged(struct world *world, const void *data)
{
	struct residue residue = { .in = 77 };
	struct traffic *from = copy(world->now), *other;

	carry(world);
	g_assert_false(window_judge(&world->window, NULL, BASIS_SKB, &residue));
	world->window.unfit = true;
	g_assert_false(window_judge(&world->window, world->now, BASIS_SKB, &residue));
	window_begin(&world->window, NULL);
	g_assert_false(window_judge(&world->window, world->now, BASIS_SKB, &residue));
	/* a device that was made anew, one that is gone, one whose counters were set back, another namespace */
	window_begin(&world->window, from);
	for (unsigned i = 0; i < 5; i++) {
		other = copy(world->now);
		if (i == 0)
			device(other, QG)->index = 9;
		else if (i == 1)
			g_array_remove_index(other->devices, QR);
		else if (i == 2)
			device(other, QG)->received = 0, device(from, QG)->received = 1;
		else if (i == 3)
			other->ip = 0, from->ip = 1;
		else
			device(other, QG)->side = SIDE_INSIDE;
		g_assert_false(window_judge(&world->window, other, BASIS_SKB, &residue));
		device(from, QG)->received = from->ip = 0;
		traffic_free(other);
	}
	g_assert_cmpuint(residue.in, ==, 77);
	g_assert_true(window_judge(&world->window, world->now, BASIS_SKB, &residue));
}

/* ---- what no counter can have counted more than ---- */

static void make_prompt(struct world *world)
{
	struct traffic *all[] = { world->window.from, world->now };

	for (unsigned i = 0; i < G_N_ELEMENTS(all); i++)
		device(all[i], QG)->prompt = device(all[i], QR)->prompt = true;
}

/* As the agent does at a sample. */
static void sample(struct world *world)
{
	struct residue residue;

	if (window_judge(&world->window, world->now, BASIS_SKB, &residue))
		window_learn(&world->window, &residue);
	window_begin(&world->window, copy(world->now));
	world->now->at.boot_us += 60 * SECOND;
}

static void test_bound_is_of_two_windows(struct world *world, const void *data)
{
	int64_t first_us = world->window.from->at.boot_us;
	struct bound most;

	make_prompt(world);
	carry(world);
	g_assert_cmpint(window_bound(&world->window, world->now, BASIS_SKB).since_us, ==, 0);
	sample(world);
	carry(world);
	most = window_bound(&world->window, world->now, BASIS_SKB);
	g_assert_cmpint(most.since_us, ==, first_us);
	g_assert_cmpuint(most.in_bytes, ==, 400 * MIB + 4 * 14 * 100000 + BOUND_SLACK);
	g_assert_cmpuint(most.out_bytes, ==, 200 * MIB + 2 * 14 * 100000 + BOUND_SLACK);
	g_assert_cmpuint(window_bound(&world->window, world->now, BASIS_WIRE).out_bytes, >, 100 * most.out_bytes);
	sample(world);
	most = window_bound(&world->window, world->now, BASIS_SKB);
	g_assert_cmpint(most.since_us, ==, first_us + 60 * SECOND);
	g_assert_cmpuint(most.in_bytes, ==, 200 * MIB + 2 * 14 * 100000 + BOUND_SLACK);
}

static void assert_unbound(struct world *world, const struct traffic *to)
{
	g_assert_cmpint(window_bound(&world->window, to, BASIS_SKB).since_us, ==, 0);
}

static void test_bound_of_devices_that_are_not_to_be_trusted(struct world *world, const void *data)
{
	make_prompt(world);
	sample(world); /* idle: nothing is proven */
	assert_unbound(world, world->now);
	carry(world);
	sample(world);
	g_assert_cmpint(window_bound(&world->window, world->now, BASIS_SKB).since_us, !=, 0);
	assert_unbound(world, NULL);
	device(world->now, QR)->prompt = false; /* a card */
	assert_unbound(world, world->now);
	device(world->now, QR)->prompt = true;
	device(world->now, QR)->index = 99;
	assert_unbound(world, world->now);
	device(world->now, QR)->index = 8;
	sample(world); /* idle: what was proven stays so */
	g_assert_cmpint(window_bound(&world->window, world->now, BASIS_SKB).since_us, !=, 0);
	count_in(world, 1, 1); /* what came in by no device that we see */
	sample(world);
	assert_unbound(world, world->now);
}

/* ---- what the ledger has booked ---- */

static void put_row(struct batch *batch, struct generation *of, enum kind kind, uint64_t in, uint64_t out, unsigned flags)
{
	int64_t id = batch->meters->len + 1;
	struct usage row = { .meter = id, .counts = { in, in / 100, out, out / 100 }, .flags = flags };
	struct meter *meter = g_new0(struct meter, 1);

	meter->id = id;
	meter->of = generation_ref(of);
	meter->key = (struct meter_key){ kind, 1, g_intern_string("internet") };
	g_array_append_val(batch->usage, row);
	g_ptr_array_add(batch->meters, meter);
	g_ptr_array_add(batch->meters, meter_copy(meter)); /* it ends in the same batch */
}

static void put_coverage(struct batch *batch, enum state state)
{
	struct coverage *coverage = g_new0(struct coverage, 1);

	coverage->state = state;
	g_ptr_array_add(batch->coverage, coverage);
}

static void test_what_is_booked_is_added(void)
{
	struct generation *of = generation_new("tag", "boot", "node", "ns", "router", BASIS_SKB);
	struct batch *batch = batch_new();
	struct window window = { 0 };
	struct batch_mark mark;

	put_row(batch, of, KIND_FLOATING, 1000, 1, FLAG_GAP);
	put_coverage(batch, STATE_GAP);
	mark = batch_mark(batch);
	put_row(batch, of, KIND_FLOATING, 3000, 700, FLAG_LATE | FLAG_MOVED);
	put_row(batch, of, KIND_GATEWAY, 200, 20, 0);
	put_row(batch, of, KIND_UNATTRIBUTED, 10, 2, 0);
	put_coverage(batch, STATE_METERED);
	window_add(&window, batch, &mark);
	g_assert_cmpuint(window.in_bytes, ==, 3210);
	g_assert_cmpuint(window.in_packets, ==, 32);
	g_assert_cmpuint(window.in_gateway_bytes, ==, 210);
	g_assert_cmpuint(window.out_bytes, ==, 722);
	g_assert_false(window.unfit);
	mark = batch_mark(batch);
	put_coverage(batch, STATE_GAP);
	window_add(&window, batch, &mark);
	g_assert_true(window.unfit);
	for (unsigned flag = 1; flag < FLAG_ALL; flag <<= 1) {
		window_clear(&window);
		mark = batch_mark(batch);
		put_row(batch, of, KIND_FLOATING, 1, 0, flag);
		window_add(&window, batch, &mark);
		g_assert_cmpint(window.unfit, ==, flag != FLAG_LATE && flag != FLAG_MOVED);
	}
	batch_free(batch);
	generation_unref(of);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(struct world *world, const void *data);
	} cases[] = {
		{ "all-is-counted", test_all_is_counted }, { "no-headers", test_devices_that_count_no_headers },
		{ "address-unknown", test_address_that_nobody_counts }, { "outbound", test_outbound_that_nobody_counts },
		{ "by-design", test_by_design }, { "padding", test_padding_is_no_residue },
		{ "little", test_little_is_shown_and_not_flagged }, { "excess-in", test_more_counted_than_received },
		{ "excess-out", test_more_out_than_came_from_inside },
		{ "sent-later", test_out_that_counts_where_it_is_sent_may_have_come_before }, { "not-judged", test_what_cannot_be_judged },
		{ "bound", test_bound_is_of_two_windows }, { "no-bound", test_bound_of_devices_that_are_not_to_be_trusted },
	};

	g_test_init(&argc, &argv, NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *path = g_strconcat("/residue/", cases[i].name, NULL);

		g_test_add(path, struct world, NULL, setup, cases[i].run, teardown);
	}
	g_test_add_func("/residue/booked", test_what_is_booked_is_added);
	return g_test_run();
}

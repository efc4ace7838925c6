/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fills a store through the writer that the agent has, as fast as it goes, and says how fast that was (one JSON object).
 *
 * A question over 30 days reads single rows at its two ends alone, and sums of hours and days between.  So that is what is
 * made: a row a minute and address in the first two hours and in the last two, between them one an hour.  All counts come
 * from the number of the row: the same arguments give the same store, but for the clock that it ends at.
 *
 * usage: store_fill DIRECTORY [ADDRESSES [DAYS]]
 */
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#define SECOND INT64_C(1000000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define FIRST_ADDRESS 0xc6120001u /* 198.18.0.1 */

struct fill {
	struct store *store;
	GTimeZone *utc;
	struct generation *of;
	GPtrArray *meters; /* of struct meter */
	int64_t start_us, now_us;
	uint64_t rows;
	double commit_s, tend_s, slowest_s; /* on the clock; the slowest commit of them */
};

static void give_up(const char *what, const GError *error)
{
	fprintf(stderr, "store_fill: %s: %s\n", what, error->message);
	exit(1);
}

static double seconds(void)
{
	return (double)g_get_monotonic_time() / SECOND;
}

static void tend(struct fill *fill)
{
	const struct store_keep keep = { .timezone = fill->utc, .rows_us = 400 * DAY, .hours_us = 400 * DAY };
	g_autoptr(GError) error = NULL;
	double began = seconds();
	bool more = true;

	while (more)
		if (!store_tend(fill->store, &keep, fill->now_us, &more, &error))
			give_up("summing up", error);
	fill->tend_s += seconds() - began;
}

static void commit(struct fill *fill, struct batch *batch)
{
	g_autoptr(GError) error = NULL;
	double began = seconds(), took;

	if (!store_commit(fill->store, batch, &error) || !store_save_baselines(fill->store, fill->meters, &error))
		give_up("committing", error);
	took = seconds() - began;
	fill->commit_s += took;
	fill->slowest_s = MAX(fill->slowest_s, took);
	fill->rows += batch->usage->len;
	batch_free(batch);
}

static void begin(struct fill *fill, unsigned addresses)
{
	struct batch *batch = batch_new();

	g_ptr_array_add(batch->generations, generation_ref(fill->of));
	for (unsigned i = 0; i < addresses; i++) {
		struct meter *meter = g_new0(struct meter, 1);

		meter->id = i + 1;
		meter->of = generation_ref(fill->of);
		meter->key = (struct meter_key){ KIND_FLOATING, FIRST_ADDRESS + i, g_intern_static_string("internet") };
		meter->fixed = 0x0a000001u + i;
		meter->first_at = meter->last_at = (struct instant){ fill->now_us, fill->now_us - fill->start_us + SECOND };
		g_ptr_array_add(fill->meters, meter);
		g_ptr_array_add(batch->meters, meter_copy(meter));
	}
	commit(fill, batch);
}

/* A sample in which every address has counted, length_us after the last one. */
static void sample(struct fill *fill, int64_t length_us)
{
	struct batch *batch = batch_new();
	struct instant now;

	fill->now_us += length_us;
	now = (struct instant){ fill->now_us, fill->now_us - fill->start_us + SECOND };
	fill->of->read_at = now;
	g_ptr_array_add(batch->generations, generation_ref(fill->of));
	for (unsigned i = 0; i < fill->meters->len; i++) {
		struct meter *meter = fill->meters->pdata[i];
		uint64_t mixed = (fill->rows + i + 1) * UINT64_C(0x9e3779b97f4a7c15);
		struct usage row = { .meter = meter->id, .start_us = meter->last_at.utc_us, .end_us = now.utc_us,
		                     .counts = { mixed >> 36, (mixed >> 46) + 1, mixed >> 38, (mixed >> 48) + 1 } };

		counts_add(&meter->last, &row.counts);
		meter->last_at = now;
		row.reading = meter->last;
		g_array_append_val(batch->usage, row);
		g_ptr_array_add(batch->meters, meter_copy(meter));
	}
	commit(fill, batch);
}

static void fill_all(struct fill *fill, unsigned addresses, unsigned days)
{
	int64_t end_us = g_get_real_time() / MINUTE * MINUTE;

	fill->now_us = fill->start_us = end_us - days * DAY - HOUR;
	begin(fill, addresses);
	while (fill->now_us < end_us) {
		bool fine = fill->now_us < fill->start_us + 2 * HOUR || fill->now_us >= end_us - 2 * HOUR;

		sample(fill, fine ? MINUTE : MIN(HOUR, end_us - 2 * HOUR - fill->now_us));
		tend(fill);
	}
}

static void report(const struct fill *fill, unsigned addresses, unsigned days)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	printf("{\"addresses\": %u, \"days\": %u, \"rows\": %" G_GUINT64_FORMAT ", \"commit_s\": %.2f, "
	       "\"rows_committed_per_s\": %.0f, \"slowest_commit_ms\": %.0f, \"sum_up_s\": %.2f, "
	       "\"cpu_s\": %.2f, \"max_rss_kib\": %ld}\n",
	       addresses, days, fill->rows, fill->commit_s, (double)fill->rows / fill->commit_s, fill->slowest_s * 1000,
	       fill->tend_s, (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / SECOND, usage.ru_maxrss);
}

int main(int argc, char **argv)
{
	unsigned addresses = argc > 2 ? (unsigned)atoi(argv[2]) : 10000, days = argc > 3 ? (unsigned)atoi(argv[3]) : 30;
	struct fill fill = { .utc = g_time_zone_new_utc() };
	g_autofree char *notice = NULL;
	g_autoptr(GError) error = NULL;

	if (argc < 2 || !addresses || !days) {
		fputs("usage: store_fill DIRECTORY [ADDRESSES [DAYS]]\n", stderr);
		return 2;
	}
	fill.store = store_open(argv[1], &notice, &error);
	if (!fill.store || !store_set_timezone(fill.store, fill.utc, &error))
		give_up(argv[1], error);
	fill.of = generation_new("00112233445566778899aabbccddeeff", "boot", "node", "qrouter-one",
	                         "3f1e9a52-7f0e-4d53-9a0c-4d5c1d3f8f6a", BASIS_SKB);
	fill.meters = g_ptr_array_new_with_free_func((GDestroyNotify)meter_free);
	fill_all(&fill, addresses, days);
	report(&fill, addresses, days);
	g_ptr_array_unref(fill.meters);
	generation_unref(fill.of);
	store_close(fill.store);
	g_time_zone_unref(fill.utc);
	return 0;
}

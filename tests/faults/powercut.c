/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The power is cut: at every write, sync, truncation and change of a name of a whole workload (births, samples,
 * checkpoints, sums, retention, a file of the first format, a damaged file set aside) the disk holds what it must, and any
 * part of the rest (power.h).  From each such image the store opens, SQLite finds it whole, it has every sample whose
 * commit had returned, whole or not at all the one that was in the making, and nothing else; and it goes on from there,
 * on the same kernel (sum exact) or after the machine has started anew (what is missing is at most one interval, and is
 * said).  The second home of the baselines is whole in each.
 *
 * powercut [IMAGES]   10,000 with FIPMETER_FAULTS=full
 */
#include "power.h"
#include "result.h"
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../scratch.h"
#include "../unit/old_format.h"
#include "store/baselines.h"

#define KEYS 8 /* of each site, in the beginning */

/* What is known at a note of the record. */
struct moment {
	struct tally booked;   /* in the file: what commits that returned have booked */
	struct tally pending;  /* by the commit that is being made; all zero: none is */
	struct tally aside;    /* in files that were set aside */
	int64_t saved;         /* commits that the second home has seen for certain */
	bool lossy;            /* a damaged file is being set aside */
	struct tally lost;     /* what it had */
	struct rig *kernel;    /* as it was; no store */
};

struct work {
	char *directory;
	struct rig *rig;
	GPtrArray *moments;
	struct moment now;
	GArray *record;
};

static unsigned images;
static struct result results[1];

/* ---- the workload ---- */

static void moment_free(void *data)
{
	rig_free(((struct moment *)data)->kernel);
	g_free(data);
}

static void note(struct work *work)
{
	struct moment *moment = g_memdup2(&work->now, sizeof work->now);

	moment->kernel = rig_new("", 0, 1);
	rig_copy_kernel(moment->kernel, work->rig);
	edge_note(work->moments->len);
	g_ptr_array_add(work->moments, moment);
}

static void on_commit(struct rig *rig, const struct batch *batch, bool done, void *data)
{
	struct work *work = data;

	if (!done)
		rig_tally_book(&work->now.pending, batch);
	else {
		rig_tally_add(&work->now.booked, &work->now.pending);
		memset(&work->now.pending, 0, sizeof work->now.pending);
	}
	note(work);
}

static void open_store(struct work *work, const char *expected)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *notice = NULL;

	rig_open(work->rig, &notice, &error);
	g_assert_no_error(error);
	g_assert_true(expected ? notice && strstr(notice, expected) : !notice);
	note(work);
}

static void samples(struct work *work, unsigned n)
{
	g_autoptr(GError) error = NULL;

	while (n--) {
		rig_pass(work->rig);
		note(work);
		rig_cycle(work->rig, &error);
		g_assert_no_error(error);
		note(work);
	}
}

/* Nothing but a checkpoint writes to the database itself. */
static void sample_until_checkpoint(struct work *work)
{
	g_autofree char *path = g_build_filename(work->directory, STORE_FILE, NULL);
	struct stat before, after;
	unsigned n = 0;

	g_assert_no_errno(stat(path, &before));
	do {
		samples(work, 1);
		g_assert_no_errno(stat(path, &after));
		g_assert_cmpuint(n++, <, 200);
	} while (before.st_mtim.tv_nsec == after.st_mtim.tv_nsec);
}

static void tend(struct work *work, unsigned keep_days)
{
	g_autoptr(GError) error = NULL;

	rig_tend(work->rig, keep_days, &error);
	g_assert_no_error(error);
}

/* The first format had no sums. */
static void make_format_1(struct work *work)
{
	g_autofree char *path = g_build_filename(work->directory, STORE_FILE, NULL), *third = old_format_3();
	sqlite3 *db;

	g_assert_cmpint(sqlite3_open(path, &db), ==, SQLITE_OK);
	g_assert_cmpint(sqlite3_exec(db, "PRAGMA journal_mode = DELETE; PRAGMA foreign_keys = OFF", NULL, NULL, NULL), ==, SQLITE_OK);
	g_assert_cmpint(sqlite3_exec(db, third, NULL, NULL, NULL), ==, SQLITE_OK);
	g_assert_cmpint(sqlite3_exec(db, "DROP VIEW residue; "
		"DROP TABLE residue_fact; DROP VIEW booked; DROP VIEW hour; DROP VIEW day; DROP TABLE hour_fact; DROP TABLE day_fact; DROP TABLE rollup; "
		"DROP TABLE kept; PRAGMA user_version = 1; PRAGMA journal_mode = WAL", NULL, NULL, NULL), ==, SQLITE_OK);
	sqlite3_close(db);
}

/* Turns over a part of the database that is read at every start; durable at once. */
static void damage(struct work *work)
{
	g_autofree char *path = g_build_filename(work->directory, STORE_FILE, NULL);
	static const char rubbish[4096] = "rubbish";
	int fd = open(path, O_RDWR | O_CLOEXEC);

	work->now.lossy = true;
	work->now.lost = work->now.booked;
	note(work);
	g_assert_cmpint(pwrite(fd, rubbish, sizeof rubbish, 4096), ==, sizeof rubbish);
	g_assert_cmpint(fsync(fd), ==, 0);
	close(fd);
}

static void do_work(struct work *work)
{
	/* what is before the record: a file of the first format */
	edge_watch(work->directory);
	work->rig->on_commit = on_commit;
	work->rig->data = work;
	open_store(work, NULL);
	samples(work, 2);
	rig_close(work->rig);
	make_format_1(work);
	g_ptr_array_set_size(work->moments, 0);
	edge_record();
	note(work);
	open_store(work, "from format 1");
	samples(work, 3);
	rig_plan_more(work->rig, 0, 10);
	rig_plan_fewer(work->rig, 1, 3);
	samples(work, 2);
	tend(work, 0);
	sample_until_checkpoint(work);
	rig_plan_more(work->rig, 2, 200);
	samples(work, 3);
	work->rig->now.utc_us += 2 * 3600 * INT64_C(1000000);
	work->rig->now.boot_us += 2 * 3600 * INT64_C(1000000);
	tend(work, 0);
	samples(work, 2);
	work->rig->now.utc_us += 3 * 86400 * INT64_C(1000000);
	work->rig->now.boot_us += 3 * 86400 * INT64_C(1000000);
	samples(work, 1);
	tend(work, 1);
	rig_close(work->rig);
	open_store(work, NULL);
	rig_plan_fewer(work->rig, 2, 195);
	samples(work, 2);
	rig_close(work->rig);
	damage(work);
	open_store(work, "set aside");
	work->now.aside = work->now.lost;
	work->now.lossy = false;
	memset(&work->now.booked, 0, sizeof work->now.booked);
	note(work);
	samples(work, 3);
	tend(work, 0);
	rig_close(work->rig);
	note(work);
	work->record = edge_take_record();
	edge_leave();
}

static void set_up(struct work *work, const void *data)
{
	*work = (struct work){ .directory = scratch_new() };
	work->rig = rig_new(work->directory, KEYS, 20261126);
	work->moments = g_ptr_array_new_with_free_func(moment_free);
	edge_skip_syncs(true);
	do_work(work);
}

static void tear_down(struct work *work, const void *data)
{
	edge_leave();
	rig_remove_files(work->directory);
	g_rmdir(work->directory);
	rig_free(work->rig);
	g_ptr_array_unref(work->moments);
	g_array_unref(work->record);
	g_free(work->directory);
}

/* ---- one image ---- */

struct image {
	const struct moment *moment;
	struct rig *rig;
	char *path, *trouble; /* trouble: what does not hold, or NULL */
	bool reboots;
	unsigned gaps;
};

static bool trouble(struct image *image, const char *format, ...) G_GNUC_PRINTF(2, 3);

static bool trouble(struct image *image, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	image->trouble = g_strdup_vprintf(format, arguments);
	va_end(arguments);
	return false;
}

static struct tally sum_of(const struct tally *a, const struct tally *b)
{
	struct tally sum = *a;

	rig_tally_add(&sum, b);
	return sum;
}

/* Every commit that had returned is there, the one in the making whole or not at all. */
static bool check_booked(struct image *image, struct tally *booked)
{
	const struct moment *moment = image->moment;
	struct tally whole = sum_of(&moment->booked, &moment->pending);

	if (!rig_read_booked(image->path, booked, &image->gaps))
		return trouble(image, "the database cannot be read");
	if (rig_tally_equal(booked, &moment->booked) || rig_tally_equal(booked, &whole) ||
	    (moment->lossy && !rig_tally_bytes(booked)))
		return true;
	return trouble(image, "%" G_GUINT64_FORMAT " bytes are booked, not %" G_GUINT64_FORMAT " or %" G_GUINT64_FORMAT,
	               rig_tally_bytes(booked), rig_tally_bytes(&moment->booked), rig_tally_bytes(&whole));
}

static bool check_second_home(struct image *image)
{
	SCOPED(baselines) *second = NULL;
	bool damaged;

	second = baselines_load(image->rig->directory, &damaged);
	return second ? true : trouble(image, "no second home is whole");
}

static bool check_audit(struct image *image)
{
	g_autofree char *findings = rig_findings(image->rig->store);

	return *findings ? trouble(image, "the audit: %s", findings) : true;
}

/* One more reading, on the same kernel or another, and the sums are what they must be. */
static bool go_on(struct image *image, const struct tally *booked)
{
	const struct moment *moment = image->moment;
	struct tally before, after, expected;
	g_autoptr(GError) error = NULL;
	unsigned gaps = image->gaps;

	before = image->rig->truth;
	for (unsigned i = 0; i < 2; i++) {
		rig_pass(image->rig);
		if (!rig_cycle(image->rig, &error))
			return trouble(image, "the next sample: %s", error->message);
	}
	if (!rig_read_booked(image->path, &after, &image->gaps))
		return trouble(image, "the database cannot be read after the next sample");
	if (!image->reboots) {
		struct tally all = sum_of(&after, &moment->aside);

		if (moment->lossy && !rig_tally_bytes(booked))
			rig_tally_add(&all, &moment->lost);
		results[0].expected += rig_tally_bytes(&image->rig->truth);
		results[0].found += rig_tally_bytes(&all);
		results[0].overcounts += rig_tally_exceeds(&all, &image->rig->truth);
		return rig_tally_equal(&all, &image->rig->truth) ? true : trouble(image, "after the next sample %"
			G_GUINT64_FORMAT " bytes are booked of %" G_GUINT64_FORMAT, rig_tally_bytes(&all),
			rig_tally_bytes(&image->rig->truth));
	}
	/* what passed since the last commit went with the counters; what came after is all there */
	expected = sum_of(booked, &image->rig->truth);
	rig_tally_add(&after, &before);
	if (!rig_tally_equal(&after, &expected))
		return trouble(image, "after the machine came up again what passed is not what is booked");
	return image->gaps > gaps ? true : trouble(image, "what is missing after a new start is not said");
}

static bool check_image(struct image *image)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *notice = NULL;
	struct tally booked;

	if (image->reboots)
		rig_reboot(image->rig);
	if (!rig_open(image->rig, &notice, &error))
		return trouble(image, "does not open: %s", error->message);
	if (notice && !image->moment->lossy && !strstr(notice, "from format 1"))
		return trouble(image, "%s", notice);
	return check_booked(image, &booked) && check_audit(image) && check_second_home(image) && go_on(image, &booked) &&
	       check_audit(image);
}

/* Makes the image and looks at it.  Returns what is wrong with it, or NULL. */
static char *try_image(struct work *work, struct power *power, int64_t at, unsigned number, GRand *random,
                       const char *directory)
{
	struct image image = { .moment = work->moments->pdata[at], .reboots = number % 2 };

	rig_remove_files(directory);
	power_make_image(power, number % POWER_LOSSES, random, directory);
	edge_watch(directory);
	image.rig = rig_new(directory, 0, g_rand_int(random));
	rig_copy_kernel(image.rig, image.moment->kernel);
	image.path = g_build_filename(directory, STORE_FILE, NULL);
	check_image(&image);
	results[0].gaps += image.reboots && !image.trouble;
	rig_free(image.rig);
	g_free(image.path);
	return image.trouble;
}

/* Images over the whole record.  Returns how many do not hold; the first few are told. */
static unsigned try_images(struct work *work, unsigned n, bool lying)
{
	struct power *power = power_new(work->record, lying);
	g_autofree char *directory = scratch_new();
	GRand *random = g_rand_new_with_seed(n);
	unsigned failures = 0, first = 0;
	int64_t at;

	/* what stood there when the record began */
	while (g_array_index(work->record, struct edge_change, first).op != OP_NOTE)
		first++;
	for (unsigned i = 0; i < n; i++) {
		unsigned span = work->record->len - first - 1;
		unsigned cut = first + 1 + (unsigned)((uint64_t)i * span / n);
		g_autofree char *found = NULL;

		power_run_to(power, cut, &at);
		found = try_image(work, power, at, i, random, directory);
		if (found && failures++ < 5)
			g_test_message("image %u (before change %u of %u, %u not synced): %s", i, cut, work->record->len,
			               power_unsynced(power), found);
	}
	edge_leave();
	rig_remove_files(directory);
	g_rmdir(directory);
	g_rand_free(random);
	power_free(power);
	return failures;
}

static void test_every_image(struct work *work, const void *data)
{
	unsigned failures = try_images(work, images, false);

	g_test_message("%u images of %u changes, %u do not hold", images, work->record->len, failures);
	results[0].times = images;
	results[0].failures = failures;
	results[0].sums = true;
	results[0].note = g_strdup_printf("%u changes recorded; gaps: images after which the machine started anew, each says "
	                                  "what is missing", work->record->len);
	g_assert_cmpuint(failures, ==, 0);
}

/* The test can fail: a disk that forgets what it was told to sync loses commits, and that is found. */
static void test_disk_that_lies(struct work *work, const void *data)
{
	g_assert_cmpuint(try_images(work, MIN(images, 30), true), >, 0);
}

int main(int argc, char **argv)
{
	int status;

	images = result_times(&argc, argv, 300, 10000);
	results[0].fault = "power cut";
	g_test_init(&argc, &argv, NULL);
	g_test_add("/power-cut/every-image", struct work, NULL, set_up, test_every_image, tear_down);
	g_test_add("/power-cut/a-disk-that-lies-is-found", struct work, NULL, set_up, test_disk_that_lies, tear_down);
	status = g_test_run();
	result_write("powercut", results, 1);
	return status;
}

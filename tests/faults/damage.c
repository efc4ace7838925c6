/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The files of the store are damaged: turned bits, rubbish, zeros, swapped pages, cut ends, nothing at all, a -wal of
 * another file; the database, its -wal, the second home, several of them; while the agent is away, or under its hands
 * without a sign of it, so that the damage is met when a page is read.  Each time the store opens or goes on, the next
 * sample is in the books (at the second try at the latest, which the agent makes at once), what was set aside is told with
 * its name, and nothing is billed twice: a new store holds nothing that the old one had booked.  Damage that stays in a
 * file in use is either found by the audit, or changes no sum.
 *
 * damage [PLACES]   10,000 with FIPMETER_FAULTS=full
 */
#include "edge.h"
#include "result.h"
#include "rig.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../scratch.h"
#include "store/sql.h"

#define PAGE 4096

static unsigned places;
static struct result results[2];

/* ---- what is damaged ---- */

enum { STOPPED, KILLED, YOUNG, STATES };
enum how { TURN_BIT, RUBBISH, ZERO_PAGE, SWAP_PAGES, CUT, EMPTY, ALL_RUBBISH, MISSING, OF_ANOTHER, HOWS };

static const char *const how_names[HOWS] = {
	"a bit turned", "rubbish", "a page zeroed", "two pages swapped", "cut", "emptied", "all rubbish", "missing",
	"of another store",
};

static const char *const names[] = {
	STORE_FILE, STORE_FILE, STORE_FILE, STORE_FILE "-wal", STORE_FILE "-wal", "baselines.0", "baselines.1",
};

struct world {
	char *states[STATES], *directory;
	struct rig *rigs[STATES];          /* not open: the counters as they are then */
	struct tally booked[STATES];
	GRand *random;
	unsigned aside, older, refused, by_audit, harmless, renewed; /* what came of it */
};

static void samples(struct rig *rig, unsigned n)
{
	g_autoptr(GError) error = NULL;

	while (n--) {
		rig_pass(rig);
		rig_cycle(rig, &error);
		g_assert_no_error(error);
	}
}

static void make_state(struct world *world, unsigned state)
{
	struct rig *rig = world->rigs[state] = rig_new(world->states[state], state == YOUNG ? 1 : 20, 100 + state);
	g_autofree char *path = g_build_filename(world->states[state], STORE_FILE, NULL), *notice = NULL;
	g_autoptr(GError) error = NULL;

	rig_open(rig, &notice, &error);
	g_assert_no_error(error);
	samples(rig, state == YOUNG ? 1 : 6);
	if (state != YOUNG) {
		rig_plan_fewer(rig, 0, 3);
		samples(rig, 3);
		rig->now.utc_us += 90 * MINUTE_US;
		rig->now.boot_us += 90 * MINUTE_US;
		rig_tend(rig, 0, &error);
		g_assert_no_error(error);
		samples(rig, 4);
	}
	if (state == KILLED) {
		rig_close(rig);
		g_assert_true(rig_open(rig, &notice, &error));
		samples(rig, 3);
		rig_kill(rig);
	} else {
		rig_close(rig);
	}
	g_assert_true(rig_read_booked(path, &world->booked[state], NULL));
	g_assert_true(rig_tally_equal(&world->booked[state], &rig->truth));
}

static void set_up(struct world *world, const void *data)
{
	*world = (struct world){ .directory = scratch_new() };
	world->random = g_rand_new_with_seed(5);
	for (unsigned i = 0; i < STATES; i++) {
		world->states[i] = scratch_new();
		edge_watch(world->states[i]);
		edge_skip_syncs(true);
		make_state(world, i);
	}
	edge_watch(world->directory);
}

static void tear_down(struct world *world, const void *data)
{
	edge_leave();
	for (unsigned i = 0; i < STATES; i++) {
		rig_free(world->rigs[i]);
		rig_remove_files(world->states[i]);
		g_rmdir(world->states[i]);
		g_free(world->states[i]);
	}
	rig_remove_files(world->directory);
	g_rmdir(world->directory);
	g_free(world->directory);
	g_rand_free(world->random);
}

/* ---- doing it ---- */

static int64_t below(struct world *world, int64_t n)
{
	return n > 0 ? g_rand_int_range(world->random, 0, MIN(n, G_MAXINT32)) : 0;
}

static void fill(struct world *world, char *data, gsize length)
{
	for (gsize i = 0; i < length; i++)
		data[i] = g_rand_int(world->random);
}

static void damage_data(struct world *world, enum how how, char *data, gsize *length)
{
	gsize at = below(world, *length), page = at / PAGE * PAGE, other = below(world, *length / PAGE) * PAGE;
	gsize some = 1 + below(world, 600);
	char kept[PAGE];

	switch (how) {
	case TURN_BIT:
		data[at] ^= 1 << below(world, 8);
		break;
	case RUBBISH:
		fill(world, data + at, MIN(*length - at, some));
		break;
	case ZERO_PAGE:
		memset(data + page, 0, MIN(PAGE, *length - page));
		break;
	case SWAP_PAGES:
		if (page + PAGE > *length || other + PAGE > *length)
			break;
		memcpy(kept, data + page, PAGE);
		memcpy(data + page, data + other, PAGE);
		memcpy(data + other, kept, PAGE);
		break;
	case CUT:
		*length = at;
		break;
	case EMPTY:
		*length = 0;
		break;
	default:
		fill(world, data, *length);
	}
}

/* Over what stands there, so that an open file is the same; its time stays, as when a disk forgets. */
static void overwrite(const char *path, const char *data, gsize length, const struct timespec *time)
{
	FILE *file = fopen(path, "r+");
	const struct timespec times[] = { *time, *time };

	g_assert_true(file && fwrite(data, 1, length, file) == length && fflush(file) == 0);
	g_assert_no_errno(syscall(SYS_ftruncate, fileno(file), (long)length));
	g_assert_no_errno(futimens(fileno(file), times));
	fclose(file);
}

/* False: that cannot be done to that file, or changes nothing. */
static bool damage_file(struct world *world, const char *name, enum how how, unsigned state)
{
	g_autofree char *path = g_build_filename(world->directory, name, NULL), *data = NULL, *other = NULL, *before = NULL;
	gsize length, was;
	struct stat file;

	if (how == MISSING)
		return g_remove(path) == 0;
	if (how == OF_ANOTHER) {
		g_autofree char *source = g_build_filename(world->states[state == KILLED ? STOPPED : KILLED], name, NULL);

		if (!g_file_get_contents(source, &other, &length, NULL))
			return false;
		if (stat(path, &file) < 0)
			return g_file_set_contents(path, other, length, NULL);
		overwrite(path, other, length, &file.st_mtim);
		return true;
	}
	if (!g_file_get_contents(path, &data, &length, NULL) || !length || stat(path, &file) < 0)
		return false;
	before = g_memdup2(data, length);
	was = length;
	damage_data(world, how, data, &length);
	if (length == was && !memcmp(before, data, length))
		return false;
	overwrite(path, data, length, &file.st_mtim);
	return true;
}

/* ---- what must hold ---- */

struct place {
	unsigned state;
	bool second_home; /* is damaged, so that what was not booked may be lost */
	struct tally booked, before;  /* before: what the file in use has of the time before it was begun, or given up */
	struct rig *rig;
	char *path, *what, *trouble, *notice;
};

static void complain(struct place *place, const char *text)
{
	if (!place->trouble)
		place->trouble = g_strdup_printf("%s: %s", place->what, text);
}

/* The file that is named as set aside is there. */
static void check_told(struct world *world, struct place *place, const char *notice)
{
	const char *name = strstr(notice, STORE_FILE ".damaged-");
	g_autofree char *path = NULL, *file = NULL;

	if (!strstr(notice, "set aside as"))
		return;
	file = name ? g_strndup(name, strcspn(name, ";, ")) : g_strdup("");
	path = g_build_filename(world->directory, file, NULL);
	world->aside++;
	if (!g_file_test(path, G_FILE_TEST_EXISTS))
		complain(place, "what was set aside is not where the notice says");
}

static void judge_in_use(struct world *world, struct place *place, const struct tally *booked)
{
	g_autofree char *findings = rig_findings(place->rig->store);

	if (*findings)
		world->by_audit++;
	else if (rig_tally_equal(booked, &place->rig->truth))
		world->harmless++;
	else if (rig_tally_exceeds(booked, &place->rig->truth)) {
		results[0].overcounts++;
		complain(place, "more is booked than passed, and nothing finds it");
	} else {
		complain(place, "less is booked than passed, and nothing finds it");
	}
}

/* The file is another: it has all that passed since the last commit to the old one, and nothing else. */
static void judge_new(struct place *place, const struct tally *booked)
{
	struct tally all = place->booked;

	rig_tally_add(&all, booked);
	results[0].expected += rig_tally_bytes(&place->rig->truth);
	results[0].found += rig_tally_bytes(&all);
	if (rig_tally_exceeds(&all, &place->rig->truth)) {
		results[0].overcounts++;
		complain(place, "the new store has what the old one had booked");
	} else if (!place->second_home && !rig_tally_equal(&all, &place->rig->truth)) {
		complain(place, "the new store lacks something");
	}
}

/* Commits went with a -wal, which is told: what is left of the old, and all that came since. */
static void judge_older(struct world *world, struct place *place, const struct tally *booked)
{
	world->older++;
	if (rig_tally_exceeds(booked, &place->rig->truth)) {
		results[0].overcounts++;
		complain(place, "the new store id has what the old one had booked");
	}
}

/* What lies in pages that nobody has to read is met by who reads them. */
static void judge_unreadable(struct world *world, struct place *place)
{
	g_autofree char *findings = rig_findings(place->rig->store);

	if (*findings)
		world->by_audit++;
	else
		complain(place, "the store cannot be read, and nothing finds it");
}

static void check_sums(struct world *world, struct place *place, const char *notice)
{
	struct tally booked;

	if (!rig_read_booked(place->path, &booked, NULL))
		judge_unreadable(world, place);
	else if (notice && strstr(notice, "set aside as"))
		judge_new(place, &booked);
	else if (notice && (strstr(notice, "missing") || strstr(notice, "empty")))
		judge_new(place, &booked);
	else if (notice && strstr(notice, "a new store"))
		judge_older(world, place, &booked);
	else
		judge_in_use(world, place, &booked);
}

static bool sample(struct place *place)
{
	g_autoptr(GError) error = NULL;

	rig_pass(place->rig);
	if (rig_cycle(place->rig, &error) || (place->rig->renewal && rig_cycle(place->rig, NULL)))
		return true;
	complain(place, error->message);
	return false;
}

static void begin(struct world *world, struct place *place)
{
	rig_copy_files(world->states[place->state], world->directory);
	place->rig = rig_new(world->directory, 0, g_rand_int(world->random));
	rig_copy_kernel(place->rig, world->rigs[place->state]);
	place->booked = world->booked[place->state];
	place->path = g_build_filename(world->directory, STORE_FILE, NULL);
}

static char *end(struct place *place)
{
	rig_free(place->rig);
	g_free(place->path);
	g_free(place->what);
	g_free(place->notice);
	return place->trouble;
}

/* ---- while the agent is away ---- */

/* Which file, and how: the database most often. */
static bool choose(struct world *world, struct place *place, unsigned number)
{
	unsigned which = number % G_N_ELEMENTS(names);
	enum how how = below(world, 4) ? below(world, CUT) : below(world, HOWS); /* most are small */
	bool both = below(world, 8) == 0, possible = how != OF_ANOTHER || which == 3 || which == 4;
	bool done = possible && damage_file(world, names[which], how, place->state);

	if (done && both) {
		damage_file(world, "baselines.0", below(world, MISSING + 1), place->state);
		damage_file(world, "baselines.1", below(world, MISSING + 1), place->state);
	}
	place->second_home = both || which > 4;
	place->what = g_strdup_printf("%s of state %u %s%s", names[which], place->state, how_names[how],
	                              both ? ", and both of the second home" : "");
	return done;
}

static char *try_at_rest(struct world *world, unsigned number)
{
	struct place place = { .state = below(world, 9) % STATES };
	g_autoptr(GError) error = NULL;

	do {
		rig_free(place.rig);
		g_free(place.path);
		g_free(place.what);
		begin(world, &place);
	} while (!choose(world, &place, number));
	if (!rig_open(place.rig, &place.notice, &error)) {
		/* the name of the time zone has become another one's: that is for the operator */
		if (strstr(error->message, "its days are those of"))
			world->refused++;
		else
			complain(&place, error->message);
		return end(&place);
	}
	if (place.notice)
		check_told(world, &place, place.notice);
	if (sample(&place))
		check_sums(world, &place, place.rig->renewal ? place.rig->renewal : place.notice);
	return end(&place);
}

static void test_at_rest(struct world *world, const void *data)
{
	unsigned n = places * 4 / 5;

	for (unsigned i = 0; i < n; i++) {
		g_autofree char *trouble = try_at_rest(world, i);

		if (trouble && results[0].failures++ < 10)
			g_test_message("place %u: %s", i, trouble);
	}
	results[0].times += n;
	g_test_message("%u places: %u set aside, %u told as older, %u found by the audit, %u harmless, %u refused, %u do not hold", n, world->aside,
	               world->older, world->by_audit, world->harmless, world->refused, results[0].failures);
	results[0].note = g_strdup_printf("agent away: %u set aside, %u told as older, %u found by audit, %u harmless, %u refused for its time zone", world->aside, world->older,
	                                  world->by_audit, world->harmless, world->refused);
	g_assert_cmpuint(results[0].failures, ==, 0);
}

/* ---- under the agent's hands ---- */

static void on_commit(struct rig *rig, const struct batch *batch, bool done, void *data)
{
	struct place *place = data;

	if (done)
		rig_tally_book(&place->booked, batch);
}

/* All pages are forgotten, so that the next look at each is at the disk. */
static void forget_pages(struct rig *rig)
{
	sqlite3_db_release_memory(rig->store->db);
}

/* What was not met so far is met at the next start, or does no harm. */
static void start_again(struct world *world, struct place *place)
{
	g_autoptr(GError) error = NULL;

	rig_close(place->rig);
	if (!rig_open(place->rig, &place->notice, &error)) {
		complain(place, error->message);
		return;
	}
	if (place->notice)
		check_told(world, place, place->notice);
	if (sample(place))
		check_sums(world, place, place->rig->renewal ? place->rig->renewal : place->notice);
}

/* Sums that the store refuses are tried once more, as at the agent's next sample. */
static bool tend(struct place *place)
{
	if (rig_tend(place->rig, 0, NULL) || (!place->rig->renewal && rig_tend(place->rig, 0, NULL)))
		return true;
	return place->rig->renewal && sample(place);
}

static char *try_in_use(struct world *world, unsigned number)
{
	struct place place = { .state = below(world, 2) };
	struct tally kept;
	g_autoptr(GError) error = NULL;
	enum how how = number % 6 == 5 ? ALL_RUBBISH : below(world, CUT);

	begin(world, &place);
	place.what = g_strdup_printf("database of state %u in use, %s", place.state, how_names[how]);
	g_assert_true(rig_open(place.rig, &place.notice, &error));
	place.rig->on_commit = on_commit;
	place.rig->data = &place;
	g_assert_true(damage_file(world, STORE_FILE, how, place.state) || how == SWAP_PAGES);
	for (unsigned i = 0; i < 3 && !place.trouble; i++) {
		forget_pages(place.rig);
		kept = place.booked;
		if (!sample(&place))
			break;
		if (place.rig->renewal)
			break;
		place.rig->now.utc_us += 61 * MINUTE_US;
		place.rig->now.boot_us += 61 * MINUTE_US;
		kept = place.booked;
		if (!tend(&place)) {
			complain(&place, "sums cannot be made any more");
			break;
		}
		if (place.rig->renewal)
			break;
	}
	place.rig->on_commit = NULL;
	if (place.trouble)
		return end(&place);
	if (place.rig->renewal) {
		world->renewed++;
		place.booked = kept;
		check_told(world, &place, place.rig->renewal);
		check_sums(world, &place, place.rig->renewal);
	} else {
		start_again(world, &place);
	}
	return end(&place);
}

static void test_in_use(struct world *world, const void *data)
{
	unsigned n = places - places * 4 / 5, failures = 0;

	for (unsigned i = 0; i < n; i++) {
		g_autofree char *trouble = try_in_use(world, i);

		if (trouble && failures++ < 10)
			g_test_message("place %u: %s", i, trouble);
	}
	results[0].times += n;
	results[0].failures += failures;
	g_test_message("%u places: %u set aside at once, %u at the next start, %u found by the audit, %u harmless, %u do not hold", n,
	               world->renewed, world->aside - world->renewed, world->by_audit, world->harmless, failures);
	results[1].note = g_strdup_printf("agent running: %u set aside at once, %u at the next start, %u found by audit, %u harmless",
	                                  world->renewed, world->aside - world->renewed, world->by_audit, world->harmless);
	g_assert_cmpuint(failures, ==, 0);
}

#define ADD(path, function) g_test_add(path, struct world, NULL, set_up, function, tear_down)

int main(int argc, char **argv)
{
	g_autofree char *first = NULL;
	int status;

	places = result_times(&argc, argv, 300, 10000);
	results[0] = (struct result){ .fault = "store file damaged", .gaps = -1, .sums = true };
	g_test_init(&argc, &argv, NULL);
	ADD("/damage/while-the-agent-is-away", test_at_rest);
	ADD("/damage/while-it-runs", test_in_use);
	status = g_test_run();
	first = g_steal_pointer(&results[0].note);
	results[0].note = g_strdup_printf("%s; %s", first ? first : "", results[1].note ? results[1].note : "");
	result_write("damage", results, 1);
	return status;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ebpf back end: a program at netfilter's prerouting hook, before fragments are put together, counts what is on the
 * wire into a map (bpf/meter.bpf.c).  It is called by a link, or where the kernel has none for it, by a rule.
 *
 * Maps and links are pinned, and a rule lives with its namespace, so all counts on while no agent runs.  What stands is
 * read out of the maps once, and changed together with them (ebpf_standing.h).  Addresses change one by one; classes and
 * local prefixes together with the gateway address by one write, which leads to a table of prefixes that was made before.
 * The entries of the table before go when no packet looks at them any more: at bury().
 *
 * A pinned link keeps its namespace alive, and the counters are in no namespace at all: hence leave() and remains().
 */
#include "backend/backend.h"

#include "backend/ebpf_change.h"
#include "backend/ebpf_maps.h"
#include "backend/ebpf_rule.h"
#include "backend/ebpf_sent.h"
#include "backend/ebpf_standing.h"
#include "core/plan.h"
#include "kernel/bpffs.h"
#include "kernel/clock.h"
#include "kernel/netlink.h"

#include <linux/netfilter_ipv4.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define BEHIND " at prerouting, behind a policer at a device's ingress"

struct ebpf {
	struct backend backend;
	struct ebpf_maps *maps; /* NULL: nothing of ours is there */
	struct standings *standings;
	char *netns_dir;
	enum ebpf_place wanted;
};

/* ---- opening ---- */

static void forget(struct ebpf *ebpf)
{
	ebpf->backend.stands = NULL;
	g_clear_pointer(&ebpf->maps, ebpf_maps_close);
	g_clear_pointer(&ebpf->standings, standings_free);
}

/* Takes what is pinned, unless it is open already. */
static bool open_maps(struct ebpf *ebpf, GError **error)
{
	if (!ebpf->maps && !ebpf_maps_open(&ebpf->maps, error))
		return false;
	if (ebpf->maps && !ebpf->standings)
		ebpf->standings = standings_read(ebpf->maps, error);
	return !ebpf->maps || ebpf->standings;
}

/* Makes what is missing, and has the programs of this build run. */
static bool load_maps(struct ebpf *ebpf, GError **error)
{
	int lock;
	bool done;

	if (!bpffs_mount(EBPF_FS, error))
		return false;
	if (ebpf->maps && ebpf_maps_are_loaded(ebpf->maps))
		return true;
	lock = bpffs_lock(EBPF_TOP, error);
	if (lock < 0)
		return false;
	done = ebpf_maps_load(&ebpf->maps, ebpf->wanted, error) && open_maps(ebpf, error);
	if (done)
		ebpf->backend.stands = ebpf->maps->place == EBPF_PLACE_RULE ? "a rule calls it" BEHIND : "a link calls it" BEHIND;
	bpffs_unlock(lock);
	return done;
}

static bool cookie_of(const struct place *place, uint64_t *cookie, GError **error)
{
	*cookie = place->cookie;
	return place->cookie || netlink_ns_cookie(place->netfilter, cookie, error);
}

/* What stands in the namespace: *standing is NULL where there is nothing. */
static bool find(struct ebpf *ebpf, const struct place *place, uint64_t *cookie, struct standing **standing, GError **error)
{
	*standing = NULL;
	if (!open_maps(ebpf, error) || !cookie_of(place, cookie, error))
		return false;
	if (ebpf->standings)
		*standing = standings_find(ebpf->standings, *cookie);
	return true;
}

/* ---- what calls the programs ---- */

static bool calls_stand(const struct ebpf *ebpf, const struct place *place, uint64_t cookie, bool *stand, GError **error)
{
	if (ebpf->maps->place == EBPF_PLACE_RULE)
		return ebpf_rule_stands(ebpf->maps, place, stand, error);
	*stand = ebpf_link_stands(cookie);
	return true;
}

/* A link beside a rule would count twice, but no more than one leads to programs (ebpf_maps_load()): the other is only left. */
static bool make_calls(const struct ebpf *ebpf, const struct place *place, uint64_t cookie, GError **error)
{
	bool stand;

	if (!calls_stand(ebpf, place, cookie, &stand, error) || stand)
		return stand;
	if (ebpf->maps->place == EBPF_PLACE_RULE)
		return ebpf_link_drop(cookie, error) && ebpf_rule_make(ebpf->maps, place, error);
	return ebpf_rule_drop(place, error) && ebpf_link_make(ebpf->maps, place->ns_fd, cookie, error);
}

/* ---- reading ---- */

/* A packet that had no counter is the trace of somebody who has taken one away. */
static bool has_lost(const struct ebpf *ebpf, const struct standing *standing)
{
	struct meter_counter_key key = standing_lost(standing);
	struct meter_counts lost;

	return !ebpf_get_counter(ebpf->maps, &key, &lost) || lost.in_packets || lost.out_packets;
}

static void read_counters(const struct ebpf *ebpf, const struct standing *standing, struct snapshot *snapshot)
{
	GHashTableIter each;
	void *word;

	g_hash_table_iter_init(&each, standing->counters);
	while (g_hash_table_iter_next(&each, &word, NULL)) {
		struct meter_counter_key key = standing_key(word);
		struct reading reading;
		struct meter_counts counts;

		if (key.kind == METER_LOST)
			continue;
		if (!standing_meter(standing, &key, &reading.key) || !ebpf_get_counter(ebpf->maps, &key, &counts)) {
			snapshot->intact = false;
			continue;
		}
		reading.counts = (struct counts){ counts.in_bytes, counts.in_packets, counts.out_bytes, counts.out_packets };
		g_array_append_val(snapshot->readings, reading);
	}
	g_array_sort(snapshot->readings, snapshot_compare);
}

static struct snapshot *ebpf_read(struct backend *backend, const struct place *place, GError **error)
{
	struct ebpf *ebpf = (struct ebpf *)backend;
	struct snapshot *snapshot;
	struct standing *standing;
	bool calls;
	uint64_t cookie;

	if (!find(ebpf, place, &cookie, &standing, error) ||
	    !(standing ? calls_stand(ebpf, place, cookie, &calls, error) : ebpf_rule_is_there(place, &calls, error)))
		return NULL;
	snapshot = snapshot_new();
	if (!standing) {
		snapshot->intact = !calls;
		snapshot->at = clock_now();
		return snapshot;
	}
	snapshot->intact = !standing->router.going && standing->router.table && ebpf_maps_keep(ebpf->maps) &&
	                   calls && ebpf_maps_count(ebpf->maps) && !has_lost(ebpf, standing) &&
	                   ebpf_change_stands(ebpf->maps, standing);
	snapshot->out_sent = standing_is_sent(standing);
	snapshot->intact = snapshot->intact && (!snapshot->out_sent || ebpf_sent_stands(ebpf->maps));
	if (!standing->router.going) {
		snapshot->generation = g_strdup(standing->router.tag);
		read_counters(ebpf, standing, snapshot);
	}
	snapshot->at = clock_now();
	return snapshot;
}

static char *describe_unseen(const struct ebpf_unseen *unseen, bool has_waited)
{
	if (unseen->packets)
		return g_strdup_printf("out: %" G_GUINT64_FORMAT " packets that its external devices sent were not seen", unseen->packets);
	if (unseen->gone)
		return g_strdup("out: an external device went before it was asked whether all that it had sent was seen");
	if (unseen->unknown)
		return g_strdup("out: whether all that was sent was seen is not known, the external device is of a kind that does not tell");
	return has_waited ? g_strdup("out: what waited in the queue was counted where it came in, and what followed not at all") : NULL;
}

static bool ebpf_check(struct backend *backend, const struct place *place, const struct traffic *traffic,
                       struct snapshot *snapshot, bool *again, GError **error)
{
	struct ebpf *ebpf = (struct ebpf *)backend;
	struct standing *standing;
	struct ebpf_unseen unseen;
	uint64_t cookie;

	*again = false;
	if (!find(ebpf, place, &cookie, &standing, error))
		return false;
	if (!standing || !standing_is_sent(standing))
		return true;
	if (!ebpf_sent_compare(ebpf->maps, cookie, traffic, &unseen, error))
		return false;
	*again = !unseen.exact || unseen.packets; /* one may be just on its way between the device and the program */
	g_free(snapshot->unseen);
	snapshot->unseen = describe_unseen(&unseen, ebpf_sent_has_waited(ebpf->maps, cookie));
	return true;
}

/* ---- changing ---- */

static bool ebpf_compare(struct backend *backend, const struct place *place, const struct plan *plan,
                         const struct snapshot *found, enum change *change, GError **error)
{
	struct ebpf *ebpf = (struct ebpf *)backend;
	g_autofree char *digest = plan_digest(plan);
	struct standing *standing;
	uint64_t cookie;

	*change = CHANGE_INSIDE;
	if (!found->generation)
		return true;
	if (!load_maps(ebpf, error) || !find(ebpf, place, &cookie, &standing, error))
		return false;
	if (!standing)
		return true;
	if (standing_is_sent(standing) && !ebpf_sent_make(ebpf->maps, error)) /* this version's programs */
		return false;
	if (!standing->plan && ebpf_change_is_none(standing, plan))
		standing->plan = g_strdup(digest);
	if (!g_strcmp0(standing->plan, digest))
		*change = CHANGE_NONE;
	return true;
}

/* The netns directory, whatever name it has in this mount namespace. */
static char *directory_of(const struct ebpf *ebpf)
{
	struct stat file;

	if (stat(ebpf->netns_dir, &file) < 0)
		return g_strdup("");
	return g_strdup_printf("%u-%u-%" G_GUINT64_FORMAT, major(file.st_dev), minor(file.st_dev), (guint64)file.st_ino);
}

static bool make_router(struct ebpf *ebpf, const struct place *place, uint64_t cookie, const char *tag,
                        struct standing **standing, GError **error)
{
	g_autofree char *directory = directory_of(ebpf);

	if (strlen(place->ns) >= METER_NS_LEN) {
		g_set_error(error, BACKEND_ERROR, BACKEND_ERROR_FAILED, "a name of %zu characters is too long", strlen(place->ns));
		return false;
	}
	*standing = standings_add(ebpf->standings, cookie, place->ns, directory, tag);
	if (!*standing) {
		g_set_error(error, BACKEND_ERROR, BACKEND_ERROR_FAILED, "there are %d routers already", METER_ROUTERS);
		return false;
	}
	if (standings_put(ebpf->maps, ebpf->standings, *standing, EBPF_NEW, error))
		return true;
	standings_forget(ebpf->standings, *standing);
	return false;
}

/* What counts `out` where it is sent runs before a router asks for it, ... */
static bool make_sent(const struct ebpf *ebpf, const struct standing *standing, bool queued, GError **error)
{
	bool turns = standing_table(standing) && !standing_is_sent(standing);

	return ebpf_sent_make(ebpf->maps, error) &&
	       (!(queued || turns) || ebpf_sent_wait(ebpf->maps, standing->cookie, error));
}

/* ... and as long as one does. */
static void drop_sent(const struct ebpf *ebpf)
{
	GHashTableIter each;
	void *item;

	g_hash_table_iter_init(&each, ebpf->standings->routers);
	while (g_hash_table_iter_next(&each, NULL, &item))
		if (standing_is_sent(item))
			return;
	ebpf_sent_drop(ebpf->maps);
}

static bool sync_maps(struct ebpf *ebpf, const struct place *place, const struct plan *plan, const char *tag,
                      const struct snapshot *found, GError **error)
{
	struct standing *standing;
	uint64_t cookie;

	if (!find(ebpf, place, &cookie, &standing, error))
		return false;
	if (!found->generation && standing) {
		g_set_error(error, BACKEND_ERROR, BACKEND_ERROR_EXISTS, "something of ours is there already");
		return false;
	}
	if (found->generation && !standing) {
		g_set_error(error, BACKEND_ERROR, BACKEND_ERROR_AGAIN, "what was there is gone");
		return false;
	}
	if (!standing && !make_router(ebpf, place, cookie, tag, &standing, error))
		return false;
	if (plan->out_sent && !make_sent(ebpf, standing, plan->queued, error))
		return false;
	if (!ebpf_change_apply(ebpf->maps, ebpf->standings, standing, plan, error))
		return false;
	drop_sent(ebpf);
	return make_calls(ebpf, place, cookie, error);
}

static bool keep(const struct ebpf *ebpf, GError **error)
{
	if (ebpf_maps_keep(ebpf->maps))
		return true;
	g_set_error(error, BACKEND_ERROR, BACKEND_ERROR_FAILED, "the maps cannot be pinned in %s", EBPF_PINS);
	return false;
}

/* Who makes the first router of all must not meet who removes the last one. */
static bool ebpf_sync(struct backend *backend, const struct place *place, const struct plan *plan, const char *tag,
                      const struct snapshot *found, GError **error)
{
	struct ebpf *ebpf = (struct ebpf *)backend;
	bool done;
	int lock;

	if (!load_maps(ebpf, error))
		return false;
	lock = bpffs_lock(EBPF_TOP, error);
	if (lock < 0)
		return false;
	done = keep(ebpf, error) && sync_maps(ebpf, place, plan, tag, found, error);
	if (!done)
		g_clear_pointer(&ebpf->standings, standings_free);
	bpffs_unlock(lock);
	return done;
}

static bool ebpf_lacks(struct backend *backend, const struct place *place, const struct plan *plan, bool *lacks,
                       GError **error)
{
	struct standing *standing;
	uint64_t cookie;

	if (!find((struct ebpf *)backend, place, &cookie, &standing, error))
		return false;
	*lacks = standing && ebpf_change_lacks_local(standing, plan);
	return true;
}

static bool ebpf_bury(struct backend *backend, const struct place *place, const struct plan *plan,
                      const struct snapshot *found, GError **error)
{
	struct ebpf *ebpf = (struct ebpf *)backend;
	struct standing *standing;
	uint64_t cookie;

	if (!find(ebpf, place, &cookie, &standing, error))
		return false;
	return !standing || (ebpf_change_drop_old(ebpf->maps, standing, error) &&
	                     ebpf_change_bury(ebpf->maps, standing, plan, found, error) &&
	                     (!standing_is_sent(standing) ||
	                      ebpf_sent_settle(ebpf->maps, cookie, found->at.boot_us, error)));
}

/* ---- going ---- */

static bool ebpf_stop(struct backend *backend, const struct place *place, GError **error)
{
	struct ebpf *ebpf = (struct ebpf *)backend;
	struct standing *standing;
	uint64_t cookie;

	return find(ebpf, place, &cookie, &standing, error) &&
	       (!standing || ebpf_change_stop(ebpf->maps, ebpf->standings, standing, error)) && ebpf_rule_drop(place, error);
}

/* With the last router goes all that there is. */
static bool remove_rest(struct ebpf *ebpf, GError **error)
{
	int lock;

	if (!ebpf->standings || g_hash_table_size(ebpf->standings->routers))
		return true;
	lock = bpffs_lock(EBPF_TOP, error);
	if (lock < 0)
		return false;
	standings_free(ebpf->standings);
	ebpf->standings = standings_read(ebpf->maps, error);
	if (ebpf->standings && !g_hash_table_size(ebpf->standings->routers)) {
		ebpf_maps_unpin();
		forget(ebpf);
	}
	bpffs_unlock(lock);
	return !ebpf->maps || ebpf->standings;
}

static bool ebpf_remove(struct backend *backend, const struct place *place, GError **error)
{
	struct ebpf *ebpf = (struct ebpf *)backend;
	struct standing *standing;
	uint64_t cookie;

	if (!find(ebpf, place, &cookie, &standing, error) || !ebpf_rule_drop(place, error))
		return false;
	if (!standing)
		return true;
	if (!ebpf_change_remove(ebpf->maps, ebpf->standings, standing, error) || !ebpf_sent_forget(ebpf->maps, cookie, error))
		return false;
	standings_forget(ebpf->standings, standing);
	drop_sent(ebpf);
	return remove_rest(ebpf, error);
}

/* ---- what outlives a namespace ---- */

static bool ebpf_leave(struct backend *backend, const struct place *place, GError **error)
{
	struct standing *standing;
	uint64_t cookie;

	return find((struct ebpf *)backend, place, &cookie, &standing, error) &&
	       (!standing || ebpf_link_drop(cookie, error));
}

static GArray *ebpf_remains(struct backend *backend, GError **error)
{
	struct ebpf *ebpf = (struct ebpf *)backend;
	g_autofree char *directory = directory_of(ebpf);
	GArray *remains;
	GHashTableIter each;
	void *item;

	if (!open_maps(ebpf, error))
		return NULL;
	remains = g_array_new(FALSE, TRUE, sizeof(struct remains));
	if (ebpf->standings)
		g_hash_table_iter_init(&each, ebpf->standings->routers);
	while (ebpf->standings && g_hash_table_iter_next(&each, NULL, &item)) {
		const struct standing *standing = item;
		struct remains of = { .cookie = standing->cookie };

		if (!g_str_equal(standing->router.directory, directory)) /* another agent's */
			continue;
		g_strlcpy(of.ns, standing->router.ns, sizeof of.ns);
		g_array_append_val(remains, of);
	}
	return remains;
}

static void ebpf_free(struct backend *backend)
{
	struct ebpf *ebpf = (struct ebpf *)backend;

	forget(ebpf);
	g_free(ebpf->netns_dir);
	g_free(ebpf);
}

struct backend *backend_ebpf_new(const char *netns_dir, const char *place)
{
	struct ebpf *ebpf = g_new0(struct ebpf, 1);

	ebpf->wanted = g_str_equal(place, "link") ? EBPF_PLACE_LINK : g_str_equal(place, "rule") ? EBPF_PLACE_RULE : EBPF_PLACE_AUTO;
	ebpf->netns_dir = g_strdup(netns_dir);
	ebpf->backend = (struct backend){
		.name = "ebpf", .basis = BASIS_WIRE, .priority = NF_IP_PRI_RAW_BEFORE_DEFRAG,
		.list = "bpftool map dump pinned " EBPF_PINS "/counters",
		.list_outside = true, .sends = true,
		.read = ebpf_read, .compare = ebpf_compare, .sync = ebpf_sync, .lacks = ebpf_lacks, .bury = ebpf_bury,
		.stop = ebpf_stop, .remove = ebpf_remove, .leave = ebpf_leave, .remains = ebpf_remains, .check = ebpf_check, .free = ebpf_free,
	};
	return &ebpf->backend;
}

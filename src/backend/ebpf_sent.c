/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See ebpf_sent.h.  What is attached to the kernel's trace points calls the programs through two maps, so a new version takes
 * over by a write to each; what a processor is just sending at that moment is in a map, too, which both versions share.
 */
#include "backend/ebpf_sent.h"

#include "backend/ebpf_programs.h"
#include "bpf/sent.skel.h"
#include "kernel/clock.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

enum sent_map { SENT_START, SENT_DONE, SENT_SEEN, SENT_TOLD, SENT_WAITS, SENT_SENDING, SENT_MAPS };
enum sent_link { SENT_LINK_DONE, SENT_LINK_START, SENT_LINKS }; /* made in this order: what was begun is ended */

static const char *const map_names[SENT_MAPS] = {
	"sent_start_prog", "sent_done_prog", "sent_seen", "sent_told", "sent_waits", "sent_sending",
};
static const struct ebpf_form forms[SENT_MAPS] = {
	[SENT_START] = { BPF_MAP_TYPE_PROG_ARRAY, sizeof(uint32_t), sizeof(uint32_t), 1 },
	[SENT_DONE] = { BPF_MAP_TYPE_PROG_ARRAY, sizeof(uint32_t), sizeof(uint32_t), 1 },
	[SENT_SEEN] = { BPF_MAP_TYPE_PERCPU_HASH, sizeof(struct meter_device_key), sizeof(uint64_t), METER_SENT_DEVICES },
	[SENT_TOLD] = { BPF_MAP_TYPE_HASH, sizeof(struct meter_device_key), sizeof(int64_t), METER_SENT_DEVICES },
	[SENT_WAITS] = { BPF_MAP_TYPE_HASH, sizeof(uint64_t), sizeof(uint64_t), METER_ROUTERS },
};
static const char *const link_names[SENT_LINKS] = { "sent-link-done", "sent-link-start" };

struct device { /* as it was last compared */
	struct meter_device_key key;
	uint64_t seen;   /* then */
	int64_t unseen;  /* sent by its statistics, and not seen, since it was made */
	bool compared;   /* by the last comparison of its router */
};

struct ebpf_sent {
	int fds[SENT_MAPS];
	struct sent_bpf *skeleton; /* our programs; NULL: only the maps are open */
	GHashTable *routers;       /* cookie (uint64_t *) -> GArray of struct device */
};

/* ---- opening ---- */

static char *pin_of(const char *name)
{
	return g_build_filename(EBPF_PINS, name, NULL);
}

void ebpf_sent_close(struct ebpf_sent *sent)
{
	if (!sent)
		return;
	for (unsigned i = 0; i < SENT_MAPS; i++)
		if (sent->fds[i] >= 0)
			close(sent->fds[i]);
	sent_bpf__destroy(sent->skeleton);
	g_hash_table_unref(sent->routers);
	g_free(sent);
}

static struct ebpf_sent *sent_new(void)
{
	struct ebpf_sent *sent = g_new0(struct ebpf_sent, 1);

	for (unsigned i = 0; i < SENT_MAPS; i++)
		sent->fds[i] = -1;
	sent->routers = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, (GDestroyNotify)g_array_unref);
	return sent;
}

/* What is pinned, unless it is open already; *opened is NULL where nothing is, or only half of it. */
static bool open_sent(struct ebpf_maps *maps, const struct ebpf_sent **opened, GError **error)
{
	struct ebpf_sent *sent;
	bool well = true, whole = true;

	*opened = maps->sent;
	if (maps->sent)
		return true;
	sent = sent_new();
	for (unsigned i = 0; i < SENT_MAPS && well; i++) {
		g_autofree char *pin = pin_of(map_names[i]);

		well = ebpf_open_map(pin, i == SENT_SENDING ? NULL : &forms[i], &sent->fds[i], error);
		whole &= sent->fds[i] >= 0;
	}
	if (well && whole)
		*opened = maps->sent = sent;
	else
		ebpf_sent_close(sent);
	return well;
}

/* ---- programs ---- */

static bool put_program(int map, const struct bpf_program *program, GError **error)
{
	int fd = bpf_program__fd(program);

	return bpf_map_update_elem(map, &(uint32_t){ 0 }, &fd, BPF_ANY) == 0 ||
	       ebpf_refuse(error, "a program for sent packets cannot be put into its map");
}

/* What has begun by the old program is ended by the new one: both write the same. */
static bool take_over(const struct ebpf_sent *sent, GError **error)
{
	return put_program(sent->fds[SENT_DONE], sent->skeleton->progs.sent_done, error) &&
	       put_program(sent->fds[SENT_START], sent->skeleton->progs.sent_start, error);
}

static bool make_link(enum sent_link which, const struct bpf_program *program, GError **error)
{
	g_autofree char *pin = pin_of(link_names[which]);
	bool done;
	int link;

	if (access(pin, F_OK) == 0)
		return true;
	link = bpf_raw_tracepoint_open(NULL, bpf_program__fd(program));
	if (link < 0)
		return ebpf_refuse(error, "a program cannot be attached to the trace point of sent packets");
	done = bpf_obj_pin(link, pin) == 0 || ebpf_refuse(error, "%s", pin);
	close(link);
	return done;
}

static bool load(struct ebpf_maps *maps, GError **error)
{
	struct sent_bpf *skeleton = sent_bpf__open();
	struct ebpf_sent *sent = maps->sent ? maps->sent : sent_new();

	if (!skeleton) {
		ebpf_refuse(error, "the programs of this build cannot be read");
	} else if (ebpf_load(skeleton->obj, maps->place, "sent_start", "sent packets", "kernel 6.4", error)) {
		ebpf_take_fds(skeleton->obj, map_names, SENT_MAPS, sent->fds);
		sent->skeleton = skeleton;
		maps->sent = sent;
		return true;
	}
	sent_bpf__destroy(skeleton);
	if (!maps->sent)
		ebpf_sent_close(sent);
	return false;
}

/* Somebody may have unpinned some. */
static bool pin_maps(const struct ebpf_sent *sent, GError **error)
{
	for (unsigned i = 0; i < SENT_MAPS; i++) {
		g_autofree char *pin = pin_of(map_names[i]);

		if (access(pin, F_OK) < 0 && bpf_obj_pin(sent->fds[i], pin) < 0)
			return ebpf_refuse(error, "%s", pin);
	}
	return true;
}

bool ebpf_sent_make(struct ebpf_maps *maps, GError **error)
{
	const struct ebpf_sent *sent;

	if (!open_sent(maps, &sent, error))
		return false;
	if (sent && sent->skeleton && ebpf_sent_stands(maps))
		return true;
	if ((!sent || !sent->skeleton) && !load(maps, error))
		return false;
	sent = maps->sent;
	return pin_maps(sent, error) && take_over(sent, error) &&
	       make_link(SENT_LINK_DONE, sent->skeleton->progs.sent_done_hook, error) &&
	       make_link(SENT_LINK_START, sent->skeleton->progs.sent_start_hook, error);
}

bool ebpf_sent_stands(struct ebpf_maps *maps)
{
	const struct ebpf_sent *sent;
	uint32_t number;

	if (!open_sent(maps, &sent, NULL) || !sent)
		return false;
	for (unsigned i = 0; i < SENT_LINKS; i++) {
		g_autofree char *pin = pin_of(link_names[i]);

		if (access(pin, F_OK) < 0)
			return false;
	}
	for (unsigned i = 0; i < SENT_MAPS; i++) {
		g_autofree char *pin = pin_of(map_names[i]);

		if (access(pin, F_OK) < 0)
			return false;
	}
	return bpf_map_lookup_elem(sent->fds[SENT_START], &(uint32_t){ 0 }, &number) == 0 &&
	       bpf_map_lookup_elem(sent->fds[SENT_DONE], &(uint32_t){ 0 }, &number) == 0;
}

void ebpf_sent_drop(struct ebpf_maps *maps)
{
	for (unsigned i = SENT_LINKS; i > 0; i--) {
		g_autofree char *pin = pin_of(link_names[i - 1]);

		unlink(pin);
	}
	for (unsigned i = 0; i < SENT_MAPS; i++) {
		g_autofree char *pin = pin_of(map_names[i]);

		unlink(pin);
	}
	g_clear_pointer(&maps->sent, ebpf_sent_close);
}

/* ---- waiting ---- */

bool ebpf_sent_wait(struct ebpf_maps *maps, uint64_t cookie, GError **error)
{
	uint64_t until_ns = (uint64_t)(clock_now().boot_us + EBPF_SENT_WAIT_US) * 1000;

	return bpf_map_update_elem(maps->sent->fds[SENT_WAITS], &cookie, &until_ns, BPF_ANY) == 0 ||
	       ebpf_refuse(error, "%s/%s", EBPF_PINS, map_names[SENT_WAITS]);
}

bool ebpf_sent_has_waited(struct ebpf_maps *maps, uint64_t cookie)
{
	const struct ebpf_sent *sent;
	uint64_t until_ns;

	return open_sent(maps, &sent, NULL) && sent && bpf_map_lookup_elem(sent->fds[SENT_WAITS], &cookie, &until_ns) == 0;
}

/* The last reading that is in the books was taken when the wait was over. */
static bool end_wait(const struct ebpf_sent *sent, uint64_t cookie, int64_t read_us)
{
	uint64_t until_ns;

	if (bpf_map_lookup_elem(sent->fds[SENT_WAITS], &cookie, &until_ns) < 0 || until_ns / 1000 >= (uint64_t)read_us)
		return true;
	return bpf_map_delete_elem(sent->fds[SENT_WAITS], &cookie) == 0 || errno == ENOENT;
}

/* ---- comparing ---- */

/* How many packets of a device were seen, by all processors. */
static uint64_t seen_of(const struct ebpf_sent *sent, const struct meter_device_key *key)
{
	int count = libbpf_num_possible_cpus();
	g_autofree uint64_t *values = g_new0(uint64_t, MAX(count, 1));
	uint64_t sum = 0;

	if (count < 1 || bpf_map_lookup_elem(sent->fds[SENT_SEEN], key, values) < 0)
		return 0;
	for (int i = 0; i < count; i++)
		sum += values[i];
	return sum;
}

/* A router that was settled once has this entry, whatever devices it has. */
static struct meter_device_key settled_key(uint64_t cookie)
{
	return (struct meter_device_key){ .cookie = cookie };
}

/* What of a device had not been seen when that was last settled.  Of one that came later, nothing: it is counted from its
 * first packet. */
static bool told_of(const struct ebpf_sent *sent, const struct meter_device_key *key, int64_t *told)
{
	struct meter_device_key settled = settled_key(key->cookie);
	int64_t any;

	*told = 0;
	return bpf_map_lookup_elem(sent->fds[SENT_TOLD], key, told) == 0 ||
	       bpf_map_lookup_elem(sent->fds[SENT_TOLD], &settled, &any) == 0;
}

/* The devices of a router that are known. */
static GArray *devices_of(const struct ebpf_sent *sent, uint64_t cookie)
{
	GArray *devices = g_hash_table_lookup(sent->routers, &cookie);

	if (!devices) {
		devices = g_array_new(FALSE, TRUE, sizeof(struct device));
		g_hash_table_insert(sent->routers, g_memdup2(&cookie, sizeof cookie), devices);
	}
	return devices;
}

/* One that is new has seen nothing before now, as far as is known; *is_new: it is. */
static struct device *device_at(GArray *devices, const struct meter_device_key *key, uint64_t now, bool *is_new)
{
	struct device device = { .key = *key, .seen = now };

	*is_new = false;
	for (unsigned i = 0; i < devices->len; i++)
		if (g_array_index(devices, struct device, i).key.index == key->index)
			return &g_array_index(devices, struct device, i);
	*is_new = true;
	g_array_append_val(devices, device);
	return &g_array_index(devices, struct device, devices->len - 1);
}

/* seen_before <= seen when the statistics were read <= seen now, and what is seen is sent: so what was not seen is between
 * two numbers.  The lower one is believed if it is more than was told; less, only where both are the same. */
static void compare_device(const struct ebpf_sent *sent, GArray *devices, const struct meter_device_key *key,
                           uint64_t sent_packets, struct ebpf_unseen *unseen)
{
	uint64_t now = seen_of(sent, key);
	bool is_new;
	struct device *device = device_at(devices, key, now, &is_new);
	bool exact = !is_new && device->seen == now;
	int64_t told, most = (int64_t)(sent_packets - device->seen), least = (int64_t)(sent_packets - now);

	if (!told_of(sent, key, &told)) /* what was sent before it counted is no concern of it */
		told = most;
	unseen->exact &= exact;
	if (least > told)
		unseen->packets += (uint64_t)(least - told);
	device->unseen = exact ? least : MAX(least, told);
	device->seen = now;
	device->compared = true;
}

/* Has a device that is no more sent something that it cannot be asked about? */
static bool has_gone(const struct ebpf_sent *sent, const GArray *devices)
{
	for (unsigned i = 0; i < devices->len; i++) {
		const struct device *device = &g_array_index(devices, struct device, i);

		if (!device->compared && seen_of(sent, &device->key) != device->seen)
			return true;
	}
	return false;
}

bool ebpf_sent_compare(struct ebpf_maps *maps, uint64_t cookie, const struct traffic *traffic, struct ebpf_unseen *unseen,
                       GError **error)
{
	const struct ebpf_sent *sent;
	GArray *devices;

	*unseen = (struct ebpf_unseen){ .exact = true };
	if (!open_sent(maps, &sent, error))
		return false;
	if (!sent) {
		errno = ENOENT;
		return ebpf_refuse(error, "%s/%s", EBPF_PINS, map_names[SENT_SEEN]);
	}
	devices = devices_of(sent, cookie);
	for (unsigned i = 0; i < devices->len; i++)
		g_array_index(devices, struct device, i).compared = false;
	for (unsigned i = 0; i < traffic->devices->len; i++) {
		const struct device_traffic *each = &g_array_index(traffic->devices, struct device_traffic, i);
		struct meter_device_key key = { .cookie = cookie, .index = (uint32_t)each->index };

		if (each->side != SIDE_OUTSIDE)
			continue;
		unseen->unknown |= !each->prompt;
		if (each->prompt)
			compare_device(sent, devices, &key, each->sent_packets, unseen);
	}
	unseen->gone = has_gone(sent, devices);
	return true;
}

/* ---- settling ---- */

static bool drop(const struct ebpf_sent *sent, enum sent_map map, const void *key, GError **error)
{
	return bpf_map_delete_elem(sent->fds[map], key) == 0 || errno == ENOENT ||
	       ebpf_refuse(error, "%s/%s", EBPF_PINS, map_names[map]);
}

static bool put_told(const struct ebpf_sent *sent, const struct meter_device_key *key, int64_t told, GError **error)
{
	int64_t before;

	if (bpf_map_lookup_elem(sent->fds[SENT_TOLD], key, &before) == 0 && before == told)
		return true;
	return bpf_map_update_elem(sent->fds[SENT_TOLD], key, &told, BPF_ANY) == 0 ||
	       ebpf_refuse(error, "%s/%s", EBPF_PINS, map_names[SENT_TOLD]);
}

static bool settle_device(const struct ebpf_sent *sent, const struct device *device, GError **error)
{
	if (device->compared)
		return put_told(sent, &device->key, device->unseen, error);
	return drop(sent, SENT_TOLD, &device->key, error) && drop(sent, SENT_SEEN, &device->key, error);
}

bool ebpf_sent_settle(struct ebpf_maps *maps, uint64_t cookie, int64_t read_us, GError **error)
{
	const struct ebpf_sent *sent;
	struct meter_device_key settled = settled_key(cookie);
	GArray *devices;

	if (!open_sent(maps, &sent, error))
		return false;
	if (!sent)
		return true;
	devices = devices_of(sent, cookie);
	for (unsigned i = devices->len; i > 0; i--) {
		const struct device *device = &g_array_index(devices, struct device, i - 1);

		if (!settle_device(sent, device, error))
			return false;
		if (!device->compared)
			g_array_remove_index_fast(devices, i - 1);
	}
	return put_told(sent, &settled, 0, error) && end_wait(sent, cookie, read_us);
}

/* Drops the entries of a router in a map by devices. */
static bool forget_in(const struct ebpf_sent *sent, enum sent_map map, uint64_t cookie, GError **error)
{
	g_autoptr(GArray) keys = g_array_new(FALSE, FALSE, sizeof(struct meter_device_key));
	struct meter_device_key key, *from = NULL;

	while (bpf_map_get_next_key(sent->fds[map], from, &key) == 0) {
		if (key.cookie == cookie)
			g_array_append_val(keys, key);
		from = &key;
	}
	for (unsigned i = 0; i < keys->len; i++)
		if (!drop(sent, map, &g_array_index(keys, struct meter_device_key, i), error))
			return false;
	return true;
}

bool ebpf_sent_forget(struct ebpf_maps *maps, uint64_t cookie, GError **error)
{
	const struct ebpf_sent *sent;

	if (!open_sent(maps, &sent, error))
		return false;
	if (!sent)
		return true;
	g_hash_table_remove(sent->routers, &cookie);
	return forget_in(sent, SENT_SEEN, cookie, error) && forget_in(sent, SENT_TOLD, cookie, error) &&
	       drop(sent, SENT_WAITS, &cookie, error);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See ebpf_maps.h.
 */
#include "backend/ebpf_maps.h"

#include "backend/ebpf_programs.h"
#include "backend/ebpf_sent.h"
#include "kernel/bpffs.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define STOCK_TRIES 500
#define STOCK_PAUSE_US 2000

const char *const ebpf_map_names[EBPF_MAPS] = { "programs", "routers", "classes", "addresses", "prefixes", "counters" };

static const struct ebpf_form forms[EBPF_MAPS] = {
	[EBPF_PROGRAMS] = { BPF_MAP_TYPE_PROG_ARRAY, sizeof(uint32_t), sizeof(uint32_t), 1 },
	[EBPF_ROUTERS] = { BPF_MAP_TYPE_HASH, sizeof(uint64_t), sizeof(struct meter_router), METER_ROUTERS },
	[EBPF_CLASSES] = { BPF_MAP_TYPE_ARRAY, sizeof(uint32_t), sizeof(struct meter_class), METER_CLASSES },
	[EBPF_ADDRESSES] = { BPF_MAP_TYPE_HASH, sizeof(struct meter_address_key), sizeof(struct meter_address), METER_ADDRESSES },
	[EBPF_PREFIXES] = { BPF_MAP_TYPE_LPM_TRIE, sizeof(struct meter_prefix_key), sizeof(struct meter_prefix), METER_PREFIXES },
	[EBPF_COUNTERS] = { BPF_MAP_TYPE_PERCPU_HASH, sizeof(struct meter_counter_key), sizeof(struct meter_counts),
	                    METER_COUNTERS },
};

bool ebpf_refuse(GError **error, const char *format, ...)
{
	int number = errno;
	g_autofree char *what = NULL;
	va_list arguments;

	va_start(arguments, format);
	what = g_strdup_vprintf(format, arguments);
	va_end(arguments);
	g_set_error(error, BACKEND_ERROR, number == EEXIST ? BACKEND_ERROR_EXISTS : BACKEND_ERROR_FAILED, "%s: %s", what,
	            g_strerror(number));
	return false;
}

static bool as_ours(GError **error)
{
	if (error && *error) {
		(*error)->domain = BACKEND_ERROR;
		(*error)->code = BACKEND_ERROR_FAILED;
	}
	return false;
}

/* Programs of two kinds cannot be in one map: `programs` has two names. */
char *ebpf_pin_of(enum ebpf_place place, const char *map)
{
	bool other = place == EBPF_PLACE_RULE && g_str_equal(map, ebpf_map_names[EBPF_PROGRAMS]);

	return g_strconcat(EBPF_PINS "/", map, other ? "_rule" : "", NULL);
}

static char *pin_of(enum ebpf_place place, enum ebpf_map map)
{
	return ebpf_pin_of(place, ebpf_map_names[map]);
}

/* ---- opening ---- */

void ebpf_maps_close(struct ebpf_maps *maps)
{
	if (!maps)
		return;
	for (unsigned i = 0; i < EBPF_MAPS; i++)
		if (maps->fds[i] >= 0)
			close(maps->fds[i]);
	if (maps->count >= 0)
		close(maps->count);
	if (maps->hook >= 0)
		close(maps->hook);
	ebpf_sent_close(maps->sent);
	if (maps->lock >= 0)
		close(maps->lock);
	g_free(maps->values);
	g_free(maps);
}

/* The number of CPUs is asked for while it may fail: as many values the kernel writes for each counter. */
static struct ebpf_maps *maps_new(GError **error)
{
	struct ebpf_maps *maps;
	int cpus;

	libbpf_set_print(NULL);
	cpus = libbpf_num_possible_cpus();
	if (cpus < 1) {
		errno = -cpus;
		ebpf_refuse(error, "it cannot be told how many CPUs there may be");
		return NULL;
	}
	maps = g_new0(struct ebpf_maps, 1);
	maps->cpus = cpus;
	maps->values = g_new0(struct meter_counts, cpus);
	for (unsigned i = 0; i < EBPF_MAPS; i++)
		maps->fds[i] = -1;
	maps->count = maps->hook = maps->lock = -1;
	return maps;
}

static enum ebpf_place place_pinned(void)
{
	g_autofree char *pin = pin_of(EBPF_PLACE_RULE, EBPF_PROGRAMS);

	return access(pin, F_OK) == 0 ? EBPF_PLACE_RULE : EBPF_PLACE_LINK;
}

/* What the kernel copies out of a map is as long as that map has it: a stranger's would not fit. */
static bool is_ours(int fd, const struct ebpf_form *form)
{
	struct bpf_map_info info = { 0 };
	uint32_t size = sizeof info;

	return bpf_obj_get_info_by_fd(fd, &info, &size) == 0 && info.type == form->type && info.key_size == form->key_size &&
	       info.value_size == form->value_size && info.max_entries == form->entries;
}

bool ebpf_open_map(const char *pin, const struct ebpf_form *form, int *fd, GError **error)
{
	*fd = bpf_obj_get(pin);
	if (*fd < 0)
		return errno == ENOENT || ebpf_refuse(error, "%s", pin);
	if (!form || is_ours(*fd, form))
		return true;
	g_set_error(error, BACKEND_ERROR, BACKEND_ERROR_FAILED,
	            "%s: what is pinned there is no map of fipmeter's (rm it: a map that fits is made in its place)", pin);
	return false;
}

bool ebpf_maps_open(struct ebpf_maps **maps, GError **error)
{
	struct ebpf_maps *opened;
	bool whole = true;

	*maps = NULL;
	if (access(EBPF_PINS, F_OK) < 0)
		return true;
	opened = maps_new(error);
	if (!opened)
		return false;
	opened->place = place_pinned();
	for (unsigned i = 0; i < EBPF_MAPS; i++) {
		g_autofree char *pin = pin_of(opened->place, i);

		if (!ebpf_open_map(pin, &forms[i], &opened->fds[i], error)) {
			ebpf_maps_close(opened);
			return false;
		}
		whole = whole && opened->fds[i] >= 0;
	}
	if (whole)
		*maps = opened;
	else
		ebpf_maps_close(opened); /* half made, or half removed: ebpf_maps_load() begins anew */
	return true;
}

/* ---- pins ---- */

void ebpf_remove_pins(const char *prefix)
{
	g_autoptr(GDir) pins = g_dir_open(EBPF_PINS, 0, NULL);
	const char *name;

	while (pins && (name = g_dir_read_name(pins))) {
		g_autofree char *pin = g_build_filename(EBPF_PINS, name, NULL);

		if (g_str_has_prefix(name, prefix))
			unlink(pin);
	}
}

void ebpf_maps_unpin(void)
{
	ebpf_remove_pins("");
	rmdir(EBPF_PINS);
	rmdir(EBPF_TOP);
}

/* ---- programs ---- */

bool ebpf_maps_are_loaded(const struct ebpf_maps *maps)
{
	return maps->hook >= 0;
}

uint32_t ebpf_maps_programs(const struct ebpf_maps *maps)
{
	struct bpf_map_info info = { 0 };
	uint32_t size = sizeof info;

	return bpf_obj_get_info_by_fd(maps->fds[EBPF_PROGRAMS], &info, &size) == 0 ? info.id : 0;
}

/* One write: each packet is counted by the old program or by the new one. */
static bool take_over(const struct ebpf_maps *maps, GError **error)
{
	return ebpf_put(maps, EBPF_PROGRAMS, &(uint32_t){ 0 }, &maps->count, EBPF_ANY, error);
}

/* What another version has pinned counts on by its own layout, and is read by that version alone. */
static bool is_alone(GError **error)
{
	g_autoptr(GDir) pins = g_dir_open(EBPF_TOP, 0, NULL);
	const char *name;

	while (pins && (name = g_dir_read_name(pins)))
		if (!g_str_has_suffix(EBPF_PINS, name)) {
			g_set_error(error, BACKEND_ERROR, BACKEND_ERROR_FAILED,
			            "%s/%s is of another version of fipmeter (right: `fipmeter detach` of that one, which reads it a "
			            "last time; or rm -r)", EBPF_TOP, name);
			return false;
		}
	return true;
}

bool ebpf_maps_count(const struct ebpf_maps *maps)
{
	uint32_t number;

	if (ebpf_get(maps, EBPF_PROGRAMS, &(uint32_t){ 0 }, &number))
		return true;
	if (ebpf_maps_are_loaded(maps))
		take_over(maps, NULL);
	return false;
}

/* Makes the directory of the pins, and holds it for this process; -1 on failure. */
static int hold_pins(GError **error)
{
	int fd;

	if (!is_alone(error))
		return -1;
	mkdir(EBPF_TOP, 0700);
	if (mkdir(EBPF_PINS, 0700) < 0 && errno != EEXIST) {
		ebpf_refuse(error, EBPF_PINS);
		return -1;
	}
	fd = open(EBPF_PINS, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
		return fd;
	ebpf_refuse(error, "%s%s", EBPF_PINS, fd >= 0 && errno == EWOULDBLOCK ?
	       " is in use by another fipmeter (right: ebpf for one netns directory a host)" : "");
	if (fd >= 0)
		close(fd);
	return -1;
}

/* Whoever holds a file of the mount that was taken away holds the links in it, too, and those would count beside new ones. */
static bool mount_again(struct ebpf_maps *maps)
{
	if (bpffs_is_mounted(EBPF_FS))
		return true;
	if (maps->lock >= 0)
		close(maps->lock);
	maps->lock = -1;
	if (!bpffs_mount(EBPF_FS, NULL))
		return false;
	if (ebpf_maps_are_loaded(maps))
		maps->lock = hold_pins(NULL);
	return !ebpf_maps_are_loaded(maps) || maps->lock >= 0;
}

bool ebpf_maps_keep(struct ebpf_maps *maps)
{
	bool kept = mount_again(maps);

	for (unsigned i = 0; i < EBPF_MAPS; i++) {
		g_autofree char *pin = pin_of(maps->place, i);

		if (access(pin, F_OK) == 0)
			continue;
		mkdir(EBPF_TOP, 0700);
		mkdir(EBPF_PINS, 0700);
		kept &= bpf_obj_pin(maps->fds[i], pin) == 0;
	}
	return kept;
}

/* Whoever is called from another place, by a map of its own, finds that one empty: a map of programs is emptied when nobody has
 * it open or pinned any more (kernel/bpf/arraymap.c). */
static void unpin_other(enum ebpf_place place)
{
	g_autofree char *pin = pin_of(place == EBPF_PLACE_RULE ? EBPF_PLACE_LINK : EBPF_PLACE_RULE, EBPF_PROGRAMS);

	unlink(pin);
}

bool ebpf_maps_load(struct ebpf_maps **maps, enum ebpf_place wanted, GError **error)
{
	bool were_open;
	int lock;

	if (*maps && ebpf_maps_are_loaded(*maps))
		return true;
	lock = hold_pins(error);
	if (lock < 0 || (!*maps && !ebpf_maps_open(maps, error)))
		goto failed;
	were_open = *maps;
	if (!were_open) {
		ebpf_remove_pins("");
		*maps = maps_new(error);
	}
	if (!*maps)
		goto failed;
	if (!ebpf_programs_take(*maps, wanted, error)) {
		if (!were_open) {
			ebpf_maps_unpin();
			g_clear_pointer(maps, ebpf_maps_close);
		}
		goto failed;
	}
	(*maps)->lock = lock;
	unpin_other((*maps)->place);
	return take_over(*maps, error);
failed:
	if (lock >= 0)
		close(lock);
	return false;
}

/* ---- entries ---- */

/* The kernel takes memory for entries out of a stock that it fills up behind the back of who takes from it
 * (kernel/bpf/memalloc.c): thousands at a time find it empty, and have only to wait. */
static bool update(int map, const void *key, const void *value, uint64_t flags)
{
	for (unsigned tries = 0; bpf_map_update_elem(map, key, value, flags) < 0; tries++) {
		if (errno != ENOMEM || tries == STOCK_TRIES)
			return false;
		usleep(STOCK_PAUSE_US);
	}
	return true;
}

bool ebpf_put(const struct ebpf_maps *maps, enum ebpf_map map, const void *key, const void *value, enum ebpf_put how,
              GError **error)
{
	if (update(maps->fds[map], key, value, how == EBPF_NEW ? BPF_NOEXIST : BPF_ANY))
		return true;
	if (errno == E2BIG || errno == ENOSPC) /* hash, longest-prefix match */
		return ebpf_refuse(error, "the map %s/%s is full (%u entries)", EBPF_PINS, ebpf_map_names[map], forms[map].entries);
	return ebpf_refuse(error, "%s/%s", EBPF_PINS, ebpf_map_names[map]);
}

bool ebpf_get(const struct ebpf_maps *maps, enum ebpf_map map, const void *key, void *value)
{
	return bpf_map_lookup_elem(maps->fds[map], key, value) == 0;
}

bool ebpf_drop(const struct ebpf_maps *maps, enum ebpf_map map, const void *key, GError **error)
{
	return bpf_map_delete_elem(maps->fds[map], key) == 0 || errno == ENOENT ||
	       ebpf_refuse(error, "%s/%s", EBPF_PINS, ebpf_map_names[map]);
}

bool ebpf_each(const struct ebpf_maps *maps, enum ebpf_map map, size_t key_size, void (*take)(const void *key, void *data),
               void *data, GError **error)
{
	g_autofree void *key = g_malloc0(key_size), *next = g_malloc0(key_size);
	int failed = bpf_map_get_next_key(maps->fds[map], NULL, next);

	while (!failed) {
		take(next, data);
		memcpy(key, next, key_size);
		failed = bpf_map_get_next_key(maps->fds[map], key, next);
	}
	return errno == ENOENT || ebpf_refuse(error, "%s/%s", EBPF_PINS, ebpf_map_names[map]);
}

bool ebpf_put_counter(const struct ebpf_maps *maps, const struct meter_counter_key *key, GError **error)
{
	memset(maps->values, 0, (size_t)maps->cpus * sizeof *maps->values);
	return ebpf_put(maps, EBPF_COUNTERS, key, maps->values, EBPF_NEW, error);
}

bool ebpf_get_counter(const struct ebpf_maps *maps, const struct meter_counter_key *key, struct meter_counts *sum)
{
	const struct meter_counts *values = maps->values;

	if (!ebpf_get(maps, EBPF_COUNTERS, key, maps->values))
		return false;
	memset(sum, 0, sizeof *sum);
	for (int i = 0; i < maps->cpus; i++) {
		sum->in_bytes += values[i].in_bytes;
		sum->in_packets += values[i].in_packets;
		sum->out_bytes += values[i].out_bytes;
		sum->out_packets += values[i].out_packets;
	}
	return true;
}

/* ---- links ---- */

static char *link_pin(uint64_t cookie)
{
	return g_strdup_printf(EBPF_PINS "/link-%" G_GUINT64_FORMAT, cookie);
}

bool ebpf_link_stands(uint64_t cookie)
{
	g_autofree char *pin = link_pin(cookie);

	return access(pin, F_OK) == 0;
}

bool ebpf_link_make(const struct ebpf_maps *maps, int ns_fd, uint64_t cookie, GError **error)
{
	g_autofree char *pin = link_pin(cookie);
	int link = bpffs_link_prerouting(ns_fd, maps->hook, EBPF_PRIORITY, error);
	bool done;

	if (link < 0)
		return as_ours(error);
	done = bpf_obj_pin(link, pin) == 0 || ebpf_refuse(error, "%s", pin);
	close(link);
	return done;
}

bool ebpf_link_drop(uint64_t cookie, GError **error)
{
	g_autofree char *pin = link_pin(cookie);

	return unlink(pin) == 0 || errno == ENOENT || ebpf_refuse(error, "%s", pin);
}

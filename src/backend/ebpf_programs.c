/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See ebpf_programs.h.  The skeletons have the programs as bpf/meter.bpf.c and bpf/rule.bpf.c were compiled when fipmeter was
 * built; libbpf fits them to this kernel, and takes the maps that are pinned already.
 */
#include "backend/ebpf_programs.h"

#include "bpf/meter.skel.h"
#include "bpf/rule.skel.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <unistd.h>

#define PROGRAM_NETFILTER 32  /* BPF_PROG_TYPE_NETFILTER and BPF_NETFILTER of linux/bpf.h, kernel 6.4 */
#define ATTACH_NETFILTER 45
#define LOG_SIZE (1 << 20)
#define COUNT "meter_count" /* the programs, in either object, and their pins: meter_count-BUILD */
#define HOOK "meter_hook"
#define MAPS_MAX 16         /* of one program */

/* ---- loading ---- */

/* The verifier's last words. */
static char *last_line(const char *log)
{
	g_auto(GStrv) lines = g_strsplit(log, "\n", -1);

	for (unsigned i = g_strv_length(lines); i > 0; i--)
		if (*lines[i - 1] && !g_str_has_prefix(lines[i - 1], "processed "))
			return g_strconcat(": ", lines[i - 1], NULL);
	return g_strdup("");
}

bool ebpf_load(struct bpf_object *object, enum ebpf_place place, const char *told, const char *what, const char *needs,
               GError **error)
{
	g_autofree char *log = g_malloc0(LOG_SIZE), *reason = NULL;
	struct bpf_map *map;

	bpf_object__for_each_map(map, object) {
		g_autofree char *pin = ebpf_pin_of(place, bpf_map__name(map));

		bpf_map__set_pin_path(map, pin);
	}
	bpf_program__set_log_buf(bpf_object__find_program_by_name(object, told), log, LOG_SIZE);
	if (bpf_object__load(object) == 0)
		return true;
	reason = last_line(log);
	return ebpf_refuse(error, "the kernel does not take our programs for %s%s (%s with BTF is needed)", what, reason, needs);
}

void ebpf_take_fds(const struct bpf_object *object, const char *const *maps, unsigned n, int *fds)
{
	for (unsigned i = 0; i < n; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
		fds[i] = dup(bpf_object__find_map_fd_by_name(object, maps[i]));
	}
}

static const void *code_of(enum ebpf_place place, size_t *size)
{
	return place == EBPF_PLACE_RULE ? rule_bpf__elf_bytes(size) : meter_bpf__elf_bytes(size);
}

static struct bpf_object *open_object(enum ebpf_place place)
{
	size_t size;
	const void *code = code_of(place, &size);
	struct bpf_object *object;
	struct bpf_program *program;

	object = bpf_object__open_mem(code, size, NULL);
	if (!object || place == EBPF_PLACE_RULE)
		return object;
	bpf_object__for_each_program(program, object) {
		bpf_program__set_type(program, PROGRAM_NETFILTER);
		bpf_program__set_expected_attach_type(program, ATTACH_NETFILTER);
	}
	return object;
}

static int descriptor_of(const struct bpf_object *object, const char *program)
{
	return dup(bpf_program__fd(bpf_object__find_program_by_name(object, program)));
}

/* All that is needed of the object is descriptors: the rest, some MiB, goes at once. */
static bool load(struct ebpf_maps *maps, enum ebpf_place place, GError **error)
{
	struct bpf_object *object = open_object(place);
	bool link = place == EBPF_PLACE_LINK, done;

	if (!object)
		return ebpf_refuse(error, "the programs of this build cannot be read");
	done = ebpf_load(object, place, COUNT, link ? "a netfilter link" : "a rule", link ? "kernel 6.4" : "kernel 5.14", error);
	if (done) {
		maps->place = place;
		maps->count = descriptor_of(object, COUNT);
		maps->hook = descriptor_of(object, HOOK);
		ebpf_take_fds(object, ebpf_map_names, EBPF_MAPS, maps->fds);
	}
	bpf_object__close(object);
	return done;
}

/* ---- pins ---- */

/* Of the program that counts, and of the hook.  The caller frees them. */
static void program_pins(enum ebpf_place place, char **count_pin, char **hook_pin)
{
	size_t size;
	const void *code = code_of(place, &size);
	g_autofree char *build = g_compute_checksum_for_data(G_CHECKSUM_SHA256, code, size);

	*count_pin = g_strdup_printf(EBPF_PINS "/" COUNT "-%.16s", build);
	*hook_pin = g_strdup_printf(EBPF_PINS "/" HOOK "-%.16s", build);
}

static bool uses(int program, int map)
{
	uint32_t ids[MAPS_MAX], size = sizeof(struct bpf_prog_info), map_size = sizeof(struct bpf_map_info);
	struct bpf_prog_info info = { .map_ids = (uintptr_t)ids, .nr_map_ids = MAPS_MAX };
	struct bpf_map_info map_info = { 0 };

	if (bpf_obj_get_info_by_fd(program, &info, &size) < 0 || bpf_obj_get_info_by_fd(map, &map_info, &map_size) < 0)
		return false;
	for (unsigned i = 0; i < MIN(info.nr_map_ids, MAPS_MAX); i++)
		if (ids[i] == map_info.id)
			return true;
	return false;
}

/* Somebody may have unpinned a map and not the program: that counts into what nobody else knows any more.  The names of
 * classes are not for the program. */
static bool is_whole(const struct ebpf_maps *maps, int count, int hook)
{
	static const enum ebpf_map counts_by[] = { EBPF_ROUTERS, EBPF_ADDRESSES, EBPF_PREFIXES, EBPF_COUNTERS };
	bool whole = uses(hook, maps->fds[EBPF_PROGRAMS]);

	for (unsigned i = 0; i < G_N_ELEMENTS(counts_by); i++)
		whole = whole && uses(count, maps->fds[counts_by[i]]);
	return whole;
}

static bool take_pinned(struct ebpf_maps *maps, enum ebpf_place place)
{
	g_autofree char *count_pin = NULL, *hook_pin = NULL;
	int count, hook;

	if (maps->place != place || maps->fds[EBPF_PROGRAMS] < 0)
		return false;
	program_pins(place, &count_pin, &hook_pin);
	count = bpf_obj_get(count_pin);
	hook = bpf_obj_get(hook_pin);
	if (count >= 0 && hook >= 0 && is_whole(maps, count, hook)) {
		maps->count = count;
		maps->hook = hook;
		return true;
	}
	if (count >= 0)
		close(count);
	if (hook >= 0)
		close(hook);
	return false;
}

/* One that cannot be pinned is loaded again by the next start; those of another build go. */
static void pin_anew(const struct ebpf_maps *maps)
{
	g_autofree char *count_pin = NULL, *hook_pin = NULL;

	program_pins(maps->place, &count_pin, &hook_pin);
	ebpf_remove_pins(COUNT "-");
	ebpf_remove_pins(HOOK "-");
	bpf_obj_pin(maps->count, count_pin);
	bpf_obj_pin(maps->hook, hook_pin);
}

static bool take(struct ebpf_maps *maps, enum ebpf_place place, GError **error)
{
	if (take_pinned(maps, place))
		return true;
	if (!load(maps, place, error))
		return false;
	pin_anew(maps);
	return true;
}

bool ebpf_programs_take(struct ebpf_maps *maps, enum ebpf_place wanted, GError **error)
{
	g_autoptr(GError) first = NULL;

	if (take(maps, wanted == EBPF_PLACE_AUTO ? EBPF_PLACE_LINK : wanted, &first))
		return true;
	if (wanted != EBPF_PLACE_AUTO) {
		g_propagate_error(error, g_steal_pointer(&first));
		return false;
	}
	if (take(maps, EBPF_PLACE_RULE, error))
		return true;
	g_prefix_error(error, "%s; ", first->message);
	return false;
}

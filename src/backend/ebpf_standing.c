/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See ebpf_standing.h.
 */
#include "backend/ebpf_standing.h"

#include "core/classes.h"

#include <arpa/inet.h>
#include <string.h>

/* ---- words ---- */

uint32_t standing_class(const struct standing *standing, const char *class_name)
{
	const GPtrArray *names = standing->classes->names;

	for (unsigned i = 0; i < names->len; i++)
		if (!g_strcmp0(names->pdata[i], class_name))
			return i;
	return METER_CLASSES;
}

/* A class without a number has no counters: what is found for it is nobody's. */
struct meter_counter_key standing_counter(const struct standing *standing, const struct meter_key *key)
{
	uint32_t address = htonl(key->address), class_id = standing_class(standing, key->class_name);
	struct meter_counter_key counter = { .slot = standing->router.slot, .kind = key->kind, .class_id = class_id };

	if (class_id == METER_CLASSES)
		counter.kind = METER_LOST - 1;
	memcpy(counter.address, &address, sizeof address);
	return counter;
}

bool standing_meter(const struct standing *standing, const struct meter_counter_key *counter, struct meter_key *key)
{
	const GPtrArray *names = standing->classes->names;
	uint32_t address;

	memcpy(&address, counter->address, sizeof address);
	if (counter->kind > KIND_UNATTRIBUTED || counter->class_id >= names->len || !names->pdata[counter->class_id])
		return false;
	key->kind = counter->kind;
	key->address = ntohl(address);
	key->class_name = names->pdata[counter->class_id];
	return true;
}

uint32_t standing_table(const struct standing *standing)
{
	return standing->router.table & METER_TABLE;
}

bool standing_is_sent(const struct standing *standing)
{
	return standing->router.table & METER_OUT_SENT;
}

struct meter_counter_key standing_lost(const struct standing *standing)
{
	return (struct meter_counter_key){ .slot = standing->router.slot, .kind = METER_LOST };
}

struct meter_address_key standing_address(const struct standing *standing, const struct ebpf_address *address)
{
	return (struct meter_address_key){
		.address = htonl(address->address), .slot = standing->router.slot, .kind = address->kind,
	};
}

struct meter_prefix_key standing_prefix(uint32_t table, const struct prefix *prefix)
{
	return (struct meter_prefix_key){
		.prefixlen = 32 + prefix->length, .table = table, .address = htonl(prefix->address),
	};
}

/* ---- one ---- */

/* A large node has 300,000 of them: each in a piece of memory of its own would take four times the room.  Where a pointer is
 * shorter this back end is not built (meson.build). */
G_STATIC_ASSERT(sizeof(void *) == sizeof(struct meter_counter_key));

void *standing_word(const struct meter_counter_key *counter)
{
	void *word;

	memcpy(&word, counter, sizeof word);
	return word;
}

struct meter_counter_key standing_key(const void *word)
{
	struct meter_counter_key counter;

	memcpy(&counter, &word, sizeof counter);
	return counter;
}

static guint word_hash(const void *word)
{
	guint64 bits = (guintptr)word;

	return (guint)bits * 2654435761U + (guint)(bits >> 32);
}

static struct standing *standing_new(const struct standings *standings, uint64_t cookie)
{
	struct standing *standing = g_new0(struct standing, 1);

	standing->cookie = standing->router.cookie = cookie;
	standing->classes = &standings->classes;
	standing->addresses = g_array_new(FALSE, FALSE, sizeof(struct ebpf_address));
	standing->prefixes = g_array_new(FALSE, FALSE, sizeof(struct ebpf_prefix));
	standing->old = g_array_new(FALSE, FALSE, sizeof(struct meter_prefix_key));
	standing->counters = g_hash_table_new(word_hash, NULL);
	return standing;
}

static void standing_free(void *data)
{
	struct standing *standing = data;

	g_array_unref(standing->addresses);
	g_array_unref(standing->prefixes);
	g_array_unref(standing->old);
	g_hash_table_unref(standing->counters);
	g_free(standing->plan);
	g_free(standing);
}

/* ---- all ---- */

struct standing *standings_find(const struct standings *standings, uint64_t cookie)
{
	return g_hash_table_lookup(standings->routers, &cookie);
}

static void insert(struct standings *standings, struct standing *standing)
{
	g_hash_table_replace(standings->routers, &standing->cookie, standing);
	g_hash_table_add(standings->slots, GUINT_TO_POINTER(standing->router.slot));
}

struct standing *standings_add(struct standings *standings, uint64_t cookie, const char *ns, const char *directory,
                               const char *tag)
{
	struct standing *standing;
	uint32_t slot = 0;

	while (slot < METER_ROUTERS && g_hash_table_contains(standings->slots, GUINT_TO_POINTER(slot)))
		slot++;
	if (slot == METER_ROUTERS)
		return NULL;
	standing = standing_new(standings, cookie);
	standing->router.slot = slot;
	g_strlcpy(standing->router.ns, ns, sizeof standing->router.ns);
	g_strlcpy(standing->router.directory, directory, sizeof standing->router.directory);
	g_strlcpy(standing->router.tag, tag, sizeof standing->router.tag);
	insert(standings, standing);
	return standing;
}

void standings_forget(struct standings *standings, struct standing *standing)
{
	g_hash_table_remove(standings->slots, GUINT_TO_POINTER(standing->router.slot));
	g_hash_table_remove(standings->routers, &standing->cookie);
}

bool standings_put(const struct ebpf_maps *maps, struct standings *standings, struct standing *standing, enum ebpf_put how,
                   GError **error)
{
	struct meter_router *router = &standing->router;

	router->version = router->version_too = ++standings->last_version;
	router->seen = router->gateway_mark = 0;
	return ebpf_put(maps, EBPF_ROUTERS, &standing->cookie, router, how, error);
}

/* ---- classes ---- */

static bool put_class(const struct ebpf_maps *maps, uint32_t number, const char *name, GError **error)
{
	struct meter_class value = { .name = "" };

	strncpy(value.name, name, sizeof value.name - 1);
	return ebpf_put(maps, EBPF_CLASSES, &number, &value, EBPF_ANY, error);
}

bool standings_name_class(const struct ebpf_maps *maps, struct standings *standings, const char *class_name, GError **error)
{
	GPtrArray *names = standings->classes.names;
	struct standing any = { .classes = &standings->classes };

	if (standing_class(&any, class_name) < METER_CLASSES)
		return true;
	if (names->len == METER_CLASSES) {
		g_set_error(error, BACKEND_ERROR, BACKEND_ERROR_FAILED, "there are %d names of classes already", METER_CLASSES);
		return false;
	}
	if (!put_class(maps, names->len, class_name, error))
		return false;
	g_ptr_array_add(names, (void *)g_intern_string(class_name));
	return true;
}

/* Numbers are given in order.  The first one is what the program calls `cloud`. */
static GPtrArray *read_classes(const struct ebpf_maps *maps)
{
	GPtrArray *names = g_ptr_array_new();

	g_ptr_array_add(names, (void *)g_intern_string("cloud"));
	for (uint32_t i = 1; i < METER_CLASSES; i++) {
		struct meter_class value;

		if (!ebpf_get(maps, EBPF_CLASSES, &i, &value) || !value.name[0])
			break;
		value.name[METER_CLASS_LEN - 1] = '\0';
		g_ptr_array_add(names, (void *)(class_name_is_valid(value.name) ? g_intern_string(value.name) : NULL));
	}
	return names;
}

/* ---- reading ---- */

struct reading_maps {
	const struct ebpf_maps *maps;
	struct standings *standings;
	GPtrArray *by_slot; /* of struct standing *, NULL where there is none */
};

static struct standing *at_slot(const struct reading_maps *reading, uint32_t slot)
{
	g_hash_table_add(reading->standings->slots, GUINT_TO_POINTER(slot)); /* a stranger's entries take it, too */
	return slot < METER_ROUTERS ? reading->by_slot->pdata[slot] : NULL;
}

static void take_router(const void *key, void *data)
{
	struct reading_maps *reading = data;
	struct standing *standing = standing_new(reading->standings, *(const uint64_t *)key);

	if (!ebpf_get(reading->maps, EBPF_ROUTERS, key, &standing->router) || standing->router.slot >= METER_ROUTERS ||
	    standing->router.cookie != standing->cookie) {
		standing_free(standing);
		return;
	}
	reading->standings->last_version = MAX(reading->standings->last_version, standing->router.version);
	standing->router.tag[METER_TAG_LEN] = '\0';
	standing->router.ns[METER_NS_LEN - 1] = '\0';
	standing->router.directory[METER_DIRECTORY_LEN - 1] = '\0';
	insert(reading->standings, standing);
	reading->by_slot->pdata[standing->router.slot] = standing;
}

static void take_address(const void *data, void *user_data)
{
	const struct meter_address_key *key = data;
	struct reading_maps *reading = user_data;
	struct standing *standing = at_slot(reading, key->slot);
	struct ebpf_address entry = { .address = ntohl(key->address), .kind = key->kind };
	struct meter_address value;

	if (!standing || !ebpf_get(reading->maps, EBPF_ADDRESSES, key, &value))
		return;
	entry.owner = ntohl(value.owner);
	entry.local = value.local;
	g_array_append_val(standing->addresses, entry);
}

static void take_prefix(const void *data, void *user_data)
{
	const struct meter_prefix_key *key = data;
	struct reading_maps *reading = user_data;
	struct ebpf_prefix entry = { .prefix = { .address = ntohl(key->address), .length = key->prefixlen - 32 } };
	struct standing *standing;
	struct meter_prefix value;

	reading->standings->last_table = MAX(reading->standings->last_table, key->table);
	/* who asks for the entry itself gets it: nothing is longer */
	if (!ebpf_get(reading->maps, EBPF_PREFIXES, key, &value))
		return;
	standing = at_slot(reading, value.router);
	if (!standing)
		return;
	if (key->table != standing_table(standing) || value.class_id >= standing->classes->names->len) {
		g_array_append_val(standing->old, *key);
		return;
	}
	entry.class_name = standing->classes->names->pdata[value.class_id];
	entry.local = value.local;
	g_array_append_val(standing->prefixes, entry);
}

static void take_counter(const void *data, void *user_data)
{
	const struct meter_counter_key *key = data;
	struct standing *standing = at_slot(user_data, key->slot);

	if (standing)
		g_hash_table_add(standing->counters, standing_word(key));
}

static void sort_all(const struct standings *standings)
{
	GHashTableIter each;
	void *item;

	g_hash_table_iter_init(&each, standings->routers);
	while (g_hash_table_iter_next(&each, NULL, &item)) {
		struct standing *standing = item;

		g_array_sort(standing->addresses, ebpf_address_compare);
		g_array_sort(standing->prefixes, ebpf_prefix_compare);
	}
}

struct standings *standings_read(const struct ebpf_maps *maps, GError **error)
{
	struct reading_maps reading = { .maps = maps, .standings = g_new0(struct standings, 1) };
	bool done;

	reading.standings->routers = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, standing_free);
	reading.standings->slots = g_hash_table_new(NULL, NULL);
	reading.standings->classes.names = read_classes(maps);
	reading.by_slot = g_ptr_array_new();
	g_ptr_array_set_size(reading.by_slot, METER_ROUTERS);
	done = ebpf_each(maps, EBPF_ROUTERS, sizeof(uint64_t), take_router, &reading, error) &&
	       ebpf_each(maps, EBPF_ADDRESSES, sizeof(struct meter_address_key), take_address, &reading, error) &&
	       ebpf_each(maps, EBPF_PREFIXES, sizeof(struct meter_prefix_key), take_prefix, &reading, error) &&
	       ebpf_each(maps, EBPF_COUNTERS, sizeof(struct meter_counter_key), take_counter, &reading, error);
	g_ptr_array_unref(reading.by_slot);
	if (done) {
		sort_all(reading.standings);
		return reading.standings;
	}
	standings_free(reading.standings);
	return NULL;
}

void standings_free(struct standings *standings)
{
	if (!standings)
		return;
	g_hash_table_unref(standings->routers);
	g_hash_table_unref(standings->slots);
	g_ptr_array_unref(standings->classes.names);
	g_free(standings);
}

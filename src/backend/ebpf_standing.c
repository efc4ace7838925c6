/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See ebpf_standing.h.
 */
#include "backend/ebpf_standing.h"

#include "core/classes.h"

#include <arpa/inet.h>
#include <string.h>

/* ---- words ---- */

struct meter_counter_key standing_counter(const struct standing *standing, const struct meter_key *key)
{
	struct meter_counter_key counter = { .slot = standing->router.slot, .kind = key->kind };
	uint32_t address = htonl(key->address);

	memcpy(counter.address, &address, sizeof address);
	strncpy(counter.class_name, key->class_name, sizeof counter.class_name - 1);
	return counter;
}

bool standing_meter(const struct meter_counter_key *counter, struct meter_key *key)
{
	char class_name[METER_CLASS_LEN + 1] = "";
	uint32_t address;

	memcpy(class_name, counter->class_name, METER_CLASS_LEN);
	memcpy(&address, counter->address, sizeof address);
	if (counter->kind > KIND_UNATTRIBUTED || !class_name_is_valid(class_name))
		return false;
	key->kind = counter->kind;
	key->address = ntohl(address);
	key->class_name = g_intern_string(class_name);
	return true;
}

struct meter_counter_key standing_lost(const struct standing *standing)
{
	return (struct meter_counter_key){ .slot = standing->router.slot, .kind = METER_LOST };
}

struct meter_address_key standing_address(const struct standing *standing, const struct ebpf_address *address)
{
	return (struct meter_address_key){
		.slot = standing->router.slot, .address = htonl(address->address), .kind = address->kind,
	};
}

struct meter_prefix_key standing_prefix(uint32_t table, const struct prefix *prefix)
{
	return (struct meter_prefix_key){
		.prefixlen = 32 + prefix->length, .table = table, .address = htonl(prefix->address),
	};
}

/* ---- one ---- */

static guint counter_hash(const void *key)
{
	const guint32 *words = key;
	guint hash = 5381;

	for (unsigned i = 0; i < sizeof(struct meter_counter_key) / sizeof *words; i++)
		hash = hash * 33 + words[i];
	return hash;
}

static gboolean counter_equal(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct meter_counter_key)) == 0;
}

static struct standing *standing_new(uint64_t cookie)
{
	struct standing *standing = g_new0(struct standing, 1);

	standing->cookie = cookie;
	standing->addresses = g_array_new(FALSE, FALSE, sizeof(struct ebpf_address));
	standing->prefixes = g_array_new(FALSE, FALSE, sizeof(struct ebpf_prefix));
	standing->old = g_array_new(FALSE, FALSE, sizeof(struct meter_prefix_key));
	standing->counters = g_hash_table_new_full(counter_hash, counter_equal, g_free, NULL);
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
	standing = standing_new(cookie);
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
	struct standing *standing = standing_new(*(const uint64_t *)key);

	if (!ebpf_get(reading->maps, EBPF_ROUTERS, key, &standing->router) || standing->router.slot >= METER_ROUTERS ||
	    !ebpf_get(reading->maps, EBPF_STATES, &standing->router.slot, &standing->state)) {
		standing_free(standing);
		return;
	}
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
	g_array_append_val(standing->addresses, entry);
}

static void take_prefix(const void *data, void *user_data)
{
	const struct meter_prefix_key *key = data;
	struct reading_maps *reading = user_data;
	struct ebpf_prefix entry = { .prefix = { .address = ntohl(key->address), .length = key->prefixlen - 32 } };
	char class_name[METER_CLASS_LEN + 1] = "";
	struct standing *standing;
	struct meter_prefix value;

	reading->standings->last_table = MAX(reading->standings->last_table, key->table);
	/* who asks for the entry itself gets it: nothing is longer */
	if (!ebpf_get(reading->maps, EBPF_PREFIXES, key, &value))
		return;
	standing = at_slot(reading, value.router);
	if (!standing)
		return;
	if (key->table != (standing->state.table & ~METER_HAS_UNATTRIBUTED)) {
		g_array_append_val(standing->old, *key);
		return;
	}
	memcpy(class_name, value.class_name, METER_CLASS_LEN);
	entry.class_name = g_intern_string(class_name);
	entry.local = value.local;
	g_array_append_val(standing->prefixes, entry);
}

static void take_counter(const void *data, void *user_data)
{
	const struct meter_counter_key *key = data;
	struct standing *standing = at_slot(user_data, key->slot);

	if (standing)
		g_hash_table_add(standing->counters, g_memdup2(key, sizeof *key));
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
	g_free(standings);
}

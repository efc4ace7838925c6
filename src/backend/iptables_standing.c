/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See iptables_standing.h.
 */
#include "backend/iptables_standing.h"

#include "kernel/clock.h"

#include <string.h>

/* ---- the dump ---- */

struct taking {
	struct ipt_standing *standing;
	struct ipt_set *set; /* the one at hand; NULL: a stranger's */
	unsigned bank;
};

static bool take(const struct ipset_set *set, const struct ipset_element *element, void *data, GError **error)
{
	struct taking *taking = data;
	struct ipt_element own;
	const char *class_name;
	enum ipt_role role;

	if (!element) {
		taking->set = NULL;
		if (!ipt_set_parse(set->name, &taking->bank, &role, &class_name))
			return true;
		taking->set = ipt_bank_add(&taking->standing->banks[taking->bank], taking->bank, role, class_name);
		taking->set->hashsize = set->hashsize;
		return true;
	}
	if (!taking->set)
		return true;
	if (ipt_role_counts(taking->set->role) && !element->counted) { /* that is not one that counted nothing */
		g_set_error(error, NETLINK_ERROR, NETLINK_ERROR_INTERRUPTED, "ipset %s: an element came without its counts",
		            set->name);
		return false;
	}
	own = (struct ipt_element){
		.address = element->address, .length = element->length, .packets = element->packets, .bytes = element->bytes,
	};
	if (ipt_role_counts(taking->set->role) && (!element->comment || !ipt_comment_parse(element->comment, &own)))
		taking->standing->strange[taking->bank] = true;
	else
		g_array_append_val(taking->set->elements, own);
	return true;
}

bool ipt_standing_read(struct netlink *netlink, struct ipt_standing *standing, GError **error)
{
	struct ipt_standing read = { 0 };
	struct taking taking = { .standing = &read };

	for (unsigned i = 0; i < IPTABLES_BANKS; i++)
		ipt_bank_init(&read.banks[i]);
	if (!ipset_each(netlink, take, &taking, error)) {
		ipt_standing_clear(&read);
		return false;
	}
	read.at = clock_now();
	for (unsigned i = 0; i < IPTABLES_BANKS; i++)
		for (unsigned j = 0; j < read.banks[i].sets->len; j++)
			g_array_sort(((struct ipt_set *)read.banks[i].sets->pdata[j])->elements, ipt_element_compare);
	ipt_standing_clear(standing);
	*standing = read;
	return true;
}

void ipt_standing_clear(struct ipt_standing *standing)
{
	for (unsigned i = 0; i < IPTABLES_BANKS; i++)
		ipt_bank_clear(&standing->banks[i]);
}

void ipt_standing_forget_addresses(struct ipt_standing *standing)
{
	for (unsigned i = 0; i < IPTABLES_BANKS; i++)
		for (unsigned j = 0; j < standing->banks[i].sets->len; j++) {
			struct ipt_set *set = standing->banks[i].sets->pdata[j];

			if (set->role == IPT_LOCAL_SRC)
				continue;
			g_array_unref(set->elements);
			set->elements = g_array_new(FALSE, TRUE, sizeof(struct ipt_element));
		}
}

/* ---- readings ---- */

/* A reading in the making: which elements of it have been seen. */
struct pair {
	struct reading reading;
	unsigned in, out;
};

static void take_element(GHashTable *pairs, const struct ipt_element *element)
{
	struct pair *pair = g_hash_table_lookup(pairs, &element->key);

	if (!pair) {
		pair = g_new0(struct pair, 1);
		pair->reading.key = element->key;
		g_hash_table_insert(pairs, &pair->reading.key, pair);
	}
	if (element->out) {
		pair->out++;
		pair->reading.counts.out_bytes += element->bytes;
		pair->reading.counts.out_packets += element->packets;
	} else {
		pair->in++;
		pair->reading.counts.in_bytes += element->bytes;
		pair->reading.counts.in_packets += element->packets;
	}
}

/* How many elements make a value: one, or two halves. */
static bool is_whole(const struct pair *pair)
{
	switch (pair->reading.key.kind) {
	case KIND_FLOATING:
		return pair->in == 1 && pair->out == 1;
	case KIND_GATEWAY:
		return pair->in == 1 && pair->out == 2;
	case KIND_UNATTRIBUTED:
		return pair->in == 2 && pair->out == 2;
	}
	return false;
}

static void take_set(struct snapshot *snapshot, struct ipt_tag *tag, GHashTable *pairs, const struct ipt_set *set)
{
	for (unsigned i = 0; i < set->elements->len; i++) {
		const struct ipt_element *element = &g_array_index(set->elements, struct ipt_element, i);

		if (!snapshot->generation) {
			*tag = element->tag;
			snapshot->generation = ipt_tag_text(tag);
		}
		if (tag->high == element->tag.high && tag->low == element->tag.low)
			take_element(pairs, element);
		else
			snapshot->intact = false;
	}
}

struct snapshot *ipt_standing_snapshot(const struct ipt_standing *standing, unsigned bank)
{
	g_autoptr(GHashTable) pairs = g_hash_table_new_full(meter_key_hash, meter_key_equal, NULL, g_free);
	struct snapshot *snapshot = snapshot_new();
	const GPtrArray *sets = standing->banks[bank].sets;
	struct ipt_tag tag;
	GHashTableIter each;
	void *pair;

	snapshot->at = standing->at;
	snapshot->intact = !standing->strange[bank];
	for (unsigned i = 0; i < sets->len; i++)
		if (ipt_role_counts(((struct ipt_set *)sets->pdata[i])->role))
			take_set(snapshot, &tag, pairs, sets->pdata[i]);
	g_hash_table_iter_init(&each, pairs);
	while (g_hash_table_iter_next(&each, NULL, &pair)) {
		if (is_whole(pair))
			g_array_append_val(snapshot->readings, ((struct pair *)pair)->reading);
		else
			snapshot->intact = false;
	}
	g_array_sort(snapshot->readings, snapshot_compare);
	return snapshot;
}

/* ---- content ---- */

static uint64_t mix(uint64_t hash, uint64_t word)
{
	hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
	return hash ^ hash >> 32;
}

/* A sum over elements: in which order the kernel lists them says nothing. */
uint64_t ipt_bank_content(const struct ipt_bank *bank)
{
	uint64_t content = bank->sets->len + 1;

	for (unsigned i = 0; i < bank->sets->len; i++) {
		const struct ipt_set *set = bank->sets->pdata[i];
		uint64_t seed = mix(mix(set->role, g_direct_hash(set->class_name)), set->elements->len);

		content += seed;
		for (unsigned j = 0; j < set->elements->len; j++) {
			const struct ipt_element *element = &g_array_index(set->elements, struct ipt_element, j);
			uint64_t hash = mix(mix(seed, element->address), element->length);

			if (ipt_role_counts(set->role))
				hash = mix(mix(hash, (uint64_t)element->key.address << 2 | element->key.kind), element->out);
			content += hash;
		}
	}
	return content;
}

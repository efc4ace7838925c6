/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The nft back end: named counters in a table of our own, `ip fipmeter`, reached through maps.
 *
 * A named counter outlives the map element that leads to it.  So a counter stops matching when its element goes, and
 * its final value is read at leisure; and one dump of the table's counters reads everything.  Two of the counters
 * count nothing, their names say something, and that comes in the same dump as the values: `generation_TAG`, the tag
 * that lives and dies with the counters, and `layout_DIGEST`, which rules were put in (so that a reader can tell
 * whether they still stand).
 *
 * Every change is one transaction: what is there is dumped and compared with the layout that the plan asks for, and
 * the difference is sent.  nf_tables counts its transactions in a namespace (the generation id); where it has not
 * moved since we last saw all as it should be, there is nothing to look at.
 */
#include "backend/backend.h"

#include "backend/nft_change.h"
#include "backend/nft_layout.h"
#include "core/plan.h"
#include "kernel/clock.h"
#include "kernel/nftables.h"

#include <libnftnl/object.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <linux/netfilter_ipv4.h>
#include <string.h>

/* All is as a plan wants it, seen at a generation id of nf_tables. */
struct settled {
	char *tag, *plan; /* plan: its digest */
	uint32_t id;
};

/* What a generation was in when we last saw all as it should be.  What somebody takes out of the maps stops counting
 * though its counter stands; and a ruleset that he saved and restored brings tag and counters back in another table, with
 * values of before. */
struct home {
	char *tag;
	uint64_t table, content; /* handle; which address led where */
};

struct nft {
	struct backend backend;
	GHashTable *settled; /* namespace -> struct settled */
	GHashTable *homes;   /* namespace -> struct home */
};

static void settled_free(void *data)
{
	struct settled *settled = data;

	g_free(settled->tag);
	g_free(settled->plan);
	g_free(settled);
}

static void home_free(void *data)
{
	g_free(((struct home *)data)->tag);
	g_free(data);
}

static void batch_cleanup(struct nftbatch **batch)
{
	nftbatch_free(*batch);
}
#define scoped_batch __attribute__((cleanup(batch_cleanup))) struct nftbatch

/* ---- reading ---- */

/* The counters of the table as they come out of the dump. */
struct found_counters {
	GArray *pairs;       /* of struct pair */
	GHashTable *by_key;  /* a copy of a pair's struct meter_key -> its place + 1 */
	char *tag, *layout;
	bool strange;        /* a counter whose name is none of ours, or two tags */
};

struct pair {
	struct reading reading;
	bool has_in, has_out;
};

static struct pair *pair_of(struct found_counters *found, const struct meter_key *key)
{
	unsigned at = GPOINTER_TO_UINT(g_hash_table_lookup(found->by_key, key));

	if (!at) {
		struct pair pair = { .reading.key = *key };

		g_array_append_val(found->pairs, pair);
		at = found->pairs->len;
		g_hash_table_insert(found->by_key, g_memdup2(key, sizeof *key), GUINT_TO_POINTER(at));
	}
	return &g_array_index(found->pairs, struct pair, at - 1);
}

/* A counter that does not say what it counted is not one that counted nothing. */
static bool take_value(struct found_counters *found, const struct meter_key *key, bool out, struct nftnl_obj *object,
                       GError **error)
{
	uint64_t bytes = nftnl_obj_get_u64(object, NFTNL_OBJ_CTR_BYTES);
	uint64_t packets = nftnl_obj_get_u64(object, NFTNL_OBJ_CTR_PKTS);
	struct pair *pair = pair_of(found, key);

	if (!nftnl_obj_is_set(object, NFTNL_OBJ_CTR_BYTES) || !nftnl_obj_is_set(object, NFTNL_OBJ_CTR_PKTS)) {
		g_set_error(error, NETLINK_ERROR, NETLINK_ERROR_INTERRUPTED, "nf_tables: a counter came without its value");
		return false;
	}
	if (out) {
		pair->has_out = true;
		pair->reading.counts.out_bytes = bytes;
		pair->reading.counts.out_packets = packets;
	} else {
		pair->has_in = true;
		pair->reading.counts.in_bytes = bytes;
		pair->reading.counts.in_packets = packets;
	}
	return true;
}

static void take_word(struct found_counters *found, char **word, const char *text)
{
	if (*word)
		found->strange = true;
	g_free(*word);
	*word = g_strdup(text);
}

static bool take_counter(const struct nftnl_obj *object, void *data, GError **error)
{
	struct found_counters *found = data;
	const char *name = nftnl_obj_get_str((struct nftnl_obj *)object, NFTNL_OBJ_NAME);
	struct meter_key key;
	bool out;

	if (!name || nftnl_obj_get_u32((struct nftnl_obj *)object, NFTNL_OBJ_TYPE) != NFT_OBJECT_COUNTER)
		found->strange = true;
	else if (g_str_has_prefix(name, NFT_TAG_PREFIX) && strlen(name) == strlen(NFT_TAG_PREFIX) + GENERATION_LEN)
		take_word(found, &found->tag, name + strlen(NFT_TAG_PREFIX));
	else if (g_str_has_prefix(name, NFT_LAYOUT_PREFIX))
		take_word(found, &found->layout, name + strlen(NFT_LAYOUT_PREFIX));
	else if (plan_counter_parse(name, &key, &out))
		return take_value(found, &key, out, (struct nftnl_obj *)object, error);
	else
		found->strange = true;
	return true;
}

static void found_clear(struct found_counters *found)
{
	g_array_unref(found->pairs);
	g_hash_table_unref(found->by_key);
	g_free(found->tag);
	g_free(found->layout);
}

/* A key of which only one counter stands is no reading. */
static void take_pairs(struct snapshot *snapshot, const struct found_counters *found)
{
	for (unsigned i = 0; i < found->pairs->len; i++) {
		const struct pair *pair = &g_array_index(found->pairs, struct pair, i);

		if (pair->has_in && pair->has_out)
			g_array_append_val(snapshot->readings, pair->reading);
		else
			snapshot->intact = false;
	}
	g_array_sort(snapshot->readings, snapshot_compare);
}

/* True if nothing has changed since all was as it should be; else forgets that it was. */
static bool is_settled(struct nft *nft, const char *ns, const char *tag, uint32_t id)
{
	const struct settled *settled = g_hash_table_lookup(nft->settled, ns);

	if (settled && tag && settled->id == id && g_str_equal(settled->tag, tag))
		return true;
	g_hash_table_remove(nft->settled, ns);
	return false;
}

/* Has nobody but us changed what leads to the counters?  Of a generation that was not seen before nothing is known. */
static bool is_at_home(struct nft *nft, struct netlink *netlink, const char *ns, const char *tag, uint64_t table,
                       bool *is_home, GError **error)
{
	const struct home *home = g_hash_table_lookup(nft->homes, ns);
	uint64_t content;

	*is_home = true;
	if (!home || !tag || !g_str_equal(home->tag, tag))
		return true;
	if (!nft_content(netlink, &content, error))
		return false;
	*is_home = home->table == table && home->content == content;
	return true;
}

static bool read_counters(struct nft *nft, struct netlink *netlink, const char *ns, struct snapshot *snapshot,
                          struct found_counters *found, GError **error)
{
	g_autofree char *rules = NULL;
	struct nftables_table table;
	bool is_home;
	uint32_t id;

	if (!nftables_generation(netlink, &id, error) ||
	    !nftables_each_object(netlink, NFPROTO_IPV4, NFT_TABLE, take_counter, found, error))
		return false;
	snapshot->at = clock_now();
	snapshot->generation = g_strdup(found->tag);
	snapshot->intact = !found->strange;
	take_pairs(snapshot, found);
	if (is_settled(nft, ns, found->tag, id))
		return true;
	if (!nftables_look(netlink, NFPROTO_IPV4, NFT_TABLE, &table, error))
		return false;
	if (!table.handle)
		return true;
	rules = nft_rules_standing(netlink, error);
	if (!rules || !is_at_home(nft, netlink, ns, found->tag, table.handle, &is_home, error))
		return false;
	snapshot->intact &= found->tag && !g_strcmp0(rules, found->layout) && is_home && !table.dormant;
	return true;
}

static struct snapshot *nft_read(struct backend *backend, const struct place *place, GError **error)
{
	struct nft *nft = (struct nft *)backend;
	struct found_counters found = {
		.pairs = g_array_new(FALSE, TRUE, sizeof(struct pair)),
		.by_key = g_hash_table_new_full(meter_key_hash, meter_key_equal, g_free, NULL),
	};
	struct snapshot *snapshot = snapshot_new();

	if (!read_counters(nft, place->netfilter, place->ns, snapshot, &found, error)) {
		snapshot_free(snapshot);
		snapshot = NULL;
		backend_refuse(error);
	}
	found_clear(&found);
	return snapshot;
}

/* ---- changing ---- */

static void remember_home(struct nft *nft, const char *ns, const char *tag, uint64_t table, uint64_t content)
{
	struct home *home = g_new(struct home, 1);

	*home = (struct home){ .tag = g_strdup(tag), .table = table, .content = content };
	g_hash_table_replace(nft->homes, g_strdup(ns), home);
}

/* All is as it should be at that generation id; unless somebody else changed something at the same time. */
static void remember(struct nft *nft, const struct place *place, const char *digest, const char *tag, uint32_t expected)
{
	struct settled *settled;
	struct nftables_table table;
	uint64_t content;
	uint32_t id;

	g_hash_table_remove(nft->homes, place->ns);
	if (!nftables_look(place->netfilter, NFPROTO_IPV4, NFT_TABLE, &table, NULL) || table.dormant ||
	    !nft_content(place->netfilter, &content, NULL) || !nftables_generation(place->netfilter, &id, NULL) ||
	    id != expected)
		return;
	remember_home(nft, place->ns, tag, table.handle, content);
	settled = g_new(struct settled, 1);
	settled->tag = g_strdup(tag);
	settled->plan = g_strdup(digest);
	settled->id = id;
	g_hash_table_replace(nft->settled, g_strdup(place->ns), settled);
}

/* Where nobody has changed anything since all was well, a look at the plan will do; else the table is read. */
static bool nft_compare(struct backend *backend, const struct place *place, const struct plan *plan,
                        const struct snapshot *found, enum change *change, GError **error)
{
	struct nft *nft = (struct nft *)backend;
	const struct settled *settled = g_hash_table_lookup(nft->settled, place->ns);
	g_autofree char *digest = plan_digest(plan);
	scoped_batch *batch = NULL;
	uint32_t id;

	if (!found->generation || (settled && !g_str_equal(settled->plan, digest))) {
		*change = CHANGE_INSIDE;
		return true;
	}
	if (settled) {
		*change = CHANGE_NONE;
		return true;
	}
	if (!nftables_generation(place->netfilter, &id, error))
		return false;
	batch = nft_change(place->netfilter, plan, found->generation, found, error);
	if (!batch)
		return backend_refuse(error);
	*change = nftbatch_length(batch) ? CHANGE_INSIDE : CHANGE_NONE;
	if (*change == CHANGE_NONE)
		remember(nft, place, digest, found->generation, id);
	return true;
}

static bool nft_sync(struct backend *backend, const struct place *place, const struct plan *plan, const char *tag,
                     const struct snapshot *found, GError **error)
{
	g_autofree char *digest = plan_digest(plan);
	scoped_batch *batch = NULL;
	uint32_t id;

	if (!nftables_generation(place->netfilter, &id, error))
		return false;
	batch = nft_change(place->netfilter, plan, tag, found, error);
	if (!batch || !nftbatch_commit(batch, place->netfilter, error))
		return backend_refuse(error);
	remember((struct nft *)backend, place, digest, found->generation ? found->generation : tag,
	         nftbatch_length(batch) ? id + 1 : id);
	return true;
}

static bool nft_lacks(struct backend *backend, const struct place *place, const struct plan *plan, bool *lacks,
                      GError **error)
{
	return nft_lacks_local(place->netfilter, plan, lacks, error) || backend_refuse(error);
}

static bool nft_bury(struct backend *backend, const struct place *place, const struct plan *plan,
                     const struct snapshot *found, GError **error)
{
	scoped_batch *batch = NULL; /* there is hardly ever anything to do */
	unsigned at = 0;

	for (unsigned i = 0; i < found->readings->len; i++) {
		const struct meter_key *key = &g_array_index(found->readings, struct reading, i).key;
		g_autofree char *in = NULL, *out = NULL;

		if (plan_find_next(plan, key, &at))
			continue;
		if (!batch)
			batch = nftbatch_new(NFT_TABLE);
		in = plan_counter_name(key, false);
		out = plan_counter_name(key, true);
		nftbatch_delete_counter(batch, in);
		nftbatch_delete_counter(batch, out);
	}
	return !batch || nftbatch_commit(batch, place->netfilter, error);
}

/* ---- going ---- */

static bool nft_stop(struct backend *backend, const struct place *place, GError **error)
{
	scoped_batch *batch = nftbatch_new(NFT_TABLE);
	g_autoptr(GHashTable) chains = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

	g_hash_table_remove(((struct nft *)backend)->settled, place->ns);
	if (!nftables_each_chain(place->netfilter, NFPROTO_IPV4, NFT_TABLE, nft_take_name, chains, error))
		return false;
	if (!g_hash_table_contains(chains, NFT_BASE_CHAIN))
		return true;
	nftbatch_flush_chain(batch, NFT_BASE_CHAIN);
	nftbatch_delete_chain(batch, NFT_BASE_CHAIN);
	return nftbatch_commit(batch, place->netfilter, error);
}

static bool nft_remove(struct backend *backend, const struct place *place, GError **error)
{
	scoped_batch *batch = nftbatch_new(NFT_TABLE);
	bool exists;

	g_hash_table_remove(((struct nft *)backend)->settled, place->ns);
	g_hash_table_remove(((struct nft *)backend)->homes, place->ns);
	if (!nftables_has_table(place->netfilter, NFPROTO_IPV4, NFT_TABLE, &exists, error))
		return false;
	if (!exists)
		return true;
	nftbatch_delete_table(batch);
	return nftbatch_commit(batch, place->netfilter, error);
}

static void nft_forget(struct backend *backend, const struct place *place)
{
	g_hash_table_remove(((struct nft *)backend)->settled, place->ns);
	g_hash_table_remove(((struct nft *)backend)->homes, place->ns);
}

static void nft_free(struct backend *backend)
{
	g_hash_table_unref(((struct nft *)backend)->settled);
	g_hash_table_unref(((struct nft *)backend)->homes);
	g_free(backend);
}

struct backend *backend_nft_new(void)
{
	struct nft *nft = g_new(struct nft, 1);

	nft->backend = (struct backend){
		.name = "nft", .basis = BASIS_SKB, .priority = NF_IP_PRI_MANGLE, .list = "nft list counters table ip " NFT_TABLE,
		.show = "nft list counters table ip " NFT_TABLE " | grep -F -A 1",
		.read = nft_read, .compare = nft_compare, .sync = nft_sync, .lacks = nft_lacks, .bury = nft_bury,
		.stop = nft_stop, .remove = nft_remove, .forget = nft_forget, .free = nft_free,
	};
	nft->settled = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, settled_free);
	nft->homes = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, home_free);
	return &nft->backend;
}

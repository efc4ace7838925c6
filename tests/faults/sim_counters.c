/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The made-up back ends, with the promises of backend/backend.h and the steps of the real ones: `nft` changes all in one
 * transaction and has one generation at a time; `iptables` takes several steps, between which the agent may be killed,
 * and has two banks of counters, of which a new one takes over from the old.  And the neighbours, who put their hands on
 * what is ours.
 */
#include "sim.h"

#include "core/plan.h"
#include "inventory/watch.h"
#include "kernel/clock.h"

#include <string.h>

#define ROOM 12 /* counters that a new bank has place for beyond those it begins with */

struct sim_backend {
	struct backend backend;
	unsigned table;
};

/* ---- lives ---- */

static char *life_name(const char *tag, const struct meter_key *key)
{
	return g_strdup_printf("%s %d %u %s", tag, key->kind, key->address, key->class_name);
}

GPtrArray *counters_lives(const char *tag, const struct meter_key *key)
{
	g_autofree char *name = life_name(tag, key);

	return g_hash_table_lookup(sim.lives, name);
}

static void life_free(void *data)
{
	struct life *life = data;

	g_free(life->set);
	g_ptr_array_unref(life->parcels);
	g_array_unref(life->ends);
	g_array_unref(life->marks);
	g_array_unref(life->saved);
	g_free(life);
}

static struct life *life_new(const char *tag, const struct meter_key *key)
{
	char *name = life_name(tag, key);
	GPtrArray *all = g_hash_table_lookup(sim.lives, name);
	struct life *life = g_new0(struct life, 1);

	if (!all) {
		all = g_ptr_array_new_with_free_func(life_free);
		g_hash_table_insert(sim.lives, name, all);
	} else {
		g_free(name);
	}
	life->tag = g_intern_string(tag);
	life->key = *key;
	life->number = all->len;
	life->parcels = g_ptr_array_new();
	life->ends = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	life->marks = g_array_new(FALSE, FALSE, sizeof(struct counts));
	life->saved = g_array_new(FALSE, FALSE, sizeof(struct counts));
	g_ptr_array_add(all, life);
	return life;
}

static struct life *find_life(const struct bank *bank, const struct meter_key *key)
{
	for (unsigned i = 0; bank->lives && i < bank->lives->len; i++) {
		struct life *life = bank->lives->pdata[i];

		if (!meter_key_compare(&life->key, key))
			return life;
	}
	return NULL;
}

static void bank_clear(struct bank *bank)
{
	g_clear_pointer(&bank->tag, g_free);
	g_clear_pointer(&bank->plan, plan_free);
	g_clear_pointer(&bank->lives, g_ptr_array_unref);
	g_clear_pointer(&bank->removed, g_ptr_array_unref);
}

/* The agent itself takes it away. */
static void drop_bank(struct bank *bank)
{
	for (unsigned i = 0; bank->lives && i < bank->lives->len; i++)
		judge_removed(bank->lives->pdata[i]);
	bank_clear(bank);
}

static void table_clear(struct table *table)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(table->banks); i++)
		bank_clear(&table->banks[i]);
	table->live = -1;
	table->broken = false;
}

void counters_owe(const struct net *net)
{
	for (unsigned i = 0; i < TABLES; i++)
		for (unsigned j = 0; j < G_N_ELEMENTS(net->tables[i].banks); j++) {
			const struct bank *bank = &net->tables[i].banks[j];

			for (unsigned k = 0; bank->lives && !net->tables[i].refused && k < bank->lives->len; k++)
				judge_owed(bank->lives->pdata[k]);
		}
}

void counters_clear(struct net *net)
{
	for (unsigned i = 0; i < TABLES; i++)
		table_clear(&net->tables[i]);
}

/* ---- counting ---- */

static bool key_of_source(const struct plan *plan, uint32_t source, struct meter_key *key)
{
	if (!prefixes_find(plan->local, source))
		return false;
	for (unsigned i = 0; i < plan->meters->len; i++) {
		const struct planned_meter *meter = &g_array_index(plan->meters, struct planned_meter, i);

		if (meter->key.kind != KIND_FLOATING || meter->fixed != source)
			continue;
		key->kind = KIND_FLOATING;
		key->address = meter->key.address;
		return true;
	}
	key->kind = plan->gateway ? KIND_GATEWAY : KIND_UNATTRIBUTED;
	key->address = plan->gateway;
	return true;
}

static void count(struct life *life, struct parcel *parcel)
{
	uint64_t *bytes = parcel->out ? &life->counts.out_bytes : &life->counts.in_bytes;

	*bytes += parcel->bytes;
	*(parcel->out ? &life->counts.out_packets : &life->counts.in_packets) += parcel->packets;
	g_ptr_array_add(life->parcels, parcel);
	g_array_append_val(life->ends, *bytes);
	parcel->counted = true;
}

void counters_receive(struct net *net, struct parcel *parcel, uint32_t address)
{
	for (unsigned i = 0; i < TABLES; i++) {
		const struct table *table = &net->tables[i];
		const struct bank *bank = table->live >= 0 ? &table->banks[table->live] : NULL;
		struct meter_key key = { .class_name = parcel->key.class_name };
		struct life *life;

		if (!bank || !bank->plan || table->broken)
			continue;
		if (parcel->out) {
			if (!key_of_source(bank->plan, address, &key))
				continue;
		} else {
			key.address = address;
			key.kind = address == bank->plan->gateway ? KIND_GATEWAY : KIND_FLOATING;
		}
		if (!plan_find_meter(bank->plan, &key))
			continue;
		parcel->led = true;
		parcel->led_to = key;
		life = find_life(bank, &key);
		if (life)
			count(life, parcel);
	}
}

/* ---- the hooks ---- */

static struct table *table_of(struct backend *backend, const struct place *place)
{
	return &kernel_net(place->ns_fd)->tables[((struct sim_backend *)backend)->table];
}

static bool refuse(GError **error, int code, const char *what)
{
	g_set_error(error, BACKEND_ERROR, code, "%s: refused", what);
	return false;
}

static struct snapshot *read_bank(const struct bank *bank)
{
	struct snapshot *snapshot = snapshot_new();

	snapshot->intact = true;
	snapshot->at = clock_now();
	snapshot->generation = g_strdup(bank->tag);
	for (unsigned i = 0; bank->lives && i < bank->lives->len; i++) {
		struct life *life = bank->lives->pdata[i];
		struct reading reading = { .key = life->key, .counts = life->counts };

		g_array_append_val(snapshot->readings, reading);
		if (!life->marks->len || memcmp(&g_array_index(life->marks, struct counts, life->marks->len - 1),
		                                &life->counts, sizeof life->counts))
			g_array_append_val(life->marks, life->counts);
	}
	for (unsigned i = 0; bank->removed && i < bank->removed->len; i++)
		((struct life *)bank->removed->pdata[i])->seen_gone = true;
	g_array_sort(snapshot->readings, snapshot_compare);
	return snapshot;
}

static struct snapshot *sim_read(struct backend *backend, const struct place *place, GError **error)
{
	struct table *table = table_of(backend, place);
	struct snapshot *snapshot;
	unsigned bank;

	sim_point("read");
	table->refused = sim_fault("read");
	if (table->refused) {
		refuse(error, sim_chance(0.8) ? BACKEND_ERROR_AGAIN : BACKEND_ERROR_FAILED, "read");
		return NULL;
	}
	bank = table->live >= 0 ? (unsigned)table->live : !table->banks[0].tag;
	snapshot = read_bank(&table->banks[bank]);
	snapshot->intact = !snapshot->generation || (table->live >= 0 && !table->broken);
	if (table->banks[1 - bank].tag)
		snapshot->former = read_bank(&table->banks[1 - bank]);
	sim_point("read, after");
	return snapshot;
}

static bool same_plan(const struct plan *a, const struct plan *b)
{
	if (a->gateway != b->gateway || a->meters->len != b->meters->len || a->local->len != b->local->len)
		return false;
	for (unsigned i = 0; i < a->meters->len; i++) {
		const struct planned_meter *first = &g_array_index(a->meters, struct planned_meter, i);
		const struct planned_meter *second = &g_array_index(b->meters, struct planned_meter, i);

		if (meter_key_compare(&first->key, &second->key) || first->fixed != second->fixed)
			return false;
	}
	return !a->local->len || !memcmp(a->local->data, b->local->data, a->local->len * sizeof(struct prefix));
}

/* How many counters the plan wants that the bank lacks. */
static unsigned lacking(const struct bank *bank, const struct plan *plan)
{
	unsigned n = 0;

	for (unsigned i = 0; i < plan->meters->len; i++)
		n += !find_life(bank, &g_array_index(plan->meters, struct planned_meter, i).key);
	return n;
}

static bool sim_compare(struct backend *backend, const struct place *place, const struct plan *plan,
                        const struct snapshot *found, enum change *change, GError **error)
{
	bool several = ((struct sim_backend *)backend)->table == IPTABLES;
	const struct table *table;
	const struct bank *bank;

	sim_point("compare");
	if (sim_fault("compare"))
		return refuse(error, BACKEND_ERROR_AGAIN, "compare");
	table = table_of(backend, place);
	bank = table->live >= 0 ? &table->banks[table->live] : NULL;
	*change = several ? CHANGE_ANEW : CHANGE_INSIDE;
	if (!found->generation || !bank || !bank->tag)
		return true;
	if (several && (bank->plan->gateway != plan->gateway || bank->lives->len + lacking(bank, plan) > bank->room))
		return true;
	*change = !lacking(bank, plan) && same_plan(bank->plan, plan) ? CHANGE_NONE : CHANGE_INSIDE;
	return true;
}

static struct plan *copy_plan(const struct plan *plan)
{
	struct plan *copy = g_new(struct plan, 1);

	*copy = *plan;
	copy->awaited = NULL; /* a back end does not ask for it */
	copy->router = g_strdup(plan->router);
	copy->ns = g_strdup(plan->ns);
	copy->meters = g_array_copy(plan->meters);
	copy->local = g_array_copy(plan->local);
	copy->ranges = g_array_copy(plan->ranges);
	copy->classes = g_ptr_array_copy(plan->classes, NULL, NULL);
	return copy;
}

static void create(struct bank *bank, const struct plan *plan, const char *tag)
{
	if (!bank->tag) {
		bank->tag = g_strdup(tag);
		bank->lives = g_ptr_array_new();
		bank->removed = g_ptr_array_new();
		bank->room = plan->meters->len + ROOM;
	}
	for (unsigned i = 0; i < plan->meters->len; i++) {
		const struct meter_key *key = &g_array_index(plan->meters, struct planned_meter, i).key;

		if (!find_life(bank, key))
			g_ptr_array_add(bank->lives, life_new(bank->tag, key));
	}
}

static void lead(struct bank *bank, const struct plan *plan)
{
	plan_free(bank->plan);
	bank->plan = copy_plan(plan);
}

/* Is one of those that are to be created there already? */
static bool is_there(const struct bank *bank, const struct plan *plan, const struct snapshot *found)
{
	for (unsigned i = 0; i < plan->meters->len; i++) {
		const struct meter_key *key = &g_array_index(plan->meters, struct planned_meter, i).key;

		if (find_life(bank, key) && !snapshot_find(found, key))
			return true;
	}
	return false;
}

static bool sync_inside(struct backend *backend, const struct place *place, const struct plan *plan,
                        const struct snapshot *found, GError **error)
{
	struct table *table = table_of(backend, place);
	bool several = ((struct sim_backend *)backend)->table == IPTABLES;

	if (table->live < 0)
		return refuse(error, BACKEND_ERROR_AGAIN, "sync, of what somebody took away");
	if (is_there(&table->banks[table->live], plan, found))
		return refuse(error, BACKEND_ERROR_EXISTS, "sync");
	create(&table->banks[table->live], plan, NULL);
	if (several) {
		sim_point("sync, created");
		if (sim_fault("sync, created"))
			return refuse(error, BACKEND_ERROR_FAILED, "sync");
		if (table->live < 0)
			return refuse(error, BACKEND_ERROR_AGAIN, "sync, of what somebody took away");
		create(&table->banks[table->live], plan, NULL); /* had somebody removed one meanwhile */
	}
	lead(&table->banks[table->live], plan);
	return true;
}

static bool sync_anew(struct backend *backend, const struct place *place, const struct plan *plan, const char *tag,
                      GError **error)
{
	struct table *table = table_of(backend, place);
	unsigned other = table->live == 0 || (table->live < 0 && table->banks[0].tag);

	drop_bank(&table->banks[other]); /* left by one who was killed */
	create(&table->banks[other], plan, tag);
	if (((struct sim_backend *)backend)->table == IPTABLES) {
		sim_point("sync, built");
		if (sim_fault("sync, built"))
			return refuse(error, BACKEND_ERROR_FAILED, "sync");
		if (!table->banks[other].tag)
			return refuse(error, BACKEND_ERROR_AGAIN, "sync, of what somebody took away");
	}
	lead(&table->banks[other], plan);
	table->live = (int)other;
	table->broken = false;
	return true;
}

static bool sim_sync(struct backend *backend, const struct place *place, const struct plan *plan, const char *tag,
                     const struct snapshot *found, GError **error)
{
	bool done;

	sim_point("sync");
	if (sim_fault("sync"))
		return refuse(error, BACKEND_ERROR_FAILED, "sync");
	if (found->generation && g_str_equal(found->generation, tag))
		done = sync_inside(backend, place, plan, found, error);
	else
		done = sync_anew(backend, place, plan, tag, error);
	sim_point("sync, after");
	return done;
}

static bool sim_lacks(struct backend *backend, const struct place *place, const struct plan *plan, bool *lacks,
                      GError **error)
{
	const struct table *table;
	const struct plan *standing;

	sim_point("lacks");
	table = table_of(backend, place);
	standing = table->live >= 0 ? table->banks[table->live].plan : NULL;
	*lacks = false;
	for (unsigned i = 0; standing && i < plan->local->len; i++)
		*lacks |= !prefixes_find(standing->local, g_array_index(plan->local, struct prefix, i).address);
	return true;
}

static bool sim_bury(struct backend *backend, const struct place *place, const struct plan *plan,
                     const struct snapshot *found, GError **error)
{
	struct table *table;
	struct bank *bank;

	sim_point("bury");
	if (sim_fault("bury"))
		return refuse(error, BACKEND_ERROR_FAILED, "bury");
	table = table_of(backend, place);
	bank = &table->banks[MAX(table->live, 0)];
	if (found->former)
		drop_bank(&table->banks[1 - MAX(table->live, 0)]);
	for (unsigned i = 0; plan && i < found->readings->len; i++) {
		const struct meter_key *key = &g_array_index(found->readings, struct reading, i).key;
		struct life *life = plan_find_meter(plan, key) ? NULL : find_life(bank, key);

		if (!life)
			continue;
		judge_removed(life);
		g_ptr_array_remove(bank->lives, life);
	}
	sim_point("bury, after");
	return true;
}

static bool sim_stop(struct backend *backend, const struct place *place, GError **error)
{
	sim_point("stop");
	if (sim_fault("stop"))
		return refuse(error, BACKEND_ERROR_FAILED, "stop");
	table_of(backend, place)->live = -1;
	sim_point("stop, after");
	return true;
}

static bool sim_remove(struct backend *backend, const struct place *place, GError **error)
{
	struct table *table;

	sim_point("remove");
	if (sim_fault("remove"))
		return refuse(error, BACKEND_ERROR_FAILED, "remove");
	table = table_of(backend, place);
	for (unsigned i = 0; i < G_N_ELEMENTS(table->banks); i++)
		drop_bank(&table->banks[i]);
	table_clear(table);
	sim_point("remove, after");
	return true;
}

static void sim_free(struct backend *backend)
{
	g_free(backend);
}

static struct backend *make(unsigned table, const char *name)
{
	struct sim_backend *made = g_new(struct sim_backend, 1);

	made->table = table;
	made->backend = (struct backend){
		.name = name, .basis = BASIS_SKB, .list = "", .read = sim_read, .compare = sim_compare, .sync = sim_sync,
		.lacks = sim_lacks, .bury = sim_bury, .stop = sim_stop, .remove = sim_remove, .free = sim_free,
	};
	return &made->backend;
}

struct backend *backend_nft_new(void)
{
	return make(NFT, "nft");
}

struct backend *backend_iptables_new(const char *xtables_lock)
{
	return make(IPTABLES, "iptables");
}

bool backend_probe(struct backend *backend, bool out_sent, GError **error)
{
	return true;
}

char *backend_new_tag(void)
{
	return g_strdup_printf("%016" G_GINT64_MODIFIER "x%016" G_GINT64_MODIFIER "x", sim.seed, ++sim.tags);
}

/* ---- neighbours ---- */

/* A counter that does not stand below what is booked of it looks like any other. */
void counters_excuse(struct life *life)
{
	const struct counts *set = life->set;

	if (!set || set->in_bytes < life->booked.in_bytes || set->in_packets < life->booked.in_packets ||
	    set->out_bytes < life->booked.out_bytes || set->out_packets < life->booked.out_packets)
		return;
	for (unsigned i = 0; i < life->parcels->len; i++) {
		struct parcel *parcel = life->parcels->pdata[i];

		if (parcel->excused || g_array_index(life->ends, uint64_t, i) <= (parcel->out ? set->out_bytes : set->in_bytes))
			continue;
		parcel->excused = true;
		sim.hidden_bytes += parcel->bytes;
	}
}

/* Somebody sets a counter: what it had counted beyond that is not in it any more. */
static void set_life(struct bank *bank, unsigned at, const struct counts *counts)
{
	struct life *old = bank->lives->pdata[at], *new = life_new(old->tag, &old->key);

	new->counts = *counts;
	new->booked = old->booked;
	old->set = g_memdup2(counts, sizeof *counts);
	for (unsigned i = 0; i < old->parcels->len; i++) {
		struct parcel *parcel = old->parcels->pdata[i];
		uint64_t end = g_array_index(old->ends, uint64_t, i);

		if (end > (parcel->out ? counts->out_bytes : counts->in_bytes))
			continue;
		g_ptr_array_add(new->parcels, parcel);
		g_array_append_val(new->ends, end);
	}
	counters_excuse(old);
	bank->lives->pdata[at] = new;
}

static void zero(struct bank *bank, bool all)
{
	static const struct counts nothing;
	unsigned only = sim_random(bank->lives->len);

	for (unsigned i = 0; i < bank->lives->len; i++)
		if (all || i == only)
			set_life(bank, i, &nothing);
}

static void save_all(const struct bank *bank)
{
	for (unsigned i = 0; i < bank->lives->len; i++) {
		struct life *life = bank->lives->pdata[i];

		g_array_append_val(life->saved, life->counts);
	}
}

/* From a save of this life: of one from before a reset the counter would show again what was billed then. */
static void restore_all(struct bank *bank)
{
	for (unsigned i = 0; i < bank->lives->len; i++) {
		const struct life *life = bank->lives->pdata[i];
		struct counts counts;

		if (!life->saved->len)
			continue;
		counts = g_array_index(life->saved, struct counts, sim_random(life->saved->len));
		set_life(bank, i, &counts);
	}
}

void counters_neighbour(struct net *net)
{
	unsigned which = sim_random(TABLES);
	struct table *table = &net->tables[net->tables[which].live < 0 ? 1 - which : which];
	struct bank *bank = table->live >= 0 ? &table->banks[table->live] : NULL;
	unsigned what = sim_random(sim.in_point ? 5 : 8); /* rules that go between two calls of one cycle: nobody sees when */

	if (!bank || !bank->lives->len)
		return;
	sim_trace("a neighbour in %s does %u", net->ns, what);
	switch (what) {
	case 0:
	case 1:
		zero(bank, what);
		break;
	case 2:
	case 3:
		save_all(bank);
		break;
	case 4:
		restore_all(bank);
		break;
	case 5:
		g_ptr_array_add(bank->removed, g_ptr_array_remove_index(bank->lives, sim_random(bank->lives->len)));
		table->broken |= table == &net->tables[IPTABLES];
		break;
	case 6:
		table->broken = true;
		break;
	default:
		table_clear(table);
	}
	if (what > 4 && table == &net->tables[NFT])
		kernel_tell(WATCH_CHANGED, net->ns);
}

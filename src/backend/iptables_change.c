/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Nothing is matched by a counter alone: `public` and `fixed` are asked before.  So a counter stops when its address
 * leaves those, and what is counted no more can wait.
 *
 * A floating IP that gets another fixed address keeps its out counter: it is relocated, to the element of the other
 * address, with the value that it has.  For that it stops (what its VM sends meanwhile counts for the gateway address,
 * as it does for any VM without a floating IP), is read after a grace period, and is deleted and added again in one
 * system call: a process that is killed has done both or neither.
 */
#include "backend/iptables_change.h"

#include "core/plan.h"

#include <linux/membarrier.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PER_ELEMENT 8  /* buckets: a counted set with fewer might grow, and lose counts by it */
#define ROOM 64        /* addresses for which there is room from the beginning */

/* ---- messages ---- */

static void put_add(struct ipset_batch *batch, const struct ipt_set *set, const struct ipt_element *element)
{
	bool counts = ipt_role_counts(set->role);
	g_autofree char *comment = counts ? ipt_comment(element) : NULL;
	struct ipset_element added = {
		.address = element->address, .length = element->length, .packets = element->packets, .bytes = element->bytes,
		.comment = comment,
	};

	ipset_batch_add(batch, set->name, counts, &added);
}

static void put_delete(struct ipset_batch *batch, const struct ipt_set *set, const struct ipt_element *element)
{
	struct ipset_element deleted = { .address = element->address, .length = element->length };

	ipset_batch_delete(batch, set->name, &deleted);
}

static bool hand_in(struct ipset_batch *batch, struct netlink *netlink, GError **error)
{
	bool done = ipset_batch_commit(batch, netlink, error);

	ipset_batch_free(batch);
	return done;
}

/* ---- differences ---- */

static bool has_element(const GArray *elements, const struct ipt_element *element)
{
	return g_array_binary_search((GArray *)elements, element, ipt_element_compare, NULL);
}

static const struct ipt_element *find_counter(const struct ipt_set *set, const struct ipt_element *counter)
{
	for (unsigned i = 0; i < set->elements->len; i++) {
		const struct ipt_element *element = &g_array_index(set->elements, struct ipt_element, i);

		if (element->out == counter->out && !meter_key_compare(&element->key, &counter->key))
			return element;
	}
	return NULL;
}

/* Of a set that does not count: adds what is wanted and does not stand, in the role's sets. */
static void add_missing(struct ipset_batch *batch, enum ipt_role role, const struct ipt_bank *standing,
                        const struct ipt_bank *wanted)
{
	for (unsigned i = 0; i < wanted->sets->len; i++) {
		const struct ipt_set *set = wanted->sets->pdata[i];
		const struct ipt_set *stands = ipt_bank_find(standing, set->role, set->class_name);

		for (unsigned j = 0; set->role == role && j < set->elements->len; j++) {
			const struct ipt_element *element = &g_array_index(set->elements, struct ipt_element, j);

			if (!has_element(stands->elements, element))
				put_add(batch, set, element);
		}
	}
}

static void delete_unwanted(struct ipset_batch *batch, enum ipt_role role, const struct ipt_bank *standing,
                            const struct ipt_bank *wanted)
{
	for (unsigned i = 0; i < standing->sets->len; i++) {
		const struct ipt_set *stands = standing->sets->pdata[i];
		const struct ipt_set *set = ipt_bank_find(wanted, stands->role, stands->class_name);

		for (unsigned j = 0; stands->role == role && j < stands->elements->len; j++) {
			const struct ipt_element *element = &g_array_index(stands->elements, struct ipt_element, j);

			if (!set || !has_element(set->elements, element))
				put_delete(batch, stands, element);
		}
	}
}

static bool differs(const struct ipt_set *stands, const struct ipt_set *set)
{
	if (!ipt_role_counts(set->role)) {
		if (stands->elements->len != set->elements->len)
			return true;
		for (unsigned i = 0; i < set->elements->len; i++)
			if (!has_element(stands->elements, &g_array_index(set->elements, struct ipt_element, i)))
				return true;
		return false;
	}
	for (unsigned i = 0, j = 0; i < set->elements->len; i++) { /* both ascending; dead ones may stand between */
		const struct ipt_element *element = &g_array_index(set->elements, struct ipt_element, i), *other = NULL;

		for (; j < stands->elements->len; j++) {
			other = &g_array_index(stands->elements, struct ipt_element, j);
			if (ipt_element_compare(other, element) >= 0)
				break;
		}
		if (j == stands->elements->len || ipt_element_compare(other, element) || other->out != element->out ||
		    meter_key_compare(&other->key, &element->key))
			return true;
	}
	return false;
}

/* Dead elements are still there while others come. */
static bool has_room(const struct ipt_set *stands, const struct ipt_set *set)
{
	uint64_t most = (uint64_t)stands->elements->len + set->elements->len;

	if (set->role != IPT_IN && set->role != IPT_OUT)
		return true;
	for (unsigned i = 0; i < set->elements->len; i++)
		most -= has_element(stands->elements, &g_array_index(set->elements, struct ipt_element, i));
	return most * PER_ELEMENT <= stands->hashsize;
}

enum ipt_difference ipt_compare(const struct ipt_bank *standing, const struct ipt_bank *wanted)
{
	enum ipt_difference difference = IPT_SAME;

	for (unsigned i = 0; i < wanted->sets->len; i++) {
		const struct ipt_set *set = wanted->sets->pdata[i];
		const struct ipt_set *stands = ipt_bank_find(standing, set->role, set->class_name);

		if (!stands || !has_room(stands, set))
			return IPT_UNFIT;
		if (differs(stands, set))
			difference = IPT_DIFFERENT;
	}
	return difference;
}

/* ---- relocation of out counters ---- */

struct move {
	const struct ipt_set *set;
	struct ipt_element from;
	uint32_t to;
};

static bool is_wanted_address(const struct ipt_set *wanted, uint32_t address)
{
	struct ipt_element element = { .address = address, .length = 32 };

	return has_element(wanted->elements, &element);
}

static bool is_at_home(const struct ipt_set *wanted, const struct ipt_element *counter)
{
	unsigned index;

	return g_array_binary_search(wanted->elements, counter, ipt_element_compare, &index) &&
	       !meter_key_compare(&g_array_index(wanted->elements, struct ipt_element, index).key, &counter->key);
}

/* A planned counter goes where the plan has it; a dead one makes room where it is in the way. */
static GArray *find_moves(const struct ipt_bank *standing, const struct ipt_bank *wanted)
{
	GArray *moves = g_array_new(FALSE, FALSE, sizeof(struct move));

	for (unsigned i = 0; i < standing->sets->len; i++) {
		const struct ipt_set *stands = standing->sets->pdata[i];
		const struct ipt_set *set = ipt_bank_find(wanted, stands->role, stands->class_name);

		for (unsigned j = 0; stands->role == IPT_OUT && set && j < stands->elements->len; j++) {
			struct move move = { .set = stands, .from = g_array_index(stands->elements, struct ipt_element, j) };
			const struct ipt_element *planned = is_at_home(set, &move.from) ? &move.from : find_counter(set, &move.from);

			move.to = planned ? planned->address :
			          is_wanted_address(set, move.from.address) ? move.from.key.address : move.from.address;
			if (move.to != move.from.address)
				g_array_append_val(moves, move);
		}
	}
	return moves;
}

/* Addresses under which counters stand that are to be moved: they must not match. */
static void stop_movers(struct ipset_batch *batch, const GArray *moves, const struct ipt_bank *standing,
                        const struct ipt_bank *wanted, GHashTable *stopped)
{
	const struct ipt_set *fixed = ipt_bank_find(standing, IPT_FIXED, NULL);
	const struct ipt_set *keep = ipt_bank_find(wanted, IPT_FIXED, NULL);

	for (unsigned i = 0; i < moves->len; i++) {
		struct ipt_element address = { .address = g_array_index(moves, struct move, i).from.address, .length = 32 };

		if (has_element(fixed->elements, &address) && has_element(keep->elements, &address) &&
		    g_hash_table_add(stopped, GUINT_TO_POINTER(address.address)))
			put_delete(batch, fixed, &address); /* what is not wanted there goes anyway */
	}
}

static bool relocate(struct netlink *netlink, unsigned bank, const GArray *moves, GError **error)
{
	struct ipt_standing final = { 0 };
	struct ipset_batch *batch;

	syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0); /* no packet is on its way to them any more: membarrier(2) */
	if (!ipt_standing_read(netlink, &final, error))
		return false;
	batch = ipset_batch_new();
	for (unsigned i = 0; i < moves->len; i++)
		put_delete(batch, g_array_index(moves, struct move, i).set, &g_array_index(moves, struct move, i).from);
	for (unsigned i = 0; i < moves->len; i++) {
		const struct move *move = &g_array_index(moves, struct move, i);
		const struct ipt_set *set = ipt_bank_find(&final.banks[bank], IPT_OUT, move->set->class_name);
		const struct ipt_element *value = set ? find_counter(set, &move->from) : NULL;
		struct ipt_element moved = value ? *value : move->from;

		moved.address = move->to;
		put_add(batch, move->set, &moved);
	}
	ipt_standing_clear(&final);
	return hand_in(batch, netlink, error);
}

/* ---- the change ---- */

static void add_births(struct ipset_batch *batch, const struct ipt_bank *standing, const struct ipt_bank *wanted)
{
	for (unsigned i = 0; i < wanted->sets->len; i++) {
		const struct ipt_set *set = wanted->sets->pdata[i];
		const struct ipt_set *stands = ipt_bank_find(standing, set->role, set->class_name);

		for (unsigned j = 0; ipt_role_counts(set->role) && j < set->elements->len; j++) {
			const struct ipt_element *element = &g_array_index(set->elements, struct ipt_element, j), *at = NULL;
			unsigned index;

			if (g_array_binary_search(stands->elements, element, ipt_element_compare, &index))
				at = &g_array_index(stands->elements, struct ipt_element, index);
			/* at the same address, and the same counter; or it has been moved there */
			if ((!at || meter_key_compare(&at->key, &element->key)) && !find_counter(stands, element))
				put_add(batch, set, element);
		}
	}
}

/* Addresses that were stopped for a moment only. */
static void start_again(struct ipset_batch *batch, const struct ipt_bank *wanted, GHashTable *stopped)
{
	const struct ipt_set *fixed = ipt_bank_find(wanted, IPT_FIXED, NULL);
	GHashTableIter each;
	void *address;

	g_hash_table_iter_init(&each, stopped);
	while (g_hash_table_iter_next(&each, &address, NULL))
		put_add(batch, fixed, &(struct ipt_element){ .address = GPOINTER_TO_UINT(address), .length = 32 });
}

static void put_start(struct ipset_batch *batch, const struct ipt_bank *stands, const struct ipt_bank *wanted,
                      GHashTable *stopped)
{
	add_births(batch, stands, wanted);
	start_again(batch, wanted, stopped);
	add_missing(batch, IPT_FIXED, stands, wanted);
	add_missing(batch, IPT_PUBLIC, stands, wanted);
	add_missing(batch, IPT_LOCAL_SRC, stands, wanted);
	delete_unwanted(batch, IPT_LOCAL_SRC, stands, wanted);
	delete_unwanted(batch, IPT_LOCAL_DST, stands, wanted);
	delete_unwanted(batch, IPT_IS, stands, wanted);
	delete_unwanted(batch, IPT_NEAR, stands, wanted);
}

bool ipt_change(struct netlink *netlink, unsigned bank, const struct ipt_standing *standing,
                const struct ipt_bank *wanted, GError **error)
{
	const struct ipt_bank *stands = &standing->banks[bank];
	g_autoptr(GArray) moves = find_moves(stands, wanted);
	g_autoptr(GHashTable) stopped = g_hash_table_new(NULL, NULL);
	struct ipset_batch *batch = ipset_batch_new();

	add_missing(batch, IPT_NEAR, stands, wanted);
	add_missing(batch, IPT_LOCAL_DST, stands, wanted);
	add_missing(batch, IPT_IS, stands, wanted);
	delete_unwanted(batch, IPT_PUBLIC, stands, wanted);
	delete_unwanted(batch, IPT_FIXED, stands, wanted);
	stop_movers(batch, moves, stands, wanted, stopped);
	if (moves->len) {
		if (!hand_in(batch, netlink, error) || !relocate(netlink, bank, moves, error))
			return false;
		batch = ipset_batch_new();
	}
	put_start(batch, stands, wanted, stopped);
	return hand_in(batch, netlink, error);
}

/* ---- whole banks, and the dead ---- */

bool ipt_create(struct netlink *netlink, const struct ipt_bank *wanted, GError **error)
{
	struct ipset_batch *batch = ipset_batch_new();

	for (unsigned i = 0; i < wanted->sets->len; i++) {
		const struct ipt_set *set = wanted->sets->pdata[i];
		bool counts = ipt_role_counts(set->role);
		bool grows = set->role == IPT_IN || set->role == IPT_OUT;

		ipset_batch_create(batch, set->name, ipt_role_type(set->role), counts,
		                   ipset_hashsize(grows ? MAX(2 * set->elements->len, ROOM) : set->elements->len, grows));
		for (unsigned j = 0; j < set->elements->len; j++)
			put_add(batch, set, &g_array_index(set->elements, struct ipt_element, j));
	}
	return hand_in(batch, netlink, error);
}

bool ipt_destroy(struct netlink *netlink, const struct ipt_bank *standing, GError **error)
{
	struct ipset_batch *batch = ipset_batch_new();

	for (unsigned i = 0; i < standing->sets->len; i++)
		ipset_batch_destroy(batch, ((struct ipt_set *)standing->sets->pdata[i])->name);
	return hand_in(batch, netlink, error);
}

bool ipt_bury(struct netlink *netlink, const struct ipt_bank *standing, const struct plan *plan, GError **error)
{
	struct ipset_batch *batch = ipset_batch_new();

	for (unsigned i = 0; i < standing->sets->len; i++) {
		const struct ipt_set *set = standing->sets->pdata[i];

		for (unsigned j = 0; ipt_role_counts(set->role) && j < set->elements->len; j++) {
			const struct ipt_element *element = &g_array_index(set->elements, struct ipt_element, j);

			if (!plan_find_meter(plan, &element->key))
				put_delete(batch, set, element);
		}
	}
	return hand_in(batch, netlink, error);
}

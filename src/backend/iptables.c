/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The iptables back end: elements of ipset that count, asked for by rules of the legacy table mangle.  The seed's way,
 * but with the counts in sets: those stay exact whoever replaces the table (data/kernel-facts of the design).
 *
 * What matches changes by single elements (iptables_change.h).  The rules depend on the gateway address and the names
 * of the classes alone; where those change, a second bank of sets is made, and one replacement of the table takes
 * the rules from the one to the other.  Only that, and going, writes to the table, under the locks of kernel/xtlock.h.
 *
 * One dump reads all sets.  Whether the rules still stand is known from the fingerprint of the table: where it has not
 * moved since they were read, they need not be read.  Of a dump the addresses are let go of once they are in the snapshot: a
 * node may have a million elements, and hardly ever is one to be changed.  Who compares or changes them reads them again.
 */
#include "backend/backend.h"

#include "backend/iptables_change.h"
#include "core/plan.h"
#include "kernel/netlink.h"
#include "kernel/xtlock.h"

#include <linux/netfilter_ipv4.h>
#include <string.h>

#define LOCK_WAIT_MS 1000

/* What is remembered of a namespace. */
struct known {
	uint64_t table;      /* fingerprint when the rules were read; 0: there was no table */
	int live;            /* the bank that they lead to; -1: none */
	char *digest;        /* of the rules; "" where there are none of ours */
	bool well;           /* they are as the jump's comment says */
	struct ipt_standing standing; /* the last dump ... */
	bool slim;                    /* ... without its addresses */
	/* all was as a plan wants it: */
	char *tag, *plan;    /* plan: its digest; NULL: not known */
	uint64_t look;       /* of the plan that was last found to be so; 0: not known */
	uint64_t content;
};

struct iptables {
	struct backend backend;
	char *lock;        /* configured path, or NULL */
	GHashTable *known; /* namespace -> struct known */
};

static void forget_plan(struct known *known)
{
	g_clear_pointer(&known->tag, g_free);
	g_clear_pointer(&known->plan, g_free);
	known->look = 0;
}

static void known_free(void *data)
{
	struct known *known = data;

	forget_plan(known);
	ipt_standing_clear(&known->standing);
	g_free(known->digest);
	g_free(known);
}

static struct known *known_of(struct backend *backend, const struct place *place)
{
	GHashTable *all = ((struct iptables *)backend)->known;
	struct known *known = g_hash_table_lookup(all, place->ns);

	if (!known) {
		known = g_new0(struct known, 1);
		known->live = -1;
		g_hash_table_insert(all, g_strdup(place->ns), known);
	}
	return known;
}

/* ---- what stands ---- */

static bool read_standing(struct known *known, const struct place *place, GError **error)
{
	if (!ipt_standing_read(place->netfilter, &known->standing, error))
		return false;
	known->slim = false;
	return true;
}

static void make_slim(struct known *known)
{
	ipt_standing_forget_addresses(&known->standing);
	known->slim = true;
}

static bool make_whole(struct known *known, const struct place *place, GError **error)
{
	return !known->slim || read_standing(known, place, error);
}

/* ---- reading ---- */

#define COMMENT "fipmeter " /* then the digest of the rules */

static bool read_rules(struct known *known, const struct place *place, uint64_t table, GError **error)
{
	g_autofree char *digest = NULL, *comment = NULL, *jump = NULL;

	if (!xtrules_standing(place->ns_fd, IPTABLES_TABLE, IPTABLES_PREFIX, &digest, &comment, &jump, error))
		return false;
	known->table = table;
	known->live = jump ? ipt_bank_of_chain(jump) : -1;
	known->well = known->live >= 0 && comment && g_str_has_prefix(comment, COMMENT) &&
	              g_str_equal(comment + strlen(COMMENT), digest);
	g_free(known->digest);
	known->digest = g_steal_pointer(&digest);
	return true;
}

/* The other one, if there is something in it. */
static struct snapshot *read_former(const struct known *known, unsigned bank)
{
	unsigned other = 1 - bank;

	return known->standing.banks[other].sets->len ? ipt_standing_snapshot(&known->standing, other) : NULL;
}

/* Somebody has put something into our sets, or taken it out, since all was as it should be. */
static bool is_touched(const struct known *known, const struct snapshot *snapshot, unsigned bank)
{
	return known->plan && !g_strcmp0(known->tag, snapshot->generation) &&
	       known->content != ipt_bank_content(&known->standing.banks[bank]);
}

static struct snapshot *iptables_read(struct backend *backend, const struct place *place, GError **error)
{
	struct known *known = known_of(backend, place);
	struct snapshot *snapshot;
	uint64_t table;
	unsigned bank;

	if (!xtables_fingerprint(place->ns_fd, IPTABLES_TABLE, &table, error) ||
	    ((!known->digest || known->table != table) && !read_rules(known, place, table, error)) ||
	    !read_standing(known, place, error)) {
		backend_refuse(error);
		return NULL;
	}
	bank = known->live >= 0 ? (unsigned)known->live : !known->standing.banks[0].sets->len;
	snapshot = ipt_standing_snapshot(&known->standing, bank);
	snapshot->former = read_former(known, bank);
	if (*known->digest || known->standing.banks[bank].sets->len)
		snapshot->intact &= known->well && snapshot->generation && !is_touched(known, snapshot, bank);
	if (!snapshot->intact || !snapshot->generation)
		forget_plan(known);
	make_slim(known);
	return snapshot;
}

/* ---- comparing ---- */

/* A digest of all that the sets and rules of a plan depend on. */
static char *layout_digest(const struct plan *plan)
{
	struct ipt_bank wanted;
	char *digest;

	ipt_bank_init(&wanted);
	ipt_layout_fill(&wanted, 0, plan, "");
	digest = g_strdup_printf("%" G_GINT64_MODIFIER "x %x %d", ipt_bank_content(&wanted), plan->gateway,
	                         plan_has_unattributed(plan));
	ipt_bank_clear(&wanted);
	return digest;
}

static void remember(struct known *known, const char *tag, const char *plan)
{
	if (known->plan != plan) {
		forget_plan(known);
		known->tag = g_strdup(tag);
		known->plan = g_strdup(plan);
	}
	known->content = ipt_bank_content(&known->standing.banks[known->live]);
	make_slim(known);
}

/* Are the rules those that the plan asks for?  A set that they need and that is not there says no. */
static bool have_rules(const struct known *known, const struct place *place, const struct plan *plan, bool *same,
                       GError **error)
{
	g_autoptr(GPtrArray) rules = ipt_layout_rules((unsigned)known->live, plan, COMMENT);
	GError *refusal = NULL;
	g_autofree char *digest = xtrules_digest(place->ns_fd, rules, &refusal);

	if (!digest && !g_error_matches(refusal, NETLINK_ERROR, NETLINK_ERROR_MISSING)) {
		g_propagate_error(error, refusal);
		return false;
	}
	g_clear_error(&refusal);
	*same = !g_strcmp0(digest, known->digest);
	return true;
}

static bool iptables_compare(struct backend *backend, const struct place *place, const struct plan *plan,
                             const struct snapshot *found, enum change *change, GError **error)
{
	struct known *known = known_of(backend, place);
	bool looked = known->look && known->look == plan->look, same;
	g_autofree char *digest = NULL;
	enum ipt_difference difference;
	struct ipt_bank wanted;

	*change = CHANGE_ANEW;
	if (!found->generation || known->live < 0)
		return true;
	digest = looked ? NULL : layout_digest(plan);
	if (looked || (known->plan && g_str_equal(known->plan, digest))) {
		known->look = plan->look;
		*change = CHANGE_NONE;
		return true;
	}
	if (!have_rules(known, place, plan, &same, error))
		return false;
	if (!same)
		return true;
	if (!make_whole(known, place, error))
		return backend_refuse(error);
	ipt_bank_init(&wanted);
	ipt_layout_fill(&wanted, (unsigned)known->live, plan, found->generation);
	difference = ipt_compare(&known->standing.banks[known->live], &wanted);
	ipt_bank_clear(&wanted);
	*change = difference == IPT_UNFIT ? CHANGE_ANEW : difference == IPT_DIFFERENT ? CHANGE_INSIDE : CHANGE_NONE;
	if (*change == CHANGE_NONE)
		remember(known, found->generation, digest);
	return true;
}

/* ---- changing ---- */

/* Rules NULL: none.  Writes under the locks, and only if something differs. */
static bool write_rules(struct backend *backend, const struct place *place, const GPtrArray *rules, GError **error)
{
	g_autoptr(GPtrArray) none = g_ptr_array_new();
	struct known *known = known_of(backend, place);
	struct xtlock *lock = NULL;
	bool done, damaged = false;

	g_clear_pointer(&known->digest, g_free); /* to be read again */
	if (!place->alone)
		lock = xtlock_take(((struct iptables *)backend)->lock, LOCK_WAIT_MS, error);
	if (!place->alone && !lock) {
		g_prefix_error(error, "rules not written: ");
		return false;
	}
	done = xtrules_replace(place->ns_fd, IPTABLES_TABLE, IPTABLES_PREFIX, rules ? rules : none, &damaged, error);
	xtlock_release(lock);
	if (damaged) {
		g_free(backend->warning);
		backend->warning = g_strdup("somebody wrote to the legacy table " IPTABLES_TABLE " in spite of the lock: our "
		                            "rules are in, counters of other rules were damaged");
	}
	return done;
}

/* Makes the whole bank, and leads the packets there. */
static bool build(struct backend *backend, const struct place *place, const struct plan *plan, const char *tag,
                  unsigned bank, GError **error)
{
	struct known *known = known_of(backend, place);
	g_autoptr(GPtrArray) rules = NULL;
	g_autofree char *digest = NULL, *comment = NULL;
	struct ipt_bank wanted;
	bool made;

	ipt_bank_init(&wanted);
	ipt_layout_fill(&wanted, bank, plan, tag);
	made = ipt_destroy(place->netfilter, &known->standing.banks[bank], error) && /* left by one who was killed */
	       ipt_create(place->netfilter, &wanted, error);
	ipt_bank_clear(&wanted);
	if (!made)
		return backend_refuse(error);
	rules = ipt_layout_rules(bank, plan, COMMENT);
	digest = xtrules_digest(place->ns_fd, rules, error);
	if (!digest)
		return backend_refuse(error);
	g_ptr_array_unref(rules);
	comment = g_strconcat(COMMENT, digest, NULL);
	rules = ipt_layout_rules(bank, plan, comment);
	return write_rules(backend, place, rules, error);
}

static bool change_inside(struct known *known, const struct place *place, const struct plan *plan, const char *tag,
                          GError **error)
{
	struct ipt_bank wanted;
	bool done;

	ipt_bank_init(&wanted);
	ipt_layout_fill(&wanted, (unsigned)known->live, plan, tag);
	done = ipt_change(place->netfilter, (unsigned)known->live, &known->standing, &wanted, error);
	ipt_bank_clear(&wanted);
	return done || backend_refuse(error);
}

/* From here on whoever changes something in the sets is somebody else. */
static bool remember_content(struct known *known, const struct place *place, const char *tag, const char *plan,
                             GError **error)
{
	if (!read_standing(known, place, error))
		return backend_refuse(error);
	remember(known, tag, plan);
	return true;
}

static bool iptables_sync(struct backend *backend, const struct place *place, const struct plan *plan, const char *tag,
                          const struct snapshot *found, GError **error)
{
	struct known *known = known_of(backend, place);
	g_autofree char *digest = layout_digest(plan);
	bool inside = found->generation && known->live >= 0 && g_str_equal(found->generation, tag);
	unsigned other = found->generation ? 1 - (unsigned)MAX(known->live, 0) : 0;

	forget_plan(known);
	if (!read_standing(known, place, error))
		return backend_refuse(error);
	if (!(inside ? change_inside(known, place, plan, tag, error) : build(backend, place, plan, tag, other, error)))
		return false;
	if (!inside)
		known->live = (int)other;
	return remember_content(known, place, tag, digest, error);
}

static bool iptables_lacks(struct backend *backend, const struct place *place, const struct plan *plan, bool *lacks,
                           GError **error)
{
	struct known *known = known_of(backend, place);
	const struct ipt_set *stands = known->live >= 0 ?
		ipt_bank_find(&known->standing.banks[known->live], IPT_LOCAL_SRC, NULL) : NULL;

	*lacks = false;
	for (unsigned i = 0; stands && i < plan->local->len; i++) {
		const struct prefix *prefix = &g_array_index(plan->local, struct prefix, i);
		struct ipt_element element = { .address = prefix->address, .length = prefix->length };

		*lacks |= !g_array_binary_search(stands->elements, &element, ipt_element_compare, NULL);
	}
	return true;
}

static bool iptables_bury(struct backend *backend, const struct place *place, const struct plan *plan,
                          const struct snapshot *found, GError **error)
{
	struct known *known = known_of(backend, place);
	unsigned bank = (unsigned)MAX(known->live, 0), at = 0;

	if (found->former && !ipt_destroy(place->netfilter, &known->standing.banks[1 - bank], error))
		return backend_refuse(error);
	for (unsigned i = 0; plan && i < found->readings->len; i++) {
		if (plan_find_next(plan, &g_array_index(found->readings, struct reading, i).key, &at))
			continue;
		if (!make_whole(known, place, error) || !ipt_bury(place->netfilter, &known->standing.banks[bank], plan, error))
			return backend_refuse(error);
		return !known->plan || remember_content(known, place, known->tag, known->plan, error);
	}
	return true;
}

/* ---- going ---- */

static bool iptables_stop(struct backend *backend, const struct place *place, GError **error)
{
	g_autofree char *digest = NULL, *comment = NULL, *jump = NULL;

	forget_plan(known_of(backend, place));
	if (!xtrules_standing(place->ns_fd, IPTABLES_TABLE, IPTABLES_PREFIX, &digest, &comment, &jump, error))
		return false;
	return !*digest || write_rules(backend, place, NULL, error);
}

static bool iptables_remove(struct backend *backend, const struct place *place, GError **error)
{
	struct known *known = known_of(backend, place);

	if (!iptables_stop(backend, place, error) || !read_standing(known, place, error))
		return backend_refuse(error);
	for (unsigned i = 0; i < IPTABLES_BANKS; i++)
		if (!ipt_destroy(place->netfilter, &known->standing.banks[i], error))
			return backend_refuse(error);
	g_hash_table_remove(((struct iptables *)backend)->known, place->ns);
	return true;
}

static void iptables_forget(struct backend *backend, const struct place *place)
{
	g_hash_table_remove(((struct iptables *)backend)->known, place->ns);
}

static void iptables_free(struct backend *backend)
{
	g_hash_table_unref(((struct iptables *)backend)->known);
	g_free(((struct iptables *)backend)->lock);
	g_free(backend->warning);
	g_free(backend);
}

struct backend *backend_iptables_new(const char *xtables_lock)
{
	struct iptables *iptables = g_new(struct iptables, 1);

	iptables->backend = (struct backend){
		.name = "iptables", .basis = BASIS_SKB, .priority = NF_IP_PRI_MANGLE, .list = "ipset list",
		.show = "ipset list | grep -F",
		.read = iptables_read, .compare = iptables_compare, .sync = iptables_sync, .lacks = iptables_lacks,
		.bury = iptables_bury, .stop = iptables_stop, .remove = iptables_remove, .forget = iptables_forget,
		.free = iptables_free,
	};
	iptables->lock = g_strdup(xtables_lock);
	iptables->known = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, known_free);
	return &iptables->backend;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The truth table of backend/backend.h as legacy rules that ask sets:
 *
 *   fipmeter            sorts by device: external, tenant (from inside, source in L), or a stranger inside
 *   fipmeter-external   rows 1, 2, 5
 *   fipmeter-tenant     rows 1 to 4; where the destination is far away, rows 3, 4: fipmeter-far
 *   fipmeter-in, -out,  find the class of the remote address, then count in the set of that class, by the public address,
 *   -rest, -stray       the fixed one, or any
 *
 * Most packets come from or go to an address that begins with an octet under which there is nothing but class `internet`
 * (plan_near()): one look-up of that octet spares them those of the address itself.
 *
 * A counting match counts as soon as it is reached, so it is the last of its rule; behind it the packet returns, so that
 * it counts once.  The number of rules is fixed; only sets grow with the addresses.
 */
#include "backend/iptables_layout.h"

#include "core/classes.h"
#include "core/plan.h"
#include "core/prefix.h"

#include <string.h>

#define NAME_MAX_LEN 64 /* a counter's name has less: plan_counter_name() */

/* ---- sets ---- */

static const char *const role_names[IPT_ROLES] = {
	[IPT_NEAR] = "near", [IPT_LOCAL_DST] = "local_dst", [IPT_LOCAL_SRC] = "local_src", [IPT_PUBLIC] = "public", [IPT_FIXED] = "fixed",
	[IPT_IS] = "is_", [IPT_IN] = "in_", [IPT_OUT] = "out_", [IPT_REST] = "rest_", [IPT_STRAY] = "stray_",
};
static const char *const bank_names[IPTABLES_BANKS] = { IPTABLES_PREFIX, IPTABLES_PREFIX "2" };

static bool has_class(enum ipt_role role)
{
	return g_str_has_suffix(role_names[role], "_");
}

bool ipt_role_counts(enum ipt_role role)
{
	return role == IPT_IN || role == IPT_OUT || role == IPT_REST || role == IPT_STRAY;
}

enum ipset_type ipt_role_type(enum ipt_role role)
{
	return role == IPT_PUBLIC || role == IPT_FIXED || role == IPT_IN || role == IPT_OUT ? IPSET_ADDRESSES :
	                                                                                      IPSET_PREFIXES;
}

char *ipt_set_name(unsigned bank, enum ipt_role role, const char *class_name)
{
	return g_strconcat(bank_names[bank], "_", role_names[role], class_name, NULL);
}

bool ipt_set_parse(const char *name, unsigned *bank, enum ipt_role *role, const char **class_name)
{
	for (unsigned i = 0; i < IPTABLES_BANKS; i++) {
		size_t length = strlen(bank_names[i]);

		if (!g_str_has_prefix(name, bank_names[i]) || name[length] != '_')
			continue;
		for (unsigned j = 0; j < IPT_ROLES; j++) {
			const char *rest = name + length + 1, *class = rest + strlen(role_names[j]);

			if (has_class(j) ? !g_str_has_prefix(rest, role_names[j]) || !class_name_is_valid(class) :
			                   strcmp(rest, role_names[j]))
				continue;
			*bank = i;
			*role = j;
			*class_name = has_class(j) ? g_intern_string(class) : NULL;
			return true;
		}
	}
	return false;
}

static void set_free(void *data)
{
	struct ipt_set *set = data;

	g_free(set->name);
	g_array_unref(set->elements);
	g_free(set);
}

void ipt_bank_init(struct ipt_bank *bank)
{
	bank->sets = g_ptr_array_new_with_free_func(set_free);
}

void ipt_bank_clear(struct ipt_bank *bank)
{
	g_clear_pointer(&bank->sets, g_ptr_array_unref);
}

struct ipt_set *ipt_bank_add(struct ipt_bank *bank, unsigned number, enum ipt_role role, const char *class_name)
{
	struct ipt_set *set = g_new0(struct ipt_set, 1);

	set->name = ipt_set_name(number, role, class_name);
	set->role = role;
	set->class_name = class_name;
	set->elements = g_array_new(FALSE, TRUE, sizeof(struct ipt_element));
	g_ptr_array_add(bank->sets, set);
	return set;
}

struct ipt_set *ipt_bank_find(const struct ipt_bank *bank, enum ipt_role role, const char *class_name)
{
	for (unsigned i = 0; i < bank->sets->len; i++) {
		struct ipt_set *set = bank->sets->pdata[i];

		if (set->role == role && set->class_name == class_name)
			return set;
	}
	return NULL;
}

int ipt_element_compare(const void *a, const void *b)
{
	const struct ipt_element *first = a, *second = b;

	if (first->address != second->address)
		return first->address < second->address ? -1 : 1;
	return first->length - second->length;
}

char *ipt_tag_text(const struct ipt_tag *tag)
{
	return g_strdup_printf("%016" G_GINT64_MODIFIER "x%016" G_GINT64_MODIFIER "x", tag->high, tag->low);
}

/* 16 digits, by hand: it is done for each element at each sample. */
static bool parse_half(const char *text, uint64_t *half)
{
	*half = 0;
	for (unsigned i = 0; i < GENERATION_LEN / 2; i++) {
		unsigned digit = text[i] >= 'a' && text[i] <= 'f' ? text[i] - 'a' + 10U : text[i] - (unsigned)'0';

		if (digit > 15 || (digit > 9 && text[i] < 'a'))
			return false;
		*half = *half << 4 | digit;
	}
	return true;
}

static bool parse_tag(const char *text, struct ipt_tag *tag)
{
	return parse_half(text, &tag->high) && parse_half(text + GENERATION_LEN / 2, &tag->low) && !text[GENERATION_LEN];
}

char *ipt_comment(const struct ipt_element *element)
{
	g_autofree char *name = plan_counter_name(&element->key, element->out), *tag = ipt_tag_text(&element->tag);

	return g_strconcat(name, " ", tag, NULL);
}

bool ipt_comment_parse(const char *comment, struct ipt_element *element)
{
	const char *blank = strchr(comment, ' ');
	char name[NAME_MAX_LEN + 1] = "";

	if (!blank || blank - comment > NAME_MAX_LEN || !parse_tag(blank + 1, &element->tag))
		return false;
	memcpy(name, comment, (size_t)(blank - comment));
	return plan_counter_parse(name, &element->key, &element->out);
}

/* ---- elements ---- */

static void add_prefix(struct ipt_set *set, uint32_t address, uint8_t length)
{
	struct ipt_element element = { .address = address, .length = length };

	g_array_append_val(set->elements, element);
}

/* There is no /0 in a set of prefixes: it is two halves. */
static void add_any_prefix(struct ipt_set *set, uint32_t address, uint8_t length)
{
	if (length) {
		add_prefix(set, address, length);
		return;
	}
	add_prefix(set, 0, 1);
	add_prefix(set, UINT32_C(1) << 31, 1);
}

/* A range as the fewest prefixes. */
static void add_range(struct ipt_set *set, uint32_t first, uint32_t last)
{
	uint64_t at = first;

	while (at <= last) {
		unsigned bits = at ? MIN(__builtin_ctzll(at), 32) : 32;

		while (at + (UINT64_C(1) << bits) - 1 > last)
			bits--;
		add_any_prefix(set, (uint32_t)at, 32 - bits);
		at += UINT64_C(1) << bits;
	}
}

static void add_counter(struct ipt_set *set, uint32_t address, uint8_t length, const struct meter_key *key, bool out,
                        const char *tag)
{
	struct ipt_element element = { .address = address, .length = length, .key = *key, .out = out };

	parse_tag(tag, &element.tag); /* "" where nobody asks for it */
	g_array_append_val(set->elements, element);
}

static void add_halves(struct ipt_set *set, const struct meter_key *key, bool out, const char *tag)
{
	add_counter(set, 0, 1, key, out, tag);
	add_counter(set, UINT32_C(1) << 31, 1, key, out, tag);
}

static void fill_near(struct ipt_bank *bank, unsigned number, const struct plan *plan)
{
	struct ipt_set *set = ipt_bank_add(bank, number, IPT_NEAR, NULL);
	g_autoptr(GArray) near = plan_near(plan);

	for (unsigned i = 0; i < near->len; i++)
		add_prefix(set, g_array_index(near, uint32_t, i), 8);
}

static void fill_local(struct ipt_bank *bank, unsigned number, const struct plan *plan)
{
	struct ipt_set *to = ipt_bank_add(bank, number, IPT_LOCAL_DST, NULL);
	struct ipt_set *from = ipt_bank_add(bank, number, IPT_LOCAL_SRC, NULL);

	for (unsigned i = 0; i < plan->local->len; i++) {
		const struct prefix *prefix = &g_array_index(plan->local, struct prefix, i);

		add_any_prefix(to, prefix->address, prefix->length);
		add_any_prefix(from, prefix->address, prefix->length);
	}
}

static void fill_classes(struct ipt_bank *bank, unsigned number, const struct plan *plan)
{
	for (unsigned i = 0; i < plan->classes->len; i++)
		if (strcmp(plan->classes->pdata[i], CLASS_INTERNET))
			ipt_bank_add(bank, number, IPT_IS, plan->classes->pdata[i]);
	for (unsigned i = 0; i < plan->ranges->len; i++) {
		const struct class_range *range = &g_array_index(plan->ranges, struct class_range, i);
		struct ipt_set *set = ipt_bank_find(bank, IPT_IS, range->class_name);

		if (set)
			add_range(set, range->first, range->last);
	}
}

/* The out counter of a floating IP.  Should two share a fixed address, it counts for the lower. */
static void add_out(struct ipt_bank *bank, const struct plan *plan, const struct planned_meter *meter, GHashTable *taken,
                    const char *tag)
{
	struct ipt_set *out = ipt_bank_find(bank, IPT_OUT, meter->key.class_name);
	struct ipt_set *fixed = ipt_bank_find(bank, IPT_FIXED, NULL);
	void *owner = g_hash_table_lookup(taken, GUINT_TO_POINTER(meter->fixed));
	bool own = !owner || GPOINTER_TO_UINT(owner) == meter->key.address;

	add_counter(out, own ? meter->fixed : meter->key.address, 32, &meter->key, true, tag);
	if (owner)
		return;
	g_hash_table_insert(taken, GUINT_TO_POINTER(meter->fixed), GUINT_TO_POINTER(meter->key.address));
	if (prefixes_find(plan->local, meter->fixed))
		add_prefix(fixed, meter->fixed, 32);
}

static void add_meter(struct ipt_bank *bank, const struct plan *plan, const struct planned_meter *meter, GHashTable *taken,
                      const char *tag)
{
	const struct meter_key *key = &meter->key;
	struct ipt_set *public = ipt_bank_find(bank, IPT_PUBLIC, NULL);

	if (key->kind == KIND_UNATTRIBUTED) {
		add_halves(ipt_bank_find(bank, IPT_STRAY, key->class_name), key, false, tag);
		add_halves(ipt_bank_find(bank, IPT_REST, key->class_name), key, true, tag);
		return;
	}
	add_counter(ipt_bank_find(bank, IPT_IN, key->class_name), key->address, 32, key, false, tag);
	if (!public->elements->len ||
	    g_array_index(public->elements, struct ipt_element, public->elements->len - 1).address != key->address)
		add_prefix(public, key->address, 32);
	if (key->kind == KIND_GATEWAY)
		add_halves(ipt_bank_find(bank, IPT_REST, key->class_name), key, true, tag);
	else
		add_out(bank, plan, meter, taken, tag);
}

static bool has_rest(const struct plan *plan)
{
	return plan->gateway || plan_has_unattributed(plan);
}

void ipt_layout_fill(struct ipt_bank *bank, unsigned number, const struct plan *plan, const char *tag)
{
	g_autoptr(GHashTable) taken = g_hash_table_new(NULL, NULL); /* fixed address -> the floating IP it counts for */

	fill_near(bank, number, plan);
	fill_local(bank, number, plan);
	fill_classes(bank, number, plan);
	ipt_bank_add(bank, number, IPT_PUBLIC, NULL);
	ipt_bank_add(bank, number, IPT_FIXED, NULL);
	for (unsigned i = 0; i < plan->classes->len; i++) {
		const char *class_name = plan->classes->pdata[i];

		ipt_bank_add(bank, number, IPT_IN, class_name);
		ipt_bank_add(bank, number, IPT_OUT, class_name);
		if (has_rest(plan))
			ipt_bank_add(bank, number, IPT_REST, class_name);
		if (plan_has_unattributed(plan))
			ipt_bank_add(bank, number, IPT_STRAY, class_name);
	}
	for (unsigned i = 0; i < plan->meters->len; i++)
		add_meter(bank, plan, &g_array_index(plan->meters, struct planned_meter, i), taken, tag);
	for (unsigned i = 0; i < bank->sets->len; i++)
		g_array_sort(((struct ipt_set *)bank->sets->pdata[i])->elements, ipt_element_compare);
}

/* ---- rules ---- */

struct rules {
	GPtrArray *list; /* of struct xtrule * */
	unsigned bank;
};

static char *chain_name(unsigned bank, const char *suffix)
{
	return g_strconcat(bank_names[bank], *suffix ? "-" : "", suffix, NULL);
}

int ipt_bank_of_chain(const char *chain)
{
	for (unsigned i = 0; i < IPTABLES_BANKS; i++)
		if (g_str_equal(chain, bank_names[i]))
			return (int)i;
	return -1;
}

static struct xtrule *add_rule(struct rules *rules, const char *suffix)
{
	g_autofree char *chain = chain_name(rules->bank, suffix);
	struct xtrule *rule = xtrule_new(chain);

	g_ptr_array_add(rules->list, rule);
	return rule;
}

static void lead(struct rules *rules, struct xtrule *rule, enum xtrule_verdict verdict, const char *suffix)
{
	g_autofree char *chain = chain_name(rules->bank, suffix);

	xtrule_verdict(rule, verdict, chain);
}

static void leave(struct xtrule *rule)
{
	xtrule_verdict(rule, XTRULE_RETURN, NULL);
}

static void ask(struct rules *rules, struct xtrule *rule, enum xtrule_side side, enum ipt_role role,
                const char *class_name, bool inverted)
{
	g_autofree char *set = ipt_set_name(rules->bank, role, class_name);

	xtrule_match_set(rule, side, set, inverted);
}

static void add_device_rules(struct rules *rules)
{
	static const char *const external[] = { "qg-", "rfp-" };
	struct xtrule *rule = add_rule(rules, "");

	xtrule_match_device(rule, "lo", false);
	leave(rule);
	rule = add_rule(rules, "");
	xtrule_match_device(rule, "ha-", true);
	leave(rule);
	for (unsigned i = 0; i < G_N_ELEMENTS(external); i++) {
		rule = add_rule(rules, "");
		xtrule_match_device(rule, external[i], true);
		lead(rules, rule, XTRULE_GOTO, "external");
	}
	rule = add_rule(rules, ""); /* rows 3, 4: far away, so nothing else */
	ask(rules, rule, XTRULE_DESTINATION, IPT_NEAR, NULL, true);
	lead(rules, rule, XTRULE_GOTO, "far");
	rule = add_rule(rules, "");
	ask(rules, rule, XTRULE_SOURCE, IPT_LOCAL_SRC, NULL, false);
	lead(rules, rule, XTRULE_GOTO, "tenant");
	rule = add_rule(rules, "");
	xtrule_match_local_destination(rule);
	lead(rules, rule, XTRULE_GOTO, "in");
}

/* keepalived has taken addresses and routes away; sets that were filled before know nothing of it. */
static void add_standby_rule(struct rules *rules, const char *suffix)
{
	struct xtrule *rule = add_rule(rules, suffix);

	xtrule_match_unknown_source(rule);
	leave(rule);
}

static void add_external_rules(struct rules *rules, bool unattributed)
{
	struct xtrule *rule = add_rule(rules, "external");

	xtrule_match_local_destination(rule);
	lead(rules, rule, XTRULE_JUMP, "in");
	if (!unattributed)
		return;
	add_standby_rule(rules, "external");
	rule = add_rule(rules, "external");
	ask(rules, rule, XTRULE_DESTINATION, IPT_LOCAL_DST, NULL, false);
	lead(rules, rule, XTRULE_GOTO, "stray");
}

/* From inside to where nothing is but class internet.  IPT_FIXED has no address that is not in L. */
static void add_far_rules(struct rules *rules, const struct plan *plan)
{
	const char *internet = g_intern_static_string(CLASS_INTERNET);
	struct xtrule *rule;

	add_standby_rule(rules, "far");
	rule = add_rule(rules, "far"); /* row 3 */
	ask(rules, rule, XTRULE_SOURCE, IPT_FIXED, NULL, false);
	lead(rules, rule, XTRULE_GOTO, "far-out");
	if (has_rest(plan)) { /* row 4 */
		rule = add_rule(rules, "far");
		ask(rules, rule, XTRULE_SOURCE, IPT_LOCAL_SRC, NULL, false);
		ask(rules, rule, XTRULE_SOURCE, IPT_REST, internet, false);
	}
	rule = add_rule(rules, "far-out");
	ask(rules, rule, XTRULE_SOURCE, IPT_OUT, internet, false);
}

static void add_tenant_rules(struct rules *rules, const struct plan *plan)
{
	struct xtrule *rule;

	if (plan->gateway) { /* not row 2, nor 4: to its own gateway address */
		rule = add_rule(rules, "tenant");
		xtrule_match_address(rule, XTRULE_DESTINATION, plan->gateway);
		ask(rules, rule, XTRULE_SOURCE, IPT_FIXED, NULL, true);
		leave(rule);
	}
	rule = add_rule(rules, "tenant"); /* rows 1, 2: a tenant's address is of class cloud */
	xtrule_match_local_destination(rule);
	ask(rules, rule, XTRULE_DESTINATION, IPT_PUBLIC, NULL, false);
	ask(rules, rule, XTRULE_DESTINATION, IPT_IN, g_intern_static_string(CLASS_CLOUD), false);
	rule = add_rule(rules, "tenant"); /* stays inside */
	ask(rules, rule, XTRULE_DESTINATION, IPT_LOCAL_DST, NULL, false);
	leave(rule);
	add_standby_rule(rules, "tenant");
	rule = add_rule(rules, "tenant"); /* row 3 */
	ask(rules, rule, XTRULE_SOURCE, IPT_FIXED, NULL, false);
	lead(rules, rule, XTRULE_GOTO, "out");
	if (!has_rest(plan))
		return;
	if (plan->gateway) {
		rule = add_rule(rules, "tenant");
		xtrule_match_address(rule, XTRULE_DESTINATION, plan->gateway);
		leave(rule);
	}
	rule = add_rule(rules, "tenant"); /* row 4 */
	lead(rules, rule, XTRULE_GOTO, "rest");
}

/* Finds the class of the remote address and counts in the set of that class.  The last one is what is in no other. */
static void add_counting_rules(struct rules *rules, const struct plan *plan, const char *suffix, enum xtrule_side remote,
                               enum ipt_role role, enum xtrule_side own)
{
	const char *internet = g_intern_static_string(CLASS_INTERNET);
	struct xtrule *rule;

	if (remote == XTRULE_SOURCE) { /* a destination has been asked for before */
		rule = add_rule(rules, suffix);
		ask(rules, rule, remote, IPT_NEAR, NULL, true);
		ask(rules, rule, own, role, internet, false);
		leave(rule);
	}
	for (unsigned i = 0; i < plan->classes->len; i++) {
		const char *class_name = plan->classes->pdata[i];

		if (class_name == internet)
			continue;
		rule = add_rule(rules, suffix);
		ask(rules, rule, remote, IPT_IS, class_name, false);
		ask(rules, rule, own, role, class_name, false);
		leave(rule);
	}
	rule = add_rule(rules, suffix);
	ask(rules, rule, own, role, internet, false);
}

GPtrArray *ipt_layout_rules(unsigned bank, const struct plan *plan, const char *comment)
{
	struct rules rules = { .list = g_ptr_array_new_with_free_func((GDestroyNotify)xtrule_free), .bank = bank };
	bool unattributed = plan_has_unattributed(plan);
	struct xtrule *rule;

	if (comment) {
		rule = xtrule_new("PREROUTING");
		xtrule_comment(rule, comment);
		lead(&rules, rule, XTRULE_JUMP, "");
		g_ptr_array_add(rules.list, rule);
	}
	add_device_rules(&rules);
	add_external_rules(&rules, unattributed);
	add_tenant_rules(&rules, plan);
	add_far_rules(&rules, plan);
	rule = add_rule(&rules, "in");
	ask(&rules, rule, XTRULE_DESTINATION, IPT_PUBLIC, NULL, true);
	leave(rule);
	add_counting_rules(&rules, plan, "in", XTRULE_SOURCE, IPT_IN, XTRULE_DESTINATION);
	add_counting_rules(&rules, plan, "out", XTRULE_DESTINATION, IPT_OUT, XTRULE_SOURCE);
	if (has_rest(plan))
		add_counting_rules(&rules, plan, "rest", XTRULE_DESTINATION, IPT_REST, XTRULE_SOURCE);
	if (unattributed)
		add_counting_rules(&rules, plan, "stray", XTRULE_SOURCE, IPT_STRAY, XTRULE_SOURCE);
	return rules.list;
}

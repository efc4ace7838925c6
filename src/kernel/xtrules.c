/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A rule is kept as its parts (built-in conditions, matches, verdict) and becomes a struct ipt_entry when it is put in.
 * What stands is brought into the same parts, so that both can be compared: libip4tc and the kernel fill what lies
 * between the parts as they like.
 */
#include "kernel/xtrules.h"

#include "kernel/ipset.h"
#include "kernel/netns.h"
#include "kernel/xtahead.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/xt_addrtype.h>
#include <linux/netfilter/xt_comment.h>
#include <linux/netfilter/xt_rpfilter.h>
#include <linux/netfilter/xt_set.h>
#include <string.h>

#define OURS "fipmeter"        /* how a comment of ours begins */
#define COMMITS 10
#define COMMIT_PAUSE_US 2000
#define DIGEST_LEN 16

struct match {
	char name[XT_EXTENSION_MAXNAMELEN];
	uint8_t revision;
	GByteArray *data;
	char *set; /* whose number is to be put into data; NULL: none */
};

struct xtrule {
	char *chain;
	struct ipt_ip ip;
	GPtrArray *matches; /* of struct match * */
	char *target;       /* a chain, RETURN, or "": on to the next rule */
};

/* ---- building ---- */

static void match_free(void *data)
{
	struct match *match = data;

	g_byte_array_unref(match->data);
	g_free(match->set);
	g_free(match);
}

struct xtrule *xtrule_new(const char *chain)
{
	struct xtrule *rule = g_new0(struct xtrule, 1);

	rule->chain = g_strdup(chain);
	rule->matches = g_ptr_array_new_with_free_func(match_free);
	rule->target = g_strdup("");
	return rule;
}

void xtrule_free(struct xtrule *rule)
{
	if (!rule)
		return;
	g_free(rule->chain);
	g_ptr_array_unref(rule->matches);
	g_free(rule->target);
	g_free(rule);
}

static struct match *add_match(struct xtrule *rule, const char *name, uint8_t revision, const void *data, size_t length)
{
	struct match *match = g_new0(struct match, 1);
	size_t aligned = XT_ALIGN(length);

	g_strlcpy(match->name, name, sizeof match->name);
	match->revision = revision;
	match->data = g_byte_array_sized_new(aligned);
	g_byte_array_set_size(match->data, aligned);
	memset(match->data->data, 0, aligned);
	memcpy(match->data->data, data, length);
	g_ptr_array_add(rule->matches, match);
	return match;
}

/* As iptables(8): without + the NUL is compared, too. */
void xtrule_match_device(struct xtrule *rule, const char *name, bool as_prefix)
{
	size_t length = strlen(name);

	g_strlcpy(rule->ip.iniface, name, sizeof rule->ip.iniface);
	memset(rule->ip.iniface_mask, 0xff, MIN(length + !as_prefix, sizeof rule->ip.iniface_mask));
}

void xtrule_match_address(struct xtrule *rule, enum xtrule_side side, uint32_t address)
{
	if (side == XTRULE_SOURCE) {
		rule->ip.src.s_addr = htonl(address);
		rule->ip.smsk.s_addr = UINT32_MAX;
	} else {
		rule->ip.dst.s_addr = htonl(address);
		rule->ip.dmsk.s_addr = UINT32_MAX;
	}
}

void xtrule_match_set(struct xtrule *rule, enum xtrule_side side, const char *set, bool inverted)
{
	struct xt_set_info_match_v4 info = {
		.match_set = {
			.dim = IPSET_DIM_ONE,
			.flags = (side == XTRULE_SOURCE ? IPSET_DIM_ONE_SRC : 0) | (inverted ? IPSET_INV_MATCH : 0),
		},
	};

	add_match(rule, "set", 4, &info, sizeof info)->set = g_strdup(set);
}

void xtrule_match_local_destination(struct xtrule *rule)
{
	struct xt_addrtype_info_v1 info = { .dest = XT_ADDRTYPE_LOCAL };

	add_match(rule, "addrtype", 1, &info, sizeof info);
}

void xtrule_match_unknown_source(struct xtrule *rule)
{
	struct xt_rpfilter_info info = { .flags = XT_RPFILTER_LOOSE | XT_RPFILTER_ACCEPT_LOCAL | XT_RPFILTER_INVERT };

	add_match(rule, "rpfilter", 0, &info, sizeof info);
}

void xtrule_comment(struct xtrule *rule, const char *text)
{
	struct xt_comment_info info = { 0 };

	g_strlcpy(info.comment, text, sizeof info.comment);
	add_match(rule, "comment", 0, &info, sizeof info);
}

void xtrule_verdict(struct xtrule *rule, enum xtrule_verdict verdict, const char *chain)
{
	g_free(rule->target);
	rule->target = g_strdup(verdict == XTRULE_NONE ? "" : verdict == XTRULE_RETURN ? "RETURN" : chain);
	if (verdict == XTRULE_GOTO)
		rule->ip.flags |= IPT_F_GOTO;
}

/* To be called inside the namespace. */
static bool resolve_sets(const GPtrArray *rules, GError **error)
{
	for (unsigned i = 0; i < rules->len; i++) {
		const struct xtrule *rule = rules->pdata[i];

		for (unsigned j = 0; j < rule->matches->len; j++) {
			struct match *match = rule->matches->pdata[j];
			uint16_t index;

			if (!match->set)
				continue;
			if (!ipset_index(match->set, &index, error))
				return false;
			((struct xt_set_info_match_v4 *)match->data->data)->match_set.index = index;
		}
	}
	return true;
}

static GByteArray *make_entry(const struct xtrule *rule)
{
	GByteArray *bytes = g_byte_array_new();
	struct ipt_entry entry = { .ip = rule->ip };
	struct xt_standard_target target = { .target.u.user.target_size = XT_ALIGN(sizeof target) };
	uint8_t padded[XT_ALIGN(sizeof target)] = { 0 };

	g_byte_array_append(bytes, (const guint8 *)&entry, sizeof entry);
	for (unsigned i = 0; i < rule->matches->len; i++) {
		const struct match *match = rule->matches->pdata[i];
		struct xt_entry_match head = { .u.user = { .match_size = sizeof head + match->data->len,
		                                           .revision = match->revision } };

		g_strlcpy(head.u.user.name, match->name, sizeof head.u.user.name);
		g_byte_array_append(bytes, (const guint8 *)&head, sizeof head);
		g_byte_array_append(bytes, match->data->data, match->data->len);
	}
	entry.target_offset = bytes->len;
	g_strlcpy(target.target.u.user.name, rule->target, sizeof target.target.u.user.name);
	memcpy(padded, &target, sizeof target);
	g_byte_array_append(bytes, padded, sizeof padded);
	entry.next_offset = bytes->len;
	memcpy(bytes->data, &entry, sizeof entry);
	return bytes;
}

/* ---- what stands ---- */

static void take_matches(struct xtrule *rule, const struct ipt_entry *entry)
{
	const char *bytes = (const char *)entry;
	size_t at = sizeof *entry;

	while (at < entry->target_offset) {
		const struct xt_entry_match *match = (const void *)(bytes + at);

		add_match(rule, match->u.user.name, match->u.user.revision, match->data,
		          match->u.user.match_size - sizeof *match);
		at += match->u.user.match_size;
	}
}

/* Ours are rules of our chains, and those of others that lead there. */
static bool is_ours(const char *chain, const char *target, const char *prefix)
{
	return g_str_has_prefix(chain, prefix) || g_str_has_prefix(target, prefix);
}

/* Where packets are led away before they come to us, our rules do not stand as we make them: said by a rule more. */
static void take_diversions(GPtrArray *rules, struct xtc_handle *handle, const char *prefix)
{
	g_autoptr(GPtrArray) builtin = g_ptr_array_new_with_free_func(g_free);

	for (const char *chain = iptc_first_chain(handle); chain; chain = iptc_next_chain(handle))
		if (iptc_builtin(chain, handle))
			g_ptr_array_add(builtin, g_strdup(chain));
	for (unsigned i = 0; i < builtin->len; i++)
		if (xtahead_diverts(handle, builtin->pdata[i], prefix))
			g_ptr_array_add(rules, xtrule_new(builtin->pdata[i]));
}

/* The rules of ours in a table, as parts.  NULL on failure. */
static GPtrArray *collect(struct xtc_handle *handle, const char *prefix, GError **error)
{
	GPtrArray *rules = g_ptr_array_new_with_free_func((GDestroyNotify)xtrule_free);

	for (const char *chain = iptc_first_chain(handle); chain; chain = iptc_next_chain(handle))
		for (const struct ipt_entry *entry = iptc_first_rule(chain, handle); entry;
		     entry = iptc_next_rule(entry, handle)) {
			const char *target = iptc_get_target(entry, handle);
			struct xtrule *rule;

			if (!xtables_entry_check(entry, entry->next_offset)) {
				g_set_error(error, XTABLES_ERROR, XTABLES_ERROR_FAILED,
				            "a legacy rule of chain %s is not well formed", chain);
				g_ptr_array_unref(rules);
				return NULL;
			}
			if (!is_ours(chain, target ? target : "", prefix))
				continue;
			rule = xtrule_new(chain);
			rule->ip = entry->ip;
			g_free(rule->target);
			rule->target = g_strdup(target ? target : "");
			take_matches(rule, entry);
			g_ptr_array_add(rules, rule);
		}
	take_diversions(rules, handle, prefix);
	return rules;
}

/* ---- digests ---- */

static const char *comment_of_ours(const struct match *match)
{
	const char *text = (const char *)match->data->data;

	if (strcmp(match->name, "comment") || match->data->len < sizeof(struct xt_comment_info) ||
	    !memchr(text, 0, match->data->len) || !g_str_has_prefix(text, OURS))
		return NULL;
	return text;
}

static void add_rule(GChecksum *sum, const struct xtrule *rule)
{
	g_checksum_update(sum, (const guchar *)rule->chain, strlen(rule->chain) + 1);
	g_checksum_update(sum, (const guchar *)&rule->ip, sizeof rule->ip);
	for (unsigned i = 0; i < rule->matches->len; i++) {
		const struct match *match = rule->matches->pdata[i];

		g_checksum_update(sum, (const guchar *)match->name, strlen(match->name) + 1);
		g_checksum_update(sum, &match->revision, sizeof match->revision);
		if (!comment_of_ours(match))
			g_checksum_update(sum, match->data->data, match->data->len);
	}
	g_checksum_update(sum, (const guchar *)rule->target, strlen(rule->target) + 1);
}

static int compare_chains(const void *a, const void *b)
{
	return strcmp((*(struct xtrule *const *)a)->chain, (*(struct xtrule *const *)b)->chain);
}

static char *digest_of(const GPtrArray *rules)
{
	g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
	g_autoptr(GPtrArray) sorted = g_ptr_array_sized_new(rules->len);

	if (!rules->len)
		return g_strdup("");
	for (unsigned i = 0; i < rules->len; i++)
		g_ptr_array_add(sorted, rules->pdata[i]);
	g_ptr_array_sort(sorted, compare_chains); /* stable: the order inside a chain stays */
	for (unsigned i = 0; i < sorted->len; i++)
		add_rule(sum, sorted->pdata[i]);
	return g_strndup(g_checksum_get_string(sum), DIGEST_LEN);
}

struct digesting {
	const GPtrArray *rules;
	char *digest;
};

static bool digest_inside(void *data, GError **error)
{
	struct digesting *digesting = data;

	if (!resolve_sets(digesting->rules, error))
		return false;
	digesting->digest = digest_of(digesting->rules);
	return true;
}

char *xtrules_digest(int ns_fd, const GPtrArray *rules, GError **error)
{
	struct digesting digesting = { .rules = rules };

	return netns_call(ns_fd, digest_inside, &digesting, error) ? digesting.digest : NULL;
}

/* ---- reading ---- */

static struct xtc_handle *open_table(const char *table, GError **error)
{
	struct xtc_handle *handle = iptc_init(table);

	if (!handle)
		g_set_error(error, XTABLES_ERROR, XTABLES_ERROR_FAILED, "legacy table %s: %s", table, iptc_strerror(errno));
	return handle;
}

struct standing {
	const char *table, *prefix;
	GPtrArray *rules; /* NULL: no such table */
};

static bool read_standing(void *data, GError **error)
{
	struct standing *standing = data;
	struct xtc_handle *handle;
	bool exists;

	if (!xtables_has_table(standing->table, &exists, error))
		return false;
	if (!exists)
		return true;
	handle = open_table(standing->table, error);
	if (!handle)
		return false;
	standing->rules = collect(handle, standing->prefix, error);
	iptc_free(handle);
	return standing->rules;
}

static const struct xtrule *find_jump(const struct standing *standing)
{
	for (unsigned i = 0; standing->rules && i < standing->rules->len; i++)
		if (!g_str_has_prefix(((struct xtrule *)standing->rules->pdata[i])->chain, standing->prefix))
			return standing->rules->pdata[i];
	return NULL;
}

bool xtrules_standing(int ns_fd, const char *table, const char *prefix, char **digest, char **comment, char **jump,
                      GError **error)
{
	struct standing standing = { .table = table, .prefix = prefix };
	const struct xtrule *leading;

	if (!netns_call(ns_fd, read_standing, &standing, error))
		return false;
	leading = find_jump(&standing);
	*digest = standing.rules ? digest_of(standing.rules) : g_strdup("");
	*jump = leading ? g_strdup(leading->target) : NULL;
	*comment = NULL;
	for (unsigned i = 0; leading && !*comment && i < leading->matches->len; i++)
		*comment = g_strdup(comment_of_ours(leading->matches->pdata[i]));
	g_clear_pointer(&standing.rules, g_ptr_array_unref);
	return true;
}

/* ---- writing ---- */

struct change {
	const char *table, *prefix;
	const GPtrArray *rules;
	char *digest; /* of rules */
	bool damaged;
};

/* Names of chains; ours, or the others. */
static GPtrArray *list_chains(struct xtc_handle *handle, const char *prefix, bool ours)
{
	GPtrArray *chains = g_ptr_array_new_with_free_func(g_free);

	for (const char *chain = iptc_first_chain(handle); chain; chain = iptc_next_chain(handle))
		if (g_str_has_prefix(chain, prefix) == ours)
			g_ptr_array_add(chains, g_strdup(chain));
	return chains;
}

static bool remove_jumps(struct xtc_handle *handle, const char *chain, const char *prefix)
{
	const struct ipt_entry *entry = iptc_first_rule(chain, handle);
	unsigned number = 0;

	while (entry) {
		const char *target = iptc_get_target(entry, handle);

		if (!target || !g_str_has_prefix(target, prefix)) {
			entry = iptc_next_rule(entry, handle);
			number++;
			continue;
		}
		if (!iptc_delete_num_entry(chain, number, handle))
			return false;
		entry = iptc_first_rule(chain, handle); /* what was handed out is gone */
		for (unsigned i = 0; entry && i < number; i++)
			entry = iptc_next_rule(entry, handle);
	}
	return true;
}

static bool take_out(struct xtc_handle *handle, const char *prefix)
{
	g_autoptr(GPtrArray) others = list_chains(handle, prefix, false), ours = list_chains(handle, prefix, true);

	for (unsigned i = 0; i < others->len; i++)
		if (!remove_jumps(handle, others->pdata[i], prefix))
			return false;
	for (unsigned i = 0; i < ours->len; i++)
		if (!iptc_flush_entries(ours->pdata[i], handle))
			return false;
	for (unsigned i = 0; i < ours->len; i++)
		if (!iptc_delete_chain(ours->pdata[i], handle))
			return false;
	return true;
}

static bool put_in(struct xtc_handle *handle, const struct change *change)
{
	g_autoptr(GHashTable) placed = g_hash_table_new(g_str_hash, g_str_equal); /* built-in chain -> rules so far */

	for (unsigned i = 0; i < change->rules->len; i++) {
		const struct xtrule *rule = change->rules->pdata[i];

		if (g_str_has_prefix(rule->chain, change->prefix) && !iptc_is_chain(rule->chain, handle) &&
		    !iptc_create_chain(rule->chain, handle))
			return false;
	}
	for (unsigned i = 0; i < change->rules->len; i++) {
		const struct xtrule *rule = change->rules->pdata[i];
		g_autoptr(GByteArray) entry = make_entry(rule);
		unsigned before = GPOINTER_TO_UINT(g_hash_table_lookup(placed, rule->chain));

		if (g_str_has_prefix(rule->chain, change->prefix) ?
		    !iptc_append_entry(rule->chain, (const void *)entry->data, handle) :
		    !iptc_insert_entry(rule->chain, (const void *)entry->data, before, handle))
			return false;
		g_hash_table_insert(placed, rule->chain, GUINT_TO_POINTER(before + 1));
	}
	return true;
}

enum outcome { OUTCOME_DONE, OUTCOME_AGAIN, OUTCOME_DOUBTFUL, OUTCOME_FAILED };

static enum outcome write_once(const struct change *change, GError **error)
{
	struct xtc_handle *handle = open_table(change->table, error);
	g_autoptr(GPtrArray) standing = handle ? collect(handle, change->prefix, error) : NULL;
	g_autofree char *digest = standing ? digest_of(standing) : NULL;
	enum outcome outcome = OUTCOME_FAILED;
	int number = 0;

	if (digest && g_str_equal(digest, change->digest)) {
		outcome = OUTCOME_DONE;
	} else if (digest) {
		errno = 0;
		if (take_out(handle, change->prefix) && put_in(handle, change) && iptc_commit(handle))
			outcome = OUTCOME_DONE;
		else
			number = errno ? errno : EIO;
	}
	if (number) {
		outcome = number == EAGAIN ? OUTCOME_AGAIN : number == EINVAL ? OUTCOME_DOUBTFUL : OUTCOME_FAILED;
		g_set_error(error, XTABLES_ERROR, XTABLES_ERROR_FAILED, "cannot write legacy table %s: %s", change->table,
		            iptc_strerror(number));
	}
	if (handle)
		iptc_free(handle);
	return outcome;
}

/* EINVAL can be the answer to the second call, that adds the old counters to the new ones: then the rules are in. */
static bool is_in(const struct change *change)
{
	struct xtc_handle *handle = open_table(change->table, NULL);
	g_autoptr(GPtrArray) standing = handle ? collect(handle, change->prefix, NULL) : NULL;
	g_autofree char *digest = standing ? digest_of(standing) : NULL;

	if (handle)
		iptc_free(handle);
	return digest && g_str_equal(digest, change->digest);
}

static bool replace_inside(void *data, GError **error)
{
	struct change *change = data;
	enum outcome outcome = OUTCOME_AGAIN;
	bool exists = true;

	if (!resolve_sets(change->rules, error) ||
	    (!change->rules->len && !xtables_has_table(change->table, &exists, error)))
		return false;
	if (!exists)
		return true;
	change->digest = digest_of(change->rules);
	for (unsigned i = 0; i < COMMITS && outcome == OUTCOME_AGAIN; i++) {
		if (i)
			g_usleep(COMMIT_PAUSE_US);
		g_clear_error(error);
		outcome = write_once(change, error);
	}
	if (outcome == OUTCOME_DOUBTFUL && is_in(change)) {
		change->damaged = true;
		g_clear_error(error);
		outcome = OUTCOME_DONE;
	}
	return outcome == OUTCOME_DONE;
}

bool xtrules_replace(int ns_fd, const char *table, const char *prefix, const GPtrArray *rules, bool *damaged,
                     GError **error)
{
	struct change change = { .table = table, .prefix = prefix, .rules = rules };
	GError *refusal = NULL;
	bool done = netns_call(ns_fd, replace_inside, &change, &refusal);

	g_free(change.digest);
	if (!done)
		g_propagate_error(error, refusal);
	else
		*damaged = change.damaged;
	return done;
}

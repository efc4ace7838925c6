/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An nft rule is a little program: expressions load parts of the packet into registers and compare them.
 * It is followed by keeping, for each register, what is in it; a comparison of anything else than an
 * address or a device's name, and every expression that is not in the table below, may let fewer packets
 * through than we would think, and so makes the rule `narrowed`.
 */
#include "inventory/nat.h"

#include <arpa/inet.h>
#include <libiptc/libiptc.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <stddef.h>
#include <string.h>

#define OFFSET_SADDR 12 /* in the IPv4 header, RFC 791 */
#define OFFSET_DADDR 16

/* ---- targets ---- */

/* All three layouts in one: is it a plain translation to a single address? */
static uint32_t single_address(unsigned flags, uint32_t min, uint32_t max)
{
	unsigned telling = NF_NAT_RANGE_MAP_IPS | NF_NAT_RANGE_PROTO_SPECIFIED | NF_NAT_RANGE_NETMAP;

	return (flags & telling) == NF_NAT_RANGE_MAP_IPS && min == max ? ntohl(min) : 0;
}

static uint32_t decode_compat(const void *data, size_t length)
{
	struct nf_nat_ipv4_multi_range_compat compat;

	if (length < sizeof compat)
		return 0;
	memcpy(&compat, data, sizeof compat);
	return compat.rangesize == 1 ?
	       single_address(compat.range[0].flags, compat.range[0].min_ip, compat.range[0].max_ip) : 0;
}

/* struct nf_nat_range2 only has one more member at its end. */
static uint32_t decode_range(const void *data, size_t length, size_t size)
{
	struct nf_nat_range range;

	G_STATIC_ASSERT(offsetof(struct nf_nat_range2, base_proto) == sizeof range);
	if (length < size)
		return 0;
	memcpy(&range, data, sizeof range);
	return single_address(range.flags, range.min_addr.ip, range.max_addr.ip);
}

void nat_decode_target(const char *name, uint32_t revision, const void *data, size_t length,
                       struct nat_rule *decoded)
{
	decoded->target = !strcmp(name, "DNAT") ? NAT_DNAT : !strcmp(name, "SNAT") ? NAT_SNAT : NAT_OTHER;
	decoded->to = 0;
	if (decoded->target == NAT_OTHER)
		return;
	if (revision == 0)
		decoded->to = decode_compat(data, length);
	else if (revision == 1)
		decoded->to = decode_range(data, length, sizeof(struct nf_nat_range));
	else if (revision == 2)
		decoded->to = decode_range(data, length, sizeof(struct nf_nat_range2));
}

/* ---- nft ---- */

enum content { CONTENT_OTHER, CONTENT_SOURCE, CONTENT_DESTINATION, CONTENT_IN, CONTENT_OUT, CONTENT_VALUE };

struct register_content {
	enum content what;
	bool whole;     /* an address: all of its bits */
	uint32_t value; /* CONTENT_VALUE: four bytes in network byte order */
};

/* Registers are 16 words of 4 bytes, under two sets of numbers (linux/netfilter/nf_tables.h). */
#define WORDS 16

struct program {
	struct nat_rule *decoded;
	struct register_content words[WORDS];
};

/* The first word of a register; WORDS if there is no such register. */
static unsigned word_of(uint32_t number)
{
	if (number >= NFT_REG_1 && number <= NFT_REG_4)
		return (number - NFT_REG_1) * 4;
	if (number >= NFT_REG32_00 && number <= NFT_REG32_15)
		return number - NFT_REG32_00;
	return WORDS;
}

static struct register_content get_register(const struct program *program, uint32_t number)
{
	unsigned word = word_of(number);

	return word < WORDS ? program->words[word] : (struct register_content){ CONTENT_OTHER };
}

static void set_register(struct program *program, uint32_t number, size_t length,
                         struct register_content content)
{
	unsigned word = word_of(number);

	for (unsigned i = word; i < WORDS && i < word + (length + 3) / 4; i++)
		program->words[i] = (struct register_content){ CONTENT_OTHER };
	if (word < WORDS)
		program->words[word] = content;
}

static void take_payload(struct program *program, const struct nftnl_expr *expr)
{
	uint32_t offset = nftnl_expr_get_u32(expr, NFTNL_EXPR_PAYLOAD_OFFSET);
	uint32_t length = nftnl_expr_get_u32(expr, NFTNL_EXPR_PAYLOAD_LEN);
	struct register_content content = { CONTENT_OTHER };

	if (!nftnl_expr_is_set(expr, NFTNL_EXPR_PAYLOAD_DREG))
		return; /* writes into the packet */
	if (nftnl_expr_get_u32(expr, NFTNL_EXPR_PAYLOAD_BASE) == NFT_PAYLOAD_NETWORK_HEADER && length <= 4) {
		if (offset == OFFSET_SADDR)
			content.what = CONTENT_SOURCE;
		else if (offset == OFFSET_DADDR)
			content.what = CONTENT_DESTINATION;
		content.whole = length == 4;
	}
	set_register(program, nftnl_expr_get_u32(expr, NFTNL_EXPR_PAYLOAD_DREG), length, content);
}

static void take_meta(struct program *program, const struct nftnl_expr *expr)
{
	uint32_t key = nftnl_expr_get_u32(expr, NFTNL_EXPR_META_KEY);
	struct register_content content = { CONTENT_OTHER };

	if (!nftnl_expr_is_set(expr, NFTNL_EXPR_META_DREG))
		return; /* sets a mark or the like */
	if (key == NFT_META_IIFNAME)
		content.what = CONTENT_IN;
	else if (key == NFT_META_OIFNAME)
		content.what = CONTENT_OUT;
	set_register(program, nftnl_expr_get_u32(expr, NFTNL_EXPR_META_DREG),
	             content.what == CONTENT_OTHER ? 4 : IFNAMSIZ, content);
}

/* Masks part of a register: what is compared afterwards is no longer one address. */
static void take_bitwise(struct program *program, const struct nftnl_expr *expr)
{
	uint32_t source = nftnl_expr_get_u32(expr, NFTNL_EXPR_BITWISE_SREG);
	struct register_content content = get_register(program, source);

	content.whole = false;
	if (content.what != CONTENT_SOURCE && content.what != CONTENT_DESTINATION)
		content.what = CONTENT_OTHER;
	set_register(program, nftnl_expr_get_u32(expr, NFTNL_EXPR_BITWISE_DREG),
	             nftnl_expr_get_u32(expr, NFTNL_EXPR_BITWISE_LEN), content);
}

/* A whole name is compared with the 0 at its end; a shorter one is a prefix, like qr-+ of iptables. */
static bool take_device(char device[IFNAMSIZ + 1], const char *data, uint32_t length)
{
	uint32_t used = (uint32_t)strnlen(data, length);

	if (device[0] || !used || used >= IFNAMSIZ)
		return false;
	memcpy(device, data, used);
	device[used] = used < length ? 0 : '+';
	device[used + 1] = 0;
	return true;
}

static bool take_destination(struct nat_rule *decoded, const void *data, uint32_t length)
{
	uint32_t address;

	if (decoded->destination || length != sizeof address)
		return false;
	memcpy(&address, data, sizeof address);
	decoded->destination = ntohl(address);
	return true;
}

static void take_cmp(struct program *program, const struct nftnl_expr *expr)
{
	uint32_t source = nftnl_expr_get_u32(expr, NFTNL_EXPR_CMP_SREG);
	struct register_content content = get_register(program, source);
	uint32_t length = 0;
	const void *data = nftnl_expr_get(expr, NFTNL_EXPR_CMP_DATA, &length);
	bool known = false;

	if (data && nftnl_expr_get_u32(expr, NFTNL_EXPR_CMP_OP) == NFT_CMP_EQ) {
		if (content.what == CONTENT_DESTINATION && content.whole)
			known = take_destination(program->decoded, data, length);
		else if (content.what == CONTENT_IN)
			known = take_device(program->decoded->in, data, length);
		else if (content.what == CONTENT_OUT)
			known = take_device(program->decoded->out, data, length);
	}
	if (!known)
		program->decoded->narrowed = true;
}

static void take_immediate(struct program *program, const struct nftnl_expr *expr)
{
	struct register_content content = { CONTENT_OTHER };
	uint32_t length = 0;
	const void *data;

	if (!nftnl_expr_is_set(expr, NFTNL_EXPR_IMM_DATA))
		return; /* a verdict */
	data = nftnl_expr_get(expr, NFTNL_EXPR_IMM_DATA, &length);
	if (data && length == sizeof content.value) {
		content.what = CONTENT_VALUE;
		memcpy(&content.value, data, sizeof content.value);
	}
	set_register(program, nftnl_expr_get_u32(expr, NFTNL_EXPR_IMM_DREG), length, content);
}

static void take_match(struct program *program, const struct nftnl_expr *expr)
{
	const char *name = nftnl_expr_get_str(expr, NFTNL_EXPR_MT_NAME);

	if (!name || strcmp(name, "comment"))
		program->decoded->narrowed = true;
}

static void take_target(struct program *program, const struct nftnl_expr *expr)
{
	const char *name = nftnl_expr_get_str(expr, NFTNL_EXPR_TG_NAME);
	uint32_t length = 0;
	const void *data = nftnl_expr_get(expr, NFTNL_EXPR_TG_INFO, &length);

	if (name && data)
		nat_decode_target(name, nftnl_expr_get_u32(expr, NFTNL_EXPR_TG_REV), data, length,
		                  program->decoded);
}

/* The one value that both ends of a range have; 0 if they differ or are not known. */
static uint32_t range_address(const struct program *program, const struct nftnl_expr *expr)
{
	uint32_t number = nftnl_expr_get_u32(expr, NFTNL_EXPR_NAT_REG_ADDR_MIN);
	struct register_content min = get_register(program, number), max = min;

	if (nftnl_expr_is_set(expr, NFTNL_EXPR_NAT_REG_ADDR_MAX))
		max = get_register(program, nftnl_expr_get_u32(expr, NFTNL_EXPR_NAT_REG_ADDR_MAX));
	if (min.what != CONTENT_VALUE || max.what != CONTENT_VALUE)
		return 0;
	return single_address(NF_NAT_RANGE_MAP_IPS, min.value, max.value);
}

static void take_nat(struct program *program, const struct nftnl_expr *expr)
{
	struct nat_rule *decoded = program->decoded;
	uint32_t flags = nftnl_expr_is_set(expr, NFTNL_EXPR_NAT_FLAGS) ?
	                 nftnl_expr_get_u32(expr, NFTNL_EXPR_NAT_FLAGS) : 0;

	decoded->target = nftnl_expr_get_u32(expr, NFTNL_EXPR_NAT_TYPE) == NFT_NAT_DNAT ? NAT_DNAT : NAT_SNAT;
	decoded->to = 0;
	if (nftnl_expr_get_u32(expr, NFTNL_EXPR_NAT_FAMILY) == NFPROTO_IPV4 &&
	    nftnl_expr_is_set(expr, NFTNL_EXPR_NAT_REG_ADDR_MIN) &&
	    !nftnl_expr_is_set(expr, NFTNL_EXPR_NAT_REG_PROTO_MIN) && !(flags & NF_NAT_RANGE_NETMAP))
		decoded->to = range_address(program, expr);
}

static void take_nothing(struct program *program, const struct nftnl_expr *expr)
{
}

/* What is not here may narrow the rule. */
static const struct {
	const char *name;
	void (*take)(struct program *program, const struct nftnl_expr *expr);
} expressions[] = {
	{ "payload", take_payload }, { "meta", take_meta }, { "bitwise", take_bitwise }, { "cmp", take_cmp },
	{ "immediate", take_immediate }, { "match", take_match }, { "target", take_target },
	{ "nat", take_nat }, { "counter", take_nothing }, { "last", take_nothing }, { "log", take_nothing },
};

static void take_expression(struct program *program, const struct nftnl_expr *expr)
{
	const char *name = nftnl_expr_get_str(expr, NFTNL_EXPR_NAME);

	for (unsigned i = 0; name && i < G_N_ELEMENTS(expressions); i++)
		if (!strcmp(name, expressions[i].name)) {
			expressions[i].take(program, expr);
			return;
		}
	program->decoded->narrowed = true;
}

void nat_decode_nft(const struct nftnl_rule *rule, struct nat_rule *decoded)
{
	struct program program = { .decoded = decoded };
	struct nftnl_expr_iter *iter = nftnl_expr_iter_create(rule);
	const struct nftnl_expr *expr;

	memset(decoded, 0, sizeof *decoded);
	decoded->chain = nftnl_rule_get_str(rule, NFTNL_RULE_CHAIN);
	while ((expr = nftnl_expr_iter_next(iter)))
		take_expression(&program, expr);
	nftnl_expr_iter_destroy(iter);
}

/* ---- legacy ---- */

/* iptables masks the whole name with the 0 at its end, or only the part before the +. */
static void decode_device(char device[IFNAMSIZ + 1], const char name[IFNAMSIZ],
                          const unsigned char mask[IFNAMSIZ])
{
	unsigned used = 0;

	while (used < IFNAMSIZ - 1 && mask[used] && name[used])
		used++;
	memcpy(device, name, used);
	device[used] = used && !mask[used] ? '+' : 0;
	device[used + 1] = 0;
}

static bool has_matches(const struct ipt_entry *entry)
{
	const char *bytes = (const char *)entry;
	struct xt_entry_match match;

	for (size_t at = sizeof *entry; at < entry->target_offset; at += match.u.match_size) {
		memcpy(&match, bytes + at, sizeof match);
		if (strcmp(match.u.user.name, "comment"))
			return true;
	}
	return false;
}

void nat_decode_legacy(const char *chain, const struct ipt_entry *entry, struct nat_rule *decoded)
{
	const struct ipt_ip *ip = &entry->ip;
	const char *at = (const char *)entry + entry->target_offset;
	struct xt_entry_target target;

	memset(decoded, 0, sizeof *decoded);
	decoded->chain = chain;
	decode_device(decoded->in, ip->iniface, ip->iniface_mask);
	decode_device(decoded->out, ip->outiface, ip->outiface_mask);
	if (ip->dmsk.s_addr == UINT32_MAX)
		decoded->destination = ntohl(ip->dst.s_addr);
	decoded->narrowed = ip->invflags || ip->proto || (ip->flags & IPT_F_FRAG) || ip->smsk.s_addr ||
	                    (ip->dmsk.s_addr && ip->dmsk.s_addr != UINT32_MAX) || has_matches(entry);
	memcpy(&target, at, sizeof target);
	nat_decode_target(target.u.user.name, target.u.user.revision, at + sizeof target,
	                  target.u.target_size - sizeof target, decoded);
}

/* ---- what the rules say ---- */

struct nat {
	const struct links *links;
	bool neutron;         /* has rules of Neutron's */
	GHashTable *floating; /* address -> fixed address */
	uint32_t gateway;
	int gateway_rank;
};

struct nat *nat_new(const struct links *links)
{
	struct nat *nat = g_new0(struct nat, 1);

	nat->links = links;
	nat->floating = g_hash_table_new(NULL, NULL);
	return nat;
}

void nat_free(struct nat *nat)
{
	if (!nat)
		return;
	g_hash_table_unref(nat->floating);
	g_free(nat);
}

static bool take_floating(struct nat *nat, const struct nat_rule *rule, GError **error)
{
	void *address = GUINT_TO_POINTER(rule->destination);

	if (rule->target != NAT_DNAT || !rule->to || !rule->destination || rule->narrowed || rule->out[0] ||
	    (rule->in[0] && device_role(rule->in) != DEVICE_DVR) ||
	    g_hash_table_contains(nat->floating, address))
		return true;
	if (g_hash_table_size(nat->floating) >= NAT_FLOATING_MAX) {
		g_set_error(error, NAT_ERROR, NAT_ERROR_TOO_MANY, "more than %d floating IPs: not metered",
		            NAT_FLOATING_MAX);
		return false;
	}
	g_hash_table_insert(nat->floating, address, GUINT_TO_POINTER(rule->to));
	return true;
}

/* While the gateway changes, two qg- devices or rules of one that is gone can stand for some seconds. */
static void take_gateway(struct nat *nat, const struct nat_rule *rule)
{
	int rank = 1;

	if (rule->target != NAT_SNAT || !rule->to || rule->destination || rule->narrowed || rule->in[0] ||
	    !device_is_external(device_role(rule->out)))
		return;
	if (!strcmp(rule->out, nat->links->default_device))
		rank = 3;
	else if (links_has_device(nat->links, rule->out))
		rank = 2;
	if (rank <= nat->gateway_rank)
		return;
	nat->gateway = rule->to;
	nat->gateway_rank = rank;
}

bool nat_take(struct nat *nat, const struct nat_rule *rule, GError **error)
{
	if (!rule->chain || !g_str_has_prefix(rule->chain, "neutron-"))
		return true;
	nat->neutron = true;
	if (g_str_has_suffix(rule->chain, "-PREROUTING"))
		return take_floating(nat, rule, error);
	if (g_str_has_suffix(rule->chain, "-snat") && !g_str_has_suffix(rule->chain, "-float-snat"))
		take_gateway(nat, rule);
	return true;
}

static int compare_floating(const void *a, const void *b)
{
	uint32_t left = ((const struct floating *)a)->address, right = ((const struct floating *)b)->address;

	return left < right ? -1 : left > right;
}

/* The floating IPs of nat that are not in unless (may be NULL). */
static void add_floating(const struct nat *nat, const struct nat *unless, const struct links *links,
                         GArray *floating)
{
	GHashTableIter iter;
	void *address, *fixed;

	g_hash_table_iter_init(&iter, nat->floating);
	while (g_hash_table_iter_next(&iter, &address, &fixed)) {
		struct floating each = {
			.address = GPOINTER_TO_UINT(address), .fixed = GPOINTER_TO_UINT(fixed),
			.served = links_has_address(links, GPOINTER_TO_UINT(address)),
		};

		if (!unless || !g_hash_table_contains(unless->floating, address))
			g_array_append_val(floating, each);
	}
}

void nat_merge(const struct nat *nft, const struct nat *legacy, const struct links *links, enum flavour ruling,
               struct router *router)
{
	const struct nat *first = ruling == FLAVOUR_LEGACY ? legacy : nft, *second = first == nft ? legacy : nft;

	router->flavour = nft->neutron && legacy->neutron ? FLAVOUR_BOTH :
	                  nft->neutron ? FLAVOUR_NFT : legacy->neutron ? FLAVOUR_LEGACY : FLAVOUR_NONE;
	/* Where both flavours translate an address, the kernel follows the one whose hook was registered last (tried in
	 * both orders).  This is the one place that decides it. */
	add_floating(first, NULL, links, router->floating);
	add_floating(second, first, links, router->floating);
	router->gateway = first->gateway ? first->gateway : second->gateway;
	g_array_sort(router->floating, compare_floating);
	router->gateway_served = router->gateway && links_has_address(links, router->gateway);
}

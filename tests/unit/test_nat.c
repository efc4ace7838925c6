/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * inventory/nat.c on bytes: targets, rules of both flavours built by hand, and what is made of rules in a
 * row.
 */
#include "inventory/nat.h"

#include "kernel/xtables.h"

#include <arpa/inet.h>
#include <libiptc/libiptc.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <string.h>

#define FLOATING 0xc6336465 /* 198.51.100.101 */
#define FIXED 0x0a00010b    /* 10.0.1.11 */
#define OTHER 0x0a00010c
#define GATEWAY 0xc63364e8

#define PREROUTING "neutron-l3-agent-PREROUTING"
#define SNAT "neutron-l3-agent-snat"

/* ---- targets ---- */

static const struct target_case {
	const char *name;
	uint32_t revision;
	unsigned flags, rangesize;
	uint32_t min, max;
	int shorter; /* bytes missing at the end */
	enum nat_target target;
	uint32_t to;
} target_cases[] = {
	{ "DNAT", 0, 1, 1, FIXED, FIXED, 0, NAT_DNAT, FIXED },
	{ "SNAT", 0, 1, 1, FIXED, FIXED, 0, NAT_SNAT, FIXED },
	{ "SNAT", 0, 1 | NF_NAT_RANGE_PROTO_RANDOM_FULLY, 1, FIXED, FIXED, 0, NAT_SNAT, FIXED },
	{ "DNAT", 0, 1, 2, FIXED, FIXED, 0, NAT_DNAT, 0 },
	{ "DNAT", 0, 1, 1, FIXED, OTHER, 0, NAT_DNAT, 0 },
	{ "DNAT", 0, 3, 1, FIXED, FIXED, 0, NAT_DNAT, 0 },
	{ "DNAT", 0, 2, 1, FIXED, FIXED, 0, NAT_DNAT, 0 },
	{ "DNAT", 0, 1, 1, FIXED, FIXED, 1, NAT_DNAT, 0 },
	{ "DNAT", 1, 1, 0, FIXED, FIXED, 0, NAT_DNAT, FIXED },
	{ "DNAT", 1, 1, 0, FIXED, OTHER, 0, NAT_DNAT, 0 },
	{ "DNAT", 1, 1, 0, FIXED, FIXED, 1, NAT_DNAT, 0 },
	{ "DNAT", 2, 1, 0, FIXED, FIXED, 0, NAT_DNAT, FIXED },
	{ "SNAT", 2, 1, 0, FIXED, FIXED, 0, NAT_SNAT, FIXED },
	{ "DNAT", 2, 1 | NF_NAT_RANGE_NETMAP, 0, FIXED, FIXED, 0, NAT_DNAT, 0 },
	{ "DNAT", 2, 1, 0, FIXED, FIXED, 1, NAT_DNAT, 0 },
	{ "DNAT", 3, 1, 0, FIXED, FIXED, 0, NAT_DNAT, 0 },
	{ "REDIRECT", 0, 1, 1, FIXED, FIXED, 0, NAT_OTHER, 0 },
	{ "", 0, 1, 1, FIXED, FIXED, 0, NAT_OTHER, 0 },
};

union info {
	struct nf_nat_ipv4_multi_range_compat compat;
	struct nf_nat_range range;
	struct nf_nat_range2 range2;
};

/* Fills info for a revision; its length. */
static size_t make_info(union info *info, uint32_t revision, unsigned flags, unsigned rangesize, uint32_t min,
                        uint32_t max)
{
	memset(info, 0, sizeof *info);
	if (revision == 0) {
		info->compat.rangesize = rangesize;
		info->compat.range[0].flags = flags;
		info->compat.range[0].min_ip = htonl(min);
		info->compat.range[0].max_ip = htonl(max);
		return sizeof info->compat;
	}
	info->range.flags = flags;
	info->range.min_addr.ip = htonl(min);
	info->range.max_addr.ip = htonl(max);
	return revision == 1 ? sizeof info->range : sizeof info->range2;
}

static void test_targets(void)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(target_cases); i++) {
		const struct target_case *c = &target_cases[i];
		struct nat_rule rule = { .to = 77 };
		union info info;
		size_t length = make_info(&info, c->revision, c->flags, c->rangesize, c->min, c->max);
		g_autofree char *copy = g_memdup2(&info, length -= c->shorter); /* for checkers */

		nat_decode_target(c->name, c->revision, copy, length, &rule);
		g_assert_cmpint(rule.target, ==, c->target);
		g_assert_cmphex(rule.to, ==, c->to);
	}
}

/* ---- legacy ---- */

struct legacy {
	struct ipt_entry entry;
	char rest[512];
};

static void put_extension(struct legacy *legacy, const char *name, uint8_t revision, const void *data,
                          size_t length)
{
	struct xt_entry_match match = { .u.user.revision = revision };
	char *at = (char *)legacy + legacy->entry.next_offset;

	g_strlcpy(match.u.user.name, name, sizeof match.u.user.name);
	match.u.match_size = XT_ALIGN(sizeof match + length);
	memcpy(at, &match, sizeof match);
	memcpy(at + sizeof match, data, length);
	legacy->entry.next_offset += match.u.match_size;
}

static void legacy_begin(struct legacy *legacy)
{
	memset(legacy, 0, sizeof *legacy);
	legacy->entry.next_offset = sizeof legacy->entry;
}

static void legacy_end(struct legacy *legacy, const char *target, uint8_t revision, uint32_t to)
{
	union info info;
	size_t length = make_info(&info, revision, NF_NAT_RANGE_MAP_IPS, 1, to, to);

	legacy->entry.target_offset = legacy->entry.next_offset;
	put_extension(legacy, target, revision, &info, length);
	g_assert_true(xtables_entry_check(&legacy->entry, legacy->entry.next_offset));
}

static void set_destination(struct legacy *legacy, uint32_t address, uint32_t mask)
{
	legacy->entry.ip.dst.s_addr = htonl(address);
	legacy->entry.ip.dmsk.s_addr = htonl(mask);
}

static void set_device(char name[IFNAMSIZ], unsigned char mask[IFNAMSIZ], const char *device)
{
	size_t length = strlen(device), masked = length + 1;

	if (device[length - 1] == '+')
		masked = --length;
	memcpy(name, device, length);
	memset(mask, 0xff, masked);
}

static void test_legacy_floating(void)
{
	for (uint8_t revision = 0; revision <= 2; revision++) {
		struct legacy legacy;
		struct nat_rule rule;

		legacy_begin(&legacy);
		set_destination(&legacy, FLOATING, UINT32_MAX);
		set_device(legacy.entry.ip.iniface, legacy.entry.ip.iniface_mask, "rfp-12345678-9a");
		put_extension(&legacy, "comment", 0, "hello", 6);
		legacy_end(&legacy, "DNAT", revision, FIXED);
		nat_decode_legacy(PREROUTING, &legacy.entry, &rule);
		g_assert_cmpstr(rule.chain, ==, PREROUTING);
		g_assert_cmpstr(rule.in, ==, "rfp-12345678-9a");
		g_assert_cmpstr(rule.out, ==, "");
		g_assert_false(rule.narrowed);
		g_assert_cmphex(rule.destination, ==, FLOATING);
		g_assert_cmpint(rule.target, ==, NAT_DNAT);
		g_assert_cmphex(rule.to, ==, FIXED);
	}
}

static void test_legacy_gateway(void)
{
	struct legacy legacy;
	struct nat_rule rule;

	legacy_begin(&legacy);
	set_device(legacy.entry.ip.outiface, legacy.entry.ip.outiface_mask, "qg-+");
	legacy_end(&legacy, "SNAT", 0, GATEWAY);
	nat_decode_legacy(SNAT, &legacy.entry, &rule);
	g_assert_cmpstr(rule.out, ==, "qg-+");
	g_assert_false(rule.narrowed);
	g_assert_cmphex(rule.destination, ==, 0);
	g_assert_cmpint(rule.target, ==, NAT_SNAT);
	g_assert_cmphex(rule.to, ==, GATEWAY);
}

enum narrowing {
	BY_NOTHING, BY_INVERSION, BY_PROTOCOL, BY_FRAGMENT, BY_SOURCE, BY_MASK, BY_MATCH, NARROWINGS
};

static void test_legacy_narrowed(void)
{
	for (enum narrowing by = BY_NOTHING; by < NARROWINGS; by++) {
		struct legacy legacy;
		struct nat_rule rule;

		legacy_begin(&legacy);
		set_destination(&legacy, FLOATING, by == BY_MASK ? 0xfffffffe : UINT32_MAX);
		legacy.entry.ip.invflags = by == BY_INVERSION ? IPT_INV_DSTIP : 0;
		legacy.entry.ip.proto = by == BY_PROTOCOL ? IPPROTO_TCP : 0;
		legacy.entry.ip.flags = by == BY_FRAGMENT ? IPT_F_FRAG : 0;
		legacy.entry.ip.smsk.s_addr = by == BY_SOURCE ? UINT32_MAX : 0;
		if (by == BY_MATCH)
			put_extension(&legacy, "conntrack", 3, "", 1);
		legacy_end(&legacy, "DNAT", 0, FIXED);
		nat_decode_legacy(PREROUTING, &legacy.entry, &rule);
		g_assert_cmpint(rule.narrowed, ==, by != BY_NOTHING);
	}
}

/* Every cut and every wrong size of a well-formed entry is found. */
static void test_legacy_check(void)
{
	struct legacy legacy, bad;
	size_t length;

	legacy_begin(&legacy);
	put_extension(&legacy, "comment", 0, "hello", 6);
	legacy_end(&legacy, "DNAT", 0, FIXED);
	length = legacy.entry.next_offset;
	for (size_t cut = 0; cut < length; cut++) {
		g_autofree char *copy = g_memdup2(&legacy, cut);

		g_assert_false(xtables_entry_check((struct ipt_entry *)copy, cut));
	}
	bad = legacy;
	bad.entry.target_offset = sizeof bad.entry - 1;
	g_assert_false(xtables_entry_check(&bad.entry, length));
	bad = legacy;
	bad.entry.target_offset += 1;
	g_assert_false(xtables_entry_check(&bad.entry, length));
	bad = legacy;
	((struct xt_entry_match *)bad.rest)->u.match_size = 0;
	g_assert_false(xtables_entry_check(&bad.entry, length));
	bad = legacy;
	memset(((struct xt_entry_match *)bad.rest)->u.user.name, 'x', XT_EXTENSION_MAXNAMELEN);
	g_assert_false(xtables_entry_check(&bad.entry, length));
	bad = legacy;
	((struct xt_entry_target *)((char *)&bad + bad.entry.target_offset))->u.target_size = 4096;
	g_assert_false(xtables_entry_check(&bad.entry, length));
}

/* ---- nft ---- */

static struct nftnl_rule *new_rule(const char *chain)
{
	struct nftnl_rule *rule = nftnl_rule_alloc();

	nftnl_rule_set_str(rule, NFTNL_RULE_CHAIN, chain);
	return rule;
}

static struct nftnl_expr *add(struct nftnl_rule *rule, const char *name)
{
	struct nftnl_expr *expr = nftnl_expr_alloc(name);

	g_assert_nonnull(expr);
	nftnl_rule_add_expr(rule, expr);
	return expr;
}

static void add_payload(struct nftnl_rule *rule, uint32_t offset, uint32_t length, uint32_t number)
{
	struct nftnl_expr *expr = add(rule, "payload");

	nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_BASE, NFT_PAYLOAD_NETWORK_HEADER);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_OFFSET, offset);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_LEN, length);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_DREG, number);
}

static void add_cmp(struct nftnl_rule *rule, uint32_t number, uint32_t op, const void *data, uint32_t length)
{
	struct nftnl_expr *expr = add(rule, "cmp");

	nftnl_expr_set_u32(expr, NFTNL_EXPR_CMP_SREG, number);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_CMP_OP, op);
	nftnl_expr_set(expr, NFTNL_EXPR_CMP_DATA, data, length);
}

static void add_address(struct nftnl_rule *rule, uint32_t offset, uint32_t address, uint32_t op)
{
	uint32_t value = htonl(address);

	add_payload(rule, offset, 4, NFT_REG_1);
	add_cmp(rule, NFT_REG_1, op, &value, sizeof value);
}

static void add_device(struct nftnl_rule *rule, uint32_t key, const char *device, size_t length, uint32_t op)
{
	struct nftnl_expr *expr = add(rule, "meta");

	nftnl_expr_set_u32(expr, NFTNL_EXPR_META_KEY, key);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_META_DREG, NFT_REG_2);
	add_cmp(rule, NFT_REG_2, op, device, (uint32_t)length);
}

static void add_target(struct nftnl_rule *rule, const char *name, uint32_t revision, uint32_t to)
{
	struct nftnl_expr *expr = add(rule, "target");
	union info info;
	size_t length = make_info(&info, revision, NF_NAT_RANGE_MAP_IPS, 1, to, to);

	nftnl_expr_set_str(expr, NFTNL_EXPR_TG_NAME, name);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_TG_REV, revision);
	nftnl_expr_set(expr, NFTNL_EXPR_TG_INFO, g_memdup2(&info, length), (uint32_t)length); /* takes it */
}

static void add_value(struct nftnl_rule *rule, uint32_t number, uint32_t address)
{
	struct nftnl_expr *expr = add(rule, "immediate");
	uint32_t value = htonl(address);

	nftnl_expr_set_u32(expr, NFTNL_EXPR_IMM_DREG, number);
	nftnl_expr_set(expr, NFTNL_EXPR_IMM_DATA, &value, sizeof value);
}

static struct nftnl_expr *add_nat(struct nftnl_rule *rule, uint32_t type, uint32_t min, uint32_t max)
{
	struct nftnl_expr *expr = add(rule, "nat");

	nftnl_expr_set_u32(expr, NFTNL_EXPR_NAT_TYPE, type);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_NAT_FAMILY, NFPROTO_IPV4);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_NAT_REG_ADDR_MIN, min);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_NAT_REG_ADDR_MAX, max);
	return expr;
}

/* Decodes and frees it. */
static struct nat_rule decode(struct nftnl_rule *rule)
{
	struct nat_rule decoded;

	nat_decode_nft(rule, &decoded);
	nftnl_rule_free(rule);
	decoded.chain = NULL; /* was the rule's */
	return decoded;
}

static void test_nft_floating(void)
{
	for (uint32_t revision = 0; revision <= 2; revision++) {
		struct nftnl_rule *rule = new_rule(PREROUTING);
		struct nat_rule decoded;

		add_device(rule, NFT_META_IIFNAME, "rfp-1", 6, NFT_CMP_EQ);
		add_address(rule, 16, FLOATING, NFT_CMP_EQ);
		nftnl_expr_set_str(add(rule, "match"), NFTNL_EXPR_MT_NAME, "comment");
		add(rule, "counter");
		add_target(rule, "DNAT", revision, FIXED);
		decoded = decode(rule);
		g_assert_cmpstr(decoded.in, ==, "rfp-1");
		g_assert_false(decoded.narrowed);
		g_assert_cmphex(decoded.destination, ==, FLOATING);
		g_assert_cmpint(decoded.target, ==, NAT_DNAT);
		g_assert_cmphex(decoded.to, ==, FIXED);
	}
}

static void test_nft_gateway(void)
{
	struct nftnl_rule *rule = new_rule(SNAT);
	struct nat_rule decoded;
	char longest[IFNAMSIZ] = "qg-12345678-abc"; /* 15 letters and the 0 */

	add_device(rule, NFT_META_OIFNAME, longest, sizeof longest, NFT_CMP_EQ);
	add_target(rule, "SNAT", 0, GATEWAY);
	decoded = decode(rule);
	g_assert_cmpstr(decoded.out, ==, longest);
	g_assert_false(decoded.narrowed);
	g_assert_cmpint(decoded.target, ==, NAT_SNAT);
	g_assert_cmphex(decoded.to, ==, GATEWAY);

	rule = new_rule(SNAT);
	add_device(rule, NFT_META_OIFNAME, "qg-", 3, NFT_CMP_EQ);
	add_target(rule, "SNAT", 0, GATEWAY);
	decoded = decode(rule);
	g_assert_cmpstr(decoded.out, ==, "qg-+");
}

static void test_nft_native(void)
{
	struct nftnl_rule *rule = new_rule(PREROUTING);
	struct nat_rule decoded;

	add_payload(rule, 16, 4, NFT_REG32_05);
	add_cmp(rule, NFT_REG32_05, NFT_CMP_EQ, &(uint32_t){ htonl(FLOATING) }, 4);
	add_value(rule, NFT_REG_1, FIXED);
	add_nat(rule, NFT_NAT_DNAT, NFT_REG_1, NFT_REG32_00); /* two names of one register */
	decoded = decode(rule);
	g_assert_false(decoded.narrowed);
	g_assert_cmphex(decoded.destination, ==, FLOATING);
	g_assert_cmpint(decoded.target, ==, NAT_DNAT);
	g_assert_cmphex(decoded.to, ==, FIXED);

	rule = new_rule(PREROUTING);
	add_value(rule, NFT_REG_1, FIXED);
	add_value(rule, NFT_REG_2, OTHER);
	add_nat(rule, NFT_NAT_SNAT, NFT_REG_1, NFT_REG_2);
	decoded = decode(rule);
	g_assert_cmpint(decoded.target, ==, NAT_SNAT);
	g_assert_cmphex(decoded.to, ==, 0);

	rule = new_rule(PREROUTING);
	add_value(rule, NFT_REG_1, FIXED);
	nftnl_expr_set_u32(add_nat(rule, NFT_NAT_DNAT, NFT_REG_1, NFT_REG_1), NFTNL_EXPR_NAT_REG_PROTO_MIN,
	                   NFT_REG_2);
	g_assert_cmphex(decode(rule).to, ==, 0);

	rule = new_rule(PREROUTING);
	add_nat(rule, NFT_NAT_DNAT, 99, 99); /* no such register */
	g_assert_cmphex(decode(rule).to, ==, 0);
}

/* Masks: all of the address is loaded, some of its bits are kept, and what is left is compared. */
static void add_bitwise(struct nftnl_rule *rule)
{
	struct nftnl_expr *expr;
	uint32_t mask = htonl(0xfffffffe), xor = 0, value = htonl(FLOATING & 0xfffffffe);

	add_payload(rule, 16, 4, NFT_REG_1);
	expr = add(rule, "bitwise");
	nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_SREG, NFT_REG_1);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_DREG, NFT_REG_1);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_LEN, 4);
	nftnl_expr_set(expr, NFTNL_EXPR_BITWISE_MASK, &mask, 4);
	nftnl_expr_set(expr, NFTNL_EXPR_BITWISE_XOR, &xor, 4);
	add_cmp(rule, NFT_REG_1, NFT_CMP_EQ, &value, 4);
}

static void narrow(struct nftnl_rule *rule, unsigned how)
{
	switch (how) {
	case 0:
		add_address(rule, 16, FLOATING, NFT_CMP_NEQ);
		break;
	case 1:
		add_address(rule, 12, FIXED, NFT_CMP_EQ);
		break;
	case 2:
		add_payload(rule, 16, 3, NFT_REG_1);
		add_cmp(rule, NFT_REG_1, NFT_CMP_EQ, "\xc6\x33\x64", 3);
		break;
	case 3:
		add_bitwise(rule);
		break;
	case 4:
		add_device(rule, NFT_META_IIFNAME, "qg-1", 5, NFT_CMP_NEQ);
		break;
	case 5:
		add_device(rule, NFT_META_MARK, "\1\0\0\0", 4, NFT_CMP_EQ);
		break;
	case 6:
		nftnl_expr_set_str(add(rule, "match"), NFTNL_EXPR_MT_NAME, "conntrack");
		break;
	case 7:
		add(rule, "ct");
		break;
	case 8:
		add(rule, "lookup");
		break;
	case 9:
		add(rule, "limit");
		break;
	case 10:
		add_payload(rule, 9, 1, NFT_REG_1); /* protocol */
		add_cmp(rule, NFT_REG_1, NFT_CMP_EQ, "\6", 1);
		break;
	case 11:
		add_cmp(rule, 99, NFT_CMP_EQ, "\6", 1);
		break;
	case 12:
		add_address(rule, 16, FLOATING, NFT_CMP_EQ);
		add_address(rule, 16, FLOATING + 1, NFT_CMP_EQ);
		break;
	case 13:
		add_device(rule, NFT_META_IIFNAME, "0123456789abcdefgh", 18, NFT_CMP_EQ); /* no name */
		break;
	}
}

static void test_nft_narrowed(void)
{
	for (unsigned how = 0; how < 14; how++) {
		struct nftnl_rule *rule = new_rule(PREROUTING);

		narrow(rule, how);
		add_target(rule, "DNAT", 0, FIXED);
		g_test_message("case %u", how);
		g_assert_true(decode(rule).narrowed);
	}
}

/* A register that was written over no longer holds the address. */
static void test_nft_overwritten(void)
{
	struct nftnl_rule *rule = new_rule(PREROUTING);
	struct nat_rule decoded;

	add_payload(rule, 16, 4, NFT_REG32_01);
	add_device(rule, NFT_META_IIFNAME, "rfp-1", 6, NFT_CMP_EQ);
	add_payload(rule, 0, 16, NFT_REG_1); /* covers words 0 to 3 */
	add_cmp(rule, NFT_REG32_01, NFT_CMP_EQ, &(uint32_t){ htonl(FLOATING) }, 4);
	decoded = decode(rule);
	g_assert_true(decoded.narrowed);
	g_assert_cmphex(decoded.destination, ==, 0);
}

/* ---- rules in a row ---- */

static struct nat_rule floating_rule(uint32_t floating, uint32_t fixed)
{
	return (struct nat_rule){
		.chain = PREROUTING, .destination = floating, .target = NAT_DNAT, .to = fixed,
	};
}

static struct nat_rule gateway_rule(const char *out, uint32_t to)
{
	struct nat_rule rule = { .chain = SNAT, .target = NAT_SNAT, .to = to };

	g_strlcpy(rule.out, out, sizeof rule.out);
	return rule;
}

struct fixture {
	struct links *links;
	struct nat *nft, *legacy;
	struct router *router;
};

static void set_up(struct fixture *fixture, const void *data)
{
	fixture->links = links_new();
	g_hash_table_insert(fixture->links->devices, GINT_TO_POINTER(2), g_strdup("qg-new"));
	g_hash_table_insert(fixture->links->devices, GINT_TO_POINTER(3), g_strdup("qg-old"));
	g_hash_table_add(fixture->links->addresses, GUINT_TO_POINTER(FLOATING));
	fixture->nft = nat_new(fixture->links);
	fixture->legacy = nat_new(fixture->links);
	fixture->router = router_new("qrouter-x", "x");
}

static void tear_down(struct fixture *fixture, const void *data)
{
	nat_free(fixture->nft);
	nat_free(fixture->legacy);
	links_free(fixture->links);
	router_free(fixture->router);
}

static void take(struct nat *nat, struct nat_rule rule)
{
	g_autoptr(GError) error = NULL;

	nat_take(nat, &rule, &error);
	g_assert_no_error(error);
}

static void assert_floating(const struct router *router, unsigned i, uint32_t address, uint32_t fixed,
                            bool served)
{
	const struct floating *floating = &g_array_index(router->floating, struct floating, i);

	g_assert_cmpuint(i, <, router->floating->len);
	g_assert_cmphex(floating->address, ==, address);
	g_assert_cmphex(floating->fixed, ==, fixed);
	g_assert_cmpint(floating->served, ==, served);
}

static void test_first_wins(struct fixture *f, const void *data)
{
	take(f->nft, floating_rule(FLOATING + 1, OTHER));
	take(f->nft, floating_rule(FLOATING, FIXED));
	take(f->nft, floating_rule(FLOATING, OTHER));
	nat_merge(f->nft, f->legacy, f->links, FLAVOUR_NONE, f->router);
	g_assert_cmpint(f->router->flavour, ==, FLAVOUR_NFT);
	g_assert_cmpuint(f->router->floating->len, ==, 2);
	assert_floating(f->router, 0, FLOATING, FIXED, true);
	assert_floating(f->router, 1, FLOATING + 1, OTHER, false);
}

static void test_not_floating(struct fixture *f, const void *data)
{
	struct nat_rule rule;

	rule = floating_rule(FLOATING, FIXED);
	rule.narrowed = true;
	take(f->nft, rule);
	rule = floating_rule(FLOATING, FIXED);
	rule.chain = "neutron-l3-agent-pf-12345678";
	take(f->nft, rule);
	rule = floating_rule(FLOATING, FIXED);
	rule.chain = "neutron-l3-agent-OUTPUT";
	take(f->nft, rule);
	rule = floating_rule(FLOATING, FIXED);
	rule.chain = "PREROUTING";
	take(f->nft, rule);
	rule = floating_rule(FLOATING, FIXED);
	rule.target = NAT_SNAT;
	take(f->nft, rule);
	rule = floating_rule(FLOATING, FIXED);
	g_strlcpy(rule.in, "qg-new", sizeof rule.in);
	take(f->nft, rule);
	take(f->nft, floating_rule(FLOATING, 0));
	take(f->nft, floating_rule(0, FIXED));
	nat_merge(f->nft, f->legacy, f->links, FLAVOUR_NONE, f->router);
	g_assert_cmpuint(f->router->floating->len, ==, 0);
}

static void test_both(struct fixture *f, const void *data)
{
	take(f->nft, floating_rule(FLOATING, FIXED));
	take(f->legacy, floating_rule(FLOATING, OTHER));
	take(f->legacy, floating_rule(FLOATING + 1, OTHER));
	take(f->legacy, gateway_rule("qg-new", GATEWAY));
	nat_merge(f->nft, f->legacy, f->links, FLAVOUR_NONE, f->router);
	g_assert_cmpint(f->router->flavour, ==, FLAVOUR_BOTH);
	g_assert_cmpuint(f->router->floating->len, ==, 2);
	assert_floating(f->router, 0, FLOATING, FIXED, true);
	assert_floating(f->router, 1, FLOATING + 1, OTHER, false);
	g_assert_cmphex(f->router->gateway, ==, GATEWAY);
	g_assert_false(f->router->gateway_served);
}

static void test_gateway(struct fixture *f, const void *data)
{
	struct nat_rule rule;

	rule = gateway_rule("qg-new", 1);
	rule.narrowed = true;
	take(f->legacy, rule);
	rule = gateway_rule("qg-new", 2);
	rule.chain = "neutron-l3-agent-float-snat";
	take(f->legacy, rule);
	take(f->legacy, gateway_rule("qr-x", 3));
	take(f->legacy, gateway_rule("", 4));
	nat_merge(f->nft, f->legacy, f->links, FLAVOUR_NONE, f->router);
	g_assert_cmphex(f->router->gateway, ==, 0);
	g_assert_cmpint(f->router->flavour, ==, FLAVOUR_LEGACY);

	take(f->legacy, gateway_rule("qg-gone", FLOATING + 1));
	nat_merge(f->nft, f->legacy, f->links, FLAVOUR_NONE, f->router);
	g_assert_cmphex(f->router->gateway, ==, FLOATING + 1);
	take(f->legacy, gateway_rule("qg-old", FLOATING + 2));
	nat_merge(f->nft, f->legacy, f->links, FLAVOUR_NONE, f->router);
	g_assert_cmphex(f->router->gateway, ==, FLOATING + 2);
	g_strlcpy(f->links->default_device, "qg-new", sizeof f->links->default_device);
	take(f->legacy, gateway_rule("qg-new", FLOATING));
	take(f->legacy, gateway_rule("qg-new", FLOATING + 3));
	nat_merge(f->nft, f->legacy, f->links, FLAVOUR_NONE, f->router);
	g_assert_cmphex(f->router->gateway, ==, FLOATING);
	g_assert_true(f->router->gateway_served);
}

static void test_too_many(struct fixture *f, const void *data)
{
	g_autoptr(GError) error = NULL;
	struct nat_rule rule = floating_rule(NAT_FLOATING_MAX + 1, FIXED);

	for (uint32_t i = 1; i <= NAT_FLOATING_MAX; i++)
		take(f->nft, floating_rule(i, FIXED));
	g_assert_false(nat_take(f->nft, &rule, &error));
	g_assert_error(error, NAT_ERROR, NAT_ERROR_TOO_MANY);
}

#define ADD(path, function) g_test_add(path, struct fixture, NULL, set_up, function, tear_down)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/nat/targets", test_targets);
	g_test_add_func("/nat/legacy/floating", test_legacy_floating);
	g_test_add_func("/nat/legacy/gateway", test_legacy_gateway);
	g_test_add_func("/nat/legacy/narrowed", test_legacy_narrowed);
	g_test_add_func("/nat/legacy/check", test_legacy_check);
	g_test_add_func("/nat/nft/floating", test_nft_floating);
	g_test_add_func("/nat/nft/gateway", test_nft_gateway);
	g_test_add_func("/nat/nft/native", test_nft_native);
	g_test_add_func("/nat/nft/narrowed", test_nft_narrowed);
	g_test_add_func("/nat/nft/overwritten", test_nft_overwritten);
	ADD("/nat/rules/first-wins", test_first_wins);
	ADD("/nat/rules/not-floating", test_not_floating);
	ADD("/nat/rules/both-flavours", test_both);
	ADD("/nat/rules/gateway", test_gateway);
	ADD("/nat/rules/too-many", test_too_many);
	return g_test_run();
}

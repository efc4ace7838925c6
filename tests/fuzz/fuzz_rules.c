/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rules of nf_tables as libnftnl hands them over: programs of expressions that nobody would write, with attributes
 * missing, doubled and of any value, for the decoder of nat rules.
 *
 * An input is a row of expressions: a byte for the kind, a byte for the number of attributes; then for each attribute a
 * byte for its number, a byte for its length, and that many bytes.
 */
#include "fuzz.h"

#include "inventory/links.h"
#include "inventory/nat.h"

#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <string.h>

#define VALUE_MAX 64 /* NFT_DATA_VALUE_MAXLEN */

static const char *const kinds[] = { "payload", "meta", "bitwise", "cmp", "immediate", "match", "target", "nat", "counter",
	                             "log", "lookup" };

struct input {
	const uint8_t *at;
	size_t left;
};

static uint8_t take_byte(struct input *input)
{
	if (!input->left)
		return 0;
	input->left--;
	return *input->at++;
}

/* Numbers are read whole by libnftnl, texts up to their NUL: the value has room for both. */
static uint32_t take_value(struct input *input, uint8_t value[VALUE_MAX + 1])
{
	uint32_t length = take_byte(input) % (VALUE_MAX + 1);

	memset(value, 0, VALUE_MAX + 1);
	for (uint32_t i = 0; i < length; i++)
		value[i] = take_byte(input);
	return length;
}

static bool is_info(const char *kind, uint16_t attribute)
{
	return (!strcmp(kind, "match") && attribute == NFTNL_EXPR_MT_INFO) ||
	       (!strcmp(kind, "target") && attribute == NFTNL_EXPR_TG_INFO);
}

static void add_attribute(struct nftnl_expr *expr, const char *kind, struct input *input)
{
	uint16_t attribute = NFTNL_EXPR_BASE + take_byte(input) % 8;
	uint8_t value[VALUE_MAX + 1];
	uint32_t length = take_value(input, value);

	if (nftnl_expr_is_set(expr, attribute))
		return; /* libnftnl would leak the first one */
	if (!is_info(kind, attribute))
		nftnl_expr_set(expr, attribute, value, length);
	else /* it becomes the expression's */
		nftnl_expr_set(expr, attribute, g_memdup2(value, MAX(length, 1)), length);
}

static struct nftnl_rule *make_rule(struct input *input, const char *chain)
{
	struct nftnl_rule *rule = nftnl_rule_alloc();

	nftnl_rule_set_str(rule, NFTNL_RULE_CHAIN, chain);
	while (input->left) {
		const char *kind = kinds[take_byte(input) % G_N_ELEMENTS(kinds)];
		struct nftnl_expr *expr = nftnl_expr_alloc(kind);
		unsigned attributes = take_byte(input) % 8;

		fuzz_check(expr);
		while (attributes--)
			add_attribute(expr, kind, input);
		nftnl_rule_add_expr(rule, expr);
	}
	return rule;
}

static void take_rule(struct nat *nat, const struct nftnl_rule *rule)
{
	struct nat_rule decoded;

	nat_decode_nft(rule, &decoded);
	fuzz_check(memchr(decoded.in, 0, sizeof decoded.in) && memchr(decoded.out, 0, sizeof decoded.out));
	fuzz_check(decoded.target != NAT_OTHER || !decoded.to);
	fuzz_check(nat_take(nat, &decoded, NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const chains[] = { "neutron-l3-agent-PREROUTING", "neutron-l3-agent-snat" };
	struct links *links = links_new();
	struct nat *nat = nat_new(links), *none = nat_new(links);
	struct router *router = router_new("qrouter-x", "x");

	for (unsigned i = 0; i < G_N_ELEMENTS(chains); i++) {
		struct input input = { data, size };
		struct nftnl_rule *rule = make_rule(&input, chains[i]);

		take_rule(nat, rule);
		nftnl_rule_free(rule);
	}
	nat_merge(nat, none, links, FLAVOUR_NFT, router);
	fuzz_check(router->floating->len <= 1);
	router_free(router);
	nat_free(none);
	nat_free(nat);
	links_free(links);
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Each message is built by libnftnl into a buffer of its own and appended; beside it a word or two are kept on what
 * it does, so that a refusal can be told as more than a number.
 */
#include "kernel/nftbatch.h"

#include <arpa/inet.h>
#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/object.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <libnftnl/udata.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/xt_bpf.h>
#include <net/if.h>
#include <string.h>

#define MESSAGE_MAX (128 * 1024)
#define ELEMENTS_MAX 400 /* a message: the list is one attribute, whose length has 16 bits */
#define COMMENT_MAX 127

#define OCTETS 256
#define TYPE_IPADDR 7 /* nft(8)'s number for the type of the key, by which it prints it (datatype.h of nftables) */

struct nftbatch {
	char *table;
	GByteArray *messages;
	GPtrArray *steps; /* of char *: what message n does */
	uint32_t seq, set_id;
	char *buffer;
};

static struct nlmsghdr *begin(struct nftbatch *batch, uint16_t type, uint16_t flags)
{
	return nftnl_nlmsg_build_hdr(batch->buffer, type, NFPROTO_IPV4, flags, batch->seq++);
}

static void append(struct nftbatch *batch, const struct nlmsghdr *header)
{
	g_assert(header->nlmsg_len <= MESSAGE_MAX);
	g_byte_array_append(batch->messages, (const guint8 *)header, NLMSG_ALIGN(header->nlmsg_len));
}

G_GNUC_PRINTF(3, 4)
static void end(struct nftbatch *batch, const struct nlmsghdr *header, const char *step, ...)
{
	va_list arguments;

	va_start(arguments, step);
	g_ptr_array_add(batch->steps, g_strdup_vprintf(step, arguments));
	va_end(arguments);
	append(batch, header);
}

struct nftbatch *nftbatch_new(const char *table)
{
	struct nftbatch *batch = g_new0(struct nftbatch, 1);

	batch->table = g_strdup(table);
	batch->messages = g_byte_array_new();
	batch->steps = g_ptr_array_new_with_free_func(g_free);
	batch->buffer = g_malloc(MESSAGE_MAX);
	append(batch, nftnl_batch_begin(batch->buffer, batch->seq++));
	return batch;
}

void nftbatch_free(struct nftbatch *batch)
{
	if (!batch)
		return;
	g_free(batch->table);
	g_byte_array_unref(batch->messages);
	g_ptr_array_unref(batch->steps);
	g_free(batch->buffer);
	g_free(batch);
}

unsigned nftbatch_length(const struct nftbatch *batch)
{
	return batch->steps->len;
}

/* The kernel answers a batch only for messages that failed or asked for it: let the last one ask. */
static void ask_for_answer(struct nftbatch *batch)
{
	struct nlmsghdr *header = (struct nlmsghdr *)batch->messages->data, *last = header;
	int left = (int)batch->messages->len;

	for (; mnl_nlmsg_ok(header, left); header = mnl_nlmsg_next(header, &left))
		last = header;
	last->nlmsg_flags |= NLM_F_ACK;
}

bool nftbatch_commit(struct nftbatch *batch, struct netlink *netlink, GError **error)
{
	uint32_t failed = 0;
	bool done;

	if (!batch->steps->len)
		return true;
	ask_for_answer(batch);
	append(batch, nftnl_batch_end(batch->buffer, batch->seq++));
	done = netlink_send_batch(netlink, batch->messages->data, batch->messages->len, 1, &failed, error);
	if (!done && failed > 0 && failed <= batch->steps->len)
		g_prefix_error(error, "nf_tables table %s: cannot %s: ", batch->table,
		               (char *)batch->steps->pdata[failed - 1]);
	else if (!done)
		g_prefix_error(error, "nf_tables table %s: ", batch->table);
	return done;
}

/* ---- table, chains, counters ---- */

static void put_table(struct nftbatch *batch, uint16_t type, uint16_t flags, const char *verb)
{
	struct nlmsghdr *header = begin(batch, type, flags);
	struct nftnl_table *table = nftnl_table_alloc();

	nftnl_table_set_str(table, NFTNL_TABLE_NAME, batch->table);
	if (type == NFT_MSG_NEWTABLE)
		nftnl_table_set_u32(table, NFTNL_TABLE_FLAGS, 0);
	nftnl_table_nlmsg_build_payload(header, table);
	nftnl_table_free(table);
	end(batch, header, "%s the table", verb);
}

void nftbatch_add_table(struct nftbatch *batch)
{
	put_table(batch, NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL, "create");
}

void nftbatch_wake_table(struct nftbatch *batch)
{
	put_table(batch, NFT_MSG_NEWTABLE, 0, "wake");
}

void nftbatch_delete_table(struct nftbatch *batch)
{
	put_table(batch, NFT_MSG_DELTABLE, 0, "delete");
}

static struct nftnl_chain *make_chain(const struct nftbatch *batch, const char *name)
{
	struct nftnl_chain *chain = nftnl_chain_alloc();

	nftnl_chain_set_str(chain, NFTNL_CHAIN_TABLE, batch->table);
	nftnl_chain_set_str(chain, NFTNL_CHAIN_NAME, name);
	return chain;
}

static void put_chain(struct nftbatch *batch, struct nftnl_chain *chain, uint16_t type, uint16_t flags,
                      const char *verb)
{
	struct nlmsghdr *header = begin(batch, type, flags);

	nftnl_chain_nlmsg_build_payload(header, chain);
	end(batch, header, "%s chain %s", verb, nftnl_chain_get_str(chain, NFTNL_CHAIN_NAME));
	nftnl_chain_free(chain);
}

void nftbatch_add_chain(struct nftbatch *batch, const char *name)
{
	put_chain(batch, make_chain(batch, name), NFT_MSG_NEWCHAIN, NLM_F_CREATE, "create");
}

void nftbatch_add_base_chain(struct nftbatch *batch, const char *name, unsigned hook, int priority)
{
	struct nftnl_chain *chain = make_chain(batch, name);

	nftnl_chain_set_u32(chain, NFTNL_CHAIN_HOOKNUM, hook);
	nftnl_chain_set_s32(chain, NFTNL_CHAIN_PRIO, priority);
	nftnl_chain_set_u32(chain, NFTNL_CHAIN_POLICY, NF_ACCEPT);
	nftnl_chain_set_str(chain, NFTNL_CHAIN_TYPE, "filter");
	put_chain(batch, chain, NFT_MSG_NEWCHAIN, NLM_F_CREATE, "create");
}

void nftbatch_delete_chain(struct nftbatch *batch, const char *name)
{
	put_chain(batch, make_chain(batch, name), NFT_MSG_DELCHAIN, 0, "delete");
}

/* Deleting a rule without naming its handle deletes all rules of the chain (nf_tables_delrule). */
void nftbatch_flush_chain(struct nftbatch *batch, const char *chain)
{
	struct nlmsghdr *header = begin(batch, NFT_MSG_DELRULE, 0);
	struct nftnl_rule *rule = nftnl_rule_alloc();

	nftnl_rule_set_str(rule, NFTNL_RULE_TABLE, batch->table);
	nftnl_rule_set_str(rule, NFTNL_RULE_CHAIN, chain);
	nftnl_rule_nlmsg_build_payload(header, rule);
	nftnl_rule_free(rule);
	end(batch, header, "flush chain %s", chain);
}

static void put_counter(struct nftbatch *batch, const char *name, uint16_t type, uint16_t flags, const char *verb)
{
	struct nlmsghdr *header = begin(batch, type, flags);
	struct nftnl_obj *counter = nftnl_obj_alloc();

	nftnl_obj_set_str(counter, NFTNL_OBJ_TABLE, batch->table);
	nftnl_obj_set_str(counter, NFTNL_OBJ_NAME, name);
	nftnl_obj_set_u32(counter, NFTNL_OBJ_TYPE, NFT_OBJECT_COUNTER);
	/* libnftnl leaves the attribute out without a value, and the kernel then refuses the object */
	nftnl_obj_set_u64(counter, NFTNL_OBJ_CTR_BYTES, 0);
	nftnl_obj_set_u64(counter, NFTNL_OBJ_CTR_PKTS, 0);
	nftnl_obj_nlmsg_build_payload(header, counter);
	nftnl_obj_free(counter);
	end(batch, header, "%s counter %s", verb, name);
}

void nftbatch_add_counter(struct nftbatch *batch, const char *name)
{
	put_counter(batch, name, NFT_MSG_NEWOBJ, NLM_F_CREATE | NLM_F_EXCL, "create");
}

void nftbatch_delete_counter(struct nftbatch *batch, const char *name)
{
	put_counter(batch, name, NFT_MSG_DELOBJ, 0, "delete");
}

/* ---- sets ---- */

static struct nftnl_set *make_set(const struct nftbatch *batch, const char *name, enum nftbatch_set type)
{
	struct nftnl_set *set = nftnl_set_alloc();
	uint32_t flags = 0;

	nftnl_set_set_str(set, NFTNL_SET_TABLE, batch->table);
	nftnl_set_set_str(set, NFTNL_SET_NAME, name);
	nftnl_set_set_u32(set, NFTNL_SET_FAMILY, NFPROTO_IPV4);
	nftnl_set_set_u32(set, NFTNL_SET_KEY_TYPE, TYPE_IPADDR);
	nftnl_set_set_u32(set, NFTNL_SET_KEY_LEN, sizeof(uint32_t));
	if (type == NFTBATCH_INTERVALS || type == NFTBATCH_VERDICT_MAP)
		flags |= NFT_SET_INTERVAL;
	if (type == NFTBATCH_VERDICT_MAP) {
		flags |= NFT_SET_MAP;
		nftnl_set_set_u32(set, NFTNL_SET_DATA_TYPE, NFT_DATA_VERDICT);
	}
	if (type == NFTBATCH_COUNTER_MAP) {
		flags |= NFT_SET_OBJECT;
		nftnl_set_set_u32(set, NFTNL_SET_OBJ_TYPE, NFT_OBJECT_COUNTER);
	}
	if (type == NFTBATCH_OCTETS)
		nftnl_set_set_u32(set, NFTNL_SET_DESC_SIZE, OCTETS);
	nftnl_set_set_u32(set, NFTNL_SET_FLAGS, flags);
	return set;
}

void nftbatch_add_set(struct nftbatch *batch, const char *name, enum nftbatch_set type)
{
	struct nlmsghdr *header = begin(batch, NFT_MSG_NEWSET, NLM_F_CREATE);
	struct nftnl_set *set = make_set(batch, name, type);

	nftnl_set_set_u32(set, NFTNL_SET_ID, ++batch->set_id);
	nftnl_set_nlmsg_build_payload(header, set);
	nftnl_set_free(set);
	end(batch, header, "create set %s", name);
}

void nftbatch_delete_set(struct nftbatch *batch, const char *name)
{
	struct nlmsghdr *header = begin(batch, NFT_MSG_DELSET, 0);
	struct nftnl_set *set = nftnl_set_alloc();

	nftnl_set_set_str(set, NFTNL_SET_TABLE, batch->table);
	nftnl_set_set_str(set, NFTNL_SET_NAME, name);
	nftnl_set_nlmsg_build_payload(header, set);
	nftnl_set_free(set);
	end(batch, header, "delete set %s", name);
}

static void put_element(struct nftnl_set *set, enum nftbatch_set type, const struct nftbatch_element *element)
{
	struct nftnl_set_elem *elem = nftnl_set_elem_alloc();
	uint32_t key = htonl(element->address);

	nftnl_set_elem_set(elem, NFTNL_SET_ELEM_KEY, &key, sizeof key);
	if (element->is_end) {
		nftnl_set_elem_set_u32(elem, NFTNL_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
	} else if (type == NFTBATCH_VERDICT_MAP) {
		nftnl_set_elem_set_u32(elem, NFTNL_SET_ELEM_VERDICT, NFT_JUMP);
		nftnl_set_elem_set_str(elem, NFTNL_SET_ELEM_CHAIN, element->target);
	} else if (type == NFTBATCH_COUNTER_MAP) {
		nftnl_set_elem_set_str(elem, NFTNL_SET_ELEM_OBJREF, element->target);
	}
	nftnl_set_elem_add(set, elem);
}

static void put_elements(struct nftbatch *batch, uint16_t type, uint16_t flags, const char *verb, const char *name,
                         enum nftbatch_set set_type, const struct nftbatch_element *elements, size_t n)
{
	while (n) {
		size_t some = MIN(n, ELEMENTS_MAX);
		struct nlmsghdr *header = begin(batch, type, flags);
		struct nftnl_set *set = make_set(batch, name, set_type);

		for (size_t i = 0; i < some; i++)
			put_element(set, set_type, &elements[i]);
		nftnl_set_elems_nlmsg_build_payload(header, set);
		nftnl_set_free(set);
		end(batch, header, "%s elements of set %s", verb, name);
		elements += some;
		n -= some;
	}
}

void nftbatch_add_elements(struct nftbatch *batch, const char *set, enum nftbatch_set type,
                           const struct nftbatch_element *elements, size_t n)
{
	put_elements(batch, NFT_MSG_NEWSETELEM, NLM_F_CREATE | NLM_F_EXCL, "add", set, type, elements, n);
}

void nftbatch_delete_elements(struct nftbatch *batch, const char *set, enum nftbatch_set type,
                              const struct nftbatch_element *elements, size_t n)
{
	put_elements(batch, NFT_MSG_DELSETELEM, 0, "delete", set, type, elements, n);
}

/* ---- rules ---- */

struct nftnl_rule *nftrule_new(const char *chain, const char *comment)
{
	struct nftnl_rule *rule = nftnl_rule_alloc();
	struct nftnl_udata_buf *data = nftnl_udata_buf_alloc(NFT_USERDATA_MAXLEN);

	g_assert(strlen(comment) <= COMMENT_MAX);
	nftnl_udata_put_strz(data, NFTNL_UDATA_RULE_COMMENT, comment);
	nftnl_rule_set_str(rule, NFTNL_RULE_CHAIN, chain);
	nftnl_rule_set_data(rule, NFTNL_RULE_USERDATA, nftnl_udata_buf_data(data), nftnl_udata_buf_len(data));
	nftnl_udata_buf_free(data);
	return rule;
}

/* One attribute: type, length, text with its NUL (libnftnl/udata.h). */
const char *nftrule_comment(const struct nftnl_rule *rule, char buffer[NFTRULE_COMMENT_SIZE])
{
	uint32_t length = 0;
	const uint8_t *data = nftnl_rule_get_data(rule, NFTNL_RULE_USERDATA, &length);

	if (!data || length < 3 || data[0] != NFTNL_UDATA_RULE_COMMENT || data[1] != length - 2)
		return "";
	g_strlcpy(buffer, (const char *)data + 2, MIN((size_t)NFTRULE_COMMENT_SIZE, (size_t)data[1]));
	return buffer;
}

static struct nftnl_expr *add_expr(struct nftnl_rule *rule, const char *name)
{
	struct nftnl_expr *expr = nftnl_expr_alloc(name);

	g_assert(expr);
	nftnl_rule_add_expr(rule, expr);
	return expr;
}

static void load_address(struct nftnl_rule *rule, enum nftbatch_field field)
{
	struct nftnl_expr *expr = add_expr(rule, "payload");

	nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_BASE, NFT_PAYLOAD_NETWORK_HEADER);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_OFFSET, field);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_LEN, sizeof(uint32_t));
	nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_DREG, NFT_REG_1);
}

static void compare(struct nftnl_rule *rule, uint32_t op, const void *data, uint32_t length)
{
	struct nftnl_expr *expr = add_expr(rule, "cmp");

	nftnl_expr_set_u32(expr, NFTNL_EXPR_CMP_SREG, NFT_REG_1);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_CMP_OP, op);
	nftnl_expr_set(expr, NFTNL_EXPR_CMP_DATA, data, length);
}

void nftrule_match_device(struct nftnl_rule *rule, const char *name, bool as_prefix)
{
	struct nftnl_expr *expr = add_expr(rule, "meta");
	char padded[IFNAMSIZ] = "";

	nftnl_expr_set_u32(expr, NFTNL_EXPR_META_KEY, NFT_META_IIFNAME);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_META_DREG, NFT_REG_1);
	g_strlcpy(padded, name, sizeof padded);
	compare(rule, NFT_CMP_EQ, padded, as_prefix ? strlen(padded) : sizeof padded);
}

void nftrule_match_address(struct nftnl_rule *rule, enum nftbatch_field field, uint32_t address)
{
	uint32_t value = htonl(address);

	load_address(rule, field);
	compare(rule, NFT_CMP_EQ, &value, sizeof value);
}

static struct nftnl_expr *add_lookup(struct nftnl_rule *rule, const char *set)
{
	struct nftnl_expr *expr = add_expr(rule, "lookup");

	nftnl_expr_set_u32(expr, NFTNL_EXPR_LOOKUP_SREG, NFT_REG_1);
	nftnl_expr_set_str(expr, NFTNL_EXPR_LOOKUP_SET, set);
	return expr;
}

static void match(struct nftnl_rule *rule, const char *set, bool inverted)
{
	struct nftnl_expr *expr = add_lookup(rule, set);

	if (inverted)
		nftnl_expr_set_u32(expr, NFTNL_EXPR_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
}

void nftrule_match_set(struct nftnl_rule *rule, enum nftbatch_field field, const char *set, bool inverted)
{
	load_address(rule, field);
	match(rule, set, inverted);
}

/* ip daddr & 255.0.0.0 @set */
void nftrule_match_octet(struct nftnl_rule *rule, enum nftbatch_field field, const char *set, bool inverted)
{
	uint32_t mask = htonl(UINT32_C(0xff) << 24), none = 0;
	struct nftnl_expr *expr;

	load_address(rule, field);
	expr = add_expr(rule, "bitwise");
	nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_SREG, NFT_REG_1);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_DREG, NFT_REG_1);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_LEN, sizeof mask);
	nftnl_expr_set(expr, NFTNL_EXPR_BITWISE_MASK, &mask, sizeof mask);
	nftnl_expr_set(expr, NFTNL_EXPR_BITWISE_XOR, &none, sizeof none);
	match(rule, set, inverted);
}

void nftrule_jump_by_map(struct nftnl_rule *rule, enum nftbatch_field field, const char *map)
{
	load_address(rule, field);
	nftnl_expr_set_u32(add_lookup(rule, map), NFTNL_EXPR_LOOKUP_DREG, NFT_REG_VERDICT);
}

static void add_fib(struct nftnl_rule *rule, uint32_t result, uint32_t flags)
{
	struct nftnl_expr *expr = add_expr(rule, "fib");

	nftnl_expr_set_u32(expr, NFTNL_EXPR_FIB_RESULT, result);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_FIB_FLAGS, flags);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_FIB_DREG, NFT_REG_1);
}

static void match_type(struct nftnl_rule *rule, uint32_t field, uint32_t op)
{
	uint32_t local = 2; /* RTN_LOCAL, linux/rtnetlink.h */

	add_fib(rule, NFT_FIB_RESULT_ADDRTYPE, field);
	compare(rule, op, &local, sizeof local);
}

void nftrule_match_local(struct nftnl_rule *rule)
{
	match_type(rule, NFTA_FIB_F_DADDR, NFT_CMP_EQ);
}

/* A look-up for a device finds none for a local address either (nft_fib4_eval), hence the second question. */
void nftrule_match_unknown_source(struct nftnl_rule *rule)
{
	uint32_t missing = 0;

	add_fib(rule, NFT_FIB_RESULT_OIF, NFTA_FIB_F_PRESENT | NFTA_FIB_F_SADDR);
	compare(rule, NFT_CMP_EQ, &missing, sizeof missing);
	match_type(rule, NFTA_FIB_F_SADDR, NFT_CMP_NEQ);
}

void nftrule_ask_program(struct nftnl_rule *rule, int program)
{
	struct nftnl_expr *expr = add_expr(rule, "match");
	struct xt_bpf_info_v1 *info = g_new0(struct xt_bpf_info_v1, 1); /* the expression frees it, by free(3): the same as g_free() */

	info->mode = XT_BPF_MODE_FD_ELF;
	info->fd = program;
	nftnl_expr_set_str(expr, NFTNL_EXPR_MT_NAME, "bpf");
	nftnl_expr_set_u32(expr, NFTNL_EXPR_MT_REV, 1);
	nftnl_expr_set(expr, NFTNL_EXPR_MT_INFO, info, sizeof *info);
}

void nftrule_count_by_map(struct nftnl_rule *rule, enum nftbatch_field field, const char *map)
{
	struct nftnl_expr *expr;

	load_address(rule, field);
	expr = add_expr(rule, "objref");
	nftnl_expr_set_u32(expr, NFTNL_EXPR_OBJREF_SET_SREG, NFT_REG_1);
	nftnl_expr_set_str(expr, NFTNL_EXPR_OBJREF_SET_NAME, map);
}

void nftrule_count(struct nftnl_rule *rule, const char *counter)
{
	struct nftnl_expr *expr = add_expr(rule, "objref");

	nftnl_expr_set_u32(expr, NFTNL_EXPR_OBJREF_IMM_TYPE, NFT_OBJECT_COUNTER);
	nftnl_expr_set_str(expr, NFTNL_EXPR_OBJREF_IMM_NAME, counter);
}

void nftrule_verdict(struct nftnl_rule *rule, int verdict, const char *chain)
{
	struct nftnl_expr *expr = add_expr(rule, "immediate");

	nftnl_expr_set_u32(expr, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_IMM_VERDICT, verdict);
	if (chain)
		nftnl_expr_set_str(expr, NFTNL_EXPR_IMM_CHAIN, chain);
}

void nftbatch_add_rule(struct nftbatch *batch, struct nftnl_rule *rule)
{
	struct nlmsghdr *header = begin(batch, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);

	nftnl_rule_set_str(rule, NFTNL_RULE_TABLE, batch->table);
	nftnl_rule_nlmsg_build_payload(header, rule);
	end(batch, header, "add a rule to chain %s", nftnl_rule_get_str(rule, NFTNL_RULE_CHAIN));
}

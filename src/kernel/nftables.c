/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests are put together by hand (a family, and one or two names); answers are parsed by libnftnl.  Not
 * every kernel filters every kind of dump by table, so each answer's table is looked at again.
 */
#include "kernel/nftables.h"

#include <errno.h>
#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/gen.h>
#include <libnftnl/object.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <string.h>

#define REQUEST_MAX 1024 /* headers and two names of at most NFT_NAME_MAXLEN */

/* One dump on its way. */
struct dump {
	const char *table;
	union {
		nftables_rule_call rule;
		nftables_object_call object;
		nftables_name_call name;
		nftables_element_call element;
	} call;
	void *data;
	GError *error; /* the callback's */
};

struct request {
	union {
		struct nlmsghdr header;
		char bytes[REQUEST_MAX];
	};
};

static struct nlmsghdr *begin(struct request *request, uint16_t message, uint8_t family, uint16_t flags)
{
	return nftnl_nlmsg_build_hdr(request->bytes, message, family, flags, 0);
}

static bool put_name(struct nlmsghdr *header, uint16_t attribute, const char *name, GError **error)
{
	if (strlen(name) < NFT_NAME_MAXLEN) {
		mnl_attr_put_strz(header, attribute, name);
		return true;
	}
	g_set_error(error, NETLINK_ERROR, NETLINK_ERROR_INVALID,
	            "a name of nf_tables that is too long: %.40s...", name);
	return false;
}

/* What a callback said, as libmnl wants it. */
static int answer(bool go_on)
{
	errno = go_on ? 0 : ECANCELED;
	return go_on ? MNL_CB_OK : MNL_CB_ERROR;
}

static bool is_of(const struct dump *dump, const char *table)
{
	return table && !strcmp(table, dump->table);
}

/* Runs a dump; a callback's own error comes before what became of the dump by it. */
static bool run(struct netlink *netlink, struct nlmsghdr *request, mnl_cb_t call, struct dump *dump,
                GError **error)
{
	GError *refusal = NULL;

	if (netlink_talk(netlink, request, call, dump, &refusal))
		return true;
	if (dump->error) {
		g_propagate_error(error, dump->error);
		g_error_free(refusal);
	} else {
		g_propagate_prefixed_error(error, refusal, "nf_tables table %s: ", dump->table);
	}
	return false;
}

/* Like run(), of a list whose table may be missing. */
static bool run_list(struct netlink *netlink, uint16_t message, uint8_t family, uint16_t attribute,
                     mnl_cb_t call, struct dump *dump, GError **error)
{
	struct request request;
	struct nlmsghdr *header = begin(&request, message, family, NLM_F_DUMP);
	GError *refusal = NULL;

	if (!put_name(header, attribute, dump->table, error))
		return false;
	if (run(netlink, header, call, dump, &refusal))
		return true;
	if (g_error_matches(refusal, NETLINK_ERROR, NETLINK_ERROR_MISSING) && !dump->error) {
		g_error_free(refusal);
		return true;
	}
	g_propagate_error(error, refusal);
	return false;
}

/* nfnetlink_rcv_msg() answers EINVAL for a subsystem that the kernel does not have and cannot load. */
static void translate(GError **refusal)
{
	if (g_error_matches(*refusal, NETLINK_ERROR, NETLINK_ERROR_INVALID)) {
		(*refusal)->code = NETLINK_ERROR_UNSUPPORTED;
		g_prefix_error(refusal, "the kernel has no nf_tables: ");
	}
}

/* ---- one answer ---- */

static int take_generation(const struct nlmsghdr *header, void *data)
{
	struct nftnl_gen *generation = nftnl_gen_alloc();
	uint32_t *id = data;
	int result = MNL_CB_ERROR;

	if (nftnl_gen_nlmsg_parse(header, generation) == 0 && nftnl_gen_is_set(generation, NFTNL_GEN_ID)) {
		*id = nftnl_gen_get_u32(generation, NFTNL_GEN_ID);
		result = MNL_CB_OK;
	}
	nftnl_gen_free(generation);
	return result;
}

bool nftables_generation(struct netlink *netlink, uint32_t *id, GError **error)
{
	struct request request;
	GError *refusal = NULL;
	uint32_t found = 0;

	if (netlink_talk(netlink, begin(&request, NFT_MSG_GETGEN, NFPROTO_UNSPEC, 0), take_generation, &found,
	                 &refusal)) {
		*id = found;
		return true;
	}
	translate(&refusal);
	g_propagate_prefixed_error(error, refusal, "nf_tables generation id: ");
	return false;
}

static int take_table(const struct nlmsghdr *header, void *data)
{
	struct nftnl_table *table = nftnl_table_alloc();
	struct nftables_table *found = data;

	if (nftnl_table_nlmsg_parse(header, table) == 0) {
		if (nftnl_table_is_set(table, NFTNL_TABLE_HANDLE))
			found->handle = nftnl_table_get_u64(table, NFTNL_TABLE_HANDLE);
		found->dormant = nftnl_table_get_u32(table, NFTNL_TABLE_FLAGS) & NFT_TABLE_F_DORMANT;
	}
	nftnl_table_free(table);
	return MNL_CB_OK;
}

bool nftables_look(struct netlink *netlink, uint8_t family, const char *table, struct nftables_table *found, GError **error)
{
	struct request request;
	struct nlmsghdr *header = begin(&request, NFT_MSG_GETTABLE, family, 0);
	GError *refusal = NULL;

	*found = (struct nftables_table){ .handle = NFTABLES_NO_HANDLE };
	if (!put_name(header, NFTA_TABLE_NAME, table, error))
		return false;
	if (netlink_talk(netlink, header, take_table, found, &refusal))
		return true;
	if (g_error_matches(refusal, NETLINK_ERROR, NETLINK_ERROR_MISSING)) {
		g_error_free(refusal);
		found->handle = 0;
		return true;
	}
	translate(&refusal);
	g_propagate_prefixed_error(error, refusal, "nf_tables table %s: ", table);
	return false;
}

bool nftables_has_table(struct netlink *netlink, uint8_t family, const char *table, bool *exists,
                        GError **error)
{
	struct nftables_table found;

	if (!nftables_look(netlink, family, table, &found, error))
		return false;
	*exists = found.handle;
	return true;
}

/* ---- lists ---- */

static int take_rule(const struct nlmsghdr *header, void *data)
{
	struct dump *dump = data;
	struct nftnl_rule *rule = nftnl_rule_alloc();
	bool go_on = true;

	if (nftnl_rule_nlmsg_parse(header, rule) == 0 &&
	    is_of(dump, nftnl_rule_get_str(rule, NFTNL_RULE_TABLE)))
		go_on = dump->call.rule(rule, dump->data, &dump->error);
	nftnl_rule_free(rule);
	return answer(go_on);
}

bool nftables_each_rule(struct netlink *netlink, uint8_t family, const char *table, nftables_rule_call call,
                        void *data, GError **error)
{
	struct dump dump = { .table = table, .call.rule = call, .data = data };

	return run_list(netlink, NFT_MSG_GETRULE, family, NFTA_RULE_TABLE, take_rule, &dump, error);
}

static int take_object(const struct nlmsghdr *header, void *data)
{
	struct dump *dump = data;
	struct nftnl_obj *object = nftnl_obj_alloc();
	int result = MNL_CB_ERROR;

	if (nftnl_obj_nlmsg_parse(header, object) == 0)
		result = answer(!is_of(dump, nftnl_obj_get_str(object, NFTNL_OBJ_TABLE)) ||
		                dump->call.object(object, dump->data, &dump->error));
	nftnl_obj_free(object);
	return result;
}

bool nftables_each_object(struct netlink *netlink, uint8_t family, const char *table,
                          nftables_object_call call, void *data, GError **error)
{
	struct dump dump = { .table = table, .call.object = call, .data = data };

	return run_list(netlink, NFT_MSG_GETOBJ, family, NFTA_OBJ_TABLE, take_object, &dump, error);
}

static bool hand_over_name(struct dump *dump, const char *table, const char *name)
{
	return !name || !is_of(dump, table) || dump->call.name(name, dump->data, &dump->error);
}

static int take_set(const struct nlmsghdr *header, void *data)
{
	struct nftnl_set *set = nftnl_set_alloc();
	int result = MNL_CB_ERROR;

	if (nftnl_set_nlmsg_parse(header, set) == 0)
		result = answer(hand_over_name(data, nftnl_set_get_str(set, NFTNL_SET_TABLE),
		                               nftnl_set_get_str(set, NFTNL_SET_NAME)));
	nftnl_set_free(set);
	return result;
}

bool nftables_each_set(struct netlink *netlink, uint8_t family, const char *table, nftables_name_call call,
                       void *data, GError **error)
{
	struct dump dump = { .table = table, .call.name = call, .data = data };

	return run_list(netlink, NFT_MSG_GETSET, family, NFTA_SET_TABLE, take_set, &dump, error);
}

static int take_chain(const struct nlmsghdr *header, void *data)
{
	struct nftnl_chain *chain = nftnl_chain_alloc();
	int result = MNL_CB_ERROR;

	if (nftnl_chain_nlmsg_parse(header, chain) == 0)
		result = answer(hand_over_name(data, nftnl_chain_get_str(chain, NFTNL_CHAIN_TABLE),
		                               nftnl_chain_get_str(chain, NFTNL_CHAIN_NAME)));
	nftnl_chain_free(chain);
	return result;
}

bool nftables_each_chain(struct netlink *netlink, uint8_t family, const char *table, nftables_name_call call,
                         void *data, GError **error)
{
	struct dump dump = { .table = table, .call.name = call, .data = data };

	return run_list(netlink, NFT_MSG_GETCHAIN, family, NFTA_CHAIN_TABLE, take_chain, &dump, error);
}

/* ---- elements ---- */

static int hand_over_element(struct nftnl_set_elem *element, void *data)
{
	struct dump *dump = data;

	return dump->call.element(element, dump->data, &dump->error) ? 0 : -1;
}

static int take_elements(const struct nlmsghdr *header, void *data)
{
	struct nftnl_set *set = nftnl_set_alloc();
	int result = MNL_CB_ERROR;

	if (nftnl_set_elems_nlmsg_parse(header, set) == 0)
		result = answer(nftnl_set_elem_foreach(set, hand_over_element, data) == 0);
	nftnl_set_free(set);
	return result;
}

bool nftables_each_element(struct netlink *netlink, uint8_t family, const char *table, const char *set,
                           nftables_element_call call, void *data, GError **error)
{
	struct dump dump = { .table = table, .call.element = call, .data = data };
	struct request request;
	struct nlmsghdr *header = begin(&request, NFT_MSG_GETSETELEM, family, NLM_F_DUMP);

	return put_name(header, NFTA_SET_ELEM_LIST_TABLE, table, error) &&
	       put_name(header, NFTA_SET_ELEM_LIST_SET, set, error) &&
	       run(netlink, header, take_elements, &dump, error);
}

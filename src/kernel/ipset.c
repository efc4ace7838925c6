/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages are put one behind the other into one buffer, numbered from 1, so that a refusal leads to the message, and
 * from there to the set and the address that its error names.
 */
#include "kernel/ipset.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/ipset/ip_set.h>
#include <linux/netfilter/ipset/ip_set_hash.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PROTOCOL 6
#define REVISION_IP 4     /* of hash:ip: with counters (1, 2) and comments (3); ip_set_hash_ip.c */
#define REVISION_NET 6    /* of hash:net: with counters (3, 4) and comments (5); ip_set_hash_net.c */
#define MESSAGE_MAX 1024  /* the longest: an add, with a comment of 255 bytes */
#define HASHSIZE_MIN 64   /* IPSET_MIMINAL_HASHSIZE */
#define HASHSIZE_COUNTS 1024
#define PER_ELEMENT 8     /* buckets: with so many no bucket of 12 is ever full */

uint32_t ipset_hashsize(uint32_t elements, bool counts)
{
	uint64_t size = counts ? HASHSIZE_COUNTS : HASHSIZE_MIN;

	while (size < (uint64_t)elements * PER_ELEMENT && size < UINT32_C(1) << 31)
		size *= 2;
	return (uint32_t)size;
}

/* ---- changing ---- */

struct ipset_batch {
	GByteArray *messages;
	GArray *offsets; /* of size_t: where each message begins */
};

struct ipset_batch *ipset_batch_new(void)
{
	struct ipset_batch *batch = g_new(struct ipset_batch, 1);

	batch->messages = g_byte_array_new();
	batch->offsets = g_array_new(FALSE, FALSE, sizeof(size_t));
	return batch;
}

void ipset_batch_free(struct ipset_batch *batch)
{
	if (!batch)
		return;
	g_byte_array_unref(batch->messages);
	g_array_unref(batch->offsets);
	g_free(batch);
}

unsigned ipset_batch_length(const struct ipset_batch *batch)
{
	return batch->offsets->len;
}

static struct nlmsghdr *begin(char *buffer, uint16_t command, uint16_t flags, const char *set)
{
	struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);
	struct nfgenmsg *family;

	header->nlmsg_type = (NFNL_SUBSYS_IPSET << 8) | command;
	header->nlmsg_flags = NLM_F_REQUEST | flags;
	family = mnl_nlmsg_put_extra_header(header, sizeof *family);
	family->nfgen_family = AF_INET;
	family->version = NFNETLINK_V0;
	mnl_attr_put_u8(header, IPSET_ATTR_PROTOCOL, PROTOCOL);
	if (set)
		mnl_attr_put_strz(header, IPSET_ATTR_SETNAME, set);
	return header;
}

static void append(struct ipset_batch *batch, struct nlmsghdr *header)
{
	size_t at = batch->messages->len;

	header->nlmsg_seq = batch->offsets->len + 1;
	header->nlmsg_flags |= NLM_F_ACK;
	g_array_append_val(batch->offsets, at);
	g_byte_array_append(batch->messages, (const guint8 *)header, MNL_ALIGN(header->nlmsg_len));
}

static void put_net_u32(struct nlmsghdr *header, uint16_t type, uint32_t value)
{
	mnl_attr_put_u32(header, type | NLA_F_NET_BYTEORDER, htonl(value));
}

static void put_net_u64(struct nlmsghdr *header, uint16_t type, uint64_t value)
{
	mnl_attr_put_u64(header, type | NLA_F_NET_BYTEORDER, GUINT64_TO_BE(value));
}

void ipset_batch_create(struct ipset_batch *batch, const char *set, enum ipset_type type, bool counts, uint32_t hashsize)
{
	char buffer[MESSAGE_MAX] = { 0 };
	struct nlmsghdr *header = begin(buffer, IPSET_CMD_CREATE, NLM_F_EXCL, set);
	struct nlattr *data;

	mnl_attr_put_strz(header, IPSET_ATTR_TYPENAME, type == IPSET_ADDRESSES ? "hash:ip" : "hash:net");
	mnl_attr_put_u8(header, IPSET_ATTR_REVISION, type == IPSET_ADDRESSES ? REVISION_IP : REVISION_NET);
	mnl_attr_put_u8(header, IPSET_ATTR_FAMILY, AF_INET); /* NFPROTO_IPV4 */
	data = mnl_attr_nest_start(header, IPSET_ATTR_DATA);
	put_net_u32(header, IPSET_ATTR_HASHSIZE, hashsize);
	put_net_u32(header, IPSET_ATTR_MAXELEM, MAX(hashsize, 65536));
	if (counts)
		put_net_u32(header, IPSET_ATTR_CADT_FLAGS, IPSET_FLAG_WITH_COUNTERS | IPSET_FLAG_WITH_COMMENT);
	mnl_attr_nest_end(header, data);
	append(batch, header);
}

void ipset_batch_destroy(struct ipset_batch *batch, const char *set)
{
	char buffer[MESSAGE_MAX] = { 0 };

	append(batch, begin(buffer, IPSET_CMD_DESTROY, NLM_F_EXCL, set));
}

static void put_address(struct nlmsghdr *header, const struct ipset_element *element)
{
	struct nlattr *address = mnl_attr_nest_start(header, IPSET_ATTR_IP);

	mnl_attr_put_u32(header, IPSET_ATTR_IPADDR_IPV4 | NLA_F_NET_BYTEORDER, htonl(element->address));
	mnl_attr_nest_end(header, address);
	if (element->length < 32)
		mnl_attr_put_u8(header, IPSET_ATTR_CIDR, element->length);
}

void ipset_batch_add(struct ipset_batch *batch, const char *set, bool counts, const struct ipset_element *element)
{
	char buffer[MESSAGE_MAX] = { 0 };
	struct nlmsghdr *header = begin(buffer, IPSET_CMD_ADD, NLM_F_EXCL, set);
	struct nlattr *data = mnl_attr_nest_start(header, IPSET_ATTR_DATA);

	put_address(header, element);
	if (counts) {
		put_net_u64(header, IPSET_ATTR_BYTES, element->bytes);
		put_net_u64(header, IPSET_ATTR_PACKETS, element->packets);
	}
	if (counts && element->comment)
		mnl_attr_put_strz(header, IPSET_ATTR_COMMENT, element->comment);
	mnl_attr_nest_end(header, data);
	append(batch, header);
}

void ipset_batch_delete(struct ipset_batch *batch, const char *set, const struct ipset_element *element)
{
	char buffer[MESSAGE_MAX] = { 0 };
	struct nlmsghdr *header = begin(buffer, IPSET_CMD_DEL, NLM_F_EXCL, set);
	struct nlattr *data = mnl_attr_nest_start(header, IPSET_ATTR_DATA);

	put_address(header, element);
	mnl_attr_nest_end(header, data);
	append(batch, header);
}

/* ---- refusals ---- */

struct refusal {
	enum netlink_error code;
	const char *words;
};

/* ERR_EXIST is said of an element that is to be added and is there, and of one that is to be deleted and is not. */
static struct refusal explain(uint16_t command, int number)
{
	bool is_delete = command == IPSET_CMD_DEL;

	switch (number) {
	case IPSET_ERR_EXIST:
		return is_delete ? (struct refusal){ NETLINK_ERROR_MISSING, "it is not there" } :
		                   (struct refusal){ NETLINK_ERROR_EXISTS, "it is there already" };
	case EEXIST:
	case IPSET_ERR_EXIST_SETNAME2:
		return (struct refusal){ NETLINK_ERROR_EXISTS, "the set is there already" };
	case ENOENT:
		return (struct refusal){ NETLINK_ERROR_MISSING, "there is no such set" };
	case IPSET_ERR_BUSY:
	case IPSET_ERR_REFERENCED:
		return (struct refusal){ NETLINK_ERROR_BUSY, "rules still use the set" };
	case IPSET_ERR_FIND_TYPE:
		return (struct refusal){ NETLINK_ERROR_UNSUPPORTED, "this kernel does not have the type of the set" };
	case IPSET_ERR_PROTOCOL:
		return (struct refusal){ NETLINK_ERROR_UNSUPPORTED, "this kernel does not speak protocol 6 of ipset" };
	case IPSET_ERR_MAX_SETS:
		return (struct refusal){ NETLINK_ERROR_FAILED, "there are too many sets" };
	case IPSET_ERR_HASH_FULL:
		return (struct refusal){ NETLINK_ERROR_FAILED, "the set is full" };
	case IPSET_ERR_HASH_ELEM:
		return (struct refusal){ NETLINK_ERROR_FAILED, "no element of such a set" };
	case IPSET_ERR_TYPE_MISMATCH:
		return (struct refusal){ NETLINK_ERROR_FAILED, "the set is of another type" };
	case IPSET_ERR_INVALID_CIDR:
		return (struct refusal){ NETLINK_ERROR_FAILED, "the length of the prefix is out of range" };
	case IPSET_ERR_COUNTER:
		return (struct refusal){ NETLINK_ERROR_FAILED, "the set has no counters" };
	case IPSET_ERR_COMMENT:
		return (struct refusal){ NETLINK_ERROR_FAILED, "the set has no comments" };
	default:
		return (struct refusal){ NETLINK_ERROR_FAILED, NULL };
	}
}

static int take_address(const struct nlattr *attr, void *data)
{
	if (mnl_attr_get_type(attr) == IPSET_ATTR_IPADDR_IPV4 && mnl_attr_get_payload_len(attr) == sizeof(uint32_t))
		*(uint32_t *)data = ntohl(mnl_attr_get_u32(attr));
	return MNL_CB_OK;
}

static int take_element_address(const struct nlattr *attr, void *data)
{
	return mnl_attr_get_type(attr) == IPSET_ATTR_IP ? mnl_attr_parse_nested(attr, take_address, data) : MNL_CB_OK;
}

/* "ipset add SET 192.0.2.1", out of the message itself. */
static char *describe(const struct nlmsghdr *message)
{
	static const char *const verbs[] = {
		[IPSET_CMD_CREATE] = "create", [IPSET_CMD_DESTROY] = "destroy", [IPSET_CMD_ADD] = "add", [IPSET_CMD_DEL] = "del",
	};
	const char *set = "";
	uint32_t address = 0;
	const struct nlattr *attr;
	char shown[INET_ADDRSTRLEN + 1] = "";

	mnl_attr_for_each(attr, message, sizeof(struct nfgenmsg)) {
		if (mnl_attr_get_type(attr) == IPSET_ATTR_SETNAME)
			set = mnl_attr_get_str(attr);
		else if (mnl_attr_get_type(attr) == IPSET_ATTR_DATA)
			mnl_attr_parse_nested(attr, take_element_address, &address);
	}
	if (address) {
		address = htonl(address);
		shown[0] = ' ';
		inet_ntop(AF_INET, &address, shown + 1, sizeof shown - 1);
	}
	return g_strdup_printf("ipset %s %s%s", verbs[message->nlmsg_type & 0xff], set, shown);
}

static void set_refusal(const struct ipset_batch *batch, uint32_t seq, int number, GError *reason, GError **error)
{
	const struct nlmsghdr *message = (const struct nlmsghdr *)(batch->messages->data +
	                                 g_array_index(batch->offsets, size_t, seq - 1));
	struct refusal refusal = explain(message->nlmsg_type & 0xff, number);
	g_autofree char *what = describe(message);

	if (refusal.words)
		g_set_error(error, NETLINK_ERROR, (int)refusal.code, "%s: %s", what, refusal.words);
	else
		g_set_error(error, NETLINK_ERROR, reason->code, "%s: %s", what, reason->message);
}

bool ipset_batch_commit(struct ipset_batch *batch, struct netlink *netlink, GError **error)
{
	g_autoptr(GError) reason = NULL;
	uint32_t failed_seq = 0;

	if (!batch->offsets->len ||
	    netlink_send_batch(netlink, batch->messages->data, batch->messages->len, batch->offsets->len, &failed_seq,
	                       &reason))
		return true;
	if (failed_seq > 0 && failed_seq <= batch->offsets->len)
		set_refusal(batch, failed_seq, netlink_refusal(netlink), reason, error);
	else
		g_set_error(error, NETLINK_ERROR, reason->code, "ipset: %s", reason->message);
	return false;
}

/* ---- reading ---- */

#define ATTRIBUTES 32

struct listing {
	ipset_call call;
	void *data;
	GError **error;
	struct ipset_set set;   /* the one at hand; its texts are in the message that brought them */
	char name[IPSET_NAME_MAX + 1], type[IPSET_NAME_MAX + 1];
};

static int take_attribute(const struct nlattr *attr, void *data)
{
	const struct nlattr **attributes = data;
	unsigned type = mnl_attr_get_type(attr);

	if (type < ATTRIBUTES)
		attributes[type] = attr;
	return MNL_CB_OK;
}

static int malformed(const struct listing *listing)
{
	g_set_error(listing->error, NETLINK_ERROR, NETLINK_ERROR_FAILED, "ipset: an answer that is not well formed");
	return MNL_CB_ERROR;
}

static uint32_t get_net_u32(const struct nlattr *attr)
{
	return attr && mnl_attr_get_payload_len(attr) == sizeof(uint32_t) ? ntohl(mnl_attr_get_u32(attr)) : 0;
}

static bool is_net_u64(const struct nlattr *attr)
{
	return attr && mnl_attr_get_payload_len(attr) == sizeof(uint64_t);
}

static uint64_t get_net_u64(const struct nlattr *attr)
{
	return is_net_u64(attr) ? GUINT64_FROM_BE(mnl_attr_get_u64(attr)) : 0;
}

static const char *get_text(const struct nlattr *attr)
{
	return attr && mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) == 0 ? mnl_attr_get_str(attr) : NULL;
}

/* The head of a set: in its first message only. */
static int take_set(struct listing *listing, const struct nlattr **message)
{
	const struct nlattr *data[ATTRIBUTES] = { 0 };
	const char *type = get_text(message[IPSET_ATTR_TYPENAME]);

	if (!type || mnl_attr_parse_nested(message[IPSET_ATTR_DATA], take_attribute, data) < MNL_CB_STOP)
		return malformed(listing);
	g_strlcpy(listing->type, type, sizeof listing->type);
	listing->set = (struct ipset_set){
		.name = listing->name, .type = listing->type,
		.counts = get_net_u32(data[IPSET_ATTR_CADT_FLAGS]) & IPSET_FLAG_WITH_COUNTERS,
		.hashsize = get_net_u32(data[IPSET_ATTR_HASHSIZE]),
		.references = get_net_u32(data[IPSET_ATTR_REFERENCES]),
	};
	return listing->call(&listing->set, NULL, listing->data, listing->error) ? MNL_CB_OK : MNL_CB_ERROR;
}

static int take_element(const struct nlattr *attr, void *data)
{
	struct listing *listing = data;
	const struct nlattr *attributes[ATTRIBUTES] = { 0 };
	struct ipset_element element = { .length = 32 };

	if (mnl_attr_get_type(attr) != IPSET_ATTR_DATA)
		return MNL_CB_OK;
	if (mnl_attr_parse_nested(attr, take_attribute, attributes) < MNL_CB_STOP)
		return malformed(listing);
	if (!attributes[IPSET_ATTR_IP] ||
	    mnl_attr_parse_nested(attributes[IPSET_ATTR_IP], take_address, &element.address) < MNL_CB_STOP)
		return MNL_CB_OK; /* of another kind of set */
	if (attributes[IPSET_ATTR_CIDR] && mnl_attr_get_payload_len(attributes[IPSET_ATTR_CIDR]) == 1)
		element.length = mnl_attr_get_u8(attributes[IPSET_ATTR_CIDR]);
	element.counted = is_net_u64(attributes[IPSET_ATTR_BYTES]) && is_net_u64(attributes[IPSET_ATTR_PACKETS]);
	element.bytes = get_net_u64(attributes[IPSET_ATTR_BYTES]);
	element.packets = get_net_u64(attributes[IPSET_ATTR_PACKETS]);
	element.comment = get_text(attributes[IPSET_ATTR_COMMENT]);
	return listing->call(&listing->set, &element, listing->data, listing->error) ? MNL_CB_OK : MNL_CB_ERROR;
}

static int take_message(const struct nlmsghdr *header, void *data)
{
	struct listing *listing = data;
	const struct nlattr *attributes[ATTRIBUTES] = { 0 };
	const char *name;

	if (header->nlmsg_len < mnl_nlmsg_size(sizeof(struct nfgenmsg)) ||
	    mnl_attr_parse(header, sizeof(struct nfgenmsg), take_attribute, attributes) < MNL_CB_STOP)
		return malformed(listing);
	name = get_text(attributes[IPSET_ATTR_SETNAME]);
	if (!name)
		return malformed(listing);
	/* The head of a set comes first, and then all of its elements (ip_set_core.c: ip_set_dump_do()). */
	if (attributes[IPSET_ATTR_DATA]) {
		g_strlcpy(listing->name, name, sizeof listing->name);
		if (take_set(listing, attributes) < MNL_CB_STOP)
			return MNL_CB_ERROR;
	} else if (!listing->set.name || strcmp(name, listing->name)) {
		return malformed(listing);
	}
	return attributes[IPSET_ATTR_ADT] ? mnl_attr_parse_nested(attributes[IPSET_ATTR_ADT], take_element, listing) :
	                                    MNL_CB_OK;
}

bool ipset_each(struct netlink *netlink, ipset_call call, void *data, GError **error)
{
	char buffer[MESSAGE_MAX] = { 0 };
	g_autoptr(GError) own = NULL, refusal = NULL;
	struct listing listing = { .call = call, .data = data, .error = &own };

	if (netlink_talk(netlink, begin(buffer, IPSET_CMD_LIST, NLM_F_DUMP, NULL), take_message, &listing, &refusal))
		return true;
	if (own) {
		g_propagate_error(error, g_steal_pointer(&own));
		return false;
	}
	/* nfnetlink says EINVAL where there is no such subsystem */
	if (g_error_matches(refusal, NETLINK_ERROR, NETLINK_ERROR_INVALID) ||
	    g_error_matches(refusal, NETLINK_ERROR, NETLINK_ERROR_UNSUPPORTED) ||
	    g_error_matches(refusal, NETLINK_ERROR, NETLINK_ERROR_MISSING))
		return true;
	g_propagate_prefixed_error(error, g_steal_pointer(&refusal), "cannot list the sets of ipset: ");
	return false;
}

bool ipset_index(const char *set, uint16_t *index, GError **error)
{
	struct ip_set_req_get_set request = { .op = IP_SET_OP_GET_BYNAME, .version = PROTOCOL };
	socklen_t length = sizeof request;
	int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	int number = 0;

	g_strlcpy(request.set.name, set, sizeof request.set.name);
	if (fd < 0 || getsockopt(fd, SOL_IP, SO_IP_SET, &request, &length) < 0)
		number = errno;
	if (fd >= 0)
		close(fd);
	if (number)
		g_set_error(error, NETLINK_ERROR, NETLINK_ERROR_FAILED, "ipset %s: %s", set, g_strerror(number));
	else if (request.set.index == IPSET_INVALID_ID)
		g_set_error(error, NETLINK_ERROR, NETLINK_ERROR_MISSING, "ipset %s: there is no such set", set);
	else
		*index = request.set.index;
	return !number && request.set.index != IPSET_INVALID_ID;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See devices.h.
 */
#include "inventory/devices.h"

#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <string.h>

static void device_free(void *data)
{
	g_array_unref(((struct device *)data)->addresses);
	g_free(data);
}

static bool get_u32(const struct nlattr *attr, uint32_t *value)
{
	if (mnl_attr_validate(attr, MNL_TYPE_U32) < 0)
		return false;
	*value = mnl_attr_get_u32(attr);
	return true;
}

/* IFLA_XDP of if_link.h. */
static bool has_xdp(const struct nlattr *xdp)
{
	const struct nlattr *attr;

	mnl_attr_for_each_nested(attr, xdp)
		if (mnl_attr_get_type(attr) == IFLA_XDP_ATTACHED && mnl_attr_get_payload_len(attr) == 1)
			return mnl_attr_get_u8(attr) != XDP_ATTACHED_NONE;
	return false;
}

static int take_device(const struct nlmsghdr *message, void *data)
{
	const struct ifinfomsg *head = mnl_nlmsg_get_payload(message);
	struct device *device;
	const struct nlattr *attr;

	if (message->nlmsg_type != RTM_NEWLINK || message->nlmsg_len < mnl_nlmsg_size(sizeof *head))
		return MNL_CB_OK;
	device = g_new0(struct device, 1);
	device->index = head->ifi_index;
	device->addresses = g_array_new(FALSE, TRUE, sizeof(struct device_address));
	mnl_attr_for_each(attr, message, sizeof *head) {
		uint16_t type = mnl_attr_get_type(attr);

		if (type == IFLA_IFNAME && mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0)
			g_strlcpy(device->name, mnl_attr_get_str(attr), sizeof device->name);
		else if (type == IFLA_MTU)
			get_u32(attr, &device->mtu);
		else if (type == IFLA_XDP)
			device->has_xdp = has_xdp(attr);
	}
	device->role = device_role(device->name);
	g_ptr_array_add(data, device);
	return MNL_CB_OK;
}

static int take_address(const struct nlmsghdr *message, void *data)
{
	const struct ifaddrmsg *head = mnl_nlmsg_get_payload(message);
	const GPtrArray *devices = data;
	const struct nlattr *attr;
	struct device_address own = { 0 };
	uint32_t local = 0;

	if (message->nlmsg_type != RTM_NEWADDR || message->nlmsg_len < mnl_nlmsg_size(sizeof *head) ||
	    head->ifa_family != AF_INET)
		return MNL_CB_OK;
	mnl_attr_for_each(attr, message, sizeof *head)
		if (mnl_attr_get_type(attr) == IFA_LOCAL)
			get_u32(attr, &local);
	own.address = ntohl(local);
	own.length = head->ifa_prefixlen;
	for (unsigned i = 0; local && i < devices->len; i++) {
		struct device *device = devices->pdata[i];

		if (device->index == (int)head->ifa_index)
			g_array_append_val(device->addresses, own);
	}
	return MNL_CB_OK;
}

static bool dump(struct netlink *netlink, uint16_t type, size_t head_size, mnl_cb_t call, GPtrArray *devices,
                 GError **error)
{
	char buffer[64] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);

	header->nlmsg_type = type;
	header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	*(uint8_t *)mnl_nlmsg_put_extra_header(header, head_size) = AF_INET; /* its first byte */
	return netlink_talk(netlink, header, call, devices, error);
}

GPtrArray *devices_read(struct netlink *netlink, GError **error)
{
	g_autoptr(GPtrArray) devices = g_ptr_array_new_with_free_func(device_free);

	if (!dump(netlink, RTM_GETLINK, sizeof(struct ifinfomsg), take_device, devices, error) ||
	    !dump(netlink, RTM_GETADDR, sizeof(struct ifaddrmsg), take_address, devices, error))
		return NULL;
	return g_steal_pointer(&devices);
}

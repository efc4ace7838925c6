/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See capability.h.  capget(2) by itself: libcap would be one more library for one call.
 */
#include "kernel/capability.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct {
	unsigned number;
	bool to_look; /* else only to meter */
	const char *name, *use;
} wanted[] = {
	{ CAP_SYS_ADMIN, true, "CAP_SYS_ADMIN", "to enter network namespaces" },
	{ CAP_NET_ADMIN, true, "CAP_NET_ADMIN", "to read and make rules and counters" },
	{ CAP_NET_RAW, true, "CAP_NET_RAW", "to read legacy tables" },
	{ CAP_NET_BROADCAST, false, "CAP_NET_BROADCAST", "to hear what changes in all namespaces" },
	{ CAP_SYS_PTRACE, false, "CAP_SYS_PTRACE", "to find the lock file of an l3-agent in a container" },
};

static bool get_effective(uint64_t *effective, GError **error)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &header, data) < 0) {
		g_set_error(error, CAPABILITY_ERROR, 0, "cannot ask for the own capabilities: %s", g_strerror(errno));
		return false;
	}
	*effective = (uint64_t)data[1].effective << 32 | data[0].effective;
	return true;
}

static bool check(bool metering, GError **error)
{
	g_autoptr(GString) missing = g_string_new(NULL);
	uint64_t effective;

	if (!get_effective(&effective, error))
		return false;
	for (unsigned i = 0; i < G_N_ELEMENTS(wanted); i++)
		if ((metering || wanted[i].to_look) && !(effective & UINT64_C(1) << wanted[i].number))
			g_string_append_printf(missing, "%s%s (%s)", missing->len ? ", " : "", wanted[i].name, wanted[i].use);
	if (!missing->len)
		return true;
	g_set_error(error, CAPABILITY_ERROR, 0, "missing privileges: %s; run as root, or with these capabilities as "
	            "fipmeter-agent.service gives them", missing->str);
	return false;
}

bool capability_check_looking(GError **error)
{
	return check(false, error);
}

bool capability_check_metering(GError **error)
{
	return check(true, error);
}

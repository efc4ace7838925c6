/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The blob of a legacy table, as getsockopt(2) hands it over: rules one behind the other, looked at as the inventory does,
 * and hashed as the comparison of each second does.  The calls at the edge are replaced at link time (ld(1), --wrap).
 */
#include "fuzz.h"

#include "inventory/links.h"
#include "inventory/nat.h"
#include "kernel/xtables.h"

#include <errno.h>
#include <libiptc/libiptc.h>
#include <string.h>
#include <sys/socket.h>

static const uint8_t *blob;
static size_t blob_size;

bool __wrap_netns_call(int ns_fd, bool (*call)(void *data, GError **error), void *data, GError **error);
gboolean __wrap_g_file_get_contents(const char *path, char **contents, gsize *length, GError **error);
gboolean __real_g_file_get_contents(const char *path, char **contents, gsize *length, GError **error);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *length);

bool __wrap_netns_call(int ns_fd, bool (*call)(void *data, GError **error), void *data, GError **error)
{
	return call(data, error);
}

/* /proc/net/ip_tables_names alone. */
gboolean __wrap_g_file_get_contents(const char *path, char **contents, gsize *length, GError **error)
{
	if (!g_str_has_prefix(path, "/proc/"))
		return __real_g_file_get_contents(path, contents, length, error);
	*contents = g_strdup("nat\n");
	return TRUE;
}

int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *length)
{
	if (name == IPT_SO_GET_INFO)
		((struct ipt_getinfo *)value)->size = (unsigned)blob_size;
	else
		memcpy(((struct ipt_get_entries *)value)->entrytable, blob, blob_size);
	return 0;
}

/* Each rule alone in memory of its own length, so that a step beyond it is found. */
static void take_rules(struct nat *nat)
{
	static const char *const chains[] = { "neutron-l3-agent-PREROUTING", "neutron-l3-agent-snat" };

	for (size_t at = 0, n = 0; blob_size - at >= sizeof(struct ipt_entry); n++) {
		struct ipt_entry head;
		g_autofree struct ipt_entry *entry = NULL;
		struct nat_rule decoded;
		size_t length;

		memcpy(&head, blob + at, sizeof head);
		length = MIN((size_t)head.next_offset, blob_size - at);
		if (length < sizeof head)
			return;
		entry = g_memdup2(blob + at, length);
		if (xtables_entry_check(entry, length)) {
			nat_decode_legacy(chains[n % 2], entry, &decoded);
			fuzz_check(memchr(decoded.in, 0, sizeof decoded.in) && memchr(decoded.out, 0, sizeof decoded.out));
			nat_take(nat, &decoded, NULL);
		}
		at += length;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct links *links = links_new();
	struct nat *nat = nat_new(links), *none = nat_new(links);
	struct router *router = router_new("qrouter-x", "x");
	g_autoptr(GError) error = NULL;
	uint64_t fingerprint = 0, again = 0;

	blob = data;
	blob_size = size;
	take_rules(nat);
	nat_merge(none, nat, links, FLAVOUR_LEGACY, router);
	if (xtables_fingerprint(-1, "nat", &fingerprint, &error))
		fuzz_check(fingerprint && xtables_fingerprint(-1, "nat", &again, NULL) && again == fingerprint);
	else
		fuzz_check(error && error->message[0]);
	router_free(router);
	nat_free(none);
	nat_free(nat);
	links_free(links);
	return 0;
}

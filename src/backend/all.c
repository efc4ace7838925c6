/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The back ends of this build, and what whoever calls one does with any.
 */
#include "backend/backend.h"

#define TRIES 5 /* reads of a namespace that changes under our hands */

struct backend **backends_new(const char *xtables_lock, const char *netns_dir, const char *ebpf_place)
{
	struct backend **backends = g_new0(struct backend *, BACKENDS + 1);

	backends[BACKEND_NFT] = backend_nft_new();
	backends[BACKEND_IPTABLES] = backend_iptables_new(xtables_lock);
	backends[BACKEND_EBPF] = backend_ebpf_new(netns_dir, ebpf_place);
	return backends;
}

void backends_free(struct backend **backends)
{
	for (unsigned i = 0; backends && backends[i]; i++) {
		g_free(backends[i]->warning);
		backends[i]->free(backends[i]);
	}
	g_free(backends);
}

struct snapshot *backend_read_settled(struct backend *backend, const struct place *place, GError **error)
{
	for (unsigned i = 1;; i++) {
		GError *failure = NULL;
		struct snapshot *found = backend->read(backend, place, &failure);

		if (found)
			return found;
		if (i == TRIES || !g_error_matches(failure, BACKEND_ERROR, BACKEND_ERROR_AGAIN)) {
			g_propagate_error(error, failure);
			return NULL;
		}
		g_clear_error(&failure);
	}
}

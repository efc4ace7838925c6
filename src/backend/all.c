/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The back ends of this build.
 */
#include "backend/backend.h"

struct backend **backends_new(const char *xtables_lock, const char *netns_dir)
{
	struct backend **backends = g_new0(struct backend *, BACKENDS + 1);

	backends[BACKEND_NFT] = backend_nft_new();
	backends[BACKEND_IPTABLES] = backend_iptables_new(xtables_lock);
	backends[BACKEND_EBPF] = backend_ebpf_new(netns_dir);
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

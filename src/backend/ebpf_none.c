/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * In place of ebpf.c where fipmeter was built without it (meson: -Debpf=disabled).
 */
#include "backend/backend.h"

struct backend *backend_ebpf_new(const char *netns_dir, const char *place)
{
	return NULL;
}

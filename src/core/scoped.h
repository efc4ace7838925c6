/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * g_autoptr() for structs that have no typedef: `SCOPED(plan) *plan = ...` is freed by plan_free() at the end of its
 * scope.  A header that declares NAME_free() says SCOPED_DEFINE(NAME).
 */
#ifndef FIPMETER_CORE_SCOPED_H
#define FIPMETER_CORE_SCOPED_H

#define SCOPED(name) __attribute__((cleanup(name##_scoped))) struct name
#define SCOPED_DEFINE(name) \
	static inline void name##_scoped(struct name **scoped) { name##_free(*scoped); }

#endif

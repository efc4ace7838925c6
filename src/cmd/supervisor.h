/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a service manager does for the agent: keeps the descriptors of the namespaces that it holds, so that one that
 * is deleted while the agent is away can still be read a last time (sd_pid_notify_with_fds(3), FDSTORE;
 * systemd.service(5), FileDescriptorStoreMax); hears what it does (sd_notify(3)), and starts it anew when it no longer
 * takes samples (WatchdogSec=).  Without one, nothing here does anything.
 */
#ifndef FIPMETER_CMD_SUPERVISOR_H
#define FIPMETER_CMD_SUPERVISOR_H

#include <glib.h>
#include <stdint.h>

/* Hands over a copy of fd under name (letters, digits and dashes); takes it back. */
void supervisor_keep(const char *name, int fd);
void supervisor_drop(const char *name);

/* What the agent does; each with one line for people (`systemctl status`). */
void supervisor_ready(const char *status);     /* it meters; said again after reloading */
void supervisor_reloading(void);
void supervisor_stopping(void);

/* A sample has come to its end.  Who is to hear of one every interval_us may wait for three of them: a watchdog that is
 * set to less is told so. */
void supervisor_sampled(const char *status, int64_t interval_us);

/* What an earlier agent had handed over: name -> descriptor (GINT_TO_POINTER), the caller's.  Asked once. */
GHashTable *supervisor_kept(void);

#endif

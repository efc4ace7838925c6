/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The bulletin: what a running agent knows of its node, in one file of JSON in /run/fipmeter, for `fipmeter status`.
 * It stands beside the agent's lock and not in the store: it has to be true when the store cannot be written, too.  A file
 * that is there while nobody holds the lock was left behind by an agent that was killed.
 *
 * Times are microseconds of UTC, 0 where there is none; texts are printable (cmd_escape()):
 *   node pid version started interval_s netns_dir state_dir backend
 *   sampled     the last sample; kept: the last one that is in the store
 *   failure     why the last one is not in the store, "" if it is
 *   events      whether changes are heard as they happen
 *   locks       the lock files under which legacy tables are written, "" where no router needs them
 *   problems    what is wrong: { "namespace=NAME", or what else it is about: message }
 *   routers     { namespace: {
 *     router namespace flavour backend   ("" flavour: never looked at yet)
 *     role        master; standby; internal: no external device, so nothing to count; "": never looked at yet
 *     dvr gateway gateway_served floating: [ { address fixed served } ]
 *     list_command                       lists its counters with the system's own tools
 *     generation  its tag at the last reading, "" where nothing counts
 *     last_reading } }
 */
#ifndef FIPMETER_CMD_BULLETIN_H
#define FIPMETER_CMD_BULLETIN_H

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>

struct backend;
struct bulletin;
struct node;

/* Of the agent that begins here and holds the lock of netns_dir.  Nothing is written yet. */
struct bulletin *bulletin_new(const char *netns_dir);
void bulletin_move(struct bulletin *bulletin, const char *netns_dir); /* to the file that belongs to it now */

/* The agent ends: the file goes.  Takes NULL. */
void bulletin_free(struct bulletin *bulletin);

/* The end of a cycle, before its gone sites are swept.  failure: why it could not be kept, or NULL.  Writes the file
 * after a sample, and when something else than a time has changed; complains if it cannot. */
void bulletin_post(struct node *node, const GError *failure);

/* What was posted for netns_dir, and who holds the lock beside it (as lock_ask() tells; of those who may not ask, 0 or
 * the pid in the file, if such a process runs).  *told is NULL if there is no file; the caller frees. */
bool bulletin_read(const char *netns_dir, json_t **told, long *holder, GError **error);

/* A text of something that was posted; "" where it has none of that name. */
const char *bulletin_text(const json_t *object, const char *name);

/* What an operator types to run a command inside a namespace, and to list the counters that a back end has there.  The
 * caller frees. */
char *bulletin_command(const char *netns_dir, const char *ns, const char *command);
char *bulletin_list_command(const char *netns_dir, const char *ns, const struct backend *backend);

#endif

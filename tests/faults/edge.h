/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The edge between a program and its disk, in the test's own hands: the calls that change files stand in edge.c under
 * their own names, so that SQLite's and the store's go through them alike (a name of the executable comes before that of
 * a library).  What is below the watched directory can be
 *
 *	recorded   every change, in order, with every sync: what a disk was told and when (power.h makes images of it)
 *	failed     the n-th call of a kind gives an error
 *
 * Anything else goes straight to the kernel.
 */
#ifndef FIPMETER_TESTS_EDGE_H
#define FIPMETER_TESTS_EDGE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

enum edge_call { EDGE_OPEN, EDGE_WRITE, EDGE_TRUNCATE, EDGE_SYNC, EDGE_RENAME, EDGE_UNLINK, EDGE_READ, EDGE_CALLS };

enum edge_op { OP_CREATE, OP_WRITE, OP_TRUNCATE, OP_SYNC, OP_RENAME, OP_UNLINK, OP_SYNC_DIRECTORY, OP_SYNC_FAILED, OP_NOTE };

/* One change as the program asked for it. */
struct edge_change {
	enum edge_op op;
	unsigned file;     /* number of a file, from 0: it keeps it under another name */
	int64_t at;        /* OP_WRITE: offset; OP_TRUNCATE: new length; OP_NOTE: the test's own */
	GBytes *data;      /* OP_WRITE */
	char *name, *to;   /* OP_CREATE, OP_RENAME, OP_UNLINK: without the directory */
};

/* From now on directory is watched, until edge_leave(); names are those of files in it, not deeper. */
void edge_watch(const char *directory);
void edge_leave(void);

/* Records from now on.  Files that are there are taken for synced; they come first in the record, as such. */
void edge_record(void);

/* Puts a note of the test between the changes. */
void edge_note(int64_t note);

/* Ends the record; of struct edge_change, the caller unrefs. */
GArray *edge_take_record(void);

/* The n-th call (from 1) of that kind fails with error from now on, and `more` calls of its kind behind it; -1: all. */
void edge_fail(enum edge_call call, unsigned n, unsigned more, int error);

/* Ends that.  Returns how many calls of the kind there were since then, failed ones included. */
unsigned edge_fail_no_more(void);

/* Syncs of watched files are answered without asking a disk: what the record says counts. */
void edge_skip_syncs(bool skip);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See edge.h.  A file is known by device and inode as long as it is open or has a name, so it keeps its number under
 * another name.  The -shm of SQLite is mapped and not written; whatever it holds is gone after a power cut, so it is left
 * out of the record.
 */
#undef _FILE_OFFSET_BITS /* both names of a call are defined here, each as itself */

#include "edge.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FDS_MAX 1024

struct open_file {
	bool watched, directory;
	unsigned file;
};

static struct {
	char *directory; /* NULL: nothing is watched */
	bool recording, skip_syncs;
	GArray *record;
	GHashTable *files; /* "device:inode" -> its number + 1, while recording */
	unsigned n_files;
	struct open_file fds[FDS_MAX];
	/* ---- failing ---- */
	int failing; /* enum edge_call; -1: none */
	unsigned n, more, seen;
	int error;
} edge = { .failing = -1 };

/* ---- who is watched ---- */

/* The name in the watched directory, "" for the directory itself, or NULL. */
static const char *watched_name(const char *path)
{
	size_t length = edge.directory ? strlen(edge.directory) : 0;

	if (!length || !path || strncmp(path, edge.directory, length) || (path[length] && path[length] != '/'))
		return NULL;
	path += length + (path[length] == '/');
	return strchr(path, '/') || g_str_has_suffix(path, "-shm") || g_str_equal(path, "lock") ? NULL : path;
}

static struct open_file *open_file(int fd)
{
	return fd >= 0 && fd < FDS_MAX && edge.directory && edge.fds[fd].watched ? &edge.fds[fd] : NULL;
}

static void forget_files(void)
{
	memset(edge.fds, 0, sizeof edge.fds);
}

void edge_watch(const char *directory)
{
	edge_leave();
	edge.directory = g_strdup(directory);
}

void edge_leave(void)
{
	g_clear_pointer(&edge.directory, g_free);
	edge.failing = -1;
	forget_files();
}

/* ---- recording ---- */

static void clear_change(void *data)
{
	struct edge_change *change = data;

	if (change->data)
		g_bytes_unref(change->data);
	g_free(change->name);
	g_free(change->to);
}

static void add(struct edge_change change)
{
	if (edge.recording)
		g_array_append_val(edge.record, change);
}

static unsigned number_of(const struct stat *file, bool is_new)
{
	char *key = g_strdup_printf("%ju:%ju", (uintmax_t)file->st_dev, (uintmax_t)file->st_ino);
	void *known = is_new ? NULL : g_hash_table_lookup(edge.files, key);

	if (!known) {
		known = GUINT_TO_POINTER(++edge.n_files);
		g_hash_table_replace(edge.files, g_strdup(key), known);
	}
	g_free(key);
	return GPOINTER_TO_UINT(known) - 1;
}

static void record_standing(const char *name)
{
	g_autofree char *path = g_build_filename(edge.directory, name, NULL), *data = NULL;
	struct stat file;
	gsize length;
	unsigned number;

	if (!watched_name(path) || stat(path, &file) < 0 || !S_ISREG(file.st_mode) ||
	    !g_file_get_contents(path, &data, &length, NULL))
		return;
	number = number_of(&file, true);
	add((struct edge_change){ OP_CREATE, number, .name = g_strdup(name) });
	add((struct edge_change){ OP_WRITE, number, .data = g_bytes_new(data, length) });
	add((struct edge_change){ OP_SYNC, number });
	add((struct edge_change){ OP_SYNC_DIRECTORY });
}

void edge_record(void)
{
	g_autoptr(GDir) standing = g_dir_open(edge.directory, 0, NULL);
	const char *name;

	edge.record = g_array_new(FALSE, FALSE, sizeof(struct edge_change));
	g_array_set_clear_func(edge.record, clear_change);
	edge.files = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	edge.n_files = 0;
	edge.recording = true;
	while (standing && (name = g_dir_read_name(standing)))
		record_standing(name);
}

void edge_note(int64_t note)
{
	add((struct edge_change){ OP_NOTE, .at = note });
}

GArray *edge_take_record(void)
{
	edge.recording = false;
	g_clear_pointer(&edge.files, g_hash_table_unref);
	return g_steal_pointer(&edge.record);
}

void edge_skip_syncs(bool skip)
{
	edge.skip_syncs = skip;
}

/* ---- failing ---- */

void edge_fail(enum edge_call call, unsigned n, unsigned more, int error)
{
	edge.failing = call;
	edge.n = n;
	edge.more = more;
	edge.seen = 0;
	edge.error = error;
}

unsigned edge_fail_no_more(void)
{
	edge.failing = -1;
	return edge.seen;
}

static bool fails(enum edge_call call)
{
	if (edge.failing != (int)call || ++edge.seen < edge.n || edge.seen - edge.n > edge.more)
		return false;
	errno = edge.error;
	return true;
}

/* ---- the calls ---- */

static int do_open(const char *path, int flags, mode_t mode)
{
	const char *name = watched_name(path);
	bool existed = name && access(path, F_OK) == 0;
	struct stat file;
	int fd;

	if (name && fails(EDGE_OPEN))
		return -1;
	fd = syscall(SYS_openat, AT_FDCWD, path, flags | O_LARGEFILE, mode);
	if (fd < 0 || fd >= FDS_MAX)
		return fd;
	edge.fds[fd] = (struct open_file){ .watched = name };
	if (!name || fstat(fd, &file) < 0)
		return fd;
	edge.fds[fd].directory = S_ISDIR(file.st_mode);
	if (!edge.recording || edge.fds[fd].directory)
		return fd;
	edge.fds[fd].file = number_of(&file, !existed);
	if (!existed)
		add((struct edge_change){ OP_CREATE, edge.fds[fd].file, .name = g_strdup(name) });
	else if (flags & O_TRUNC)
		add((struct edge_change){ OP_TRUNCATE, edge.fds[fd].file });
	return fd;
}

#define OPEN(name) \
	int name(const char *path, int flags, ...); \
	int name(const char *path, int flags, ...) \
	{ \
		va_list arguments; \
		mode_t mode; \
\
		va_start(arguments, flags); \
		mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0; \
		va_end(arguments); \
		return do_open(path, flags, mode); \
	}

OPEN(open)
OPEN(open64)

int close(int fd)
{
	if (fd >= 0 && fd < FDS_MAX)
		edge.fds[fd].watched = false;
	return syscall(SYS_close, fd);
}

static void note_write(int fd, const void *data, ssize_t length, int64_t at)
{
	struct open_file *of = open_file(fd);

	if (!of || length <= 0)
		return;
	if (edge.recording)
		add((struct edge_change){ OP_WRITE, of->file, at, g_bytes_new(data, length) });
}

ssize_t write(int fd, const void *data, size_t length)
{
	int64_t at = open_file(fd) && edge.recording ? lseek(fd, 0, SEEK_CUR) : 0;
	ssize_t written;

	if (open_file(fd) && fails(EDGE_WRITE))
		return -1;
	written = syscall(SYS_write, fd, data, length);
	note_write(fd, data, written, at);
	return written;
}

static ssize_t do_pwrite(int fd, const void *data, size_t length, int64_t at)
{
	ssize_t written;

	if (open_file(fd) && fails(EDGE_WRITE))
		return -1;
	written = syscall(SYS_pwrite64, fd, data, length, at);
	note_write(fd, data, written, at);
	return written;
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t at)
{
	return do_pwrite(fd, data, length, at);
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t at)
{
	return do_pwrite(fd, data, length, at);
}

static ssize_t do_pread(int fd, void *data, size_t length, int64_t at)
{
	return open_file(fd) && fails(EDGE_READ) ? -1 : syscall(SYS_pread64, fd, data, length, at);
}

ssize_t pread(int fd, void *data, size_t length, off_t at)
{
	return do_pread(fd, data, length, at);
}

ssize_t pread64(int fd, void *data, size_t length, off64_t at)
{
	return do_pread(fd, data, length, at);
}

static int do_truncate(int fd, int64_t length)
{
	struct open_file *of = open_file(fd);

	if (of && fails(EDGE_TRUNCATE))
		return -1;
	if (syscall(SYS_ftruncate, fd, length) < 0)
		return -1;
	if (of && edge.recording)
		add((struct edge_change){ OP_TRUNCATE, of->file, length });
	return 0;
}

int ftruncate(int fd, off_t length)
{
	return do_truncate(fd, length);
}

int ftruncate64(int fd, off64_t length)
{
	return do_truncate(fd, length);
}

static int do_sync(int fd, long number)
{
	struct open_file *of = open_file(fd);

	if (of && fails(EDGE_SYNC)) {
		if (!of->directory)
			add((struct edge_change){ OP_SYNC_FAILED, of->file });
		return -1;
	}
	if (!(of && edge.skip_syncs) && syscall(number, fd) < 0)
		return -1;
	if (of && edge.recording)
		add((struct edge_change){ of->directory ? OP_SYNC_DIRECTORY : OP_SYNC, of->file });
	return 0;
}

int fsync(int fd)
{
	return do_sync(fd, SYS_fsync);
}

int fdatasync(int fd)
{
	return do_sync(fd, SYS_fdatasync);
}

int rename(const char *from, const char *to)
{
	const char *name = watched_name(from), *new_name = watched_name(to);

	if (name && fails(EDGE_RENAME))
		return -1;
	if (syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0) < 0)
		return -1;
	if (name && new_name)
		add((struct edge_change){ OP_RENAME, .name = edge.recording ? g_strdup(name) : NULL,
		                          .to = edge.recording ? g_strdup(new_name) : NULL });
	return 0;
}

int unlink(const char *path)
{
	const char *name = watched_name(path);

	if (name && fails(EDGE_UNLINK))
		return -1;
	if (syscall(SYS_unlinkat, AT_FDCWD, path, 0) < 0)
		return -1;
	if (name)
		add((struct edge_change){ OP_UNLINK, .name = edge.recording ? g_strdup(name) : NULL });
	return 0;
}

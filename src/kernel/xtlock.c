/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See xtlock.h.
 */
#include "kernel/xtlock.h"

#include "kernel/lock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OWN_LOCK "/run/xtables.lock"
#define L3_AGENT "neutron-l3-agent"
#define WORDS 3                 /* of a command line that are looked at: the interpreter, its option, the script */
#define PID_INIT_INO 0xEFFFFFFC /* the PID namespace of the host: include/linux/proc_ns.h, PROC_PID_INIT_INO */

struct file {
	char *path;
	int fd;
	dev_t device;
	ino_t inode;
};

struct xtlock {
	GPtrArray *files; /* of struct file *, in the order in which they are taken */
};

static void file_free(void *data)
{
	struct file *file = data;

	if (file->fd >= 0)
		close(file->fd); /* gives the lock up */
	g_free(file->path);
	g_free(file);
}

/* ---- which files ---- */

static bool is_l3_agent(const char *pid)
{
	g_autofree char *path = g_strconcat("/proc/", pid, "/cmdline", NULL), *line = NULL;
	size_t length = 0, at = 0;

	if (!g_file_get_contents(path, &line, &length, NULL))
		return false;
	for (unsigned i = 0; i < WORDS && at < length; i++) {
		g_autofree char *name = g_path_get_basename(line + at);

		if (g_str_equal(name, L3_AGENT))
			return true;
		at += strlen(line + at) + 1; /* g_file_get_contents() ends it with a NUL */
	}
	return false;
}

/* The locks that l3-agents see, by their own root directories. */
static bool add_l3_agents(GPtrArray *paths, GError **error)
{
	DIR *dir = opendir("/proc");
	struct stat self;
	struct dirent *entry;

	if (!dir || stat("/proc/self/ns/pid", &self) < 0) {
		g_set_error(error, XTLOCK_ERROR, XTLOCK_ERROR_UNKNOWN, "cannot look for the l3-agent in /proc: %s",
		            g_strerror(errno));
		if (dir)
			closedir(dir);
		return false;
	}
	while ((entry = readdir(dir)))
		if (g_ascii_isdigit(entry->d_name[0]) && is_l3_agent(entry->d_name))
			g_ptr_array_add(paths, g_strdup_printf("/proc/%s/root" OWN_LOCK, entry->d_name));
	closedir(dir);
	if (paths->len > 1 || self.st_ino == PID_INIT_INO)
		return true;
	g_set_error(error, XTLOCK_ERROR, XTLOCK_ERROR_UNKNOWN,
	            "cannot see the processes of the host, so not which xtables.lock the l3-agent uses: share its PID "
	            "namespace, or set [agent] xtables_lock");
	return false;
}

static struct file *open_file(const char *path, GError **error)
{
	struct file *file = g_new0(struct file, 1);
	struct stat status;

	file->path = g_strdup(path);
	file->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (file->fd >= 0 && fstat(file->fd, &status) == 0) {
		file->device = status.st_dev;
		file->inode = status.st_ino;
		return file;
	}
	g_set_error(error, XTLOCK_ERROR, XTLOCK_ERROR_UNKNOWN,
	            "cannot open the lock of legacy tables %s: %s (is it the one that the l3-agent sees? else set [agent] "
	            "xtables_lock)", path, g_strerror(errno));
	file_free(file);
	return NULL;
}

static bool is_among(const GPtrArray *files, const struct file *file)
{
	for (unsigned i = 0; i < files->len; i++) {
		const struct file *other = files->pdata[i];

		if (other->device == file->device && other->inode == file->inode)
			return true;
	}
	return false;
}

static int compare_files(const void *a, const void *b)
{
	const struct file *first = *(struct file *const *)a, *second = *(struct file *const *)b;

	if (first->device != second->device)
		return first->device < second->device ? -1 : 1;
	return first->inode < second->inode ? -1 : first->inode > second->inode;
}

/* Of all that are to be locked. */
static GPtrArray *lock_paths(const char *configured, GError **error)
{
	g_autoptr(GPtrArray) paths = g_ptr_array_new_with_free_func(g_free);

	g_ptr_array_add(paths, g_strdup(OWN_LOCK));
	if (configured)
		g_ptr_array_add(paths, g_strdup(configured));
	else if (!add_l3_agents(paths, error))
		return NULL;
	return g_steal_pointer(&paths);
}

/* Opened, each once, in the order in which everybody should take them.  NULL on failure. */
static GPtrArray *open_files(const char *configured, GError **error)
{
	g_autoptr(GPtrArray) paths = lock_paths(configured, error);
	g_autoptr(GPtrArray) files = g_ptr_array_new_with_free_func(file_free);

	if (!paths)
		return NULL;
	for (unsigned i = 0; i < paths->len; i++) {
		struct file *file = open_file(paths->pdata[i], error);

		if (!file)
			return NULL;
		if (is_among(files, file))
			file_free(file);
		else
			g_ptr_array_add(files, file);
	}
	g_ptr_array_sort(files, compare_files);
	return g_steal_pointer(&files);
}

/* ---- taking them ---- */

static bool lock_file(const struct file *file, int64_t deadline_us, GError **error)
{
	if (lock_wait(file->fd, deadline_us))
		return true;
	if (errno == EWOULDBLOCK)
		g_set_error(error, XTLOCK_ERROR, XTLOCK_ERROR_HELD, "the lock of legacy tables %s is held by others", file->path);
	else
		g_set_error(error, XTLOCK_ERROR, XTLOCK_ERROR_UNKNOWN, "cannot lock %s: %s", file->path, g_strerror(errno));
	return false;
}

struct xtlock *xtlock_take(const char *configured, unsigned timeout_ms, GError **error)
{
	int64_t deadline_us = g_get_monotonic_time() + timeout_ms * INT64_C(1000);
	GPtrArray *files = open_files(configured, error);
	struct xtlock *lock;

	for (unsigned i = 0; files && i < files->len; i++)
		if (!lock_file(files->pdata[i], deadline_us, error))
			g_clear_pointer(&files, g_ptr_array_unref);
	if (!files)
		return NULL;
	lock = g_new(struct xtlock, 1);
	lock->files = files;
	return lock;
}

void xtlock_release(struct xtlock *lock)
{
	if (!lock)
		return;
	g_ptr_array_unref(lock->files);
	g_free(lock);
}

char *xtlock_describe(const char *configured, GError **error)
{
	g_autoptr(GPtrArray) files = open_files(configured, error);
	GString *text;

	if (!files)
		return NULL;
	text = g_string_new(NULL);
	for (unsigned i = 0; i < files->len; i++)
		g_string_append_printf(text, "%s%s", i ? ", " : "", ((struct file *)files->pdata[i])->path);
	return g_string_free(text, FALSE);
}

/* ---- looking ---- */

static void listed_free(void *data)
{
	g_free(((struct xtlock_file *)data)->path);
	g_free(data);
}

static struct xtlock_file *look_at(const char *path, GError **error)
{
	g_autofree char *directory = g_path_get_dirname(path);
	struct xtlock_file *file;
	struct stat status;

	if (stat(path, &status) < 0 && (errno != ENOENT || stat(directory, &status) < 0)) {
		g_set_error(error, XTLOCK_ERROR, XTLOCK_ERROR_UNKNOWN, "the lock of legacy tables %s: %s", path,
		            g_strerror(errno));
		return NULL;
	}
	file = g_new0(struct xtlock_file, 1);
	file->path = g_strdup(path);
	file->device = status.st_dev;
	file->inode = status.st_ino;
	if (g_str_has_prefix(path, "/proc/"))
		file->pid = atol(path + strlen("/proc/"));
	return file;
}

GPtrArray *xtlock_list(const char *configured, GError **error)
{
	g_autoptr(GPtrArray) paths = lock_paths(configured, error);
	g_autoptr(GPtrArray) files = g_ptr_array_new_with_free_func(listed_free);

	for (unsigned i = 0; paths && i < paths->len; i++) {
		struct xtlock_file *file = look_at(paths->pdata[i], error);

		if (!file)
			return NULL;
		g_ptr_array_add(files, file);
	}
	return paths ? g_steal_pointer(&files) : NULL;
}

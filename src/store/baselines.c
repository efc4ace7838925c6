/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See baselines.h.  A file is believed when its checksum is right; every index and length in it is checked
 * nevertheless.
 */
#include "store/baselines.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "store/store.h"

#define MAGIC "fipmeter-base 1" /* with its NUL; another layout is another number */
#define GENERATION_TYPE "(ayayayayayuxxxx)"
#define HEAD_TYPE "(sxxaaya" GENERATION_TYPE ")" /* store, commits, last seq, classes, generations */
#define RECORDS_AT_ONCE 1024
#define SHA256_LEN 32
#define FIRST_COMMIT 1 /* of a new store: the second file comes with the next one */

struct header {
	char magic[16];
	uint8_t checksum[SHA256_LEN]; /* of what follows it, to the end of the file */
	uint64_t head_len;            /* of the GVariant; padded with zeros to a multiple of 8 */
	uint64_t records;
};

struct record {
	uint32_t generation, class_index, kind, address, fixed, flags;
	struct instant last_at;
	struct counts last;
};

G_STATIC_ASSERT(sizeof(struct header) == 64 && sizeof(struct record) == 72);

#define AFTER_CHECKSUM offsetof(struct header, head_len)

void baselines_free(struct baselines *baselines)
{
	if (!baselines)
		return;
	g_free(baselines->store);
	g_ptr_array_unref(baselines->generations);
	g_ptr_array_unref(baselines->meters);
	g_free(baselines);
}

static struct baselines *baselines_new(void)
{
	struct baselines *baselines = g_new0(struct baselines, 1);

	baselines->generations = g_ptr_array_new_with_free_func((GDestroyNotify)generation_unref);
	baselines->meters = g_ptr_array_new_with_free_func((GDestroyNotify)meter_free);
	return baselines;
}

struct baselines *baselines_of(const char *store, int64_t commits, int64_t last_seq, const GPtrArray *meters)
{
	g_autoptr(GHashTable) generations = g_hash_table_new(g_direct_hash, g_direct_equal);
	struct baselines *baselines = baselines_new();

	baselines->store = g_strdup(store);
	baselines->commits = commits;
	baselines->last_seq = last_seq;
	for (unsigned i = 0; i < meters->len; i++) {
		const struct meter *meter = meters->pdata[i];

		if (g_hash_table_add(generations, meter->of))
			g_ptr_array_add(baselines->generations, generation_ref(meter->of));
		g_ptr_array_add(baselines->meters, meter_copy(meter));
	}
	return baselines;
}

static char *file_path(const char *directory, unsigned turn)
{
	return g_strdup_printf("%s/baselines.%u", directory, turn);
}

/* ---- writing ---- */

/* What meters share, and the number of each. */
struct shared {
	GPtrArray *generations, *classes;
	GHashTable *numbers; /* of either, by pointer: both live as long as the meters, class names are interned */
};

/* Most meters share theirs with the one before. */
static uint32_t number_of(struct shared *shared, GPtrArray *list, uint32_t last, const void *item)
{
	void *number;

	if (last < list->len && list->pdata[last] == item)
		return last;
	if (g_hash_table_lookup_extended(shared->numbers, item, NULL, &number))
		return GPOINTER_TO_UINT(number);
	g_hash_table_insert(shared->numbers, (void *)item, GUINT_TO_POINTER(list->len));
	g_ptr_array_add(list, (void *)item);
	return list->len - 1;
}

static void shared_init(struct shared *shared, const GPtrArray *meters)
{
	uint32_t generation = 0, class_index = 0;

	shared->generations = g_ptr_array_new();
	shared->classes = g_ptr_array_new();
	shared->numbers = g_hash_table_new(g_direct_hash, g_direct_equal);
	for (unsigned i = 0; i < meters->len; i++) {
		const struct meter *meter = meters->pdata[i];

		generation = number_of(shared, shared->generations, generation, meter->of);
		class_index = number_of(shared, shared->classes, class_index, meter->key.class_name);
	}
}

static void shared_clear(struct shared *shared)
{
	g_ptr_array_unref(shared->generations);
	g_ptr_array_unref(shared->classes);
	g_hash_table_unref(shared->numbers);
}

static GVariant *make_head(const struct shared *shared, const char *store, int64_t commits, int64_t last_seq)
{
	GVariantBuilder generations;
	GVariant *classes;

	g_variant_builder_init(&generations, G_VARIANT_TYPE("a" GENERATION_TYPE));
	for (unsigned i = 0; i < shared->generations->len; i++) {
		const struct generation *of = shared->generations->pdata[i];

		g_variant_builder_add(&generations, "(^ay^ay^ay^ay^ayuxxxx)", of->tag, of->boot, of->node, of->ns,
		                      of->router, of->basis, of->made_at.utc_us, of->made_at.boot_us,
		                      of->read_at.utc_us, of->read_at.boot_us);
	}
	classes = g_variant_new_bytestring_array((const char *const *)shared->classes->pdata, shared->classes->len);
	return g_variant_ref_sink(g_variant_new("(sxx@aaya" GENERATION_TYPE ")", store, commits, last_seq, classes,
	                                        &generations));
}

struct writer {
	int fd;
	GChecksum *checksum;
};

static bool put(struct writer *writer, const void *data, size_t length)
{
	const char *at = data;

	g_checksum_update(writer->checksum, data, length);
	while (length) {
		ssize_t written = write(writer->fd, at, length);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return false;
		at += written;
		length -= written;
	}
	return true;
}

static bool put_records(struct writer *writer, struct shared *shared, const GPtrArray *meters)
{
	g_autofree struct record *records = g_new(struct record, RECORDS_AT_ONCE);
	uint32_t generation = 0, class_index = 0;
	unsigned n = 0;

	for (unsigned i = 0; i < meters->len; i++) {
		const struct meter *meter = meters->pdata[i];

		generation = number_of(shared, shared->generations, generation, meter->of);
		class_index = number_of(shared, shared->classes, class_index, meter->key.class_name);
		records[n++] = (struct record){
			.generation = generation, .class_index = class_index,
			.kind = meter->key.kind, .address = meter->key.address, .fixed = meter->fixed,
			.flags = meter->flags, .last_at = meter->last_at, .last = meter->last,
		};
		if (n == RECORDS_AT_ONCE || i + 1 == meters->len) {
			if (!put(writer, records, n * sizeof *records))
				return false;
			n = 0;
		}
	}
	return true;
}

/* All of the file into fd, durable. */
static bool put_file(int fd, GVariant *head, struct shared *shared, const GPtrArray *meters)
{
	static const char padding[8];
	g_autoptr(GChecksum) checksum = g_checksum_new(G_CHECKSUM_SHA256);
	struct writer writer = { .fd = fd, .checksum = checksum };
	struct header header = { .magic = MAGIC, .head_len = g_variant_get_size(head), .records = meters->len };
	size_t length = sizeof header.checksum;

	/* The checksum's place is filled when it is known; what stands before it is not in it. */
	if (lseek(fd, AFTER_CHECKSUM, SEEK_SET) < 0 ||
	    !put(&writer, &header.head_len, sizeof header - AFTER_CHECKSUM) ||
	    !put(&writer, g_variant_get_data(head), header.head_len) ||
	    !put(&writer, padding, -header.head_len % sizeof padding) || !put_records(&writer, shared, meters))
		return false;
	g_checksum_get_digest(checksum, header.checksum, &length);
	return pwrite(fd, &header, AFTER_CHECKSUM, 0) == AFTER_CHECKSUM && fsync(fd) == 0;
}

static bool replace(const char *from, const char *to, const char *directory)
{
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool done = fd >= 0 && rename(from, to) == 0 && fsync(fd) == 0;
	int failure = errno;

	if (fd >= 0)
		close(fd);
	errno = failure;
	return done;
}

static bool write_file(const char *directory, const char *path, GVariant *head, struct shared *shared,
                       const GPtrArray *meters)
{
	g_autofree char *temporary = g_strdup_printf("%s/baselines.new", directory);
	int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0640), failure;
	bool done = fd >= 0 && put_file(fd, head, shared, meters);

	failure = errno;
	if (fd >= 0 && close(fd) < 0 && done) {
		failure = errno;
		done = false;
	}
	if (done && !replace(temporary, path, directory)) {
		failure = errno;
		done = false;
	}
	if (!done)
		unlink(temporary);
	errno = failure;
	return done;
}

bool baselines_save(const char *directory, unsigned turn, const char *store, int64_t commits, int64_t last_seq,
                    const GPtrArray *meters, GError **error)
{
	g_autofree char *path = file_path(directory, turn);
	g_autoptr(GVariant) head = NULL;
	struct shared shared;
	bool done;

	shared_init(&shared, meters);
	head = make_head(&shared, store, commits, last_seq);
	done = write_file(directory, path, head, &shared, meters);
	if (!done)
		g_set_error(error, STORE_ERROR, STORE_ERROR_FAILED, "%s: %s%s", path, g_strerror(errno),
		            errno == ENOSPC || errno == EDQUOT ? " (make room in the file system)" : "");
	shared_clear(&shared);
	return done;
}

/* ---- reading ---- */

static bool is_whole(const char *data, size_t length, struct header *header)
{
	g_autoptr(GChecksum) checksum = g_checksum_new(G_CHECKSUM_SHA256);
	uint8_t digest[SHA256_LEN];
	size_t digest_length = sizeof digest, rest;

	if (length < sizeof *header)
		return false;
	memcpy(header, data, sizeof *header);
	rest = length - sizeof *header;
	if (memcmp(header->magic, MAGIC, sizeof header->magic) != 0 || header->head_len > rest ||
	    -header->head_len % 8 > rest - header->head_len)
		return false;
	rest -= header->head_len + -header->head_len % 8;
	if (rest % sizeof(struct record) != 0 || rest / sizeof(struct record) != header->records)
		return false;
	g_checksum_update(checksum, (const guchar *)data + AFTER_CHECKSUM, length - AFTER_CHECKSUM);
	g_checksum_get_digest(checksum, digest, &digest_length);
	return memcmp(digest, header->checksum, sizeof digest) == 0;
}

static void take_generations(struct baselines *baselines, GVariant *generations)
{
	GVariantIter each;
	const char *tag, *boot, *node, *ns, *router;
	struct instant made_at, read_at;
	uint32_t basis;

	g_variant_iter_init(&each, generations);
	while (g_variant_iter_next(&each, "(^&ay^&ay^&ay^&ay^&ayuxxxx)", &tag, &boot, &node, &ns, &router, &basis,
	                           &made_at.utc_us, &made_at.boot_us, &read_at.utc_us, &read_at.boot_us)) {
		struct generation *of = generation_new(tag, boot, node, ns, router, (enum basis)MIN(basis, BASIS_WIRE_SENT));

		of->made_at = made_at;
		of->read_at = read_at;
		g_ptr_array_add(baselines->generations, of);
	}
}

static bool take_meter(struct baselines *baselines, const char *const *classes, uint32_t n_classes,
                       const struct record *record)
{
	struct meter *meter;

	if (record->generation >= baselines->generations->len || record->class_index >= n_classes ||
	    record->kind > KIND_UNATTRIBUTED)
		return false;
	meter = g_new0(struct meter, 1);
	meter->of = generation_ref(baselines->generations->pdata[record->generation]);
	meter->key.kind = (enum kind)record->kind;
	meter->key.address = record->address;
	meter->key.class_name = g_intern_string(classes[record->class_index]);
	meter->fixed = record->fixed;
	meter->flags = record->flags;
	meter->first_at = meter->last_at = record->last_at;
	meter->first = meter->last = record->last;
	g_ptr_array_add(baselines->meters, meter);
	return true;
}

struct file {
	char *data;
	struct header header;
	GVariant *head;  /* lies in data */
	int64_t commits;
};

static void file_clear(struct file *file)
{
	g_clear_pointer(&file->head, g_variant_unref);
	g_clear_pointer(&file->data, g_free);
}

/* False where there is none that is whole. */
static bool read_file(const char *path, struct file *file)
{
	size_t length;

	*file = (struct file){ 0 };
	if (g_file_get_contents(path, &file->data, &length, NULL) && is_whole(file->data, length, &file->header)) {
		file->head = g_variant_ref_sink(g_variant_new_from_data(G_VARIANT_TYPE(HEAD_TYPE), file->data + sizeof file->header,
		                                                        file->header.head_len, FALSE, NULL, NULL));
		g_variant_get_child(file->head, 1, "x", &file->commits);
		if (g_variant_is_normal_form(file->head))
			return true;
	}
	file_clear(file);
	return false;
}

static struct baselines *parse(const struct file *file)
{
	const char *records = file->data + sizeof file->header + file->header.head_len + -file->header.head_len % 8;
	g_autoptr(GVariant) generations = g_variant_get_child_value(file->head, 4);
	g_autoptr(GVariant) names = g_variant_get_child_value(file->head, 3);
	g_autofree const char **classes = NULL;
	struct baselines *baselines = baselines_new();
	size_t n_classes;

	classes = g_variant_get_bytestring_array(names, &n_classes);
	g_variant_get(file->head, "(sxx@aay@a" GENERATION_TYPE ")", &baselines->store, &baselines->commits,
	              &baselines->last_seq, NULL, NULL);
	take_generations(baselines, generations);
	for (uint64_t i = 0; i < file->header.records; i++) {
		struct record record;

		memcpy(&record, records + i * sizeof record, sizeof record);
		if (!take_meter(baselines, classes, n_classes, &record)) {
			baselines_free(baselines);
			return NULL;
		}
	}
	return baselines;
}

/* Of two that are whole the meters of the newer one alone are taken: there may be very many. */
struct baselines *baselines_load(const char *directory, bool *damaged)
{
	struct file files[2];
	struct baselines *newest = NULL;
	unsigned n = 0, turn = 0;

	*damaged = false;
	for (unsigned i = 0; i < 2; i++) {
		g_autofree char *path = file_path(directory, i);
		bool is_there = read_file(path, &files[i]);

		n += is_there;
		*damaged |= !is_there && access(path, F_OK) == 0;
		if (is_there && (!files[turn].data || files[i].commits > files[turn].commits))
			turn = i;
	}
	for (unsigned i = 0; i < 2 && !newest && files[turn].data; i++, turn = !turn) {
		newest = parse(&files[turn]);
		if (newest) {
			newest->turn = turn;
			newest->uncertain = n == 1 && newest->commits > FIRST_COMMIT;
		} else {
			*damaged = true;
			n--;
		}
	}
	file_clear(&files[0]);
	file_clear(&files[1]);
	return newest;
}

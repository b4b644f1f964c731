/* SPDX-License-Identifier: MIT */
/*
 * checkpoint_write.c - saving both indexes: see checkpoint.h. The file gets its name when all of it is durable; the one
 * before it is there until then.
 */
#include "checkpoint.h"

#include <errno.h>
#include <stdlib.h>

#include "cold.h"
#include "snapshot.h"

#define BUFFER_CHUNKS 16u
/* A log of less behind the last checkpoint is replayed in no time. */
#define BEHIND_DIVISOR 4u /* of a segment */

struct writer {
	struct kv *kv;
	struct env_file *file;
	struct format_checkpoint header;
	uint64_t *sums;
	size_t sums_room;
	uint64_t chunk; /* that the buffer begins with */
	size_t used;	/* bytes */
	uint8_t *buffer; /* BUFFER_CHUNKS chunks */
};

/* ---- chunks ---------------------------------------------------------------------------------- */

static int keep_sum(struct writer *writer, uint64_t chunk, const uint8_t *bytes)
{
	uint64_t *sums;

	if (chunk == writer->sums_room) {
		sums = realloc(writer->sums, (writer->sums_room * 2 + 64) * sizeof(*sums));
		if (!sums)
			return -ENOMEM;
		writer->sums = sums;
		writer->sums_room = writer->sums_room * 2 + 64;
	}
	writer->sums[chunk] = format_sum(bytes, FORMAT_CHECKPOINT_CHUNK);
	return 0;
}

/* Hands the buffer to the file; the last chunk is filled up. */
static int drain(struct writer *writer)
{
	size_t chunks = (writer->used + FORMAT_CHECKPOINT_CHUNK - 1) / FORMAT_CHECKPOINT_CHUNK;
	size_t size = chunks * FORMAT_CHECKPOINT_CHUNK, i;
	int error = 0;

	if (!chunks)
		return 0;
	memset(writer->buffer + writer->used, 0, size - writer->used);
	for (i = 0; i < chunks && !error; i++)
		error = keep_sum(writer, writer->chunk + i,
				 writer->buffer + i * FORMAT_CHECKPOINT_CHUNK);
	if (!error)
		error = writer->kv->env->file_write(writer->file, writer->buffer, size,
						    (1 + writer->chunk) * FORMAT_CHECKPOINT_CHUNK,
						    false);
	writer->chunk += chunks;
	writer->used = 0;
	return error;
}

static int put(struct writer *writer, const void *data, size_t size)
{
	const uint8_t *from = data;
	int error = 0;

	while (size && !error) {
		size_t room = BUFFER_CHUNKS * FORMAT_CHECKPOINT_CHUNK - writer->used;
		size_t part = size < room ? size : room;

		memcpy(writer->buffer + writer->used, from, part);
		writer->used += part;
		from += part;
		size -= part;
		if (part == room)
			error = drain(writer);
	}
	return error;
}

static void section_begin(struct writer *writer, struct format_checkpoint_section *section)
{
	section->chunk = writer->chunk;
	section->size = 0;
}

static int section_put(struct writer *writer, struct format_checkpoint_section *section,
		       const void *data, size_t size)
{
	section->size += size;
	return put(writer, data, size);
}

/* ---- sections -------------------------------------------------------------------------------- */

/* Prepared and not yet used ones are none of the log's. */
static bool is_of_log(const struct kv *kv, const struct segment *segment)
{
	return segment && segment->id &&
	       (segment->sealed || segment == kv->log.hot.active || segment == kv->cold.active);
}

static int put_segments(struct writer *writer)
{
	struct kv *kv = writer->kv;
	struct format_checkpoint_section *section = &writer->header.segments;
	uint32_t slot, count = atomic_load(&kv->segments.count);
	int error = 0;

	section_begin(writer, section);
	for (slot = 0; slot < count && !error; slot++) {
		const struct segment *segment = kv->segments.table[slot];
		struct format_checkpoint_segment entry = {.slot = slot};

		if (!is_of_log(kv, segment))
			continue;
		entry.id = segment->id;
		entry.salt = segment->salt;
		entry.end = segment == kv->log.hot.active ? kv->log.hot.offset : segment->end;
		entry.live_bytes = atomic_load(&segment->live_bytes);
		entry.tombstone_bytes = segment->tombstone_bytes;
		entry.newest_seq = segment->newest_seq;
		memcpy(entry.dictionaries, segment->dictionaries, sizeof(entry.dictionaries));
		entry.sealed = segment != kv->log.hot.active && segment != kv->cold.active;
		error = section_put(writer, section, &entry, sizeof(entry));
		writer->header.segment_count++;
	}
	return error ? error : drain(writer);
}

static int put_index(struct writer *writer)
{
	struct format_checkpoint *header = &writer->header;
	const struct index_table *table;
	uint64_t size;
	int error;

	table = index_image(&writer->kv->index, &size);
	if (!table)
		return -ENOMEM;
	header->index_buckets = table->count;
	header->index_entries = atomic_load(&writer->kv->index.entries);
	section_begin(writer, &header->index);
	error = section_put(writer, &header->index, table->buckets, size);
	return error ? error : drain(writer);
}

static size_t shared_size(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size)
{
	size_t size = 0;

	while (size < a_size && size < b_size && a[size] == b[size])
		size++;
	return size;
}

static int put_entries(struct writer *writer, struct format_checkpoint_section *section,
		       struct order_walk *walk, uint8_t *last)
{
	size_t last_size = 0, key_size;
	int error = order_walk_first(walk);

	while (!error) {
		const uint8_t *key = order_walk_key(walk, &key_size);
		size_t shared = shared_size(last, last_size, key, key_size);
		struct format_checkpoint_entry entry = {.shared = (uint16_t)shared,
							.rest = (uint16_t)(key_size - shared),
							.address = order_walk_address(walk)};

		error = section_put(writer, section, &entry, sizeof(entry));
		if (!error)
			error = section_put(writer, section, key + shared, key_size - shared);
		memcpy(last, key, key_size);
		last_size = key_size;
		if (!error)
			error = order_walk_next(walk);
	}
	return error == -ENOENT ? drain(writer) : error;
}

static int put_order(struct writer *writer, unsigned keyspace)
{
	struct format_checkpoint_section *section = &writer->header.orders[keyspace];
	struct order *order = writer->kv->order_of[keyspace];
	struct order_walk *walk = NULL;
	uint8_t *last;
	int error;

	section_begin(writer, section);
	if (!order)
		return 0;
	last = malloc(KV_KEY_SIZE_MAX);
	error = last ? order_walk_new(order, &walk) : -ENOMEM;
	if (!error)
		error = put_entries(writer, section, walk, last);
	order_walk_free(walk);
	free(last);
	return error;
}

static void fill_header(struct writer *writer)
{
	struct format_checkpoint *header = &writer->header;
	const struct kv *kv = writer->kv;
	unsigned i;

	memcpy(header->uuid, kv->segments.uuid, sizeof(header->uuid));
	header->last_seq = atomic_load(&kv->log.last_seq);
	header->log_bytes = atomic_load(&kv->log_bytes);
	header->live_bytes = atomic_load(&kv->live_bytes);
	header->tombstone_bytes = kv->tombstone_bytes;
	for (i = 0; i < FORMAT_KEYSPACES; i++)
		header->keys[i] = atomic_load(&kv->keys[i]);
}

/* The sums, and then what makes them count. */
static int finish(struct writer *writer)
{
	struct format_checkpoint *header = &writer->header;
	const struct kv_env *env = writer->kv->env;
	size_t size = writer->chunk * sizeof(*writer->sums);
	int error;

	header->chunks = writer->chunk;
	header->sums_check = format_sum(writer->sums, size);
	format_checkpoint_seal(header);
	error = env->file_write(writer->file, writer->sums, size,
				(1 + writer->chunk) * FORMAT_CHECKPOINT_CHUNK, false);
	if (!error)
		error = env->file_write(writer->file, header, sizeof(*header), 0, true);
	return error;
}

static int write_file(struct writer *writer)
{
	unsigned i;
	int error;

	fill_header(writer);
	error = put_segments(writer);
	if (!error)
		error = put_index(writer);
	for (i = 0; i < FORMAT_KEYSPACES && !error; i++)
		error = put_order(writer, i);
	return error ? error : finish(writer);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static int save(struct kv *kv)
{
	struct writer writer = {.kv = kv};
	int error;

	(void)kv->env->unlink(kv->dir, FORMAT_CHECKPOINT_NEW_NAME);
	error = kv->env->file_open(kv->dir, FORMAT_CHECKPOINT_NEW_NAME, ENV_CREATE, &writer.file);
	if (error)
		return error;
	writer.buffer = malloc(BUFFER_CHUNKS * FORMAT_CHECKPOINT_CHUNK);
	error = writer.buffer ? write_file(&writer) : -ENOMEM;
	free(writer.buffer);
	free(writer.sums);
	kv->env->file_close(writer.file);
	if (!error)
		error = kv->env->rename(kv->dir, FORMAT_CHECKPOINT_NEW_NAME, FORMAT_CHECKPOINT_NAME);
	if (error)
		(void)kv->env->unlink(kv->dir, FORMAT_CHECKPOINT_NEW_NAME);
	return error ? error : kv->env->dir_sync(kv->dir);
}

/* Bytes that opening would have to replay. */
static uint64_t behind(const struct kv *kv)
{
	return kv->recovered_bytes + atomic_load(&kv->appended_bytes) +
	       atomic_load(&kv->relocated_bytes);
}

void checkpoint_write(struct kv *kv)
{
	int error;

	/* It does not hold versions: a store with snapshots is replayed. */
	if (kv->snapshots.count || atomic_load(&kv->versions.count))
		return;
	if (kv->info.read_only || atomic_load(&kv->failed) || !kv->indexes_whole ||
	    atomic_load(&kv->index.failed) ||
	    behind(kv) < kv->segments.size / BEHIND_DIVISOR)
		return;
	/* Deletions of snapshots that stand before it are not replayed any more. */
	error = snapshots_save_all(kv);
	/* What compaction has copied lately nobody has waited for: it must be where the indexes say. */
	if (!error)
		error = cold_flush(kv);
	if (!error)
		error = save(kv);
	/* Only the next opening takes longer. */
	if (error)
		store_report(kv, KV_INFO, "no checkpoint was written: %s", strerror(-error));
}

/* SPDX-License-Identifier: MIT */
/* batch.c - see batch.h. */
#include "batch.h"

#include <errno.h>
#include <stdlib.h>
#include <zstd.h>

#include "compress.h"
#include "log.h"
#include "prefetch.h"

/* Shorter values are copied at once: remembering where they are costs as much. */
#define LEND_SIZE_MIN 1024u

int kv_batch_new(struct kv *kv, struct kv_batch **out)
{
	struct kv_batch *batch = calloc(1, sizeof(*batch));

	if (!batch)
		return -ENOMEM;
	batch->kv = kv;
	*out = batch;
	return 0;
}

void kv_batch_free(struct kv_batch *batch)
{
	if (!batch)
		return;
	ZSTD_freeCCtx(batch->compressor);
	conditions_fini(&batch->conditions);
	free(batch->bytes);
	free(batch->entries);
	free(batch);
}

void kv_batch_reset(struct kv_batch *batch)
{
	/* Mostly there is nothing to do, as a commit empties the batch. */
	if (batch->count)
		batch_clear(batch);
	else
		batch_clear_all_but_keys(batch);
}

void kv_batch_set_frees(struct kv_batch *batch)
{
	batch->purpose = LOG_FREES;
}

size_t kv_batch_count(const struct kv_batch *batch)
{
	return batch->count;
}

/* Makes room for one more record: so many bytes in the log, so many here. */
static int grow(struct kv_batch *batch, size_t record_size, size_t bytes_size)
{
	size_t needed = batch->used + bytes_size;
	size_t capacity = batch->capacity ? batch->capacity : 4096;
	uint8_t *bytes;

	if (batch->size + record_size > log_batch_size_max(batch->kv->info.segment_size))
		return -E2BIG;
	if (batch->count == batch->entries_capacity) {
		unsigned more = batch->count ? batch->count * 2 : 16;
		struct batch_entry *entries = realloc(batch->entries, more * sizeof(*entries));

		if (!entries)
			return -ENOMEM;
		batch->entries = entries;
		batch->entries_capacity = more;
	}
	if (needed <= batch->capacity)
		return 0;
	while (capacity < needed)
		capacity *= 2;
	bytes = realloc(batch->bytes, capacity);
	if (!bytes)
		return -ENOMEM;
	batch->bytes = bytes;
	batch->capacity = capacity;
	return 0;
}

static int check_key(const struct kv_batch *batch, unsigned keyspace, size_t key_size)
{
	if (keyspace >= batch->kv->info.keyspace_count || !key_size || key_size > KV_KEY_SIZE_MAX)
		return -EINVAL;
	return 0;
}

/* Compresses the record's value in place, if that saves anything. */
static int compress(struct kv_batch *batch, struct format_record *record, uint8_t *value)
{
	struct kv_info *info = &batch->kv->info;
	size_t size;
	uint8_t *scratch;

	if (!batch->compressor && !(batch->compressor = compress_encoder_new(info->compress_level)))
		return -ENOMEM;
	scratch = malloc(record->value_size);
	if (!scratch)
		return -ENOMEM;
	size = compress_value(batch->compressor, 0, NULL, value, record->value_size, scratch,
			      record->value_size);
	if (size && format_record_size(record->key_size, size) <
			    format_record_size(record->key_size, record->value_size)) {
		memcpy(value, scratch, size);
		memset(value + size, 0, FORMAT_RECORD_ALIGN);
		record->value_size = (uint32_t)size;
		record->flags |= FORMAT_RECORD_ZSTD;
	}
	free(scratch);
	return 0;
}

/*
 * The header and key of the next record, of which so many bytes of value stand here, and the
 * padding behind them.
 */
static struct format_record *begin_record(struct kv_batch *batch, unsigned keyspace,
					  const void *key, size_t key_size, uint64_t value_size,
					  uint64_t here, unsigned flags)
{
	struct format_record *record = batch_record(batch, batch->used);
	uint64_t hash = keyhash_of(&batch->kv->keyhash, keyspace, key, key_size);

	/* The rest of the work on the record passes while the line comes. */
	index_prefetch(&batch->kv->index, hash);
	batch->entries[batch->count].hash = hash;
	batch_lay_out(record, keyspace, key, key_size, value_size, here, flags);
	return record;
}

static void finish_record(struct kv_batch *batch, struct format_record *record, const void *lent)
{
	struct batch_entry *entry = &batch->entries[batch->count++];

	entry->value = lent;
	batch->used += batch_stride(record, entry);
	batch->size += format_record_length(record);
	batch->key_bytes += record->key_size;
	if (lent)
		batch->lent = true;
	if (!(record->flags & FORMAT_RECORD_TOMBSTONE))
		batch->keys[record->keyspace]++;
}

int batch_putv(struct kv_batch *batch, unsigned keyspace, const void *key, size_t key_size,
	       const struct kv_slice *parts, unsigned count)
{
	struct format_record *record;
	uint64_t value_size = 0;
	uint8_t *at;
	unsigned i;
	int error;

	for (i = 0; i < count; i++) {
		if (parts[i].size > batch->kv->info.value_size_max - value_size)
			return -EFBIG;
		value_size += parts[i].size;
	}
	error = grow(batch, format_record_size(key_size, value_size),
		     format_record_size(key_size, value_size));
	if (error)
		return error;
	record = begin_record(batch, keyspace, key, key_size, value_size, value_size, 0);
	at = record->key + key_size;
	for (i = 0; i < count; i++) {
		if (parts[i].size)
			memcpy(at, parts[i].data, parts[i].size);
		at += parts[i].size;
	}
	if (batch->kv->info.compress == KV_COMPRESS_INLINE && value_size >= COMPRESS_SIZE_MIN) {
		error = compress(batch, record, record->key + key_size);
		if (error)
			return error;
	}
	finish_record(batch, record, NULL);
	return 0;
}

int kv_batch_putv(struct kv_batch *batch, unsigned keyspace, const void *key, size_t key_size,
		  const struct kv_slice *parts, unsigned count)
{
	int error = check_key(batch, keyspace, key_size);

	return error ? error : batch_putv(batch, keyspace, key, key_size, parts, count);
}

int batch_put(struct kv_batch *batch, unsigned keyspace, const void *key, size_t key_size,
	      const void *value, size_t value_size)
{
	struct kv_slice part = {value, value_size};

	return batch_putv(batch, keyspace, key, key_size, &part, 1);
}

int kv_batch_put(struct kv_batch *batch, unsigned keyspace, const void *key, size_t key_size,
		 const void *value, size_t value_size)
{
	int error = check_key(batch, keyspace, key_size);

	return error ? error : batch_put(batch, keyspace, key, key_size, value, value_size);
}

int batch_put_lent(struct kv_batch *batch, unsigned keyspace, const void *key, size_t key_size,
		   const void *value, size_t value_size)
{
	int error;

	if (value_size < LEND_SIZE_MIN || batch->kv->info.compress == KV_COMPRESS_INLINE)
		return batch_put(batch, keyspace, key, key_size, value, value_size);
	if (value_size > batch->kv->info.value_size_max)
		return -EFBIG;
	error = grow(batch, format_record_size(key_size, value_size),
		     format_record_size(key_size, 0));
	if (error)
		return error;
	finish_record(batch, begin_record(batch, keyspace, key, key_size, value_size, 0, 0), value);
	return 0;
}

int batch_put_raw(struct kv_batch *batch, unsigned keyspace, const void *key, size_t key_size,
		  const void *value, size_t value_size, unsigned flags)
{
	size_t size = format_record_size(key_size, value_size);
	struct format_record *record;
	int error = grow(batch, size, size);

	if (error)
		return error;
	record = begin_record(batch, keyspace, key, key_size, value_size, value_size, flags);
	memcpy(record->key + key_size, value, value_size);
	finish_record(batch, record, NULL);
	return 0;
}

int kv_batch_put_lent(struct kv_batch *batch, unsigned keyspace, const void *key, size_t key_size,
		      const void *value, size_t value_size)
{
	int error = check_key(batch, keyspace, key_size);

	return error ? error : batch_put_lent(batch, keyspace, key, key_size, value, value_size);
}

static int add_tombstone(struct kv_batch *batch, unsigned keyspace, const void *key,
			 size_t key_size, const void *value, size_t value_size)
{
	struct format_record *record;
	int error = grow(batch, format_record_size(key_size, value_size),
			 format_record_size(key_size, value_size));

	if (error)
		return error;
	record = begin_record(batch, keyspace, key, key_size, value_size, value_size,
			      FORMAT_RECORD_TOMBSTONE);
	if (value_size)
		memcpy(record->key + key_size, value, value_size);
	finish_record(batch, record, NULL);
	return 0;
}

int batch_delete(struct kv_batch *batch, unsigned keyspace, const void *key, size_t key_size)
{
	return add_tombstone(batch, keyspace, key, key_size, NULL, 0);
}

int batch_delete_since(struct kv_batch *batch, unsigned keyspace, const void *key, size_t key_size,
		       uint64_t since)
{
	return add_tombstone(batch, keyspace, key, key_size, &since, sizeof(since));
}

int kv_batch_delete(struct kv_batch *batch, unsigned keyspace, const void *key, size_t key_size)
{
	int error = check_key(batch, keyspace, key_size);

	return error ? error : batch_delete(batch, keyspace, key, key_size);
}

void batch_finish(struct kv_batch *batch)
{
	size_t offset = 0;
	unsigned i;

	for (i = 0; i < batch->count; i++) {
		struct format_record *record = batch_record(batch, offset);
		struct batch_entry *entry = &batch->entries[i];

		if (i + 1 < batch->count)
			record->flags |= FORMAT_RECORD_MORE;
		else
			record->flags &= FORMAT_RECORD_FLAGS & ~FORMAT_RECORD_MORE;
		record->check = entry->value ? format_record_split_hash(record, entry->value) :
					       format_record_body_hash(record);
		offset += batch_stride(record, entry);
	}
}

void batch_copy(const struct kv_batch *batch, uint8_t *to)
{
	size_t offset = 0;
	unsigned i;

	if (!batch->lent) {
		memcpy(to, batch->bytes, batch->size);
		return;
	}
	for (i = 0; i < batch->count; i++) {
		const struct format_record *record = batch_record(batch, offset);
		const struct batch_entry *entry = &batch->entries[i];
		size_t length = format_record_length(record), head = length;

		if (entry->value) {
			head = FORMAT_RECORD_HEADER_SIZE + record->key_size;
			prefetch_copy(to + head, entry->value, record->value_size);
			memset(to + head + record->value_size, 0,
			       length - head - record->value_size);
		}
		memcpy(to, record, head);
		to += length;
		offset += batch_stride(record, entry);
	}
}

/* SPDX-License-Identifier: MIT */
/* batch.c - see batch.h. */
#include "batch.h"

#include <errno.h>
#include <stdlib.h>
#include <zstd.h>

#include "log.h"

/* Shorter values are stored raw: a zstd frame costs them more than it saves. */
#define COMPRESS_SIZE_MIN 64u

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
	free(batch->bytes);
	free(batch->hashes);
	free(batch);
}

void kv_batch_reset(struct kv_batch *batch)
{
	batch->size = 0;
	batch->count = 0;
	batch->frees = false;
	batch->key_bytes = 0;
	memset(batch->keys, 0, sizeof(batch->keys));
}

void kv_batch_set_frees(struct kv_batch *batch)
{
	batch->frees = true;
}

size_t kv_batch_count(const struct kv_batch *batch)
{
	return batch->count;
}

static int grow(struct kv_batch *batch, size_t record_size)
{
	size_t needed = batch->size + record_size;
	size_t capacity = batch->capacity ? batch->capacity : 4096;
	uint8_t *bytes;

	if (needed > log_batch_size_max(batch->kv->info.segment_size))
		return -E2BIG;
	if (batch->count == batch->hashes_capacity) {
		unsigned more = batch->count ? batch->count * 2 : 16;
		uint64_t *hashes = realloc(batch->hashes, more * sizeof(*hashes));

		if (!hashes)
			return -ENOMEM;
		batch->hashes = hashes;
		batch->hashes_capacity = more;
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
	size_t bound = ZSTD_compressBound(record->value_size), size;
	uint8_t *scratch;

	if (!batch->compressor && !(batch->compressor = ZSTD_createCCtx()))
		return -ENOMEM;
	scratch = malloc(bound);
	if (!scratch)
		return -ENOMEM;
	size = ZSTD_compressCCtx(batch->compressor, scratch, bound, value, record->value_size,
				 info->compress_level);
	if (!ZSTD_isError(size) && format_record_size(record->key_size, size) <
					   format_record_size(record->key_size, record->value_size)) {
		memcpy(value, scratch, size);
		record->value_size = (uint32_t)size;
		record->flags |= FORMAT_RECORD_ZSTD;
	}
	free(scratch);
	return 0;
}

static void add_finish(struct kv_batch *batch, struct format_record *record)
{
	size_t used = FORMAT_RECORD_HEADER_SIZE + record->key_size + record->value_size;
	size_t length = format_record_length(record);

	memset((uint8_t *)record + used, 0, length - used);
	batch->hashes[batch->count++] = keyhash_of(&batch->kv->keyhash, record->keyspace,
						   record->key, record->key_size);
	batch->last = batch->size;
	batch->size += length;
	batch->key_bytes += record->key_size;
}

int kv_batch_putv(struct kv_batch *batch, unsigned keyspace, const void *key, size_t key_size,
		  const struct kv_slice *parts, unsigned count)
{
	int error = check_key(batch, keyspace, key_size);
	struct format_record *record;
	uint64_t value_size = 0;
	uint8_t *at;
	unsigned i;

	if (error)
		return error;
	for (i = 0; i < count; i++) {
		if (parts[i].size > batch->kv->info.value_size_max - value_size)
			return -EFBIG;
		value_size += parts[i].size;
	}
	error = grow(batch, format_record_size(key_size, value_size));
	if (error)
		return error;
	record = batch_record(batch, batch->size);
	record->seq = 0;
	record->value_size = (uint32_t)value_size;
	record->key_size = (uint16_t)key_size;
	record->keyspace = (uint8_t)keyspace;
	record->zero = 0;
	record->flags = 0;
	memcpy(record->key, key, key_size);
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
	add_finish(batch, record);
	batch->keys[keyspace]++;
	return 0;
}

int kv_batch_put(struct kv_batch *batch, unsigned keyspace, const void *key, size_t key_size,
		 const void *value, size_t value_size)
{
	struct kv_slice part = {value, value_size};

	return kv_batch_putv(batch, keyspace, key, key_size, &part, 1);
}

int kv_batch_delete(struct kv_batch *batch, unsigned keyspace, const void *key, size_t key_size)
{
	int error = check_key(batch, keyspace, key_size);
	struct format_record *record;

	if (!error)
		error = grow(batch, format_record_size(key_size, 0));
	if (error)
		return error;
	record = batch_record(batch, batch->size);
	record->seq = 0;
	record->value_size = 0;
	record->key_size = (uint16_t)key_size;
	record->keyspace = (uint8_t)keyspace;
	record->zero = 0;
	record->flags = FORMAT_RECORD_TOMBSTONE;
	memcpy(record->key, key, key_size);
	add_finish(batch, record);
	return 0;
}

void batch_finish(struct kv_batch *batch)
{
	size_t offset = 0;

	while (offset < batch->size) {
		struct format_record *record = batch_record(batch, offset);

		if (offset != batch->last)
			record->flags |= FORMAT_RECORD_MORE;
		else
			record->flags &= FORMAT_RECORD_FLAGS & ~FORMAT_RECORD_MORE;
		record->check = format_record_body_hash(record);
		offset += format_record_length(record);
	}
}

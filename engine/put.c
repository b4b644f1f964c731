/* SPDX-License-Identifier: MIT */
/*
 * put.c - single changes: where nothing else is going on, a record without a batch around it, in as
 * few steps as can be; else a batch of one, on the stack if it is small, so that nothing is
 * allocated.
 */
#include <errno.h>

#include "batch.h"
#include "keyhash_inline.h"
#include "large.h"

#define STACK_SIZE 4096u /* bytes of record */
#define QUICK_SIZE 2048u /* bytes of value */

/* Adds the change to the batch, a deletion if there is no value, and commits it. */
static int commit_change(struct kv *kv, struct kv_batch *batch, unsigned keyspace, const void *key,
			 size_t key_size, const struct kv_slice *value, uint64_t *seq)
{
	int error;

	if (value) {
		error = kv_batch_put(batch, keyspace, key, key_size, value->data, value->size);
	} else {
		error = kv_batch_delete(batch, keyspace, key, key_size);
		kv_batch_set_frees(batch);
	}
	return error ? error : batch_commit(kv, batch, seq);
}

static __attribute__((noinline)) int commit_one(struct kv *kv, unsigned keyspace, const void *key,
						size_t key_size, const struct kv_slice *value,
						uint64_t *seq)
{
	size_t value_size = value ? value->size : 0;
	_Alignas(8) uint8_t bytes[STACK_SIZE];
	struct batch_entry entries[1];
	struct kv_batch *large, small;
	int error;

	if (value_size <= STACK_SIZE && format_record_size(key_size, value_size) <= STACK_SIZE &&
	    kv->info.compress != KV_COMPRESS_INLINE) {
		batch_init(&small, kv, bytes, sizeof(bytes), entries, 1);
		return commit_change(kv, &small, keyspace, key, key_size, value, seq);
	}
	error = kv_batch_new(kv, &large);
	if (error)
		return error;
	error = commit_change(kv, large, keyspace, key, key_size, value, seq);
	kv_batch_free(large);
	return error;
}

/* Commits a short value under a short key, stored as it is. -EAGAIN: it has to be a batch. */
static inline __attribute__((always_inline)) int
change_quickly(struct kv *kv, unsigned keyspace, const void *key, size_t key_size,
	       const void *value, size_t value_size, unsigned flags, uint64_t *seq)
{
	_Alignas(8) uint8_t bytes[FORMAT_RECORD_HEADER_SIZE + KEYHASH_SHORT_MAX + QUICK_SIZE +
				  FORMAT_RECORD_ALIGN];
	struct format_record *record = (struct format_record *)bytes;
	uint64_t hash;

	if (value_size > QUICK_SIZE || !keyhash_is_short(&kv->keyhash, key_size) ||
	    kv->info.read_only || keyspace >= kv->info.keyspace_count ||
	    kv->info.compress == KV_COMPRESS_INLINE)
		return -EAGAIN;
	hash = keyhash_short(&kv->keyhash, keyspace, key, key_size);
	/* The line is on its way while the rest of the record is prepared. */
	index_prefetch(&kv->index, hash);
	batch_lay_out(record, keyspace, key, key_size, value_size, value_size, flags);
	if (value_size)
		memcpy(record->key + key_size, value, value_size);
	return commit_single(kv, record, hash, seq);
}

int kv_put(struct kv *kv, unsigned keyspace, const void *key, size_t key_size, const void *value,
	   size_t value_size, uint64_t *seq)
{
	struct kv_slice slice = {value, value_size};
	int error = change_quickly(kv, keyspace, key, key_size, value, value_size, 0, seq);

	if (__builtin_expect(error != -EAGAIN, 1))
		return error;
	if (value_size > kv->info.value_size_max)
		return stream_put(kv, keyspace, key, key_size, value, value_size, seq);
	return commit_one(kv, keyspace, key, key_size, &slice, seq);
}

int kv_delete(struct kv *kv, unsigned keyspace, const void *key, size_t key_size, uint64_t *seq)
{
	int error =
		change_quickly(kv, keyspace, key, key_size, NULL, 0, FORMAT_RECORD_TOMBSTONE, seq);

	return error != -EAGAIN ? error : commit_one(kv, keyspace, key, key_size, NULL, seq);
}

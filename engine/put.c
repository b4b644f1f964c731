/* SPDX-License-Identifier: MIT */
/* put.c - single changes: a batch of one, on the stack if it is small, so that nothing is allocated. */
#include <errno.h>

#include "batch.h"

#define STACK_SIZE 4096u /* bytes of record */

/* Commits one change with a batch in memory of its own. */
static int commit_large(struct kv *kv, unsigned keyspace, const void *key, size_t key_size,
			const void *value, size_t value_size, uint64_t *seq)
{
	struct kv_batch *batch;
	int error = kv_batch_new(kv, &batch);

	if (error)
		return error;
	error = kv_batch_put(batch, keyspace, key, key_size, value, value_size);
	if (!error)
		error = kv_commit(kv, batch, seq);
	kv_batch_free(batch);
	return error;
}

int kv_put(struct kv *kv, unsigned keyspace, const void *key, size_t key_size, const void *value,
	   size_t value_size, uint64_t *seq)
{
	_Alignas(8) uint8_t bytes[STACK_SIZE];
	uint64_t hashes[1];
	struct kv_batch batch = {.kv = kv, .bytes = bytes, .capacity = sizeof(bytes),
				 .hashes = hashes, .hashes_capacity = 1};
	int error;

	if (kv->info.compress != KV_COMPRESS_NONE || key_size > STACK_SIZE ||
	    value_size > STACK_SIZE || format_record_size(key_size, value_size) > STACK_SIZE)
		return commit_large(kv, keyspace, key, key_size, value, value_size, seq);
	error = kv_batch_put(&batch, keyspace, key, key_size, value, value_size);
	return error ? error : kv_commit(kv, &batch, seq);
}

int kv_delete(struct kv *kv, unsigned keyspace, const void *key, size_t key_size, uint64_t *seq)
{
	struct kv_batch *batch;
	int error = kv_batch_new(kv, &batch);

	if (error)
		return error;
	error = kv_batch_delete(batch, keyspace, key, key_size);
	kv_batch_set_frees(batch);
	if (!error)
		error = kv_commit(kv, batch, seq);
	kv_batch_free(batch);
	return error;
}

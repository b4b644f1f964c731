/* SPDX-License-Identifier: MIT */
/*
 * commit.c - makes a batch visible: one stay under the commit lock, in which it gets its number, its place in the
 * log and its entries in the indexes. Nothing in there waits for the disk, unless the log has run full.
 */
#include <errno.h>

#include "apply.h"
#include "batch.h"
#include "epoch.h"
#include "log.h"
#include "lookup.h"
#include "sync.h"

/* Gives the records their number and place, and enters them into the indexes. */
static int place_and_apply(struct kv *kv, const struct kv_batch *batch, uint8_t *at,
			   uint64_t address, uint64_t seq)
{
	uint64_t salt = kv->log.hot.active->salt;
	size_t offset = 0;
	unsigned i;
	int error;

	for (i = 0; i < batch->count; i++) {
		struct format_record *record = (struct format_record *)(at + offset);

		record->seq = seq;
		record->check ^= format_record_place(record, salt);
		error = apply_record(kv, record, address + (offset >> 3), batch->entries[i].hash);
		if (error)
			return error;
		if (record->flags & FORMAT_RECORD_TOMBSTONE)
			store_add(&kv->deletes, 1);
		else
			store_add(&kv->puts, 1);
		offset += format_record_length(record);
	}
	return 0;
}

static int commit_locked(struct kv *kv, struct kv_batch *batch, uint64_t *seq)
{
	uint64_t address, next_seq;
	uint8_t *at;
	int error;

	error = log_reserve(kv, batch->size, batch->frees);
	if (!error)
		error = apply_reserve(kv, batch->count, batch->keys, batch->key_bytes);
	if (error)
		return error;
	next_seq = atomic_load_explicit(&kv->log.last_seq, memory_order_relaxed) + 1;
	at = log_append(kv, batch->size, &address);
	batch_copy(batch, at);
	error = place_and_apply(kv, batch, at, address, next_seq);
	store_add(&kv->batches, 1);
	store_add(&kv->appended_bytes, batch->size);
	if (!kv->log.dirty_since_us)
		kv->log.dirty_since_us = kv->env->clock_us(kv->env);
	atomic_store_explicit(&kv->log.last_seq, next_seq, memory_order_release);
	*seq = next_seq;
	/* In the log but not in the indexes: memory and log differ, and only opening again mends that. */
	return error ? store_poison(kv, error, "an index had no room for a committed record") : 0;
}

/* The records that will be replaced come into the cache, or from the disk, while nobody waits for the lock. */
static void prefetch(struct kv *kv, const struct kv_batch *batch)
{
	unsigned i;

	/* One of which nothing can be on the disk alone is not worth it. */
	if (batch->count == 1 && !atomic_load_explicit(&kv->segments.mapped, memory_order_relaxed))
		return;
	epoch_enter();
	for (i = 0; i < batch->count; i++)
		index_peek(&kv->index, batch->entries[i].hash, lookup_prefetch, &kv->segments);
	epoch_leave();
}

int kv_commit(struct kv *kv, struct kv_batch *batch, uint64_t *seq_out)
{
	uint64_t seq;
	int error;

	if (kv->info.read_only)
		return -EROFS;
	if (!batch->count) {
		if (seq_out)
			*seq_out = kv_last_seq(kv);
		return 0;
	}
	batch_finish(batch);
	prefetch(kv, batch);

	pthread_mutex_lock(&kv->log.lock);
	error = commit_locked(kv, batch, &seq);
	pthread_mutex_unlock(&kv->log.lock);
	if (error)
		return error;
	sync_committed(kv);
	kv_batch_reset(batch);
	if (seq_out)
		*seq_out = seq;
	return 0;
}

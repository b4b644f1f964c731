/* SPDX-License-Identifier: MIT */
/*
 * commit.c - makes a batch visible: one stay under the commit lock, in which it gets its number,
 * its place in the log and its entries in the indexes. Nothing in there waits for the disk, unless
 * the log has run full.
 */
#include <errno.h>

#include "apply.h"
#include "brake.h"
#include "checkpoint.h"
#include "epoch.h"
#include "large.h"
#include "log.h"
#include "lookup.h"
#include "sync.h"
#include "view.h"

/*
 * Gives the records their number and place, and enters them into the indexes. more: others of the
 * batch follow.
 */
static int place_and_apply(struct kv *kv, const struct kv_batch *batch, uint8_t *at,
			   uint64_t address, uint64_t seq, bool more)
{
	uint64_t salt = kv->log.hot.active->salt;
	size_t offset = 0;
	unsigned i;
	int error;

	for (i = 0; i < batch->count; i++) {
		struct format_record *record = (struct format_record *)(at + offset);

		record->seq = seq;
		if (more)
			record->flags |= FORMAT_RECORD_MORE;
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

static int reserve_log(struct kv *kv, const struct kv_batch *batch, uint64_t size)
{
	int error;

	if (!batch->never_waits)
		return log_reserve(kv, size, batch->purpose);
	error = log_try_reserve(kv, size, batch->purpose);
	if (error == -EAGAIN)
		kv->log.freeing_waits |= batch->purpose != LOG_ANY;
	return error;
}

/*
 * Room for the batch and, where there are large values, for what it condemns: a bound of that,
 * because the reservation may let go of the lock and what is condemned is known only after it.
 * -E2BIG
 */
static int reserve(struct kv *kv, const struct kv_batch *batch, const struct kv_batch **doomed)
{
	uint64_t size_max = log_batch_size_max(kv->segments.size), size = batch->size;
	bool any_large = atomic_load_explicit(&kv->keys[FORMAT_KEYSPACE_LARGE],
					      memory_order_relaxed);
	int error;

	if (!any_large) {
		error = reserve_log(kv, batch, size);
		any_large = atomic_load_explicit(&kv->keys[FORMAT_KEYSPACE_LARGE],
						 memory_order_relaxed);
		if (error || !any_large)
			return error;
		/* The first one came while this batch waited for room. */
	}
	size += large_doom_size_max(batch);
	if (size > size_max)
		size = size_max;
	error = reserve_log(kv, batch, size);
	if (!error)
		error = large_doom(kv, batch, doomed);
	if (!error && batch->size + (*doomed)->size > size)
		error = -E2BIG;
	return error;
}

/* Room in the indexes for all of it. */
static int reserve_indexes(struct kv *kv, const struct kv_batch *batch,
			   const struct kv_batch *doomed)
{
	uint64_t keys[FORMAT_KEYSPACES];

	if (!doomed || !doomed->count)
		return apply_reserve(kv, batch->count, batch->keys, batch->key_bytes);
	memcpy(keys, batch->keys, sizeof(keys));
	keys[FORMAT_KEYSPACE_LARGE] += doomed->count;
	return apply_reserve(kv, batch->count + doomed->count, keys,
			     batch->key_bytes + doomed->key_bytes);
}

static int append(struct kv *kv, const struct kv_batch *batch, const struct kv_batch *doomed,
		  uint64_t seq)
{
	uint64_t address, size = batch->size;
	uint8_t *at;
	int error;

	if (doomed && !doomed->count)
		doomed = NULL;
	if (doomed)
		size += doomed->size;
	at = log_append(kv, size, &address);
	batch_copy(batch, at);
	if (doomed)
		batch_copy(doomed, at + batch->size);
	error = place_and_apply(kv, batch, at, address, seq, doomed);
	if (doomed && !error) {
		error = place_and_apply(kv, doomed, at + batch->size, address + (batch->size >> 3),
					seq, false);
		large_condemn(kv);
	}
	store_add(&kv->batches, 1);
	store_add(&kv->appended_bytes, size);
	return error;
}

/* The batch has been appended: from here on it counts. error: of entering it in the indexes. */
static inline int publish(struct kv *kv, uint64_t seq, int error)
{
	if (!error &&
	    __builtin_expect(atomic_load_explicit(&kv->index.failed, memory_order_relaxed), 0))
		error = -EIO;
	if (!kv->log.dirty_since_us)
		kv->log.dirty_since_us = kv->env->clock_us(kv->env);
	atomic_store_explicit(&kv->log.last_seq, seq, memory_order_release);
	/*
	 * In the log but not in the indexes: memory and log differ, and only opening again mends
	 * that.
	 */
	return error ? store_poison(kv, error,
				    "a committed record could not be entered in an index")
		     : 0;
}

static int commit_locked(struct kv *kv, struct kv_batch *batch, uint64_t *seq)
{
	const struct kv_batch *doomed = NULL;
	uint64_t next_seq;
	int error;

	error = reserve(kv, batch, &doomed);
	if (!error && batch->check)
		error = batch->check(kv, batch->check_arg);
	if (!error)
		error = reserve_indexes(kv, batch, doomed);
	/* Conditions are judged last, because making room may have let go of the lock. */
	if (!error && __builtin_expect(batch->conditions.count != 0, 0))
		error = conditions_judge(kv, &batch->conditions);
	if (error)
		return error;
	next_seq = atomic_load_explicit(&kv->log.last_seq, memory_order_relaxed) + 1;
	error = append(kv, batch, doomed, next_seq);
	*seq = next_seq;
	return publish(kv, next_seq, error);
}

/*
 * Is there nothing that a change of one record, in place of a batch, would have to heed or wait
 * for? Called with the lock.
 */
static inline bool is_quiet(const struct kv *kv, uint64_t size)
{
	return log_has_room(kv, size) && !atomic_load_explicit(&kv->failed, memory_order_relaxed) &&
	       !atomic_load_explicit(&kv->keys[FORMAT_KEYSPACE_LARGE], memory_order_relaxed) &&
	       !atomic_load_explicit(&kv->orders_loading, memory_order_relaxed) && !views_any(kv);
}

static inline int record_reserve(struct kv *kv, const struct format_record *record)
{
	struct order *order = kv->order_of[record->keyspace];
	int error = 0;

	if (record->flags & FORMAT_RECORD_TOMBSTONE)
		return 0;
	if (__builtin_expect(!index_has_room(&kv->index, 1), 0))
		error = index_reserve(&kv->index, 1);
	return order && !error ? order_reserve(order, 1, record->key_size) : error;
}

static int record_locked(struct kv *kv, const struct format_record *record, uint64_t hash,
			 uint64_t size, uint64_t *seq)
{
	uint64_t address,
		next_seq = atomic_load_explicit(&kv->log.last_seq, memory_order_relaxed) + 1;
	bool tombstone = record->flags & FORMAT_RECORD_TOMBSTONE;
	struct format_record *placed;
	int error;

	if (__builtin_expect(!is_quiet(kv, size), 0))
		return -EAGAIN;
	error = record_reserve(kv, record);
	if (error)
		return error;
	placed = (struct format_record *)log_append(kv, size, &address);
	memcpy(placed, record, size);
	placed->seq = next_seq;
	placed->check ^= format_record_place(placed, kv->log.hot.active->salt);
	error = tombstone || kv->order_of[record->keyspace] ?
			apply_record(kv, placed, address, hash) :
			apply_committed(kv, placed, address, hash);
	store_add(tombstone ? &kv->deletes : &kv->puts, 1);
	store_add(&kv->batches, 1);
	store_add(&kv->appended_bytes, size);
	*seq = next_seq;
	return publish(kv, next_seq, error);
}

/*
 * A key that is new has no record that will be replaced, and to find that out costs more than it
 * brings: it is guessed.
 */
static inline bool foresees_old(const struct kv *kv)
{
	return atomic_load_explicit(&kv->replacing, memory_order_relaxed) ||
	       atomic_load_explicit(&kv->segments.mapped, memory_order_relaxed);
}

/*
 * The records that will be replaced come into the cache, or from the disk, while nobody waits for
 * the lock.
 */
static void prefetch(struct kv *kv, const struct kv_batch *batch)
{
	unsigned i;

	if (batch->count == 1 && !foresees_old(kv))
		return;
	epoch_enter();
	for (i = 0; i < batch->count; i++)
		index_peek(&kv->index, batch->entries[i].hash, lookup_prefetch, &kv->segments);
	epoch_leave();
}

/* Nothing to change: a question only, or not even that. */
static int commit_nothing(struct kv *kv, struct kv_batch *batch, uint64_t *seq)
{
	int error = 0;

	if (batch->conditions.count) {
		pthread_mutex_lock(&kv->log.lock);
		error = conditions_judge(kv, &batch->conditions);
		pthread_mutex_unlock(&kv->log.lock);
	}
	if (!error && seq)
		*seq = kv_last_seq(kv);
	return error;
}

int batch_commit(struct kv *kv, struct kv_batch *batch, uint64_t *seq_out)
{
	uint64_t begun_ns, seq;
	int error;

	if (kv->info.read_only)
		return -EROFS;
	if (!batch->count)
		return commit_nothing(kv, batch, seq_out);
	begun_ns = timing_begin(&kv->timing, KV_OPERATION_COMMIT);
	if (__builtin_expect(atomic_load_explicit(&kv->orders_loading, memory_order_relaxed), 0))
		checkpoint_throttle(kv);
	/*
	 * The buckets have been asked for since the keys were hashed; what they point to is asked
	 * for here.
	 */
	prefetch(kv, batch);
	batch_finish(batch);

	pthread_mutex_lock(&kv->log.lock);
	error = commit_locked(kv, batch, &seq);
	pthread_mutex_unlock(&kv->log.lock);
	if (error)
		return error;
	if (!batch->never_waits) {
		sync_committed(kv);
		brake_feel(kv, batch->size);
	}
	timing_end(&kv->timing, KV_OPERATION_COMMIT, begun_ns);
	if (seq_out)
		*seq_out = seq;
	return 0;
}

int commit_single(struct kv *kv, struct format_record *record, uint64_t hash, uint64_t *seq_out)
{
	uint64_t begun_ns, seq, size = format_record_length(record);
	int error;

	begun_ns = timing_begin(&kv->timing, KV_OPERATION_COMMIT);
	if (foresees_old(kv)) {
		epoch_enter();
		index_peek(&kv->index, hash, lookup_prefetch, &kv->segments);
		epoch_leave();
	}
	record->check = format_record_body_hash(record);

	pthread_mutex_lock(&kv->log.lock);
	error = record_locked(kv, record, hash, size, &seq);
	pthread_mutex_unlock(&kv->log.lock);
	if (error)
		return error;
	sync_committed(kv);
	brake_feel(kv, size);
	timing_end(&kv->timing, KV_OPERATION_COMMIT, begun_ns);
	if (seq_out)
		*seq_out = seq;
	return 0;
}

int kv_commit(struct kv *kv, struct kv_batch *batch, uint64_t *seq_out)
{
	int error = batch_commit(kv, batch, seq_out);

	if (!error)
		kv_batch_reset(batch);
	return error;
}

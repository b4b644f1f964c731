/* SPDX-License-Identifier: MIT */
/* checkpoint.c - opening from a checkpoint: see checkpoint.h. */
#include "checkpoint.h"

#include <errno.h>
#include <stdlib.h>

#include "checkpoint_buckets.h"
#include "checkpoint_file.h"
#include "checkpoint_order.h"
#include "checkpoint_version.h"
#include "checkpoint_vouch.h"
#include "epoch.h"
#include "lookup.h"
#include "worker.h"

#define CHUNKS_PER_STEP 16u /* of the hash index, between two looks whether to stop */

/* Bytes of a hash index, of some 400,000 keys, that take a millisecond or two. */
#define AT_ONCE_MAX ((uint64_t)4 << 20)

struct checkpoint {
	struct checkpoint_file file;
	struct checkpoint_buckets buckets;
	_Atomic bool reported; /* damage of the hash index */
	bool at_once; /* it is being loaded as a whole, before anybody asks for anything */
	struct checkpoint_orders orders;
	pthread_mutex_t lock;
	pthread_cond_t done;
	bool loaded; /* protected by lock */
	_Atomic bool stopping;
	bool running;
	pthread_t thread;
};

/* ---- the file -------------------------------------------------------------------------------- */

void checkpoint_damaged(struct kv *kv, const char *what)
{
	store_add(&kv->damaged, 1);
	store_report(kv, KV_ERROR, "%s: %s", FORMAT_CHECKPOINT_NAME, what);
	/* The next opening does without; where it stays a check is to find it. */
	if (kv->info.read_only)
		kv->checkpoint_damaged = true;
	else
		(void)kv->env->unlink(kv->dir, FORMAT_CHECKPOINT_NAME);
}

bool checkpoint_covers(struct kv *kv, uint64_t address)
{
	uint32_t slot = segments_slot(&kv->segments, address);
	uint32_t offset = segments_offset(&kv->segments, address);
	const struct segment *segment =
		slot < atomic_load(&kv->segments.count) ? kv->segments.table[slot] : NULL;

	return segment && offset >= FORMAT_SEGMENT_HEADER_SIZE && offset < segment->covered;
}

static bool is_covered(struct kv *kv, uint64_t address)
{
	return checkpoint_covers(kv, address);
}

/* A chunk of the hash index; for index_load. */
static int read_buckets(void *arg, uint64_t chunk, struct index_bucket *out)
{
	struct kv *kv = arg;
	struct checkpoint *checkpoint = kv->checkpoint;
	int error = checkpoint_buckets_read(&checkpoint->buckets, chunk, out);

	if (error)
		kv->checkpoint_damaged = true;
	if (error && !atomic_exchange(&checkpoint->reported, true))
		checkpoint_damaged(
			kv,
			checkpoint->at_once
				? "a part of the index cannot be read; the whole log is read instead"
			: kv->info.read_only
				? "a part of the index cannot be read; a repair makes it anew"
				: "a part of the index cannot be read; open the store again to have it made anew");
	return error;
}

/* ---- taking it over -------------------------------------------------------------------------- */

/*
 * A checkpoint outlives no segment that it needs: this one was taken away, or another file is in
 * its place.
 */
static int cannot_cover(struct kv *kv, const struct format_checkpoint_segment *entry)
{
	char name[FORMAT_SEGMENT_NAME_SIZE];

	if (kv->lost_segments) /* it may be one whose header is lost, which was said */
		return -ESTALE;
	format_segment_name(entry->slot, name);
	store_add(&kv->damaged, 1);
	kv->missing_segments++;
	kv->missing_id = entry->id;
	kv->missing_slot = entry->slot;
	store_report(kv, KV_ERROR,
		     "%s: missing, or another segment is in its place; what it alone held is lost",
		     name);
	return -ESTALE;
}

static int cover(struct kv *kv, const struct format_checkpoint_segment *entry)
{
	struct segment *segment;
	bool emptied = entry->state == FORMAT_CHECKPOINT_EMPTIED;

	if (!checkpoint_knows(kv, entry))
		return emptied ? 0 : cannot_cover(kv, entry);
	segment = kv->segments.table[entry->slot];
	segment->end = entry->end;
	segment->newest_seq = entry->newest_seq;
	segment->complete = entry->state != FORMAT_CHECKPOINT_OPEN;
	segment->named = !emptied;
	/* The segment was freed, but that was not durable yet. Compaction will find it again. */
	if (emptied)
		store_add(&kv->log_bytes, entry->end);
	segment->tombstone_bytes = entry->tombstone_bytes;
	memcpy(segment->dictionaries, entry->dictionaries, sizeof(segment->dictionaries));
	atomic_store(&segment->live_bytes, entry->live_bytes);
	return segment_cover(&kv->segments, segment, entry->end);
}

static int cover_segments(struct kv *kv, const struct checkpoint *checkpoint)
{
	const struct format_checkpoint *header = &checkpoint->file.header;
	struct format_checkpoint_segment entry;
	struct checkpoint_reader *reader;
	uint32_t i;
	int error = checkpoint_reader_new(&checkpoint->file, FORMAT_CHECKPOINT_SEGMENTS, &reader);

	if (error)
		return error;
	for (i = 0; i < header->segment_count && !error; i++) {
		error = checkpoint_reader_read(reader, &entry, sizeof(entry));
		if (!error)
			error = cover(kv, &entry);
	}
	free(reader);
	return error;
}

/* Leaves the segments as if there had been no checkpoint. */
static void uncover_segments(struct kv *kv)
{
	uint32_t slot, count = atomic_load(&kv->segments.count);

	for (slot = 0; slot < count; slot++) {
		struct segment *segment = kv->segments.table[slot];

		if (!segment)
			continue;
		segment_uncover(&kv->segments, segment);
		segment->named = false;
	}
	atomic_store(&kv->log_bytes, 0);
}

static int load_index(struct kv *kv, const struct format_checkpoint *header)
{
	int error;

	index_fini(&kv->index);
	error = index_load(&kv->index, header->index_buckets, header->index_entries,
			   header->sizes[FORMAT_CHECKPOINT_BUCKETS], read_buckets, kv);
	if (error) {
		int again = index_init(&kv->index);

		return again ? again : error;
	}
	return 0;
}

/* Reads what is needed at opening, and prepares what is read later. */
static int load_parts(struct kv *kv, struct checkpoint *checkpoint)
{
	const struct format_checkpoint *header = &checkpoint->file.header;
	int error, again;

	if (header->index_buckets >> 31)
		return -EUCLEAN;
	error = checkpoint_buckets_init(&checkpoint->buckets, kv, &checkpoint->file,
					FORMAT_CHECKPOINT_BUCKETS, is_covered);
	if (!error)
		error = versions_load(kv, &checkpoint->file);
	if (error)
		return error;
	error = checkpoint_orders_read(&checkpoint->orders);
	if (!error)
		error = load_index(kv, header);
	if (!error)
		return 0;
	again = versions_forget(kv);
	return again ? again : error;
}

static int take_over(struct kv *kv, struct checkpoint *checkpoint)
{
	const struct format_checkpoint *header = &checkpoint->file.header;
	unsigned i, loading = 0;
	int error = cover_segments(kv, checkpoint);

	/* Snapshots that it speaks of are in none of the records that will be replayed. */
	if (!error && header->snapshots_seq > atomic_load(&kv->snapshots.changed_seq)) {
		kv->snapshots.missed = true;
		error = -ESTALE;
	}
	if (!error)
		error = load_parts(kv, checkpoint);
	if (error)
		return error;
	kv->segments.covered_slots = atomic_load(&kv->segments.count);
	store_add(&kv->log_bytes, header->log_bytes);
	atomic_store(&kv->live_bytes, header->live_bytes);
	kv->tombstone_bytes = header->tombstone_bytes;
	kv->checkpoint_seq = header->last_seq;
	atomic_store(&kv->checkpoints.seq, header->last_seq);
	atomic_store(&kv->checkpoints.bytes, (1 + header->chunks) * FORMAT_CHECKPOINT_CHUNK);
	for (i = 0; i < FORMAT_KEYSPACES; i++)
		atomic_store(&kv->keys[i], header->keys[i]);
	kv->checkpoint = checkpoint;
	for (i = 0; i < FORMAT_KEYSPACES; i++)
		loading |= kv->order_of[i] ? 1u << i : 0;
	atomic_store(&kv->orders_loading, loading);
	return 0;
}

static void checkpoint_free(struct checkpoint *checkpoint)
{
	checkpoint_orders_fini(&checkpoint->orders);
	pthread_cond_destroy(&checkpoint->done);
	pthread_mutex_destroy(&checkpoint->lock);
	checkpoint_file_close(&checkpoint->file);
	checkpoint_buckets_fini(&checkpoint->buckets);
	free(checkpoint);
}

static struct checkpoint *checkpoint_new(struct kv *kv)
{
	struct checkpoint *checkpoint = calloc(1, sizeof(*checkpoint));

	if (!checkpoint)
		return NULL;
	checkpoint_orders_init(&checkpoint->orders, kv, &checkpoint->file, &checkpoint->stopping);
	pthread_mutex_init(&checkpoint->lock, NULL);
	pthread_cond_init(&checkpoint->done, NULL);
	return checkpoint;
}

int checkpoint_open(struct kv *kv)
{
	struct checkpoint *checkpoint = checkpoint_new(kv);
	int error, refused = 0;

	if (!checkpoint)
		return -ENOMEM;
	error = checkpoint_file_open(&checkpoint->file, kv->env, kv->dir, kv->segments.uuid);
	kv->checkpoint_there = error != -ENOENT;
	if (!error) {
		kv->checkpoints.check = checkpoint->file.header.check;
		error = kv->checkpoint_fate == CHECKPOINT_USED ? take_over(kv, checkpoint)
							       : -ESTALE;
		if (!error)
			return 0;
		uncover_segments(kv);
		refused = checkpoint_vouch_for_segments(kv, &checkpoint->file);
	}
	checkpoint_free(checkpoint);
	if (env_open_was_refused(error))
		return error;
	if (refused)
		return refused;
	/* Compaction has moved on since it was written: that is as usual. */
	if (error != -ESTALE && error != -ENOENT)
		checkpoint_damaged(
			kv,
			env_is_no_file(error)
				? "no regular file; the whole log is read instead; a repair moves it away"
				: "cannot be used; the whole log is read instead");
	return 0;
}

/* ---- loading what nobody has asked for ------------------------------------------------------- */

/* Somebody may be waiting for this. */
static void tell(struct checkpoint *checkpoint)
{
	pthread_mutex_lock(&checkpoint->lock);
	pthread_cond_broadcast(&checkpoint->done);
	pthread_mutex_unlock(&checkpoint->lock);
}

static void load(struct kv *kv)
{
	struct checkpoint *checkpoint = kv->checkpoint;
	unsigned keyspace;
	bool all = false;
	int error = 0;

	while (!error && checkpoint_orders_next(&checkpoint->orders, &keyspace)) {
		error = checkpoint_orders_load(&checkpoint->orders, keyspace);
		tell(checkpoint);
	}
	if (error && error != -ECANCELED) {
		/*
		 * This comes before they are said to be there: whoever asks for one then is told of
		 * the failure.
		 */
		atomic_store(&kv->orders_failed, atomic_load(&kv->orders_loading));
		(void)store_poison(kv, error, "an ordered index could not be loaded");
	}
	atomic_store_explicit(&kv->orders_loading, 0, memory_order_release);
	tell(checkpoint);
	while (!all && !atomic_load(&checkpoint->stopping)) {
		epoch_enter();
		all = index_load_some(&kv->index, CHUNKS_PER_STEP);
		epoch_leave();
	}
	if (all)
		checkpoint_file_close(&checkpoint->file);
	atomic_store(&kv->indexes_whole, all && !error);
	pthread_mutex_lock(&checkpoint->lock);
	checkpoint->loaded = true;
	pthread_cond_broadcast(&checkpoint->done);
	pthread_mutex_unlock(&checkpoint->lock);
}

static void *loader(void *arg)
{
	load(arg);
	return NULL;
}

/*
 * The hash index, where it is small, or nobody else would load it: as long as nobody has asked for
 * anything it can still be made of the log, if a part of it cannot be read.
 */
static int load_at_once(struct kv *kv)
{
	struct checkpoint *checkpoint = kv->checkpoint;

	if (!kv->inline_maintenance &&
	    checkpoint->file.header.sizes[FORMAT_CHECKPOINT_BUCKETS] > AT_ONCE_MAX)
		return 0;
	checkpoint->at_once = true;
	epoch_enter();
	(void)index_load_some(&kv->index, UINT64_MAX);
	epoch_leave();
	checkpoint->at_once = false;
	return atomic_load(&kv->index.failed) ? -ESTALE : 0;
}

int checkpoint_start(struct kv *kv)
{
	struct checkpoint *checkpoint = kv->checkpoint;
	int error;

	atomic_store(&kv->indexes_whole, !checkpoint);
	if (!checkpoint)
		return 0;
	error = load_at_once(kv);
	if (error)
		return error;
	if (kv->inline_maintenance || worker_thread(&checkpoint->thread, loader, kv))
		load(kv);
	else
		checkpoint->running = true;
	return 0;
}

void checkpoint_await_orders(struct kv *kv, unsigned keyspaces)
{
	struct checkpoint *checkpoint = kv->checkpoint;

	pthread_mutex_lock(&checkpoint->lock);
	while (atomic_load(&kv->orders_loading) & keyspaces)
		pthread_cond_wait(&checkpoint->done, &checkpoint->lock);
	pthread_mutex_unlock(&checkpoint->lock);
}

int checkpoint_defer(struct kv *kv, const struct format_record *record, uint64_t address)
{
	return checkpoint_orders_change(&kv->checkpoint->orders, record->keyspace, record->key,
					record->key_size, address);
}

bool checkpoint_need(struct kv *kv, unsigned keyspace, struct kv_slice from, struct kv_slice to,
		     bool forward)
{
	int result = checkpoint_orders_need(&kv->checkpoint->orders, keyspace, from, to, forward);

	if (result < 0)
		checkpoint_await_orders(kv, 1u << keyspace);
	return result != 1;
}

void checkpoint_throttle(struct kv *kv)
{
	if (checkpoint_orders_are_full(&kv->checkpoint->orders))
		checkpoint_await_orders(kv, UINT32_MAX);
}

void checkpoint_finish(struct kv *kv)
{
	struct checkpoint *checkpoint = kv->checkpoint;

	if (!checkpoint)
		return;
	pthread_mutex_lock(&checkpoint->lock);
	while (!checkpoint->loaded)
		pthread_cond_wait(&checkpoint->done, &checkpoint->lock);
	pthread_mutex_unlock(&checkpoint->lock);
}

void checkpoint_stop(struct kv *kv)
{
	struct checkpoint *checkpoint = kv->checkpoint;

	if (!checkpoint)
		return;
	atomic_store(&checkpoint->stopping, true);
	if (checkpoint->running)
		pthread_join(checkpoint->thread, NULL);
	checkpoint_free(checkpoint);
	kv->checkpoint = NULL;
}

/* SPDX-License-Identifier: MIT */
/* checkpoint.c - opening from a checkpoint: see checkpoint.h. */
#include "checkpoint.h"

#include <errno.h>
#include <stdlib.h>

#include "checkpoint_file.h"
#include "epoch.h"
#include "lookup.h"

#define CHUNK_SLOTS (INDEX_CHUNK_SIZE / sizeof(uint64_t))
#define CHUNKS_PER_STEP 16u /* of the hash index, between two looks whether to stop */

/* A change of an ordered index that waits. */
struct deferred {
	struct deferred *next;
	uint64_t address; /* 0: delete */
	uint16_t key_size;
	uint8_t keyspace;
	uint8_t key[];
};

/* What was stored in the buckets while they were saved, chunk by chunk of them. */
struct bucket_changes {
	struct format_checkpoint_slot *changes; /* sorted, of equals the older first */
	size_t *starts;				/* of each chunk's, and one more */
};

struct checkpoint {
	struct checkpoint_file file;
	struct bucket_changes changes;
	_Atomic bool reported; /* damage of the hash index */
	struct deferred *deferred, **deferred_end;
	pthread_mutex_t lock;
	pthread_cond_t done;
	bool loaded; /* protected by lock */
	_Atomic bool stopping;
	bool running;
	pthread_t thread;
};

/* ---- the file -------------------------------------------------------------------------------- */

static void damaged(struct kv *kv, const char *what)
{
	store_add(&kv->damaged, 1);
	store_report(kv, KV_ERROR, "%s: %s", FORMAT_CHECKPOINT_NAME, what);
	/* The next opening does without. */
	if (!kv->info.read_only)
		(void)kv->env->unlink(kv->dir, FORMAT_CHECKPOINT_NAME);
}

/* Is there, at this address, what a checkpoint may speak of? */
static bool is_covered(struct kv *kv, uint64_t address)
{
	uint32_t slot = segments_slot(&kv->segments, address);
	uint32_t offset = segments_offset(&kv->segments, address);
	const struct segment *segment =
		slot < atomic_load(&kv->segments.count) ? kv->segments.table[slot] : NULL;

	return segment && offset >= FORMAT_SEGMENT_HEADER_SIZE && offset < segment->covered;
}

/* A chunk of the hash index; for index_load. */
static int read_buckets(void *arg, uint64_t chunk, struct index_bucket *out)
{
	struct kv *kv = arg;
	struct checkpoint *checkpoint = kv->checkpoint;
	const struct bucket_changes *changes = &checkpoint->changes;
	uint64_t *entries = (uint64_t *)out;
	int error = checkpoint_file_chunk(&checkpoint->file, FORMAT_CHECKPOINT_BUCKETS, chunk, out);
	size_t i;

	for (i = changes->starts[chunk]; i < changes->starts[chunk + 1] && !error; i++)
		entries[changes->changes[i].number % CHUNK_SLOTS] = changes->changes[i].entry;
	for (i = 0; i < CHUNK_SLOTS && !error; i++) {
		if (entries[i] && !is_covered(kv, entries[i] & INDEX_ADDRESS_MASK))
			error = -EUCLEAN;
	}
	if (error)
		kv->checkpoint_damaged = true;
	if (error && !atomic_exchange(&checkpoint->reported, true))
		damaged(kv, "a part of the index cannot be read; open the store again to have it made anew");
	return error;
}

/* Sorts them by chunk: counts, and then puts each in its place. */
static int sort_changes(struct bucket_changes *sorted, const struct format_checkpoint_slot *changes,
			size_t count, size_t chunks, uint64_t slots)
{
	size_t *next = sorted->starts + 1, i;

	for (i = 0; i < count; i++) {
		if (changes[i].number >= slots)
			return -EUCLEAN;
		sorted->starts[changes[i].number / CHUNK_SLOTS + 2]++;
	}
	for (i = 2; i < chunks + 2; i++)
		sorted->starts[i] += sorted->starts[i - 1];
	/* starts[n + 1] is where the next one of chunk n goes, and in the end where chunk n + 1 begins. */
	for (i = 0; i < count; i++)
		sorted->changes[next[changes[i].number / CHUNK_SLOTS]++] = changes[i];
	return 0;
}

static int read_changes(struct checkpoint *checkpoint)
{
	const struct format_checkpoint *header = &checkpoint->file.header;
	size_t size = header->sizes[FORMAT_CHECKPOINT_BUCKET_CHANGES];
	size_t chunks = format_checkpoint_chunks_of(header->sizes[FORMAT_CHECKPOINT_BUCKETS]);
	struct checkpoint_reader *reader = NULL;
	struct format_checkpoint_slot *changes = malloc(size + 1);
	int error;

	checkpoint->changes.changes = malloc(size + 1);
	checkpoint->changes.starts = calloc(chunks + 2, sizeof(size_t));
	error = changes && checkpoint->changes.changes && checkpoint->changes.starts ?
			checkpoint_reader_new(&checkpoint->file, FORMAT_CHECKPOINT_BUCKET_CHANGES,
					      &reader) :
			-ENOMEM;
	if (!error)
		error = checkpoint_reader_read(reader, changes, size);
	if (!error)
		error = sort_changes(&checkpoint->changes, changes, size / sizeof(*changes), chunks,
				     header->sizes[FORMAT_CHECKPOINT_BUCKETS] / sizeof(uint64_t));
	free(reader);
	free(changes);
	return error;
}

static int defer(struct checkpoint *checkpoint, unsigned keyspace, const void *key,
		 size_t key_size, uint64_t address)
{
	struct deferred *deferred = malloc(sizeof(*deferred) + key_size);

	if (!deferred)
		return -ENOMEM;
	deferred->next = NULL;
	deferred->address = address;
	deferred->keyspace = (uint8_t)keyspace;
	deferred->key_size = (uint16_t)key_size;
	memcpy(deferred->key, key, key_size);
	*checkpoint->deferred_end = deferred;
	checkpoint->deferred_end = &deferred->next;
	return 0;
}

int checkpoint_defer(struct kv *kv, unsigned keyspace, const void *key, size_t key_size,
		     uint64_t address)
{
	return defer(kv->checkpoint, keyspace, key, key_size, address);
}

static int read_order_change(struct kv *kv, struct checkpoint *checkpoint,
			     struct checkpoint_reader *reader, uint8_t *key)
{
	struct format_checkpoint_change change;
	int error = checkpoint_reader_read(reader, &change, sizeof(change));

	if (error)
		return error;
	if (!change.key_size || change.keyspace >= FORMAT_KEYSPACES ||
	    !kv->order_of[change.keyspace])
		return -EUCLEAN;
	error = checkpoint_reader_read(reader, key, change.key_size);
	/* Of a segment that is gone: a later change says what it is now. */
	if (error || (change.address && !is_covered(kv, change.address)))
		return error;
	return defer(checkpoint, change.keyspace, key, change.key_size, change.address);
}

/* What changed in the ordered indexes while they were saved: to be done when they are there, before what replay changes. */
static int read_order_changes(struct kv *kv, struct checkpoint *checkpoint)
{
	struct checkpoint_reader *reader = NULL;
	uint8_t *key = malloc(KV_KEY_SIZE_MAX);
	int error = key ? checkpoint_reader_new(&checkpoint->file, FORMAT_CHECKPOINT_ORDER_CHANGES,
						&reader) :
			  -ENOMEM;

	while (!error && reader->left)
		error = read_order_change(kv, checkpoint, reader, key);
	free(key);
	free(reader);
	return error;
}

/* ---- taking it over -------------------------------------------------------------------------- */

static bool is_same(const struct kv *kv, const struct format_checkpoint_segment *entry)
{
	const struct segment *segment = entry->slot < atomic_load(&kv->segments.count) ?
						kv->segments.table[entry->slot] :
						NULL;

	return segment && entry->id && segment->id == entry->id && segment->salt == entry->salt &&
	       !segment->covered && entry->state <= FORMAT_CHECKPOINT_EMPTIED && entry->end >= FORMAT_SEGMENT_HEADER_SIZE &&
	       entry->end <= kv->segments.size && entry->end % FORMAT_RECORD_ALIGN == 0 &&
	       entry->live_bytes <= entry->end && entry->tombstone_bytes <= entry->end;
}

static int cover(struct kv *kv, const struct format_checkpoint_segment *entry)
{
	struct segment *segment;
	bool emptied = entry->state == FORMAT_CHECKPOINT_EMPTIED;

	if (!is_same(kv, entry))
		return emptied ? 0 : -ESTALE;
	segment = kv->segments.table[entry->slot];
	segment->end = entry->end;
	segment->newest_seq = entry->newest_seq;
	segment->complete = entry->state != FORMAT_CHECKPOINT_OPEN;
	segment->named = !emptied;
	/* It was freed, but that was not durable yet. Compaction will find it. */
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

/* As if there had been no checkpoint. */
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

static int take_over(struct kv *kv, struct checkpoint *checkpoint)
{
	const struct format_checkpoint *header = &checkpoint->file.header;
	unsigned i;
	int error = cover_segments(kv, checkpoint);

	if (!error)
		error = read_order_changes(kv, checkpoint);
	if (!error && header->index_buckets >> 31)
		error = -EUCLEAN;
	if (!error)
		error = read_changes(checkpoint);
	if (error)
		return error;
	index_fini(&kv->index);
	error = index_load(&kv->index, header->index_buckets, header->index_entries,
			   header->sizes[FORMAT_CHECKPOINT_BUCKETS], read_buckets, kv);
	if (error) {
		int again = index_init(&kv->index);

		return again ? again : error;
	}
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
	atomic_store(&kv->orders_loading, true);
	return 0;
}

static void checkpoint_free(struct checkpoint *checkpoint)
{
	struct deferred *next;

	while (checkpoint->deferred) {
		next = checkpoint->deferred->next;
		free(checkpoint->deferred);
		checkpoint->deferred = next;
	}
	pthread_cond_destroy(&checkpoint->done);
	pthread_mutex_destroy(&checkpoint->lock);
	checkpoint_file_close(&checkpoint->file);
	free(checkpoint->changes.changes);
	free(checkpoint->changes.starts);
	free(checkpoint);
}

static struct checkpoint *checkpoint_new(void)
{
	struct checkpoint *checkpoint = calloc(1, sizeof(*checkpoint));

	if (!checkpoint)
		return NULL;
	checkpoint->deferred_end = &checkpoint->deferred;
	pthread_mutex_init(&checkpoint->lock, NULL);
	pthread_cond_init(&checkpoint->done, NULL);
	return checkpoint;
}

int checkpoint_open(struct kv *kv)
{
	struct checkpoint *checkpoint = checkpoint_new();
	int error;

	if (!checkpoint)
		return -ENOMEM;
	error = checkpoint_file_open(&checkpoint->file, kv->env, kv->dir, kv->segments.uuid);
	kv->checkpoint_there = error != -ENOENT;
	if (!error) {
		error = take_over(kv, checkpoint);
		if (!error)
			return 0;
		uncover_segments(kv);
	}
	checkpoint_free(checkpoint);
	if (error == -ENOMEM)
		return error;
	/* Compaction has moved on since it was written: that is as usual. */
	if (error != -ESTALE && error != -ENOENT)
		damaged(kv, "cannot be used; the whole log is read instead");
	return 0;
}

/* ---- the ordered indexes --------------------------------------------------------------------- */

/* Where the reading of an ordered index is. */
struct order_reader {
	struct checkpoint_reader *reader;
	size_t key_size; /* 0: before the first one */
	uint64_t address; /* 0: of a segment that went while it was saved; a change says what it is now */
	uint8_t key[KV_KEY_SIZE_MAX], rest[KV_KEY_SIZE_MAX];
};

/* Is what the new key has behind their shared bytes above what the old one has there? */
static bool is_rising(const struct order_reader *reader, size_t shared, size_t rest)
{
	size_t old = reader->key_size - shared;
	int order = memcmp(reader->rest, reader->key + shared, old < rest ? old : rest);

	return order > 0 || (!order && rest > old);
}

static int read_entry(struct kv *kv, struct order_reader *reader)
{
	struct format_checkpoint_entry entry;
	int error = checkpoint_reader_read(reader->reader, &entry, sizeof(entry));

	if (error)
		return error;
	if (entry.shared > reader->key_size || !entry.rest ||
	    (size_t)entry.shared + entry.rest > KV_KEY_SIZE_MAX)
		return -EUCLEAN;
	error = checkpoint_reader_read(reader->reader, reader->rest, entry.rest);
	if (error)
		return error;
	if (!is_rising(reader, entry.shared, entry.rest))
		return -EUCLEAN;
	memcpy(reader->key + entry.shared, reader->rest, entry.rest);
	reader->key_size = (size_t)entry.shared + entry.rest;
	reader->address = is_covered(kv, entry.address) ? entry.address : 0;
	return 0;
}

static int load_order(struct kv *kv, unsigned keyspace)
{
	struct checkpoint *checkpoint = kv->checkpoint;
	struct order_reader *reader = malloc(sizeof(*reader));
	int error = -ENOMEM;

	if (!reader)
		return error;
	reader->key_size = 0;
	error = checkpoint_reader_new(&checkpoint->file, FORMAT_CHECKPOINT_ORDERS + keyspace,
				      &reader->reader);
	if (error)
		goto out;
	while (!error && reader->reader->left) {
		if (atomic_load_explicit(&checkpoint->stopping, memory_order_relaxed))
			error = -ECANCELED;
		if (!error)
			error = read_entry(kv, reader);
		if (!error && reader->address)
			error = order_put(kv->order_of[keyspace], reader->key, reader->key_size,
					  reader->address);
	}
	free(reader->reader);
out:
	free(reader);
	return error;
}

static int do_deferred(struct kv *kv)
{
	const struct deferred *deferred;
	int error = 0;

	for (deferred = kv->checkpoint->deferred; deferred && !error; deferred = deferred->next) {
		struct order *order = kv->order_of[deferred->keyspace];

		if (deferred->address)
			error = order_put(order, deferred->key, deferred->key_size,
					  deferred->address);
		else if (order_delete(order, deferred->key, deferred->key_size) == -EINVAL)
			error = -EINVAL;
	}
	return error;
}

static int load_orders(struct kv *kv)
{
	unsigned i;
	int error = 0;

	for (i = 0; i < FORMAT_KEYSPACES && !error; i++) {
		if (kv->order_of[i])
			error = load_order(kv, i);
	}
	if (!error)
		error = do_deferred(kv);
	for (i = 0; i < FORMAT_KEYSPACES && !error; i++) {
		if (kv->order_of[i] &&
		    order_count(kv->order_of[i]) != atomic_load(&kv->keys[i]))
			error = -EUCLEAN;
	}
	return error;
}

/* From the hash index and the records: slower, but always possible as long as these can be read. */
static int add_to_order(void *arg, uint64_t address)
{
	struct kv *kv = arg;
	const struct format_record *record = segments_record(&kv->segments, address);
	struct order *order = record ? kv->order_of[record->keyspace] : NULL;

	if (!record)
		store_damaged(kv, address);
	if (atomic_load_explicit(&kv->checkpoint->stopping, memory_order_relaxed))
		return -ECANCELED;
	return order ? order_put(order, record->key, record->key_size, address) : 0;
}

static int rebuild_orders(struct kv *kv)
{
	unsigned i;
	int error = 0;

	damaged(kv, "an ordered index cannot be read; it is made anew from the records");
	for (i = 0; i < FORMAT_KEYSPACES && !error; i++) {
		if (!kv->order_of[i])
			continue;
		order_free(kv->order_of[i]);
		error = order_new(&kv->order_of[i]);
	}
	if (error)
		return error;
	/* What replay changed is in the hash index already. Writers and compaction wait for us. */
	epoch_enter();
	pthread_mutex_lock(&kv->log.lock);
	error = index_each(&kv->index, add_to_order, kv);
	pthread_mutex_unlock(&kv->log.lock);
	epoch_leave();
	return error;
}

/* ---- loading what nobody has asked for ------------------------------------------------------- */

static void load(struct kv *kv)
{
	struct checkpoint *checkpoint = kv->checkpoint;
	int error = load_orders(kv);
	bool all = false;

	if (error && error != -ECANCELED)
		error = rebuild_orders(kv);
	if (error && error != -ECANCELED) {
		atomic_store(&kv->orders_failed, true);
		(void)store_poison(kv, error, "an ordered index could not be loaded");
	}
	atomic_store_explicit(&kv->orders_loading, false, memory_order_release);
	pthread_mutex_lock(&checkpoint->lock);
	pthread_cond_broadcast(&checkpoint->done);
	pthread_mutex_unlock(&checkpoint->lock);
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

void checkpoint_start(struct kv *kv)
{
	struct checkpoint *checkpoint = kv->checkpoint;

	atomic_store(&kv->indexes_whole, !checkpoint);
	if (!checkpoint)
		return;
	if (kv->inline_maintenance || pthread_create(&checkpoint->thread, NULL, loader, kv))
		load(kv);
	else
		checkpoint->running = true;
}

void checkpoint_await_orders(struct kv *kv)
{
	struct checkpoint *checkpoint = kv->checkpoint;

	pthread_mutex_lock(&checkpoint->lock);
	while (atomic_load(&kv->orders_loading))
		pthread_cond_wait(&checkpoint->done, &checkpoint->lock);
	pthread_mutex_unlock(&checkpoint->lock);
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

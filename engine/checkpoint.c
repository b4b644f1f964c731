/* SPDX-License-Identifier: MIT */
/* checkpoint.c - opening from a checkpoint: see checkpoint.h. */
#include "checkpoint.h"

#include <errno.h>
#include <stdlib.h>

#include "epoch.h"
#include "lookup.h"

#define CHUNKS_PER_STEP 16u /* of the hash index, between two looks whether to stop */

/* A change of an ordered index that waits. */
struct deferred {
	struct deferred *next;
	uint64_t address; /* 0: delete */
	uint16_t key_size;
	uint8_t keyspace;
	uint8_t key[];
};

struct checkpoint {
	struct env_file *file;
	struct format_checkpoint header;
	uint64_t *sums; /* [header.chunks] */
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

static int read_chunk(struct kv *kv, const struct checkpoint *checkpoint, uint64_t chunk, void *out)
{
	int error;

	if (chunk >= checkpoint->header.chunks)
		return -EUCLEAN;
	error = kv->env->file_read(checkpoint->file, out, FORMAT_CHECKPOINT_CHUNK,
				   (1 + chunk) * FORMAT_CHECKPOINT_CHUNK);
	if (!error && format_sum(out, FORMAT_CHECKPOINT_CHUNK) != checkpoint->sums[chunk])
		error = -EUCLEAN;
	return error;
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
	const uint64_t *entries = (const uint64_t *)out;
	int error = read_chunk(kv, checkpoint, checkpoint->header.index.chunk + chunk, out);
	size_t i;

	for (i = 0; i < INDEX_CHUNK_SIZE / sizeof(*entries) && !error; i++) {
		if (entries[i] && !is_covered(kv, entries[i] & INDEX_ADDRESS_MASK))
			error = -EUCLEAN;
	}
	if (error && !atomic_exchange(&checkpoint->reported, true))
		damaged(kv, "a part of the index cannot be read; open the store again to have it made anew");
	return error;
}

static int read_header(struct kv *kv, struct checkpoint *checkpoint)
{
	struct format_checkpoint *header = &checkpoint->header;
	uint64_t size, chunks;
	size_t sums_size;
	int error = kv->env->file_read(checkpoint->file, header, sizeof(*header), 0);

	if (!error)
		error = format_checkpoint_validate(header, kv->segments.uuid);
	if (!error)
		error = kv->env->file_size(checkpoint->file, &size);
	if (error)
		return error;
	chunks = header->chunks;
	sums_size = chunks * sizeof(*checkpoint->sums);
	if (size < (1 + chunks) * FORMAT_CHECKPOINT_CHUNK + sums_size)
		return -EUCLEAN;
	checkpoint->sums = malloc(sums_size ? sums_size : 1);
	if (!checkpoint->sums)
		return -ENOMEM;
	error = kv->env->file_read(checkpoint->file, checkpoint->sums, sums_size,
				   (1 + chunks) * FORMAT_CHECKPOINT_CHUNK);
	if (!error && format_sum(checkpoint->sums, sums_size) != header->sums_check)
		error = -EUCLEAN;
	return error;
}

/* ---- reading a section in order -------------------------------------------------------------- */

struct reader {
	struct kv *kv;
	const struct checkpoint *checkpoint;
	uint64_t chunk;	 /* the next one */
	uint64_t left;	 /* bytes of the section */
	size_t at, used; /* in bytes */
	uint8_t bytes[FORMAT_CHECKPOINT_CHUNK];
};

static struct reader *reader_new(struct kv *kv, const struct checkpoint *checkpoint,
				 const struct format_checkpoint_section *section)
{
	struct reader *reader = malloc(sizeof(*reader));

	if (!reader)
		return NULL;
	reader->kv = kv;
	reader->checkpoint = checkpoint;
	reader->chunk = section->chunk;
	reader->left = section->size;
	reader->at = reader->used = 0;
	return reader;
}

static int reader_read(struct reader *reader, void *out, size_t size)
{
	uint8_t *to = out;

	if (size > reader->left)
		return -EUCLEAN;
	reader->left -= size;
	while (size) {
		size_t part = reader->used - reader->at;
		int error;

		if (!part) {
			error = read_chunk(reader->kv, reader->checkpoint, reader->chunk++,
					   reader->bytes);
			if (error)
				return error;
			reader->at = 0;
			reader->used = sizeof(reader->bytes);
			continue;
		}
		if (part > size)
			part = size;
		memcpy(to, reader->bytes + reader->at, part);
		reader->at += part;
		to += part;
		size -= part;
	}
	return 0;
}

/* ---- taking it over -------------------------------------------------------------------------- */

static bool is_same(const struct kv *kv, const struct format_checkpoint_segment *entry)
{
	const struct segment *segment = entry->slot < atomic_load(&kv->segments.count) ?
						kv->segments.table[entry->slot] :
						NULL;

	return segment && entry->id && segment->id == entry->id && segment->salt == entry->salt &&
	       !segment->covered && entry->end >= FORMAT_SEGMENT_HEADER_SIZE &&
	       entry->end <= kv->segments.size && entry->end % FORMAT_RECORD_ALIGN == 0 &&
	       entry->live_bytes <= entry->end && entry->tombstone_bytes <= entry->end;
}

static int cover(struct kv *kv, const struct format_checkpoint_segment *entry)
{
	struct segment *segment;

	if (!is_same(kv, entry))
		return -ESTALE;
	segment = kv->segments.table[entry->slot];
	segment->end = entry->end;
	segment->newest_seq = entry->newest_seq;
	segment->complete = entry->sealed;
	segment->tombstone_bytes = entry->tombstone_bytes;
	memcpy(segment->dictionaries, entry->dictionaries, sizeof(segment->dictionaries));
	atomic_store(&segment->live_bytes, entry->live_bytes);
	return segment_cover(&kv->segments, segment, entry->end);
}

static int cover_segments(struct kv *kv, const struct checkpoint *checkpoint)
{
	struct reader *reader = reader_new(kv, checkpoint, &checkpoint->header.segments);
	struct format_checkpoint_segment entry;
	uint32_t i;
	int error = reader ? 0 : -ENOMEM;

	for (i = 0; i < checkpoint->header.segment_count && !error; i++) {
		error = reader_read(reader, &entry, sizeof(entry));
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
		if (kv->segments.table[slot])
			segment_uncover(&kv->segments, kv->segments.table[slot]);
	}
}

static int take_over(struct kv *kv, struct checkpoint *checkpoint)
{
	const struct format_checkpoint *header = &checkpoint->header;
	unsigned i;
	int error = cover_segments(kv, checkpoint);

	if (error)
		return error;
	index_fini(&kv->index);
	error = index_load(&kv->index, header->index_buckets, header->index_entries,
			   header->index.size, read_buckets, kv);
	if (error) {
		int again = index_init(&kv->index);

		return again ? again : error;
	}
	kv->segments.covered_slots = atomic_load(&kv->segments.count);
	atomic_store(&kv->log_bytes, header->log_bytes);
	atomic_store(&kv->live_bytes, header->live_bytes);
	kv->tombstone_bytes = header->tombstone_bytes;
	kv->checkpoint_seq = header->last_seq;
	for (i = 0; i < FORMAT_KEYSPACES; i++)
		atomic_store(&kv->keys[i], header->keys[i]);
	kv->checkpoint = checkpoint;
	atomic_store(&kv->orders_loading, true);
	return 0;
}

static void checkpoint_free(struct kv *kv, struct checkpoint *checkpoint)
{
	struct deferred *next;

	while (checkpoint->deferred) {
		next = checkpoint->deferred->next;
		free(checkpoint->deferred);
		checkpoint->deferred = next;
	}
	pthread_cond_destroy(&checkpoint->done);
	pthread_mutex_destroy(&checkpoint->lock);
	free(checkpoint->sums);
	if (checkpoint->file)
		kv->env->file_close(checkpoint->file);
	free(checkpoint);
}

static struct checkpoint *checkpoint_new(struct env_file *file)
{
	struct checkpoint *checkpoint = calloc(1, sizeof(*checkpoint));

	if (!checkpoint)
		return NULL;
	checkpoint->file = file;
	checkpoint->deferred_end = &checkpoint->deferred;
	pthread_mutex_init(&checkpoint->lock, NULL);
	pthread_cond_init(&checkpoint->done, NULL);
	return checkpoint;
}

int checkpoint_open(struct kv *kv)
{
	struct checkpoint *checkpoint;
	struct env_file *file;
	int error;

	if (kv->env->file_open(kv->dir, FORMAT_CHECKPOINT_NAME, ENV_READ_ONLY, &file))
		return 0;
	checkpoint = checkpoint_new(file);
	if (!checkpoint) {
		kv->env->file_close(file);
		return -ENOMEM;
	}
	error = read_header(kv, checkpoint);
	if (!error)
		error = take_over(kv, checkpoint);
	kv->checkpoint_there = true;
	if (!error)
		return 0;
	checkpoint_free(kv, checkpoint);
	uncover_segments(kv);
	if (error == -ENOMEM)
		return error;
	/* Compaction has moved on since it was written: that is as usual. */
	if (error != -ESTALE)
		damaged(kv, "cannot be used; the whole log is read instead");
	return 0;
}

/* ---- the ordered indexes --------------------------------------------------------------------- */

int checkpoint_defer(struct kv *kv, const struct format_record *record, uint64_t address)
{
	struct checkpoint *checkpoint = kv->checkpoint;
	struct deferred *deferred = malloc(sizeof(*deferred) + record->key_size);

	if (!deferred)
		return -ENOMEM;
	deferred->next = NULL;
	deferred->address = address;
	deferred->keyspace = record->keyspace;
	deferred->key_size = record->key_size;
	memcpy(deferred->key, record->key, record->key_size);
	*checkpoint->deferred_end = deferred;
	checkpoint->deferred_end = &deferred->next;
	return 0;
}

/* The next entry of an ordered index, on top of the key before it. */
static int read_entry(struct reader *reader, uint8_t *key, size_t *key_size, uint64_t *address)
{
	struct format_checkpoint_entry entry;
	uint8_t old_next = 0;
	int error = reader_read(reader, &entry, sizeof(entry));

	if (error)
		return error;
	if (entry.shared > *key_size || !entry.rest ||
	    (size_t)entry.shared + entry.rest > KV_KEY_SIZE_MAX ||
	    !is_covered(reader->kv, entry.address))
		return -EUCLEAN;
	if (entry.shared < *key_size)
		old_next = key[entry.shared];
	error = reader_read(reader, key + entry.shared, entry.rest);
	/* Rising: behind what they share the new one has more, or a larger byte. */
	if (!error && entry.shared < *key_size && key[entry.shared] <= old_next)
		error = -EUCLEAN;
	*key_size = (size_t)entry.shared + entry.rest;
	*address = entry.address;
	return error;
}

static int load_order(struct kv *kv, unsigned keyspace)
{
	struct checkpoint *checkpoint = kv->checkpoint;
	struct reader *reader =
		reader_new(kv, checkpoint, &checkpoint->header.orders[keyspace]);
	uint8_t *key = malloc(KV_KEY_SIZE_MAX);
	size_t key_size = 0;
	uint64_t address;
	int error = reader && key ? 0 : -ENOMEM;

	while (!error && reader->left) {
		if (atomic_load_explicit(&checkpoint->stopping, memory_order_relaxed))
			error = -ECANCELED;
		if (!error)
			error = read_entry(reader, key, &key_size, &address);
		if (!error)
			error = order_put(kv->order_of[keyspace], key, key_size, address);
	}
	if (!error && order_count(kv->order_of[keyspace]) != checkpoint->header.keys[keyspace])
		error = -EUCLEAN;
	free(key);
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
	return error ? error : do_deferred(kv);
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
	kv->indexes_whole = all && !error;
	if (all) {
		kv->env->file_close(checkpoint->file);
		checkpoint->file = NULL;
	}
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

	kv->indexes_whole = !checkpoint;
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

bool checkpoint_discard(struct kv *kv)
{
	(void)kv->env->unlink(kv->dir, FORMAT_CHECKPOINT_NEW_NAME);
	if (!kv->checkpoint_there)
		return false;
	checkpoint_finish(kv);
	kv->checkpoint_there = false;
	return !kv->env->unlink(kv->dir, FORMAT_CHECKPOINT_NAME) && !kv->env->dir_sync(kv->dir);
}

void checkpoint_stop(struct kv *kv)
{
	struct checkpoint *checkpoint = kv->checkpoint;

	if (!checkpoint)
		return;
	atomic_store(&checkpoint->stopping, true);
	if (checkpoint->running)
		pthread_join(checkpoint->thread, NULL);
	checkpoint_free(kv, checkpoint);
	kv->checkpoint = NULL;
}

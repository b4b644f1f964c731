/* SPDX-License-Identifier: MIT */
/*
 * checkpoint_save.c - see checkpoint_save.h.
 *
 * It is exact as of its end. What has been saved and changes again is noted, store by store, in two journals that whoever changes
 * an index appends to under the commit lock; what was saved with what was noted since is the index as it is when the
 * journals are taken down. In the same stay under the lock the small state is copied. Then all that the log holds up to there
 * is made durable, and only then does the file get its name; the one before it is there until then.
 *
 * Threads: whoever has maintain.lock.
 */
#include "checkpoint_save.h"

#include <errno.h>
#include <stdlib.h>

#include "checkpoint.h"
#include "checkpoint_file.h"
#include "cold.h"
#include "journal.h"
#include "snapshot.h"

#define CHUNK FORMAT_CHECKPOINT_CHUNK
#define BUFFER_CHUNKS 16u	 /* written at a time */
#define BUFFER_CHUNKS_INLINE 4u
#define STEP_CHUNKS 4u		 /* between two looks at what else there is to do */
#define CHUNK_SLOTS (CHUNK / sizeof(uint64_t))
#define SETTLE_BUCKETS 64u	 /* moved in one */
#define SETTLE_STAYS 64u
#define JOURNAL_BLOCKS 256u	 /* 16 MiB of 64 KiB */
#define REST_BLOCKS 2u		 /* when so little is waiting to be written the end has come */
#define RUSH_STEPS 64u		 /* or after so many tries */

enum phase { PHASE_SETTLE, PHASE_BUCKETS, PHASE_ORDERS, PHASE_END };

struct checkpoint_save {
	struct kv *kv;
	enum phase phase;
	unsigned rush; /* steps in which the journals should have come to an end */
	uint64_t begun_us;
	struct checkpoint_writer writer;
	struct index_saving buckets;
	struct journal bucket_changes, order_changes;
	/* The ordered index that is being saved. */
	unsigned keyspace;
	struct order_walk *walk; /* NULL: none is */
	uint8_t *last;		 /* the key before */
	size_t last_size;
	uint32_t chunk;	 /* of the section */
	bool fenced;	 /* an entry began in it */
	size_t used;	 /* of the chunk, in bytes */
	uint8_t stream[CHUNK];
	uint8_t *fences;
	size_t fences_size, fences_room;
	struct format_checkpoint_segment *segments;
};

/* ---- the journals ------------------------------------------------------------------------------ */

static int write_blocks(struct checkpoint_save *save, const struct journal_block *block,
			unsigned section)
{
	int error = 0;

	for (; block && !error; block = block->next)
		error = checkpoint_writer_put(&save->writer, section, block->bytes, block->used);
	return error;
}

/* What is noted goes to the file: the journals' full blocks, or all. */
static int write_journals(struct checkpoint_save *save, bool all)
{
	pthread_mutex_t *lock = &save->kv->log.lock;
	struct journal_block *buckets, *orders;
	int error;

	pthread_mutex_lock(lock);
	buckets = journal_take(&save->bucket_changes, all);
	orders = journal_take(&save->order_changes, all);
	pthread_mutex_unlock(lock);
	if (!buckets && !orders)
		return 0;
	error = write_blocks(save, buckets, FORMAT_CHECKPOINT_BUCKET_CHANGES);
	if (!error)
		error = write_blocks(save, orders, FORMAT_CHECKPOINT_ORDER_CHANGES);
	pthread_mutex_lock(lock);
	journal_give(&save->bucket_changes, buckets);
	journal_give(&save->order_changes, orders);
	pthread_mutex_unlock(lock);
	return error;
}

void checkpoint_note(struct kv *kv, const struct format_record *record, uint64_t address)
{
	struct format_checkpoint_change change = {.key_size = record->key_size,
						  .keyspace = record->keyspace,
						  .address = address};

	if (!(kv->orders_noted & 1u << record->keyspace))
		return;
	journal_append(kv->order_changes, &change, sizeof(change));
	journal_append(kv->order_changes, record->key, record->key_size);
}

/* ---- the hash index ---------------------------------------------------------------------------- */

/* A growth under way is brought to its end first. */
static int settle(struct checkpoint_save *save)
{
	struct kv *kv = save->kv;
	struct format_checkpoint *header = &save->writer.header;
	unsigned stays = SETTLE_STAYS;
	bool settled = false;
	int error = 0;

	while (!settled && stays--) {
		pthread_mutex_lock(&kv->log.lock);
		settled = index_settle(&kv->index, SETTLE_BUCKETS);
		if (settled)
			error = index_save_begin(&kv->index, &save->buckets, &save->bucket_changes);
		pthread_mutex_unlock(&kv->log.lock);
	}
	if (!settled)
		return atomic_load(&kv->index.failed) ? -EIO : 0;
	header->index_buckets = save->buckets.slots / INDEX_SLOTS - INDEX_REACH;
	save->phase = PHASE_BUCKETS;
	return error;
}

/*
 * The lock is held for as long as it takes to say what is copied; the table cannot go before the maintainer, who this is, frees it. -EAGAIN:
 * a growth came between.
 */
static int save_buckets(struct checkpoint_save *save, unsigned chunks)
{
	struct kv *kv = save->kv;
	uint64_t left = save->buckets.slots - save->buckets.saved;
	uint64_t count = left < chunks * CHUNK_SLOTS ? left : chunks * CHUNK_SLOTS;
	const _Atomic uint64_t *slots = NULL;
	int error = 0;

	pthread_mutex_lock(&kv->log.lock);
	if (!save->bucket_changes.lost)
		slots = index_save_next(&save->buckets, count);
	pthread_mutex_unlock(&kv->log.lock);
	if (!slots)
		return -EAGAIN;
	while (count && !error) {
		size_t part = count < CHUNK_SLOTS ? count : CHUNK_SLOTS;

		index_save_copy(slots, (uint64_t *)checkpoint_writer_room(&save->writer), part);
		error = checkpoint_writer_push(&save->writer, FORMAT_CHECKPOINT_BUCKETS,
					       part * sizeof(uint64_t));
		slots += part;
		count -= part;
	}
	if (!error && save->buckets.saved == save->buckets.slots)
		save->phase = PHASE_ORDERS;
	return error;
}

/* ---- the ordered indexes ----------------------------------------------------------------------- */

static unsigned order_section(const struct checkpoint_save *save)
{
	return FORMAT_CHECKPOINT_ORDERS + save->keyspace;
}

static int push_stream(struct checkpoint_save *save)
{
	size_t used = save->used;

	memcpy(checkpoint_writer_room(&save->writer), save->stream, used);
	save->used = 0;
	save->fenced = false;
	save->chunk++;
	return used ? checkpoint_writer_push(&save->writer, order_section(save), used) : 0;
}

static int stream_put(struct checkpoint_save *save, const void *data, size_t size)
{
	const uint8_t *from = data;
	int error = 0;

	while (size && !error) {
		size_t room = CHUNK - save->used, part = size < room ? size : room;

		memcpy(save->stream + save->used, from, part);
		save->used += part;
		from += part;
		size -= part;
		if (part == room)
			error = push_stream(save);
	}
	return error;
}

static int add_fence(struct checkpoint_save *save, const uint8_t *key, size_t key_size)
{
	struct format_checkpoint_fence fence = {.chunk = save->chunk,
						.offset = (uint16_t)save->used,
						.key_size = (uint16_t)key_size,
						.keyspace = (uint8_t)save->keyspace};
	size_t need = save->fences_size + sizeof(fence) + key_size, room = save->fences_room;
	uint8_t *fences;

	while (room < need)
		room = room * 2 + CHUNK;
	if (room > save->fences_room) {
		fences = realloc(save->fences, room);
		if (!fences)
			return -ENOMEM;
		save->fences = fences;
		save->fences_room = room;
	}
	memcpy(save->fences + save->fences_size, &fence, sizeof(fence));
	memcpy(save->fences + save->fences_size + sizeof(fence), key, key_size);
	save->fences_size = need;
	return 0;
}

static size_t shared_size(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size)
{
	size_t size = 0;

	while (size < a_size && size < b_size && a[size] == b[size])
		size++;
	return size;
}

static int put_entry(struct checkpoint_save *save)
{
	size_t key_size, shared = 0;
	const uint8_t *key = order_walk_key(save->walk, &key_size);
	struct format_checkpoint_entry entry = {.address = order_walk_address(save->walk)};
	int error = 0;

	if (save->fenced)
		shared = shared_size(save->last, save->last_size, key, key_size);
	else
		error = add_fence(save, key, key_size);
	save->fenced = true;
	entry.shared = (uint16_t)shared;
	entry.rest = (uint16_t)(key_size - shared);
	if (!error)
		error = stream_put(save, &entry, sizeof(entry));
	if (!error)
		error = stream_put(save, key + shared, key_size - shared);
	memcpy(save->last + shared, key + shared, key_size - shared);
	save->last_size = key_size;
	return error;
}

/* From here on its changes are noted; what was before, the walk sees. */
static int begin_order(struct checkpoint_save *save)
{
	struct kv *kv = save->kv;
	int error = order_walk_new(kv->order_of[save->keyspace], &save->walk);

	if (error)
		return error;
	pthread_mutex_lock(&kv->log.lock);
	kv->order_changes = &save->order_changes;
	kv->orders_noted |= 1u << save->keyspace;
	pthread_mutex_unlock(&kv->log.lock);
	save->last_size = 0;
	save->chunk = 0;
	save->fenced = false;
	return order_walk_first(save->walk);
}

static int end_order(struct checkpoint_save *save)
{
	int error = push_stream(save);

	order_walk_free(save->walk);
	save->walk = NULL;
	save->keyspace++;
	return error;
}

static int save_orders(struct checkpoint_save *save, unsigned chunks)
{
	int error = 0;

	while (chunks && !error && save->keyspace < FORMAT_KEYSPACES) {
		uint32_t chunk = save->chunk;

		if (!save->kv->order_of[save->keyspace]) {
			save->keyspace++;
			continue;
		}
		error = save->walk ? order_walk_next(save->walk) : begin_order(save);
		if (!error)
			error = put_entry(save);
		else if (error == -ENOENT)
			error = end_order(save);
		chunks -= save->chunk != chunk;
	}
	if (!error && save->keyspace == FORMAT_KEYSPACES)
		save->phase = PHASE_END;
	return error;
}

/* ---- the end ------------------------------------------------------------------------------------ */

/* Prepared and not yet used ones are none of the log's. */
static bool is_of_log(const struct kv *kv, const struct segment *segment)
{
	const struct segment *spare;

	if (!segment || !segment->id)
		return false;
	for (spare = kv->log.spares; spare && spare != segment; spare = spare->next)
		;
	return !spare;
}

static void copy_segment(const struct kv *kv, struct segment *segment,
			 struct format_checkpoint_segment *entry)
{
	bool hot = segment == kv->log.hot.active, open = hot || segment == kv->cold.active;

	memset(entry, 0, sizeof(*entry));
	entry->id = segment->id;
	entry->salt = segment->salt;
	entry->slot = segment->slot;
	entry->end = hot ? kv->log.hot.offset : segment->end;
	entry->newest_seq = segment->newest_seq;
	entry->state = segment->emptied ? FORMAT_CHECKPOINT_EMPTIED :
		       open	       ? FORMAT_CHECKPOINT_OPEN :
					 FORMAT_CHECKPOINT_SEALED;
	segment->named_next = !segment->emptied;
	if (segment->emptied)
		return;
	entry->live_bytes = atomic_load(&segment->live_bytes);
	entry->tombstone_bytes = segment->tombstone_bytes;
	memcpy(entry->dictionaries, segment->dictionaries, sizeof(entry->dictionaries));
}

/* The small state, all of one moment. With the lock. */
static void copy_state(struct checkpoint_save *save)
{
	struct kv *kv = save->kv;
	struct format_checkpoint *header = &save->writer.header;
	uint32_t slot, count = atomic_load(&kv->segments.count);
	unsigned i;

	memcpy(header->uuid, kv->segments.uuid, sizeof(header->uuid));
	header->last_seq = atomic_load(&kv->log.last_seq);
	header->index_entries = atomic_load(&kv->index.entries);
	header->log_bytes = atomic_load(&kv->log_bytes);
	header->live_bytes = atomic_load(&kv->live_bytes);
	header->tombstone_bytes = kv->tombstone_bytes;
	for (i = 0; i < FORMAT_KEYSPACES; i++)
		header->keys[i] = atomic_load(&kv->keys[i]);
	for (slot = 0; slot < count; slot++) {
		struct segment *segment = kv->segments.table[slot];

		if (segment)
			segment->named_next = false;
		if (!is_of_log(kv, segment))
			continue;
		copy_segment(kv, segment, &save->segments[header->segment_count++]);
		/* What may be gone is counted if it is there. */
		if (segment->emptied) {
			header->log_bytes -= segment->end;
			header->tombstone_bytes -= segment->tombstone_bytes;
		}
	}
	kv->checkpoints.position_bytes = checkpoint_position(kv);
}

static void end_notes(struct checkpoint_save *save)
{
	index_save_end(&save->buckets);
	save->kv->order_changes = NULL;
	save->kv->orders_noted = 0;
}

/* Ends the journals, if next to nothing of them is left to be written. False: not yet. */
static bool capture(struct checkpoint_save *save, int *error)
{
	struct kv *kv = save->kv;
	bool done;

	free(save->segments);
	save->segments = calloc((size_t)atomic_load(&kv->segments.count) + 1,
				sizeof(*save->segments));
	if (!save->segments) {
		*error = -ENOMEM;
		return false;
	}
	pthread_mutex_lock(&kv->log.lock);
	done = save->bucket_changes.full + save->order_changes.full <= REST_BLOCKS ||
	       save->rush++ > RUSH_STEPS;
	if (save->bucket_changes.lost || save->order_changes.lost)
		*error = -EAGAIN;
	else if (!checkpoint_is_plain(kv))
		*error = -EBUSY;
	else if (done) {
		end_notes(save);
		copy_state(save);
	}
	pthread_mutex_unlock(&kv->log.lock);
	return done && !*error;
}

/* Which segments the file that has the name speaks of; after a failure it may be either one. */
static void set_named(struct kv *kv, bool for_good)
{
	uint32_t slot, count = atomic_load(&kv->segments.count);

	for (slot = 0; slot < count; slot++) {
		struct segment *segment = kv->segments.table[slot];

		if (segment)
			segment->named = segment->named_next || (segment->named && !for_good);
	}
}

static int finish(struct checkpoint_save *save)
{
	struct kv *kv = save->kv;
	struct checkpoint_writer *writer = &save->writer;
	bool renamed = false;
	/* Deletions of snapshots that stand before it are not replayed any more. */
	int error = snapshots_save_all(kv);

	/* It speaks of what nobody has waited for yet. */
	if (!error)
		error = cold_flush(kv);
	if (!error)
		error = write_journals(save, true);
	if (!error)
		error = checkpoint_writer_put(writer, FORMAT_CHECKPOINT_SEGMENTS, save->segments,
					      writer->header.segment_count * sizeof(*save->segments));
	if (!error)
		error = checkpoint_writer_put(writer, FORMAT_CHECKPOINT_FENCES, save->fences,
					      save->fences_size);
	if (!error)
		error = checkpoint_writer_finish(writer, &renamed);
	if (renamed) {
		kv->checkpoint_there = true;
		set_named(kv, !error);
	}
	if (error)
		return error;
	atomic_store(&kv->checkpoints.behind_from, kv->checkpoints.position_bytes);
	store_add(&kv->checkpoints.written, 1);
	atomic_store(&kv->checkpoints.seq, writer->header.last_seq);
	atomic_store(&kv->checkpoints.bytes, (1 + writer->chunk) * CHUNK);
	atomic_store(&kv->checkpoints.took_us, kv->env->clock_us(kv->env) - save->begun_us);
	return 0;
}

/* ---- the course --------------------------------------------------------------------------------- */

void checkpoint_save_abandon(struct kv *kv)
{
	struct checkpoint_save *save = kv->checkpoint_save;

	if (!save)
		return;
	kv->checkpoint_save = NULL;
	pthread_mutex_lock(&kv->log.lock);
	end_notes(save);
	pthread_mutex_unlock(&kv->log.lock);
	journal_fini(&save->bucket_changes);
	journal_fini(&save->order_changes);
	order_walk_free(save->walk);
	checkpoint_writer_close(&save->writer);
	free(save->last);
	free(save->fences);
	free(save->segments);
	free(save);
}

int checkpoint_save_begin(struct kv *kv, bool around)
{
	struct checkpoint_save *save = calloc(1, sizeof(*save));
	int error;

	if (!save)
		return -ENOMEM;
	save->kv = kv;
	save->begun_us = kv->env->clock_us(kv->env);
	save->last = malloc(KV_KEY_SIZE_MAX);
	error = save->last ? 0 : -ENOMEM;
	if (!error)
		error = journal_init(&save->bucket_changes, JOURNAL_BLOCKS);
	if (!error)
		error = journal_init(&save->order_changes, JOURNAL_BLOCKS);
	if (!error)
		error = checkpoint_writer_open(
			&save->writer, kv->env, kv->dir,
			kv->inline_maintenance ? BUFFER_CHUNKS_INLINE : BUFFER_CHUNKS, around);
	else
		save->writer.env = kv->env;
	kv->checkpoint_save = save;
	if (error)
		checkpoint_save_abandon(kv);
	return error;
}

/* 1: it is written. -EAGAIN: what it saves has changed too much, begin again. */
static int advance(struct checkpoint_save *save, unsigned chunks)
{
	int error;

	switch (save->phase) {
	case PHASE_SETTLE:
		error = settle(save);
		break;
	case PHASE_BUCKETS:
		error = save_buckets(save, chunks);
		break;
	case PHASE_ORDERS:
		error = save_orders(save, chunks);
		break;
	default:
		error = 0;
		if (capture(save, &error))
			error = finish(save);
		else
			return error ? error : write_journals(save, false);
		return error ? error : 1;
	}
	return error ? error : write_journals(save, false);
}

int checkpoint_save_step(struct kv *kv)
{
	int result = advance(kv->checkpoint_save, kv->inline_maintenance ? 1 : STEP_CHUNKS);

	if (result)
		checkpoint_save_abandon(kv);
	return result;
}

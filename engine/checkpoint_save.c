/* SPDX-License-Identifier: MIT */
/*
 * checkpoint_save.c - see checkpoint_save.h.
 *
 * It is exact as of its end. What has been saved and changes again is noted, store by store, in
 * journals that whoever changes an index appends to under the commit lock; what was saved with what
 * was noted since is the index as it is when the journals are taken down. In the same stay under
 * the lock the small state is copied. Then all that the log holds up to there is made durable, and
 * only then does the file get its name; the one before it is there until then.
 *
 * Threads: whoever has maintain.lock.
 */
#include "checkpoint_save.h"

#include <errno.h>
#include <stdlib.h>

#include "checkpoint.h"
#include "checkpoint_order_save.h"
#include "checkpoint_version.h"
#include "cold.h"
#include "loss.h"
#include "snapshot.h"

#define CHUNK FORMAT_CHECKPOINT_CHUNK
#define BUFFER_CHUNKS 16u	 /* written at a time */
#define BUFFER_CHUNKS_INLINE 4u
#define STEP_CHUNKS 4u		 /* between two looks at what else there is to do */
#define CHUNK_SLOTS (CHUNK / sizeof(uint64_t))
#ifndef SETTLE_BUCKETS /* tests/crash/small.h */
#define SETTLE_BUCKETS 64u	 /* moved in one */
#endif
#ifndef SETTLE_STAYS /* tests/crash/small.h */
#define SETTLE_STAYS 64u
#endif
#define JOURNAL_BLOCKS 256u	 /* 16 MiB of 64 KiB */
#define REST_BLOCKS 2u		 /* when so little is waiting to be written the end has come */
#define RUSH_STEPS 64u		 /* or after so many tries */

enum phase {
	PHASE_SETTLE,
	PHASE_BUCKETS,
	PHASE_ORDERS,
	PHASE_VERSION_SETTLE,
	PHASE_VERSION_BUCKETS,
	PHASE_VERSIONS,
	PHASE_GHOSTS,
	PHASE_END,
};

/* Each takes what changes of something that was saved, and has a section of its own. */
enum note { NOTE_BUCKETS, NOTE_ORDERS, NOTE_VERSION_BUCKETS, NOTE_VERSIONS, NOTES };

static const unsigned note_sections[NOTES] = {
	FORMAT_CHECKPOINT_BUCKET_CHANGES,
	FORMAT_CHECKPOINT_ORDER_CHANGES,
	FORMAT_CHECKPOINT_VERSION_BUCKET_CHANGES,
	FORMAT_CHECKPOINT_VERSION_CHANGES,
};

struct checkpoint_save {
	struct kv *kv;
	enum phase phase;
	unsigned rush; /* steps in which the journals should have come to an end */
	uint64_t begun_us;
	struct checkpoint_writer writer;
	struct journal notes[NOTES];
	struct index_saving buckets, version_buckets;
	struct order_saving orders;
	struct version_saving versions;
	struct ghost_saving ghosts;
	struct checkpoint_stream stream;
	struct format_checkpoint_segment *segments;
};

/* ---- the journals ---------------------------------------------------------------------------- */

static int write_blocks(struct checkpoint_save *save, const struct journal_block *block,
			unsigned section)
{
	int error = 0;

	for (; block && !error; block = block->next)
		error = checkpoint_writer_put(&save->writer, section, block->bytes, block->used);
	return error;
}

/* Writes what has been noted to the file: the journals' full blocks, or all of them. */
static int write_journals(struct checkpoint_save *save, bool all)
{
	pthread_mutex_t *lock = &save->kv->log.lock;
	struct journal_block *blocks[NOTES];
	bool any = false;
	unsigned i;
	int error = 0;

	pthread_mutex_lock(lock);
	for (i = 0; i < NOTES; i++) {
		blocks[i] = journal_take(&save->notes[i], all);
		any |= blocks[i] != NULL;
	}
	pthread_mutex_unlock(lock);
	if (!any)
		return 0;
	for (i = 0; i < NOTES && !error; i++)
		error = write_blocks(save, blocks[i], note_sections[i]);
	pthread_mutex_lock(lock);
	for (i = 0; i < NOTES; i++)
		journal_give(&save->notes[i], blocks[i]);
	pthread_mutex_unlock(lock);
	return error;
}

/* With the lock. */
static bool any_lost(const struct checkpoint_save *save)
{
	bool lost = false;
	unsigned i;

	for (i = 0; i < NOTES; i++)
		lost |= save->notes[i].lost;
	return lost;
}

static unsigned full_blocks(const struct checkpoint_save *save)
{
	unsigned i, full = 0;

	for (i = 0; i < NOTES; i++)
		full += save->notes[i].full;
	return full;
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

/* ---- the hash indexes ------------------------------------------------------------------------ */

/* A growth under way is brought to its end first. Out: settled. */
static int settle(struct checkpoint_save *save, struct index *index, struct index_saving *saving,
		  struct journal *changes, bool *settled)
{
	struct kv *kv = save->kv;
	unsigned stays = SETTLE_STAYS;
	int error = 0;

	*settled = false;
	while (!*settled && stays--) {
		pthread_mutex_lock(&kv->log.lock);
		*settled = index_settle(index, SETTLE_BUCKETS);
		if (*settled)
			error = index_save_begin(index, saving, changes);
		pthread_mutex_unlock(&kv->log.lock);
	}
	return !*settled && atomic_load(&index->failed) ? -EIO : error;
}

/*
 * The lock is held for as long as it takes to say what is copied; the table cannot go before the
 * maintainer, who this is, frees it. -EAGAIN: a growth came between. 1: these were the last ones.
 */
static int save_buckets(struct checkpoint_save *save, struct index_saving *saving, unsigned section,
			unsigned chunks)
{
	struct kv *kv = save->kv;
	const _Atomic uint64_t *slots = NULL;
	uint64_t left, count;
	int error = 0;

	left = saving->slots - saving->saved;
	count = left < chunks * CHUNK_SLOTS ? left : chunks * CHUNK_SLOTS;
	pthread_mutex_lock(&kv->log.lock);
	if (!saving->changes->lost)
		slots = index_save_next(saving, count);
	pthread_mutex_unlock(&kv->log.lock);
	if (!slots)
		return -EAGAIN;
	while (count && !error) {
		size_t part = count < CHUNK_SLOTS ? count : CHUNK_SLOTS;

		index_save_copy(slots, (uint64_t *)checkpoint_writer_room(&save->writer), part);
		error = checkpoint_writer_push(&save->writer, section, part * sizeof(uint64_t));
		slots += part;
		count -= part;
	}
	return error ? error : saving->saved == saving->slots;
}

static uint64_t buckets_of(const struct index_saving *saving)
{
	return saving->slots / INDEX_SLOTS - INDEX_REACH;
}

/* ---- the end --------------------------------------------------------------------------------- */

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
	header->index_buckets = buckets_of(&save->buckets);
	header->index_entries = atomic_load(&kv->index.entries);
	header->snapshots_seq = atomic_load(&kv->snapshots.changed_seq);
	header->versions = atomic_load(&kv->versions.count);
	if (header->versions) {
		header->version_numbers = kv->versions.used;
		header->version_buckets = buckets_of(&save->version_buckets);
		header->version_entries = atomic_load(&kv->versions.index.entries);
	}
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
		/*
		 * An emptied segment may be gone when the store is opened; it counts there if it is
		 * there.
		 */
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
	index_save_end(&save->version_buckets);
	version_saving_end(save->kv);
	save->kv->order_changes = NULL;
	save->kv->orders_noted = 0;
}

/* Ends the journals, if next to nothing of them is left to be written. False: not yet. */
static bool capture(struct checkpoint_save *save, int *error)
{
	struct kv *kv = save->kv;
	bool done = false;

	free(save->segments);
	save->segments = calloc((size_t)atomic_load(&kv->segments.count) + 1,
				sizeof(*save->segments));
	if (!save->segments) {
		*error = -ENOMEM;
		return false;
	}
	pthread_mutex_lock(&kv->log.lock);
	if (any_lost(save)) {
		*error = -EAGAIN;
	} else if (atomic_load(&kv->versions.count) && !save->versions.begun) {
		/* There were none when it was their turn. */
		save->phase = PHASE_VERSION_SETTLE;
	} else if (full_blocks(save) <= REST_BLOCKS || save->rush++ > RUSH_STEPS) {
		copy_state(save);
		end_notes(save);
		done = true;
	}
	pthread_mutex_unlock(&kv->log.lock);
	return done;
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

	/* The checkpoint speaks of records that nobody has synced yet. */
	if (!error)
		error = cold_flush(kv, UINT64_MAX);
	if (!error)
		error = write_journals(save, true);
	if (!error)
		error = checkpoint_writer_put(writer, FORMAT_CHECKPOINT_SEGMENTS, save->segments,
					      writer->header.segment_count *
						      sizeof(*save->segments));
	if (!error)
		error = checkpoint_writer_put(writer, FORMAT_CHECKPOINT_FENCES, save->orders.fences,
					      save->orders.fences_size);
	if (!error)
		error = checkpoint_writer_finish(writer, &renamed);
	if (renamed) {
		kv->checkpoint_there = true;
		kv->checkpoints.check = writer->header.check;
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

/* ---- the course ------------------------------------------------------------------------------ */

void checkpoint_save_abandon(struct kv *kv)
{
	struct checkpoint_save *save = kv->checkpoint_save;
	unsigned i;

	if (!save)
		return;
	kv->checkpoint_save = NULL;
	pthread_mutex_lock(&kv->log.lock);
	end_notes(save);
	pthread_mutex_unlock(&kv->log.lock);
	for (i = 0; i < NOTES; i++)
		journal_fini(&save->notes[i]);
	order_saving_fini(&save->orders);
	ghost_saving_fini(&save->ghosts);
	checkpoint_writer_close(&save->writer);
	free(save->segments);
	free(save);
}

int checkpoint_save_begin(struct kv *kv, bool around)
{
	struct checkpoint_save *save;
	unsigned i;
	int error = loss_settle(kv);

	if (error)
		return error;
	save = calloc(1, sizeof(*save));
	if (!save)
		return -ENOMEM;
	save->kv = kv;
	save->begun_us = kv->env->clock_us(kv->env);
	save->stream.writer = &save->writer;
	save->versions.changes = &save->notes[NOTE_VERSIONS];
	save->ghosts.kv = kv;
	save->ghosts.stream = &save->stream;
	save->ghosts.changes = &save->notes[NOTE_ORDERS];
	error = order_saving_init(&save->orders, kv, &save->stream, &save->notes[NOTE_ORDERS]);
	for (i = 0; i < NOTES && !error; i++)
		error = journal_init(&save->notes[i], JOURNAL_BLOCKS);
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

/* A step of a phase. 1: that was its last one. */
static int save_some(struct checkpoint_save *save, unsigned chunks)
{
	struct kv *kv = save->kv;
	bool settled;
	int error;

	switch (save->phase) {
	case PHASE_SETTLE:
		error = settle(save, &kv->index, &save->buckets, &save->notes[NOTE_BUCKETS],
			       &settled);
		return error ? error : settled;
	case PHASE_BUCKETS:
		return save_buckets(save, &save->buckets, FORMAT_CHECKPOINT_BUCKETS, chunks);
	case PHASE_ORDERS:
		return order_saving_step(&save->orders, chunks);
	case PHASE_VERSION_SETTLE:
		error = settle(save, &kv->versions.index, &save->version_buckets,
			       &save->notes[NOTE_VERSION_BUCKETS], &settled);
		return error ? error : settled;
	case PHASE_VERSION_BUCKETS:
		return save_buckets(save, &save->version_buckets, FORMAT_CHECKPOINT_VERSION_BUCKETS,
				    chunks);
	case PHASE_VERSIONS:
		return version_saving_step(&save->versions, kv, &save->stream, chunks);
	default:
		return ghost_saving_step(&save->ghosts, chunks);
	}
}

static enum phase phase_behind(const struct checkpoint_save *save)
{
	/* Most stores have none. */
	if (save->phase == PHASE_ORDERS && !atomic_load(&save->kv->versions.count))
		return PHASE_END;
	return save->phase + 1;
}

/* 1: it is written. -EAGAIN: what it saves has changed too much, begin again. */
static int advance(struct checkpoint_save *save, unsigned chunks)
{
	int result = 0;

	if (save->phase == PHASE_END) {
		if (!capture(save, &result))
			return result ? result : write_journals(save, false);
		result = finish(save);
		return result ? result : 1;
	}
	result = save_some(save, chunks);
	if (result == 1)
		save->phase = phase_behind(save);
	return result < 0 ? result : write_journals(save, false);
}

bool checkpoint_save_is_ending(const struct kv *kv)
{
	return kv->checkpoint_save && kv->checkpoint_save->phase == PHASE_END;
}

int checkpoint_save_step(struct kv *kv)
{
	int result = advance(kv->checkpoint_save, kv->inline_maintenance ? 1 : STEP_CHUNKS);

	if (result)
		checkpoint_save_abandon(kv);
	return result;
}

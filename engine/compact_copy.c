/* SPDX-License-Identifier: MIT */
/* compact_copy.c - see compact_copy.h. */
#include "compact_copy.h"

#include <errno.h>

#include "apply.h"
#include "cold.h"
#include "dictionary.h"
#include "epoch.h"
#include "log.h"
#include "lookup.h"

/* Under the lock for so many records at a time: less than a microsecond, in which nobody who waits falls asleep. */
#define RUN_RECORDS 8u
#define RUN_BYTES ((uint32_t)32 << 10)
#define READ_AHEAD ((uint32_t)1 << 20)

struct item {
	const struct format_record *record;
	struct format_record *copy; /* in the cold segment, or NULL */
	uint64_t hash;
	uint64_t address, copy_address;
	uint32_t offset;
	bool needed;
};

struct run {
	struct item items[RUN_RECORDS];
	unsigned count;
	uint32_t end; /* offset behind the last record */
};

/* ---- reading the victim ---------------------------------------------------------------------- */

/* The next stretch of a victim that is read through its map is asked for while this one is worked on. */
static void read_ahead(struct kv *kv)
{
	struct compaction *compaction = &kv->compaction;
	const struct segment *victim = compaction->victim;
	const uint8_t *map = atomic_load(&victim->map);
	uint32_t to = compaction->offset + 2 * READ_AHEAD;

	if (!map || compaction->asked >= victim->end ||
	    compaction->offset + READ_AHEAD < compaction->asked)
		return;
	if (to > victim->end)
		to = victim->end;
	kv->env->map_advise(map + (compaction->asked & ~(ENV_DIRECT_ALIGN - 1)),
			    to - (compaction->asked & ~(ENV_DIRECT_ALIGN - 1)), ENV_ADVICE_WILLNEED);
	compaction->asked = to;
}

/* The next records; their places in the index are on their way into the cache. */
static void gather(struct kv *kv, const uint8_t *base, uint32_t stop, struct run *run)
{
	struct compaction *compaction = &kv->compaction;
	struct segment *victim = compaction->victim;
	uint32_t offset = compaction->offset, start = offset;

	run->count = 0;
	while (run->count < RUN_RECORDS && offset < stop && offset - start < RUN_BYTES) {
		const struct format_record *record = (const struct format_record *)(base + offset);
		int64_t length = segment_validate(&kv->segments, victim, base, offset);
		struct item *item = &run->items[run->count];

		if (length <= 0) {
			/* Damaged since it was opened. What can be saved is; the rest was reported. */
			offset = segment_search(&kv->segments, victim, base,
						offset + FORMAT_RECORD_ALIGN, victim->end,
						&compaction->search_budget);
			continue;
		}
		if (record->key_size) {
			item->record = record;
			item->copy = NULL;
			item->offset = offset;
			item->address = segments_address(&kv->segments, victim->slot, offset);
			item->hash = keyhash_of(&kv->keyhash, record->keyspace, record->key,
						record->key_size);
			index_prefetch(&kv->index, item->hash);
			run->count++;
		}
		offset += (uint32_t)length;
	}
	run->end = offset;
}

static bool key_is_absent(struct kv *kv, const struct item *item)
{
	const struct format_record *record = item->record;
	struct lookup lookup = {&kv->segments, record->key, record->key_size, record->keyspace, NULL, 0};

	return !index_lookup(&kv->index, item->hash, lookup_match, &lookup);
}

static void decide(struct kv *kv, struct run *run)
{
	unsigned i;

	epoch_enter();
	for (i = 0; i < run->count; i++) {
		struct item *item = &run->items[i];

		if (item->record->flags & FORMAT_RECORD_TOMBSTONE)
			item->needed = !kv->compaction.oldest && key_is_absent(kv, item);
		else
			item->needed = apply_is_newest(kv, item->address, item->hash);
	}
	epoch_leave();
}

/* ---- copying --------------------------------------------------------------------------------- */

static void make_copy(struct kv *kv, struct item *item, uint8_t *to, uint64_t salt)
{
	const struct format_record *record = item->record;
	struct format_record *copy = (struct format_record *)to;

	memcpy(to, record, format_record_length(record));
	copy->flags = (record->flags & ~(unsigned)FORMAT_RECORD_MORE & 0xff) | FORMAT_RECORD_RELOCATED;
	copy->check ^= format_record_place(record, kv->compaction.victim->salt) ^
		       format_record_place(copy, salt);
	item->copy = copy;
}

/*
 * Compresses a value on its way into the cold segment, straight to its place: false if that would not make the record
 * shorter. What it takes less is given back.
 */
static bool make_packed_copy(struct kv *kv, struct item *item, uint8_t *to, uint64_t salt)
{
	const struct format_record *record = item->record;
	struct format_record *copy = (struct format_record *)to;
	uint64_t length = format_record_length(record), packed_length;
	size_t head = FORMAT_RECORD_HEADER_SIZE + record->key_size, size;
	const struct dictionary_choice *choice;
	struct ZSTD_CCtx_s *encoder;

	if (kv->info.compress != KV_COMPRESS_BACKGROUND || !dictionary_may_compress(record) ||
	    length < head + FORMAT_RECORD_ALIGN)
		return false;
	encoder = dictionary_encoder(kv);
	choice = dictionary_choice(kv, record->keyspace);
	size = encoder ? compress_value(encoder, choice->number, choice->cdict,
					format_record_value(record), record->value_size, to + head,
					length - FORMAT_RECORD_ALIGN - head) :
			 0;
	if (!size)
		return false;
	memcpy(to, record, head);
	copy->value_size = (uint32_t)size;
	copy->flags = (record->flags & ~(unsigned)FORMAT_RECORD_MORE & 0xff) |
		      FORMAT_RECORD_RELOCATED | FORMAT_RECORD_ZSTD;
	packed_length = format_record_length(copy);
	memset(to + head + size, 0, packed_length - head - size);
	copy->check = format_record_body_hash(copy) ^ format_record_place(copy, salt);
	cold_shorten(kv, length - packed_length);
	store_add(&kv->compressed_raw_bytes, record->value_size);
	store_add(&kv->compressed_bytes, size);
	item->copy = copy;
	return true;
}

/* Copies values to the cold segment, where there is one. -EIO */
static int copy_cold(struct kv *kv, struct run *run)
{
	unsigned i;
	int error;

	for (i = 0; i < run->count; i++) {
		struct item *item = &run->items[i];
		uint64_t length = format_record_length(item->record);
		uint8_t *at;

		if (!item->needed || (item->record->flags & FORMAT_RECORD_TOMBSTONE))
			continue;
		error = cold_reserve(kv, length);
		if (error == -EAGAIN || error == -ENOSPC || error == -ENOMEM)
			return 0;
		if (error)
			return error;
		at = cold_append(kv, length, &item->copy_address);
		if (!make_packed_copy(kv, item, at, kv->cold.active->salt))
			make_copy(kv, item, at, kv->cold.active->salt);
		dictionary_note(kv->cold.active, item->copy);
		if (item->record->seq > kv->cold.active->newest_seq)
			kv->cold.active->newest_seq = item->record->seq;
	}
	return 0;
}

/* Copies a record to the log's end. Called with the lock. -EAGAIN: no room now */
static int copy_hot(struct kv *kv, struct item *item, bool for_space)
{
	uint64_t keys[FORMAT_KEYSPACES] = {0}, length = format_record_length(item->record);
	int error = log_try_reserve(kv, length, for_space);

	if (error)
		return error;
	keys[item->record->keyspace] = 1;
	error = apply_reserve(kv, 1, keys, item->record->key_size);
	if (error)
		return error;
	make_copy(kv, item, log_append(kv, length, &item->copy_address),
		  kv->log.hot.active->salt);
	dictionary_note(kv->log.hot.active, item->copy);
	store_add(&kv->relocated_bytes, length);
	return apply_record(kv, item->copy, item->copy_address, item->hash);
}

/* Called with the lock. */
static int settle(struct kv *kv, struct item *item, bool for_space)
{
	if (!item->copy) {
		if (item->record->flags & FORMAT_RECORD_TOMBSTONE ?
			    !key_is_absent(kv, item) :
			    !apply_is_newest(kv, item->address, item->hash))
			return 0;
		return copy_hot(kv, item, for_space);
	}
	store_add(&kv->relocated_bytes, format_record_length(item->copy));
	return apply_move(kv, item->copy, item->hash, item->address,
			  format_record_length(item->record), item->copy_address);
}

/* Out: the offset up to which the victim is done. */
static int settle_run(struct kv *kv, struct run *run, bool for_space)
{
	struct compaction *compaction = &kv->compaction;
	unsigned i;
	int error = 0;

	pthread_mutex_lock(&kv->log.lock);
	if (kv->cold.active)
		cold_publish(kv);
	for (i = 0; i < run->count && !error; i++) {
		if (run->items[i].needed)
			error = settle(kv, &run->items[i], for_space);
	}
	pthread_mutex_unlock(&kv->log.lock);
	if (!error)
		compaction->offset = run->end;
	/* From the one that had no room; copies behind it that were made are the truth already. */
	else if (error == -EAGAIN)
		compaction->offset = run->items[i - 1].offset;
	return error;
}

static bool any_needed(const struct run *run)
{
	unsigned i;

	for (i = 0; i < run->count; i++) {
		if (run->items[i].needed)
			return true;
	}
	return false;
}

int compact_copy(struct kv *kv, uint32_t bytes, bool for_space)
{
	struct compaction *compaction = &kv->compaction;
	struct segment *victim = compaction->victim;
	const uint8_t *base = segments_base(&kv->segments, victim->slot);
	uint32_t stop = victim->end - compaction->offset > bytes ? compaction->offset + bytes :
								   victim->end;
	struct run run;
	int error = 0;

	read_ahead(kv);
	while (compaction->offset < stop && !error) {
		gather(kv, base, stop, &run);
		decide(kv, &run);
		if (!any_needed(&run)) {
			compaction->offset = run.end;
			continue;
		}
		error = for_space ? 0 : copy_cold(kv, &run);
		if (!error)
			error = settle_run(kv, &run, for_space);
	}
	return error;
}

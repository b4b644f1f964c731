/* SPDX-License-Identifier: MIT */
/*
 * compact.c - see compact.h.
 *
 * What a record of the victim is worth:
 *   a value whose address is the index's    appended again, and the indexes pointed there
 *   a tombstone, key absent, older segments exist   appended again: one of them may hold the key
 *   anything else                           dropped
 * The copies are RELOCATED batches of one. The order of the log decides at recovery, and each copy is appended, under the
 * commit lock, at a moment at which it is the truth about its key.
 *
 * The victim's file is erased only after a flush: then everything that made its records garbage is durable.
 */
#include "compact.h"

#include <errno.h>

#include "apply.h"
#include "epoch.h"
#include "log.h"
#include "lookup.h"
#include "sync.h"

#define STEP_BYTES ((uint32_t)256 << 10) /* of the victim, per step */
#define PAUSE_US 100u			 /* between two steps */
#define BACK_OFF_US 1000000u
#define STEPS_MAX 16u			 /* at once, when there is far too much garbage */
#define WORTH_DIVISOR 16u		 /* on a full disk: less garbage in a segment is not worth the copies */
#define SLACK_BYTES ((uint64_t)64 << 10)
#define SEGMENTS_MIN 4u			 /* smaller stores are left alone */
#define FREE_FILES_MIN 2u		 /* kept for reuse; more only in proportion to the store */

/* Bytes of records that may have to be copied. */
static uint64_t needed_of(const struct segment *segment)
{
	return atomic_load(&segment->live_bytes) + segment->tombstone_bytes;
}

static uint64_t garbage_of(const struct segment *segment)
{
	uint64_t needed = needed_of(segment) + FORMAT_SEGMENT_HEADER_SIZE;

	return segment->end > needed ? segment->end - needed : 0;
}

/* ---- picking --------------------------------------------------------------------------------- */

static bool is_candidate(const struct segment *segment)
{
	return segment && segment->id && segment->sealed && !segment->unreadable;
}

static struct segment *oldest_segment(struct kv *kv)
{
	struct segments *segments = &kv->segments;
	uint32_t slot, count = atomic_load(&segments->count);
	struct segment *oldest = NULL;

	for (slot = 0; slot < count; slot++) {
		struct segment *segment = segments->table[slot];

		if (segment && segment->id && segment->sealed &&
		    (!oldest || segment->id < oldest->id))
			oldest = segment;
	}
	return oldest;
}

/* The segment with the most garbage; of equals the oldest, so that tombstones outlive what they hide. */
static struct segment *most_garbage(struct kv *kv)
{
	struct segments *segments = &kv->segments;
	uint32_t slot, count = atomic_load(&segments->count);
	struct segment *best = NULL;

	for (slot = 0; slot < count; slot++) {
		struct segment *segment = segments->table[slot];

		if (!is_candidate(segment) || !garbage_of(segment))
			continue;
		if (!best || garbage_of(segment) > garbage_of(best) ||
		    (garbage_of(segment) == garbage_of(best) && segment->id < best->id))
			best = segment;
	}
	return best;
}

/* There was no room for copies a moment ago. */
static bool backing_off(const struct kv *kv)
{
	return kv->compaction.retry_at_us &&
	       kv->env->clock_us(kv->env) < kv->compaction.retry_at_us;
}

/* Called with the lock. */
static struct segment *pick(struct kv *kv)
{
	uint64_t log = atomic_load(&kv->log_bytes), live = atomic_load(&kv->live_bytes);
	uint64_t tombstones = kv->tombstone_bytes;

	if (log < (uint64_t)SEGMENTS_MIN * kv->segments.size || backing_off(kv))
		return NULL;
	if (tombstones > log / 4 && is_candidate(oldest_segment(kv)))
		return oldest_segment(kv);
	if (log - live - tombstones <= log / 2)
		return NULL;
	return most_garbage(kv);
}

/* ---- copying --------------------------------------------------------------------------------- */

/* Is the record still the truth about its key? */
static bool is_needed(struct kv *kv, const struct format_record *record, uint64_t address,
		      uint64_t hash)
{
	struct lookup lookup = {&kv->segments, record->key, record->key_size, record->keyspace, NULL};
	struct index_place place;
	uint64_t newest;

	if (record->flags & (FORMAT_RECORD_MARK | FORMAT_RECORD_END))
		return false;
	newest = index_find(&kv->index, hash, lookup_match, &lookup, &place);
	if (record->flags & FORMAT_RECORD_TOMBSTONE)
		return !newest && !kv->compaction.oldest;
	return newest == address;
}

/* Copies one record behind the tail. Called with the lock. -EAGAIN: no room now */
static int relocate(struct kv *kv, const struct segment *victim, const struct format_record *record,
		    uint64_t hash, bool for_space)
{
	uint64_t keys[FORMAT_KEYSPACES] = {0}, length = format_record_length(record), address;
	struct format_record *copy;
	int error;

	error = log_try_reserve(kv, length, for_space);
	if (error)
		return error;
	keys[record->keyspace] = 1;
	error = apply_reserve(kv, 1, keys, record->key_size);
	if (error)
		return error;
	copy = (struct format_record *)log_append(kv, length, &address);
	memcpy(copy, record, length);
	copy->flags = (record->flags & ~(unsigned)FORMAT_RECORD_MORE & 0xff) | FORMAT_RECORD_RELOCATED;
	copy->check ^= format_record_place(record, victim->salt) ^
		       format_record_place(copy, kv->log.hot.active->salt);
	store_add(&kv->relocated_bytes, length);
	return apply_record(kv, copy, address, hash);
}

/*
 * Goes on with the victim, up to `bytes` further. 0: done with that share; -EAGAIN: no room for a copy now.
 */
static int copy_some(struct kv *kv, uint32_t bytes, bool for_space)
{
	struct compaction *compaction = &kv->compaction;
	struct segment *victim = compaction->victim;
	const uint8_t *base = atomic_load(&kv->segments.bases[victim->slot]);
	uint32_t stop = victim->end - compaction->offset > bytes ? compaction->offset + bytes :
								   victim->end;
	int error = 0;

	while (compaction->offset < stop && !error) {
		uint32_t offset = compaction->offset;
		const struct format_record *record = (const struct format_record *)(base + offset);
		int64_t length = segment_validate(&kv->segments, victim, base, offset);
		uint64_t hash;

		if (length <= 0) {
			/* Damaged since it was opened. What can be saved is; the rest was reported. */
			compaction->offset += FORMAT_RECORD_ALIGN;
			continue;
		}
		hash = record->key_size ? keyhash_of(&kv->keyhash, record->keyspace, record->key,
						     record->key_size) :
					  0;
		pthread_mutex_lock(&kv->log.lock);
		if (is_needed(kv, record, segments_address(&kv->segments, victim->slot, offset),
			      hash))
			error = relocate(kv, victim, record, hash, for_space);
		pthread_mutex_unlock(&kv->log.lock);
		if (!error)
			compaction->offset += (uint32_t)length;
	}
	return error;
}

/* ---- freeing --------------------------------------------------------------------------------- */

/* Files beyond what the store will soon use again go back to the disk. Called with the lock. */
static void drop_free_files(struct kv *kv)
{
	struct segments *segments = &kv->segments;
	uint32_t slot, count = atomic_load(&segments->count), unused = 0, used = 0;

	for (slot = 0; slot < count; slot++) {
		if (segments->table[slot])
			++*(segments->table[slot]->id ? &used : &unused);
	}
	while (slot-- > 0 && unused > FREE_FILES_MIN + used / 8) {
		struct segment *segment = segments->table[slot];

		if (!segment || segment->id)
			continue;
		if (segment_remove(segments, segment))
			return;
		unused--;
	}
}

/* A victim with nothing left that anyone needs becomes a free file: 1; 0 if there is something left after all. */
static int free_victim(struct kv *kv)
{
	struct segment *victim = kv->compaction.victim;
	int error;

	kv->compaction.victim = NULL;
	if (atomic_load(&victim->live_bytes)) {
		/* Something in it can no longer be read: it stays as it is, for a repair. */
		victim->unreadable = true;
		return 0;
	}
	error = sync_flush(kv);
	if (error)
		return error;
	epoch_wait();
	error = segment_erase(&kv->segments, victim);
	if (error)
		return store_poison(kv, error, "freeing a segment failed");
	pthread_mutex_lock(&kv->log.lock);
	store_add(&kv->log_bytes, -(uint64_t)victim->end);
	kv->tombstone_bytes -= victim->tombstone_bytes;
	segment_release(&kv->segments, victim);
	drop_free_files(kv);
	pthread_mutex_unlock(&kv->log.lock);
	return 1;
}

/* ---- the maintainer's calls ------------------------------------------------------------------ */

static void take_victim(struct kv *kv, struct segment *victim)
{
	kv->compaction.victim = victim;
	kv->compaction.oldest = victim && victim == oldest_segment(kv);
	kv->compaction.offset = FORMAT_SEGMENT_HEADER_SIZE;
}

uint64_t compact_pause_us(const struct kv *kv)
{
	uint64_t now_us;

	if (kv->compaction.victim)
		return PAUSE_US;
	if (!kv->compaction.retry_at_us)
		return UINT64_MAX;
	now_us = kv->env->clock_us(kv->env);
	return kv->compaction.retry_at_us > now_us ? kv->compaction.retry_at_us - now_us : PAUSE_US;
}

static void step(struct kv *kv)
{
	struct compaction *compaction = &kv->compaction;
	int error;

	if (atomic_load(&kv->failed))
		return;
	if (!compaction->victim) {
		pthread_mutex_lock(&kv->log.lock);
		take_victim(kv, pick(kv));
		pthread_mutex_unlock(&kv->log.lock);
	}
	if (!compaction->victim)
		return;
	compaction->retry_at_us = 0;
	error = copy_some(kv, STEP_BYTES, false);
	if (error == -EAGAIN && !kv->log.spare_error)
		return;
	if (error) {
		/* The disk is full: by way of the reserve, or else later. */
		compaction->victim = NULL;
		if (!compact_for_space(kv))
			compaction->retry_at_us = kv->env->clock_us(kv->env) + BACK_OFF_US;
		return;
	}
	if (compaction->offset >= compaction->victim->end)
		free_victim(kv);
}

/* More garbage than the store should ever have: writers are faster than small steps. */
static bool behind(const struct kv *kv)
{
	uint64_t log = atomic_load(&kv->log_bytes);

	return log > (uint64_t)SEGMENTS_MIN * kv->segments.size &&
	       log / 3 > atomic_load(&kv->live_bytes) && !backing_off(kv);
}

void compact_step(struct kv *kv)
{
	unsigned steps = 0;

	do {
		step(kv);
	} while (behind(kv) && ++steps < STEPS_MAX);
}

/* The segment with the most garbage among those whose needed records fit into the log as it is. Called with the lock. */
static struct segment *pick_for_space(struct kv *kv)
{
	struct segments *segments = &kv->segments;
	uint32_t slot, count = atomic_load(&segments->count);
	uint64_t room = segments->size - kv->log.hot.offset;
	struct segment *best = NULL;

	room += (uint64_t)kv->log.spare_count * (segments->size - FORMAT_SEGMENT_HEADER_SIZE);
	for (slot = 0; slot < count; slot++) {
		struct segment *segment = segments->table[slot];

		if (!is_candidate(segment) || garbage_of(segment) < segments->size / WORTH_DIVISOR)
			continue;
		/* With what switching to the spare may leave unused, and the MARKs and the END that may come between. */
		if (needed_of(segment) + SLACK_BYTES > room && needed_of(segment))
			continue;
		if (!best || garbage_of(segment) > garbage_of(best))
			best = segment;
	}
	return best;
}

static struct segment *choose_for_space(struct kv *kv)
{
	struct segment *victim;

	pthread_mutex_lock(&kv->log.lock);
	victim = pick_for_space(kv);
	pthread_mutex_unlock(&kv->log.lock);
	if (victim || log_use_reserve(kv))
		return victim;
	pthread_mutex_lock(&kv->log.lock);
	victim = pick_for_space(kv);
	pthread_mutex_unlock(&kv->log.lock);
	return victim;
}

bool compact_for_space(struct kv *kv)
{
	struct compaction *compaction = &kv->compaction;
	struct segment *victim;

	if (atomic_load(&kv->failed))
		return false;
	/* Segments that are full but not yet written can be emptied as well, once they are. */
	if (sync_flush(kv))
		return false;
	victim = choose_for_space(kv);
	if (!victim)
		return false;
	/* One that was half done starts again later: what it had copied is garbage there now. */
	take_victim(kv, victim);
	if (copy_some(kv, UINT32_MAX, true)) {
		compaction->victim = NULL;
		return false;
	}
	/* Not the victim's id: its struct may be gone with its file. */
	return free_victim(kv) > 0;
}

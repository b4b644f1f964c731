/* SPDX-License-Identifier: MIT */
/*
 * compact_free.c - see compact_free.h.
 *
 * Emptied segments are freed together: one flush, one grace period. Their files are erased only
 * after that flush: then the copies, and everything that made the other records garbage, are
 * durable.
 */
#include "compact_free.h"

#include <errno.h>

#include "brake.h"
#include "cold.h"
#include "compact_copied.h"
#include "dictionary.h"
#include "epoch.h"
#include "log.h"
#include "log_spare.h"
#include "loss.h"
#include "manifest.h"
#include "segment_file.h"
#include "snapshot.h"

#define RETRY_US 1000000u    /* after there was no room to say what is freed */
#define EMPTIED_MIN 2u	     /* freed together, at least, and so much of a larger log: */
#define EMPTIED_DIVISOR 8u
#define FREE_FILES_MIN 4u    /* kept for reuse; more only in proportion to the store */
#define SCARCE_SEGMENTS 16u  /* of free disk: then they are not kept */

/*
 * Files beyond what the store will soon use again go back to the disk. Not in the middle of a
 * stream: making and allocating a file takes the disk longer than all else that a segment needs,
 * and writing to it for the first time is slower as well. What stays then goes when the store rests
 * (trim.c).
 */
static void drop_free_files(struct kv *kv)
{
	struct segments *segments = &kv->segments;
	uint32_t slot, count = atomic_load(&segments->count), used = 0;
	bool scarce = segments_space(segments, NULL) < (uint64_t)SCARCE_SEGMENTS * segments->size;

	if (!scarce && !kv->inline_maintenance && log_is_streaming(kv))
		return;
	for (slot = 0; slot < count; slot++)
		used += segments->table[slot] && segments->table[slot]->id;
	segments_drop_free(segments, FREE_FILES_MIN + used / 8, &kv->log.lock);
}

/* Those which were to leave stay, as if a checkpoint named them, until compact_free_kept. */
static void put_off(struct kv *kv)
{
	uint32_t slot, count = atomic_load(&kv->segments.count);

	for (slot = 0; slot < count; slot++) {
		struct segment *segment = kv->segments.table[slot];

		if (!segment || !segment->leaving)
			continue;
		store_add(&kv->compaction.kept_bytes, segment->end);
		segment->kept = true;
		segment->leaving = false;
	}
}

/*
 * No room, no memory or no descriptor for the list: it is what it was, and there may be some
 * later.
 */
static bool is_shortage(int error)
{
	return env_is_short(error) || error == -ENOMEM;
}

/*
 * What stays says the newest number, and the list of segments that they may be gone, before they
 * are. A shortage, as of a disk that never overwrites in place: freeing is put off.
 */
static int announce(struct kv *kv)
{
	int error = log_keep_number(kv);

	if (error)
		return error;
	error = loss_settle(kv);
	if (!error)
		error = manifest_write(kv);
	if (is_shortage(error)) {
		put_off(kv);
		kv->compaction.free_at_us = kv->env->clock_us(kv->env) + RETRY_US;
		return error;
	}
	return error ? store_poison(kv, error, "writing what segments there are failed") : 0;
}

static int free_one(struct kv *kv, struct segment *victim)
{
	int error = segment_erase(&kv->segments, victim);

	if (error)
		return store_poison(kv, error, "freeing a segment failed");
	pthread_mutex_lock(&kv->log.lock);
	store_add(&kv->log_bytes, -(uint64_t)victim->end);
	kv->tombstone_bytes -= victim->tombstone_bytes;
	segment_release(&kv->segments, victim);
	pthread_mutex_unlock(&kv->log.lock);
	store_add(&kv->victims, 1);
	kv->compaction.freed += victim->gained;
	return 0;
}

/*
 * The list of snapshots must be in its file before a change of it is erased. Where that is not
 * possible now, such segments stay. Out: how many may go.
 */
static unsigned hold_snapshots(struct kv *kv, unsigned count)
{
	struct compaction *compaction = &kv->compaction;
	unsigned i, free = 0;

	for (i = 0; i < count; i++) {
		struct segment *segment = compaction->emptied[i];

		segment->held = snapshots_save(kv, segment->snapshots_seq) != 0;
		if (segment->held)
			segment->emptied = false;
		else
			compaction->emptied[free++] = segment;
	}
	/* Those that stay are victims again, with what was copied of them. */
	if (free < count)
		compact_copied_forget(kv);
	return free;
}

/* What was freed can be used from here on. */
static int finish_freeing(struct kv *kv)
{
	int error;

	drop_free_files(kv);
	/*
	 * Once they are gone, so may be the tombstones that hide what is in them: they must not
	 * come back. And the disk has their space once their names are gone for good.
	 */
	error = segments_sync_names(&kv->segments);
	if (error)
		return store_poison(kv, error, "freeing a segment failed");
	dictionary_sweep(kv);
	return 0;
}

int compact_free_emptied(struct kv *kv)
{
	struct compaction *compaction = &kv->compaction;
	unsigned i, count = compaction->emptied_count, freed = 0;
	int error;

	if (!count)
		return 0;
	compaction->emptied_count = 0;
	error = cold_flush(kv, compaction->emptied_bytes);
	if (error)
		return error;
	count = hold_snapshots(kv, count);
	epoch_wait();
	for (i = 0; i < count; i++) {
		struct segment *segment = compaction->emptied[i];

		segment->kept = segment->named;
		segment->leaving = !segment->named;
		store_add(&compaction->kept_bytes, segment->kept ? segment->end : 0);
		freed += segment->leaving;
	}
	if (freed)
		error = announce(kv);
	for (i = 0; i < count && !error; i++) {
		if (compaction->emptied[i]->leaving)
			error = free_one(kv, compaction->emptied[i]);
	}
	return error || !freed ? error : finish_freeing(kv);
}

void compact_free_kept(struct kv *kv)
{
	uint32_t slot, count = atomic_load(&kv->segments.count), freed = 0;
	int error = 0;

	for (slot = 0; slot < count; slot++) {
		struct segment *segment = kv->segments.table[slot];

		if (!segment || !segment->kept || segment->named)
			continue;
		store_add(&kv->compaction.kept_bytes, -(uint64_t)segment->end);
		segment->kept = false;
		segment->leaving = true;
		freed++;
	}
	if (freed)
		error = announce(kv);
	for (slot = 0; slot < count && freed && !error; slot++) {
		struct segment *segment = kv->segments.table[slot];

		if (segment && segment->leaving)
			error = free_one(kv, segment);
	}
	if (!error && freed)
		(void)finish_freeing(kv);
}

bool compact_enough_emptied(const struct kv *kv)
{
	unsigned count = kv->compaction.emptied_count;
	uint64_t segments = atomic_load(&kv->log_bytes) / kv->segments.size;

	return count == COMPACTION_EMPTIED_MAX ||
	       (count >= EMPTIED_MIN && (brake_is_on(kv) || count >= segments / EMPTIED_DIVISOR));
}

bool compact_can_free(struct kv *kv)
{
	const struct compaction *compaction = &kv->compaction;

	/*
	 * What is appended before the end of a full segment will be durable in moments, without the
	 * maintainer's doing.
	 */
	return compaction->emptied_count == COMPACTION_EMPTIED_MAX || kv->inline_maintenance ||
	       (brake_is_on(kv) && !atomic_load(&kv->log.hot.unsealed)) ||
	       atomic_load(&kv->log.spare_error) ||
	       atomic_load(&kv->sync.durable_bytes) >= compaction->emptied_bytes ||
	       kv_durable_seq(kv) >= kv_last_seq(kv); /* nothing else is to be flushed */
}

bool compact_put_emptied(struct kv *kv, struct segment *victim)
{
	struct compaction *compaction = &kv->compaction;

	if (victim->unreadable || atomic_load(&victim->live_bytes)) {
		victim->unreadable = true;
		return false;
	}
	victim->emptied = true;
	compact_copied_emptied(kv, victim);
	compaction->emptied_bytes = atomic_load(&kv->log.hot.appended_bytes);
	compaction->emptied[compaction->emptied_count++] = victim;
	return true;
}

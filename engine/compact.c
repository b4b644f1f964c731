/* SPDX-License-Identifier: MIT */
/*
 * compact.c - see compact.h: the course of things, from the pick to the freed file.
 *
 * Victims whose records have all been dealt with are freed together: one flush, one grace period.
 * Their files are erased only after that flush: then the copies, and everything that made the other
 * records garbage, are durable.
 */
#include "compact.h"

#include <errno.h>

#include "brake.h"
#include "cold.h"
#include "compact_copy.h"
#include "compact_pick.h"
#include "dictionary.h"
#include "epoch.h"
#include "large.h"
#include "log.h"
#include "manifest.h"
#include "segment_file.h"
#include "snapshot.h"
#include "survey.h"
#include "sync.h"

#define STEP_BYTES ((uint32_t)256 << 10) /* of the victim, per step */
#define PAUSE_US 100u			 /* between two steps, at least */
#define IDLE_FACTOR 9u			 /* a step's time is a tenth of all where nothing presses */
#define BACK_OFF_US 1000000u
#define LOOK_INTERVAL_US 50000u		 /* for segments that are garbage throughout */
#define STEPS_MAX 16u			 /* at once, when there is far too much garbage */
#define STEPS_INLINE(kv) ((kv)->segments.size / STEP_BYTES * 3)
#define EMPTIED_MIN 2u			 /* freed together, at least, and so much of a larger
					    log: */
#define EMPTIED_DIVISOR 8u
#define ADVANCE_SEGMENTS 2u		 /* of garbage that was passed and is not freed yet:
					    writers go on for it */
#define RAW_CLOSED_US 60000000u		 /* before values are compressed that nothing else moves */
#define RAW_POLL_US 5000000u
#define WORTH_PERMILLE 125		 /* saved, for a segment to be rewritten for that alone */
#define FREE_FILES_MIN 4u		 /* kept for reuse; more only in proportion to the store */
#define SCARCE_SEGMENTS 16u		 /* of free disk: then they are not kept */

/* ---- freeing --------------------------------------------------------------------------------- */

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
	uint64_t avail, total;
	bool scarce = kv->env->dir_space(kv->dir, &avail, &total) ||
		      avail < (uint64_t)SCARCE_SEGMENTS * segments->size;

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
 * The list of segments says that they may be gone, before they are. -ENOSPC: the disk has no room
 * even for that, as one that never overwrites in place may not; freeing is put off.
 */
static int announce(struct kv *kv)
{
	int error = manifest_write(kv);

	if (error == -ENOSPC || error == -EDQUOT) {
		put_off(kv);
		kv->compaction.free_at_us = kv->env->clock_us(kv->env) + BACK_OFF_US;
		return -ENOSPC;
	}
	return error ? store_poison(kv, error, "writing the list of segments failed") : 0;
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

/*
 * Those of which nothing is needed any more become free files; what the last checkpoint names, when
 * it is not the last one any more.
 */
static int free_emptied(struct kv *kv)
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

/*
 * Freeing costs a sync or two: many at once, but no large part of the log; and few where writers
 * wait for it.
 */
static bool enough_emptied(const struct kv *kv)
{
	unsigned count = kv->compaction.emptied_count;
	uint64_t segments = atomic_load(&kv->log_bytes) / kv->segments.size;

	return count == COMPACTION_EMPTIED_MAX ||
	       (count >= EMPTIED_MIN && (brake_is_on(kv) || count >= segments / EMPTIED_DIVISOR));
}

/*
 * What was emptied waits for the log, which is durable soon by itself: a flush on its account,
 * amidst a stream of writes, would hold up the next segments. Not where that much waits, or space
 * is wanted.
 */
static bool can_free(struct kv *kv)
{
	const struct compaction *compaction = &kv->compaction;

	return compaction->emptied_count == COMPACTION_EMPTIED_MAX || kv->inline_maintenance ||
	       brake_is_on(kv) || atomic_load(&kv->log.spare_error) ||
	       atomic_load(&kv->sync.durable_bytes) >= compaction->emptied_bytes ||
	       kv_durable_seq(kv) >= kv_last_seq(kv); /* nothing else is to be flushed */
}

/*
 * The victim's records have all been dealt with. False: something in it can no longer be read; it
 * stays, for a repair.
 */
static bool put_emptied(struct kv *kv, struct segment *victim)
{
	struct compaction *compaction = &kv->compaction;

	if (victim->unreadable || atomic_load(&victim->live_bytes)) {
		victim->unreadable = true;
		return false;
	}
	victim->emptied = true;
	compaction->emptied_bytes = atomic_load(&kv->log.hot.appended_bytes);
	compaction->emptied[compaction->emptied_count++] = victim;
	return true;
}

/* So much of the segment is garbage got rid of, as soon as it is freed. */
static void gain(struct kv *kv, struct segment *segment, uint64_t bytes)
{
	segment->gained += bytes;
	kv->compaction.gained += bytes;
}

/* Those that need no copying, all at once. */
static void take_dead(struct kv *kv)
{
	struct compaction *compaction = &kv->compaction;
	uint64_t now_us = kv->env->clock_us(kv->env);
	struct segment *dead;

	/* Looking at every segment is not for each of a writer's kicks. */
	if (now_us < compaction->look_at_us && !kv->inline_maintenance)
		return;
	compaction->look_at_us = now_us + LOOK_INTERVAL_US;
	compaction->looked_live_bytes = atomic_load(&kv->live_bytes);
	while (compaction->emptied_count < COMPACTION_EMPTIED_MAX &&
	       (dead = compact_pick_dead(kv)) && put_emptied(kv, dead))
		gain(kv, dead, dead->end);
}

/* ---- the course of a victim ------------------------------------------------------------------ */

static void take_victim(struct kv *kv, struct segment *victim)
{
	struct compaction *compaction = &kv->compaction;

	compaction->victim = victim;
	compaction->oldest = victim && compact_is_oldest(kv, victim);
	compaction->heads = victim ? compact_heads(victim) : NULL;
	compaction->as_is = false;
	compaction->offset = compaction->asked = FORMAT_SEGMENT_HEADER_SIZE;
	compaction->search_budget = SEGMENT_SEARCH_BUDGET(&kv->segments);
}

/*
 * Takes a victim whose values are as they were written: what they are compressed with is decided
 * now. Not where few are left, for that would be to read them all.
 */
static int take_raw(struct kv *kv, struct segment *victim)
{
	int saved;

	if (victim && kv->info.compress == KV_COMPRESS_BACKGROUND && compact_is_raw(victim) &&
	    !compact_heads(victim)) {
		saved = survey_segment(kv, victim);
		/* It is worth waiting for, unless there will be no room. */
		if (saved == -EAGAIN && !kv->log.spare_error)
			return saved;
		victim->settled = saved < WORTH_PERMILLE;
	}
	take_victim(kv, victim);
	return 0;
}

/*
 * Takes the next segment that is worth rewriting for the sake of compressing it alone; one whose
 * values do not become much smaller is left alone for good. 0: there is none now; 1: there was one,
 * which perhaps was not worth it; -EAGAIN.
 */
static int take_to_compress(struct kv *kv, uint64_t closed_us, uint64_t born_max)
{
	struct compaction *compaction = &kv->compaction;
	struct segment *victim;
	bool none;
	int error;

	if (kv->info.compress != KV_COMPRESS_BACKGROUND)
		return 0;
	victim = compact_pick_raw(kv, closed_us, born_max, &none);
	compaction->raw_at_us =
		kv->env->clock_us(kv->env) + (none ? RAW_CLOSED_US : RAW_POLL_US);
	/* At the log's end copies would stay as they are. */
	if (!victim || compact_leaves_as_is(kv) || cold_reserve(kv, FORMAT_RECORD_HEADER_SIZE))
		return 0;
	compaction->raw_at_us = 0;
	error = take_raw(kv, victim);
	if (error)
		return error;
	if (victim->settled)
		compaction->victim = NULL;
	return 1;
}

/*
 * Takes the next victim, if there is to be one. Where contents are overwritten in sequence the best
 * is garbage throughout: it, and all of its kind, are emptied without being read.
 */
static int take_next(struct kv *kv)
{
	struct segment *victim = compact_pick(kv);

	if (victim && compact_is_dead(victim)) {
		kv->compaction.look_at_us = 0;
		take_dead(kv);
		return 1;
	}
	if (!victim || !compact_leaves_as_is(kv))
		return take_raw(kv, victim);
	take_victim(kv, victim);
	kv->compaction.as_is = true;
	return 0;
}

/* What has passed through memory on the way is given back: nobody looks there again. */
static void finish_victim(struct kv *kv)
{
	struct segment *victim = kv->compaction.victim;
	const uint8_t *map = atomic_load(&victim->map);

	kv->compaction.victim = NULL;
	if (map)
		kv->env->map_advise(map, kv->segments.size, ENV_ADVICE_DONTNEED);
	put_emptied(kv, victim);
}

/* There was no room for copies a moment ago. */
static bool backing_off(const struct kv *kv)
{
	return kv->compaction.retry_at_us &&
	       kv->env->clock_us(kv->env) < kv->compaction.retry_at_us;
}

/* The disk is full: by way of the reserve, or else later. */
static void give_way(struct kv *kv)
{
	kv->compaction.victim = NULL;
	if (!compact_for_space(kv))
		kv->compaction.retry_at_us = kv->env->clock_us(kv->env) + BACK_OFF_US;
}

/* Copies what is needed of a share of the victim; the rest is gained. */
static int pass_share(struct kv *kv)
{
	struct compaction *compaction = &kv->compaction;
	uint64_t copied = atomic_load(&kv->relocated_bytes);
	uint32_t offset = compaction->offset, passed;
	int error = compact_copy(kv, STEP_BYTES, false);

	copied = atomic_load(&kv->relocated_bytes) - copied;
	passed = compaction->offset - offset;
	gain(kv, compaction->victim, passed > copied ? passed - copied : 0);
	return error;
}

/*
 * Writers who wait for compaction go on as far as it has come: as much as was freed, and a little
 * of what will be. Who is killed before that gains nothing, and all over again the next time.
 */
static void let_go(struct kv *kv)
{
	struct compaction *compaction = &kv->compaction;
	uint64_t most = compaction->freed + (uint64_t)ADVANCE_SEGMENTS * kv->segments.size;
	uint64_t told = compaction->gained < most ? compaction->gained : most;
	uint64_t news = told > compaction->told ? told - compaction->told : 0;
	/* Nothing to be gained yet is not nothing more to gain. */
	bool more = compaction->victim || compaction->emptied_count || large_has_more(kv);

	compaction->told += news;
	brake_update(kv, news || !more ? news : 1);
}

/* Copies a share of the victim, if there is one. */
static void copy_share(struct kv *kv)
{
	struct compaction *compaction = &kv->compaction;
	int error;

	if (!compaction->victim)
		return;
	compaction->retry_at_us = 0;
	error = pass_share(kv);
	if (error == -EAGAIN && !kv->log.spare_error)
		return;
	if (error)
		give_way(kv);
	else if (compaction->offset >= compaction->victim->end)
		finish_victim(kv);
}

static void step(struct kv *kv)
{
	struct compaction *compaction = &kv->compaction;

	if (atomic_load(&kv->failed))
		return;
	if (!compaction->victim) {
		if (enough_emptied(kv) && can_free(kv))
			free_emptied(kv);
		if (backing_off(kv))
			return;
		if (!take_next(kv) && !compaction->victim &&
		    kv->env->clock_us(kv->env) >= compaction->raw_at_us)
			(void)take_to_compress(kv, RAW_CLOSED_US, UINT64_MAX);
	}
	copy_share(kv);
	if (!compaction->victim)
		take_dead(kv);
}

/* There was no room to free anything: perhaps there is now. */
static bool retry_freeing(struct kv *kv)
{
	kv->compaction.free_at_us = 0;
	compact_free_kept(kv);
	return !kv->compaction.free_at_us;
}

/* ---- the maintainer's calls ------------------------------------------------------------------ */

/*
 * There is more garbage than at the last look, if only by the last thing that was deleted, or that
 * a snapshot let go of.
 */
static bool is_to_look(const struct kv *kv)
{
	const struct compaction *compaction = &kv->compaction;

	return !compaction->victim && !compaction->retry_at_us && !atomic_load(&kv->failed) &&
	       !atomic_load(&kv->orders_loading) &&
	       atomic_load(&kv->live_bytes) < compaction->looked_live_bytes;
}

uint64_t compact_pause_us(const struct kv *kv)
{
	const struct compaction *compaction = &kv->compaction;
	uint64_t now_us, at_us = compaction->retry_at_us;

	if (compaction->victim)
		at_us = compaction->resume_at_us;
	else if (!at_us && kv->info.compress == KV_COMPRESS_BACKGROUND)
		at_us = compaction->raw_at_us;
	if (is_to_look(kv) && (!at_us || at_us > compaction->look_at_us))
		at_us = compaction->look_at_us;
	if (compaction->free_at_us && !atomic_load(&kv->failed) && (!at_us || at_us > compaction->free_at_us))
		at_us = compaction->free_at_us;
	if (!at_us)
		return compaction->victim || brake_is_on(kv) ? PAUSE_US : UINT64_MAX;
	now_us = kv->env->clock_us(kv->env);
	return at_us > now_us + PAUSE_US ? at_us - now_us : PAUSE_US;
}

/*
 * Where nothing presses, compaction takes a small share of the time; where garbage nears two
 * thirds, all of it.
 */
static void pace(struct kv *kv, uint64_t started_us)
{
	uint64_t now_us = kv->env->clock_us(kv->env), took_us = now_us - started_us;
	double ease = 1 - compact_pressure(kv);

	kv->compaction.resume_at_us =
		now_us + PAUSE_US + (uint64_t)((double)(took_us * IDLE_FACTOR) * ease * ease);
}

void compact_step(struct kv *kv)
{
	struct compaction *compaction = &kv->compaction;
	uint64_t started_us = kv->env->clock_us(kv->env);
	/*
	 * A checkpoint takes its steps between these, and what it lets go of is gained sooner than
	 * anything else.
	 */
	unsigned steps = 0, steps_max = kv->checkpoint_save ? 1 : STEPS_MAX;

	/* What was begun before somebody prunes is not to leave more for them. */
	if (atomic_load(&kv->maintain.prunes))
		compaction->as_is = false;
	if (compaction->free_at_us && started_us >= compaction->free_at_us)
		(void)retry_freeing(kv);
	if (compaction->victim && started_us < compaction->resume_at_us &&
	    !kv->inline_maintenance)
		return;
	/*
	 * Where callers do the work there is a round for each segment that they have filled, and no
	 * other.
	 */
	if (kv->inline_maintenance && steps_max < STEPS_INLINE(kv))
		steps_max = STEPS_INLINE(kv);
	do {
		step(kv);
		let_go(kv);
	} while (compact_is_behind(kv) && !backing_off(kv) && ++steps < steps_max);
	/* Nothing more to empty, or a spare is wanted: what was emptied is of use now. */
	if (!compaction->victim && compaction->emptied_count && can_free(kv))
		free_emptied(kv);
	if (compaction->victim)
		pace(kv, started_us);
	atomic_fetch_add_explicit(&kv->compact_us, kv->env->clock_us(kv->env) - started_us,
				  memory_order_relaxed);
}

/* Values that were copied as they are are to be compressed: their segment has to be closed. */
static int close_raw(struct kv *kv, uint64_t born_max)
{
	const struct segment *active = kv->cold.active;

	return active && active->raw && active->born <= born_max ? cold_close(kv) : 0;
}

int compact_demand(struct kv *kv, unsigned garbage_permille, uint64_t born_max)
{
	struct compaction *compaction = &kv->compaction;
	uint64_t started_us = kv->env->clock_us(kv->env);
	int error = 0;

	if (atomic_load(&kv->failed))
		return -EROFS;
	/* Who asks for it wants all of it. */
	compaction->as_is = false;
	if (garbage_permille != COMPACT_DAMAGED && kv->info.compress == KV_COMPRESS_BACKGROUND)
		error = close_raw(kv, born_max);
	if (error)
		return error;
	if (!compaction->victim) {
		compaction->look_at_us = 0;
		take_dead(kv);
		if (enough_emptied(kv)) {
			error = free_emptied(kv);
			return error ? error : 1;
		}
		error = take_raw(kv, compact_pick_any(kv, garbage_permille, born_max));
		if (!error && !compaction->victim && garbage_permille != COMPACT_DAMAGED)
			error = take_to_compress(kv, 0, born_max);
		if (error && !compaction->victim)
			return error;
	}
	if (!compaction->victim)
		return free_emptied(kv);
	error = pass_share(kv);
	let_go(kv);
	if (!error && compaction->offset >= compaction->victim->end)
		finish_victim(kv);
	if (error && (error != -EAGAIN || kv->log.spare_error)) {
		compaction->victim = NULL;
		error = compact_for_space(kv) ? 0 : error == -EAGAIN ? -ENOSPC : error;
	}
	atomic_fetch_add_explicit(&kv->compact_us, kv->env->clock_us(kv->env) - started_us,
				  memory_order_relaxed);
	return error ? error : 1;
}

static struct segment *choose_for_space(struct kv *kv)
{
	struct segment *victim;

	victim = compact_pick_for_space(kv);
	if (victim || log_use_reserve(kv))
		return victim;
	return compact_pick_for_space(kv);
}

bool compact_for_space(struct kv *kv)
{
	struct compaction *compaction = &kv->compaction;
	struct segment *victim;
	bool emptied;

	if (atomic_load(&kv->failed))
		return false;
	if (compaction->free_at_us)
		return retry_freeing(kv);
	if (compaction->emptied_count)
		return !free_emptied(kv);
	/* Segments that are full but not yet written can be emptied as well, once they are. */
	if (sync_flush(kv))
		return false;
	victim = choose_for_space(kv);
	if (!victim)
		return false;
	/* One that was half done starts again later: what it had copied is garbage there now. */
	take_victim(kv, victim);
	emptied = !compact_copy(kv, UINT32_MAX, true) && put_emptied(kv, victim);
	compaction->victim = NULL;
	return emptied && !free_emptied(kv);
}

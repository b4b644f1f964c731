/* SPDX-License-Identifier: MIT */
/*
 * compact.c - see compact.h: which segment comes next, and the steps from there until it is empty.
 * compact_free.c makes free files of those that are.
 */
#include "compact.h"

#include <errno.h>

#include "brake.h"
#include "cold.h"
#include "compact_copied.h"
#include "compact_copy.h"
#include "compact_free.h"
#include "compact_pick.h"
#include "large.h"
#include "log_rest.h"
#include "log_spare.h"
#include "survey.h"
#include "sync.h"

#define STEP_BYTES ((uint32_t)256 << 10) /* of the victim, per step */
#define PAUSE_US 100u			 /* between two steps, at least */
#define IDLE_FACTOR 9u			 /* a step's time is a tenth of all where nothing presses */
#define BACK_OFF_US 1000000u		 /* after there was no room for copies */
#define LOOK_INTERVAL_US 50000u		 /* for segments that are garbage throughout */
#define STEPS_MAX 16u			 /* at once, when there is far too much garbage */
#define STEPS_INLINE(kv) ((kv)->segments.size / STEP_BYTES * 3)
#define ADVANCE_SEGMENTS 2u		 /* of garbage that was passed and is not freed yet:
					    writers go on for it */
#define RAW_CLOSED_US 60000000u		 /* before values are compressed that nothing else moves */
#define RAW_POLL_US 5000000u
#define WORTH_PERMILLE 125		 /* saved, for a segment to be rewritten for that alone */

/* ---- which segment comes next ---------------------------------------------------------------- */

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
	       (dead = compact_pick_dead(kv)) && compact_put_emptied(kv, dead))
		gain(kv, dead, dead->end);
}

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

/* ---- the course of a victim ------------------------------------------------------------------ */

/* What has passed through memory on the way is given back: nobody looks there again. */
static void finish_victim(struct kv *kv)
{
	struct segment *victim = kv->compaction.victim;
	const uint8_t *map = atomic_load(&victim->map);

	kv->compaction.victim = NULL;
	if (map)
		kv->env->map_advise(map, kv->segments.size, ENV_ADVICE_DONTNEED);
	compact_put_emptied(kv, victim);
}

/* It starts again later: what was copied of its values is garbage then, but not its tombstones. */
static void leave_victim(struct kv *kv)
{
	kv->compaction.victim = NULL;
	compact_copied_forget(kv);
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
	leave_victim(kv);
	if (!compact_for_space(kv, kv->segments.births))
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
		if (compact_enough_emptied(kv) && compact_can_free(kv))
			compact_free_emptied(kv);
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
	if (compaction->free_at_us && !atomic_load(&kv->failed) &&
	    (!at_us || at_us > compaction->free_at_us))
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
	if (!compaction->victim && compaction->emptied_count && compact_can_free(kv))
		compact_free_emptied(kv);
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
	/* Of the victim that was begun here somebody else has found that its copies do not fit. */
	if (!compaction->victim && backing_off(kv) && kv->log.spare_error)
		return compact_for_space(kv, born_max) ? 1 : kv->log.spare_error;
	if (!compaction->victim) {
		compaction->look_at_us = 0;
		take_dead(kv);
		if (compact_enough_emptied(kv)) {
			error = compact_free_emptied(kv);
			return error ? error : 1;
		}
		error = take_raw(kv, compact_pick_any(kv, garbage_permille, born_max));
		if (!error && !compaction->victim && garbage_permille != COMPACT_DAMAGED)
			error = take_to_compress(kv, 0, born_max);
		if (error && !compaction->victim)
			return error;
	}
	if (!compaction->victim)
		return compact_free_emptied(kv);
	error = pass_share(kv);
	let_go(kv);
	if (!error && compaction->offset >= compaction->victim->end)
		finish_victim(kv);
	if (error && (error != -EAGAIN || kv->log.spare_error)) {
		leave_victim(kv);
		if (error == -EAGAIN)
			error = kv->log.spare_error;
		if (compact_for_space(kv, born_max))
			error = 0;
	}
	atomic_fetch_add_explicit(&kv->compact_us, kv->env->clock_us(kv->env) - started_us,
				  memory_order_relaxed);
	return error ? error : 1;
}

static struct segment *choose_for_space(struct kv *kv, uint64_t born_max)
{
	struct segment *victim = compact_pick_for_space(kv, 0, born_max);

	if (victim || !compact_pick_for_space(kv, 1, born_max) || log_use_reserve(kv, LOG_COPIES))
		return victim;
	return compact_pick_for_space(kv, 0, born_max);
}

bool compact_for_space(struct kv *kv, uint64_t born_max)
{
	struct compaction *compaction = &kv->compaction;
	struct segment *victim;
	bool emptied;

	if (atomic_load(&kv->failed))
		return false;
	if (compaction->free_at_us)
		return retry_freeing(kv);
	if (compaction->emptied_count)
		return !compact_free_emptied(kv);
	/* Of a store that was just opened: copies may go to the log's end. */
	if (log_rests(kv) && log_wake(kv))
		return false;
	/* Segments that are full but not yet written can be emptied as well, once they are. */
	if (sync_flush(kv))
		return false;
	/* Another may be chosen than the one that is half done. */
	if (compaction->victim)
		compact_copied_forget(kv);
	compact_copied_look(kv);
	victim = choose_for_space(kv, born_max);
	if (!victim)
		return false;
	take_victim(kv, victim);
	emptied = !compact_copy(kv, UINT32_MAX, true) && compact_put_emptied(kv, victim);
	compaction->victim = NULL;
	if (!emptied)
		compact_copied_forget(kv);
	return emptied && !compact_free_emptied(kv);
}

/* SPDX-License-Identifier: MIT */
/* compact_pick.c - see compact_pick.h. */
#include "compact_pick.h"

#include "compact.h"
#include "compact_copied.h"
#include "log_spare.h"
#include "reserve.h"
#include "segment_file.h"

#define WORTH_DIVISOR 16u /* on a full disk: less garbage in a segment is not worth the copies */
#define SLACK_DIVISOR 256u     /* for MARKs and the END */
#define LONGEST_MIN FORMAT_RECORD_HEADER_SIZE
#define SEGMENTS_MIN 4u	  /* smaller stores are left alone */
#define NEAR_END_SEGMENTS 64u /* of free disk, or such a part of it: space is what is wanted */
#define NEAR_END_DIVISOR 8u

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/*
 * Bytes of records whose key's newest they are, or that a snapshot needs, with what the copies of
 * the latter have before them. Some of that may be needed no more, but what it belonged to is
 * garbage then, and at least as long.
 */
static uint64_t kept_of(const struct segment *segment)
{
	uint64_t live = atomic_load(&segment->live_bytes);

	return live + smaller(segment->leads, live);
}

/* Bytes of records that may have to be copied. */
static uint64_t needed_of(const struct segment *segment)
{
	return kept_of(segment) + segment->tombstone_bytes;
}

/* And what was never used of the file. */
static uint64_t garbage_of(const struct kv *kv, const struct segment *segment)
{
	uint64_t needed = needed_of(segment) + FORMAT_SEGMENT_HEADER_SIZE;

	/* Before all others. */
	if (segment->damaged)
		return (uint64_t)kv->segments.size * (COMPACT_DAMAGED / 1000 + 1);
	return kv->segments.size > needed ? kv->segments.size - needed : 0;
}

bool compact_is_dead(const struct segment *segment)
{
	return !needed_of(segment);
}

/*
 * Emptied once already, in vain, for the list of snapshots could not be saved; and it has not been
 * since.
 */
static bool is_held(const struct kv *kv, const struct segment *segment)
{
	return segment->held && atomic_load(&kv->snapshots.saved_seq) < segment->snapshots_seq;
}

static bool is_candidate(const struct kv *kv, const struct segment *segment)
{
	return segment && segment->id && segment->sealed && !segment->unreadable &&
	       !segment->name_lost && !segment->emptied && !is_held(kv, segment);
}

/* Calls better(candidate, best so far) for each; best may be NULL. */
static struct segment *best_of(struct kv *kv, bool (*better)(struct kv *kv, struct segment *segment,
							     const struct segment *best, void *arg),
			       void *arg)
{
	uint32_t slot, count = atomic_load(&kv->segments.count);
	struct segment *best = NULL;

	for (slot = 0; slot < count; slot++) {
		struct segment *segment = kv->segments.table[slot];

		if (is_candidate(kv, segment) && better(kv, segment, best, arg))
			best = segment;
	}
	return best;
}

/* ---- benefit over cost ----------------------------------------------------------------------- */

static double benefit_over_cost(struct kv *kv, struct segment *segment)
{
	uint64_t last_seq = atomic_load(&kv->log.last_seq);
	double used = (double)needed_of(segment) / kv->segments.size;

	/* Of a segment that was just sealed: about now. */
	if (!segment->newest_seq)
		segment->newest_seq = last_seq;
	return (1 - used) * (double)(last_seq - segment->newest_seq + 1) / (1 + used);
}

struct choice {
	double score;
	uint64_t garbage_min;
	uint64_t born_max;
};

static bool has_better_score(struct kv *kv, struct segment *segment, const struct segment *best,
			     void *arg)
{
	struct choice *choice = arg;
	double score;

	if (garbage_of(kv, segment) < choice->garbage_min || segment->born > choice->born_max)
		return false;
	score = benefit_over_cost(kv, segment);
	if (best && score <= choice->score)
		return false;
	choice->score = score;
	return true;
}

/* ---- the picks ------------------------------------------------------------------------------- */

static bool is_older(struct kv *kv, struct segment *segment, const struct segment *best, void *arg)
{
	return !best || segment->id < best->id;
}

bool compact_is_oldest(struct kv *kv, const struct segment *candidate)
{
	uint32_t slot, count = atomic_load(&kv->segments.count);

	for (slot = 0; slot < count; slot++) {
		const struct segment *segment = kv->segments.table[slot];

		if (segment && segment->id && segment->id < candidate->id)
			return false;
	}
	return true;
}

/* What waits for the next checkpoint is as good as gone. */
static uint64_t log_bytes(const struct kv *kv)
{
	uint64_t log = atomic_load(&kv->log_bytes), kept = atomic_load(&kv->compaction.kept_bytes);

	return log > kept ? log - kept : 0;
}

static uint64_t tombstone_bytes(struct kv *kv)
{
	uint64_t bytes;

	pthread_mutex_lock(&kv->log.lock);
	bytes = kv->tombstone_bytes;
	pthread_mutex_unlock(&kv->log.lock);
	return bytes;
}

struct segment *compact_pick(struct kv *kv)
{
	uint64_t log = log_bytes(kv), live = atomic_load(&kv->live_bytes);
	uint64_t tombstones;
	struct choice choice = {0, kv->segments.size / WORTH_DIVISOR, UINT64_MAX};
	struct segment *oldest;

	if (log < (uint64_t)SEGMENTS_MIN * kv->segments.size)
		return NULL;
	tombstones = tombstone_bytes(kv);
	/* Only the oldest segment's tombstones are of no use to anyone. */
	if (tombstones > log / 4) {
		oldest = best_of(kv, is_older, NULL);
		if (oldest && compact_is_oldest(kv, oldest))
			return oldest;
	}
	if (log <= live + tombstones || log - live - tombstones <= log / 2)
		return NULL;
	return best_of(kv, has_better_score, &choice);
}

struct segment *compact_pick_any(struct kv *kv, unsigned garbage_permille, uint64_t born_max)
{
	struct choice choice = {0, (uint64_t)kv->segments.size * garbage_permille / 1000 + 1,
				born_max};

	return best_of(kv, has_better_score, &choice);
}

bool compact_is_raw(const struct segment *segment)
{
	return segment->raw || !format_segment_is_cold(segment->id);
}

static bool is_raw(const struct kv *kv, const struct segment *segment)
{
	return kv->info.compress == KV_COMPRESS_BACKGROUND && !segment->settled &&
	       compact_is_raw(segment);
}

struct raw {
	uint64_t now_us, closed_us, born_max;
	bool none;
};

static bool is_raw_and_older(struct kv *kv, struct segment *segment, const struct segment *best,
			     void *arg)
{
	struct raw *raw = arg;

	if (!is_raw(kv, segment) || segment->born > raw->born_max)
		return false;
	raw->none = false;
	if (!segment->seen_us)
		segment->seen_us = raw->now_us;
	return raw->now_us - segment->seen_us >= raw->closed_us &&
	       (!best || segment->id < best->id);
}

struct segment *compact_pick_raw(struct kv *kv, uint64_t closed_us, uint64_t born_max, bool *none)
{
	struct raw raw = {kv->env->clock_us(kv->env), closed_us, born_max, true};
	struct segment *segment = best_of(kv, is_raw_and_older, &raw);

	*none = raw.none;
	return segment;
}

static bool has_so_much(struct kv *kv, struct segment *segment, const struct segment *best,
			void *arg)
{
	struct choice *choice = arg;

	if (segment->born <= choice->born_max &&
	    (garbage_of(kv, segment) >= choice->garbage_min || is_raw(kv, segment)))
		choice->score += segment->end;
	return false;
}

uint64_t compact_sum_any(struct kv *kv, unsigned garbage_permille, uint64_t born_max)
{
	struct choice choice = {0, (uint64_t)kv->segments.size * garbage_permille / 1000 + 1,
				born_max};

	best_of(kv, has_so_much, &choice);
	return (uint64_t)choice.score;
}

static bool is_dead(struct kv *kv, struct segment *segment, const struct segment *best, void *arg)
{
	return !best && compact_is_dead(segment);
}

struct segment *compact_pick_dead(struct kv *kv)
{
	return best_of(kv, is_dead, NULL);
}

struct space {
	uint64_t tail;	/* that is left of the log's last segment */
	uint64_t room;	/* with the spare segments */
	uint64_t avail; /* that the disk has */
	uint64_t worth; /* less is not worth the copies */
	uint64_t born_max; /* of segments that were there before */
	const struct segment *oldest; /* or NULL */
	bool reads; /* segments, for what need not be copied again */
	uint64_t most; /* that the best so far frees */
};

/*
 * Bytes of tombstones that need no copy: there is nothing that the oldest segment's could hide, and
 * of others there may be one.
 */
static uint64_t spared_of(struct kv *kv, struct segment *segment, const struct space *space)
{
	if (segment == space->oldest)
		return segment->tombstone_bytes;
	return space->reads ? smaller(compact_copied_bytes(kv, segment), segment->tombstone_bytes) :
			      0;
}

/* The longest record in it; of a damaged one, as much as may be. */
static uint32_t longest_of(const struct kv *kv, struct segment *segment)
{
	const uint8_t *base = segments_base(&kv->segments, segment->slot);
	uint32_t offset = FORMAT_SEGMENT_HEADER_SIZE, longest = LONGEST_MIN;

	if (!segment->longest)
		kv->env->map_advise(base, segment->end, ENV_ADVICE_WILLNEED);
	while (!segment->longest && offset < segment->end) {
		int64_t length = segment_validate(&kv->segments, segment, base, offset);

		if (length <= 0)
			length = kv->segments.size;
		if (length > longest)
			longest = (uint32_t)length;
		offset += (uint32_t)length;
	}
	if (!segment->longest)
		segment->longest = longest;
	return segment->longest;
}

/*
 * Copies that go on in a spare segment leave behind what the tail had no room for: less than one
 * record. What they do not take has to be more than that, or it would go round for ever.
 */
static bool gains_enough(const struct kv *kv, struct segment *segment, const struct space *space,
			 uint64_t needed, uint64_t gain)
{
	uint64_t slack = kv->segments.size / SLACK_DIVISOR, left;

	if (needed + slack <= space->tail || gain >= space->tail + space->worth)
		return needed + slack <= space->room;
	/* To know it better takes reading the whole segment. */
	left = smaller(LONGEST_MIN, space->tail);
	if (needed + slack + left > space->room || gain < left + space->worth)
		return false;
	left = smaller(longest_of(kv, segment), space->tail);
	return needed + slack + left <= space->room && gain >= left + space->worth;
}

/* Not to be read in vain: would it do if all that was copied were its own? */
static bool is_worth_reading(const struct kv *kv, const struct segment *segment,
			     const struct space *space)
{
	uint64_t most = smaller(kv->compaction.copied.bytes, segment->tombstone_bytes);

	return garbage_of(kv, segment) + most >= space->worth &&
	       needed_of(segment) - most <= space->room;
}

static bool fits_and_frees_more(struct kv *kv, struct segment *segment, const struct segment *best,
				void *arg)
{
	struct space *space = arg;
	uint64_t spared, needed, gain;

	if (segment->born > space->born_max ||
	    (space->reads && !is_worth_reading(kv, segment, space)))
		return false;
	spared = spared_of(kv, segment, space);
	needed = needed_of(segment) - spared;
	gain = garbage_of(kv, segment) + spared;
	if (gain < space->worth || (best && gain <= space->most))
		return false;
	/*
	 * Its file would be no new segment: the copies take room, and what they free is too little.
	 */
	if (needed && atomic_load(&segment->hole) > space->avail)
		return false;
	if (needed && !gains_enough(kv, segment, space, needed, gain))
		return false;
	space->most = gain;
	return true;
}

struct segment *compact_pick_for_space(struct kv *kv, unsigned more, uint64_t born_max)
{
	const struct log_tail *tail = &kv->log.hot;
	uint32_t size = kv->segments.size;
	struct space space = {.born_max = born_max};
	struct segment *victim;

	space.avail = segments_space(&kv->segments, NULL);
	space.oldest = best_of(kv, is_older, NULL);
	if (space.oldest && !compact_is_oldest(kv, space.oldest))
		space.oldest = NULL;
	pthread_mutex_lock(&kv->log.lock);
	space.worth = size / (kv->log.freeing_waits ? RESERVE_DIVISOR : WORTH_DIVISOR);
	space.tail = tail->limit > tail->offset ? tail->limit - tail->offset : 0;
	space.room = space.tail +
		     (uint64_t)(kv->log.spare_count + more) * (size - FORMAT_SEGMENT_HEADER_SIZE);
	pthread_mutex_unlock(&kv->log.lock);
	victim = best_of(kv, fits_and_frees_more, &space);
	if (victim || !compact_copied_any(kv))
		return victim;
	space.reads = true;
	return best_of(kv, fits_and_frees_more, &space);
}

/* Once the disk is too full for cold segments nothing can be compressed any more. */
static bool space_nears_its_end(struct kv *kv)
{
	uint64_t total, avail = segments_space(&kv->segments, &total);

	return avail < (uint64_t)NEAR_END_SEGMENTS * kv->segments.size ||
	       avail < total / NEAR_END_DIVISOR;
}

bool compact_leaves_as_is(struct kv *kv)
{
	return kv->info.compress == KV_COMPRESS_BACKGROUND && !kv->inline_maintenance &&
	       !atomic_load(&kv->maintain.prunes) && log_is_streaming(kv) &&
	       !space_nears_its_end(kv);
}

/* ---- urgency --------------------------------------------------------------------------------- */

bool compact_is_behind(const struct kv *kv)
{
	uint64_t log = log_bytes(kv);

	return log > (uint64_t)SEGMENTS_MIN * kv->segments.size &&
	       log / 3 > atomic_load(&kv->live_bytes);
}

double compact_pressure(const struct kv *kv)
{
	double log = (double)log_bytes(kv) + 1;
	double garbage = (log - (double)atomic_load(&kv->live_bytes)) / log;

	return garbage <= 0.5 ? 0 : garbage >= 2.0 / 3 ? 1 : (garbage - 0.5) * 6;
}

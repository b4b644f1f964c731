/* SPDX-License-Identifier: MIT */
/* warm.c - see warm.h. */
#include "warm.h"

#include "huge_map.h"
#include "log_rest.h"
#include "log_spare.h"
#include "resident.h"

#define PAUSE_US 2000u	     /* between two segments that are read in */
#define DELAY_US 50000u	     /* after opening: who only wants one key has closed the store by
				then */
#define LOOK_US 1000000u     /* between looks whether the store is in use */
#define USES 10000u	     /* operations that show it */
#define HUGE_LOOK_US 5000000u /* between looks whether there is memory for huge pages */

/*
 * Reads in a map, in pieces, unless a writer wants a segment meanwhile; and validates what a
 * checkpoint spoke of, as it is there.
 */
static void populate(struct kv *kv, struct segment *segment)
{
	struct segments *segments = &kv->segments;
	const uint8_t *map = atomic_load(&segment->map);
	uint32_t offset, piece;

	for (offset = 0; offset < segments->size; offset += piece) {
		piece = segments->size - offset < HUGE_MAP_SIZE ? segments->size - offset
								: HUGE_MAP_SIZE;
		if (atomic_load(&kv->log.spare_wanted)) {
			segment->cold = true;
			return;
		}
		kv->env->map_advise(map + offset, piece, ENV_ADVICE_POPULATE);
	}
	if (!segment->verified || segment->sound || kv->env->map_failed(map, segments->size) ||
	    !segment_prove(segments, segment, map))
		return;
	pthread_mutex_lock(&kv->log.lock);
	segment_set_sound(segments, segment);
	pthread_mutex_unlock(&kv->log.lock);
}

void warm_log(struct kv *kv)
{
	struct segment *segment = kv->log.hot.active;

	if (log_wake(kv))
		return;
	segment->cold = resident_is_unproved(segment);
	kv->maintain.warming |= segment->cold;
}

/* What was there when the store was opened is worth being read in if somebody uses it. */
static bool is_used(const struct kv *kv)
{
	uint64_t operations = atomic_load_explicit(&kv->batches, memory_order_relaxed);
	unsigned i;

	for (i = 0; i < STORE_STRIPES; i++)
		operations += atomic_load_explicit(&kv->counters[i].gets, memory_order_relaxed);
	return operations >= USES;
}

void warm_step(struct kv *kv)
{
	struct segments *segments = &kv->segments;
	uint32_t slot, count = atomic_load(&segments->count);
	struct segment *newest = NULL;
	bool pressed, streams, later = false;

	huge_map_watch(kv);
	if (!kv->maintain.warming || log_spare_wanted(kv, &pressed) ||
	    kv->env->clock_us(kv->env) < kv->maintain.warm_at_us)
		return;
	if (log_rests(kv)) {
		warm_log(kv);
		return;
	}
	streams = log_is_streaming(kv);
	for (slot = 0; slot < count; slot++) {
		struct segment *segment = segments->table[slot];

		if (!segment || !segment->cold)
			continue;
		if (streams && atomic_load(&segment->heads))
			later = true;
		else if (!newest || segment->id > newest->id)
			newest = segment;
	}
	kv->maintain.warming = newest || later;
	if (!newest)
		return;
	newest->cold = false;
	if (newest == kv->compaction.victim || newest->emptied || resident_make(kv, newest))
		return;
	if (!is_used(kv)) {
		newest->cold = true;
		kv->maintain.warm_at_us = kv->env->clock_us(kv->env) + LOOK_US;
		return;
	}
	populate(kv, newest);
}

uint64_t warm_pause_us(struct kv *kv)
{
	uint64_t now_us, at_us = kv->maintain.warm_at_us;

	if (atomic_load(&kv->failed))
		return UINT64_MAX;
	/*
	 * Who only reads kicks nobody: whether huge pages do well has to be looked at from time to
	 * time.
	 */
	if (!kv->maintain.warming)
		return kv->maintain.huge ? HUGE_LOOK_US : UINT64_MAX;
	now_us = kv->env->clock_us(kv->env);
	return now_us + PAUSE_US < at_us ? at_us - now_us : PAUSE_US;
}

/*
 * The newest of what was opened comes into memory: as much as would be there if it had just been
 * written.
 */
static void warm_newest(struct kv *kv)
{
	struct segments *segments = &kv->segments;
	uint32_t slot, count = atomic_load(&segments->count), left = segments->buffers_max;
	struct segment *segment, *next;
	uint64_t below = UINT64_MAX;

	for (; left > LOG_SPARES_MAX; left--) {
		next = NULL;
		for (slot = 0; slot < count; slot++) {
			segment = segments->table[slot];
			if (segment && segment->id && segment->id < below &&
			    (!next || segment->id > next->id))
				next = segment;
		}
		if (!next)
			break;
		below = next->id;
		next->cold = (atomic_load(&next->map) && next != kv->log.hot.active) ||
			     resident_is_unproved(next);
		kv->maintain.warming |= next->cold;
	}
	kv->maintain.warming |= log_rests(kv);
	kv->maintain.warm_at_us = kv->env->clock_us(kv->env) + DELAY_US;
}

/* All of it, in the end, if it is small beside memory, and its records are small on average. */
static void warm_all(struct kv *kv)
{
	uint32_t slot, count = atomic_load(&kv->segments.count);
	uint64_t keys = 0;
	unsigned i;

	for (i = 0; i < FORMAT_KEYSPACES; i++)
		keys += atomic_load(&kv->keys[i]);
	if (!huge_map_fits(kv) || atomic_load(&kv->log_bytes) > keys * HUGE_MAP_RECORD_MAX)
		return;
	for (slot = 0; slot < count; slot++) {
		struct segment *segment = kv->segments.table[slot];
		const uint8_t *map = segment ? atomic_load(&segment->map) : NULL;

		if (!map || segment == kv->log.hot.active)
			continue;
		huge_map_make(kv, map);
		segment->cold = true;
	}
	kv->maintain.warming |= kv->maintain.huge;
}

void warm_begin(struct kv *kv)
{
	warm_newest(kv);
	warm_all(kv);
}

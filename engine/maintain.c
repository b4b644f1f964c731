/* SPDX-License-Identifier: MIT */
/* maintain.c - see maintain.h. */
#include "maintain.h"

#include <errno.h>

#include "brake.h"
#include "checkpoint.h"
#include "compact.h"
#include "compact_pick.h"
#include "epoch.h"
#include "large.h"
#include "log.h"
#include "readahead.h"
#include "scrub.h"
#include "sync.h"
#include "trim.h"
#include "version.h"
#include "worker.h"

#define SAMPLE_SIZE FORMAT_SEGMENT_SIZE_MIN /* bytes of a segment */
#define PRUNE_PAUSE_US 20000u /* between rounds beside somebody who prunes, and looks after compaction himself */
#define WARM_PAUSE_US 2000u		/* between two segments that are read in */
#define WARM_DELAY_US 50000u		/* after opening: who only wants one key has closed the store by then */
#define WARM_LOOK_US 1000000u		/* between looks whether the store is in use */
#define WARM_USES 10000u		/* operations that show it */
#define HUGE_SIZE (2u << 20)		/* bytes that a fault in a map of huge pages reads */
#define HUGE_LOOK_US 5000000u		/* between looks whether there is memory for that */
#define HUGE_RECORD_MAX 2048u		/* bytes of a record on average, for which that is well */
#define HUGE_READS 4u			/* times that the log may be read in, before there is no memory for it */
#define LARGE_STEPS_MAX 16u		/* of freeing, at once */
#define RESIDENTS_KEPT 6u		/* segments of large values that keep their buffers */

void maintain_init(struct maintain *maintain)
{
	pthread_mutex_init(&maintain->lock, NULL);
	worker_init(&maintain->worker);
}

void maintain_fini(struct maintain *maintain)
{
	worker_fini(&maintain->worker);
	pthread_mutex_destroy(&maintain->lock);
}

/* ---- buffers --------------------------------------------------------------------------------- */

/* The sealed segment with the lowest id that has a buffer, and how many segments have one. */
static struct segment *oldest_resident(struct kv *kv, uint32_t *residents)
{
	struct segments *segments = &kv->segments;
	uint32_t slot, count = atomic_load(&segments->count);
	struct segment *oldest = NULL;

	*residents = 0;
	for (slot = 0; slot < count; slot++) {
		struct segment *segment = segments->table[slot];

		/* The one that takes compaction's copies is filled without anybody waiting for it. */
		if (!segment || !segment->buffer || segment == kv->cold.active)
			continue;
		++*residents;
		if (segment->sealed && (!oldest || segment->id < oldest->id))
			oldest = segment;
	}
	return oldest;
}

/* Are records so large, going by the first of them, that they are better read when asked for? They need not be valid. */
static bool has_large_records(const struct segment *segment, const uint8_t *buffer)
{
	uint32_t end = segment->end < SAMPLE_SIZE ? segment->end : SAMPLE_SIZE;
	uint64_t offset = FORMAT_SEGMENT_HEADER_SIZE;
	unsigned count = 0;

	while (offset + FORMAT_RECORD_HEADER_SIZE <= end) {
		offset += format_record_length((const struct format_record *)(buffer + offset));
		count++;
	}
	return count < SAMPLE_SIZE / READAHEAD_VALUE_MIN;
}

/* Reads it into a buffer, but for one of large records, of which the beginning has to be read to know. */
static uint8_t *fetch(struct kv *kv, const struct segment *segment)
{
	struct segments *segments = &kv->segments;
	uint8_t *buffer;

	if (segments_take_buffer(segments, &buffer))
		return NULL;
	if (segments->env->file_read(segment->file, buffer, SAMPLE_SIZE, 0) ||
	    has_large_records(segment, buffer) ||
	    segments->env->file_read(segment->file, buffer + SAMPLE_SIZE,
				     segments->size - SAMPLE_SIZE, SAMPLE_SIZE)) {
		segments_give_buffer(segments, buffer);
		return NULL;
	}
	return buffer;
}

/* ---- maps of huge pages ---------------------------------------------------------------------- */

/*
 * A look-up in a map of small pages misses the TLB beside the cache; but in one of huge pages the first that comes to such a page
 * reads 2 MiB. So where the log takes no more than a small part of memory, and will be there as a whole sooner or later.
 */
static bool fits_memory(const struct kv *kv)
{
	return atomic_load(&kv->log_bytes) < kv->warm_size;
}

static void make_huge(struct kv *kv, const uint8_t *map)
{
	if (kv->maintain.small)
		return;
	kv->env->map_advise(map, kv->segments.size, ENV_ADVICE_HUGE);
	if (!kv->maintain.huge)
		kv->maintain.faults = kv->env->map_faults(kv->env);
	kv->maintain.huge = true;
}

/* What maps have read since there are huge ones, if all of it was by these. */
static uint64_t huge_bytes_read(const struct kv *kv)
{
	return (kv->env->map_faults(kv->env) - kv->maintain.faults) * HUGE_SIZE;
}

/*
 * The log has outgrown memory, or there is less of that than it seemed, as what was read in is read in again and again: each page by
 * itself from now on.
 */
static void watch_huge(struct kv *kv)
{
	struct segments *segments = &kv->segments;
	uint32_t slot, count = atomic_load(&segments->count);
	uint64_t was_there = atomic_load(&kv->log_bytes) + atomic_load(&kv->appended_bytes) +
			     atomic_load(&kv->relocated_bytes);
	bool pressed;

	if (!kv->maintain.huge)
		return;
	pressed = huge_bytes_read(kv) > HUGE_READS * was_there + kv->warm_size / HUGE_READS;
	if (fits_memory(kv) && !pressed)
		return;
	for (slot = 0; slot < count; slot++) {
		struct segment *segment = segments->table[slot];
		const uint8_t *map = segment ? atomic_load(&segment->map) : NULL;

		if (map)
			kv->env->map_advise(map, segments->size, ENV_ADVICE_SMALL);
	}
	kv->maintain.huge = false;
	kv->maintain.small = pressed;
}

/* Reads in a map, in pieces, unless a writer wants a segment meanwhile; and validates what a checkpoint spoke of, as it is there. */
static void populate(struct kv *kv, struct segment *segment)
{
	struct segments *segments = &kv->segments;
	const uint8_t *map = atomic_load(&segment->map);
	uint32_t offset, piece;

	for (offset = 0; offset < segments->size; offset += piece) {
		piece = segments->size - offset < HUGE_SIZE ? segments->size - offset : HUGE_SIZE;
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

/*
 * Lets readers use the file's map, and takes the buffer. As writes go around the page cache the map is cold: where the log
 * takes no more than a small part of memory, it is read in again when nobody waits for the disk.
 */
static int retire_buffer(struct kv *kv, struct segment *segment)
{
	const uint8_t *map;
	uint8_t *buffer;
	int error = segment_map(&kv->segments, segment, &map);

	if (error)
		return error;
	segment->cold = fits_memory(kv) && !has_large_records(segment, segment->buffer);
	kv->maintain.warming |= segment->cold;
	segment_keep_heads(&kv->segments, segment);
	/* What has heads is read where its values are wanted, or not at all. */
	if (segment->cold && !atomic_load(&segment->heads))
		make_huge(kv, map);
	pthread_mutex_lock(&kv->log.lock);
	buffer = segment_use_map(&kv->segments, segment, map);
	pthread_mutex_unlock(&kv->log.lock);
	epoch_wait();
	segments_give_buffer(&kv->segments, buffer);
	return 0;
}

/* Its buffer has to be proved, for it was appended to again. */
static bool is_unproved(const struct segment *segment)
{
	return segment->buffer && segment->verified && !segment->sound;
}

static void prove(struct kv *kv, struct segment *segment)
{
	if (!segment_prove(&kv->segments, segment, segment->buffer))
		return;
	pthread_mutex_lock(&kv->log.lock);
	segment_set_sound(&kv->segments, segment);
	pthread_mutex_unlock(&kv->log.lock);
}

/*
 * Gives a segment a buffer again: huge pages, instead of small ones that each have to be found, take a fifth off a get and a quarter
 * off an overwrite. As many as may have one, and the spares that writers will want. False: there is no room.
 */
static bool make_resident(struct kv *kv, struct segment *segment)
{
	struct segments *segments = &kv->segments;
	const uint8_t *map;
	uint32_t residents;
	uint8_t *buffer;
	bool sound;

	if (is_unproved(segment)) {
		prove(kv, segment);
		return true;
	}
	(void)oldest_resident(kv, &residents);
	if (residents + LOG_SPARES_MAX >= segments->buffers_max)
		return false;
	/* What cannot be read whole is left to those who read parts of it. */
	buffer = fetch(kv, segment);
	if (!buffer)
		return true;
	/* Now, in a streak, instead of record by record as they are read. */
	sound = segment->verified && segment_prove(segments, segment, buffer);
	pthread_mutex_lock(&kv->log.lock);
	segment->sound = sound;
	map = segment_use_buffer(segments, segment, buffer);
	pthread_mutex_unlock(&kv->log.lock);
	epoch_wait();
	segments->env->file_unmap(segment->file, map, segments->size);
	return true;
}

/* Somebody appends, or may do so: the log's end comes into its buffer. */
static void wake_log(struct kv *kv)
{
	struct segment *segment = kv->log.hot.active;

	if (log_wake(kv))
		return;
	segment->cold = is_unproved(segment);
	kv->maintain.warming |= segment->cold;
}

/* What was there when the store was opened is worth being read in if somebody uses it. */
static bool is_used(const struct kv *kv)
{
	uint64_t operations = atomic_load_explicit(&kv->batches, memory_order_relaxed);
	unsigned i;

	for (i = 0; i < STORE_STRIPES; i++)
		operations += atomic_load_explicit(&kv->counters[i].gets, memory_order_relaxed);
	return operations >= WARM_USES;
}

/*
 * Reads in the newest cold segment, one at a time, while writers have all they want. In a stream of writes not what can be written over
 * without being read: it would be as much as is written, and most of it is garbage before the stream ends.
 */
static void warm_step(struct kv *kv)
{
	struct segments *segments = &kv->segments;
	uint32_t slot, count = atomic_load(&segments->count);
	struct segment *newest = NULL;
	bool pressed, streams, later = false;

	watch_huge(kv);
	if (!kv->maintain.warming || log_spare_wanted(kv, &pressed) ||
	    kv->env->clock_us(kv->env) < kv->maintain.warm_at_us)
		return;
	if (log_rests(kv)) {
		wake_log(kv);
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
	if (newest == kv->compaction.victim || newest->emptied || make_resident(kv, newest))
		return;
	if (!is_used(kv)) {
		newest->cold = true;
		kv->maintain.warm_at_us = kv->env->clock_us(kv->env) + WARM_LOOK_US;
		return;
	}
	populate(kv, newest);
}

/*
 * Is this segment's buffer better used again than new memory touched? That takes longer than writing it. So while a writer waits;
 * and where the buffer holds large values, which are read from the disk as fast as it goes.
 */
static bool is_better_reused(struct kv *kv, const struct segment *oldest, uint32_t residents,
			     bool pressed)
{
	if (!oldest || segments_have_buffer(&kv->segments))
		return false;
	return pressed || (residents >= RESIDENTS_KEPT && has_large_records(oldest, oldest->buffer));
}

/*
 * Gives buffers back, oldest segments first, until one more may be taken. False: all are still to be written.
 */
static bool make_room(struct kv *kv, bool pressed)
{
	for (;;) {
		uint32_t residents;
		struct segment *oldest = oldest_resident(kv, &residents);

		if (residents < kv->segments.buffers_max &&
		    !is_better_reused(kv, oldest, residents, pressed))
			return true;
		if (!oldest)
			return false;
		/* Without a map: rather a buffer too many than writers who wait for ever. */
		if (retire_buffer(kv, oldest))
			return true;
	}
}

/* ---- the segments that come next ------------------------------------------------------------- */

static bool make_space(struct kv *kv)
{
	store_need_orders(kv);
	return checkpoint_discard(kv) || large_free_now(kv) || compact_for_space(kv);
}

/* On a full disk the store makes room in itself; where that is not enough, deleting goes on in the reserve. */
static int prepare_spare(struct kv *kv)
{
	bool freeing_waits;
	int error;

	do {
		error = log_prepare_spare(kv);
	} while (error == -ENOSPC && make_space(kv));
	pthread_mutex_lock(&kv->log.lock);
	freeing_waits = kv->log.freeing_waits;
	pthread_mutex_unlock(&kv->log.lock);
	if (error == -ENOSPC && freeing_waits)
		(void)log_use_reserve(kv);
	log_spare_attempted(kv, error);
	return error;
}

/*
 * Prepares spare segments. Where writers are faster than the disk they wait for it here, so that memory stays
 * bounded: the flusher kicks when a segment is durable and its buffer can be used again.
 */
static void prepare_if_wanted(struct kv *kv)
{
	unsigned prepared = 0;
	bool pressed;

	if (log_rests(kv)) {
		if (log_spare_wanted(kv, &pressed))
			wake_log(kv);
		return;
	}
	while (log_spare_wanted(kv, &pressed) && !atomic_load(&kv->failed)) {
		if (!make_room(kv, pressed)) {
			if (!pressed)
				break;
			if (!kv->inline_maintenance) {
				sync_kick(kv);
				break;
			}
			if (sync_wait(kv, atomic_load(&kv->log.last_seq)) || !make_room(kv, false))
				break;
		}
		if (prepare_spare(kv))
			break;
		prepared++;
		/* All else must come to its turn, while writers use up spares as fast as they come. */
		if (brake_check(kv))
			break;
		if (prepared == LOG_SPARES_MAX) {
			maintain_kick(kv);
			break;
		}
	}
	/* Once for all, and not on the flusher's time. It would say so if it failed for good. */
	if (prepared)
		(void)log_sync_spares(kv);
}

/* What waits to be freed is no garbage yet: where large values are replaced as fast as it goes, one step a round would never catch up. */
static void free_large(struct kv *kv)
{
	unsigned steps = 0;

	do {
		large_step(kv);
	} while (++steps < LARGE_STEPS_MAX && large_has_more(kv));
}

static void free_retired(struct kv *kv)
{
	struct index_table *retired = index_take_retired(&kv->index);

	if (!retired)
		return;
	epoch_wait();
	index_free_retired(&kv->index, retired);
}

/* ---- the maintainer -------------------------------------------------------------------------- */

void maintain_kick(struct kv *kv)
{
	worker_kick(&kv->maintain.worker);
}

/*
 * Between any two things that may wait for the disk: a stream of writes uses up its spares while one of them does. Not where writers are to
 * wait for compaction; and where callers do the work there is nobody else who writes.
 */
static void prepare_between(struct kv *kv)
{
	if (!kv->inline_maintenance && atomic_load(&kv->log.spare_wanted) && !brake_is_on(kv))
		prepare_if_wanted(kv);
}

void maintain_round(struct kv *kv)
{
	pthread_mutex_lock(&kv->maintain.lock);
	prepare_if_wanted(kv);
	/* Both change ordered indexes. */
	if (!atomic_load(&kv->orders_loading)) {
		compact_step(kv);
		prepare_between(kv);
		free_large(kv);
		prepare_between(kv);
		checkpoint_step(kv);
		prepare_between(kv);
	}
	(void)version_step(kv);
	scrub_step(kv);
	warm_step(kv);
	free_retired(kv);
	version_free_retired(kv);
	trim_step(kv);
	pthread_mutex_unlock(&kv->maintain.lock);
}

/* Who only reads kicks nobody: whether huge pages do well has to be looked at from time to time. */
static uint64_t warm_pause_us(struct kv *kv)
{
	uint64_t now_us, at_us = kv->maintain.warm_at_us;

	if (atomic_load(&kv->failed))
		return UINT64_MAX;
	if (!kv->maintain.warming)
		return kv->maintain.huge ? HUGE_LOOK_US : UINT64_MAX;
	now_us = kv->env->clock_us(kv->env);
	return now_us + WARM_PAUSE_US < at_us ? at_us - now_us : WARM_PAUSE_US;
}

void maintain_checkpoint(struct kv *kv)
{
	pthread_mutex_lock(&kv->maintain.lock);
	checkpoint_step(kv);
	pthread_mutex_unlock(&kv->maintain.lock);
}

/* Under the lock: a caller that prunes changes what compaction is about meanwhile. */
static uint64_t pause_us(struct kv *kv)
{
	uint64_t compact_us, large_us, warm_us, version_us, checkpoint_us, scrub_us, trim_us;

	/* It has the lock nearly always, and whoever else wants it now and then only makes it wait. */
	if (atomic_load(&kv->maintain.prunes))
		return PRUNE_PAUSE_US;
	pthread_mutex_lock(&kv->maintain.lock);
	compact_us = compact_pause_us(kv);
	large_us = large_pause_us(kv);
	checkpoint_us = checkpoint_pause_us(kv);
	warm_us = warm_pause_us(kv);
	scrub_us = scrub_pause_us(kv);
	trim_us = trim_pause_us(kv);
	pthread_mutex_unlock(&kv->maintain.lock);
	version_us = version_pause_us(kv);
	if (compact_us > scrub_us)
		compact_us = scrub_us;
	if (compact_us > trim_us)
		compact_us = trim_us;
	if (compact_us > version_us)
		compact_us = version_us;
	if (compact_us > large_us)
		compact_us = large_us;
	if (compact_us > checkpoint_us)
		compact_us = checkpoint_us;
	return compact_us < warm_us ? compact_us : warm_us;
}

static void *maintainer(void *arg)
{
	struct kv *kv = arg;

	while (!worker_is_stopping(&kv->maintain.worker)) {
		/* Compaction and freeing go on in small steps, between which everyone else is served. */
		worker_sleep(&kv->maintain.worker, pause_us(kv));
		if (!atomic_load(&kv->failed)) {
			maintain_round(kv);
			/* Compaction appends as well. */
			sync_committed(kv);
			continue;
		}
		/* Poisoned: those who wait for room are told. */
		pthread_mutex_lock(&kv->log.lock);
		pthread_cond_broadcast(&kv->log.room);
		pthread_mutex_unlock(&kv->log.lock);
	}
	return NULL;
}

/* The newest of what was opened comes into memory: as much as would be there if it had just been written. */
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
			     is_unproved(next);
		kv->maintain.warming |= next->cold;
	}
	kv->maintain.warming |= log_rests(kv);
	kv->maintain.warm_at_us = kv->env->clock_us(kv->env) + WARM_DELAY_US;
}

/* All of it, in the end, if it is small beside memory, and its records are small on average. */
static void warm_all(struct kv *kv)
{
	uint32_t slot, count = atomic_load(&kv->segments.count);
	uint64_t keys = 0;
	unsigned i;

	for (i = 0; i < FORMAT_KEYSPACES; i++)
		keys += atomic_load(&kv->keys[i]);
	if (!fits_memory(kv) || atomic_load(&kv->log_bytes) > keys * HUGE_RECORD_MAX)
		return;
	for (slot = 0; slot < count; slot++) {
		struct segment *segment = kv->segments.table[slot];
		const uint8_t *map = segment ? atomic_load(&segment->map) : NULL;

		if (!map || segment == kv->log.hot.active)
			continue;
		make_huge(kv, map);
		segment->cold = true;
	}
	kv->maintain.warming |= kv->maintain.huge;
}

void maintain_warm(struct kv *kv)
{
	warm_newest(kv);
	warm_all(kv);
}

int maintain_start(struct kv *kv)
{
	maintain_warm(kv);
	kv->maintain.rest.since_us = kv->env->clock_us(kv->env);
	return worker_start(&kv->maintain.worker, maintainer, kv);
}

void maintain_stop(struct kv *kv)
{
	worker_stop(&kv->maintain.worker);
}

/* SPDX-License-Identifier: MIT */
/* resident.c - see resident.h. */
#include "resident.h"

#include "epoch.h"
#include "huge_map.h"
#include "log_spare.h"
#include "readahead.h"

#define SAMPLE_SIZE FORMAT_SEGMENT_SIZE_MIN /* bytes of a segment */
#define RESIDENTS_KEPT 6u		     /* segments of large values that keep their buffers */

/* The sealed segment with the lowest id that has a buffer, and how many segments have one. */
static struct segment *oldest_resident(struct kv *kv, uint32_t *residents)
{
	struct segments *segments = &kv->segments;
	uint32_t slot, count = atomic_load(&segments->count);
	struct segment *oldest = NULL;

	*residents = 0;
	for (slot = 0; slot < count; slot++) {
		struct segment *segment = segments->table[slot];

		/*
		 * The one that takes compaction's copies is filled without anybody waiting for it.
		 */
		if (!segment || !segment->buffer || segment == kv->cold.active)
			continue;
		++*residents;
		if (segment->sealed && (!oldest || segment->id < oldest->id))
			oldest = segment;
	}
	return oldest;
}

/*
 * Are records so large, going by the first of them, that they are better read when asked for? They
 * need not be valid.
 */
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

/*
 * Reads it into a buffer, but for one of large records, of which the beginning has to be read to
 * know.
 */
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

/*
 * Lets readers use the file's map, and takes the buffer. As writes go around the page cache the map
 * is cold: where the log takes no more than a small part of memory, it is read in again when nobody
 * waits for the disk.
 */
static int retire_buffer(struct kv *kv, struct segment *segment)
{
	const uint8_t *map;
	uint8_t *buffer;
	int error = segment_map(&kv->segments, segment, &map);

	if (error)
		return error;
	segment->cold = huge_map_fits(kv) && !has_large_records(segment, segment->buffer);
	kv->maintain.warming |= segment->cold;
	segment_keep_heads(&kv->segments, segment);
	/* A segment with heads is read where its values are wanted, or not at all. */
	if (segment->cold && !atomic_load(&segment->heads))
		huge_map_make(kv, map);
	pthread_mutex_lock(&kv->log.lock);
	buffer = segment_use_map(&kv->segments, segment, map);
	pthread_mutex_unlock(&kv->log.lock);
	epoch_wait();
	segments_give_buffer(&kv->segments, buffer);
	return 0;
}

bool resident_is_unproved(const struct segment *segment)
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

bool resident_make(struct kv *kv, struct segment *segment)
{
	struct segments *segments = &kv->segments;
	const uint8_t *map;
	uint32_t residents;
	uint8_t *buffer;
	bool sound;

	if (resident_is_unproved(segment)) {
		prove(kv, segment);
		return true;
	}
	(void)oldest_resident(kv, &residents);
	if (residents + LOG_SPARES_MAX >= segments->buffers_max)
		return false;
	/* A segment that cannot be read as a whole is left to those who read parts of it. */
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

/*
 * Is this segment's buffer better used again than new memory touched? That takes longer than
 * writing it. So while a writer waits; and where the buffer holds large values, which are read from
 * the disk as fast as it goes.
 */
static bool is_better_reused(struct kv *kv, const struct segment *oldest, uint32_t residents,
			     bool pressed)
{
	if (!oldest || segments_have_buffer(&kv->segments))
		return false;
	return pressed ||
	       (residents >= RESIDENTS_KEPT && has_large_records(oldest, oldest->buffer));
}

bool resident_make_room(struct kv *kv, bool pressed)
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

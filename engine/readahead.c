/* SPDX-License-Identifier: MIT */
/*
 * readahead.c - see readahead.h.
 *
 * Maps are advised MADV_RANDOM, right for look-ups, under which a 64 KiB value would come in
 * sixteen reads of 4 KiB. Each thread remembers what it has asked for in one segment; records that
 * follow each other in the log, as those of a file that was written in sequence do, are asked for a
 * window ahead. Some may be missing between them, which another thread reads: a mount's client that
 * is moved to another processor goes on in that one's queue. The first records of a segment are
 * taken for the continuation of what ended in the one before.
 */
#include "readahead.h"

#include "huge_map.h"

#define AROUND ((uint32_t)65536)  /* bytes asked for around a smaller value */
#define AROUND_VALUE_MIN 2048u	   /* bytes; of those that are smaller a page holds several */
#define WINDOW ((uint32_t)2 << 20) /* bytes asked for at once, when reading in sequence */
#define GAP_MAX (WINDOW / 4)		/* between two values that count as in sequence */
#define PAGE_SIZE 4096u

struct progress {
	const uint8_t *map;
	uint64_t id;
	uint32_t next;	       /* offset behind the last value */
	uint32_t begin, asked; /* from here to there the disk was asked */
};

static void ask(struct kv *kv, const uint8_t *map, uint32_t from, uint32_t to)
{
	uint32_t first = from & ~(PAGE_SIZE - 1);

	kv->env->map_advise(map + first, to - first, ENV_ADVICE_WILLNEED);
}

void readahead_value(struct kv *kv, uint64_t address, const struct format_record *record)
{
	static __thread struct progress progress;
	const struct segments *segments = &kv->segments;
	const struct segment *segment = segments->table[segments_slot(segments, address)];
	const uint8_t *map = atomic_load_explicit(&segment->map, memory_order_acquire);
	uint32_t from = segments_offset(segments, address);
	uint32_t to = from + (uint32_t)format_record_length(record), ahead;
	bool same, sequential;

	if (!map)
		return;
	same = progress.map == map && progress.id == segment->id;
	sequential = (same && from >= progress.next && from - progress.next < GAP_MAX) ||
		     from - FORMAT_SEGMENT_HEADER_SIZE < READAHEAD_VALUE_MIN;
	if (!same || from < progress.begin || from > progress.asked)
		progress = (struct progress){map, segment->id, 0, from, from};
	progress.next = to;
	if (to <= progress.asked && (!sequential || progress.asked - to > WINDOW / 2))
		return;
	ahead = sequential ? to + WINDOW : to;
	if (ahead > segments->size)
		ahead = segments->size;
	if (ahead <= progress.asked)
		return;
	ask(kv, map, progress.asked, ahead);
	progress.asked = ahead;
}

/*
 * Where a segment is so large that a bit would have to speak for several values, or for less than
 * what is around one, nobody knows.
 */
static bool knows_asked(const struct segments *segments)
{
	return segments->size / SEGMENT_VALUE_BITS <= READAHEAD_VALUE_MIN &&
	       segments->size / SEGMENT_BLOCK_BITS <= AROUND;
}

/* Was it asked for by anybody? Then, and from now on, it was. */
static bool was_asked(_Atomic uint64_t *bits, uint32_t number)
{
	_Atomic uint64_t *word = &bits[number / 64];
	uint64_t bit = (uint64_t)1 << number % 64;

	if (atomic_load_explicit(word, memory_order_relaxed) & bit)
		return true;
	atomic_fetch_or_explicit(word, bit, memory_order_relaxed);
	return false;
}

static void ask_around(struct kv *kv, struct segment *segment, uint32_t offset)
{
	const uint8_t *map = atomic_load_explicit(&segment->map, memory_order_acquire);
	uint32_t number = offset / AROUND;

	if (map && !was_asked(segment->asked_blocks, number))
		ask(kv, map, number * AROUND, (number + 1) * AROUND);
}

void readahead_part(struct kv *kv, uint64_t address, const struct format_record *record)
{
	struct segments *segments = &kv->segments;
	struct segment *segment = segments->table[segments_slot(segments, address)];
	uint32_t offset = segments_offset(segments, address);
	uint32_t part = offset / (segments->size / SEGMENT_VALUE_BITS);
	bool known = knows_asked(segments);

	if (record->value_size >= READAHEAD_VALUE_MIN) {
		if (!known || !was_asked(segment->asked_values, part))
			readahead_value(kv, address, record);
	} else if (record->value_size >= AROUND_VALUE_MIN && known && huge_map_fits(kv)) {
		ask_around(kv, segment, offset);
	}
}

/* SPDX-License-Identifier: MIT */
/* scrub.c - see scrub.h. */
#include "scrub.h"

#include <stdlib.h>

#define STEP_BYTES ((uint32_t)1 << 20)
#define RATE_DEFAULT ((uint64_t)16 << 20)	     /* bytes a second */
#define BUSY_DIVISOR 8u				     /* of the rate, while others use the store */
#define INTERVAL_DEFAULT_US (7 * 86400 * UINT64_C(1000000)) /* from the beginning of a pass to
							       the next */
#define FIRST_DELAY_US (3600 * UINT64_C(1000000))    /* after opening, at most */
#define PAUSE_MIN_US 100u

void scrub_init(struct kv *kv, uint64_t rate, unsigned interval_s)
{
	struct scrub *scrub = &kv->scrub;
	uint64_t now_us = kv->env->clock_us(kv->env), delay_us;

	scrub->rate = rate == KV_SCRUB_NEVER ? 0 : rate ? rate : RATE_DEFAULT;
	scrub->interval_us = interval_s ? interval_s * UINT64_C(1000000) : INTERVAL_DEFAULT_US;
	delay_us = scrub->interval_us < FIRST_DELAY_US ? scrub->interval_us : FIRST_DELAY_US;
	scrub->at_us = now_us + delay_us;
}

void scrub_fini(struct kv *kv)
{
	free(kv->scrub.resident);
}

/* ---- the place ------------------------------------------------------------------------------- */

static bool is_to_be_read(const struct segment *segment)
{
	return segment && segment->id && segment->sealed && !segment->emptied &&
	       atomic_load(&segment->map);
}

/* The segment with the lowest id that the pass has not done. NULL: all are */
static struct segment *find_segment(struct kv *kv)
{
	uint32_t slot, count = atomic_load(&kv->segments.count);
	struct segment *first = NULL;

	for (slot = 0; slot < count; slot++) {
		struct segment *segment = kv->segments.table[slot];

		if (is_to_be_read(segment) && segment->id >= kv->scrub.id &&
		    (!first || segment->id < first->id))
			first = segment;
	}
	return first;
}

/* Asks the disk for the next step's bytes, so that the step finds them. */
static void ask(struct kv *kv, const struct segment *segment, uint32_t offset)
{
	uint32_t end = segment->end;

	if (offset >= end)
		return;
	if (end - offset > STEP_BYTES)
		end = offset + STEP_BYTES;
	kv->env->map_advise(atomic_load(&segment->map) + offset, end - offset, ENV_ADVICE_WILLNEED);
}

static uint32_t pages_of(const struct segment *segment)
{
	return (segment->end + ENV_DIRECT_ALIGN - 1) / ENV_DIRECT_ALIGN;
}

static void note_resident(struct kv *kv, const struct segment *segment)
{
	struct scrub *scrub = &kv->scrub;

	free(scrub->resident);
	scrub->resident = malloc(pages_of(segment));
	if (scrub->resident)
		kv->env->map_resident(atomic_load(&segment->map), segment->end, scrub->resident);
}

/*
 * Gives back what nobody had in memory before: a pass over everything would drive out what is in
 * use.
 */
static void forget(struct kv *kv, const struct segment *segment)
{
	const uint8_t *map = atomic_load(&segment->map), *resident = kv->scrub.resident;
	uint32_t count = resident ? pages_of(segment) : 0, from, to;

	for (from = 0; from < count; from = to) {
		to = from + 1;
		if (resident[from])
			continue;
		while (to < count && !resident[to])
			to++;
		kv->env->map_advise(map + (size_t)from * ENV_DIRECT_ALIGN,
				    (size_t)(to - from) * ENV_DIRECT_ALIGN, ENV_ADVICE_FORGET);
	}
}

static void enter(struct kv *kv, const struct segment *segment)
{
	struct scrub *scrub = &kv->scrub;

	/* Numbers of cold segments may be given out again. */
	if (segment->id == scrub->id && segment->born == scrub->born)
		return;
	scrub->id = segment->id;
	scrub->born = segment->born;
	scrub->offset = FORMAT_SEGMENT_HEADER_SIZE;
	scrub->damaged_bytes = 0;
	scrub->search_budget = SEGMENT_SEARCH_BUDGET(&kv->segments);
	note_resident(kv, segment);
	ask(kv, segment, scrub->offset);
}

/* ---- verifying ------------------------------------------------------------------------------- */

static void verify(struct kv *kv, const struct segment *segment, uint32_t stop)
{
	struct scrub *scrub = &kv->scrub;
	const uint8_t *base = atomic_load(&segment->map);
	uint32_t from;

	while (scrub->offset < stop) {
		int64_t length = segment_validate(&kv->segments, segment, base, scrub->offset);

		if (length > 0) {
			scrub->offset += (uint32_t)length;
			continue;
		}
		from = scrub->offset;
		scrub->offset = segment_search(&kv->segments, segment, base,
					       from + FORMAT_RECORD_ALIGN, segment->end,
					       &scrub->search_budget);
		if (!scrub->damaged_bytes)
			scrub->damaged_offset = from;
		scrub->damaged_bytes += scrub->offset - from;
	}
}

/* Said once for each segment, and again only when it has become more. */
static void say_damage(struct kv *kv, struct segment *segment)
{
	struct scrub *scrub = &kv->scrub;
	char name[FORMAT_SEGMENT_NAME_SIZE];

	if (scrub->damaged_bytes <= segment->damaged_bytes)
		return;
	segment->damaged_bytes = scrub->damaged_bytes;
	store_add(&kv->damaged, 1);
	store_add(&scrub->findings, 1);
	format_segment_name(segment->slot, name);
	store_report(
		kv, KV_ERROR,
		"%s: the scrub found %u bytes, from offset %u on, that are damaged%s; the rest "
		"stays readable",
		name, scrub->damaged_bytes, scrub->damaged_offset,
		kv->env->map_failed(atomic_load(&segment->map), kv->segments.size)
			? " or cannot be read"
			: "");
}

static void leave(struct kv *kv, struct segment *segment)
{
	say_damage(kv, segment);
	forget(kv, segment);
	kv->env->map_advise(atomic_load(&segment->map), kv->segments.size, ENV_ADVICE_DONTNEED);
	kv->scrub.id = segment->id + 1;
	kv->scrub.born = 0;
}

/* ---- steps ----------------------------------------------------------------------------------- */

/* Has anybody used the store since the last step? */
static bool is_busy(struct kv *kv)
{
	uint64_t operations = atomic_load_explicit(&kv->batches, memory_order_relaxed);
	bool busy;
	unsigned i;

	for (i = 0; i < STORE_STRIPES; i++)
		operations += atomic_load_explicit(&kv->counters[i].gets, memory_order_relaxed);
	busy = operations != kv->scrub.operations;
	kv->scrub.operations = operations;
	return busy;
}

static void end_pass(struct kv *kv, uint64_t now_us)
{
	struct scrub *scrub = &kv->scrub;
	uint64_t next_us = scrub->begun_us + scrub->interval_us;

	store_add(&scrub->passes, 1);
	scrub->begun_us = 0;
	scrub->id = 0;
	/* A store that takes longer than that to read is read all the time. */
	scrub->at_us = next_us > now_us ? next_us : now_us;
}

void scrub_step(struct kv *kv)
{
	struct scrub *scrub = &kv->scrub;
	uint64_t now_us, rate;
	struct segment *segment;
	uint32_t from;

	if (!scrub->rate || atomic_load(&kv->failed))
		return;
	now_us = kv->env->clock_us(kv->env);
	if (now_us < scrub->at_us)
		return;
	if (!scrub->begun_us)
		scrub->begun_us = now_us;
	segment = find_segment(kv);
	if (!segment) {
		end_pass(kv, now_us);
		return;
	}
	enter(kv, segment);
	from = scrub->offset;
	ask(kv, segment, from + STEP_BYTES);
	verify(kv, segment,
	       segment->end - from > STEP_BYTES ? from + STEP_BYTES : segment->end);
	store_add(&scrub->bytes, scrub->offset - from);
	rate = is_busy(kv) && scrub->rate > BUSY_DIVISOR ? scrub->rate / BUSY_DIVISOR : scrub->rate;
	scrub->at_us = now_us + (scrub->offset - from) * UINT64_C(1000000) / rate;
	if (scrub->offset >= segment->end)
		leave(kv, segment);
}

uint64_t scrub_pause_us(const struct kv *kv)
{
	const struct scrub *scrub = &kv->scrub;
	uint64_t now_us;

	if (!scrub->rate || atomic_load(&kv->failed))
		return UINT64_MAX;
	now_us = kv->env->clock_us(kv->env);
	return scrub->at_us > now_us + PAUSE_MIN_US ? scrub->at_us - now_us : PAUSE_MIN_US;
}

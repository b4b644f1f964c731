/* SPDX-License-Identifier: MIT */
/* scrub.c - see scrub.h. */
#include "scrub.h"

#include <stdlib.h>

#include "scrub_files.h"
#include "scrub_memory.h"

#define STEP_BYTES ((uint32_t)1 << 20)
#define RATE_DEFAULT ((uint64_t)16 << 20)	     /* bytes a second */
#define BUSY_DIVISOR 8u				     /* of the rate, while others use the store */
#define INTERVAL_DEFAULT_US (7 * 86400 * UINT64_C(1000000)) /* from the beginning of a pass to
							       the next */
#define FIRST_DELAY_US (600 * UINT64_C(1000000))     /* after opening, at most */
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

/*
 * How far the log's last segment is durable. What was appended to it, and is not, are the last
 * bytes in front of its end.
 */
static void look_at_tail(struct kv *kv)
{
	const struct log_tail *tail = &kv->log.hot;
	uint64_t durable = atomic_load(&kv->sync.durable_bytes), waiting;

	pthread_mutex_lock(&kv->log.lock);
	waiting = atomic_load(&tail->appended_bytes) - durable;
	kv->scrub.tail = tail->active;
	kv->scrub.tail_end = waiting < tail->offset ? tail->offset - (uint32_t)waiting : 0;
	pthread_mutex_unlock(&kv->log.lock);
}

static bool is_tail(const struct kv *kv, const struct segment *segment)
{
	return segment == kv->scrub.tail;
}

/* Up to where there are records on the disk; nothing is where that is not behind the header. */
static uint32_t end_of(const struct kv *kv, const struct segment *segment)
{
	return is_tail(kv, segment) ? kv->scrub.tail_end : segment->end;
}

static bool is_to_be_read(const struct kv *kv, const struct segment *segment)
{
	return segment && segment->id && !segment->emptied &&
	       (atomic_load(&segment->sealed) || is_tail(kv, segment)) &&
	       end_of(kv, segment) > FORMAT_SEGMENT_HEADER_SIZE;
}

/* The one with the lowest id from the place on. NULL: there is none below `before` */
static struct segment *find_from(struct kv *kv, uint64_t id, uint64_t before)
{
	uint32_t slot, count = atomic_load(&kv->segments.count);
	struct segment *first = NULL;

	for (slot = 0; slot < count; slot++) {
		struct segment *segment = kv->segments.table[slot];

		if (is_to_be_read(kv, segment) && segment->id >= id && segment->id < before &&
		    (!first || segment->id < first->id))
			first = segment;
	}
	return first;
}

/*
 * From where the pass began to the end of the log, and from its beginning to there. NULL: all are
 * done.
 */
static struct segment *find_segment(struct kv *kv)
{
	struct scrub *scrub = &kv->scrub;
	struct segment *segment = NULL;

	look_at_tail(kv);
	if (!scrub->turned)
		segment = find_from(kv, scrub->id, UINT64_MAX);
	if (!segment && !scrub->turned) {
		scrub->turned = true;
		scrub->id = 0;
	}
	return segment ? segment : find_from(kv, scrub->id, scrub->first_id);
}

/*
 * Anywhere: a store that is never open for long would else have its first part read again and
 * again, and nothing behind it.
 */
static void choose_first(struct kv *kv)
{
	uint32_t count = atomic_load(&kv->segments.count), drawn;
	const struct segment *segment = NULL;

	if (count && !kv->env->random(kv->env, &drawn, sizeof(drawn)))
		segment = kv->segments.table[drawn % count];
	kv->scrub.first_id = segment ? segment->id : 0;
	kv->scrub.id = kv->scrub.first_id;
	kv->scrub.turned = false;
}

/* Asks the disk for the next step's bytes, so that the step finds them. */
static void ask(struct kv *kv, const struct segment *segment, uint32_t offset)
{
	const uint8_t *map = atomic_load(&segment->map);
	uint32_t end = end_of(kv, segment);

	if (!map || offset >= end)
		return;
	if (end - offset > STEP_BYTES)
		end = offset + STEP_BYTES;
	kv->env->map_advise(map + offset, end - offset, ENV_ADVICE_WILLNEED);
}

static void note_resident(struct kv *kv, const struct segment *segment)
{
	struct scrub *scrub = &kv->scrub;
	const uint8_t *map = atomic_load(&segment->map);
	uint32_t end = end_of(kv, segment);

	free(scrub->resident);
	scrub->resident_pages = (end + ENV_DIRECT_ALIGN - 1) / ENV_DIRECT_ALIGN;
	scrub->resident = map ? malloc(scrub->resident_pages) : NULL;
	if (scrub->resident)
		kv->env->map_resident(map, end, scrub->resident);
}

/*
 * Gives back what nobody had in memory before: a pass over everything would drive out what is in
 * use.
 */
static void forget(struct kv *kv, const struct segment *segment)
{
	const uint8_t *map = atomic_load(&segment->map), *resident = kv->scrub.resident;
	uint32_t count = map && resident ? kv->scrub.resident_pages : 0, from, to;

	for (from = 0; from < count; from = to) {
		to = from + 1;
		if (resident[from])
			continue;
		while (to < count && !resident[to])
			to++;
		kv->env->map_advise(map + (size_t)from * ENV_DIRECT_ALIGN,
				    (size_t)(to - from) * ENV_DIRECT_ALIGN, ENV_ADVICE_FORGET);
	}
	if (map)
		kv->env->map_advise(map, kv->segments.size, ENV_ADVICE_DONTNEED);
}

static void enter(struct kv *kv, struct segment *segment)
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
	scrub_segment_file(kv, segment);
}

/* ---- verifying ------------------------------------------------------------------------------- */

static void verify(struct kv *kv, const struct segment *segment, const uint8_t *base,
		   uint32_t stop)
{
	struct scrub *scrub = &kv->scrub;
	uint32_t from;

	while (scrub->offset < stop) {
		int64_t length = segment_validate(&kv->segments, segment, base, scrub->offset);

		if (length > 0) {
			scrub->offset += (uint32_t)length;
			continue;
		}
		from = scrub->offset;
		scrub->offset = segment_search(&kv->segments, segment, base,
					       from + FORMAT_RECORD_ALIGN, end_of(kv, segment),
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
	const uint8_t *map = atomic_load(&segment->map);
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
		map && kv->env->map_failed(map, kv->segments.size) ? " or cannot be read" : "");
}

static void leave(struct kv *kv, struct segment *segment)
{
	say_damage(kv, segment);
	forget(kv, segment);
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

static uint64_t read_segment(struct kv *kv, struct segment *segment)
{
	struct scrub *scrub = &kv->scrub;
	const uint8_t *map = atomic_load(&segment->map);
	uint32_t from, end = end_of(kv, segment);

	enter(kv, segment);
	from = scrub->offset;
	ask(kv, segment, from + STEP_BYTES);
	verify(kv, segment, map ? map : segment->buffer,
	       end - from > STEP_BYTES ? from + STEP_BYTES : end);
	if (!map)
		scrub_compare(kv, segment, from, scrub->offset,
			      is_tail(kv, segment) ? end & ~(ENV_DIRECT_ALIGN - 1)
						   : kv->segments.size);
	if (scrub->offset >= end)
		leave(kv, segment);
	return scrub->offset - from;
}

/* A MiB. False: all is read but for the small files. */
static bool read_on(struct kv *kv, uint64_t *bytes)
{
	struct segment *segment = find_segment(kv);

	*bytes = segment ? read_segment(kv, segment) : scrub_checkpoint_step(kv);
	return segment || *bytes;
}

static void end_pass(struct kv *kv, uint64_t now_us)
{
	struct scrub *scrub = &kv->scrub;
	uint64_t next_us = scrub->begun_us + scrub->interval_us;

	store_add(&scrub->passes, 1);
	scrub->begun_us = 0;
	/* A store that takes longer than that to read is read all the time. */
	scrub->at_us = next_us > now_us ? next_us : now_us;
}

void scrub_step(struct kv *kv)
{
	struct scrub *scrub = &kv->scrub;
	uint64_t now_us, rate, bytes;

	if (!scrub->rate || atomic_load(&kv->failed))
		return;
	now_us = kv->env->clock_us(kv->env);
	if (now_us < scrub->at_us)
		return;
	if (!scrub->begun_us) {
		scrub->begun_us = now_us;
		choose_first(kv);
		scrub_checkpoint_begin(kv);
	}
	if (!read_on(kv, &bytes)) {
		scrub_small_files(kv);
		end_pass(kv, now_us);
		return;
	}
	store_add(&scrub->bytes, bytes);
	rate = is_busy(kv) && scrub->rate > BUSY_DIVISOR ? scrub->rate / BUSY_DIVISOR : scrub->rate;
	scrub->at_us = now_us + bytes * UINT64_C(1000000) / rate;
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

/* SPDX-License-Identifier: MIT */
/* trim.c - see trim.h. */
#include "trim.h"

#include "brake.h"
#include "log_rest.h"
#include "log_spare.h"
#include "reserve.h"
#include "segment_file.h"

#define REST_US 3000000u       /* without a change: a spare segment is left where it will be
				  wanted soon, and nothing else */
#define LONG_REST_US 30000000u /* nothing at all */
#define SOON_DIVISOR 4u	       /* of a segment is left of the log's last one */
#define PAUSE_US 1000u
#define WORTH_DIVISOR 8u       /* of a segment: less is not given back */
#define SCARCE_SEGMENTS 16u    /* of free disk, beside the reserve */

/* Whatever uses, or makes, spare segments and free files counts here. */
static uint64_t activity(const struct kv *kv)
{
	return atomic_load(&kv->log.hot.appended_bytes) + atomic_load(&kv->relocated_bytes) +
	       atomic_load(&kv->victims);
}

/*
 * Where any of the reserve is to go, or space was refused before, another file can be had now,
 * whatever the disk says.
 */
static bool has_space(struct kv *kv)
{
	struct segments *segments = &kv->segments;
	unsigned there = segments_count_free(segments);
	uint64_t avail, total;

	if (kv->env->dir_space(kv->dir, &avail, &total) ||
	    avail < (uint64_t)(SCARCE_SEGMENTS + reserve_wanted(kv)) * segments->size)
		return false;
	return (!segments->refused && there <= reserve_at_rest(kv)) ||
	       !segments_keep_free(segments, there + 1);
}

static bool may_trim(struct kv *kv)
{
	return !kv->info.read_only && !atomic_load(&kv->failed) && !brake_is_on(kv) &&
	       has_space(kv);
}

/* Who goes on before the next one is prepared has the rest of this one until then. */
static bool is_wanted_soon(struct kv *kv)
{
	bool soon;

	pthread_mutex_lock(&kv->log.lock);
	soon = kv->segments.size - kv->log.hot.offset < kv->segments.size / SOON_DIVISOR;
	pthread_mutex_unlock(&kv->log.lock);
	return soon;
}

/* Was it filled, or closed, by us, and is its end beyond doubt? */
static bool is_surely_closed(const struct segment *segment)
{
	return segment && segment->id && segment->sealed && segment->end &&
	       segment->written >= segment->end && !segment->damaged && !segment->header_damaged &&
	       !segment->missing;
}

/* What stands behind the end of segments that were closed before they were full. */
static void release_ends(struct kv *kv)
{
	struct segments *segments = &kv->segments;
	uint32_t slot, from, count = atomic_load(&segments->count);

	for (slot = 0; slot < count; slot++) {
		struct segment *segment = segments->table[slot];

		if (!is_surely_closed(segment) || segment->hole)
			continue;
		from = (segment->end + ENV_DIRECT_ALIGN - 1) & ~(ENV_DIRECT_ALIGN - 1);
		if (segments->size - from >= segments->size / WORTH_DIVISOR)
			(void)segment_file_release(segments, segment, from);
	}
}

/* Space that could not be given back is space that can be used. */
static int give_back(struct kv *kv, unsigned keep, bool tail)
{
	int error;

	if (!may_trim(kv))
		return 0;
	/* It goes, and may: another file could be had. Where it stays, who writes next looks for it. */
	if (!reserve_at_rest(kv) && segments_count_free(&kv->segments))
		reserve_replace(kv);
	error = log_drop_spares(kv, keep);
	segments_drop_free(&kv->segments, reserve_at_rest(kv), &kv->log.lock);
	release_ends(kv);
	if (!error)
		error = segments_sync_names(&kv->segments);
	if (tail)
		log_trim(kv);
	return error;
}

void trim_step(struct kv *kv)
{
	struct rest *rest = &kv->maintain.rest;
	uint64_t now_us = kv->env->clock_us(kv->env), active = activity(kv);
	int error = 0;

	if (active != rest->activity) {
		*rest = (struct rest){.activity = active, .since_us = now_us};
		return;
	}
	if (rest->depth == 0 && now_us - rest->since_us >= REST_US) {
		rest->depth = 1;
		error = give_back(kv, is_wanted_soon(kv), true);
	} else if (rest->depth == 1 && now_us - rest->since_us >= LONG_REST_US) {
		rest->depth = 2;
		error = give_back(kv, 0, false);
	}
	if (error)
		store_poison(kv, error, "giving back a spare segment failed");
}

uint64_t trim_pause_us(const struct kv *kv)
{
	const struct rest *rest = &kv->maintain.rest;
	uint64_t now_us = kv->env->clock_us(kv->env);
	uint64_t at_us = rest->since_us + (rest->depth ? LONG_REST_US : REST_US);

	if (rest->depth == 2 || atomic_load(&kv->failed))
		return UINT64_MAX;
	return at_us > now_us + PAUSE_US ? at_us - now_us : PAUSE_US;
}

void trim_close(struct kv *kv)
{
	int error = give_back(kv, 0, true);

	if (!error)
		return;
	store_report(kv, KV_INFO, "spare segments stay: %s", strerror(-error));
	/* Nobody knows which of them are in the log still: no checkpoint may speak of them. */
	atomic_store(&kv->failed, error);
}

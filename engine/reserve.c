/* SPDX-License-Identifier: MIT */
/* reserve.c - see reserve.h. */
#include "reserve.h"

#include "log_rest.h"
#include "segment_file.h"

#define RESERVE_MIN 2u	      /* segments */
#define REST_SEGMENTS 192u    /* of log: from there on it stays at rest */
#define SCARCE_SEGMENTS 4u    /* of free disk, beside it */

unsigned reserve_wanted(const struct kv *kv)
{
	uint64_t log = atomic_load(&kv->log_bytes) / kv->segments.size;

	return RESERVE_MIN + (unsigned)(log / RESERVE_DIVISOR);
}

/* What others may take of the disk meanwhile would be missing for the next deletion. */
unsigned reserve_at_rest(const struct kv *kv)
{
	uint64_t log = atomic_load(&kv->log_bytes) / kv->segments.size;

	return log < REST_SEGMENTS ? 0 : reserve_wanted(kv);
}

int reserve_keep(struct kv *kv, unsigned beside)
{
	return segments_keep_free(&kv->segments, reserve_wanted(kv) + beside);
}

bool reserve_is_scarce(struct kv *kv)
{
	return segments_space(&kv->segments, NULL) <=
	       (uint64_t)(SCARCE_SEGMENTS + reserve_wanted(kv)) * kv->segments.size;
}

bool reserve_is_spare(const struct log *log)
{
	return log->spares && log->spare_for != LOG_ANY;
}

/* So many of its files are there. */
static void note(struct kv *kv, unsigned files)
{
	struct log *log = &kv->log;

	pthread_mutex_lock(&log->lock);
	log->starved = files + reserve_is_spare(log) < reserve_wanted(kv);
	if (!log->starved)
		log->sought_to = 0;
	else if (!log->spares || reserve_is_spare(log))
		log->hot.spare_at = 0;
	pthread_mutex_unlock(&log->lock);
}

void reserve_note(struct kv *kv)
{
	note(kv, segments_count_free(&kv->segments));
}

void reserve_judge(struct kv *kv)
{
	unsigned files = segments_count_free(&kv->segments);

	/* It was given back, or never needed. A crash may have come while all of it was in use. */
	if (!files && (log_rests(kv) || atomic_load(&kv->log_bytes) < kv->segments.size))
		files = reserve_wanted(kv);
	note(kv, reserve_is_scarce(kv) ? 0 : files);
}

void reserve_replace(struct kv *kv)
{
	pthread_mutex_lock(&kv->log.lock);
	kv->log.spare_for = LOG_ANY;
	kv->log.starved = false;
	pthread_mutex_unlock(&kv->log.lock);
}

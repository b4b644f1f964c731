/* SPDX-License-Identifier: MIT */
/* maintain.c - see maintain.h. */
#include "maintain.h"

#include <errno.h>

#include "brake.h"
#include "checkpoint.h"
#include "compact.h"
#include "epoch.h"
#include "large.h"
#include "log_rest.h"
#include "log_spare.h"
#include "resident.h"
#include "scrub.h"
#include "segment_file.h"
#include "sync.h"
#include "trim.h"
#include "version.h"
#include "warm.h"
#include "worker.h"

#define PRUNE_PAUSE_US 20000u /* between rounds beside somebody who prunes, and looks after
				 compaction himself */
#define LARGE_STEPS_MAX 16u  /* of freeing, at once */

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

/* ---- the segments that come next ------------------------------------------------------------- */

static bool make_space(struct kv *kv, uint64_t born_max)
{
	store_need_orders(kv);
	return checkpoint_discard(kv) || large_free_now(kv) || compact_for_space(kv, born_max);
}

/* Of several files with holes one becomes that has none. */
static int prepare_of_parts(struct kv *kv)
{
	int error = log_prepare_spare(kv);

	if (!env_is_full(error) || !segments_drop_parts(&kv->segments, &kv->log.lock))
		return error;
	error = segments_sync_names(&kv->segments);
	return error ? error : log_prepare_spare(kv);
}

/*
 * On a full disk, or where no more files may be open, the store makes room in itself; where that is
 * not enough, deleting goes on in the reserve.
 */
static int prepare_spare(struct kv *kv)
{
	uint64_t born_max = kv->segments.births;
	int error, refused = 0;

	log_begin_attempt(kv);
	do {
		error = prepare_of_parts(kv);
	} while (env_is_short(error) && make_space(kv, born_max));
	if (env_is_short(error) && log_freeing_waits(kv))
		refused = log_use_reserve(kv, LOG_FREES);
	/* What failed there is no shortage. */
	if (refused && !env_is_short(refused))
		error = refused;
	log_end_attempt(kv, error);
	return error;
}

/*
 * Prepares spare segments. Where writers are faster than the disk they wait for it here, so that
 * memory stays bounded: the flusher kicks when a segment is durable and its buffer can be used
 * again.
 */
static void prepare_if_wanted(struct kv *kv)
{
	unsigned prepared = 0;
	bool pressed;

	if (log_rests(kv)) {
		if (log_spare_wanted(kv, &pressed))
			warm_log(kv);
		return;
	}
	if (log_is_trimmed(kv) && log_spare_wanted(kv, &pressed))
		(void)log_extend(kv);
	while (log_spare_wanted(kv, &pressed) && !atomic_load(&kv->failed)) {
		if (!resident_make_room(kv, pressed)) {
			if (!pressed)
				break;
			if (!kv->inline_maintenance) {
				sync_kick(kv);
				break;
			}
			if (sync_wait(kv, atomic_load(&kv->log.last_seq)) ||
			    !resident_make_room(kv, false))
				break;
		}
		if (prepare_spare(kv))
			break;
		prepared++;
		/*
		 * All else must come to its turn, while writers use up spares as fast as they come.
		 */
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

/*
 * What waits to be freed is no garbage yet: where large values are replaced as fast as it goes, one
 * step a round would never catch up.
 */
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
 * Between any two things that may wait for the disk: a stream of writes uses up its spares while
 * one of them does. Not where writers are to wait for compaction; and where callers do the work
 * there is nobody else who writes.
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

	/*
	 * It has the lock nearly always, and whoever else wants it now and then only makes it wait.
	 */
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
		/*
		 * Compaction and freeing go on in small steps, between which everyone else is
		 * served.
		 */
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

int maintain_start(struct kv *kv)
{
	warm_begin(kv);
	kv->maintain.rest.since_us = kv->env->clock_us(kv->env);
	return worker_start(&kv->maintain.worker, maintainer, kv);
}

void maintain_stop(struct kv *kv)
{
	worker_stop(&kv->maintain.worker);
}

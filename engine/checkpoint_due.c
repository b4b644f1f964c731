/* SPDX-License-Identifier: MIT */
/*
 * checkpoint_due.c - when a checkpoint is written, and when the one there is goes: see
 * checkpoint.h.
 *
 * The next one is due when so much log stands behind the last one, or when so much of what
 * compaction has emptied waits for it: a segment that the last one names stays in the log until it
 * is not the last one any more.
 */
#include "checkpoint.h"

#include <errno.h>

#include "brake.h"
#include "checkpoint_save.h"
#include "compact_free.h"
#include "maintain.h"
#include "segment_file.h"
#include "version.h"

/* A log of less behind the last checkpoint is replayed in no time. */
#define CLOSE_DIVISOR 4u     /* of a segment */
#define INTERVAL_SEGMENTS 16u /* of log behind the last one make the next one due... */
#define INTERVAL_MAX ((uint64_t)1 << 30) /* ...no more of it, in bytes, where they are large... */
#define INTERVAL_FACTOR 4u   /* ...but not less than this times what will be written */
#define KEPT_SEGMENTS 2u     /* emptied, and waiting for the next one... */
#define KEPT_DIVISOR 8u	     /* ...and so much of the log... */
#define KEPT_INTERVAL_US 1000000u /* ...not oftener than this, where a stream empties segment
				     after segment... */
#define KEPT_DIVISOR_MAX 3u  /* ...unless it is so much */
#define SCARCE_SEGMENTS 16u  /* of free disk: they are needed now */
#define LOOK_INTERVAL_US 50000u
#define SEAL_WAIT_US 1000u   /* between looks whether full segments are durable... */
#define SEAL_WAIT_MAX_US 100000u /* ...in all */
#define BACK_OFF_US 5000000u
#define ATTEMPTS_MAX 16u

/* One step of the checkpoint that is under way. 1: it is written. */
static int write_step(struct kv *kv)
{
	int result = checkpoint_save_step(kv);

	if (result == 1)
		compact_free_kept(kv);
	return result;
}

uint64_t checkpoint_position(const struct kv *kv)
{
	return atomic_load(&kv->appended_bytes) + atomic_load(&kv->relocated_bytes);
}

uint64_t checkpoint_behind(const struct kv *kv)
{
	return checkpoint_position(kv) - atomic_load(&kv->checkpoints.behind_from);
}

/* About what will be written. */
static uint64_t image_size(struct kv *kv)
{
	uint64_t size = atomic_load(&kv->index.memory);
	unsigned i;

	if (atomic_load(&kv->versions.count)) {
		pthread_mutex_lock(&kv->log.lock);
		size += versions_memory(&kv->versions);
		pthread_mutex_unlock(&kv->log.lock);
	}
	for (i = 0; i < FORMAT_KEYSPACES; i++)
		size += kv->order_of[i] ? order_memory(kv->order_of[i]) : 0;
	return size;
}

static bool is_possible(struct kv *kv)
{
	return !kv->info.read_only && !atomic_load(&kv->failed) &&
	       atomic_load(&kv->indexes_whole) && !atomic_load(&kv->index.failed) &&
	       /* Behind one nobody would come upon the damage that makes their intents wrong. */
	       !kv->large.spared_count;
}

static bool has_space(struct kv *kv, uint64_t need)
{
	return segments_space(&kv->segments, NULL) >= need;
}

/* Where writers wait for what compaction frees, the log's size is no matter. */
static bool too_much_kept(const struct kv *kv, uint64_t image)
{
	uint64_t kept = kv->compaction.kept_bytes;

	return kept > (uint64_t)KEPT_SEGMENTS * kv->segments.size && kept > image &&
	       (brake_is_on(kv) || kept > atomic_load(&kv->log_bytes) / KEPT_DIVISOR);
}

static bool kept_is_due(const struct kv *kv, uint64_t image, uint64_t now_us)
{
	return too_much_kept(kv, image) &&
	       (now_us - kv->checkpoints.kept_at_us >= KEPT_INTERVAL_US ||
		kv->compaction.kept_bytes > atomic_load(&kv->log_bytes) / KEPT_DIVISOR_MAX);
}

static bool is_due(struct kv *kv, uint64_t image, uint64_t now_us)
{
	uint64_t interval = kv->checkpoint_interval;

	if (!interval) {
		interval = (uint64_t)INTERVAL_SEGMENTS * kv->segments.size;
		if (interval > INTERVAL_MAX)
			interval = INTERVAL_MAX;
		if (interval < INTERVAL_FACTOR * image)
			interval = INTERVAL_FACTOR * image;
	}
	return checkpoint_behind(kv) >= interval || kept_is_due(kv, image, now_us);
}

/* Now, later, or, where emptied segments cannot wait for that, rather none at all. */
static void begin_if_due(struct kv *kv, uint64_t now_us)
{
	uint64_t image = image_size(kv), scarce = (uint64_t)SCARCE_SEGMENTS * kv->segments.size;
	int error = -ENOSPC;

	if (kv->compaction.kept_bytes && !has_space(kv, scarce)) {
		(void)checkpoint_discard(kv);
		return;
	}
	if (!is_due(kv, image, now_us))
		return;
	kv->checkpoints.kept_at_us = now_us;
	if (is_possible(kv) && has_space(kv, 2 * image + scarce))
		error = checkpoint_save_begin(kv, true);
	if (!error)
		return;
	kv->checkpoints.retry_at_us = now_us + BACK_OFF_US;
	if (too_much_kept(kv, image))
		(void)checkpoint_discard(kv);
}

static void forget_named(struct kv *kv)
{
	uint32_t slot, count = atomic_load(&kv->segments.count);

	for (slot = 0; slot < count; slot++) {
		if (kv->segments.table[slot])
			kv->segments.table[slot]->named = false;
	}
}

bool checkpoint_discard(struct kv *kv)
{
	bool under_way = kv->checkpoint_save;

	checkpoint_save_abandon(kv);
	if (!kv->checkpoint_there)
		return under_way;
	checkpoint_finish(kv);
	if (kv->env->unlink(kv->dir, FORMAT_CHECKPOINT_NAME) || kv->env->dir_sync(kv->dir))
		return false;
	kv->checkpoint_there = false;
	atomic_store(&kv->checkpoints.behind_from,
		     checkpoint_position(kv) - atomic_load(&kv->log_bytes));
	forget_named(kv);
	compact_free_kept(kv);
	return true;
}

/*
 * The last step makes durable what was appended before it. In a stream of writes that would be
 * segments, and while the maintainer writes them nobody prepares the next ones: they are left to
 * the flushing thread, for a while.
 */
static bool is_to_wait(struct kv *kv, uint64_t now_us)
{
	struct checkpoints *checkpoints = &kv->checkpoints;

	if (kv->inline_maintenance || !checkpoint_save_is_ending(kv) ||
	    !atomic_load(&kv->log.hot.unsealed)) {
		checkpoints->wait_from_us = 0;
		return false;
	}
	if (!checkpoints->wait_from_us)
		checkpoints->wait_from_us = now_us;
	return now_us - checkpoints->wait_from_us < SEAL_WAIT_MAX_US;
}

void checkpoint_step(struct kv *kv)
{
	uint64_t now_us = kv->env->clock_us(kv->env);
	int result;

	if (now_us < kv->checkpoints.resume_at_us && !kv->inline_maintenance)
		return;
	if (!kv->checkpoint_save) {
		kv->checkpoints.resume_at_us = now_us + LOOK_INTERVAL_US;
		if (!atomic_load(&kv->failed) && now_us >= kv->checkpoints.retry_at_us)
			begin_if_due(kv, now_us);
		return;
	}
	if (atomic_load(&kv->failed)) {
		checkpoint_save_abandon(kv);
		return;
	}
	if (is_to_wait(kv, now_us)) {
		kv->checkpoints.resume_at_us = now_us + SEAL_WAIT_US;
		return;
	}
	result = write_step(kv);
	/* Half of the time, and at once after a growth. */
	kv->checkpoints.resume_at_us = 2 * kv->env->clock_us(kv->env) - now_us;
	if (result < 0 && result != -EAGAIN) {
		kv->checkpoints.retry_at_us = now_us + BACK_OFF_US;
		store_report(kv, KV_INFO, "no checkpoint was written: %s", strerror(-result));
	}
}

uint64_t checkpoint_pause_us(const struct kv *kv)
{
	uint64_t now_us;

	if (!kv->checkpoint_save)
		return UINT64_MAX;
	now_us = kv->env->clock_us(kv->env);
	return kv->checkpoints.resume_at_us > now_us ? kv->checkpoints.resume_at_us - now_us : 1;
}

int checkpoint_demand(struct kv *kv)
{
	int result;

	if (!is_possible(kv))
		return atomic_load(&kv->failed) ? -EROFS : -EIO;
	if (!kv->checkpoint_save) {
		result = checkpoint_save_begin(kv, true);
		if (result)
			return result;
	}
	result = write_step(kv);
	return result == 1 ? 0 : result ? result : 1;
}

/*
 * Lets go of the lock between any two steps. One that the maintainer brings to its end meanwhile
 * will do; if he gives it up, another one is begun, not for ever.
 */
static int write_now(struct kv *kv)
{
	uint64_t written = atomic_load(&kv->checkpoints.written);
	unsigned begun = 0;
	int result = 1;

	while (result > 0 || (result == -EAGAIN && begun < ATTEMPTS_MAX)) {
		if (atomic_load(&kv->log.spare_wanted))
			maintain_round(kv);
		pthread_mutex_lock(&kv->maintain.lock);
		if (atomic_load(&kv->checkpoints.written) != written)
			result = 0;
		else if (!kv->checkpoint_save && ++begun > ATTEMPTS_MAX)
			result = -EIO;
		else
			result = checkpoint_demand(kv);
		pthread_mutex_unlock(&kv->maintain.lock);
	}
	return result;
}

int kv_checkpoint(struct kv *kv)
{
	if (kv->info.read_only)
		return -EROFS;
	checkpoint_finish(kv);
	return write_now(kv);
}

void checkpoint_release_kept(struct kv *kv)
{
	bool kept;

	pthread_mutex_lock(&kv->maintain.lock);
	kept = kv->compaction.kept_bytes > 0;
	pthread_mutex_unlock(&kv->maintain.lock);
	if (!kept || atomic_load(&kv->failed))
		return;
	checkpoint_finish(kv);
	if (!write_now(kv))
		return;
	pthread_mutex_lock(&kv->maintain.lock);
	(void)checkpoint_discard(kv);
	pthread_mutex_unlock(&kv->maintain.lock);
}

void checkpoint_write(struct kv *kv)
{
	int error;

	checkpoint_save_abandon(kv);
	if (!is_possible(kv) ||
	    checkpoint_behind(kv) < kv->segments.size / CLOSE_DIVISOR)
		return;
	error = checkpoint_save_begin(kv, false);
	while (!error)
		error = checkpoint_save_step(kv);
	/* Only the next opening takes longer. */
	if (error < 0)
		store_report(kv, KV_INFO, "no checkpoint was written: %s", strerror(-error));
}

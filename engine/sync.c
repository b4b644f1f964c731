/* SPDX-License-Identifier: MIT */
/* sync.c - see sync.h. */
#include "sync.h"

#include <errno.h>
#include <time.h>

#include "compact.h"
#include "epoch.h"
#include "log.h"

/* A tail that is this part of a segment long is written out, so that a later sync has little to do. */
#define WRITE_BEHIND_DIVISOR 16

void sync_init(struct sync *sync)
{
	pthread_mutex_init(&sync->lock, NULL);
	pthread_mutex_init(&sync->maintaining, NULL);
	pthread_cond_init(&sync->done, NULL);
	sem_init(&sync->kick, 0, 0);
}

void sync_fini(struct sync *sync)
{
	sem_destroy(&sync->kick);
	pthread_cond_destroy(&sync->done);
	pthread_mutex_destroy(&sync->maintaining);
	pthread_mutex_destroy(&sync->lock);
}

/* ---- flushing -------------------------------------------------------------------------------- */

static bool is_durable(struct kv *kv, uint64_t seq)
{
	return atomic_load_explicit(&kv->sync.durable_seq, memory_order_acquire) >= seq;
}

/* Flushes as the flusher; called, and returns, with sync->lock, which it lets go meanwhile. */
static int flush_unlocked(struct kv *kv, bool durable)
{
	struct sync *sync = &kv->sync;
	uint64_t seq;
	int error;

	sync->flushing = true;
	pthread_mutex_unlock(&sync->lock);
	error = atomic_load(&kv->failed) ? -EIO : log_flush(kv, durable, &seq);
	if (error)
		error = store_poison(kv, error, "writing the log failed");
	pthread_mutex_lock(&sync->lock);
	sync->flushing = false;
	pthread_cond_broadcast(&sync->done);
	return error;
}

int sync_flush(struct kv *kv)
{
	struct sync *sync = &kv->sync;
	int error;

	pthread_mutex_lock(&sync->lock);
	while (sync->flushing)
		pthread_cond_wait(&sync->done, &sync->lock);
	error = flush_unlocked(kv, true);
	pthread_mutex_unlock(&sync->lock);
	return error;
}

int sync_wait(struct kv *kv, uint64_t seq)
{
	struct sync *sync = &kv->sync;
	int error = 0;

	if (is_durable(kv, seq))
		return 0;
	pthread_mutex_lock(&sync->lock);
	while (!is_durable(kv, seq) && !error) {
		if (atomic_load(&kv->failed))
			error = -EIO;
		else if (sync->flushing)
			pthread_cond_wait(&sync->done, &sync->lock);
		else
			error = flush_unlocked(kv, true);
	}
	pthread_mutex_unlock(&sync->lock);
	return error;
}

static bool write_behind_due(const struct kv *kv)
{
	return atomic_load_explicit(&kv->log.unwritten_bytes, memory_order_relaxed) >=
	       kv->segments.size / WRITE_BEHIND_DIVISOR;
}

/* Hands what was appended to the files, without making it durable, unless somebody does so already. */
static void write_behind(struct kv *kv)
{
	struct sync *sync = &kv->sync;

	pthread_mutex_lock(&sync->lock);
	if (!sync->flushing)
		flush_unlocked(kv, false);
	pthread_mutex_unlock(&sync->lock);
}

/* ---- waiters --------------------------------------------------------------------------------- */

/* Takes the waiters that can be answered off the list. Called with the lock. */
static struct kv_waiter *take_done(struct kv *kv, bool all)
{
	struct kv_waiter *done = NULL, **link = &kv->sync.waiters;

	while (*link) {
		struct kv_waiter *waiter = *link;

		if (all || is_durable(kv, waiter->seq)) {
			*link = waiter->next;
			waiter->next = done;
			done = waiter;
		} else {
			link = &waiter->next;
		}
	}
	return done;
}

static void answer(struct kv_waiter *waiters, int status)
{
	while (waiters) {
		struct kv_waiter *next = waiters->next;

		waiters->done(waiters, status);
		waiters = next;
	}
}

void sync_notify(struct kv *kv, struct kv_waiter *waiter)
{
	struct sync *sync = &kv->sync;

	if (is_durable(kv, waiter->seq)) {
		waiter->done(waiter, 0);
		return;
	}
	if (kv->inline_maintenance) {
		waiter->done(waiter, sync_wait(kv, waiter->seq));
		return;
	}
	pthread_mutex_lock(&sync->lock);
	waiter->next = sync->waiters;
	sync->waiters = waiter;
	pthread_mutex_unlock(&sync->lock);
	sync_kick(kv);
}

/* Makes durable what waiters ask for, and answers them. */
static void serve_waiters(struct kv *kv)
{
	struct sync *sync = &kv->sync;
	struct kv_waiter *waiter, *done, *lost = NULL;
	uint64_t seq = 0;

	pthread_mutex_lock(&sync->lock);
	for (waiter = sync->waiters; waiter; waiter = waiter->next) {
		if (waiter->seq > seq)
			seq = waiter->seq;
	}
	pthread_mutex_unlock(&sync->lock);
	if (!seq)
		return;

	sync_wait(kv, seq);
	pthread_mutex_lock(&sync->lock);
	done = take_done(kv, false);
	if (atomic_load(&kv->failed))
		lost = take_done(kv, true);
	pthread_mutex_unlock(&sync->lock);
	answer(done, 0);
	answer(lost, -EIO);
}

/* ---- the maintainer -------------------------------------------------------------------------- */

void sync_kick(struct kv *kv)
{
	if (!atomic_load_explicit(&kv->sync.kicked, memory_order_relaxed) &&
	    !atomic_exchange(&kv->sync.kicked, true))
		sem_post(&kv->sync.kick);
}

void sync_committed(struct kv *kv)
{
	if (kv->inline_maintenance) {
		if (write_behind_due(kv))
			write_behind(kv);
		return;
	}
	/* Sequentially consistent, as the store of last_seq: either we see the maintainer rest, or it sees us. */
	if (atomic_load(&kv->sync.resting) || write_behind_due(kv))
		sync_kick(kv);
}

/* The sealed segment with the lowest id that has a buffer, if there are as many buffers in use as the store may keep. */
static struct segment *surplus_resident(struct kv *kv, bool *surplus)
{
	struct segments *segments = &kv->segments;
	uint32_t slot, count = atomic_load(&segments->count), resident = 0;
	struct segment *oldest = NULL;

	for (slot = 0; slot < count; slot++) {
		struct segment *segment = segments->table[slot];

		if (!segment || !segment->buffer)
			continue;
		resident++;
		if (segment->sealed && (!oldest || segment->id < oldest->id))
			oldest = segment;
	}
	*surplus = resident >= segments->buffers_max;
	return oldest;
}

/* Gives buffers back, oldest segments first, until one more may be taken. False: all are still to be written. */
static bool trim_residents(struct kv *kv)
{
	for (;;) {
		struct segment *oldest;
		const uint8_t *map;
		uint8_t *buffer;
		bool surplus;

		oldest = surplus_resident(kv, &surplus);
		if (!surplus)
			return true;
		if (!oldest || segment_map(&kv->segments, oldest, &map))
			return false;
		pthread_mutex_lock(&kv->log.lock);
		buffer = segment_use_map(&kv->segments, oldest, map);
		pthread_mutex_unlock(&kv->log.lock);
		epoch_wait();
		segments_give_buffer(&kv->segments, buffer);
	}
}

/* On a full disk the store makes room in itself; where that is not enough, deleting goes on in the reserve. */
static void prepare_spare(struct kv *kv)
{
	bool freeing_waits;
	int error;

	do {
		error = log_prepare_spare(kv);
	} while (error == -ENOSPC && compact_for_space(kv));
	pthread_mutex_lock(&kv->log.lock);
	freeing_waits = kv->log.freeing_waits;
	pthread_mutex_unlock(&kv->log.lock);
	if (error == -ENOSPC && freeing_waits)
		(void)log_use_reserve(kv);
	log_spare_attempted(kv, error);
}

/* Writers may be waiting for a spare segment. */
static void prepare_if_wanted(struct kv *kv)
{
	bool wanted;

	pthread_mutex_lock(&kv->log.lock);
	wanted = kv->log.spare_wanted;
	pthread_mutex_unlock(&kv->log.lock);
	if (!wanted || atomic_load(&kv->failed))
		return;
	/* Where they are faster than the disk they wait for it here, so that memory stays bounded. */
	if (!trim_residents(kv) && !sync_wait(kv, atomic_load(&kv->log.last_seq)))
		trim_residents(kv);
	prepare_spare(kv);
}

static void free_retired(struct kv *kv)
{
	struct index_table *retired = index_take_retired(&kv->index);

	if (!retired)
		return;
	epoch_wait();
	index_free_retired(&kv->index, retired);
}

void sync_maintain(struct kv *kv)
{
	pthread_mutex_lock(&kv->sync.maintaining);
	prepare_if_wanted(kv);
	compact_step(kv);
	free_retired(kv);
	pthread_mutex_unlock(&kv->sync.maintaining);
}

/* Microseconds until the oldest unsynced batch is due, or UINT64_MAX if there is none. */
static uint64_t until_due(struct kv *kv)
{
	uint64_t now, since;

	if (is_durable(kv, atomic_load(&kv->log.last_seq)) || atomic_load(&kv->failed))
		return UINT64_MAX;
	pthread_mutex_lock(&kv->log.lock);
	since = kv->log.dirty_since_us;
	pthread_mutex_unlock(&kv->log.lock);
	if (!since) /* a sync under way covers it */
		return kv->commit_interval_us;
	now = kv->env->clock_us(kv->env);
	return now - since >= kv->commit_interval_us ? 0 : since + kv->commit_interval_us - now;
}

static void sleep_until_due(struct kv *kv)
{
	struct sync *sync = &kv->sync;
	struct timespec deadline;
	uint64_t due_us = until_due(kv), pause_us = compact_pause_us(kv);

	/* Compaction goes on in small steps, between which everyone else is served. */
	if (due_us > pause_us)
		due_us = pause_us;
	if (due_us == UINT64_MAX) {
		/* A commit that does not see `resting` is seen by the second look. */
		atomic_store(&sync->resting, true);
		if (until_due(kv) == UINT64_MAX)
			while (sem_wait(&sync->kick) && errno == EINTR)
				;
		atomic_store(&sync->resting, false);
	} else if (due_us) {
		clock_gettime(CLOCK_MONOTONIC, &deadline);
		deadline.tv_sec += (time_t)(due_us / 1000000);
		deadline.tv_nsec += (long)(due_us % 1000000) * 1000;
		if (deadline.tv_nsec >= 1000000000) {
			deadline.tv_nsec -= 1000000000;
			deadline.tv_sec++;
		}
		sem_clockwait(&sync->kick, CLOCK_MONOTONIC, &deadline);
	}
	atomic_store(&sync->kicked, false);
}

static void *maintainer(void *arg)
{
	struct kv *kv = arg;
	struct sync *sync = &kv->sync;

	while (!atomic_load(&sync->stopping)) {
		sleep_until_due(kv);
		serve_waiters(kv);
		if (atomic_load(&kv->failed)) {
			/* Poisoned: only the waiters and those who wait for room are served. */
			pthread_mutex_lock(&kv->log.lock);
			pthread_cond_broadcast(&kv->log.room);
			pthread_mutex_unlock(&kv->log.lock);
			continue;
		}
		/* First of all: what a writer may be waiting for. */
		prepare_if_wanted(kv);
		if (!until_due(kv))
			sync_wait(kv, atomic_load(&kv->log.last_seq));
		else if (write_behind_due(kv))
			write_behind(kv);
		sync_maintain(kv);
	}
	return NULL;
}

int sync_start(struct kv *kv)
{
	int error = pthread_create(&kv->sync.thread, NULL, maintainer, kv);

	if (error)
		return -error;
	kv->sync.running = true;
	return 0;
}

void sync_stop(struct kv *kv)
{
	if (!kv->sync.running)
		return;
	atomic_store(&kv->sync.stopping, true);
	sem_post(&kv->sync.kick);
	pthread_join(kv->sync.thread, NULL);
	kv->sync.running = false;
	serve_waiters(kv);
}

/* SPDX-License-Identifier: MIT */
/* log.c - see log.h. */
#include "log.h"

#include <errno.h>

#include "sync.h"

/* The last part of the last segment on a full disk, where only what frees may be appended. */
#define RESERVE_DIVISOR 16
#define RESERVE_BELOW 4 /* segments left on the disk */
#define FAST_SWITCH_US 1000000u

void log_init(struct log *log)
{
	pthread_mutexattr_t attr;

	/* Held for a fraction of a microsecond: spinning a little beats a system call. */
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ADAPTIVE_NP);
	pthread_mutex_init(&log->lock, &attr);
	pthread_mutexattr_destroy(&attr);
	pthread_cond_init(&log->room, NULL);
	log->next_id = 1;
}

void log_fini(struct log *log)
{
	pthread_cond_destroy(&log->room);
	pthread_mutex_destroy(&log->lock);
}

/* ---- appending ------------------------------------------------------------------------------- */

static uint32_t limit(const struct kv *kv)
{
	return kv->segments.size - FORMAT_RECORD_HEADER_SIZE;
}

/* Closes the active segment and goes on in the spare. */
static void switch_segment(struct kv *kv)
{
	struct log *log = &kv->log;
	struct segment *full = log->active, *next = log->spare;
	uint64_t now_us;

	format_record_seal_bare((struct format_record *)(full->buffer + log->tail), 0,
				FORMAT_RECORD_END, full->salt);
	full->end = log->tail + FORMAT_RECORD_HEADER_SIZE;
	atomic_fetch_add_explicit(&log->unwritten_bytes, FORMAT_RECORD_HEADER_SIZE,
				  memory_order_relaxed);
	store_add(&kv->log_bytes, FORMAT_RECORD_HEADER_SIZE);
	full->next = next;
	log->active = next;
	log->spare = NULL;
	log->spare_reserved = false;
	log->tail = FORMAT_SEGMENT_HEADER_SIZE;
	/* Writers that fill a segment within moments would wait for one that is prepared half-way. */
	now_us = kv->env->clock_us(kv->env);
	if (now_us - log->switched_us < FAST_SWITCH_US) {
		log->spare_wanted = true;
		sync_kick(kv);
	}
	log->switched_us = now_us;
}

/* The spare segment, if a batch of this kind may go on in it. */
static struct segment *usable_spare(const struct log *log, bool frees)
{
	return log->spare_reserved && !frees ? NULL : log->spare;
}

/* Waits for a spare segment, or for the news that there will be none. */
static int await_spare(struct kv *kv, bool frees)
{
	struct log *log = &kv->log;
	uint64_t attempts = log->spare_attempts;

	store_add(&kv->waits, 1);
	log->spare_wanted = true;
	log->freeing_waits |= frees;
	if (kv->inline_maintenance) {
		pthread_mutex_unlock(&log->lock);
		sync_maintain(kv);
		pthread_mutex_lock(&log->lock);
	} else {
		sync_kick(kv);
		while (!usable_spare(log, frees) && log->spare_attempts == attempts &&
		       !atomic_load(&kv->failed))
			pthread_cond_wait(&log->room, &log->lock);
	}
	if (atomic_load(&kv->failed))
		return -EROFS;
	if (usable_spare(log, frees))
		return 0;
	/* Somebody else has used it already: ask again. */
	return log->spare_error ? log->spare_error : 0;
}

int log_try_reserve(struct kv *kv, uint64_t size, bool frees)
{
	struct log *log = &kv->log;
	uint64_t need = size + FORMAT_RECORD_HEADER_SIZE; /* with a MARK */
	uint32_t reserve = kv->segments.size / RESERVE_DIVISOR;
	bool fits = log->tail + need <= limit(kv);

	if (atomic_load_explicit(&kv->failed, memory_order_relaxed))
		return -EROFS;
	if (!fits && usable_spare(log, frees)) {
		switch_segment(kv);
		fits = true;
	}
	if (!fits || (!usable_spare(log, frees) && !frees && log->tail + need > limit(kv) - reserve)) {
		log->spare_wanted = true;
		return -EAGAIN;
	}
	/* Half-way through a segment the next one is prepared, so that nobody waits for it. */
	if (!log->spare && !log->spare_wanted && log->tail > kv->segments.size / 2) {
		log->spare_wanted = true;
		sync_kick(kv);
	}
	return 0;
}

int log_reserve(struct kv *kv, uint64_t size, bool frees)
{
	int error;

	while ((error = log_try_reserve(kv, size, frees)) == -EAGAIN) {
		error = await_spare(kv, frees);
		if (error)
			break;
	}
	return error;
}

uint8_t *log_append(struct kv *kv, uint64_t size, uint64_t *address)
{
	struct log *log = &kv->log;
	struct segment *active = log->active;
	uint64_t total = size;
	uint8_t *at;

	if (log->mark_due) {
		log->mark_due = false;
		format_record_seal_bare((struct format_record *)(active->buffer + log->tail),
					atomic_load(&kv->sync.durable_seq), FORMAT_RECORD_MARK,
					active->salt);
		log->tail += FORMAT_RECORD_HEADER_SIZE;
		total += FORMAT_RECORD_HEADER_SIZE;
	}
	at = active->buffer + log->tail;
	*address = segments_address(&kv->segments, active->slot, log->tail);
	log->tail += (uint32_t)size;
	store_add(&kv->log_bytes, total);
	atomic_fetch_add_explicit(&log->unwritten_bytes, total, memory_order_relaxed);
	return at;
}

/* ---- flushing -------------------------------------------------------------------------------- */

/*
 * Writes a segment's bytes up to `end`, in whole blocks, around the page cache: the first block is written again with what
 * it held, the last one with whatever the buffer has behind the end. That may be a record that is just
 * being copied there: it counts for nothing until a later flush writes it whole.
 */
static int write_segment(struct kv *kv, struct segment *segment, uint32_t end, bool sync)
{
	uint32_t from = segment->written;
	uint32_t first = from & ~(ENV_DIRECT_ALIGN - 1);
	uint32_t last = (end + ENV_DIRECT_ALIGN - 1) & ~(ENV_DIRECT_ALIGN - 1);
	int error;

	if (from == end)
		error = sync ? kv->env->file_sync(segment->file) : 0;
	else
		error = kv->env->file_write(segment->file, segment->buffer + first, last - first,
					    first, sync);
	if (!error && sync)
		error = segment_sync_name(&kv->segments, segment);
	if (error)
		return error;
	segment->written = end;
	atomic_fetch_sub_explicit(&kv->log.unwritten_bytes, end - from, memory_order_relaxed);
	return 0;
}

int log_flush(struct kv *kv, bool sync, uint64_t *seq)
{
	struct log *log = &kv->log;
	struct segment *active, *segment;
	uint32_t tail;
	uint64_t last_seq;
	int error;

	pthread_mutex_lock(&log->lock);
	active = log->active;
	tail = log->tail;
	last_seq = atomic_load(&log->last_seq);
	if (sync)
		log->dirty_since_us = 0;
	pthread_mutex_unlock(&log->lock);

	store_add(&kv->flushes, 1);
	for (segment = log->flushing; segment != active; segment = segment->next) {
		error = write_segment(kv, segment, segment->end, true);
		if (error)
			return error;
		segment->sealed = true;
		log->flushing = segment->next;
	}
	error = write_segment(kv, active, tail, sync);
	if (error)
		return error;
	if (sync) {
		store_add(&kv->syncs, 1);
		store_add(&kv->synced_batches, last_seq - atomic_load(&kv->sync.durable_seq));
		atomic_store_explicit(&kv->sync.durable_seq, last_seq, memory_order_release);
		pthread_mutex_lock(&log->lock);
		log->mark_due = true;
		pthread_mutex_unlock(&log->lock);
	}
	*seq = last_seq;
	return 0;
}

/* ---- the next segment ------------------------------------------------------------------------ */

/*
 * With little left on the disk one free file stays allocated beside the next segment: the reserve, without which nothing
 * could be deleted or compacted once the disk is full.
 */
static int keep_reserve(struct kv *kv, uint32_t files)
{
	uint64_t avail, total;
	int error = kv->env->dir_space(kv->dir, &avail, &total);

	if (!error && avail > (uint64_t)RESERVE_BELOW * kv->segments.size)
		return 0;
	return segments_keep_free(&kv->segments, files);
}

static int add_spare(struct kv *kv, bool reserved)
{
	struct log *log = &kv->log;
	struct segment *spare;
	int error = segment_prepare(&kv->segments, log->next_id, &spare);

	if (error)
		return error;
	log->next_id++;
	pthread_mutex_lock(&log->lock);
	log->spare = spare;
	log->spare_reserved = reserved;
	store_add(&kv->log_bytes, FORMAT_SEGMENT_HEADER_SIZE);
	pthread_mutex_unlock(&log->lock);
	return 0;
}

int log_prepare_spare(struct kv *kv)
{
	struct log *log = &kv->log;
	bool wanted, reserved;
	int error;

	pthread_mutex_lock(&log->lock);
	reserved = log->spare && log->spare_reserved;
	wanted = log->spare_wanted && !log->spare;
	pthread_mutex_unlock(&log->lock);
	if (!wanted && !reserved)
		return 0;
	error = keep_reserve(kv, reserved ? 1 : 2);
	if (error)
		return error;
	if (!reserved)
		return add_spare(kv, false);
	/* Space came back: the spare is anybody's again. */
	pthread_mutex_lock(&log->lock);
	log->spare_reserved = false;
	pthread_mutex_unlock(&log->lock);
	return 0;
}

int log_use_reserve(struct kv *kv)
{
	bool has_spare;

	pthread_mutex_lock(&kv->log.lock);
	has_spare = kv->log.spare;
	pthread_mutex_unlock(&kv->log.lock);
	return has_spare ? 0 : add_spare(kv, true);
}

void log_spare_attempted(struct kv *kv, int error)
{
	struct log *log = &kv->log;

	pthread_mutex_lock(&log->lock);
	log->spare_wanted = false;
	log->freeing_waits = false;
	log->spare_error = error;
	log->spare_attempts++;
	pthread_cond_broadcast(&log->room);
	pthread_mutex_unlock(&log->lock);
}

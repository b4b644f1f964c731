/* SPDX-License-Identifier: MIT */
/* cold.c - see cold.h. */
#include "cold.h"

#include <errno.h>

#include "reserve.h"
#include "segment_file.h"
#include "sync.h"

/*
 * Segments' worth of free disk below which copies go to the log's end: the reserve is for what
 * frees.
 */
#define SCARCE_SEGMENTS 8u

static uint32_t limit(const struct kv *kv)
{
	/* With a MARK and an END behind. */
	return kv->segments.size - 2 * FORMAT_RECORD_HEADER_SIZE;
}

static void append_bare(struct kv *kv, uint8_t flags)
{
	struct cold *cold = &kv->cold;
	struct segment *active = cold->active;

	format_record_seal_bare((struct format_record *)(active->buffer + cold->offset), 0, flags,
				active->salt);
	cold->offset += FORMAT_RECORD_HEADER_SIZE;
}

uint8_t *cold_append(struct kv *kv, uint64_t size, uint64_t *address)
{
	struct cold *cold = &kv->cold;
	uint8_t *at = cold->active->buffer + cold->offset;

	*address = segments_address(&kv->segments, cold->active->slot, cold->offset);
	cold->offset += (uint32_t)size;
	return at;
}

void cold_shorten(struct kv *kv, uint64_t size)
{
	kv->cold.offset -= (uint32_t)size;
}

void cold_publish(struct kv *kv)
{
	struct cold *cold = &kv->cold;

	store_add(&kv->log_bytes, cold->offset - cold->active->end);
	cold->active->end = cold->offset;
}

/* ---- flushing -------------------------------------------------------------------------------- */

/* Whole blocks, as the log is written: the last one is written again with what comes behind it. */
static int write_out(struct kv *kv)
{
	struct segment *active = kv->cold.active;
	uint32_t end = kv->cold.offset;
	uint32_t first = active->written & ~(ENV_DIRECT_ALIGN - 1);
	uint32_t last = (end + ENV_DIRECT_ALIGN - 1) & ~(ENV_DIRECT_ALIGN - 1);
	int error;

	if (active->written == end)
		return 0;
	error = kv->env->file_write(active->file, active->buffer + first, last - first, first,
				    true);
	atomic_fetch_add_explicit(&kv->written_bytes, last - first, memory_order_relaxed);
	if (!error)
		error = segment_sync_name(&kv->segments, active);
	if (error)
		return store_poison(kv, error, "writing a cold segment failed");
	active->written = end;
	return 0;
}

/*
 * A MARK behind what is durable, and durable itself: from then on recovery can tell damage from an
 * end that was torn. What was copied may be freed then, and not before.
 */
static int mark(struct kv *kv)
{
	append_bare(kv, FORMAT_RECORD_MARK);
	pthread_mutex_lock(&kv->log.lock);
	cold_publish(kv);
	pthread_mutex_unlock(&kv->log.lock);
	return write_out(kv);
}

int cold_flush(struct kv *kv, uint64_t bytes)
{
	struct cold *cold = &kv->cold;
	bool any = cold->active && cold->active->written != cold->offset;
	int error = any || atomic_load(&kv->sync.durable_bytes) < bytes ? sync_flush(kv) : 0;

	if (error || !any)
		return error;
	error = write_out(kv);
	return error ? error : mark(kv);
}

/* Full: an END behind what is durable, so that a hole in it is damage from now on. */
static int close_active(struct kv *kv)
{
	struct segment *active = kv->cold.active;
	int error = sync_flush(kv);

	if (!error)
		error = write_out(kv);
	if (error)
		return error;
	append_bare(kv, FORMAT_RECORD_END);
	error = write_out(kv);
	if (error)
		return error;
	pthread_mutex_lock(&kv->log.lock);
	cold_publish(kv);
	kv->cold.active = NULL;
	pthread_mutex_unlock(&kv->log.lock);
	active->sealed = true;
	return 0;
}

int cold_close(struct kv *kv)
{
	return kv->cold.active ? close_active(kv) : 0;
}

/* ---- opening --------------------------------------------------------------------------------- */

uint64_t cold_before(struct kv *kv)
{
	uint32_t slot, count = atomic_load(&kv->segments.count);
	uint64_t oldest = UINT64_MAX;

	pthread_mutex_lock(&kv->log.lock);
	for (slot = 0; slot < count; slot++) {
		const struct segment *segment = kv->segments.table[slot];
		uint64_t id = segment ? atomic_load(&segment->id) : 0;

		if (id && !segment->sealed && !format_segment_is_cold(id) && id < oldest)
			oldest = id;
	}
	pthread_mutex_unlock(&kv->log.lock);
	return oldest;
}

static bool is_scarce(struct kv *kv)
{
	return segments_space(&kv->segments, NULL) <
	       (uint64_t)SCARCE_SEGMENTS * kv->segments.size;
}

static int open_next(struct kv *kv)
{
	struct cold *cold = &kv->cold;
	uint64_t before = cold_before(kv), id = before - FORMAT_SEGMENT_ID_STEP + 1;
	struct segment *segment;
	int error;

	if (id <= cold->last_id)
		id = cold->last_id + 1;
	if (id >= before || is_scarce(kv))
		return -EAGAIN;
	error = reserve_keep(kv, 1);
	if (!error)
		error = segment_prepare(&kv->segments, id, &segment);
	if (error)
		return error;
	cold->last_id = id;
	cold->offset = FORMAT_SEGMENT_HEADER_SIZE;
	/* A check goes by the lock. */
	pthread_mutex_lock(&kv->log.lock);
	segment->end = FORMAT_SEGMENT_HEADER_SIZE;
	cold->active = segment;
	store_add(&kv->log_bytes, FORMAT_SEGMENT_HEADER_SIZE);
	pthread_mutex_unlock(&kv->log.lock);
	return 0;
}

int cold_reserve(struct kv *kv, uint64_t size)
{
	int error;

	if (kv->cold.active && kv->cold.offset + size > limit(kv)) {
		error = close_active(kv);
		if (error)
			return error;
	}
	return kv->cold.active ? 0 : open_next(kv);
}

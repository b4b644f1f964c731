/* SPDX-License-Identifier: MIT */
/*
 * log_rest.c - the log's end while nobody appends: how a store is closed, how one that was closed
 * is opened, and what of the last segment has no space on the disk meanwhile.
 *
 * A store that rests gives back what stands behind its last record, but for the reserve, in which
 * deleting goes on where the disk has filled up meanwhile, and some slack, so that who changes a
 * little waits for nothing. The file keeps its size, so that maps and recovery find what they
 * always do. Nothing is ever written where there is no space: `limit` says how far records may go,
 * and it is raised when the space is there again. Whether there is a hole nobody has to remember:
 * who opens a store asks the file how much space it has.
 *
 * Threads: all here is the maintainer's, or of who opens or closes the store. `limit` and `trimmed`
 * change under the log's lock.
 */
#include "log_rest.h"

#include <errno.h>

#include "epoch.h"
#include "log.h"
#include "log_spare.h"
#include "segment_file.h"

#define WORTH_DIVISOR 8u /* of a segment: less is not given back */

static uint32_t to_block_end(uint64_t offset)
{
	return (uint32_t)((offset + ENV_DIRECT_ALIGN - 1) & ~(uint64_t)(ENV_DIRECT_ALIGN - 1));
}

/* ---- space ----------------------------------------------------------------------------------- */

/*
 * Behind the reserve and the slack. Never so near to the beginning that log_has_room lets anybody
 * into the reserve.
 */
static uint32_t reserve_end(const struct segments *segments, uint32_t offset, uint32_t slack)
{
	uint64_t reserve = segments->size / LOG_RESERVE_DIVISOR;
	uint64_t end = offset + reserve + slack, least = 2 * reserve + slack;

	return to_block_end((end > least ? end : least) + FORMAT_RECORD_HEADER_SIZE);
}

void log_trim(struct kv *kv)
{
	struct log_tail *tail = &kv->log.hot;
	uint32_t size = kv->segments.size, from;
	uint32_t slack = size / LOG_RESERVE_DIVISOR / LOG_SLACK_DIVISOR;
	struct segment *segment;

	pthread_mutex_lock(&kv->log.lock);
	segment = tail->active;
	from = reserve_end(&kv->segments, tail->offset, slack);
	/* One that is short already, as the disk was full, has no space up to there. */
	if (!tail->limit || tail->trimmed || atomic_load(&segment->hole) ||
	    kv->log.spare_waiters || kv->log.starved || from > size - size / WORTH_DIVISOR)
		segment = NULL;
	if (segment) {
		tail->trimmed = true;
		tail->limit = from - FORMAT_RECORD_HEADER_SIZE;
		tail->spare_at = 0;
		/* Nobody waits for a spare segment: who wants one asks again. */
		kv->log.spare_wanted = false;
	}
	pthread_mutex_unlock(&kv->log.lock);
	if (!segment || segment_file_release(&kv->segments, segment, from) != -EOPNOTSUPP)
		return;
	pthread_mutex_lock(&kv->log.lock);
	tail->trimmed = false;
	tail->limit = size - FORMAT_RECORD_HEADER_SIZE;
	pthread_mutex_unlock(&kv->log.lock);
}

bool log_rests(struct kv *kv)
{
	bool rests;

	pthread_mutex_lock(&kv->log.lock);
	rests = !kv->log.hot.limit;
	pthread_mutex_unlock(&kv->log.lock);
	return rests;
}

bool log_is_trimmed(struct kv *kv)
{
	bool is;

	pthread_mutex_lock(&kv->log.lock);
	is = kv->log.hot.trimmed;
	pthread_mutex_unlock(&kv->log.lock);
	return is;
}

int log_extend(struct kv *kv)
{
	struct log *log = &kv->log;
	/* Nobody leaves it while it is trimmed. */
	int error = segment_file_restore(&kv->segments, log->hot.active, kv->segments.size);

	if (error)
		segment_file_give_back(&kv->segments, log->hot.active,
				       log->hot.limit + FORMAT_RECORD_HEADER_SIZE);
	pthread_mutex_lock(&log->lock);
	log->hot.trimmed = false;
	if (!error) {
		log->hot.limit = kv->segments.size - FORMAT_RECORD_HEADER_SIZE;
		log_note_attempt(log, 0);
	}
	pthread_mutex_unlock(&log->lock);
	return error;
}

uint32_t log_restore(struct kv *kv, struct segment *segment, uint32_t offset)
{
	struct segments *segments = &kv->segments;
	uint32_t room = segments->size / LOG_RESERVE_DIVISOR, limit = offset, end;

	if (!segment_file_restore(segments, segment, segments->size))
		return segments->size - FORMAT_RECORD_HEADER_SIZE;
	end = reserve_end(segments, offset, 0);
	/* Where a part of the reserve was used before, the disk has no more than the rest of it. */
	while (end && limit == offset) {
		if (end < segments->size && !segment_file_restore(segments, segment, end))
			limit = end - FORMAT_RECORD_HEADER_SIZE;
		end = room < ENV_DIRECT_ALIGN ?
			      0 :
			      to_block_end((uint64_t)offset + FORMAT_RECORD_HEADER_SIZE + room);
		room /= 2;
	}
	segment_file_give_back(segments, segment,
			       to_block_end((uint64_t)limit + FORMAT_RECORD_HEADER_SIZE));
	/* An END has its space: no record ends nearer to where there is none. */
	return limit;
}

/* ---- closing, and opening what was closed ---------------------------------------------------- */

int log_close(struct kv *kv)
{
	struct log_tail *tail = &kv->log.hot;
	struct segment *segment = tail->active;
	uint32_t first = tail->offset & ~(ENV_DIRECT_ALIGN - 1);
	uint32_t behind = tail->offset + FORMAT_RECORD_HEADER_SIZE;
	uint32_t last = to_block_end(behind);

	/* It rests, and has one. */
	if (!tail->limit || tail->closed || behind > kv->segments.size ||
	    tail->flushing != segment || segment->written != tail->offset)
		return 0;
	format_record_seal_bare((struct format_record *)(segment->buffer + tail->offset),
				atomic_load(&kv->log.last_seq), FORMAT_RECORD_CLOSED,
				segment->salt);
	memset(segment->buffer + behind, 0, last - behind);
	return kv->env->file_write(segment->file, segment->buffer + first, last - first, first,
				   true);
}

void log_rest(struct kv *kv, struct segment *segment, uint32_t offset)
{
	log_go_on(kv, segment, offset);
	segment->sealed = false;
	kv->log.hot.limit = kv->log.hot.spare_at = 0;
	kv->log.hot.closed = true;
}

int log_wake(struct kv *kv)
{
	struct log *log = &kv->log;
	struct segment *segment = log->hot.active;
	const uint8_t *map = NULL;
	uint32_t limit;
	uint8_t *buffer;
	int error;

	if (log->hot.limit)
		return 0;
	limit = log_restore(kv, segment, log->hot.offset);
	error = segment_fetch_tail(&kv->segments, segment, log->hot.offset, &buffer);
	pthread_mutex_lock(&log->lock);
	if (!error) {
		map = segment_use_buffer(&kv->segments, segment, buffer);
		log->hot.limit = limit;
	}
	log_note_attempt(log, error);
	pthread_mutex_unlock(&log->lock);
	if (!map)
		return error;
	epoch_wait();
	kv->env->file_unmap(segment->file, map, kv->segments.size);
	return 0;
}

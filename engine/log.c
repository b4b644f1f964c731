/* SPDX-License-Identifier: MIT */
/* log.c - see log.h. */
#include "log.h"

#include <errno.h>

#include "log_spare.h"
#include "maintain.h"
#include "prefetch.h"
#include "segment_file.h"
#include "sync.h"

#define AHEAD_BYTES 256u     /* behind the tail */
#define AHEAD_LINES_MAX 8u   /* of longer copies the processor itself sees what comes */
#define FAST_SWITCH_US 1000000u
#define SPARE_LOOKS 16u	      /* in a segment, whether it is time for the next one */
#define LAST_BYTES 4096u      /* of a full disk's log, and for each snapshot: to delete them in, when
				 what they keep is all there is to free */
#define LAST_BYTES_EACH (FORMAT_RECORD_HEADER_SIZE * 2 + KV_SNAPSHOT_NAME_MAX + 1)
#define SPARE_LEAD_US 250000u /* before it is full */
#define WRITE_BEHIND_MAX ((uint32_t)4 << 20) /* bytes at a time */

void log_init(struct log *log)
{
	pthread_mutexattr_t attr;

	/* Held for a fraction of a microsecond: spinning a little beats a system call. */
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ADAPTIVE_NP);
	pthread_mutex_init(&log->lock, &attr);
	pthread_mutexattr_destroy(&attr);
	pthread_cond_init(&log->room, NULL);
	log->next_id = FORMAT_SEGMENT_ID_STEP;
	log->spares_target = 1;
}

void log_fini(struct log *log)
{
	pthread_cond_destroy(&log->room);
	pthread_mutex_destroy(&log->lock);
}

/* ---- appending ------------------------------------------------------------------------------- */

void log_go_on(struct kv *kv, struct segment *segment, uint32_t offset)
{
	struct log_tail *tail = &kv->log.hot;

	tail->active = tail->flushing = segment;
	tail->offset = offset;
	tail->limit = kv->segments.size - FORMAT_RECORD_HEADER_SIZE;
	tail->spare_at = 0;
	tail->begun_seq = atomic_load(&kv->log.last_seq);
	segment->written = offset;
}

/*
 * Writers that fill a segment within moments would wait for one that is prepared half-way: more are
 * kept ready.
 */
static void pace_spares(struct kv *kv)
{
	struct log *log = &kv->log;
	uint64_t now_us = kv->env->clock_us(kv->env);

	log->spares_target = now_us - log->switched_us < FAST_SWITCH_US ? LOG_SPARES_MAX : 1;
	log->switched_us = now_us;
	if (log->spare_count < log->spares_target && log->spares_target > 1) {
		log->spare_wanted = true;
		maintain_kick(kv);
	}
}

static struct segment *take_spare(struct log *log)
{
	struct segment *spare = log->spares;

	log->spares = spare->next;
	spare->next = NULL;
	log->spare_count--;
	log->starved |= log->spare_for != LOG_ANY;
	log->spare_for = LOG_ANY;
	log->sought_to = 0;
	return spare;
}

/* Closes the active segment and goes on in a spare. */
static void switch_segment(struct kv *kv, struct log_tail *tail)
{
	struct segment *full = tail->active;

	format_record_seal_bare((struct format_record *)(full->buffer + tail->offset), 0,
				FORMAT_RECORD_END, full->salt);
	full->end = tail->offset + FORMAT_RECORD_HEADER_SIZE;
	store_add(&tail->appended_bytes, FORMAT_RECORD_HEADER_SIZE);
	store_add(&kv->log_bytes, FORMAT_RECORD_HEADER_SIZE);
	full->end_seq = atomic_load(&kv->log.last_seq);
	full->end_bytes = atomic_load(&tail->appended_bytes);
	full->said_seq = full->end_seq == tail->begun_seq ? 0 : full->end_seq;
	full->next = take_spare(&kv->log);
	tail->active = full->next;
	tail->offset = FORMAT_SEGMENT_HEADER_SIZE;
	tail->limit = kv->segments.size - FORMAT_RECORD_HEADER_SIZE;
	tail->spare_at = 0;
	tail->begun_seq = full->end_seq;
	atomic_fetch_add(&tail->unsealed, 1);
	pace_spares(kv);
}

/* The spare segment, if a batch of this kind may go on in it. */
static struct segment *usable_spare(const struct log *log, enum log_purpose purpose)
{
	return purpose < log->spare_for ? NULL : log->spares;
}

/* No spare segment is there that may be used; nor is one while this one is only short for now. */
static bool must_wait(const struct log *log, enum log_purpose purpose)
{
	return log->hot.trimmed || !usable_spare(log, purpose);
}

/*
 * Waits for a spare segment, or the space of this one, or for the news that there will be none. An
 * attempt that is under way gives no such news: it looked for room before all that has been freed
 * by now, and did not know who waits.
 */
static int await_spare(struct kv *kv, enum log_purpose purpose)
{
	struct log *log = &kv->log;
	uint64_t attempt = log->spare_attempts + log->attempting + 1;

	store_add(&kv->waits, 1);
	log->spare_wanted = true;
	log->spare_awaited = attempt;
	log->freeing_waits |= purpose != LOG_ANY;
	log->spare_waiters++;
	if (kv->inline_maintenance) {
		pthread_mutex_unlock(&log->lock);
		maintain_round(kv);
		pthread_mutex_lock(&log->lock);
	} else {
		maintain_kick(kv);
		while (must_wait(log, purpose) && log->spare_attempts < attempt &&
		       !atomic_load(&kv->failed))
			pthread_cond_wait(&log->room, &log->lock);
	}
	log->spare_waiters--;
	if (atomic_load(&kv->failed))
		return -EROFS;
	/* 0 behind a success: somebody else has used it already, ask again. */
	return must_wait(log, purpose) ? log->spare_error : 0;
}

static uint32_t smaller(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/*
 * Is it time to prepare the next segment, so that nobody waits for it? Half-way through this one at
 * the latest. A file, its header and 16 MiB of new memory take as long as a fast writer takes for
 * that half; so a look at the clock now and then says whether the rest will be full within moments.
 */
static bool spare_is_due(struct kv *kv, struct log_tail *tail)
{
	struct log *log = &kv->log;
	uint32_t size = kv->segments.size, step = size / SPARE_LOOKS;
	uint32_t most = smaller(size, tail->limit) / 2;
	uint64_t now_us, took_us, came = tail->offset - log->looked_offset;
	bool first = !tail->spare_at, due; /* nothing to compare with */

	if (tail->offset > size / 2)
		return true;
	if (!first && came < step)
		return false;
	now_us = kv->env->clock_us(kv->env);
	took_us = now_us - log->looked_us;
	due = !first && took_us < SPARE_LEAD_US &&
	      took_us * (size - tail->offset) < came * SPARE_LEAD_US;
	log->looked_us = now_us;
	log->looked_offset = tail->offset;
	tail->spare_at = due ? most : smaller(tail->offset + step, most);
	return due;
}

/* There may be nothing to free before the last one is gone. Of very many, the most will do. */
static uint32_t last_bytes(const struct kv *kv)
{
	uint64_t bytes = LAST_BYTES + (uint64_t)kv->snapshots.count * LAST_BYTES_EACH;
	uint32_t most = smaller(kv->segments.size / LOG_RESERVE_DIVISOR, kv->log.hot.limit);

	return bytes < most ? (uint32_t)bytes : most;
}

/* What this leaves for those behind it, of a tail without a spare segment for it. */
static uint32_t left_by(const struct kv *kv, enum log_purpose purpose)
{
	const struct log *log = &kv->log;

	if (purpose == LOG_ANY)
		return log->starved ? log->hot.limit : kv->segments.size / LOG_RESERVE_DIVISOR;
	return purpose == LOG_FREES ? last_bytes(kv) : 0;
}

int log_try_reserve(struct kv *kv, uint64_t size, enum log_purpose purpose)
{
	struct log *log = &kv->log;
	struct log_tail *tail = &log->hot;
	uint64_t need = size + FORMAT_RECORD_HEADER_SIZE; /* with a MARK */
	uint32_t reserve = kv->segments.size / LOG_RESERVE_DIVISOR;
	bool frees = purpose != LOG_ANY;
	bool fits = tail->offset + need <= tail->limit;

	if (atomic_load_explicit(&kv->failed, memory_order_relaxed))
		return -EROFS;
	if (log_has_room(kv, size))
		return 0;
	/*
	 * What is left of the segment is asked for in good time, and used before the next one is
	 * begun.
	 */
	if (tail->trimmed &&
	    tail->offset + need > tail->limit - reserve - reserve / LOG_SLACK_DIVISOR / 2) {
		if (!fits || (!frees && tail->offset + need > tail->limit - reserve)) {
			log->spare_wanted = true;
			return -EAGAIN;
		}
		if (!log->spare_wanted) {
			log->spare_wanted = true;
			maintain_kick(kv);
		}
	}
	if (!fits && usable_spare(log, purpose)) {
		switch_segment(kv, tail);
		fits = true;
	}
	if (!fits ||
	    (!usable_spare(log, purpose) &&
	     tail->offset + need > tail->limit - left_by(kv, purpose))) {
		log->spare_wanted = true;
		return -EAGAIN;
	}
	if (!log->spares && !log->spare_wanted && !log->starved && !tail->trimmed &&
	    spare_is_due(kv, tail)) {
		log->spare_wanted = true;
		maintain_kick(kv);
	}
	return 0;
}

/*
 * What frees shares the last room that there is with the copies of compaction, which alone gains
 * any: so that one is asked before each piece of it.
 */
static void seek_room(struct kv *kv, uint64_t size)
{
	struct log *log = &kv->log;

	if (!log->starved || !log->hot.limit || usable_spare(log, LOG_FREES) ||
	    log->hot.offset + size <= log->sought_to)
		return;
	log->sought_to = log->hot.offset + (uint32_t)size + kv->segments.size / LOG_RESERVE_DIVISOR;
	(void)await_spare(kv, LOG_ANY);
}

int log_reserve(struct kv *kv, uint64_t size, enum log_purpose purpose)
{
	int error, refused = 0;

	if (purpose != LOG_ANY)
		seek_room(kv, size);
	/* Others who waited may have begun a segment meanwhile that has room for this too. */
	while ((error = log_try_reserve(kv, size, purpose)) == -EAGAIN && !refused)
		refused = await_spare(kv, purpose);
	return error == -EAGAIN ? refused : error;
}

/* What is durable, said again in the log whenever that has become more. */
static uint64_t append_mark(struct log_tail *tail, uint64_t durable_seq)
{
	tail->marked_seq = durable_seq;
	format_record_seal_bare((struct format_record *)(tail->active->buffer + tail->offset),
				durable_seq, FORMAT_RECORD_MARK, tail->active->salt);
	tail->offset += FORMAT_RECORD_HEADER_SIZE;
	return FORMAT_RECORD_HEADER_SIZE;
}

bool log_mark(struct kv *kv)
{
	struct log_tail *tail = &kv->log.hot;
	uint64_t durable_seq = atomic_load(&kv->sync.durable_seq), size = 0;

	pthread_mutex_lock(&kv->log.lock);
	if (durable_seq != tail->marked_seq && (tail->appended_bytes || kv->recovered_bytes) &&
	    tail->offset + FORMAT_RECORD_HEADER_SIZE <= tail->limit) {
		size = append_mark(tail, durable_seq);
		store_add(&kv->log_bytes, size);
		store_add(&tail->appended_bytes, size);
	}
	pthread_mutex_unlock(&kv->log.lock);
	return size > 0;
}

/*
 * Does a durable segment that stays say so high a number? In a stream of writes the one that was
 * full last does. What becomes durable from here on stays as well. Called with the lock.
 */
static bool is_said(const struct kv *kv, uint64_t seq)
{
	uint32_t slot, count = atomic_load(&kv->segments.count);

	for (slot = 0; slot < count; slot++) {
		const struct segment *segment = kv->segments.table[slot];

		if (segment && atomic_load(&segment->id) && segment->said_seq >= seq &&
		    segment->sealed && !segment->leaving && !segment->emptied)
			return true;
	}
	return false;
}

int log_keep_number(struct kv *kv)
{
	struct log_tail *tail = &kv->log.hot;
	uint64_t durable_seq, size = 0;
	bool lacks;

	pthread_mutex_lock(&kv->log.lock);
	durable_seq = atomic_load(&kv->sync.durable_seq);
	/* While the log rests, nothing goes behind its CLOSED. */
	lacks = durable_seq && durable_seq <= tail->begun_seq && tail->limit &&
		!is_said(kv, durable_seq);
	if (lacks && durable_seq == atomic_load(&kv->log.last_seq)) {
		/* No room even for this: freeing is what makes room, and is not to wait for it. */
		lacks = tail->offset + FORMAT_RECORD_HEADER_SIZE <= tail->limit;
		if (lacks) {
			size = append_mark(tail, durable_seq);
			tail->begun_seq = 0;
			store_add(&kv->log_bytes, size);
			store_add(&tail->appended_bytes, size);
		}
	}
	pthread_mutex_unlock(&kv->log.lock);
	return lacks ? sync_flush(kv) : 0;
}

/*
 * Asks for the lines that the next batch but one will write, if it is like this one. The tail was
 * never in this processor's cache, and unlocking waits until all that was stored has found its
 * line. Beyond the buffer's end nothing happens.
 */
static inline void prefetch_tail(const uint8_t *end, uint64_t size)
{
	const uint8_t *line = end + AHEAD_BYTES;
	uint64_t lines = size / PREFETCH_LINE + 1;

	if (lines > AHEAD_LINES_MAX)
		return;
	for (; lines--; line += PREFETCH_LINE)
		prefetch_to_write(line);
}

uint8_t *log_append(struct kv *kv, uint64_t size, uint64_t *address)
{
	struct log_tail *tail = &kv->log.hot;
	uint64_t durable_seq = atomic_load_explicit(&kv->sync.durable_seq, memory_order_acquire);
	uint64_t total = size;
	uint8_t *at;

	if (durable_seq != tail->marked_seq)
		total += append_mark(tail, durable_seq);
	at = tail->active->buffer + tail->offset;
	*address = segments_address(&kv->segments, tail->active->slot, tail->offset);
	tail->offset += (uint32_t)size;
	prefetch_tail(at + size, size);
	store_add(&kv->log_bytes, total);
	store_add(&tail->appended_bytes, total);
	return at;
}

/* ---- flushing -------------------------------------------------------------------------------- */

/*
 * A CLOSED says that nothing is behind it. So its block is written, and durable, before that is no
 * longer true: from then on it is not valid.
 */
static int overwrite_closed(struct kv *kv, struct segment *segment, uint32_t block)
{
	return kv->log.hot.closed ? kv->env->file_write(segment->file, segment->buffer + block,
							 ENV_DIRECT_ALIGN, block, true) :
				    0;
}

/*
 * Writes a segment's bytes up to `end`, in whole blocks, around the page cache: the first block is
 * written again with what it held, the last one with whatever the buffer has behind the end. That
 * may be a record that is just being copied there: it counts for nothing until a later flush writes
 * it whole.
 */
static int write_segment(struct kv *kv, struct segment *segment, uint32_t end, bool sync)
{
	struct log_tail *tail = &kv->log.hot;
	uint32_t from = segment->written;
	uint32_t first = from & ~(ENV_DIRECT_ALIGN - 1);
	uint32_t last = (end + ENV_DIRECT_ALIGN - 1) & ~(ENV_DIRECT_ALIGN - 1);
	int error;

	if (from == end)
		error = sync ? kv->env->file_sync(segment->file) : 0;
	else
		error = last - first > ENV_DIRECT_ALIGN || !sync ?
				overwrite_closed(kv, segment, first) :
				0;
	if (!error && from != end)
		error = kv->env->file_write(segment->file, segment->buffer + first, last - first,
					    first, sync);
	if (!error && sync)
		error = segment_sync_name(&kv->segments, segment);
	if (error)
		return error;
	segment->written = end;
	tail->closed &= from == end;
	store_add(&tail->written_bytes, end - from);
	atomic_fetch_add_explicit(&kv->written_bytes, from == end ? 0 : last - first,
				  memory_order_relaxed);
	return 0;
}

static void set_durable(struct kv *kv, uint64_t seq, uint64_t bytes)
{
	store_add(&kv->synced_batches, seq - atomic_load(&kv->sync.durable_seq));
	atomic_store(&kv->sync.durable_bytes, bytes);
	atomic_store(&kv->sync.durable_seq, seq);
}

/*
 * A segment is full and durable: the next one may be written, and the maintainer may have its
 * buffer.
 */
static void seal(struct kv *kv, struct segment *segment)
{
	struct log_tail *tail = &kv->log.hot;

	set_durable(kv, segment->end_seq, segment->end_bytes);
	tail->flushing = segment->next;
	atomic_fetch_sub(&tail->unsealed, 1);
	segment->sealed = true;
	if (atomic_load(&kv->log.spare_wanted))
		maintain_kick(kv);
}

static int flush(struct kv *kv)
{
	struct log *log = &kv->log;
	struct segment *active, *segment;
	uint64_t seq, bytes;
	uint32_t end;
	int error;

	pthread_mutex_lock(&log->lock);
	active = log->hot.active;
	end = log->hot.offset;
	seq = atomic_load(&log->last_seq);
	bytes = atomic_load(&log->hot.appended_bytes);
	log->dirty_since_us = 0;
	pthread_mutex_unlock(&log->lock);

	atomic_store(&kv->sync.covered_seq, seq);
	store_add(&kv->flushes, 1);
	while ((segment = log->hot.flushing) != active) {
		error = write_segment(kv, segment, segment->end, true);
		if (error)
			return error;
		seal(kv, segment);
	}
	error = write_segment(kv, active, end, true);
	if (error)
		return error;
	store_add(&kv->syncs, 1);
	set_durable(kv, seq, bytes);
	return 0;
}

int log_flush(struct kv *kv)
{
	uint64_t begun_ns = timing_begin_always(&kv->timing);
	int error = flush(kv);

	timing_end(&kv->timing, KV_OPERATION_FLUSH, begun_ns);
	return error;
}

/*
 * Whole blocks only: the last one would be written again. And not too many: somebody may come who
 * waits for a sync. What is left of a full segment goes at once, for a sync would have to wait for
 * all of it as well; and where the processors are busy this thread waits for one after each write.
 */
int log_write_behind(struct kv *kv)
{
	struct log *log = &kv->log;
	struct segment *segment = log->hot.flushing;
	uint32_t end, most = segment->written + WRITE_BEHIND_MAX;
	bool full;
	int error;

	pthread_mutex_lock(&log->lock);
	end = log_segment_end(log, segment);
	full = segment != log->hot.active;
	pthread_mutex_unlock(&log->lock);
	if (!full)
		end = (end < most ? end : most) & ~(ENV_DIRECT_ALIGN - 1);
	if (!full && end <= segment->written)
		return 0;
	store_add(&kv->flushes, 1);
	error = write_segment(kv, segment, end, full);
	if (!error && full)
		seal(kv, segment);
	return error;
}

bool log_has_number(struct kv *kv, uint64_t seq)
{
	uint64_t last;

	if (seq <= kv_last_seq(kv))
		return true;
	pthread_mutex_lock(&kv->log.lock);
	last = kv_last_seq(kv);
	pthread_mutex_unlock(&kv->log.lock);
	return seq <= last;
}

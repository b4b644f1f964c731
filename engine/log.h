/* SPDX-License-Identifier: MIT */
/*
 * log.h - the end of the log: reserving and appending under the commit lock, handing the bytes to
 * the files.
 *
 * Order on disk: a segment is durable to its end before anything of the next one is written, and
 * its header is durable before anything is appended to it. So at recovery a segment with a
 * successor that holds a record is complete, and a gap in it is damage, not a torn write.
 */
#ifndef LOG_H
#define LOG_H

#include "store.h"

/* The last part of the last segment on a full disk, where only what frees may be appended. */
#define LOG_RESERVE_DIVISOR 16
/* Of the reserve: what a segment of a store that rests keeps beside it. */
#define LOG_SLACK_DIVISOR 2

void log_init(struct log *log);
void log_fini(struct log *log);

/*
 * Makes sure that `size` bytes and a MARK fit behind the tail. May let go of the lock, and wait,
 * when a new segment is due. Called with the lock. Only what frees more than it takes, and copies,
 * may use the reserve. env_is_short, -EROFS (poisoned), -ENOMEM, -EIO
 */
int log_reserve(struct kv *kv, uint64_t size, enum log_purpose purpose);
/*
 * The address and the memory of the next `size` bytes, which log_reserve has made sure of. The
 * caller fills them before it unlocks.
 */
uint8_t *log_append(struct kv *kv, uint64_t size, uint64_t *address);

/*
 * Appends go on at this offset of a segment that is written up to there. Before there is anybody
 * who appends.
 */
void log_go_on(struct kv *kv, struct segment *segment, uint32_t offset);

/*
 * A MARK behind what is durable, so that damage there is told from a torn end. Nobody else appends.
 * False: there is one, or no room.
 */
bool log_mark(struct kv *kv);
/*
 * Before segments that are sealed are freed: that something durable which stays says a number as
 * high as any that was said to be durable, or recovery would give numbers out again. Where no
 * segment does that by its batches a MARK does, in the last one, if that has room for one. -EIO.
 */
int log_keep_number(struct kv *kv);

/*
 * The flusher's, one at a time: writes what was appended before the call and makes it durable; says
 * so in sync.durable_seq. A failure is final: the caller poisons the store.
 */
int log_flush(struct kv *kv);
/*
 * The flusher's: writes a piece of what was appended; at the end of a segment makes that durable. A
 * failure is final.
 */
int log_write_behind(struct kv *kv);

/*
 * Do so many bytes and a MARK fit, with nothing to be asked for, thought of or waited for? Called
 * with the lock.
 */
static inline bool log_has_room(const struct kv *kv, uint64_t size)
{
	const struct log *log = &kv->log;
	uint64_t end = log->hot.offset + size + FORMAT_RECORD_HEADER_SIZE;

	bool has_spare = (log->spares != NULL) & (log->spare_for == LOG_ANY) & !log->hot.trimmed;

	/*
	 * Both are 0 of a tail that rests. The reserve of one that is trimmed stays, whatever comes
	 * after it: its space is asked for first.
	 */
	return end <= (has_spare ? log->hot.limit : log->hot.spare_at);
}

/* As log_reserve, but never waits: -EAGAIN where that would, and asks for a spare segment. */
int log_try_reserve(struct kv *kv, uint64_t size, enum log_purpose purpose);

/* The offset behind the last record of a segment, 0 of a spare one. Called with the lock. */
static inline uint32_t log_segment_end(const struct log *log, const struct segment *segment)
{
	return segment == log->hot.active ? log->hot.offset : segment->end;
}

/*
 * Bytes of batch that fit in one segment and leave its reserve alone. Where the disk is full there
 * is none behind it, and a larger one would make compaction go round for ever.
 */
static inline uint32_t log_batch_size_max(uint32_t segment_size)
{
	return segment_size - segment_size / LOG_RESERVE_DIVISOR - FORMAT_SEGMENT_HEADER_SIZE -
	       2 * FORMAT_RECORD_HEADER_SIZE;
}

/*
 * Has a batch this number? Readers may come upon its records before last_seq says so: its writer
 * has the commit lock until then. Takes that lock; from a read section too.
 */
bool log_has_number(struct kv *kv, uint64_t seq);

#endif

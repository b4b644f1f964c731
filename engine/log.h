/* SPDX-License-Identifier: MIT */
/*
 * log.h - the end of the log: reserving and appending under the commit lock, handing the bytes to the files.
 *
 * Order on disk: a segment is durable to its end before anything of the next one is written, and its header
 * is durable before anything is appended to it. So at recovery a segment with a successor that holds a
 * record is complete, and a gap in it is damage, not a torn write.
 */
#ifndef LOG_H
#define LOG_H

#include "store.h"

void log_init(struct log *log);
void log_fini(struct log *log);

/*
 * Makes sure that `size` bytes and a MARK fit behind the tail. May let go of the lock, and wait, when a new segment is due.
 * Called with the lock; frees: the bytes free more than they take, and may use the reserve. -ENOSPC, -EROFS (poisoned), -EIO
 */
int log_reserve(struct kv *kv, uint64_t size, bool frees);
/* The address and the memory of the next `size` bytes, which log_reserve has made sure of. The caller fills them before it unlocks. */
uint8_t *log_append(struct kv *kv, uint64_t size, uint64_t *address);

/*
 * Writes what was appended; with sync, also makes it durable, up to *seq. The flusher's: one at a time.
 * A failure is final: the caller poisons the store.
 */
int log_flush(struct kv *kv, bool sync, uint64_t *seq);

/* As log_reserve, but never waits: -EAGAIN where that would, and asks for a spare segment. */
int log_try_reserve(struct kv *kv, uint64_t size, bool frees);

/* The maintainer's: prepares a spare segment, if one is wanted; and tells those who wait how that ended. */
int log_prepare_spare(struct kv *kv);
/* The maintainer's, on a full disk: the reserve becomes the spare, for what frees alone. */
int log_use_reserve(struct kv *kv);
void log_spare_attempted(struct kv *kv, int error);

/* Bytes of batch that fit in one segment. */
static inline uint32_t log_batch_size_max(uint32_t segment_size)
{
	return segment_size - FORMAT_SEGMENT_HEADER_SIZE - 2 * FORMAT_RECORD_HEADER_SIZE;
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * cold.h - cold segments: where compaction puts what is still needed, apart from what is newly
 * written. What has survived once will probably survive again; among itself it leaves segments that
 * need no further copying.
 *
 * Numbers of the segments at the log's end are multiples of FORMAT_SEGMENT_ID_STEP. A cold segment
 * gets a number between those of the oldest segment that is not yet durable throughout and the one
 * before it. So everything that is appended to the log from then on has a higher number than the
 * copies, and everything behind which it might be the last one is closed.
 *
 * Nobody waits for a cold segment: what a crash tears off its end is still in the segments it was
 * copied from, which are erased only after cold_flush.
 *
 * The maintainer's alone.
 */
#ifndef COLD_H
#define COLD_H

#include "store.h"

/*
 * The number of the oldest segment at the log's end that is not durable throughout: all below it
 * are, or are gone.
 */
uint64_t cold_before(struct kv *kv);
/*
 * Makes sure that `size` bytes fit behind the last copy. -EAGAIN: not now, use the log's end.
 * env_is_short, -EIO
 */
int cold_reserve(struct kv *kv, uint64_t size);
/*
 * The memory and address of the next copy, of a size that was reserved. It counts from cold_publish
 * on.
 */
uint8_t *cold_append(struct kv *kv, uint64_t size, uint64_t *address);
/* The last copy became so much shorter. */
void cold_shorten(struct kv *kv, uint64_t size);
/* Makes what was appended a part of the log. Called with the log's lock. */
void cold_publish(struct kv *kv);
/*
 * Makes the copies durable, and before them everything that was committed; where there are none, so
 * much of the log (log.hot.appended_bytes), which may be nothing to do. A failure is final.
 */
int cold_flush(struct kv *kv, uint64_t bytes);
/*
 * Ends the segment that takes copies, durably, if there is one: the store is being closed. A
 * failure is final.
 */
int cold_close(struct kv *kv);

#endif

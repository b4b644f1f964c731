/* SPDX-License-Identifier: MIT */
/*
 * log_rest.h - the log's end while nobody appends: closing, opening what was closed, and its space
 * on the disk.
 */
#ifndef LOG_REST_H
#define LOG_REST_H

#include "store.h"

/*
 * A store that is closed in order says so behind its last record (FORMAT_RECORD_CLOSED), in a place
 * that the next append takes. Who opens it need not look behind that, nor have a buffer for the
 * segment until somebody appends: until then the tail rests.
 */

/* All is durable, and nobody appends any more. A failure is one of the log's. */
int log_close(struct kv *kv);
/* As log_go_on, for a segment without a buffer that a CLOSED ends. */
void log_rest(struct kv *kv, struct segment *segment, uint32_t offset);
/* The maintainer's: it does not rest any more; and those who wait are told. -ENOMEM, -EIO */
int log_wake(struct kv *kv);
bool log_rests(struct kv *kv);

/*
 * The maintainer's, when nobody has appended for a while: the file gives back its space behind the
 * log's end, but for the reserve and something for who changes little. Nothing happens where that
 * is not worth it, or the file system cannot do it.
 */
void log_trim(struct kv *kv);
bool log_is_trimmed(struct kv *kv);
/*
 * The maintainer's: takes it again, and tells those who wait. An error: it stays as short as it is,
 * and a spare segment is next.
 */
int log_extend(struct kv *kv);
/*
 * Of a segment that is to be appended to behind `offset`: takes all of its space, or what the disk
 * has. Returns the tail's limit.
 */
uint32_t log_restore(struct kv *kv, struct segment *segment, uint32_t offset);

#endif

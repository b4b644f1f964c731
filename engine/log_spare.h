/* SPDX-License-Identifier: MIT */
/*
 * log_spare.h - the segments that come next: prepared ahead of the writers, so that nobody waits
 * for one, and given back where nobody writes.
 *
 * What is prepared by the maintainer is used by log.c. On a full disk a segment of the reserve
 * takes the place of a spare one (reserve.h).
 */
#ifndef LOG_SPARE_H
#define LOG_SPARE_H

#include "store.h"

#define LOG_SPARES_MAX 3u

/* Do writers fill segments within moments, and did until the last one? */
bool log_is_streaming(struct kv *kv);
/* Is a spare segment wanted, and does somebody wait for one? */
bool log_spare_wanted(struct kv *kv, bool *pressed);
/*
 * The maintainer's: prepares a spare segment, if there are fewer than the writers need.
 * env_is_short, -ENOMEM, -EIO
 */
int log_prepare_spare(struct kv *kv);
/*
 * The maintainer's, where no more is to be had: a segment of the reserve becomes the spare, for
 * what frees alone; the last one only to copy to. -ENOSPC: it is not for that; -ENOMEM, -EIO
 */
int log_use_reserve(struct kv *kv, enum log_purpose purpose);
/* The maintainer's: makes the names of the spare segments durable, so that the flusher need not. */
int log_sync_spares(struct kv *kv);
/*
 * The maintainer's: makes free files of all spare segments but so many; not of one that only what
 * frees may use. Their names are to be synced before another one is prepared, or they could come
 * back behind it.
 */
int log_drop_spares(struct kv *kv, unsigned keep);
/* Does one who frees wait for a spare segment? */
bool log_freeing_waits(struct kv *kv);
/*
 * The maintainer's, around an attempt to prepare a spare segment: those who waited before it began
 * are told how it has ended.
 */
void log_begin_attempt(struct kv *kv);
void log_end_attempt(struct kv *kv, int error);
/* The latter for other ways to get room. Called with the lock. */
void log_note_attempt(struct log *log, int error);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * log_spare.h - the segments that come next: prepared ahead of the writers, so that nobody waits
 * for one, and given back where nobody writes.
 *
 * What is prepared by the maintainer is used by log.c. On a full disk the reserve takes the place
 * of a spare segment, for what frees alone.
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
 * The reserve: so many free files stay allocated beside the next segment, without which nothing
 * could be deleted or compacted once no more space is to be had, or no more files may be open. When
 * that will be nobody can tell: of a quota the disk shows nothing. The last of them is for copies
 * alone, the others for what frees: it takes that much for enough garbage to come together in one
 * segment, wherever what is deleted stands.
 */
unsigned log_reserve_wanted(const struct kv *kv);
/* The maintainer's: sees to the reserve and so many more free files. env_is_short, -EIO */
int log_keep_reserve(struct kv *kv, unsigned beside);
/*
 * To a store just opened nothing but what frees is appended before the reserve is there, if it
 * seems to have been in use.
 */
void log_begin_reserve(struct kv *kv);
/*
 * The maintainer's: prepares a spare segment, if there are fewer than the writers need.
 * env_is_short, -ENOMEM, -EIO
 */
int log_prepare_spare(struct kv *kv);
/* The maintainer's: makes the names of the spare segments durable, so that the flusher need not. */
int log_sync_spares(struct kv *kv);
/*
 * The maintainer's, where no more is to be had: a segment of the reserve becomes the spare, for
 * what frees alone; the last one only to copy to.
 */
int log_use_reserve(struct kv *kv, enum log_purpose purpose);
/* The maintainer's: another free file has taken its place, and the spare is anybody's. */
void log_replace_reserve(struct kv *kv);
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
void log_begin_spare(struct kv *kv);
void log_end_spare(struct kv *kv, int error);
/* The same for other ways to get room. Called with the lock. */
void log_end_attempt(struct log *log, int error);

#endif

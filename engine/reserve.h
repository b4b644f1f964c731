/* SPDX-License-Identifier: MIT */
/*
 * reserve.h - what deleting and compaction go on in once no more space is to be had, or no more
 * files may be open: free files that stay allocated beside the next segment.
 *
 * When that will be nobody can tell: of a quota the disk shows nothing. The last of them is for
 * copies alone, the others for what frees: it takes that much for enough garbage to come together
 * in one segment, wherever what is deleted stands. While some are missing the log is `starved`:
 * nothing else is appended. engine/DESIGN.md, Full disk.
 */
#ifndef RESERVE_H
#define RESERVE_H

#include "store.h"

/*
 * Of so many segments of log one is kept. So that there is always a victim, what is freed by
 * copying one may be as small a part of it.
 */
#define RESERVE_DIVISOR 64u

/* How many files that is; and while the store rests: there it stays where it is a small part. */
unsigned reserve_wanted(const struct kv *kv);
unsigned reserve_at_rest(const struct kv *kv);
/* The maintainer's: sees to them, and to so many more free files. env_is_short, -EIO */
int reserve_keep(struct kv *kv, unsigned beside);
/* The maintainer's: is the log starved, as things are? */
void reserve_note(struct kv *kv);
/* The same of a store just opened: it is, if some of the reserve seems to have been in use. */
void reserve_judge(struct kv *kv);
/* Is what the disk has left hardly more than the reserve? */
bool reserve_is_scarce(struct kv *kv);
/* Is the spare segment one of them? Called with the log's lock. */
bool reserve_is_spare(const struct log *log);
/* The maintainer's: another free file is to be had for it, and the spare is anybody's. */
void reserve_replace(struct kv *kv);

#endif

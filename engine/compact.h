/* SPDX-License-Identifier: MIT */
/*
 * compact.h - gives back the space of records that nobody needs any more: picks a segment, appends
 * what is still needed to the log again, makes that durable, and frees the segment's file.
 *
 * Runs on the maintainer, in steps short enough that nobody who waits for it notices.
 */
#ifndef COMPACT_H
#define COMPACT_H

#include "store.h"

/* One step: picks a victim when the log has too much garbage, or goes on with the one it has. */
void compact_step(struct kv *kv);
/* How long the maintainer may sleep before the next one: UINT64_MAX if nothing is under way. */
uint64_t compact_pause_us(const struct kv *kv);
/* A value of garbage_permille: only segments of which the replay passed something over. */
#define COMPACT_DAMAGED 2000u
/*
 * One step on demand, for segments with at least this share of garbage, of those that were there at
 * born_max. 1: there is more to do; 0: there is not. -EAGAIN: it has to wait for the log's end;
 * env_is_short, -EROFS, -EIO.
 */
int compact_demand(struct kv *kv, unsigned garbage_permille, uint64_t born_max);
/*
 * Empties one segment at once, into what is left of the log and, if need be, the reserve; of those
 * that were there at born_max (segments.births): who asks again and again passes each once,
 * whatever comes of it. False: none is worth it.
 */
bool compact_for_space(struct kv *kv, uint64_t born_max);

#endif

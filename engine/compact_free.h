/* SPDX-License-Identifier: MIT */
/*
 * compact_free.h - from an emptied segment to a free file.
 *
 * A segment of which nothing is needed any more waits in kv->compaction.emptied until it is worth a
 * sync. If the last checkpoint names it, it is then kept in the log until there is another one.
 *
 * Threads: whoever holds the maintainer's place.
 */
#ifndef COMPACT_FREE_H
#define COMPACT_FREE_H

#include "store.h"

/*
 * The victim's records have all been dealt with. False: something in it can no longer be read; it
 * stays, for a repair.
 */
bool compact_put_emptied(struct kv *kv, struct segment *victim);
/*
 * Freeing costs a sync or two: many at once, but no large part of the log; and few where writers
 * wait for it.
 */
bool compact_enough_emptied(const struct kv *kv);
/*
 * What was emptied waits for the log, which is durable soon by itself: a flush on its account,
 * amidst a stream of writes, would hold up the next segments. Not where that much waits, or space
 * is wanted.
 */
bool compact_can_free(struct kv *kv);
/*
 * Those that were emptied. Where there is no room to say so they stay; kv->compaction.free_at_us.
 */
int compact_free_emptied(struct kv *kv);
/* Frees what was emptied and kept for a checkpoint that is not the last one any more. */
void compact_free_kept(struct kv *kv);

#endif

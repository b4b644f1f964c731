/* SPDX-License-Identifier: MIT */
/*
 * sync.h - group commit, and the maintainer.
 *
 * Whoever needs durability and finds no flush under way becomes the flusher: it writes and syncs on its own
 * thread, which saves the 25 to 50 us that a hand-over to another thread costs, and all who came in time share
 * its sync. The maintainer, a thread of the store, flushes for those who do not wait: callbacks, the commit
 * interval, a tail that grows long. It also prepares segments, gives buffers back, and frees what readers have left.
 */
#ifndef SYNC_H
#define SYNC_H

#include "store.h"

void sync_init(struct sync *sync);
void sync_fini(struct sync *sync);
int sync_start(struct kv *kv);
/* Stops the maintainer after what is under way; waiters are answered. */
void sync_stop(struct kv *kv);

/* Returns when seq is durable, or -EIO. */
int sync_wait(struct kv *kv, uint64_t seq);
/* Makes everything that was appended before the call durable, relocated records too. -EIO */
int sync_flush(struct kv *kv);
void sync_notify(struct kv *kv, struct kv_waiter *waiter);

/* Wakes the maintainer. Any lock may be held. */
void sync_kick(struct kv *kv);
/* After a commit, without locks: wakes the maintainer if there is something for it. */
void sync_committed(struct kv *kv);
/* One round of maintenance, by the maintainer or, in a store without one, by a caller that holds no lock. */
void sync_maintain(struct kv *kv);

#endif

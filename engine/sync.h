/* SPDX-License-Identifier: MIT */
/*
 * sync.h - group commit: who makes the log durable, and who waits for it.
 *
 * Whoever needs durability and finds no flush under way becomes the flusher: it writes and syncs on
 * its own thread, which saves the 25 to 50 us that a hand-over to another thread costs, and all who
 * came in time share its sync. The store's own thread flushes for those who do not wait: callbacks,
 * the commit interval; and it writes behind the writers while a segment fills.
 */
#ifndef SYNC_H
#define SYNC_H

#include "store.h"

void sync_init(struct sync *sync);
void sync_fini(struct sync *sync);
int sync_start(struct kv *kv);
/* Stops the thread after what is under way; waiters are answered. */
void sync_stop(struct kv *kv);

/* Returns when seq is durable, or -EIO. */
int sync_wait(struct kv *kv, uint64_t seq);
/* Makes everything that was appended before the call durable, relocated records too. -EIO */
int sync_flush(struct kv *kv);
void sync_notify(struct kv *kv, struct kv_waiter *waiter);

/* Wakes the store's flushing thread. Any lock may be held. */
void sync_kick(struct kv *kv);
/* Called after a commit, without locks: wakes the thread if there is something for it. */
void sync_committed(struct kv *kv);

#endif

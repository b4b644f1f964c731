/* SPDX-License-Identifier: MIT */
/*
 * checkpoint.h - both indexes on disk as they were at one place of the log, so that opening replays
 * only what stands behind it. format.h draws the file.
 *
 * Written beside everybody else whenever enough has been appended since the last one, and when the
 * store is closed. Never needed: one that is missing, damaged, or of another state of the log is
 * passed over, and everything is replayed.
 *
 * Opening takes the small state from it at once, versions too. The hash index is read by chunks as
 * look-ups need them, the ordered ones by stretches as cursors come to them; a thread does what
 * nobody has asked for yet, the smallest index first, and then goes. Who needs the whole of an
 * ordered index waits for it. What replay and commits change in it before is kept, and done then.
 *
 * Records before the checkpoint are not replayed and so not validated; that happens when they are
 * first read (segment.h).
 */
#ifndef CHECKPOINT_H
#define CHECKPOINT_H

#include "store.h"

/*
 * Takes over a checkpoint that fits the segments in the table, if there is one. Segments have
 * `covered` then. Before anything is replayed. What env_open_was_refused() is
 */
int checkpoint_open(struct kv *kv);
/*
 * Loads the rest: by a thread, or here and now. Once, after the replay. -ESTALE: a part of the hash
 * index cannot be read
 */
int checkpoint_start(struct kv *kv) __attribute__((warn_unused_result));
/* Waits until all of it is loaded, or until the thread has given up when the store is closed. */
void checkpoint_finish(struct kv *kv);
void checkpoint_stop(struct kv *kv);

/*
 * The maintainer's: one step of writing the next one, or a look whether it is due; and how long it
 * may sleep before the next.
 */
void checkpoint_step(struct kv *kv);
uint64_t checkpoint_pause_us(const struct kv *kv);
/*
 * One step of writing, whether it is due or not. 0: it is written; 1: there is more to do; errors
 * as of kv_checkpoint, -EAGAIN.
 */
int checkpoint_demand(struct kv *kv);
/*
 * The disk is full: gives its space back, and that of the emptied segments that it names. False:
 * there was none. The maintainer's.
 */
bool checkpoint_discard(struct kv *kv);
/* For callers who have emptied segments and want their space now, whatever it takes. */
void checkpoint_release_kept(struct kv *kv);
/* Bytes of log, in all since the store was opened; and that opening would have to replay. */
uint64_t checkpoint_position(const struct kv *kv);
uint64_t checkpoint_behind(const struct kv *kv);
/*
 * A change of an ordered index while these are being saved: address 0 deletes. With the log's lock.
 */
void checkpoint_note(struct kv *kv, const struct format_record *record, uint64_t address);
/*
 * The same for a change of the ghosts of an ordered index, and of a version, while these are being
 * saved. With the log's lock.
 */
void checkpoint_note_ghost(struct kv *kv, unsigned keyspace, const void *key, size_t key_size,
			   uint64_t address);
void checkpoint_note_version(struct kv *kv, uint32_t number);

/* Waits for the ordered indexes of these keyspaces, a bit each. Without the log's lock. */
void checkpoint_await_orders(struct kv *kv, unsigned keyspaces);
/*
 * Called by commits while ordered indexes are loaded: waits only where too many changes wait
 * already. Without the log's lock.
 */
void checkpoint_throttle(struct kv *kv);

/*
 * Someone has moved in an ordered index that is not all there, see checkpoint_orders_need. True:
 * more of it is there now, he must move again from where he was. Without the log's lock.
 */
bool checkpoint_need(struct kv *kv, unsigned keyspace, struct kv_slice from, struct kv_slice to,
		     bool forward);
/*
 * A change of an ordered index that is not all there: address 0 deletes. While replaying, or with
 * the log's lock. -ENOMEM
 */
int checkpoint_defer(struct kv *kv, const struct format_record *record, uint64_t address);
/*
 * The loader's: is there, at this address, what a checkpoint may speak of? Damage is said, and the
 * file removed.
 */
bool checkpoint_covers(struct kv *kv, uint64_t address);
void checkpoint_damaged(struct kv *kv, const char *what);

/*
 * Saves the present state, if that is worth it. Nobody else uses the store. A failure is reported,
 * and harmless.
 */
void checkpoint_write(struct kv *kv);

/*
 * Callers who need all ordered indexes, as compaction does, ask for them before they take the log's
 * lock.
 */
static inline void store_need_orders(struct kv *kv)
{
	if (__builtin_expect(atomic_load_explicit(&kv->orders_loading, memory_order_acquire), 0))
		checkpoint_await_orders(kv, UINT32_MAX);
}

/*
 * Could the ordered index not be loaded? What is in memory of it is not all, and nobody may take it
 * for that.
 */
static inline bool store_order_failed(const struct kv *kv, unsigned keyspace)
{
	return atomic_load(&kv->orders_failed) & 1u << keyspace;
}

/* The ordered index of a keyspace, NULL if it has none. */
static inline struct order *store_order(struct kv *kv, unsigned keyspace)
{
	if (__builtin_expect(atomic_load_explicit(&kv->orders_loading, memory_order_acquire) &
				     1u << keyspace,
			     0))
		checkpoint_await_orders(kv, 1u << keyspace);
	return kv->order_of[keyspace];
}

#endif

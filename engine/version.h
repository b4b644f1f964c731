/* SPDX-License-Identifier: MIT */
/*
 * version.h - records that are not their key's newest any more, but that a view or a snapshot sees.
 *
 * A version is where the record stands, and the batches [begin, end) between which it was the
 * newest. The versions of a key are a chain, the youngest first; a hash index like that of the
 * newest records leads to it. A record becomes a version before the index lets go of it, so a
 * reader who finds it nowhere else finds it here.
 *
 * Keys in ordered keyspaces of which only versions are left are in a second ordered index, the
 * ghosts, for cursors of views.
 *
 * Invariants
 *   Every record that was its key's newest at the moment of a view, and is not now, is a version.
 *   Versions that no view needs any more are found by a sweep, which follows each end of a view,
 *   some at a time.
 *   A key with versions and without a newest record is a ghost; some ghosts may have a newest
 *   record again, or no version.
 *
 * Threads: version_find and version_holds any, inside an epoch; all else with the log's lock,
 * unless it says otherwise.
 */
#ifndef VERSION_H
#define VERSION_H

#include "store.h"

#define VERSION_FETCH_MAX 32u

int versions_init(struct versions *versions);
void versions_fini(struct versions *versions);

/* Makes room for so many versions, and ghosts of any of the keys. -ENOMEM */
int version_reserve(struct kv *kv, uint64_t count, uint64_t key_bytes);
/*
 * The record at this address is a version that ends with the batch `end`. If there is one that
 * begins with the same batch, this is its copy, and the truth. -ENOMEM, not after a reservation
 */
int version_keep(struct kv *kv, const struct format_record *record, uint64_t address, uint64_t hash,
		 uint64_t end);
/*
 * A tombstone is met later than what stands behind it: versions of the key that it ended end with
 * it, or where it says.
 */
void version_cut(struct kv *kv, const struct format_record *tombstone, uint64_t hash);
/*
 * The key's newest record goes, or is not there: if there are versions of it, it is a ghost.
 * -ENOMEM, not after a reservation
 */
int version_haunt(struct kv *kv, const struct format_record *record, uint64_t hash);
/* The record of a version was copied; false: it is none any more. */
bool version_move(struct kv *kv, uint64_t hash, uint64_t from, uint64_t to, uint64_t to_length);

/* The version that was a key's newest at a moment. -ENOENT, -EIO */
int version_find(struct kv *kv, uint64_t seq, unsigned keyspace, const void *key, size_t key_size,
		 uint64_t hash, const struct format_record **out, uint64_t *address);
/* The record of a version is not what it should be: counts and says it. -EIO */
int version_unreadable(struct kv *kv, uint64_t address);
/* Asks for what version_find looks at first. Any time. */
static inline void version_prefetch(struct kv *kv, uint64_t hash)
{
	if (atomic_load_explicit(&kv->versions.count, memory_order_relaxed))
		index_prefetch(&kv->versions.index, hash);
}
/*
 * Asks for the records that version_find will come to, of many keys in turns, so that their waits
 * overlap. Out: where they are; what is not known stays as it is.
 */
void version_fetch(struct kv *kv, uint64_t seq, const uint64_t *hashes, uint64_t *addresses,
		   size_t count);
/*
 * Where the version stands that a view of this moment has, of the chain that begins with this
 * number; 0: it has none. Inside an epoch.
 */
uint64_t version_seen(struct kv *kv, uint64_t number, uint64_t seq);
/* Is the record at this address a version, and until when? Once it is not, it never is again. */
bool version_holds(struct kv *kv, uint64_t address, uint64_t hash, uint64_t *end);

/*
 * The last view of this moment has ended, and is none any more: what it alone saw is to be swept.
 * With the log's lock.
 */
void version_let_go(struct kv *kv, uint64_t seq);
/*
 * Nobody knows what views have ended: all are to be looked at. While the store is being opened, or
 * with the log's lock.
 */
void version_sweep_whole(struct kv *kv);
/* Called after a view has ended: there may be something to sweep. No lock is held. */
void version_wake(struct kv *kv, uint64_t seq);
/*
 * One step of sweeping, if there is anything to sweep: true if there is more. No lock is held; the
 * maintainer's.
 */
bool version_step(struct kv *kv);
void version_sweep_all(struct kv *kv);
uint64_t version_pause_us(struct kv *kv);
/*
 * Gives back what readers may have looked at; waits for the epoch. The maintainer's, without the
 * log's lock.
 */
void version_free_retired(struct kv *kv);

uint64_t versions_memory(const struct versions *versions);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * hold.h - who may come back with an inode's number: counts, for the inodes that are held and no
 * others.
 *
 * The table also remembers which held inodes have lost their last name, so that the last holder
 * knows to free them. Small ones it keeps itself: their record is gone from the store with their
 * name, and what is kept here goes with the last hold. Any thread; each shard has a lock of its own
 * (rank 3, a leaf).
 */
#ifndef HOLD_H
#define HOLD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kv.h"

#define HOLD_SHARDS 64u
#define HOLD_KEPT_MAX (8u << 20) /* bytes that kept records take at once, in all */

struct hold_kept; /* a record */

struct hold_entry {
	uint64_t ino; /* 0: free */
	uint64_t count : 63;
	uint64_t orphan : 1; /* it has no name */
	struct hold_kept *kept; /* its record, which is not in the store; or NULL */
};

struct hold_shard {
	pthread_mutex_t lock;
	/* Protected by lock, as all below, but for hold_prefetch: open addressing, linear */
	_Atomic(struct hold_entry *) entries;
	_Atomic size_t capacity; /* a power of two, or 0 */
	size_t used;
	bool lost; /* a hold could not be entered: from then on every inode counts as held */
	unsigned spare_count;
	struct hold_kept *spares; /* memory that kept records had, for the next ones */
} __attribute__((aligned(64)));

struct hold_table {
	struct hold_shard shards[HOLD_SHARDS];
	_Atomic size_t kept_bytes;
};

void hold_table_init(struct hold_table *table);
void hold_table_fini(struct hold_table *table);

/* Asks for the line of memory that hold_add will want. Takes no lock, and any answer will do. */
void hold_prefetch(struct hold_table *table, uint64_t ino);
void hold_add(struct hold_table *table, uint64_t ino, uint64_t count);
/* True if this was the last hold of an inode without a name that is in the store. */
bool hold_remove(struct hold_table *table, uint64_t ino, uint64_t count);

bool hold_is_held(struct hold_table *table, uint64_t ino);
/* Sets or clears the mark "it has no name"; false if nobody holds the inode. */
bool hold_mark(struct hold_table *table, uint64_t ino, bool orphan);

/*
 * Keeps the record of a held inode without a name, its concatenated parts. False: nobody holds it,
 * or there is no room.
 */
bool hold_keep(
	struct hold_table *table, uint64_t ino, const struct kv_slice *parts, unsigned count);
/* Copies the record that is kept, of up to `size` bytes; its size, or 0 if none is. */
size_t hold_kept(struct hold_table *table, uint64_t ino, void *record, size_t size);
bool hold_is_kept(struct hold_table *table, uint64_t ino);
/* The record is kept no longer. */
void hold_drop(struct hold_table *table, uint64_t ino);
/* The same of all of which is_wrong(arg, ino) says so. It is called with a shard's lock. */
void hold_drop_wrong(
	struct hold_table *table, bool (*is_wrong)(void *arg, uint64_t ino), void *arg);

#endif

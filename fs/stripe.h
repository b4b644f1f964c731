/* SPDX-License-Identifier: MIT */
/*
 * stripe.h - locks for inodes: a fixed table that inode numbers are spread over.
 *
 * An inode's stripe guards its record, pieces, attributes and orphan record, and the entries of a
 * directory. Two inodes may share a stripe. Rank 2 (see DESIGN.md); all stripes of an operation are
 * taken at once, in rising order.
 */
#ifndef STRIPE_H
#define STRIPE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define STRIPE_COUNT 1024u
#define STRIPE_SET_MAX                                                                             \
	4u /* inodes an operation locks: both directories and both files of a rename */

struct stripe {
	pthread_rwlock_t lock;
} __attribute__((aligned(64)));

struct stripe_table {
	struct stripe stripes[STRIPE_COUNT];
	_Atomic bool paused;        /* set before, read after a stripe is taken */
	pthread_mutex_t pause_lock; /* rank 0: held while paused */
};

/* The stripes an operation holds for writing. */
struct stripe_set {
	unsigned count;
	uint16_t numbers[STRIPE_SET_MAX]; /* rising, each once */
};

/* -ENOMEM */
int stripe_table_new(struct stripe_table **out) __attribute__((warn_unused_result));
void stripe_table_free(struct stripe_table *table);

void stripe_lock(
	struct stripe_table *table, const uint64_t *inos, unsigned count, struct stripe_set *out);
/*
 * Adds these inodes to what is held; false, with that unchanged, if it would have to wait. No more
 * than STRIPE_SET_MAX in all.
 */
bool stripe_extend(
	struct stripe_table *table, const uint64_t *inos, unsigned count, struct stripe_set *set);
/* False, with nothing locked, if that would have to wait. */
bool stripe_trylock(struct stripe_table *table, uint64_t ino, struct stripe_set *out);
void stripe_unlock(struct stripe_table *table, struct stripe_set *set);

/* Locks one inode for reading. Without a table (NULL) nothing can change, and nothing is locked. */
void stripe_lock_shared(struct stripe_table *table, uint64_t ino);
void stripe_unlock_shared(struct stripe_table *table, uint64_t ino);

/*
 * From its return until stripe_resume, nobody holds or gets a stripe for writing: changes wait,
 * reading goes on.
 */
void stripe_pause(struct stripe_table *table);
void stripe_resume(struct stripe_table *table);

#endif

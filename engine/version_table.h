/* SPDX-License-Identifier: MIT */
/*
 * version_table.h - the table of versions by number: what version*.c and checkpoint_version.c know
 * of it, and nobody else.
 *
 * Versions are numbered from 1 and never move, so that chains and the hash index name them by
 * number; a number is given out again a grace period after its version was dropped.
 *
 * Threads: stored under the log's lock; readers inside an epoch.
 */
#ifndef VERSION_TABLE_H
#define VERSION_TABLE_H

#include "store.h"

/*
 * All but `address` and `older` is as it was when readers could first see it; but replay may find
 * that the end was earlier. It stands in a checkpoint as it does here.
 */
struct version {
	_Atomic uint64_t address;
	_Atomic uint64_t begin, end; /* batches */
	_Atomic uint64_t hash;	/* of the key; the next number of a list, once dropped. The
				   writer's */
	_Atomic uint32_t older; /* the next one of the key; 0: none */
	_Atomic uint32_t length; /* bytes in the log; 0: dropped. The writer's */
};
static_assert(sizeof(struct version) == sizeof(struct format_checkpoint_version), "version size");

static inline struct version *version_at(const struct versions *versions, uint64_t number)
{
	return atomic_load_explicit(&versions->chunks[number / VERSION_CHUNK],
				    memory_order_acquire) +
	       number % VERSION_CHUNK;
}

/*
 * Between which batches the versions of a block end, or wider: numbers are given out in the order
 * of ends, but for those that are used again, so that who looks for versions which a certain view
 * saw has few blocks to look at. All zeros: the block is empty. Behind the versions of each chunk;
 * with the log's lock.
 */
struct version_ends {
	uint64_t latest, earliest_inverted;
};

#define VERSION_BLOCK 64u /* versions */

static inline struct version_ends *version_ends_at(const struct versions *versions, uint64_t number)
{
	struct version *chunk = atomic_load_explicit(&versions->chunks[number / VERSION_CHUNK],
						     memory_order_relaxed);

	return (struct version_ends *)(chunk + VERSION_CHUNK) +
	       number % VERSION_CHUNK / VERSION_BLOCK;
}

static inline void version_ends_widen(struct version_ends *ends, uint64_t end)
{
	if (ends->latest < end)
		ends->latest = end;
	if (ends->earliest_inverted < ~end)
		ends->earliest_inverted = ~end;
}

/* The first number behind the block that this one is in. */
static inline uint32_t version_block_end(const struct versions *versions, uint32_t number)
{
	uint32_t end = number / VERSION_BLOCK * VERSION_BLOCK + VERSION_BLOCK;

	return end < versions->used ? end : versions->used;
}

/* May versions of that block end behind `from`, and at `to` at the latest? */
static inline bool version_block_ends_in(const struct versions *versions, uint32_t number,
					 uint64_t from, uint64_t to)
{
	const struct version_ends *ends = version_ends_at(versions, number);

	return ends->latest > from && ~ends->earliest_inverted <= to;
}

static inline uint32_t version_older(const struct version *version)
{
	return atomic_load_explicit(&version->older, memory_order_acquire);
}

static inline uint64_t version_address(const struct version *version)
{
	return atomic_load_explicit(&version->address, memory_order_acquire);
}

static inline uint64_t version_begin(const struct version *version)
{
	return atomic_load_explicit(&version->begin, memory_order_relaxed);
}

static inline uint64_t version_end(const struct version *version)
{
	return atomic_load_explicit(&version->end, memory_order_relaxed);
}

static inline uint32_t version_length(const struct version *version)
{
	return atomic_load_explicit(&version->length, memory_order_relaxed);
}

static inline uint64_t version_hash(const struct version *version)
{
	return atomic_load_explicit(&version->hash, memory_order_relaxed);
}

/* Memory for all numbers below this one. -ENOMEM */
int version_table_extend(struct versions *versions, uint64_t numbers);
/* Takes it out of its chain. With the log's lock. */
void version_drop(struct kv *kv, uint32_t number);
/* A key of which only versions are left, or none any more. -ENOMEM, not after a reservation */
int version_ghost_put(struct kv *kv, unsigned keyspace, const void *key, size_t key_size);
void version_ghost_delete(struct kv *kv, unsigned keyspace, const void *key, size_t key_size);

#endif

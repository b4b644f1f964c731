/* SPDX-License-Identifier: MIT */
/*
 * index_table.h - what the files of the index share: one table's life, and how a place and a tag give back a fingerprint.
 */
#ifndef INDEX_TABLE_H
#define INDEX_TABLE_H

#include "index.h"

/*
 * The fewest buckets for which place and tag give back the fingerprint: the 2^32 fingerprints, over the buckets, times
 * the window of homes that a place leaves open, must not exceed a tag's 2^24.
 */
#define INDEX_COUNT_MIN ((uint64_t)(INDEX_REACH + 1) << 8)

struct index_table *index_table_new(uint64_t count);
void index_table_free(struct index_table *table);
/* Prefetching looks at this one from now on. */
void index_set_hint(struct index *index, struct index_table *table);
/* Everything in one new table, at once: for an entry whose whole reach is full. -ENOMEM */
int index_rebuild(struct index *index);

/* The least fingerprint whose home is this one. */
static inline uint64_t index_home_low(const struct index_table *table, uint64_t home)
{
	return ((home << 32) + table->count - 1) / table->count;
}

/* The least fingerprint that an entry in this bucket can have. */
static inline uint64_t index_bucket_low(const struct index_table *table, uint64_t bucket)
{
	uint64_t first = bucket > INDEX_REACH ? bucket - INDEX_REACH : 0;

	return ((first << 32) + table->count - 1) / table->count;
}

/* The fingerprint of an entry in a bucket with this low end: the one in its window that has the tag. */
static inline uint32_t index_fingerprint_from(uint64_t low, uint64_t entry)
{
	uint64_t tag = entry >> INDEX_ADDRESS_BITS;

	return (uint32_t)(low + ((tag - low) & 0xffffff));
}

static inline uint32_t index_fingerprint_at(const struct index_table *table, uint64_t bucket,
					    uint64_t entry)
{
	return index_fingerprint_from(index_bucket_low(table, bucket), entry);
}

/* The first empty slot from the home on, or NULL if the reach is full. */
static inline _Atomic uint64_t *index_empty_slot(struct index_table *table, uint64_t home)
{
	uint64_t bucket;
	unsigned empty;

	for (bucket = home; bucket <= home + INDEX_REACH; bucket++) {
		index_bucket_masks(&table->buckets[bucket], 0, &empty);
		if (empty)
			return &table->buckets[bucket].slots[__builtin_ctz(empty)];
	}
	return NULL;
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * index_table.h - what the files of the index share: one table's life, and how a place and a tag
 * give back a fingerprint.
 */
#ifndef INDEX_TABLE_H
#define INDEX_TABLE_H

#include "index.h"

/*
 * The fewest buckets for which place and tag give back the fingerprint: the 2^31 fingerprints, over
 * the buckets, times the window of homes that a place leaves open, must not exceed a tag's 2^23.
 */
#define INDEX_COUNT_MIN                                                                            \
	((uint64_t)(INDEX_REACH + 1) << (INDEX_FINGERPRINT_BITS - INDEX_TAG_BITS))

struct index_table *index_table_new(uint64_t count);
void index_table_free(struct index_table *table);
/* Prefetching looks at this one from now on. */
void index_set_hint(struct index *index, struct index_table *table);
/* Everything in one new table, at once: for an entry whose whole reach is full. -ENOMEM */
int index_rebuild(struct index *index);

/* The least fingerprint whose home is this one. */
static inline uint64_t index_home_low(const struct index_table *table, uint64_t home)
{
	return ((home << INDEX_FINGERPRINT_BITS) + table->count - 1) / table->count;
}

/* The least fingerprint that an entry in this bucket can have. */
static inline uint64_t index_bucket_low(const struct index_table *table, uint64_t bucket)
{
	uint64_t first = bucket > INDEX_REACH ? bucket - INDEX_REACH : 0;

	return ((first << INDEX_FINGERPRINT_BITS) + table->count - 1) / table->count;
}

/*
 * The fingerprint of an entry in a bucket with this low end: the one in its window that has the
 * tag.
 */
static inline uint32_t index_fingerprint_from(uint64_t low, uint64_t entry)
{
	uint64_t tag = entry >> INDEX_ADDRESS_BITS;

	return (uint32_t)(low + ((tag - low) & (INDEX_TAG_MASK >> INDEX_ADDRESS_BITS)));
}

/* Every store in a slot that a look-up may find. */
static inline __attribute__((always_inline)) void
index_store(struct index_table *table, _Atomic uint64_t *slot, uint64_t entry)
{
	atomic_store_explicit(slot, entry, memory_order_release);
	if (__builtin_expect(table->saving != NULL, 0))
		index_save_note(table->saving, slot, entry);
}

/* A new entry in a gap of this bucket; if that is not its home, that says so first. */
static inline void index_enter(struct index_table *table, uint64_t home, uint64_t bucket,
			       _Atomic uint64_t *gap, uint32_t fingerprint, uint64_t address)
{
	_Atomic uint64_t *slot;
	uint64_t there;

	if (bucket != home) {
		slot = &table->buckets[home].slots[index_spill_slot(fingerprint)];
		there = atomic_load_explicit(slot, memory_order_relaxed);
		if (!(there & INDEX_SPILL))
			index_store(table, slot, there | INDEX_SPILL);
	}
	index_store(table, gap, index_tag(fingerprint) | address);
}

/* Enters it in the first gap from its home on. False: there is none within reach. */
static inline bool index_enter_first(struct index_table *table, uint32_t fingerprint,
				     uint64_t address)
{
	uint64_t home = index_home(table, fingerprint), bucket;
	unsigned empty;

	for (bucket = home; bucket <= home + INDEX_REACH; bucket++) {
		empty = index_bucket_empty(&table->buckets[bucket]);
		if (!empty)
			continue;
		index_enter(table, home, bucket,
			    &table->buckets[bucket].slots[__builtin_ctz(empty)], fingerprint,
			    address);
		return true;
	}
	return false;
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * index_pass.c - passes over all entries: the writer's at once, a reader's in stretches between
 * which everything may change.
 */
#include "index_table.h"

static int each_of_table(struct index_table *table, uint64_t first_home,
			 int (*each)(void *arg, uint64_t address), void *arg)
{
	uint64_t bucket;
	unsigned i;
	int stop;

	for (bucket = first_home; bucket < table->count + INDEX_REACH; bucket++) {
		uint64_t low = index_bucket_low(table, bucket);

		for (i = 0; i < INDEX_SLOTS; i++) {
			uint64_t entry = atomic_load_explicit(&table->buckets[bucket].slots[i],
							      memory_order_relaxed);

			if (!entry ||
			    index_home(table, index_fingerprint_from(low, entry)) < first_home)
				continue;
			stop = each(arg, entry & INDEX_ADDRESS_MASK);
			if (stop)
				return stop;
		}
	}
	return 0;
}

int index_each(struct index *index, int (*each)(void *arg, uint64_t address), void *arg)
{
	struct index_table *table = atomic_load(&index->table);
	struct index_table *next = atomic_load(&table->next);
	int stop;

	index_load_table(table);
	stop = each_of_table(table, atomic_load(&table->moved), each, arg);

	if (stop || !next)
		return stop;
	return each_of_table(next, 0, each, arg);
}

struct stretch {
	struct index_table *table;
	uint64_t from, to;	   /* fingerprints */
	uint64_t first, last;	   /* homes of these, both included */
	uint32_t versions[INDEX_STRETCH_HOMES];
};

/* Which table has the entries from this place on, and how far. */
static void stretch_begin(struct index *index, uint64_t place, struct stretch *stretch)
{
	struct index_table *old = atomic_load_explicit(&index->table, memory_order_acquire);
	struct index_table *next = atomic_load_explicit(&old->next, memory_order_acquire);
	uint64_t moved = next ? atomic_load_explicit(&old->moved, memory_order_acquire) : 0;
	bool in_next = index_home(old, (uint32_t)place) < moved;
	uint64_t limit;

	stretch->table = in_next ? next : old;
	stretch->from = place;
	stretch->first = index_home(stretch->table, (uint32_t)place);
	stretch->to = index_home_low(stretch->table, stretch->first + INDEX_STRETCH_HOMES);
	/* Buckets that have not moved yet are not in the new table. */
	limit = in_next ? index_home_low(old, moved) : INDEX_PLACE_END;
	if (stretch->to > limit)
		stretch->to = limit;
	stretch->last = index_home(stretch->table, (uint32_t)(stretch->to - 1));
	index_need(stretch->table, stretch->first);
	index_need(stretch->table, stretch->last);
}

/* False: an entry of one of the homes is on the move. */
static bool stretch_versions(struct index *index, struct stretch *stretch)
{
	uint64_t home;
	uint32_t odd = 0;

	for (home = stretch->first; home <= stretch->last; home++) {
		uint32_t version = atomic_load_explicit(&index->versions[home % INDEX_STRIPES],
							memory_order_acquire);

		stretch->versions[home - stretch->first] = version;
		odd |= version & 1;
	}
	return !odd;
}

/* Did nothing move meanwhile, within the table or to the next one? */
static bool stretch_unmoved(struct index *index, const struct stretch *stretch)
{
	uint64_t home;
	uint32_t changed = 0;

	for (home = stretch->first; home <= stretch->last; home++)
		changed |= stretch->versions[home - stretch->first] ^
			   atomic_load_explicit(&index->versions[home % INDEX_STRIPES],
						memory_order_relaxed);
	return !changed && index_table_of(index, (uint32_t)stretch->from) == stretch->table;
}

/* All of a bucket. Out: how many. */
static inline size_t copy_all(const struct index_bucket *bucket, uint64_t *addresses)
{
	size_t count = 0;
	unsigned i;

	for (i = 0; i < INDEX_SLOTS; i++) {
		addresses[count] = atomic_load_explicit(&bucket->slots[i], memory_order_acquire) &
				   INDEX_ADDRESS_MASK;
		count += addresses[count] != 0;
	}
	return count;
}

/* Copies the bucket's entries that belong to the stretch. */
static size_t copy_own(const struct stretch *stretch, uint64_t bucket, uint64_t *addresses)
{
	uint64_t low = index_bucket_low(stretch->table, bucket);
	size_t count = 0;
	unsigned i;

	for (i = 0; i < INDEX_SLOTS; i++) {
		uint64_t entry = atomic_load_explicit(&stretch->table->buckets[bucket].slots[i],
						      memory_order_acquire);
		uint32_t fingerprint = index_fingerprint_from(low, entry);

		addresses[count] = entry & INDEX_ADDRESS_MASK;
		count += addresses[count] && fingerprint >= stretch->from &&
			 fingerprint < stretch->to;
	}
	return count;
}

/*
 * Behind a gap in the stretch, and before its last home, a bucket holds entries of the stretch
 * alone: what spilled from before it would stand in the gap.
 */
static size_t stretch_copy(const struct stretch *stretch, uint64_t *addresses)
{
	const struct index_table *table = stretch->table;
	uint64_t bucket = stretch->first, end = stretch->last + INDEX_REACH;
	bool full = true, gap = false;
	size_t count = 0;
	unsigned empty;

	for (; bucket <= end && (full || bucket <= stretch->last); bucket++) {
		empty = index_bucket_empty(&table->buckets[bucket]);
		full = !empty;
		/*
		 * In a table that is much larger than what is in it most are bare, and all that a
		 * pass is about.
		 */
		if (empty == (1u << INDEX_SLOTS) - 1)
			;
		else if (gap && bucket < stretch->last)
			count += copy_all(&table->buckets[bucket], addresses + count);
		else
			count += copy_own(stretch, bucket, addresses + count);
		gap |= !full;
	}
	return count;
}

size_t index_stretch(struct index *index, uint64_t *place, uint64_t addresses[INDEX_STRETCH_MAX])
{
	struct stretch stretch;
	size_t count;

	do {
		stretch_begin(index, *place, &stretch);
		if (!stretch_versions(index, &stretch))
			continue;
		count = stretch_copy(&stretch, addresses);
		/*
		 * The slots were loaded with acquire: whoever saw a move's effect sees its version.
		 */
		if (stretch_unmoved(index, &stretch))
			break;
	} while (1);
	*place = stretch.to;
	return count;
}

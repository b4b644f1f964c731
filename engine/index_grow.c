/* SPDX-License-Identifier: MIT */
/* index_grow.c - from a table to a larger one, a few buckets with each insert; the writer's. */
#include "index_table.h"

#include <errno.h>

/* To 1.2 times as many buckets: 10 to 12 bytes an entry. */
#define GROWTH_NUM 6
#define GROWTH_DEN 5
/*
 * A table up to this size is doubled instead, as its memory does not count: half of all puts' work
 * would be moving entries.
 */
#ifndef DOUBLE_BELOW /* tests/crash/small.h */
#define DOUBLE_BELOW ((uint64_t)8 << 20)
#endif
/* Old buckets that move with each insert: a growth is over long before the next one is due. */
#define MOVE_PER_INSERT 4
/* Doublings of a crowded table in one go: one is enough, but for one in a million. */
#define DOUBLINGS_MAX 4u

static void retire(struct index *index, struct index_table *table)
{
	index_save_lose(table);
	table->retired_next = atomic_load_explicit(&index->retired, memory_order_relaxed);
	while (!atomic_compare_exchange_weak(&index->retired, &table->retired_next, table))
		;
}

/* Copies a bucket's entries with homes in [from, to) to another table. False: no place there. */
static bool copy_bucket(struct index_table *table, uint64_t bucket, uint64_t from, uint64_t to,
			struct index_table *target, bool *full)
{
	uint64_t low = index_bucket_low(table, bucket);
	unsigned i;

	*full = true;
	for (i = 0; i < INDEX_SLOTS; i++) {
		uint64_t entry = atomic_load_explicit(&table->buckets[bucket].slots[i],
						      memory_order_relaxed);
		uint32_t fingerprint;
		uint64_t home;

		if (!entry) {
			*full = false;
			continue;
		}
		fingerprint = index_fingerprint_from(low, entry);
		home = index_home(table, fingerprint);
		if (home < from || home >= to)
			continue;
		if (!index_enter_first(target, fingerprint, entry & INDEX_ADDRESS_MASK))
			return false;
	}
	return true;
}

/* Copies the entries with homes in [from, to). */
static bool copy_homes(struct index_table *table, uint64_t from, uint64_t to,
		       struct index_table *target)
{
	uint64_t bucket;
	bool full;

	for (bucket = from; bucket < to + INDEX_REACH; bucket++) {
		if (!copy_bucket(table, bucket, from, to, target, &full))
			return false;
		/* No entry stands behind a gap that its home is before. */
		if (!full && bucket >= to)
			break;
	}
	return true;
}

/*
 * Puts everything into one new table at once. For the case, rare to the point of never under a
 * secret hash, that an entry's whole reach is full.
 */
int index_rebuild(struct index *index)
{
	struct index_table *old = atomic_load_explicit(&index->table, memory_order_relaxed);
	struct index_table *next = atomic_load_explicit(&old->next, memory_order_relaxed);
	uint64_t moved = atomic_load_explicit(&old->moved, memory_order_relaxed);
	uint64_t count = (next ? next : old)->count;
	unsigned doublings = DOUBLINGS_MAX;
	struct index_table *table;

	index_load_table(old);
	do {
		count *= 2;
		/*
		 * Entries that crowd however far they are spread have equal hashes: a checkpoint
		 * that lies.
		 */
		if (!doublings-- || count >> 31 || !(table = index_table_new(count)))
			return -ENOMEM;
		if (copy_homes(old, moved, old->count, table) &&
		    (!next || copy_homes(next, 0, next->count, table)))
			break;
		index_table_free(table);
	} while (1);

	atomic_store_explicit(&index->table, table, memory_order_release);
	index_set_hint(index, table);
	retire(index, old);
	if (next)
		retire(index, next);
	atomic_fetch_add_explicit(&index->memory, table->map_size, memory_order_relaxed);
	return 0;
}

/*
 * Moves the next `buckets` of a growth under way. What moved stays in the old table, dead: a reader
 * on its way there still finds it, nobody else looks, and the growth is over before the old table
 * fills up.
 */
static int move_some(struct index *index, uint64_t buckets)
{
	struct index_table *table = atomic_load_explicit(&index->table, memory_order_relaxed);
	struct index_table *next = atomic_load_explicit(&table->next, memory_order_relaxed);
	uint64_t from = atomic_load_explicit(&table->moved, memory_order_relaxed);
	uint64_t to = buckets < table->count - from ? from + buckets : table->count;

	if (!copy_homes(table, from, to, next))
		return index_rebuild(index);
	atomic_store_explicit(&table->moved, to, memory_order_release);
	if (to == table->count) {
		atomic_store_explicit(&index->table, next, memory_order_release);
		retire(index, table);
	}
	return 0;
}

bool index_settle(struct index *index, uint64_t buckets)
{
	struct index_table *table = atomic_load(&index->table);

	if (atomic_load(&index->failed) || atomic_load(&table->source))
		return false;
	if (atomic_load(&table->next) && move_some(index, buckets))
		return false;
	table = atomic_load(&index->table);
	return !atomic_load(&table->next);
}

static int start_growth(struct index *index, struct index_table *table, uint64_t entries)
{
	bool small = table->count * sizeof(struct index_bucket) < DOUBLE_BELOW;
	uint64_t count = small ? table->count * 2 : table->count * GROWTH_NUM / GROWTH_DEN;
	uint64_t needed = (entries / INDEX_SLOTS + 1) * INDEX_FILL_DEN / INDEX_FILL_NUM *
			  GROWTH_NUM / GROWTH_DEN;
	struct index_table *next;

	index_save_lose(table);
	index_load_table(table);
	if (count < needed)
		count = needed;
	next = count >> 31 ? NULL : index_table_new(count);
	if (!next)
		return -ENOMEM;
	atomic_fetch_add_explicit(&index->memory, next->map_size, memory_order_relaxed);
	atomic_store_explicit(&table->next, next, memory_order_release);
	index_set_hint(index, next);
	return 0;
}

int index_reserve(struct index *index, uint64_t count)
{
	uint64_t entries = atomic_load_explicit(&index->entries, memory_order_relaxed) + count;
	int error;

	for (;;) {
		struct index_table *table =
			atomic_load_explicit(&index->table, memory_order_relaxed);
		bool growing = atomic_load_explicit(&table->next, memory_order_relaxed) != NULL;

		if (!growing && !index_is_over(table, entries, INDEX_FILL_NUM, INDEX_FILL_DEN))
			return 0;
		/*
		 * Growing needs all of it: not while it is still being loaded, or saved, if it need
		 * not be.
		 */
		if ((table->saving ||
		     atomic_load_explicit(&table->source, memory_order_relaxed)) &&
		    !index_is_over(table, entries, 9, 10))
			return 0;
		if (!growing) {
			error = start_growth(index, table, entries);
			if (error)
				return error;
		}
		/* Too many for the old table to take its share: all of it now. */
		if (!index_is_over(table, entries, 9, 10))
			return move_some(index, count * MOVE_PER_INSERT);
		error = move_some(index, table->count);
		if (error)
			return error;
	}
}

/* SPDX-License-Identifier: MIT */
/* index.c - tables, inserting and removing: the writer's side of index.h, but for growth. */
#include "index_table.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#define PAGE_SIZE ((size_t)4096)
#define HUGE_PAGE_SIZE ((size_t)2 << 20)

/*
 * Where huge pages can be, if it is as large as one: a growth touches all of it, and a small page
 * takes as long as a dozen puts.
 */
static void *buckets_map(size_t size)
{
	size_t whole = (size + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1), before;
	size_t room = size < HUGE_PAGE_SIZE ? whole : whole + HUGE_PAGE_SIZE;
	char *map = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (map == MAP_FAILED)
		return NULL;
	if (room > whole) {
		before = -(uintptr_t)map & (HUGE_PAGE_SIZE - 1);
		if (before)
			munmap(map, before);
		map += before;
		munmap(map + whole, room - before - whole);
	}
	madvise(map, size, MADV_HUGEPAGE);
	return map;
}

struct index_table *index_table_new(uint64_t count)
{
	struct index_table *table = calloc(1, sizeof(*table));
	size_t size = (count + INDEX_REACH) * sizeof(struct index_bucket);
	void *map;

	if (!table)
		return NULL;
	map = buckets_map(size);
	if (!map) {
		free(table);
		return NULL;
	}
	table->buckets = map;
	table->count = count;
	table->map_size = size;
	return table;
}

void index_table_free(struct index_table *table)
{
	if (!table)
		return;
	munmap(table->buckets, table->map_size);
	index_source_free(table->owned);
	free(table);
}

void index_set_hint(struct index *index, struct index_table *table)
{
	atomic_store_explicit(&index->hint_buckets, table->buckets, memory_order_relaxed);
	atomic_store_explicit(&index->hint_count, table->count, memory_order_relaxed);
}

static void init_with(struct index *index, struct index_table *table)
{
	unsigned i;

	for (i = 0; i < INDEX_STRIPES; i++)
		atomic_init(&index->versions[i], 0);
	atomic_init(&index->entries, 0);
	atomic_init(&index->memory, table->map_size);
	atomic_init(&index->retired, NULL);
	atomic_init(&index->failed, false);
	atomic_init(&index->table, table);
	index_set_hint(index, table);
}

int index_init(struct index *index)
{
	struct index_table *table = index_table_new(INDEX_COUNT_MIN);

	if (!table)
		return -ENOMEM;
	init_with(index, table);
	return 0;
}

int index_load(struct index *index, uint64_t buckets, uint64_t entries, uint64_t size,
	       index_read_fn *read, void *arg)
{
	struct index_table *table;

	if (buckets < INDEX_COUNT_MIN || buckets >> 31 || entries > buckets * INDEX_SLOTS ||
	    size != (buckets + INDEX_REACH) * sizeof(struct index_bucket))
		return -EINVAL;
	table = index_table_new(buckets);
	if (!table)
		return -ENOMEM;
	table->owned = index_source_new(index, table, read, arg);
	if (!table->owned) {
		index_table_free(table);
		return -ENOMEM;
	}
	atomic_init(&table->source, table->owned);
	init_with(index, table);
	atomic_init(&index->entries, entries);
	return 0;
}

void index_fini(struct index *index)
{
	struct index_table *table = atomic_load(&index->table);

	if (!table)
		return;
	index_table_free(atomic_load(&table->next));
	index_table_free(table);
	index_free_retired(index, index_take_retired(index));
	atomic_store(&index->table, NULL);
}

void index_touch(struct index *index)
{
	struct index_table *table = atomic_load(&index->table);

	if (!atomic_load(&index->entries))
		madvise(table->buckets, table->map_size, MADV_POPULATE_WRITE);
}

struct index_table *index_take_retired(struct index *index)
{
	return atomic_exchange(&index->retired, NULL);
}

void index_free_retired(struct index *index, struct index_table *tables)
{
	while (tables) {
		struct index_table *next = tables->retired_next;

		atomic_fetch_sub_explicit(&index->memory, tables->map_size, memory_order_relaxed);
		index_table_free(tables);
		tables = next;
	}
}

/* There is one writer: no locked instruction needed. */
static void count_entries(struct index *index, uint64_t n)
{
	atomic_store_explicit(&index->entries,
			      atomic_load_explicit(&index->entries, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

int index_insert_at(struct index *index, const struct index_place *place, uint64_t hash,
		    uint64_t address)
{
	assert(address && address <= INDEX_ADDRESS_MASK);
	if (!place->slot)
		return index_insert(index, hash, address);
	assert(!atomic_load_explicit(place->slot, memory_order_relaxed));
	index_enter(place->table, place->home, place->bucket, place->slot, index_fingerprint(hash),
		    address);
	count_entries(index, 1);
	return 0;
}

int index_insert(struct index *index, uint64_t hash, uint64_t address)
{
	uint32_t fingerprint = index_fingerprint(hash);
	struct index_table *table;
	int error;

	assert(address && address <= INDEX_ADDRESS_MASK);
	for (;;) {
		table = index_table_of(index, fingerprint);
		index_need(table, index_home(table, fingerprint));
		if (index_enter_first(table, fingerprint, address))
			break;
		error = index_rebuild(index);
		if (error)
			return error;
	}
	count_entries(index, 1);
	return 0;
}

void index_replace(struct index_place *place, uint64_t address)
{
	uint64_t entry = atomic_load_explicit(place->slot, memory_order_relaxed);

	index_store(place->table, place->slot, (entry & ~INDEX_ADDRESS_MASK) | address);
}

/* ---- removal ---------------------------------------------------------------------------------
 *
 * A gap must not hide what had spilled past it. So the slot is filled, by the nearest entry that
 * has spilled past it, whose own is filled likewise, until there is none; only the last one becomes
 * a gap. On the way no slot is ever empty: a reader on his way to an entry behind does not stop
 * there.
 */

/* In a slot whose entry has just been pulled back: no look-up's, and no gap. */
#define GONE ((uint64_t)1 << INDEX_ADDRESS_BITS)

static bool bucket_full(const struct index_bucket *bucket)
{
	unsigned i;

	for (i = 0; i < INDEX_SLOTS; i++) {
		if (!atomic_load_explicit(&bucket->slots[i], memory_order_relaxed))
			return false;
	}
	return true;
}

/* The first entry of a bucket that could stand in an earlier one. */
static bool spilled_into(struct index_table *table, uint64_t bucket, uint64_t earlier,
			 struct index_place *found)
{
	uint64_t low = index_bucket_low(table, bucket);
	unsigned i;

	for (i = 0; i < INDEX_SLOTS; i++) {
		_Atomic uint64_t *slot = &table->buckets[bucket].slots[i];
		uint64_t entry = atomic_load_explicit(slot, memory_order_relaxed);
		uint64_t home = index_home(table, index_fingerprint_from(low, entry));

		if (!(entry & INDEX_ADDRESS_MASK) || home > earlier)
			continue;
		*found = (struct index_place){slot, table, bucket, home};
		return true;
	}
	return false;
}

/* The nearest entry that could stand in the bucket but has spilled past it. */
static bool spilled_past(struct index_table *table, uint64_t bucket, struct index_place *found)
{
	uint64_t behind = bucket, last = bucket + INDEX_REACH;

	if (last > table->count + INDEX_REACH - 1)
		last = table->count + INDEX_REACH - 1;
	while (bucket_full(&table->buckets[behind]) && behind++ < last) {
		index_need(table, behind);
		if (spilled_into(table, behind, bucket, found))
			return true;
	}
	return false;
}

/* The spill bits that entries in this bucket need of that home. */
static unsigned spills_in(const struct index_table *table, uint64_t bucket, uint64_t home)
{
	uint64_t low = index_bucket_low(table, bucket);
	unsigned spills = 0, i;

	for (i = 0; i < INDEX_SLOTS; i++) {
		uint64_t entry = atomic_load_explicit(&table->buckets[bucket].slots[i],
						      memory_order_relaxed);
		uint32_t fingerprint = index_fingerprint_from(low, entry);

		if (entry & INDEX_ADDRESS_MASK && index_home(table, fingerprint) == home)
			spills |= 1u << index_spill_slot(fingerprint);
	}
	return spills;
}

/*
 * Something of this home has ceased to stand behind it: takes back the spill bits that nothing
 * needs any more.
 */
static void update_spills(struct index_table *table, uint64_t bucket)
{
	uint64_t behind = bucket;
	unsigned spills = 0, i;

	while (bucket_full(&table->buckets[behind]) && behind++ < bucket + INDEX_REACH) {
		index_need(table, behind);
		spills |= spills_in(table, behind, bucket);
	}
	for (i = 0; i < INDEX_SLOTS; i++) {
		_Atomic uint64_t *slot = &table->buckets[bucket].slots[i];
		uint64_t entry = atomic_load_explicit(slot, memory_order_relaxed);

		if (entry & INDEX_SPILL && !(spills >> i & 1))
			index_store(table, slot, entry & ~INDEX_SPILL);
	}
}

/* The spill bit is not the entry's: it stays where it is. */
static void overwrite(const struct index_place *place, uint64_t entry)
{
	uint64_t there = atomic_load_explicit(place->slot, memory_order_relaxed);

	index_store(place->table, place->slot, (there & INDEX_SPILL) | (entry & ~INDEX_SPILL));
}

/* Moves an entry nearer to its home; readers who miss it meanwhile, or see it twice, look again. */
static void pull_back(struct index *index, const struct index_place *from,
		      const struct index_place *to)
{
	_Atomic uint32_t *version = &index->versions[from->home % INDEX_STRIPES];

	atomic_fetch_add_explicit(version, 1, memory_order_acq_rel);
	overwrite(to, atomic_load_explicit(from->slot, memory_order_relaxed));
	overwrite(from, GONE);
	if (to->bucket == from->home)
		update_spills(to->table, to->bucket);
	atomic_fetch_add_explicit(version, 1, memory_order_acq_rel);
}

void index_remove(struct index *index, struct index_place *place)
{
	struct index_table *table = place->table;
	struct index_place hole = *place, from;

	for (; spilled_past(table, hole.bucket, &from); hole = from)
		pull_back(index, &from, &hole);
	/*
	 * Nothing stands behind this bucket that could stand in it: it needs no spill bit either.
	 */
	index_store(table, hole.slot, 0);
	if (place->bucket != place->home)
		update_spills(table, place->home);
	count_entries(index, (uint64_t)-1);
}

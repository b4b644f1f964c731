/* SPDX-License-Identifier: MIT */
/* index.c - tables, inserting and removing: the writer's side of index.h, but for growth. */
#include "index_table.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

struct index_table *index_table_new(uint64_t count)
{
	struct index_table *table = calloc(1, sizeof(*table));
	size_t size = (count + INDEX_REACH) * sizeof(struct index_bucket);
	void *map;

	if (!table)
		return NULL;
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED) {
		free(table);
		return NULL;
	}
	madvise(map, size, MADV_HUGEPAGE);
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

/* Every store in a slot that a look-up may find. */
static inline __attribute__((always_inline)) void
store_slot(struct index_table *table, _Atomic uint64_t *slot, uint64_t entry)
{
	atomic_store_explicit(slot, entry, memory_order_release);
	if (__builtin_expect(table->saving != NULL, 0))
		index_save_note(table->saving, slot, entry);
}

static void fill_slot(struct index *index, struct index_table *table, _Atomic uint64_t *slot,
		      uint64_t hash, uint64_t address)
{
	uint64_t tag = (uint64_t)index_fingerprint(hash) << INDEX_ADDRESS_BITS;

	assert(address && address <= INDEX_ADDRESS_MASK);
	assert(!atomic_load_explicit(slot, memory_order_relaxed));
	store_slot(table, slot, tag | address);
	count_entries(index, 1);
}

int index_insert_at(struct index *index, const struct index_place *place, uint64_t hash,
		    uint64_t address)
{
	if (!place->slot)
		return index_insert(index, hash, address);
	fill_slot(index, place->table, place->slot, hash, address);
	return 0;
}

int index_insert(struct index *index, uint64_t hash, uint64_t address)
{
	uint32_t fingerprint = index_fingerprint(hash);
	_Atomic uint64_t *slot;
	struct index_table *table;
	int error;

	for (;;) {
		table = index_table_of(index, fingerprint);

		index_need(table, index_home(table, fingerprint));
		slot = index_empty_slot(table, index_home(table, fingerprint));
		if (slot)
			break;
		error = index_rebuild(index);
		if (error)
			return error;
	}
	fill_slot(index, table, slot, hash, address);
	return 0;
}

void index_replace(struct index_place *place, uint64_t address)
{
	uint64_t entry = atomic_load_explicit(place->slot, memory_order_relaxed);

	store_slot(place->table, place->slot, (entry & ~INDEX_ADDRESS_MASK) | address);
}

/* An entry in `bucket` whose home is at or before `hole`, or NULL. */
static _Atomic uint64_t *spilled_past(struct index_table *table, uint64_t bucket, uint64_t hole,
				      bool *full)
{
	uint64_t low = index_bucket_low(table, bucket);
	_Atomic uint64_t *found = NULL;
	unsigned i;

	*full = true;
	for (i = 0; i < INDEX_SLOTS; i++) {
		_Atomic uint64_t *slot = &table->buckets[bucket].slots[i];
		uint64_t entry = atomic_load_explicit(slot, memory_order_relaxed);

		if (!entry)
			*full = false;
		else if (!found &&
			 index_home(table, index_fingerprint_from(low, entry)) <= hole)
			found = slot;
	}
	return found;
}

static bool bucket_full(const struct index_bucket *bucket)
{
	unsigned i;

	for (i = 0; i < INDEX_SLOTS; i++) {
		if (!atomic_load_explicit(&bucket->slots[i], memory_order_relaxed))
			return false;
	}
	return true;
}

/* Moves an entry nearer to its home; readers who miss it meanwhile look again. */
static void pull_back(struct index *index, struct index_table *table, uint64_t bucket,
		      _Atomic uint64_t *from, _Atomic uint64_t *to)
{
	uint64_t entry = atomic_load_explicit(from, memory_order_relaxed);
	uint64_t home = index_home(table, index_fingerprint_at(table, bucket, entry));
	_Atomic uint32_t *version = &index->versions[home % INDEX_STRIPES];

	atomic_fetch_add_explicit(version, 1, memory_order_acq_rel);
	store_slot(table, to, entry);
	store_slot(table, from, 0);
	atomic_fetch_add_explicit(version, 1, memory_order_acq_rel);
}

/*
 * Empties a slot, and fills the gap with an entry that had spilled past it, as long as there is one: the invariant that a
 * look-up may stop at a gap.
 */
void index_remove(struct index *index, struct index_place *place)
{
	struct index_table *table = place->table;
	_Atomic uint64_t *hole = place->slot;
	uint64_t hole_bucket = place->bucket, bucket;
	bool full = bucket_full(&table->buckets[hole_bucket]);

	store_slot(table, hole, 0);
	count_entries(index, (uint64_t)-1);
	for (bucket = hole_bucket + 1; full && bucket <= hole_bucket + INDEX_REACH &&
				       bucket < table->count + INDEX_REACH;
	     bucket++) {
		_Atomic uint64_t *from;

		index_need(table, bucket);
		from = spilled_past(table, bucket, hole_bucket, &full);
		if (!from)
			continue;
		pull_back(index, table, bucket, from, hole);
		hole = from;
		hole_bucket = bucket;
	}
}

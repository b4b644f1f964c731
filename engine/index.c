/* SPDX-License-Identifier: MIT */
/* index.c - inserting, removing and growing: the writer's side of index.h. */
#include "index.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

/*
 * The fewest buckets for which place and tag give back the fingerprint: the 2^32 fingerprints, over the buckets, times
 * the window of homes that a place leaves open, must not exceed a tag's 2^24.
 */
#define COUNT_MIN ((uint64_t)(INDEX_REACH + 1) << 8)
/* Growth starts when more than FILL_MAX of the slots are taken, to 1.2 times as many: 10 to 12 bytes an entry. */
#define FILL_NUM 4
#define FILL_DEN 5
#define GROWTH_NUM 6
#define GROWTH_DEN 5
/* A table up to this size is doubled instead, as its memory does not count: half of all puts' work would be moving entries. */
#define DOUBLE_BELOW ((uint64_t)8 << 20)
/* Old buckets that move with each insert: a growth is over long before the next one is due. */
#define MOVE_PER_INSERT 4
/* Of a crowded table at once: one is enough, but for one in a million. */
#define DOUBLINGS_MAX 4u

static struct index_table *table_new(uint64_t count)
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

static void table_free(struct index_table *table)
{
	if (!table)
		return;
	munmap(table->buckets, table->map_size);
	index_source_free(table->owned);
	free(table);
}

static void set_hint(struct index *index, struct index_table *table)
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
	set_hint(index, table);
}

int index_init(struct index *index)
{
	struct index_table *table = table_new(COUNT_MIN);

	if (!table)
		return -ENOMEM;
	init_with(index, table);
	return 0;
}

int index_load(struct index *index, uint64_t buckets, uint64_t entries, uint64_t size,
	       index_read_fn *read, void *arg)
{
	struct index_table *table;

	if (buckets < COUNT_MIN || buckets >> 31 || entries > buckets * INDEX_SLOTS ||
	    size != (buckets + INDEX_REACH) * sizeof(struct index_bucket))
		return -EINVAL;
	table = table_new(buckets);
	if (!table)
		return -ENOMEM;
	table->owned = index_source_new(index, table, read, arg);
	if (!table->owned) {
		table_free(table);
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
	table_free(atomic_load(&table->next));
	table_free(table);
	index_free_retired(index, index_take_retired(index));
	atomic_store(&index->table, NULL);
}

/* The least fingerprint that an entry in this bucket can have. */
static uint64_t bucket_low(const struct index_table *table, uint64_t bucket)
{
	uint64_t first = bucket > INDEX_REACH ? bucket - INDEX_REACH : 0;

	return ((first << 32) + table->count - 1) / table->count;
}

/* The fingerprint of an entry in a bucket with this low end: the one in its window that has the tag. */
static uint32_t fingerprint_from(uint64_t low, uint64_t entry)
{
	uint64_t tag = entry >> INDEX_ADDRESS_BITS;

	return (uint32_t)(low + ((tag - low) & 0xffffff));
}

static uint32_t fingerprint_at(const struct index_table *table, uint64_t bucket, uint64_t entry)
{
	return fingerprint_from(bucket_low(table, bucket), entry);
}

/* There is one writer: no locked instruction needed. */
static void count_entries(struct index *index, uint64_t n)
{
	atomic_store_explicit(&index->entries,
			      atomic_load_explicit(&index->entries, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

/* The first empty slot from the home on, or NULL if the reach is full. */
static _Atomic uint64_t *empty_slot(struct index_table *table, uint64_t home)
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

/* Every store in a slot that a look-up may find. */
static inline __attribute__((always_inline)) void
store_slot(struct index_table *table, _Atomic uint64_t *slot, uint64_t entry)
{
	atomic_store_explicit(slot, entry, memory_order_release);
	if (__builtin_expect(table->saving != NULL, 0))
		index_save_note(table->saving, slot, entry);
}

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
	uint64_t low = bucket_low(table, bucket);
	unsigned i;

	*full = true;
	for (i = 0; i < INDEX_SLOTS; i++) {
		uint64_t entry = atomic_load_explicit(&table->buckets[bucket].slots[i],
						      memory_order_relaxed);
		_Atomic uint64_t *slot;
		uint32_t fingerprint;
		uint64_t home;

		if (!entry) {
			*full = false;
			continue;
		}
		fingerprint = fingerprint_from(low, entry);
		home = index_home(table, fingerprint);
		if (home < from || home >= to)
			continue;
		slot = empty_slot(target, index_home(target, fingerprint));
		if (!slot)
			return false;
		atomic_store_explicit(slot, entry, memory_order_release);
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
 * Puts everything into one new table at once. For the case, rare to the point of never under a secret hash, that an
 * entry's whole reach is full.
 */
static int rebuild(struct index *index)
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
		/* Entries that crowd however far they are spread have equal hashes: a checkpoint that lies. */
		if (!doublings-- || count >> 31 || !(table = table_new(count)))
			return -ENOMEM;
		if (copy_homes(old, moved, old->count, table) &&
		    (!next || copy_homes(next, 0, next->count, table)))
			break;
		table_free(table);
	} while (1);

	atomic_store_explicit(&index->table, table, memory_order_release);
	set_hint(index, table);
	retire(index, old);
	if (next)
		retire(index, next);
	atomic_fetch_add_explicit(&index->memory, table->map_size, memory_order_relaxed);
	return 0;
}

/*
 * Moves the next `buckets` of a growth under way. What moved stays in the old table, dead: a reader on its way there still
 * finds it, nobody else looks, and the growth is over before the old table fills up.
 */
static int move_some(struct index *index, uint64_t buckets)
{
	struct index_table *table = atomic_load_explicit(&index->table, memory_order_relaxed);
	struct index_table *next = atomic_load_explicit(&table->next, memory_order_relaxed);
	uint64_t from = atomic_load_explicit(&table->moved, memory_order_relaxed);
	uint64_t to = buckets < table->count - from ? from + buckets : table->count;

	if (!copy_homes(table, from, to, next))
		return rebuild(index);
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
	uint64_t needed = (entries / INDEX_SLOTS + 1) * FILL_DEN / FILL_NUM * GROWTH_NUM / GROWTH_DEN;
	struct index_table *next;

	index_save_lose(table);
	index_load_table(table);
	if (count < needed)
		count = needed;
	next = count >> 31 ? NULL : table_new(count);
	if (!next)
		return -ENOMEM;
	atomic_fetch_add_explicit(&index->memory, next->map_size, memory_order_relaxed);
	atomic_store_explicit(&table->next, next, memory_order_release);
	set_hint(index, next);
	return 0;
}

static bool over(const struct index_table *table, uint64_t entries, unsigned num, unsigned den)
{
	return entries * den > table->count * INDEX_SLOTS * num;
}

int index_reserve(struct index *index, uint64_t count)
{
	uint64_t entries = atomic_load_explicit(&index->entries, memory_order_relaxed) + count;
	int error;

	for (;;) {
		struct index_table *table =
			atomic_load_explicit(&index->table, memory_order_relaxed);
		bool growing = atomic_load_explicit(&table->next, memory_order_relaxed) != NULL;

		if (!growing && !over(table, entries, FILL_NUM, FILL_DEN))
			return 0;
		/* Growing needs all of it: not while it is still being loaded, or saved, if it need not be. */
		if ((table->saving ||
		     atomic_load_explicit(&table->source, memory_order_relaxed)) &&
		    !over(table, entries, 9, 10))
			return 0;
		if (!growing) {
			error = start_growth(index, table, entries);
			if (error)
				return error;
		}
		/* Too many for the old table to take its share: all of it now. */
		if (!over(table, entries, 9, 10))
			return move_some(index, count * MOVE_PER_INSERT);
		error = move_some(index, table->count);
		if (error)
			return error;
	}
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
		slot = empty_slot(table, index_home(table, fingerprint));
		if (slot)
			break;
		error = rebuild(index);
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
	uint64_t low = bucket_low(table, bucket);
	_Atomic uint64_t *found = NULL;
	unsigned i;

	*full = true;
	for (i = 0; i < INDEX_SLOTS; i++) {
		_Atomic uint64_t *slot = &table->buckets[bucket].slots[i];
		uint64_t entry = atomic_load_explicit(slot, memory_order_relaxed);

		if (!entry)
			*full = false;
		else if (!found &&
			 index_home(table, fingerprint_from(low, entry)) <= hole)
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
	uint64_t home = index_home(table, fingerprint_at(table, bucket, entry));
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

struct index_table *index_take_retired(struct index *index)
{
	return atomic_exchange(&index->retired, NULL);
}

void index_free_retired(struct index *index, struct index_table *tables)
{
	while (tables) {
		struct index_table *next = tables->retired_next;

		atomic_fetch_sub_explicit(&index->memory, tables->map_size, memory_order_relaxed);
		table_free(tables);
		tables = next;
	}
}

static int each_of_table(struct index_table *table, uint64_t first_home,
			 int (*each)(void *arg, uint64_t address), void *arg)
{
	uint64_t bucket;
	unsigned i;
	int stop;

	for (bucket = first_home; bucket < table->count + INDEX_REACH; bucket++) {
		for (i = 0; i < INDEX_SLOTS; i++) {
			uint64_t entry = atomic_load_explicit(&table->buckets[bucket].slots[i],
							      memory_order_relaxed);

			if (!entry || index_home(table, fingerprint_at(table, bucket, entry)) <
					      first_home)
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

/* ---- passes ---------------------------------------------------------------------------------- */

struct stretch {
	struct index_table *table;
	uint64_t from, to;	   /* fingerprints */
	uint64_t first, last;	   /* homes of these, both included */
	uint32_t versions[INDEX_STRETCH_HOMES];
};

/* The least fingerprint whose home is this one. */
static uint64_t home_low(const struct index_table *table, uint64_t home)
{
	return ((home << 32) + table->count - 1) / table->count;
}

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
	stretch->to = home_low(stretch->table, stretch->first + INDEX_STRETCH_HOMES);
	/* What has not moved yet is not in the new table. */
	limit = in_next ? home_low(old, moved) : INDEX_PLACE_END;
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

/* Nothing in it? In a table that is much larger than what is in it most are, and all that a pass is about. */
static bool is_bare(const struct index_bucket *bucket)
{
	uint64_t any = 0;
	unsigned i;

	for (i = 0; i < INDEX_SLOTS; i++)
		any |= atomic_load_explicit(&bucket->slots[i], memory_order_acquire);
	return !any;
}

static size_t stretch_copy(const struct stretch *stretch, uint64_t *addresses)
{
	const struct index_table *table = stretch->table;
	uint64_t bucket = stretch->first, end = stretch->last + INDEX_REACH;
	size_t count = 0;
	bool full = true;
	unsigned i;

	for (; bucket <= end && (full || bucket <= stretch->last); bucket++) {
		uint64_t low;

		full = !is_bare(&table->buckets[bucket]);
		if (!full)
			continue;
		low = bucket_low(table, bucket);
		for (i = 0; i < INDEX_SLOTS; i++) {
			uint64_t entry = atomic_load_explicit(&table->buckets[bucket].slots[i],
							      memory_order_acquire);
			uint32_t fingerprint = fingerprint_from(low, entry);

			full = full && entry;
			addresses[count] = entry & INDEX_ADDRESS_MASK;
			count += entry && fingerprint >= stretch->from && fingerprint < stretch->to;
		}
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
		/* The slots were loaded with acquire: whoever saw a move's effect sees its version. */
		if (stretch_unmoved(index, &stretch))
			break;
	} while (1);
	*place = stretch.to;
	return count;
}

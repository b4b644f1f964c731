/* SPDX-License-Identifier: MIT */
/*
 * index.h - the hash index: a key's 64-bit hash -> the log address of its newest record.
 *
 * A table of cache-line buckets of eight 8-byte slots; 0 is an empty one.
 *
 *     63      62         40 39           0
 *     +-------+------------+-------------+
 *     | spill | tag        | address     |   spill is the bucket's, not the entry's
 *
 * Entries are placed in the order of their hash's top 31 bits, the fingerprint: home bucket =
 * fingerprint * buckets / 2^31, spilling into the next buckets when that one is full. The tag is
 * the fingerprint's low 23 bits; its high bits follow from where the slot stands, so a table grows
 * without looking at a key, in one streaming pass from the old table to a larger one, a few buckets
 * with each insert. Until an old bucket has moved, its entries are found in the old table.
 *
 * The spill bits of a bucket's slots are a filter of what has spilled out of it: slot i has it
 * while an entry whose home this is, and whose fingerprint ends in i, stands in a bucket behind.
 *
 * Invariants
 *   An entry with home h stands in bucket p, h <= p <= h + INDEX_REACH, and buckets h..p-1 are
 *   full.
 *   If p > h, h has its spill bit. With all changes done, h has no others; a bucket that is not
 *   full has none.
 *   So a look-up ends at the first bucket with an empty slot, nearly always at the first of all.
 *
 * Threads: one writer at a time (the commit lock), any number of readers inside an epoch, without
 * locks. A reader that found nothing looks again if the writer moved an entry of this home or the
 * table's boundary meanwhile.
 */
#ifndef INDEX_H
#define INDEX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define INDEX_SLOTS 8u	 /* per bucket: one cache line */
#ifndef INDEX_REACH /* tests/crash/small.h */
#define INDEX_REACH 63u	 /* buckets an entry may stand behind its home */
#endif
#define INDEX_STRIPES 256u
/* Growth starts when more than INDEX_FILL_NUM / INDEX_FILL_DEN of the slots are taken. */
#define INDEX_FILL_NUM 4
#define INDEX_FILL_DEN 5
#define INDEX_ADDRESS_BITS 40u
#define INDEX_ADDRESS_MASK (((uint64_t)1 << INDEX_ADDRESS_BITS) - 1)
#define INDEX_SPILL ((uint64_t)1 << 63)
#define INDEX_TAG_MASK (~INDEX_ADDRESS_MASK & ~INDEX_SPILL)
#ifndef INDEX_FINGERPRINT_BITS /* tests/crash/small.h */
#define INDEX_FINGERPRINT_BITS 31u
#endif
#define INDEX_TAG_BITS (63u - INDEX_ADDRESS_BITS)

struct index_bucket {
	_Atomic uint64_t slots[INDEX_SLOTS];
};

#ifndef INDEX_CHUNK_SIZE /* tests/crash/small.h */
#define INDEX_CHUNK_SIZE 65536u /* bytes of buckets that are loaded together */
#endif
#define INDEX_CHUNK_BUCKETS (INDEX_CHUNK_SIZE / (unsigned)sizeof(struct index_bucket))

/* Where a table's buckets come from that are not in memory yet. index_load.c */
struct index_source;
/* A table that is being saved beside writers. index_save.c */
struct index_saving;

struct index_table {
	struct index_bucket *buckets; /* count + INDEX_REACH of them */
	_Atomic(struct index_source *) source; /* NULL: all are there; pairs as next */
	struct index_saving *saving;	       /* or NULL; the writer's */
	uint64_t count;
	_Atomic(struct index_table *) next; /* growing into; set with release, read with acquire */
	_Atomic uint64_t moved;		    /* homes below are in `next`; pairs as next */
	size_t map_size;		    /* bytes */
	struct index_source *owned;	    /* the source, until the table is freed */
	struct index_table *retired_next;
};

struct index {
	_Atomic(struct index_table *) table;
	/* Odd while an entry of one of the stripe's homes is being moved within a table. */
	_Atomic uint32_t versions[INDEX_STRIPES];
	_Atomic uint64_t entries;
	_Atomic uint64_t memory; /* bytes */
	_Atomic(struct index_table *) retired; /* tables that readers may still look at */
	_Atomic bool failed; /* a part could not be loaded */
	/*
	 * The table that most entries are in, for prefetching alone: the two need not belong
	 * together.
	 */
	_Atomic(struct index_bucket *) hint_buckets;
	_Atomic uint64_t hint_count;
};

/*
 * Where an entry stands, or the gap where it would: the writer's, until its next change of the
 * index.
 */
struct index_place {
	_Atomic uint64_t *slot; /* NULL: there is no gap within reach */
	struct index_table *table;
	uint64_t bucket;
	uint64_t home; /* of the hash */
};

int index_init(struct index *index);
void index_fini(struct index *index);
/*
 * Has the memory of an empty index made ready; otherwise each of the first few hundred inserts
 * would wait for a page.
 */
void index_touch(struct index *index);

/* Makes room for `count` inserts; moves a share of a growth under way. -ENOMEM */
int index_reserve(struct index *index, uint64_t count);
/*
 * Fails, with -ENOMEM, only if 512 reserved entries crowd in one place and there is no memory to
 * spread them.
 */
int index_insert(struct index *index, uint64_t hash, uint64_t address);
/* As index_insert, in the gap that index_find has come upon. */
int index_insert_at(struct index *index, const struct index_place *place, uint64_t hash,
		    uint64_t address);
void index_replace(struct index_place *place, uint64_t address);
void index_remove(struct index *index, struct index_place *place);

/*
 * Frees the tables that were grown out of; the caller has waited for the epoch since it took them.
 */
struct index_table *index_take_retired(struct index *index);
void index_free_retired(struct index *index, struct index_table *tables);

/*
 * Instead of index_init: a table whose chunks are read when they are first needed. read(arg, n,
 * out) gives chunk n, verified, from any thread; size: bytes of all buckets. -EINVAL: no table can
 * have that shape. A chunk that cannot be read is empty, and `failed` is set.
 */
typedef int index_read_fn(void *arg, uint64_t chunk, struct index_bucket *out);
int index_load(struct index *index, uint64_t buckets, uint64_t entries, uint64_t size,
	       index_read_fn *read, void *arg);
/* Loads up to `count` more chunks: true when all are there. Any thread, inside an epoch. */
bool index_load_some(struct index *index, uint64_t count);
struct index_source *index_source_new(struct index *index, struct index_table *table,
				      index_read_fn *read, void *arg);
/* All of a table. */
void index_load_table(struct index_table *table);
/* The buckets that a look-up from this one on may scan. */
void index_load_bucket(struct index_table *table, uint64_t bucket);
void index_source_free(struct index_source *source);

/*
 * Saving the buckets beside writers, a stretch at a time. Slots are numbered from 0, eight to a
 * bucket. A store in a slot that was saved already is noted in `changes` (a struct
 * format_checkpoint_slot): the stretches with the changes are the table as it is when the saving
 * ends. While it lasts a growth is put off as long as possible; one that cannot be ends it:
 * `changes` is lost. The writer's, but for the copying.
 */
struct index_saving {
	struct journal *changes;
	struct index_table *table;
	uint64_t slots; /* in all */
	uint64_t saved; /* of them */
};
/* Goes on with a growth under way, by so many buckets. True: the table could be saved now. */
bool index_settle(struct index *index, uint64_t buckets);
/* -EAGAIN: not settled. */
int index_save_begin(struct index *index, struct index_saving *saving, struct journal *changes);
/*
 * The next `count` slots: from here on what is stored there is noted. They are copied afterwards,
 * without the writer's lock, by whoever keeps retired tables from being freed.
 */
const _Atomic uint64_t *index_save_next(struct index_saving *saving, uint64_t count);
void index_save_copy(const _Atomic uint64_t *slots, uint64_t *out, size_t count);
void index_save_end(struct index_saving *saving);
void index_save_note(struct index_saving *saving, const _Atomic uint64_t *slot, uint64_t entry);
/* The table will not be what it was. */
void index_save_lose(struct index_table *table);

static inline __attribute__((always_inline)) void index_need(struct index_table *table,
							     uint64_t bucket)
{
	if (__builtin_expect(atomic_load_explicit(&table->source, memory_order_acquire) != NULL,
			     0))
		index_load_bucket(table, bucket);
}

/* Calls each(arg, address) for every entry. The writer's. Stops at non-zero and returns it. */
int index_each(struct index *index, int (*each)(void *arg, uint64_t address), void *arg);

/*
 * A pass over all entries in the order of their fingerprints, a stretch at a time: fills in the
 * addresses of the entries from *place on, and moves that behind them. An entry that is there from
 * beginning to end comes exactly once. Readers, inside an epoch, in which the addresses are good.
 */
#define INDEX_STRETCH_HOMES 32u
#define INDEX_STRETCH_MAX ((INDEX_STRETCH_HOMES + INDEX_REACH) * INDEX_SLOTS)
#define INDEX_PLACE_END ((uint64_t)1 << INDEX_FINGERPRINT_BITS)
size_t index_stretch(struct index *index, uint64_t *place, uint64_t addresses[INDEX_STRETCH_MAX]);

static inline uint32_t index_fingerprint(uint64_t hash)
{
	return (uint32_t)(hash >> (64 - INDEX_FINGERPRINT_BITS));
}

static inline uint64_t index_home(const struct index_table *table, uint32_t fingerprint)
{
	return (uint64_t)fingerprint * table->count >> INDEX_FINGERPRINT_BITS;
}

static inline uint64_t index_tag(uint32_t fingerprint)
{
	return (uint64_t)fingerprint << INDEX_ADDRESS_BITS & INDEX_TAG_MASK;
}

/* The slot that has its home's spill bit for entries like this one. */
static inline unsigned index_spill_slot(uint32_t fingerprint)
{
	return fingerprint % INDEX_SLOTS;
}

/* The table that holds this fingerprint now. */
static inline struct index_table *index_table_of(struct index *index, uint32_t fingerprint)
{
	struct index_table *table = atomic_load_explicit(&index->table, memory_order_acquire);
	struct index_table *next = atomic_load_explicit(&table->next, memory_order_acquire);

	if (__builtin_expect(next != NULL, 0) &&
	    index_home(table, fingerprint) <
		    atomic_load_explicit(&table->moved, memory_order_acquire))
		return next;
	return table;
}

/* Asks for the cache line of a hash. Any time: nothing is read that could be gone. */
static inline void index_prefetch(struct index *index, uint64_t hash)
{
	uint32_t fingerprint = index_fingerprint(hash);
	uint64_t count = atomic_load_explicit(&index->hint_count, memory_order_relaxed);
	struct index_bucket *buckets =
		atomic_load_explicit(&index->hint_buckets, memory_order_relaxed);

	__builtin_prefetch(&buckets[(uint64_t)fingerprint * count >> INDEX_FINGERPRINT_BITS]);
}

static inline bool index_is_over(const struct index_table *table, uint64_t entries, unsigned num,
				 unsigned den)
{
	return entries * den > table->count * INDEX_SLOTS * num;
}

/* Has index_reserve nothing to do? The writer's. */
static inline bool index_has_room(struct index *index, uint64_t count)
{
	struct index_table *table = atomic_load_explicit(&index->table, memory_order_relaxed);
	uint64_t entries = atomic_load_explicit(&index->entries, memory_order_relaxed) + count;

	return !atomic_load_explicit(&table->next, memory_order_relaxed) &&
	       !index_is_over(table, entries, INDEX_FILL_NUM, INDEX_FILL_DEN);
}

/*
 * Which slots of a bucket have the tag, and which are empty: bit i for slot i. Without branches,
 * for where in a bucket something stands nobody could predict. An empty slot has a tag of zeros.
 */
#if defined(__SSE2__) && !defined(__SANITIZE_THREAD__)
/*
 * Four slots at a time. x86 loads each aligned slot at once and in order, as the atomic loads below
 * would; the fence keeps the compiler from moving them. Whoever follows a slot loads it once more.
 */
static inline __attribute__((always_inline)) unsigned
index_bucket_tagged(const struct index_bucket *bucket, uint64_t tag)
{
	const __m128i *pairs = (const __m128i *)(const void *)bucket->slots;
	const __m128i mask = _mm_set1_epi32((int)(INDEX_TAG_MASK >> 32));
	const __m128i want = _mm_set1_epi32((int)(tag >> 32));
	__m128i same[INDEX_SLOTS / 4];
	unsigned i;

	for (i = 0; i < INDEX_SLOTS / 4; i++) {
		__m128 first = _mm_castsi128_ps(_mm_load_si128(&pairs[2 * i]));
		__m128 second = _mm_castsi128_ps(_mm_load_si128(&pairs[2 * i + 1]));
		__m128i high = _mm_castps_si128(_mm_shuffle_ps(first, second, 0xdd));

		same[i] = _mm_cmpeq_epi32(_mm_and_si128(high, mask), want);
	}
	atomic_signal_fence(memory_order_acquire);
	return (unsigned)_mm_movemask_ps(_mm_castsi128_ps(same[0])) |
	       (unsigned)_mm_movemask_ps(_mm_castsi128_ps(same[1])) << 4;
}

static inline __attribute__((always_inline)) unsigned
index_bucket_empty(const struct index_bucket *bucket)
{
	const __m128i *pairs = (const __m128i *)(const void *)bucket->slots;
	unsigned empty = 0, i;

	for (i = 0; i < INDEX_SLOTS; i += 4) {
		__m128 first = _mm_castsi128_ps(_mm_load_si128(&pairs[i / 2]));
		__m128 second = _mm_castsi128_ps(_mm_load_si128(&pairs[i / 2 + 1]));
		__m128 both = _mm_or_ps(_mm_shuffle_ps(first, second, 0x88),
					_mm_shuffle_ps(first, second, 0xdd));
		__m128i zero = _mm_cmpeq_epi32(_mm_castps_si128(both), _mm_setzero_si128());

		empty |= (unsigned)_mm_movemask_ps(_mm_castsi128_ps(zero)) << i;
	}
	atomic_signal_fence(memory_order_acquire);
	return empty;
}
#else
static inline __attribute__((always_inline)) unsigned
index_bucket_tagged(const struct index_bucket *bucket, uint64_t tag)
{
	unsigned match = 0, i;

	for (i = 0; i < INDEX_SLOTS; i++) {
		uint64_t entry = atomic_load_explicit(&bucket->slots[i], memory_order_acquire);

		match |= (unsigned)(((entry ^ tag) & INDEX_TAG_MASK) == 0) << i;
	}
	return match;
}

static inline __attribute__((always_inline)) unsigned
index_bucket_empty(const struct index_bucket *bucket)
{
	unsigned empty = 0, i;

	for (i = 0; i < INDEX_SLOTS; i++)
		empty |= (unsigned)!atomic_load_explicit(&bucket->slots[i], memory_order_acquire)
			 << i;
	return empty;
}
#endif

/*
 * May an entry with this fingerprint, whose home this is, stand in a bucket behind? To be asked
 * after looking at the bucket.
 */
static inline bool index_has_spilled(const struct index_bucket *home, uint32_t fingerprint)
{
	return atomic_load_explicit(&home->slots[index_spill_slot(fingerprint)],
				    memory_order_acquire) & INDEX_SPILL;
}

/* Calls each(arg, address) for what a look-up of the hash is likely to look at. Inside an epoch. */
static inline __attribute__((always_inline)) void
index_peek(struct index *index, uint64_t hash, void (*each)(void *arg, uint64_t address), void *arg)
{
	uint32_t fingerprint = index_fingerprint(hash);
	struct index_table *table = index_table_of(index, fingerprint);
	struct index_bucket *bucket = &table->buckets[index_home(table, fingerprint)];
	/* A chunk that is not loaded yet looks empty. */
	unsigned match = index_bucket_tagged(bucket, index_tag(fingerprint));

	for (; match; match &= match - 1) {
		uint64_t entry = atomic_load_explicit(&bucket->slots[__builtin_ctz(match)],
						      memory_order_acquire);

		if (entry & INDEX_ADDRESS_MASK)
			each(arg, entry & INDEX_ADDRESS_MASK);
	}
}

/*
 * Scans one table for an entry that matches. The compiler inlines `match`, which decides whether
 * the record at an address has the key that is sought. Who wants to know the place goes on to a
 * gap.
 */
typedef bool index_match_fn(void *arg, uint64_t address);

static inline __attribute__((always_inline)) uint64_t
index_scan_from(struct index_table *table, uint64_t home, uint32_t fingerprint,
		index_match_fn *match, void *arg, struct index_place *place)
{
	uint64_t tag = index_tag(fingerprint), bucket = home, last = home + INDEX_REACH;
	unsigned tagged, empty;

	index_need(table, bucket);
	do {
		tagged = index_bucket_tagged(&table->buckets[bucket], tag);
		empty = index_bucket_empty(&table->buckets[bucket]);
		for (; tagged; tagged &= tagged - 1) {
			_Atomic uint64_t *slot =
				&table->buckets[bucket].slots[__builtin_ctz(tagged)];
			/*
			 * The slot is loaded once more: the writer may have put something else
			 * there, or moved it (see index_lookup).
			 */
			uint64_t entry = atomic_load_explicit(slot, memory_order_acquire);
			uint64_t address = entry & INDEX_ADDRESS_MASK;

			if (!address || (entry ^ tag) & INDEX_TAG_MASK)
				continue;
			if (!match(arg, address))
				continue;
			if (place)
				*place = (struct index_place){slot, table, bucket, home};
			return address;
		}
		if (!place && bucket == home &&
		    !index_has_spilled(&table->buckets[home], fingerprint))
			return 0;
	} while (!empty && bucket++ < last);
	if (place)
		*place = (struct index_place){
			empty ? &table->buckets[bucket].slots[__builtin_ctz(empty)] : NULL, table,
			bucket, home};
	return 0;
}

static inline __attribute__((always_inline)) uint64_t
index_scan(struct index_table *table, uint32_t fingerprint, index_match_fn *match, void *arg,
	   struct index_place *place)
{
	return index_scan_from(table, index_home(table, fingerprint), fingerprint, match, arg,
			       place);
}

/* The address of the entry that matches, or 0. Readers, inside an epoch. */
static inline __attribute__((always_inline)) uint64_t
index_lookup(struct index *index, uint64_t hash, index_match_fn *match, void *arg)
{
	uint32_t fingerprint = index_fingerprint(hash);

	for (;;) {
		struct index_table *table = index_table_of(index, fingerprint);
		uint64_t home = index_home(table, fingerprint);
		_Atomic uint32_t *version = &index->versions[home % INDEX_STRIPES];
		uint32_t before = atomic_load_explicit(version, memory_order_acquire);
		uint64_t address = index_scan_from(table, home, fingerprint, match, arg, NULL);

		if (address)
			return address;
		/*
		 * The slots were loaded with acquire: whoever saw a move's effect sees its version.
		 */
		if (!(before & 1) &&
		    atomic_load_explicit(version, memory_order_relaxed) == before &&
		    index_table_of(index, fingerprint) == table)
			return 0;
	}
}

/*
 * The first look of a look-up, at the home bucket and, where something spilled out of that, the
 * next one, short enough to be a part of its caller. The address of an entry with the tag, which is
 * the one that is sought nearly always; or 0, and whether it is certain that there is none.
 * Readers, inside an epoch.
 */
static inline __attribute__((always_inline)) uint64_t
index_probe(struct index *index, uint64_t hash, bool *absent)
{
	uint32_t fingerprint = index_fingerprint(hash);
	uint64_t tag = index_tag(fingerprint), entry;
	struct index_table *table = index_table_of(index, fingerprint);
	uint64_t home = index_home(table, fingerprint);
	_Atomic uint32_t *version = &index->versions[home % INDEX_STRIPES];
	uint32_t before = atomic_load_explicit(version, memory_order_acquire);
	struct index_bucket *bucket = &table->buckets[home];
	bool spilled = false;
	unsigned tagged;

	*absent = false;
	if (__builtin_expect(atomic_load_explicit(&table->source, memory_order_acquire) != NULL, 0))
		return 0;
	tagged = index_bucket_tagged(bucket, tag);
	if (!tagged) {
		spilled = index_has_spilled(bucket, fingerprint);
		if (__builtin_expect(spilled, 0))
			tagged = index_bucket_tagged(++bucket, tag);
	}
	if (tagged) {
		entry = atomic_load_explicit(&bucket->slots[__builtin_ctz(tagged)],
					     memory_order_acquire);
		return (entry ^ tag) & INDEX_TAG_MASK ? 0 : entry & INDEX_ADDRESS_MASK;
	}
	/* As in index_lookup. */
	*absent = !spilled && !(before & 1) &&
		  atomic_load_explicit(version, memory_order_relaxed) == before &&
		  index_table_of(index, fingerprint) == table;
	return 0;
}

/*
 * As index_lookup, for the writer, who also learns the place: the entry's, or that where it may be
 * inserted.
 */
static inline __attribute__((always_inline)) uint64_t
index_find(struct index *index, uint64_t hash, index_match_fn *match, void *arg,
	   struct index_place *place)
{
	uint32_t fingerprint = index_fingerprint(hash);

	return index_scan(index_table_of(index, fingerprint), fingerprint, match, arg, place);
}

#endif

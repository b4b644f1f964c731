/* SPDX-License-Identifier: MIT */
/*
 * index_test.c - the hash index against a plain array: growth, removal and its gaps, readers beside
 * the writer.
 *
 * Addresses stand for records: address a belongs to key a, whose hash is hash_of(a), so that a
 * match is a comparison.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "epoch.h"
#include "format.h"
#include "index_table.h"
#include "journal.h"

static uint64_t keys = 400000; /* several growths; fewer with KVFS_TEST_QUICK */

static uint64_t mix(uint64_t x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdull;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53ull;
	return x ^ x >> 33;
}

static uint64_t hash_of(uint64_t key)
{
	return mix(key * 2654435761u + 1);
}

/* The key of an address: the low bits; a version stands above them. */
#define KEY_BITS 24
#define KEY_OF(address) ((address) & ((1u << KEY_BITS) - 1))

static bool match(void *arg, uint64_t address)
{
	return KEY_OF(address) == *(uint64_t *)arg;
}

static uint64_t lookup(struct index *index, uint64_t key)
{
	return index_lookup(index, hash_of(key), match, &key);
}

static void put(struct index *index, uint64_t key, uint64_t address)
{
	struct index_place place;

	assert_int_equal(index_reserve(index, 1), 0);
	if (index_find(index, hash_of(key), match, &key, &place))
		index_replace(&place, address);
	else if (key & 1)
		assert_int_equal(index_insert(index, hash_of(key), address), 0);
	else
		assert_int_equal(index_insert_at(index, &place, hash_of(key), address), 0);
}

static bool delete (struct index *index, uint64_t key)
{
	struct index_place place;

	if (!index_find(index, hash_of(key), match, &key, &place))
		return false;
	index_remove(index, &place);
	return true;
}

static void free_retired(struct index *index)
{
	struct index_table *tables = index_take_retired(index);

	epoch_wait();
	index_free_retired(index, tables);
}

static int count_entry(void *arg, uint64_t address)
{
	(void)address;
	++*(uint64_t *)arg;
	return 0;
}

/*
 * Each bucket's spill bits are those that its entries in other buckets need, no more and no less.
 */
static void check_spills(struct index *index)
{
	struct index_table *table = atomic_load(&index->table);
	size_t buckets = table->count + INDEX_REACH, bucket;
	uint8_t *wanted = calloc(buckets, 1);
	unsigned i;

	assert_non_null(wanted);
	assert_null(atomic_load(&table->next));
	for (bucket = 0; bucket < buckets; bucket++) {
		uint64_t low = index_bucket_low(table, bucket);

		for (i = 0; i < INDEX_SLOTS; i++) {
			uint64_t entry = atomic_load(&table->buckets[bucket].slots[i]);
			uint32_t fingerprint = index_fingerprint_from(low, entry);
			uint64_t home = index_home(table, fingerprint);

			if (!entry)
				continue;
			assert_true(entry & INDEX_ADDRESS_MASK);
			assert_true(home <= bucket && bucket - home <= INDEX_REACH);
			if (home != bucket)
				wanted[home] |= (uint8_t)(1u << index_spill_slot(fingerprint));
		}
	}
	for (bucket = 0; bucket < buckets; bucket++) {
		for (i = 0; i < INDEX_SLOTS; i++)
			assert_int_equal(index_has_spilled(&table->buckets[bucket], i),
				wanted[bucket] >> i & 1);
	}
	free(wanted);
}

static void settle(struct index *index)
{
	while (!index_settle(index, 1000))
		;
}

/*
 * Every slot alone, and all sorts of neighbours: tags that differ in a bit, an address without a
 * tag, a tag of zeros.
 */
static void masks_of_a_bucket(void **state)
{
	uint64_t tag = index_tag(0xa5c3f1), seed = 1;
	unsigned round, i;

	(void)state;
	for (round = 0; round < 20000; round++) {
		_Alignas(64) struct index_bucket bucket;
		uint64_t sought = round % 3 ? tag : 0;
		unsigned match_wanted = 0, empty_wanted = 0, spills_wanted = 0, spills = 0;

		for (i = 0; i < INDEX_SLOTS; i++) {
			uint64_t entry = 0, address = mix(seed++) & INDEX_ADDRESS_MASK;

			switch (mix(seed++) % 5) {
			case 0:
				break;
			case 1:
				entry = sought | address;
				break;
			case 2:
				entry = sought ^ (uint64_t)1
							 << (INDEX_ADDRESS_BITS + mix(seed++) % 23);
				break;
			case 3:
				entry = sought | (uint64_t)1 << mix(seed++) % INDEX_ADDRESS_BITS;
				break;
			default:
				entry = mix(seed++);
			}
			if (entry && mix(seed++) % 2)
				entry ^= INDEX_SPILL;
			atomic_init(&bucket.slots[i], entry);
			empty_wanted |= (unsigned)!entry << i;
			match_wanted |= (unsigned)!((entry ^ sought) & INDEX_TAG_MASK) << i;
			spills_wanted |= (unsigned)!!(entry & INDEX_SPILL) << i;
		}
		assert_int_equal(index_bucket_tagged(&bucket, sought), match_wanted);
		assert_int_equal(index_bucket_empty(&bucket), empty_wanted);
		for (i = 0; i < INDEX_SLOTS; i++)
			spills |= (unsigned)index_has_spilled(&bucket, i) << i;
		assert_int_equal(spills, spills_wanted);
	}
}

/* Every key put is found at its newest address while the table grows, and nothing else is. */
static void grows_and_finds(void **state)
{
	struct index index;
	uint64_t key, entries = 0;

	(void)state;
	assert_int_equal(index_init(&index), 0);
	for (key = 1; key <= keys; key++) {
		put(&index, key, key);
		/* Some of the older ones, whichever table they are in now. */
		assert_int_equal(lookup(&index, 1 + mix(key) % key), 1 + mix(key) % key);
		assert_int_equal(lookup(&index, key + keys), 0);
	}
	for (key = 1; key <= keys; key++)
		assert_int_equal(lookup(&index, key), key);
	assert_int_equal(index_each(&index, count_entry, &entries), 0);
	assert_int_equal(entries, keys);
	settle(&index);
	check_spills(&index);
	free_retired(&index);
	/* What DESIGN.md promises, with the next table of a growth under way. */
	assert_true(atomic_load(&index.memory) < keys * 26);
	index_fini(&index);
}

/*
 * A removal must not hide what had spilled past the gap: random changes, checked against an array
 * all the time.
 */
static void removal_leaves_no_gaps(void **state)
{
	uint32_t *model = calloc(keys, sizeof(*model));
	uint64_t random = 42, step, key, entries = 0, counted = 0;
	struct index index;

	(void)state;
	assert_non_null(model);
	assert_int_equal(index_init(&index), 0);
	for (step = 1; step < 3 * keys; step++) {
		random = mix(random + step);
		key = 1 + random % (keys - 1);
		if ((random >> 40) % 100 < (step < keys ? 20 : 55)) {
			assert_int_equal(delete (&index, key), model[key] != 0);
			model[key] = 0;
		} else {
			model[key] = (uint32_t)(step % 65535 + 1);
			put(&index, key, (uint64_t)model[key] << KEY_BITS | key);
		}
		key = 1 + mix(random) % (keys - 1);
		assert_int_equal(lookup(&index, key),
			model[key] ? (uint64_t)model[key] << KEY_BITS | key : 0);
	}
	for (key = 1; key < keys; key++) {
		assert_int_equal(lookup(&index, key),
			model[key] ? (uint64_t)model[key] << KEY_BITS | key : 0);
		counted += model[key] != 0;
	}
	assert_int_equal(index_each(&index, count_entry, &entries), 0);
	assert_int_equal(entries, counted);
	assert_int_equal(atomic_load(&index.entries), counted);
	settle(&index);
	check_spills(&index);
	/* All that is left, the crowded ones last: each removal leaves the others in order. */
	for (key = 1; key < keys; key++) {
		assert_int_equal(delete (&index, key), model[key] != 0);
		if (key % (keys / 8) == 0)
			check_spills(&index);
	}
	check_spills(&index);
	index_fini(&index);
	free(model);
}

/* Different hashes, all with one home in the first table, and all but each other's neighbours. */
static uint64_t crowded_hash(uint64_t i)
{
	return (0x80000000u + i * 401) << 32;
}

/* More entries of one home than its reach has slots: the table is rebuilt, nothing is lost. */
static void crowded_homes(void **state)
{
	struct index index;
	uint64_t i;

	(void)state;
	assert_int_equal(index_init(&index), 0);
	for (i = 1; i <= 600; i++) {
		assert_int_equal(index_reserve(&index, 1), 0);
		assert_int_equal(index_insert(&index, crowded_hash(i), i), 0);
	}
	for (i = 1; i <= 600; i++) {
		uint64_t key = i;

		assert_int_equal(index_lookup(&index, crowded_hash(i), match, &key), i);
	}
	check_spills(&index);
	index_fini(&index);
}

/* A reservation for more than the table holds makes room for all of it at once. */
static void large_reservation(void **state)
{
	struct index index;
	uint64_t key;

	(void)state;
	assert_int_equal(index_init(&index), 0);
	put(&index, 1, 1);
	assert_int_equal(index_reserve(&index, keys), 0);
	for (key = 2; key <= keys; key++)
		assert_int_equal(index_insert(&index, hash_of(key), key), 0);
	for (key = 1; key <= keys; key++)
		assert_int_equal(lookup(&index, key), key);
	index_fini(&index);
}

struct readers {
	struct index index;
	_Atomic bool stop;
	_Atomic uint64_t missing, foreign;
};

#define STABLE 20000u /* keys that are never removed: a reader must always find them */

static void *reader(void *arg)
{
	struct readers *readers = arg;
	uint64_t random = (uintptr_t)&random, key, address;

	while (!atomic_load(&readers->stop)) {
		random = mix(random + 1);
		key = 1 + random % STABLE;
		epoch_enter();
		address = lookup(&readers->index, key);
		epoch_leave();
		if (!address)
			atomic_fetch_add(&readers->missing, 1);
		else if (KEY_OF(address) != key)
			atomic_fetch_add(&readers->foreign, 1);
	}
	return NULL;
}

static void readers_beside_the_writer(void **state)
{
	static struct readers readers;
	pthread_t threads[2];
	uint64_t key, round;
	unsigned i;

	(void)state;
	assert_int_equal(index_init(&readers.index), 0);
	for (key = 1; key <= STABLE; key++)
		put(&readers.index, key, key);
	for (i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, reader, &readers), 0);
	for (round = 1; round <= 3; round++) {
		for (key = STABLE + 1; key <= keys / 2; key++) {
			put(&readers.index, key, key);
			put(&readers.index, 1 + key % STABLE,
				round << KEY_BITS | (1 + key % STABLE));
		}
		for (key = STABLE + 1; key <= keys / 2; key++)
			assert_true(delete (&readers.index, key));
		free_retired(&readers.index);
	}
	atomic_store(&readers.stop, true);
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(atomic_load(&readers.missing), 0);
	assert_int_equal(atomic_load(&readers.foreign), 0);
	index_fini(&readers.index);
}

/* ---- one home, crowded ----------------------------------------------------------------------- */

#define CROWD 30u        /* entries of one home: four buckets */
#define CROWD_STABLE 24u /* of them, never removed */

struct crowd {
	struct index index;
	_Atomic bool stop;
	_Atomic uint64_t looked, missing, doubled;
};

static uint64_t stretch_of(struct index *index, uint64_t hash, uint64_t *addresses)
{
	/* From a little before: all of one home are within this stretch. */
	uint64_t place = index_fingerprint(hash) & ~(uint64_t)0xffff;

	return index_stretch(index, &place, addresses);
}

static void *crowd_reader(void *arg)
{
	struct crowd *crowd = arg;
	uint64_t key = 1, addresses[INDEX_STRETCH_MAX], count, i;

	while (!atomic_load(&crowd->stop)) {
		unsigned seen[CROWD + 1] = {0};

		epoch_enter();
		if (!index_lookup(&crowd->index, crowded_hash(key), match, &key))
			atomic_fetch_add(&crowd->missing, 1);
		count = stretch_of(&crowd->index, crowded_hash(1), addresses);
		epoch_leave();
		for (i = 0; i < count; i++)
			atomic_fetch_add(&crowd->doubled, seen[KEY_OF(addresses[i])]++ != 0);
		for (i = 1; i <= CROWD_STABLE; i++)
			atomic_fetch_add(&crowd->missing, !seen[i]);
		atomic_fetch_add(&crowd->looked, 1);
		key = key % CROWD_STABLE + 1;
	}
	return NULL;
}

/*
 * What is pulled back over the gap of a removal is never gone and never twice, for look-ups and
 * passes.
 */
static void removal_beside_readers(void **state)
{
	static struct crowd crowd;
	uint64_t order[CROWD + 1], round = 0, key, i;
	pthread_t thread;

	(void)state;
	assert_int_equal(index_init(&crowd.index), 0);
	/*
	 * Those that come and go stand in the first buckets: all others are pulled over their gaps.
	 */
	for (i = 0; i < CROWD; i++)
		order[i] = i < CROWD - CROWD_STABLE ? CROWD - i : i - (CROWD - CROWD_STABLE) + 1;
	for (i = 0; i < CROWD; i++) {
		assert_int_equal(index_reserve(&crowd.index, 1), 0);
		assert_int_equal(index_insert(&crowd.index, crowded_hash(order[i]), order[i]), 0);
	}
	assert_int_equal(pthread_create(&thread, NULL, crowd_reader, &crowd), 0);
	while (atomic_load(&crowd.looked) < keys / 20) {
		uint64_t looked = atomic_load(&crowd.looked);
		struct index_place place;

		/* In spells, between which a reader comes to an end. */
		for (i = 0; i < 64; i++) {
			key = CROWD_STABLE + 1 + mix(++round) % (CROWD - CROWD_STABLE);
			assert_int_equal(
				index_find(&crowd.index, crowded_hash(key), match, &key, &place),
				key);
			index_remove(&crowd.index, &place);
			assert_int_equal(index_insert(&crowd.index, crowded_hash(key), key), 0);
		}
		while (atomic_load(&crowd.looked) == looked)
			sched_yield();
	}
	atomic_store(&crowd.stop, true);
	pthread_join(thread, NULL);
	assert_int_equal(atomic_load(&crowd.missing), 0);
	assert_int_equal(atomic_load(&crowd.doubled), 0);
	check_spills(&crowd.index);
	index_fini(&crowd.index);
}

/* ---- saving ---------------------------------------------------------------------------------- */

struct saved {
	uint64_t *slots;
	uint64_t count;
};

static int read_saved(void *arg, uint64_t chunk, struct index_bucket *out)
{
	const struct saved *saved = arg;
	uint64_t first = chunk * INDEX_CHUNK_BUCKETS * INDEX_SLOTS, left = saved->count - first;
	size_t room = INDEX_CHUNK_SIZE / sizeof(uint64_t);

	memcpy(out, saved->slots + first, (left < room ? left : room) * sizeof(uint64_t));
	return 0;
}

static void apply_changes(struct journal *journal, struct saved *saved)
{
	struct journal_block *block = journal_take(journal, true);
	struct format_checkpoint_slot change;
	size_t at;

	for (; block; block = block->next) {
		for (at = 0; at < block->used; at += sizeof(change)) {
			memcpy(&change, block->bytes + at, sizeof(change));
			saved->slots[change.number] = change.entry;
		}
	}
}

/*
 * A table with crowds is saved in parts while entries of crowds come and go; what was saved with
 * what changed is the table as it is then, spill bits included, and gives back each entry.
 */
static void saved_beside_changes(void **state)
{
	uint64_t key, step, random = 7, at = 0, part, entries = keys;
	bool *there = calloc(entries + 1, sizeof(*there));
	struct index index, loaded;
	struct index_saving saving;
	struct journal journal;
	struct saved saved;

	(void)state;
	assert_non_null(there);
	assert_int_equal(index_init(&index), 0);
	for (key = 1; key <= entries; key++) {
		put(&index, key, key);
		there[key] = true;
	}
	settle(&index);
	assert_int_equal(journal_init(&journal, 64), 0);
	assert_int_equal(index_save_begin(&index, &saving, &journal), 0);
	saved.count = saving.slots;
	saved.slots = malloc(saving.slots * sizeof(uint64_t));
	assert_non_null(saved.slots);
	for (; at < saved.count; at += part) {
		part = saved.count - at < 4096 ? saved.count - at : 4096;
		index_save_copy(index_save_next(&saving, part), saved.slots + at, part);
		for (step = 0; step < 200; step++) {
			random = mix(random + step);
			key = 1 + random % entries;
			if (there[key])
				delete (&index, key);
			else
				put(&index, key, key);
			there[key] = !there[key];
		}
	}
	index_save_end(&saving);
	assert_false(journal.lost);
	apply_changes(&journal, &saved);
	assert_int_equal(
		index_load(&loaded, atomic_load(&index.table)->count, atomic_load(&index.entries),
			saved.count * sizeof(uint64_t), read_saved, &saved),
		0);
	for (key = 1; key <= entries; key++)
		assert_int_equal(lookup(&loaded, key), there[key] ? key : 0);
	while (!index_load_some(&loaded, 100))
		;
	check_spills(&loaded);
	index_fini(&loaded);
	index_fini(&index);
	journal_fini(&journal);
	free(saved.slots);
	free(there);
}

/* What is put into a table of which nothing has been read yet is too much for it. */
static void grows_from_an_absent_table(void **state)
{
	const uint64_t entries = 100000, more = 20000; /* of the 131,072 slots of the first table */
	struct index index, loaded;
	struct index_table *table;
	struct saved saved;
	uint64_t key, i;

	(void)state;
	assert_int_equal(index_init(&index), 0);
	for (key = 1; key <= entries; key++)
		put(&index, key, key);
	table = atomic_load(&index.table);
	assert_int_equal(table->count, INDEX_COUNT_MIN);
	saved.count = (table->count + INDEX_REACH) * INDEX_SLOTS;
	saved.slots = malloc(saved.count * sizeof(uint64_t));
	assert_non_null(saved.slots);
	for (i = 0; i < saved.count; i++)
		saved.slots[i] = atomic_load(&table->buckets[i / INDEX_SLOTS].slots[i % INDEX_SLOTS]);
	assert_int_equal(index_load(&loaded, table->count, entries, saved.count * sizeof(uint64_t),
				    read_saved, &saved),
			 0);
	assert_int_equal(index_reserve(&loaded, more), 0);
	assert_true(atomic_load(&loaded.table)->count > INDEX_COUNT_MIN);
	for (key = 1; key <= entries + more; key++) {
		if (key > entries)
			put(&loaded, key, key);
		assert_int_equal(lookup(&loaded, key), key);
	}
	check_spills(&loaded);
	index_fini(&loaded);
	index_fini(&index);
	free(saved.slots);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(masks_of_a_bucket),
		cmocka_unit_test(grows_and_finds),
		cmocka_unit_test(removal_leaves_no_gaps),
		cmocka_unit_test(crowded_homes),
		cmocka_unit_test(large_reservation),
		cmocka_unit_test(readers_beside_the_writer),
		cmocka_unit_test(removal_beside_readers),
		cmocka_unit_test(saved_beside_changes),
		cmocka_unit_test(grows_from_an_absent_table),
	};

	if (getenv("KVFS_TEST_QUICK"))
		keys /= 4;
	return cmocka_run_group_tests(tests, NULL, NULL);
}

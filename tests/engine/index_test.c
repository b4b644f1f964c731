/* SPDX-License-Identifier: MIT */
/*
 * index_test.c - the hash index against a plain array: growth, removal and its gaps, readers beside the writer.
 *
 * Addresses stand for records: address a belongs to key a, whose hash is hash_of(a), so that a match is a comparison.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "epoch.h"
#include "index.h"

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

static bool delete(struct index *index, uint64_t key)
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

/* Every key put is found at its newest address while the table grows, and nothing else is. */
/* Every slot alone, and all sorts of neighbours: tags that differ in a bit, an address without a tag, a tag of zeros. */
static void masks_of_a_bucket(void **state)
{
	uint64_t tag = 0xa5c3f1ull << INDEX_ADDRESS_BITS, seed = 1;
	unsigned round, i;

	(void)state;
	for (round = 0; round < 20000; round++) {
		_Alignas(64) struct index_bucket bucket;
		uint64_t sought = round % 3 ? tag : 0;
		unsigned match_wanted = 0, empty_wanted = 0, empty;

		for (i = 0; i < INDEX_SLOTS; i++) {
			uint64_t entry = 0, address = mix(seed++) & INDEX_ADDRESS_MASK;

			switch (mix(seed++) % 5) {
			case 0:
				break;
			case 1:
				entry = sought | address;
				break;
			case 2:
				entry = sought ^ (uint64_t)1 << (INDEX_ADDRESS_BITS + mix(seed++) % 24);
				break;
			case 3:
				entry = sought | (uint64_t)1 << mix(seed++) % INDEX_ADDRESS_BITS;
				break;
			default:
				entry = mix(seed++);
			}
			atomic_init(&bucket.slots[i], entry);
			empty_wanted |= (unsigned)!entry << i;
			match_wanted |= (unsigned)(entry &&
						   !((entry ^ sought) >> INDEX_ADDRESS_BITS)) << i;
		}
		assert_int_equal(index_bucket_masks(&bucket, sought, &empty), match_wanted);
		assert_int_equal(empty, empty_wanted);
	}
}

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
	free_retired(&index);
	/* What DESIGN.md promises, with the next table of a growth under way. */
	assert_true(atomic_load(&index.memory) < keys * 26);
	index_fini(&index);
}

/* A removal must not hide what had spilled past the gap: random changes, checked against an array all the time. */
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
			assert_int_equal(delete(&index, key), model[key] != 0);
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
	index_fini(&index);
	free(model);
}

/* Different hashes, all with one home in the first table, and all but each other's neighbours. */
static uint64_t crowded_hash(uint64_t i)
{
	return (0x80000000u + i * 400) << 32;
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
			put(&readers.index, 1 + key % STABLE, round << KEY_BITS | (1 + key % STABLE));
		}
		for (key = STABLE + 1; key <= keys / 2; key++)
			assert_true(delete(&readers.index, key));
		free_retired(&readers.index);
	}
	atomic_store(&readers.stop, true);
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(atomic_load(&readers.missing), 0);
	assert_int_equal(atomic_load(&readers.foreign), 0);
	index_fini(&readers.index);
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
	};

	if (getenv("KVFS_TEST_QUICK"))
		keys /= 4;
	return cmocka_run_group_tests(tests, NULL, NULL);
}

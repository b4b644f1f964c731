/* SPDX-License-Identifier: MIT */
/*
 * hold_test.c - counts of held inodes: compared with a plain array, and between threads.
 */
#include "fixture.h"

#include <stdlib.h>
#include <string.h>

#include "hold.h"
#include "number_table.h"

#define NUMBERS 5000u
#define THREADS 4u

static void test_marks(void **state)
{
	struct hold_table table;

	hold_table_init(&table);
	assert_false(hold_mark(&table, 5, true));
	assert_false(hold_is_held(&table, 5));
	hold_add(&table, 5, 2);
	hold_add(&table, 5, 0);
	assert_true(hold_is_held(&table, 5));
	assert_true(hold_mark(&table, 5, true));
	assert_false(hold_remove(&table, 5, 1));
	assert_true(hold_remove(&table, 5, 1));
	assert_false(hold_is_held(&table, 5));
	hold_add(&table, 5, 1);
	assert_true(hold_mark(&table, 5, true));
	assert_true(hold_mark(&table, 5, false));
	assert_false(hold_remove(&table, 5, 9));
	assert_false(hold_remove(&table, 5, 1));
	hold_table_fini(&table);
}

static void test_against_array(void **state)
{
	static unsigned counts[NUMBERS];
	struct hold_table table;

	hold_table_init(&table);
	srandom(3);
	for (unsigned i = 0; i < 400000; i++) {
		unsigned ino = (unsigned)random() % NUMBERS;
		/* Grows for a while, then shrinks. */
		bool add = (unsigned)random() % 10 < (i < 200000 ? 6 : 3);

		if (add) {
			hold_add(&table, ino + 1, 3);
			counts[ino] += 3;
		} else if (counts[ino]) {
			assert_false(hold_remove(&table, ino + 1, 1));
			counts[ino]--;
		}
	}
	for (unsigned ino = 0; ino < NUMBERS; ino++) {
		assert_int_equal(hold_is_held(&table, ino + 1), counts[ino] != 0);
		if (counts[ino])
			hold_remove(&table, ino + 1, counts[ino]);
		assert_false(hold_is_held(&table, ino + 1));
	}
	for (unsigned i = 0; i < HOLD_SHARDS; i++) {
		assert_int_equal(table.shards[i].used, 0);
		assert_true(table.shards[i].capacity <= 64);
	}
	hold_table_fini(&table);
}

static void *hold_and_release(void *arg)
{
	struct hold_table *table = arg;

	for (unsigned round = 0; round < 20; round++) {
		for (uint64_t ino = 1; ino <= NUMBERS; ino++)
			hold_add(table, ino, 1);
		for (uint64_t ino = 1; ino <= NUMBERS; ino++)
			hold_remove(table, ino, 1);
	}
	return NULL;
}

static void test_threads(void **state)
{
	struct hold_table table;
	pthread_t threads[THREADS];

	hold_table_init(&table);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, hold_and_release, &table), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (uint64_t ino = 1; ino <= NUMBERS; ino++)
		assert_false(hold_is_held(&table, ino));
	hold_table_fini(&table);
}

#define KEPT_NUMBERS 300u /* a few of each shard: their memory goes from one to the next */
#define KEPT_MAX 3000u

static bool keep_bytes(struct hold_table *table, uint64_t ino, uint8_t byte, size_t size)
{
	uint8_t bytes[KEPT_MAX];
	const struct kv_slice parts[] = {{bytes, size / 3}, {bytes + size / 3, size - size / 3}};

	memset(bytes, byte, size);
	return hold_keep(table, ino, parts, 2);
}

static void must_have_kept(struct hold_table *table, uint64_t ino, uint8_t byte, size_t size)
{
	uint8_t bytes[KEPT_MAX];

	assert_int_equal(hold_is_kept(table, ino), size != 0);
	assert_int_equal(hold_kept(table, ino, bytes, sizeof(bytes)), size);
	for (size_t i = 0; i < size; i++)
		assert_int_equal(bytes[i], byte);
}

/* What is kept is bounded by the memory that it takes, however small the records are. */
static void test_kept_bound(void **state)
{
	struct hold_table table;
	uint64_t ino = 1;

	hold_table_init(&table);
	hold_add(&table, ino, 1);
	while (keep_bytes(&table, ino, 1, 1)) {
		assert_true(ino <= HOLD_KEPT_MAX / 32);
		hold_add(&table, ++ino, 1);
	}
	assert_true(ino > 1);
	hold_drop(&table, 1);
	assert_true(keep_bytes(&table, ino, 1, 1));
	hold_table_fini(&table);
}

/* Records of all sizes, kept, kept anew, dropped, and gone with the last hold. */
static void test_kept(void **state)
{
	static size_t sizes[KEPT_NUMBERS];
	static uint8_t bytes[KEPT_NUMBERS];
	struct hold_table table;
	size_t total = 0;

	hold_table_init(&table);
	assert_false(keep_bytes(&table, 1, 1, 10));
	for (unsigned i = 0; i < KEPT_NUMBERS; i++)
		hold_add(&table, i + 1, 1);
	srandom(4);
	for (unsigned round = 0; round < 20000; round++) {
		unsigned i = (unsigned)random() % KEPT_NUMBERS;

		must_have_kept(&table, i + 1, bytes[i], sizes[i]);
		sizes[i] = 0;
		switch (random() % 4) {
		case 0:
			hold_drop(&table, i + 1);
			break;
		case 1:
			(void)hold_remove(&table, i + 1, 1);
			hold_add(&table, i + 1, 1);
			break;
		default:
			sizes[i] = 1 + (unsigned)random() % KEPT_MAX;
			bytes[i] = (uint8_t)round;
			assert_true(keep_bytes(&table, i + 1, bytes[i], sizes[i]));
		}
	}
	for (unsigned i = 0; i < KEPT_NUMBERS; i++)
		total += sizes[i];
	assert_in_range(table.kept_bytes, total, total + KEPT_NUMBERS * KEPT_MAX);
	for (unsigned i = 0; i < KEPT_NUMBERS; i++)
		hold_drop(&table, i + 1);
	assert_int_equal(table.kept_bytes, 0);
	for (unsigned i = 0; i < KEPT_NUMBERS / 2; i++) {
		hold_remove(&table, i + 1, 1);
		assert_true(keep_bytes(&table, KEPT_NUMBERS - i, 1, KEPT_MAX));
	}
	hold_table_fini(&table);
}

/* Some keep, others let go: a record is the one or the other, and whole. */
static void *keep_and_release(void *arg)
{
	struct hold_table *table = arg;

	for (unsigned round = 0; round < 20; round++) {
		for (uint64_t ino = 1; ino <= KEPT_NUMBERS; ino++) {
			uint8_t bytes[KEPT_MAX];
			size_t size;

			hold_add(table, ino, 1);
			(void)keep_bytes(
				table, ino, (uint8_t)ino, 1 + (ino * 37 + round) % KEPT_MAX);
			size = hold_kept(table, ino, bytes, sizeof(bytes));
			for (size_t i = 0; i < size; i++)
				assert_int_equal(bytes[i], (uint8_t)ino);
			hold_remove(table, ino, 1);
		}
	}
	return NULL;
}

static void test_kept_by_threads(void **state)
{
	struct hold_table table;
	pthread_t threads[THREADS];

	hold_table_init(&table);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, keep_and_release, &table), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(table.kept_bytes, 0);
	for (uint64_t ino = 1; ino <= KEPT_NUMBERS; ino++)
		assert_false(hold_is_held(&table, ino));
	hold_table_fini(&table);
}

static void test_number_table(void **state)
{
	struct number_table table = {0}, set = {0};

	for (uint64_t i = 0; i < 20000; i++)
		*number_table_at(&table, i * i) += i;
	for (uint64_t i = 0; i < 20000; i++)
		assert_int_equal(*number_table_find(&table, i * i), i);
	assert_null(number_table_find(&table, 3));
	for (uint64_t i = 0; i < 20000; i += 2)
		assert_int_equal(number_set_add(&set, i), 1);
	for (uint64_t i = 0; i < 20000; i++)
		assert_int_equal(number_set_has(&set, i), i % 2 == 0);
	assert_int_equal(number_set_add(&set, 4), 0);
	assert_false(number_set_has(&set, UINT64_C(1) << 40));
	number_table_fini(&table);
	number_table_fini(&set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_marks),
		cmocka_unit_test(test_against_array),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_kept),
		cmocka_unit_test(test_kept_bound),
		cmocka_unit_test(test_kept_by_threads),
		cmocka_unit_test(test_number_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

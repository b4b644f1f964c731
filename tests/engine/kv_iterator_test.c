/* SPDX-License-Identifier: MIT */
/*
 * kv_iterator_test.c - passes over everything: what is there all the time comes exactly once, while
 * the index grows, shrinks and is written to from all sides.
 */
#include "kv_fixture.h"

#include <pthread.h>
#include <stdatomic.h>

#define STABLE 20000u /* keys that stay */
#define PASSING 40000u /* keys that come and go */

static void put_number(struct fixture *fixture, unsigned keyspace, uint32_t number, uint32_t value)
{
	assert_int_equal(
		kv_put(fixture->kv, keyspace, &number, sizeof(number), &value, sizeof(value), NULL),
		0);
}

static void delete_number(struct fixture *fixture, unsigned keyspace, uint32_t number)
{
	assert_int_equal(kv_delete(fixture->kv, keyspace, &number, sizeof(number), NULL), 0);
}

static uint32_t number_of(struct kv_slice slice)
{
	uint32_t number;

	assert_int_equal(slice.size, sizeof(number));
	memcpy(&number, slice.data, sizeof(number));
	return number;
}

/* One portion; false at the end. */
static bool read_on(struct fixture *fixture, struct kv_iterator *iterator, uint8_t *seen)
{
	const struct kv_entry *entries;
	size_t count = 0;
	int err;

	kv_read_begin(fixture->kv);
	err = kv_iterator_read(iterator, &entries, &count);
	for (size_t i = 0; i < count; i++) {
		uint32_t number = number_of(entries[i].key);

		assert_int_equal(entries[i].status, 0);
		assert_in_range(number, 0, STABLE + PASSING - 1);
		assert_int_equal(number_of(entries[i].value) % (STABLE + PASSING), number);
		seen[number]++;
	}
	kv_read_end(fixture->kv);
	assert_true(err == 0 ? count > 0 : err == -ENOENT);
	return !err;
}

static struct kv_iterator *must_iterate(struct fixture *fixture, unsigned keyspace)
{
	struct kv_iterator *iterator;

	assert_int_equal(kv_iterator_open(fixture->kv, keyspace, 0, &iterator), 0);
	return iterator;
}

static void test_refused_and_empty(void **state)
{
	struct fixture *fixture = *state;
	struct kv_iterator *iterator;
	static uint8_t seen[STABLE + PASSING];

	assert_int_equal(kv_iterator_open(fixture->kv, 2, 0, &iterator), -EINVAL);
	assert_int_equal(kv_iterator_open(fixture->kv, HASHED, 1u << 31, &iterator), -EINVAL);
	kv_iterator_close(NULL);
	iterator = must_iterate(fixture, HASHED);
	put_number(fixture, ORDERED, 1, 1); /* of another keyspace */
	assert_false(read_on(fixture, iterator, seen));
	assert_false(read_on(fixture, iterator, seen));
	kv_iterator_close(iterator);
}

/* Standing still, and opened again: all of it, keys alone as well. */
static void test_still(void **state)
{
	struct fixture *fixture = *state;
	static uint8_t seen[STABLE + PASSING];

	for (uint32_t i = 0; i < 5000; i++)
		put_number(fixture, i % 2, i, i);
	for (unsigned round = 0; round < 4; round++) {
		struct kv_iterator *iterator = must_iterate(fixture, round % 2);

		memset(seen, 0, sizeof(seen));
		while (read_on(fixture, iterator, seen))
			;
		for (uint32_t i = 0; i < 5000; i++)
			assert_int_equal(seen[i], i % 2 == round % 2);
		kv_iterator_close(iterator);
		if (round == 1) {
			must_close(fixture);
			must_open(fixture, KV_OPEN_READ_ONLY);
		}
	}
}

static void test_keys(void **state)
{
	struct fixture *fixture = *state;
	const struct kv_entry *entries;
	struct kv_iterator *iterator;
	size_t count, total = 0;

	for (uint32_t i = 0; i < 1000; i++)
		put_number(fixture, HASHED, i, i);
	assert_int_equal(kv_iterator_open(fixture->kv, HASHED, KV_ITERATE_KEYS, &iterator), 0);
	kv_read_begin(fixture->kv);
	while (!kv_iterator_read(iterator, &entries, &count)) {
		for (size_t i = 0; i < count; i++) {
			assert_in_range(number_of(entries[i].key), 0, 999);
			assert_null(entries[i].value.data);
			assert_int_equal(entries[i].seq, 1 + number_of(entries[i].key));
		}
		total += count;
	}
	kv_read_end(fixture->kv);
	assert_int_equal(total, 1000);
	kv_iterator_close(iterator);
}

/*
 * Between any two portions keys come, are overwritten and go: many times as many as there are
 * portions.
 */
static void test_under_change(void **state)
{
	struct fixture *fixture = *state;
	static uint8_t seen[STABLE + PASSING];
	struct sim_random random = {3};

	for (unsigned round = 0; round < 3; round++) {
		struct kv_iterator *iterator = must_iterate(fixture, HASHED);
		uint32_t at = 0;

		for (uint32_t i = 0; i < STABLE && !round; i++)
			put_number(fixture, HASHED, i, i);
		memset(seen, 0, sizeof(seen));
		while (read_on(fixture, iterator, seen)) {
			for (unsigned i = 0; i < 60; i++, at = (at + 1) % PASSING)
				if (round % 2)
					delete_number(fixture, HASHED, STABLE + at);
				else
					put_number(fixture, HASHED, STABLE + at, STABLE + at);
			for (unsigned i = 0; i < 5; i++) {
				uint32_t number = (uint32_t)sim_random_below(&random, STABLE);

				put_number(fixture, HASHED, number,
					number + STABLE + PASSING);
			}
		}
		for (uint32_t i = 0; i < STABLE; i++)
			assert_int_equal(seen[i], 1);
		kv_iterator_close(iterator);
	}
	must_check_clean(fixture);
}

/* ---- threads --------------------------------------------------------------------------------- */

struct change {
	struct fixture *fixture;
	atomic_bool stop;
	unsigned failures;
};

static void *change_thread(void *arg)
{
	struct change *change = arg;
	struct sim_random random = {17};

	while (!atomic_load(&change->stop)) {
		uint32_t number = (uint32_t)sim_random_below(&random, STABLE + PASSING);
		int err;

		if (number >= STABLE && sim_random_below(&random, 2))
			err = kv_delete(change->fixture->kv, HASHED, &number, sizeof(number), NULL);
		else
			err = kv_put(change->fixture->kv, HASHED, &number, sizeof(number), &number,
				sizeof(number), NULL);
		change->failures += err != 0;
	}
	return NULL;
}

static void test_beside_writer(void **state)
{
	struct fixture *fixture = *state;
	struct change change = {.fixture = fixture};
	static uint8_t seen[STABLE + PASSING];
	pthread_t thread;

	for (uint32_t i = 0; i < STABLE; i++)
		put_number(fixture, HASHED, i, i);
	assert_int_equal(pthread_create(&thread, NULL, change_thread, &change), 0);
	for (unsigned round = 0; round < 15; round++) {
		struct kv_iterator *iterator = must_iterate(fixture, HASHED);

		memset(seen, 0, sizeof(seen));
		while (read_on(fixture, iterator, seen))
			;
		for (uint32_t i = 0; i < STABLE + PASSING; i++)
			assert_in_range(seen[i], i < STABLE ? 1 : 0, i < STABLE ? 1 : 2);
		kv_iterator_close(iterator);
	}
	atomic_store(&change.stop, true);
	pthread_join(thread, NULL);
	assert_int_equal(change.failures, 0);
	must_check_clean(fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(test_refused_and_empty),
		FIXTURE_TEST(test_still),
		FIXTURE_TEST(test_keys),
		FIXTURE_TEST(test_under_change),
		FIXTURE_TEST(test_beside_writer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

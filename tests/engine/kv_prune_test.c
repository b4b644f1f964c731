/* SPDX-License-Identifier: MIT */
/* kv_prune_test.c - compaction, in the background and on demand: what it gives back, what it keeps,
 * and that cold segments come back as they were. */
#include "kv_fixture.h"

#include <pthread.h>
#include <stdatomic.h>

#define VALUE_SIZE 3000u
#define KEYS 3000u

static uint8_t value[VALUE_SIZE];

static void put(struct fixture *fixture, unsigned key, unsigned stamp)
{
	fill_bytes(value, sizeof(value), (uint64_t)stamp << 32 | key);
	assert_int_equal(
		kv_put(fixture->kv, key % 2, &key, sizeof(key), value, sizeof(value), NULL), 0);
}

static void must_hold(struct fixture *fixture, unsigned key, unsigned stamp)
{
	struct kv_slice found;

	fill_bytes(value, sizeof(value), (uint64_t)stamp << 32 | key);
	kv_read_begin(fixture->kv);
	assert_int_equal(kv_get(fixture->kv, key % 2, &key, sizeof(key), &found), 0);
	assert_int_equal(found.size, sizeof(value));
	assert_memory_equal(found.data, value, sizeof(value));
	kv_read_end(fixture->kv);
}

static void must_hold_all(struct fixture *fixture, unsigned stamp_even, unsigned stamp_odd)
{
	for (unsigned key = 0; key < KEYS; key++)
		must_hold(fixture, key, key % 2 ? stamp_odd : stamp_even);
	must_check_clean(fixture);
}

/* Every second record of each segment is garbage: half of the log comes back, into a disk that has
 * little more than that left. */
static void test_prune(void **state)
{
	struct fixture *fixture = *state;
	struct kv_prune_report report;
	uint64_t before;

	for (unsigned key = 0; key < KEYS; key++)
		put(fixture, key, 1);
	for (unsigned key = 0; key < KEYS; key += 2)
		put(fixture, key, 2);
	must_sync(fixture);
	before = stats_of(fixture).log_bytes;
	assert_int_equal(kv_prune(fixture->kv, NULL, NULL, NULL, &report), 0);
	assert_true(report.segments > 0 && report.copied_bytes > 0);
	assert_int_equal(report.log_bytes, stats_of(fixture).log_bytes);
	/* A spare segment's header may have come, or garbage gone, by itself before it began. */
	assert_in_range(report.freed_bytes, 1, before - report.log_bytes + 4 * 4096);
	assert_true(report.log_bytes < stats_of(fixture).live_bytes * 12 / 10 + SEGMENT_SIZE);
	must_hold_all(fixture, 2, 1);
	/* There is nothing more to do. */
	assert_int_equal(kv_prune(fixture->kv, NULL, NULL, NULL, &report), 0);
	assert_true(report.copied_bytes < SEGMENT_SIZE);

	must_crash(fixture, SIM_LOSS_ALL, 0);
	must_hold_all(fixture, 2, 1);
	must_close(fixture);
	must_open(fixture, KV_OPEN_READ_ONLY);
	must_hold_all(fixture, 2, 1);
	assert_int_equal(kv_prune(fixture->kv, NULL, NULL, NULL, NULL), -EROFS);
}

/* Copies that a crash tears off were not the only ones; deleted keys stay deleted. */
static void test_crash_amid_copies(void **state)
{
	struct fixture *fixture = *state;

	for (unsigned round = 0; round < 6; round++) {
		for (unsigned key = round % 3; key < KEYS; key += 3)
			put(fixture, key, round);
		for (unsigned key = 0; key < KEYS; key += 30)
			assert_int_equal(
				kv_delete(fixture->kv, key % 2, &key, sizeof(key), NULL), 0);
		must_sync(fixture);
		must_crash(fixture, round % 2 ? SIM_LOSS_ANY : SIM_LOSS_ALL, 0);
		must_check_clean(fixture);
	}
	for (unsigned key = 0; key < KEYS; key++) {
		struct kv_slice found;

		if (key % 30)
			must_hold(fixture, key, key % 3 + 3);
		else
			assert_int_equal(
				kv_get(fixture->kv, key % 2, &key, sizeof(key), &found), -ENOENT);
	}
	assert_int_equal(fixture->errors, 0);
}

/*
 * What is deleted lies in segments that stay, the tombstones in one of garbage: they outlive that,
 * and the next, as long as there is anything that would come back without them.
 */
static void test_deleted_stays_deleted(void **state)
{
	enum { OLD = 400, NEW = OLD + 400 }; /* three quarters of which stay */
	struct kv_prune_options options = {.garbage_percent = 50};
	struct fixture *fixture = *state;
	struct kv_slice found;

	for (unsigned key = 0; key < OLD; key++)
		put(fixture, key, 1);
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned key = round; key < OLD && round < 2; key += 8)
			assert_int_equal(
				kv_delete(fixture->kv, key % 2, &key, sizeof(key), NULL), 0);
		for (unsigned repeat = 0; repeat < 5; repeat++)
			for (unsigned key = OLD; key < NEW; key++)
				put(fixture, key, repeat);
		assert_int_equal(kv_prune(fixture->kv, &options, NULL, NULL, NULL), 0);
		must_sync(fixture);
		must_crash(fixture, SIM_LOSS_ALL, 0);
		for (unsigned key = 0; key < OLD; key++) {
			if (key % 8 > 1 || key % 8 > round)
				must_hold(fixture, key, 1);
			else
				assert_int_equal(
					kv_get(fixture->kv, key % 2, &key, sizeof(key), &found),
					-ENOENT);
		}
		must_check_clean(fixture);
	}
}

static int stop_at(void *arg, uint64_t done, uint64_t total)
{
	assert_true(done <= total);
	return --*(int *)arg < 0;
}

static void test_prune_is_interrupted(void **state)
{
	struct fixture *fixture = *state;
	int left = 0, result = -ECANCELED;

	for (unsigned key = 0; key < KEYS; key++)
		put(fixture, key, 1);
	for (unsigned key = 0; key < KEYS; key += 2)
		put(fixture, key, 2);
	for (int calls = 0; result == -ECANCELED; calls++) {
		assert_true(calls < 10000);
		left = calls;
		result = kv_prune(fixture->kv, NULL, stop_at, &left, NULL);
	}
	assert_int_equal(result, 0);
	must_hold_all(fixture, 2, 1);
}

static void test_bad_options(void **state)
{
	struct fixture *fixture = *state;
	struct kv_prune_options options = {.garbage_percent = 100};

	assert_int_equal(kv_prune(fixture->kv, &options, NULL, NULL, NULL), -EINVAL);
}

/*
 * A few keys that are overwritten all the time among many that are not: once the two stand apart,
 * the many are not copied again and again.
 */
static void test_cold_stays(void **state)
{
	struct fixture *fixture = *state;
	uint64_t written, copied;

	for (unsigned i = 0; i < 60000; i++)
		put(fixture, i < KEYS ? i : i * 2654435761u % (KEYS / 10), i);
	written = stats_of(fixture).appended_bytes;
	copied = stats_of(fixture).relocated_bytes;
	assert_true(stats_of(fixture).emptied_segments > 50);
	assert_true(copied < written / 4);
	must_check_clean(fixture);
}

static void *write_on(void *arg)
{
	struct fixture *fixture = arg;
	uint8_t bytes[VALUE_SIZE];

	for (unsigned i = 0; i < 20000; i++) {
		unsigned key = KEYS + i * 7 % 300;

		fill_bytes(bytes, sizeof(bytes), i);
		if (kv_put(fixture->kv, i % 2, &key, sizeof(key), bytes, sizeof(bytes), NULL))
			return arg;
	}
	return NULL;
}

/* Writers and the store's own compaction go on meanwhile. */
static void test_prune_beside_writers(void **state)
{
	struct fixture *fixture = *state;
	pthread_t writer;
	void *failed;

	for (unsigned key = 0; key < KEYS; key++)
		put(fixture, key, 1);
	assert_int_equal(pthread_create(&writer, NULL, write_on, fixture), 0);
	for (unsigned round = 0; round < 5; round++) {
		for (unsigned key = round; key < KEYS; key += 5)
			put(fixture, key, 2);
		assert_int_equal(kv_prune(fixture->kv, NULL, NULL, NULL, NULL), 0);
	}
	pthread_join(writer, &failed);
	assert_null(failed);
	must_hold_all(fixture, 2, 2);
	must_close(fixture);
	must_open(fixture, 0);
	must_hold_all(fixture, 2, 2);
}

/*
 * The segment with the newest batch goes, of which nothing is needed, while the one behind it has
 * no record yet: a batch that was refused has only begun it. The number is not given out again.
 */
static void test_newest_number_stays(void **state)
{
	enum { FILL = 250, MORE = 150 };
	struct fixture *fixture = *state;
	struct kv_prune_report report;
	struct kv_batch *batch;
	unsigned key = 0;
	uint64_t seq;

	for (unsigned stamp = 0; stamp < FILL; stamp++)
		put(fixture, key, stamp);
	assert_int_equal(kv_delete(fixture->kv, key % 2, &key, sizeof(key), &seq), 0);
	must_sync(fixture);

	assert_int_equal(kv_batch_new(fixture->kv, &batch), 0);
	assert_int_equal(kv_batch_expect(batch, 0, &key, sizeof(key), 1), 0);
	for (unsigned other = 1; other <= MORE; other++)
		assert_int_equal(
			kv_batch_put(batch, other % 2, &other, sizeof(other), value, sizeof(value)),
			0);
	assert_int_equal(kv_commit(fixture->kv, batch, NULL), -ESTALE);
	kv_batch_free(batch);

	assert_int_equal(kv_prune(fixture->kv, NULL, NULL, NULL, &report), 0);
	assert_int_equal(report.segments, 1);
	assert_int_equal(kv_last_seq(fixture->kv), seq);
	must_crash(fixture, SIM_LOSS_ALL, KV_OPEN_INLINE);
	assert_int_equal(kv_last_seq(fixture->kv), seq);
	must_check_clean(fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(test_prune),
		INLINE_TEST(test_prune),
		FIXTURE_TEST(test_crash_amid_copies),
		INLINE_TEST(test_crash_amid_copies),
		FIXTURE_TEST(test_deleted_stays_deleted),
		INLINE_TEST(test_deleted_stays_deleted),
		FIXTURE_TEST(test_prune_is_interrupted),
		FIXTURE_TEST(test_bad_options),
		FIXTURE_TEST(test_cold_stays),
		FIXTURE_TEST(test_prune_beside_writers),
		INLINE_TEST(test_newest_number_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

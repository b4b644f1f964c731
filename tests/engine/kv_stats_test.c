/* SPDX-License-Identifier: MIT */
/* kv_stats_test.c - what a store says of itself. */
#include "kv_fixture.h"

#define CHANGES 2000u

static void change(struct fixture *fixture, unsigned from)
{
	char key[20];

	for (unsigned i = from; i < from + CHANGES; i++) {
		snprintf(key, sizeof(key), "key %u", i);
		must_put(fixture, HASHED, key, "value");
		must_have(fixture, HASHED, key, "value");
	}
	must_sync(fixture);
}

static void must_be_sound(const struct kv_latency *latency)
{
	assert_true(latency->p50_ns > 0);
	assert_true(latency->p50_ns <= latency->p99_ns);
	assert_true(latency->p99_ns <= latency->p999_ns);
	assert_true(latency->p999_ns <= latency->max_ns);
	assert_true(latency->max_ns < UINT64_C(1000000000) * 100);
}

/*
 * Samples come at the promised rate, waits are all counted, and nothing comes while timing is off.
 */
static void test_latencies(void **state)
{
	struct fixture *fixture = *state;
	struct kv_stats stats, later;

	kv_stats(fixture->kv, &stats);
	for (unsigned i = 0; i < KV_OPERATIONS; i++) {
		assert_int_equal(stats.latencies[i].samples, 0);
		assert_int_equal(stats.latencies[i].max_ns, 0);
	}
	change(fixture, 0);
	kv_stats(fixture->kv, &stats);
	assert_in_range(stats.latencies[KV_OPERATION_GET].samples, CHANGES / 192, CHANGES / 64 + 1);
	assert_in_range(
		stats.latencies[KV_OPERATION_COMMIT].samples, CHANGES / 192, CHANGES / 64 + 1);
	assert_true(stats.latencies[KV_OPERATION_SYNC].samples <= 1);
	assert_in_range(stats.latencies[KV_OPERATION_FLUSH].samples, 1, stats.flushes);
	must_be_sound(&stats.latencies[KV_OPERATION_GET]);
	must_be_sound(&stats.latencies[KV_OPERATION_COMMIT]);
	must_be_sound(&stats.latencies[KV_OPERATION_FLUSH]);

	kv_set_timing(fixture->kv, false);
	kv_stats(fixture->kv, &stats);
	change(fixture, CHANGES);
	kv_stats(fixture->kv, &later);
	for (unsigned i = 0; i < KV_OPERATIONS; i++)
		assert_int_equal(later.latencies[i].samples, stats.latencies[i].samples);
	kv_set_timing(fixture->kv, true);
	change(fixture, 2 * CHANGES);
	kv_stats(fixture->kv, &later);
	assert_true(later.latencies[KV_OPERATION_GET].samples >
		    stats.latencies[KV_OPERATION_GET].samples);
}

/*
 * What is written is at least what was appended, and a flush that is behind a sync writes a block
 * again.
 */
static void test_written(void **state)
{
	struct fixture *fixture = *state;
	struct kv_stats stats, later;

	change(fixture, 0);
	kv_stats(fixture->kv, &stats);
	assert_true(stats.written_bytes >= stats.appended_bytes);
	assert_int_equal(stats.puts, CHANGES);
	assert_true(stats.hits >= CHANGES);
	assert_int_equal(stats.hits, stats.gets);
	must_put(fixture, HASHED, "a", "1");
	must_sync(fixture);
	kv_stats(fixture->kv, &later);
	assert_in_range(later.written_bytes - stats.written_bytes, 4096, 8192);
	assert_int_equal(later.synced_batches - stats.synced_batches, 1);
}

/* What says that a key was deleted is counted, until it goes with the log's oldest segment. */
static void test_tombstones(void **state)
{
	struct fixture *fixture = *state;
	struct kv_stats stats;
	char key[20];

	change(fixture, 0);
	kv_stats(fixture->kv, &stats);
	assert_int_equal(stats.tombstone_bytes, 0);
	for (unsigned i = 0; i < CHANGES; i++) {
		snprintf(key, sizeof(key), "key %u", i);
		must_delete(fixture, HASHED, key);
	}
	kv_stats(fixture->kv, &stats);
	assert_int_equal(stats.live_bytes, 0);
	assert_in_range(stats.tombstone_bytes, CHANGES * sizeof("key"), stats.log_bytes / 2);
	must_close(fixture);
	must_open(fixture, 0);
	assert_int_equal(stats_of(fixture).tombstone_bytes, stats.tombstone_bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		INLINE_TEST(test_tombstones),
		INLINE_TEST(test_latencies),
		INLINE_TEST(test_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

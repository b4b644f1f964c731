/* SPDX-License-Identifier: MIT */
/*
 * kv_rest_test.c - a store that was closed in order is opened without a buffer, and without a look
 * behind its end; the first change, or time, brings both back.
 */
#include "kv_fixture.h"

#include <unistd.h>

#include "store.h"

#define MANY_PUTS 75u /* of a tenth of a segment: more segments than there are buffers */

static uint64_t resident_bytes(struct fixture *fixture)
{
	struct kv_stats stats = {0};

	kv_stats(fixture->kv, &stats);
	return stats.memory_resident_bytes;
}

/*
 * What was closed in order is opened without a buffer, or a look behind its end; the first change
 * brings both.
 */
static void test_rests_until_it_is_written_to(void **state)
{
	struct fixture *fixture = *state;

	must_put(fixture, HASHED, "first", "1");
	must_close(fixture);
	assert_int_equal(sim_env_power_on(fixture->sim, SIM_LOSS_ALL), 0);
	for (unsigned i = 0; i < 3; i++) {
		must_open(fixture, KV_OPEN_INLINE);
		must_have(fixture, HASHED, "first", "1");
		assert_int_equal(resident_bytes(fixture), 0);
		must_close(fixture);
	}
	must_open(fixture, KV_OPEN_INLINE);
	sim_env_fail(fixture->sim, SIM_FAULT_BUFFER, 1, 1, -ENOMEM);
	assert_int_equal(kv_put(fixture->kv, HASHED, "second", 6, "2", 1, NULL), -ENOMEM);
	sim_env_fail(fixture->sim, SIM_FAULT_BUFFER, 0, 0, 0);
	must_lack(fixture, HASHED, "second");
	must_put(fixture, HASHED, "second", "2");
	assert_int_equal(resident_bytes(fixture), SEGMENT_SIZE);
	must_have(fixture, HASHED, "first", "1");
	must_close(fixture);
	must_open(fixture, KV_OPEN_INLINE);
	must_have(fixture, HASHED, "first", "1");
	must_have(fixture, HASHED, "second", "2");
	assert_int_equal(resident_bytes(fixture), 0);
	assert_int_equal(fixture->errors, 0);
	must_check_clean(fixture);
}

static uint64_t sync_writes(struct fixture *fixture)
{
	uint64_t writes = sim_env_calls(fixture->sim, SIM_FAULT_WRITE);

	assert_int_equal(kv_sync(fixture->kv, kv_last_seq(fixture->kv)), 0);
	return sim_env_calls(fixture->sim, SIM_FAULT_WRITE) - writes;
}

/*
 * Where it was closed the first block is written before the others: else these could be there
 * behind a record that says that nothing is.
 */
static void test_first_block_goes_first(void **state)
{
	struct fixture *fixture = *state;

	must_put(fixture, HASHED, "first", "1");
	must_close(fixture);
	must_open(fixture, KV_OPEN_INLINE);
	must_put_filled(fixture, HASHED, "second", 10000, 2);
	sim_env_fail(fixture->sim, SIM_FAULT_WRITE, 2, 1, -EIO);
	assert_int_equal(kv_sync(fixture->kv, kv_last_seq(fixture->kv)), -EIO);
	sim_env_fail(fixture->sim, SIM_FAULT_WRITE, 0, 0, 0);
	assert_int_equal(kv_close(fixture->kv), -EIO);
	must_open(fixture, KV_OPEN_INLINE);
	/* No CLOSED any more. */
	assert_int_equal(resident_bytes(fixture), SEGMENT_SIZE);
	must_have(fixture, HASHED, "first", "1");
	must_put_filled(fixture, HASHED, "second", 10000, 2);
	assert_int_equal(sync_writes(fixture), 1);
	must_close(fixture);
	must_open(fixture, KV_OPEN_INLINE);
	must_put_filled(fixture, HASHED, "second", 10000, 3);
	assert_int_equal(sync_writes(fixture), 2);
	must_put_filled(fixture, HASHED, "second", 10000, 4);
	assert_int_equal(sync_writes(fixture), 1);
}

/* The buffer of the last segment was another's before, whose records stand behind the end. */
static void test_rests_after_many_segments(void **state)
{
	struct fixture *fixture = *state;

	for (unsigned i = 0; i < MANY_PUTS; i++)
		must_put_filled(fixture, HASHED, "often", SEGMENT_SIZE / 10, i);
	must_close(fixture);
	must_open(fixture, KV_OPEN_INLINE);
	assert_int_equal(resident_bytes(fixture), 0);
	must_have_filled(fixture, HASHED, "often", SEGMENT_SIZE / 10, MANY_PUTS - 1);
}

/* The same beside threads: one change after each opening, and nothing else. */
static void test_rests_beside_threads(void **state)
{
	struct fixture *fixture = *state;
	char key[16];

	must_close(fixture);
	for (unsigned i = 0; i < 20; i++) {
		must_open(fixture, 0);
		snprintf(key, sizeof(key), "key-%u", i);
		must_put_filled(fixture, HASHED, key, 3000, i);
		for (unsigned j = 0; j <= i; j++) {
			snprintf(key, sizeof(key), "key-%u", j);
			must_have_filled(fixture, HASHED, key, 3000, j);
		}
		must_close(fixture);
	}
}

/*
 * What was to be written where the store had been closed, and was torn, is not there, and does not
 * come back.
 */
static void test_torn_behind_the_close(void **state)
{
	struct fixture *fixture = *state;
	struct segment *segment;
	uint32_t offset;
	uint64_t size;
	char name[FORMAT_SEGMENT_NAME_SIZE];

	must_put(fixture, HASHED, "first", "1");
	must_close(fixture);
	must_open(fixture, KV_OPEN_INLINE);
	segment = fixture->kv->log.hot.active;
	offset = fixture->kv->log.hot.offset + FORMAT_RECORD_HEADER_SIZE + 512;
	format_segment_name(segment->slot, name);
	must_close(fixture);
	assert_int_equal(sim_env_flip(fixture->sim, name, offset, 3), 0);
	must_open(fixture, KV_OPEN_INLINE);
	/* Looked at, erased, and in a buffer. */
	assert_int_equal(resident_bytes(fixture), SEGMENT_SIZE);
	assert_int_equal(sim_env_bytes(fixture->sim, name, &size)[offset], 0);
	must_have(fixture, HASHED, "first", "1");
	must_put(fixture, HASHED, "second", "2");
	must_close(fixture);
	must_open(fixture, KV_OPEN_INLINE);
	must_have(fixture, HASHED, "second", "2");
	assert_int_equal(fixture->errors, 0);
}

/* What was closed is read from maps at first, and from buffers again when there was time for it. */
static void test_comes_back_into_memory(void **state)
{
	struct fixture *fixture = *state;
	struct kv_open_options options = {.resident_size = 16 * SEGMENT_SIZE,
					  .report = fixture_hear,
					  .report_arg = fixture};
	struct kv_stats stats = {0};
	char key[16];
	unsigned i, tries;

	for (i = 0; i < 6000; i++) {
		snprintf(key, sizeof(key), "key-%u", i);
		must_put_filled(fixture, i % 2 ? HASHED : ORDERED, key, 1000, i);
	}
	must_close(fixture);
	assert_int_equal(kv_open(fixture->env, STORE_PATH, &options, &fixture->kv), 0);
	/* Some were looked at before, in the map, and some while they move. */
	for (tries = 0; tries < 120000 && stats.memory_resident_bytes < 6 * SEGMENT_SIZE; tries++) {
		i = tries * 7 % 6000;
		snprintf(key, sizeof(key), "key-%u", i);
		must_have_filled(fixture, i % 2 ? HASHED : ORDERED, key, 1000, i);
		sim_env_advance_us(fixture->sim, 1000);
		usleep(500);
		kv_stats(fixture->kv, &stats);
	}
	assert_true(stats.memory_resident_bytes >= 6 * SEGMENT_SIZE);
	for (i = 0; i < 6000; i++) {
		snprintf(key, sizeof(key), "key-%u", i);
		must_have_filled(fixture, i % 2 ? HASHED : ORDERED, key, 1000, i);
	}
	for (i = 0; i < 6000; i += 3) {
		snprintf(key, sizeof(key), "key-%u", i);
		must_put_filled(fixture, i % 2 ? HASHED : ORDERED, key, 900, i + 1);
	}
	must_check_clean(fixture);
	must_close(fixture);
	must_open(fixture, 0);
	for (i = 0; i < 6000; i++) {
		snprintf(key, sizeof(key), "key-%u", i);
		must_have_filled(fixture, i % 2 ? HASHED : ORDERED, key, i % 3 ? 1000 : 900,
				 i % 3 ? i : i + 1);
	}
}

/*
 * Where no cold segment can be opened copies go to the log's end, which does not rest any more then.
 */
static void test_pruned_while_it_rests(void **state)
{
	enum { KEYS = 60, SIZE = 30000 };
	struct fixture *fixture = *state;
	char key[16];

	for (unsigned i = 0; i < KEYS + KEYS / 2; i++) {
		snprintf(key, sizeof(key), "key-%u", i < KEYS ? i : (i - KEYS) * 2);
		must_put_filled(fixture, HASHED, key, SIZE, i);
	}
	must_close(fixture);
	must_open(fixture, KV_OPEN_INLINE);
	assert_int_equal(fixture->kv->log.hot.limit, 0);
	sim_env_fail(fixture->sim, SIM_FAULT_WRITE, 1, 1, -EIO);
	assert_int_equal(kv_prune(fixture->kv, NULL, NULL, NULL, NULL), 0);
	assert_true(fixture->kv->log.hot.limit > 0);
	for (unsigned i = 0; i < KEYS; i++) {
		snprintf(key, sizeof(key), "key-%u", i);
		must_have_filled(fixture, HASHED, key, SIZE,
				 i % 2 ? i : KEYS + i / 2);
	}
	must_check_clean(fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		INLINE_TEST(test_rests_until_it_is_written_to),
		INLINE_TEST(test_rests_after_many_segments),
		FIXTURE_TEST(test_rests_beside_threads),
		INLINE_TEST(test_first_block_goes_first),
		INLINE_TEST(test_torn_behind_the_close),
		FIXTURE_TEST(test_comes_back_into_memory),
		INLINE_TEST(test_pruned_while_it_rests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * scrub_test.c - the log is read through in the background: when, how fast, what is found, and with
 * compaction underneath.
 */
#include "kv_fixture.h"

#include <pthread.h>

#include "scrub.h"

#define SECOND_US UINT64_C(1000000)
#define HOUR_US (3600 * SECOND_US)
#define FIRST_US (600 * SECOND_US) /* after opening */
#define KEYS 400u
#define VALUE_SIZE 12000u

static void key_of(unsigned number, char key[16])
{
	snprintf(key, 16, "key %u", number);
}

static void put_all(struct fixture *fixture, uint64_t seed)
{
	char key[16];

	for (unsigned i = 0; i < KEYS; i++) {
		key_of(i, key);
		must_put_filled(fixture, i % 2, key, VALUE_SIZE, seed + i);
	}
	must_sync(fixture);
}

static unsigned count_readable(struct fixture *fixture)
{
	unsigned readable = 0;
	struct kv_slice value;
	char key[16];

	kv_read_begin(fixture->kv);
	for (unsigned i = 0; i < KEYS; i++) {
		key_of(i, key);
		readable += kv_get(fixture->kv, i % 2, key, strlen(key), &value) == 0;
	}
	kv_read_end(fixture->kv);
	return readable;
}

/* A store that has all of its log on the disk but for the end. */
static void fill_and_open(struct fixture *fixture, unsigned flags, uint64_t rate,
			  unsigned interval_s)
{
	struct kv_open_options options = {.flags = flags, .resident_size = 1, .scrub_rate = rate,
					  .scrub_interval_s = interval_s, .report = fixture_hear,
					  .report_arg = fixture};

	put_all(fixture, 1);
	must_close(fixture);
	assert_int_equal(kv_open(fixture->env, STORE_PATH, &options, &fixture->kv), 0);
}

static void step(struct fixture *fixture)
{
	pthread_mutex_lock(&fixture->kv->maintain.lock);
	scrub_step(fixture->kv);
	pthread_mutex_unlock(&fixture->kv->maintain.lock);
}

/* To the end of the next pass; the number of seconds that passed. */
static uint64_t run_pass(struct fixture *fixture)
{
	_Atomic uint64_t *passes = &fixture->kv->scrub.passes;
	uint64_t before = atomic_load(passes), us = 0, pause_us;
	unsigned steps;

	for (steps = 0; atomic_load(passes) == before; steps++) {
		assert_true(steps < 1000);
		pause_us = scrub_pause_us(fixture->kv);
		sim_env_advance_us(fixture->sim, pause_us);
		us += pause_us;
		step(fixture);
	}
	return us / SECOND_US;
}

static void test_a_pass_when_it_is_time(void **state)
{
	struct fixture *fixture = *state;
	uint64_t seconds;

	fill_and_open(fixture, KV_OPEN_INLINE, 0, 0);
	sim_env_advance_us(fixture->sim, FIRST_US - 10 * SECOND_US);
	step(fixture);
	assert_int_equal(stats_of(fixture).scrubbed_bytes, 0);
	seconds = run_pass(fixture);
	assert_in_range(seconds, 9, 15);
	assert_true(stats_of(fixture).scrubbed_bytes > KEYS * VALUE_SIZE);
	assert_int_equal(stats_of(fixture).scrub_findings, 0);
	assert_int_equal(stats_of(fixture).damaged, 0);
	assert_int_equal(fixture->errors, 0);
	/* And the next one a week after this one began. */
	seconds = run_pass(fixture);
	assert_in_range(seconds, 7 * 86400 - 60, 7 * 86400 + 60);
	assert_int_equal(fixture->errors, 0);
}

static void test_never(void **state)
{
	struct fixture *fixture = *state;

	fill_and_open(fixture, KV_OPEN_INLINE, KV_SCRUB_NEVER, 1);
	sim_env_advance_us(fixture->sim, 1000 * HOUR_US);
	step(fixture);
	assert_int_equal(stats_of(fixture).scrubbed_bytes, 0);
	assert_int_equal(scrub_pause_us(fixture->kv), UINT64_MAX);
}

static void test_the_rate(void **state)
{
	struct fixture *fixture = *state;
	uint64_t idle_us, busy_us, before, bytes;

	fill_and_open(fixture, KV_OPEN_INLINE, 1u << 20, 10);
	sim_env_advance_us(fixture->sim, 11 * SECOND_US);
	step(fixture); /* the store was used since it was opened, by opening */
	do { /* the log's last segment may be the first one that is read, and has less */
		sim_env_advance_us(fixture->sim, 100 * SECOND_US);
		before = stats_of(fixture).scrubbed_bytes;
		step(fixture);
		bytes = stats_of(fixture).scrubbed_bytes - before;
	} while (bytes <= 900000 && stats_of(fixture).scrubs < 2);
	assert_true(bytes > 900000);
	idle_us = scrub_pause_us(fixture->kv);
	assert_in_range(idle_us, bytes * 90 / 100, bytes * 110 / 100);
	/* Before that it does nothing. */
	step(fixture);
	assert_int_equal(stats_of(fixture).scrubbed_bytes, before + bytes);
	/* And an eighth for who shares the store. */
	sim_env_advance_us(fixture->sim, 100 * SECOND_US);
	assert_int_equal(count_readable(fixture), KEYS);
	step(fixture);
	busy_us = scrub_pause_us(fixture->kv);
	assert_in_range(busy_us, idle_us * 7, idle_us * 9);
}

static void test_damage_is_said_once(void **state)
{
	struct fixture *fixture = *state;

	fill_and_open(fixture, KV_OPEN_INLINE, 0, 3600);
	run_pass(fixture);
	assert_int_equal(fixture->errors, 0);
	/* A record that nobody reads. */
	assert_int_equal(sim_env_flip(fixture->sim, "seg-00000001", 500000, 3), 0);
	run_pass(fixture);
	assert_int_equal(fixture->errors, 1);
	assert_non_null(strstr(fixture->last_error, "seg-00000001: the scrub found"));
	assert_int_equal(stats_of(fixture).scrub_findings, 1);
	assert_int_equal(stats_of(fixture).damaged, 1);
	run_pass(fixture);
	assert_int_equal(fixture->errors, 1);
	/* It has become more. */
	assert_int_equal(sim_env_flip(fixture->sim, "seg-00000001", 700000, 3), 0);
	run_pass(fixture);
	assert_int_equal(fixture->errors, 2);
	assert_int_equal(sim_env_flip(fixture->sim, "seg-00000002", 100000, 3), 0);
	run_pass(fixture);
	assert_int_equal(fixture->errors, 3);
	assert_non_null(strstr(fixture->last_error, "seg-00000002"));
	assert_int_equal(stats_of(fixture).scrub_findings, 3);
	/* And what was flipped back is whole again. */
	assert_int_equal(sim_env_flip(fixture->sim, "seg-00000001", 500000, 3), 0);
	assert_int_equal(sim_env_flip(fixture->sim, "seg-00000001", 700000, 3), 0);
	assert_int_equal(sim_env_flip(fixture->sim, "seg-00000002", 100000, 3), 0);
	run_pass(fixture);
	assert_int_equal(fixture->errors, 3);
	assert_int_equal(count_readable(fixture), KEYS);
	must_check_clean(fixture);
}

static void test_a_page_that_cannot_be_read(void **state)
{
	struct fixture *fixture = *state;

	fill_and_open(fixture, KV_OPEN_INLINE, 0, 3600);
	assert_int_equal(sim_env_fail_page(fixture->sim, "seg-00000001", 40 * 4096), 0);
	run_pass(fixture);
	assert_true(fixture->errors > 0);
	assert_int_equal(stats_of(fixture).scrub_findings, 1);
	assert_true(count_readable(fixture) >= KEYS - 2);
}

/* What the pass stands in is overwritten, emptied and used again before it goes on. */
static void test_compaction_underneath(void **state)
{
	struct fixture *fixture = *state;

	fill_and_open(fixture, KV_OPEN_INLINE, 0, 3600);
	for (unsigned round = 0; round < 6; round++) {
		sim_env_advance_us(fixture->sim, HOUR_US);
		step(fixture);
		put_all(fixture, 1000 * round);
		sim_env_advance_us(fixture->sim, SECOND_US);
		step(fixture);
		assert_int_equal(kv_prune(fixture->kv, NULL, NULL, NULL, NULL), 0);
	}
	run_pass(fixture);
	assert_int_equal(fixture->errors, 0);
	assert_int_equal(stats_of(fixture).scrub_findings, 0);
	assert_true(stats_of(fixture).emptied_segments > 10);
	must_check_clean(fixture);
}

/* ---- the log's last segment ------------------------------------------------------------------ */

static void put_small(struct fixture *fixture, unsigned from, unsigned to)
{
	char key[16];

	for (unsigned i = from; i < to; i++) {
		key_of(i, key);
		must_put_filled(fixture, i % 2, key, 100, i);
	}
	must_sync(fixture);
}

static void must_have_small(struct fixture *fixture, unsigned count)
{
	char key[16];

	for (unsigned i = 0; i < count; i++) {
		key_of(i, key);
		must_have_filled(fixture, i % 2, key, 100, i);
	}
}

static void open_again(struct fixture *fixture)
{
	struct kv_open_options options = {.flags = KV_OPEN_INLINE, .scrub_interval_s = 3600,
					  .report = fixture_hear, .report_arg = fixture};

	must_close(fixture);
	fixture->errors = fixture->warnings = 0;
	assert_int_equal(kv_open(fixture->env, STORE_PATH, &options, &fixture->kv), 0);
}

/* All that there is, but nobody has written since the store was opened. */
static void test_tail_at_rest(void **state)
{
	struct fixture *fixture = *state;

	put_small(fixture, 0, 10);
	open_again(fixture);
	run_pass(fixture);
	assert_int_equal(fixture->errors, 0);
	assert_true(stats_of(fixture).scrubbed_bytes >= 10 * 100);
	assert_int_equal(sim_env_flip(fixture->sim, "seg-00000000", 4096 + 300, 3), 0);
	run_pass(fixture);
	assert_int_equal(fixture->errors, 1);
	assert_non_null(strstr(fixture->last_error, "seg-00000000: the scrub found"));
	run_pass(fixture);
	assert_int_equal(fixture->errors, 1);
}

/* What is in memory is written again, but for the block that the next batch is written to. */
static void test_tail_in_use(void **state)
{
	struct fixture *fixture = *state;

	put_small(fixture, 0, 100);
	open_again(fixture);
	put_small(fixture, 100, 200);
	run_pass(fixture);
	assert_int_equal(fixture->errors, 0);
	assert_int_equal(fixture->kv->scrub.tail_end, fixture->kv->log.hot.offset);
	/* What is not durable yet is not looked for on the disk. */
	must_put(fixture, HASHED, "another", "one");
	run_pass(fixture);
	assert_int_equal(fixture->errors, 0);
	assert_true(fixture->kv->scrub.tail_end < fixture->kv->log.hot.offset);
	assert_int_equal(sim_env_flip(fixture->sim, "seg-00000000", 4096 + 300, 3), 0);
	run_pass(fixture);
	assert_int_equal(fixture->errors, 1);
	assert_non_null(strstr(fixture->last_error, "from offset 4396 to 4397"));
	assert_non_null(strstr(fixture->last_error, "they were written again"));
	assert_int_equal(stats_of(fixture).scrub_findings, 1);
	run_pass(fixture);
	assert_int_equal(fixture->errors, 1);
	must_sync(fixture);
	must_crash(fixture, SIM_LOSS_ALL, KV_OPEN_INLINE);
	assert_int_equal(fixture->errors + fixture->warnings, 0);
	must_check_clean(fixture);
	must_have_small(fixture, 200);
}

/* Nobody needs the file of a segment that is in memory before the store is opened again. */
static void test_segments_in_memory(void **state)
{
	struct fixture *fixture = *state;
	unsigned damaged = 0;

	put_all(fixture, 1);
	open_again(fixture);
	put_all(fixture, 2);
	run_pass(fixture);
	assert_int_equal(fixture->errors, 0);
	for (unsigned slot = 0; slot < fixture->kv->segments.count; slot++) {
		const struct segment *segment = fixture->kv->segments.table[slot];
		char name[16];

		snprintf(name, sizeof(name), "seg-%08x", slot);
		if (!segment || !segment->id || !segment->sealed || !segment->buffer)
			continue;
		assert_int_equal(sim_env_flip(fixture->sim, name, 4096 + 100 * slot, 5), 0);
		assert_int_equal(sim_env_flip(fixture->sim, name, 4096 + 90000, 5), 0);
		damaged++;
		run_pass(fixture);
		assert_int_equal(fixture->errors, damaged);
		assert_non_null(strstr(fixture->last_error, name));
		assert_non_null(strstr(fixture->last_error, "they were written again"));
		run_pass(fixture);
		assert_int_equal(fixture->errors, damaged);
	}
	assert_true(damaged >= 3);
	open_again(fixture);
	assert_int_equal(fixture->errors, 0);
	must_check_clean(fixture);
	assert_int_equal(count_readable(fixture), KEYS);
}

/* On a disk that refuses what it should write again the finding stays. */
static void test_not_written_again(void **state)
{
	struct fixture *fixture = *state;

	put_small(fixture, 0, 100);
	open_again(fixture);
	put_small(fixture, 100, 200);
	assert_int_equal(sim_env_flip(fixture->sim, "seg-00000000", 4096 + 300, 3), 0);
	sim_env_fail(fixture->sim, SIM_FAULT_WRITE, 1, 1, -EIO);
	run_pass(fixture);
	assert_int_equal(fixture->errors, 1);
	assert_non_null(strstr(fixture->last_error, "could not be written again"));
	/* The write that failed may have got there. */
	run_pass(fixture);
	assert_in_range(fixture->errors, 1, 2);
	run_pass(fixture);
	assert_in_range(fixture->errors, 1, 2);
	must_put(fixture, HASHED, "the store", "goes on");
	must_sync(fixture);
	must_have_small(fixture, 200);
}

/* Whoever opens a store for a short while again and again has all of it read in the end. */
static void test_begins_anywhere(void **state)
{
	struct fixture *fixture = *state;
	uint64_t begun = 0;

	fill_and_open(fixture, KV_OPEN_INLINE, 0, 0);
	for (unsigned i = 0; i < 100; i++) {
		sim_env_advance_us(fixture->sim, FIRST_US);
		step(fixture);
		assert_true(fixture->kv->scrub.first_id / 65536 < 64);
		begun |= UINT64_C(1) << fixture->kv->scrub.first_id / 65536;
		open_again(fixture);
	}
	assert_in_range(__builtin_popcountll(begun), 4, 64);
	run_pass(fixture);
	assert_true(stats_of(fixture).scrubbed_bytes > KEYS * VALUE_SIZE);
	assert_int_equal(fixture->errors, 0);
}

/* By the store's own thread, beside a writer and compaction. */
static void test_in_the_background(void **state)
{
	struct fixture *fixture = *state;
	unsigned rounds;

	fill_and_open(fixture, 0, 1u << 30, 1);
	for (rounds = 0; stats_of(fixture).scrubs < 3 && rounds < 100000; rounds++) {
		sim_env_advance_us(fixture->sim, SECOND_US / 4);
		must_put_filled(fixture, HASHED, "busy", VALUE_SIZE, rounds);
		must_sync(fixture);
	}
	assert_true(stats_of(fixture).scrubs >= 3);
	assert_int_equal(fixture->errors, 0);
	assert_int_equal(count_readable(fixture), KEYS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		INLINE_TEST(test_a_pass_when_it_is_time),
		INLINE_TEST(test_never),
		INLINE_TEST(test_the_rate),
		INLINE_TEST(test_damage_is_said_once),
		INLINE_TEST(test_a_page_that_cannot_be_read),
		INLINE_TEST(test_compaction_underneath),
		INLINE_TEST(test_tail_at_rest),
		INLINE_TEST(test_tail_in_use),
		INLINE_TEST(test_segments_in_memory),
		INLINE_TEST(test_not_written_again),
		INLINE_TEST(test_begins_anywhere),
		FIXTURE_TEST(test_in_the_background),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

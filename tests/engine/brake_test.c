/* SPDX-License-Identifier: MIT */
/* brake_test.c - back-pressure: when it is on, how long who commits waits, and what ends that. */
#include "kv_fixture.h"

#include <pthread.h>

#include "brake.h"
#include "compact.h"
#include "compact_free.h"

#define MIB ((uint64_t)1 << 20)

/* What the brake looks at of a store: nothing else of it is there. */
static struct kv *bare_store(uint64_t live, uint64_t log)
{
	struct kv *kv = calloc(1, sizeof(*kv));

	assert_non_null(kv);
	kv->env = env_system();
	kv->segments.size = MIB;
	pthread_mutex_init(&kv->log.lock, NULL);
	atomic_store(&kv->live_bytes, live);
	atomic_store(&kv->log_bytes, log);
	brake_init(kv);
	return kv;
}

static void free_bare(struct kv *kv)
{
	pthread_mutex_destroy(&kv->log.lock);
	free(kv);
}

static uint64_t feel_us(struct kv *kv, uint64_t bytes)
{
	uint64_t begun_us = kv->env->clock_us(kv->env);

	brake_feel(kv, bytes);
	return kv->env->clock_us(kv->env) - begun_us;
}

static void test_is_off_below_the_limit(void **state)
{
	struct kv *kv = bare_store(10 * MIB, 47 * MIB);

	assert_false(brake_check(kv));
	atomic_store(&kv->log.hot.appended_bytes, 1000 * MIB);
	brake_feel(kv, 100);
	assert_int_equal(kv->brake.waits, 0);
	atomic_store(&kv->log_bytes, 49 * MIB);
	assert_true(brake_check(kv));
	assert_true(brake_is_on(kv));
	free_bare(kv);
}

/* Tombstones are not what compaction could get rid of. */
static void test_tombstones_are_needed(void **state)
{
	struct kv *kv = bare_store(1 * MIB, 47 * MIB);

	kv->tombstone_bytes = 9 * MIB;
	assert_false(brake_check(kv));
	kv->tombstone_bytes = 8 * MIB;
	assert_true(brake_check(kv));
	free_bare(kv);
}

static void test_doses_are_small_and_grow(void **state)
{
	struct kv *kv = bare_store(0, 100 * MIB);
	uint64_t max, small, larger, before_us;

	assert_true(brake_check(kv));
	max = atomic_load(&kv->log.hot.appended_max);
	atomic_store(&kv->log.hot.appended_bytes, max - 1);
	brake_feel(kv, 100);
	assert_int_equal(kv->brake.waits, 0);
	atomic_store(&kv->log.hot.appended_bytes, max + 1);
	small = feel_us(kv, 100);
	assert_true(small >= 4900);
	assert_int_equal(kv->brake.waits, 1);
	atomic_store(&kv->log.hot.appended_bytes, max + 10 * MIB);
	larger = feel_us(kv, 100);
	assert_true(larger >= 54000);
	assert_true(kv->brake.waited_us >= 58000);
	/* A large commit is as many small ones. */
	atomic_store(&kv->log.hot.appended_bytes, max + 1);
	assert_true(feel_us(kv, 512 << 10) >= 9 * 4900);
	/* Nobody waits in a store that is poisoned, or whose callers do the work. */
	atomic_store(&kv->failed, EIO);
	before_us = atomic_load(&kv->brake.waited_us);
	brake_feel(kv, 100);
	assert_int_equal(atomic_load(&kv->brake.waited_us), before_us);
	atomic_store(&kv->failed, 0);
	kv->inline_maintenance = true;
	brake_feel(kv, 100);
	assert_int_equal(kv->brake.waits, 4);
	free_bare(kv);
}

static void test_credit(void **state)
{
	struct kv *kv = bare_store(0, 100 * MIB);
	uint64_t max;

	brake_update(kv, 4 * MIB);
	max = atomic_load(&kv->log.hot.appended_max);
	brake_update(kv, 4 * MIB);
	assert_int_equal(atomic_load(&kv->log.hot.appended_max), max + 3 * MIB);
	/* What slipped through long ago is not asked back. */
	atomic_store(&kv->log.hot.appended_bytes, 1000 * MIB);
	brake_update(kv, 4 * MIB);
	assert_in_range(atomic_load(&kv->log.hot.appended_max), 900 * MIB, 999 * MIB);
	/* Compaction can do nothing, or has done enough. */
	brake_update(kv, 0);
	assert_false(brake_is_on(kv));
	brake_update(kv, 1);
	assert_true(brake_is_on(kv));
	atomic_store(&kv->log_bytes, 1 * MIB);
	brake_update(kv, 1);
	assert_false(brake_is_on(kv));
	free_bare(kv);
}

static void *release_soon(void *arg)
{
	struct kv *kv = arg;

	while (!atomic_load(&kv->brake.sleepers) && !atomic_load(&kv->brake.waits))
		sched_yield();
	brake_update(kv, 0);
	return NULL;
}

static void test_who_waits_is_woken(void **state)
{
	struct kv *kv = bare_store(0, 100 * MIB);
	uint64_t waited_us = UINT64_MAX;
	unsigned attempts;
	pthread_t thread;

	/* The longest dose is a tenth of a second; on a busy machine waking may take as long. */
	for (attempts = 0; attempts < 500 && waited_us > 90000; attempts++) {
		atomic_store(&kv->brake.waits, 0);
		assert_true(brake_check(kv));
		atomic_store(&kv->log.hot.appended_bytes,
			     atomic_load(&kv->log.hot.appended_max) + 3000 * MIB);
		assert_int_equal(pthread_create(&thread, NULL, release_soon, kv), 0);
		waited_us = feel_us(kv, 100);
		pthread_join(thread, NULL);
		assert_int_equal(kv->brake.sleepers, 0);
	}
	assert_true(waited_us <= 90000);
	free_bare(kv);
}

/* ---- what is gained, and when ---------------------------------------------------------------- */

#define ROUNDS 40u
#define ROUND_KEYS 10u
#define ROUND_VALUE 90000u

static void overwrite_all(struct fixture *fixture, unsigned round)
{
	char key[20];
	unsigned i;

	for (i = 0; i < ROUND_KEYS; i++) {
		snprintf(key, sizeof(key), "key %u", i);
		must_put_filled(fixture, HASHED, key, ROUND_VALUE, round * ROUND_KEYS + i);
	}
}

/* Some forty segments, nearly all of them garbage throughout, which nobody has looked for yet. */
static void make_garbage(struct fixture *fixture)
{
	struct kv_view *views[ROUNDS];
	unsigned round;

	for (round = 0; round < ROUNDS; round++) {
		overwrite_all(fixture, round);
		assert_int_equal(kv_view_open(fixture->kv, &views[round]), 0);
	}
	for (round = 0; round < ROUNDS; round++)
		kv_view_close(views[round]);
	must_sync(fixture);
	assert_true(atomic_load(&fixture->kv->log_bytes) > 30 * (uint64_t)SEGMENT_SIZE);
	assert_true(atomic_load(&fixture->kv->live_bytes) < 4 * (uint64_t)SEGMENT_SIZE);
}

static void test_is_on_from_the_start(void **state)
{
	struct fixture *fixture = *state;

	make_garbage(fixture);
	must_close(fixture);
	must_open(fixture, KV_OPEN_INLINE);
	assert_true(brake_is_on(fixture->kv));
}

static void set_named(struct kv *kv, bool named)
{
	uint32_t slot;

	for (slot = 0; slot < atomic_load(&kv->segments.count); slot++) {
		if (kv->segments.table[slot])
			kv->segments.table[slot]->named = named;
	}
}

/*
 * What was emptied and cannot be freed would be emptied again by the next process, if this one were
 * killed: it is worth little.
 */
static void test_credit_is_for_what_is_freed(void **state)
{
	struct fixture *fixture = *state;
	struct kv *kv = fixture->kv;

	make_garbage(fixture);
	set_named(kv, true);
	compact_step(kv);
	assert_true(atomic_load(&kv->compaction.kept_bytes) > 10 * (uint64_t)SEGMENT_SIZE);
	assert_true(kv->compaction.gained > 10 * (uint64_t)SEGMENT_SIZE);
	assert_true(kv->compaction.told <= 2 * (uint64_t)SEGMENT_SIZE);
	set_named(kv, false);
	compact_free_kept(kv);
	compact_step(kv);
	assert_true(kv->compaction.told > 10 * (uint64_t)SEGMENT_SIZE);
}

/*
 * Writers who wait for what is freed do not wait for the maintainer to write their segments, which
 * the flushing thread is about to do; unless nothing more can be emptied before.
 */
static void test_full_segments_are_waited_for(void **state)
{
	struct kv *kv = bare_store(1 * MIB, 100 * MIB);

	assert_true(brake_check(kv));
	atomic_store(&kv->log.last_seq, 2);
	kv->compaction.emptied_count = 2;
	kv->compaction.emptied_bytes = 5 * MIB;
	assert_true(compact_can_free(kv));
	atomic_store(&kv->log.hot.unsealed, 1);
	assert_false(compact_can_free(kv));
	kv->compaction.emptied_count = COMPACTION_EMPTIED_MAX;
	assert_true(compact_can_free(kv));
	kv->compaction.emptied_count = 2;
	atomic_store(&kv->sync.durable_bytes, 5 * MIB);
	assert_true(compact_can_free(kv));
	free_bare(kv);
}

/* ---- the whole: threads that overwrite as fast as they can ----------------------------------- */

#define THREADS 4u
#define KEYS 6000u
#define VALUE_SIZE 1000u
#define PUTS 50000u /* of each thread: 200 MB for 6 */

static void *overwrite(void *arg)
{
	struct fixture *fixture = arg;
	uint8_t value[VALUE_SIZE];
	uint64_t random = (uintptr_t)&value;
	unsigned i;

	fill_bytes(value, sizeof(value), random);
	for (i = 0; i < PUTS; i++) {
		uint32_t key;

		random = random * 6364136223846793005u + 1442695040888963407u;
		key = (uint32_t)(random >> 32) % KEYS;
		if (kv_put(fixture->kv, HASHED, &key, sizeof(key), value, sizeof(value), NULL))
			return fixture;
	}
	return NULL;
}

static void test_the_log_stays_bounded(void **state)
{
	struct fixture *fixture = *state;
	pthread_t threads[THREADS];
	struct kv_stats stats;
	uint64_t peak = 0;
	unsigned i;
	void *failed;

	for (i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, overwrite, fixture), 0);
	do {
		kv_stats(fixture->kv, &stats);
		peak = stats.log_bytes > peak ? stats.log_bytes : peak;
		sched_yield();
	} while (stats.puts < THREADS * PUTS);
	for (i = 0; i < THREADS; i++) {
		pthread_join(threads[i], &failed);
		assert_null(failed);
	}
	/*
	 * The limit, what one may overdraw, and segments that were emptied and are not freed yet.
	 */
	assert_true(peak < 4 * stats.live_bytes + (8 + 16 + 16) * (uint64_t)SEGMENT_SIZE);
	must_check_clean(fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_is_off_below_the_limit),
		cmocka_unit_test(test_tombstones_are_needed),
		cmocka_unit_test(test_doses_are_small_and_grow),
		cmocka_unit_test(test_credit),
		cmocka_unit_test(test_who_waits_is_woken),
		cmocka_unit_test(test_full_segments_are_waited_for),
		INLINE_TEST(test_is_on_from_the_start),
		INLINE_TEST(test_credit_is_for_what_is_freed),
		FIXTURE_TEST(test_the_log_stays_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* kv_sync_test.c - what is durable when, who is told, and what happens when the disk fails. */
#include "kv_fixture.h"
#include "store.h"

#include <pthread.h>
#include <semaphore.h>
#include <time.h>
#include <unistd.h>

#define THREADS 8u
#define PUTS 50u

/* ---- waiting --------------------------------------------------------------------------------- */

static void test_sync_survives(void **state)
{
	struct fixture *fixture = *state;
	uint64_t seq;

	assert_int_equal(kv_put(fixture->kv, HASHED, "a", 1, "synced", 6, &seq), 0);
	assert_int_equal(kv_sync(fixture->kv, seq), 0);
	assert_true(kv_durable_seq(fixture->kv) >= seq);
	must_put(fixture, HASHED, "b", "not synced");
	must_crash(fixture, SIM_LOSS_ALL, KV_OPEN_INLINE);
	must_have(fixture, HASHED, "a", "synced");
	must_lack(fixture, HASHED, "b");
	assert_int_equal(kv_last_seq(fixture->kv), seq);
	assert_int_equal(kv_durable_seq(fixture->kv), seq);
	must_check_clean(fixture);
}

/*
 * Nobody asks for a sync, but what stands in front of the last segment is durable, and said to be.
 */
static void test_full_segments_are_durable(void **state)
{
	struct fixture *fixture = *state;
	uint64_t durable_seq, seq = 0;
	char key[16];

	for (unsigned i = 0; i < 40; i++) {
		snprintf(key, sizeof(key), "key %u", i);
		must_put_filled(fixture, HASHED, key, SEGMENT_SIZE / 10, i);
	}
	durable_seq = kv_durable_seq(fixture->kv);
	assert_true(durable_seq >= 20);
	assert_true(durable_seq < kv_last_seq(fixture->kv));
	must_crash(fixture, SIM_LOSS_ALL, KV_OPEN_INLINE);
	assert_true(kv_last_seq(fixture->kv) >= durable_seq);
	for (unsigned i = 0; seq < durable_seq; i++, seq++) {
		snprintf(key, sizeof(key), "key %u", i);
		must_have_filled(fixture, HASHED, key, SEGMENT_SIZE / 10, i);
	}
	must_check_clean(fixture);
}

static void test_close_syncs(void **state)
{
	struct fixture *fixture = *state;

	must_put(fixture, HASHED, "a", "value");
	must_close(fixture);
	assert_int_equal(sim_env_power_on(fixture->sim, SIM_LOSS_ALL), 0);
	must_open(fixture, 0);
	must_have(fixture, HASHED, "a", "value");
}

#define FAILING_SYNC 30u

struct putter {
	struct fixture *fixture;
	pthread_t thread;
	unsigned number;
	unsigned synced; /* puts that were acknowledged as durable */
	bool failed;
};

static void *put_and_sync(void *arg)
{
	struct putter *worker = arg;
	struct kv *kv = worker->fixture->kv;

	for (unsigned i = 0; i < PUTS; i++) {
		unsigned key[2] = {worker->number, i};
		uint64_t seq;

		if (kv_put(kv, HASHED, key, sizeof(key), "value", 5, &seq) != 0 ||
			kv_sync(kv, seq) != 0 || kv_durable_seq(kv) < seq)
			worker->failed = true;
	}
	return NULL;
}

static void test_threads_share_syncs(void **state)
{
	struct fixture *fixture = *state;
	struct putter workers[THREADS];
	struct kv_stats stats;

	for (unsigned i = 0; i < THREADS; i++) {
		workers[i] = (struct putter){.fixture = fixture, .number = i};
		assert_int_equal(
			pthread_create(&workers[i].thread, NULL, put_and_sync, &workers[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(workers[i].thread, NULL);
		assert_false(workers[i].failed);
	}
	kv_stats(fixture->kv, &stats);
	assert_int_equal(stats.synced_batches, THREADS * PUTS);
	assert_true(stats.syncs <= THREADS * PUTS);
	must_crash(fixture, SIM_LOSS_ALL, 0);
	kv_stats(fixture->kv, &stats);
	assert_int_equal(stats.keys[HASHED], THREADS * PUTS);
	must_check_clean(fixture);
}

struct noted {
	struct kv_waiter waiter;
	sem_t *answered;
	unsigned answers;
	int status;
	uint64_t durable_seq;
	struct kv *kv;
};

static void note(struct kv_waiter *waiter, int status)
{
	struct noted *noted = (struct noted *)waiter;

	noted->answers++;
	noted->status = status;
	noted->durable_seq = kv_durable_seq(noted->kv);
	sem_post(noted->answered);
}

static void notify_many(struct fixture *fixture, int status)
{
	static struct noted noted[100];
	sem_t answered;

	sem_init(&answered, 0, 0);
	for (unsigned i = 0; i < 100; i++) {
		noted[i] = (struct noted){.answered = &answered, .kv = fixture->kv};
		noted[i].waiter.done = note;
		if (status == 0)
			must_put(fixture, HASHED, "key", "value");
		noted[i].waiter.seq = kv_last_seq(fixture->kv);
		kv_sync_notify(fixture->kv, &noted[i].waiter);
	}
	for (unsigned i = 0; i < 100; i++)
		sem_wait(&answered);
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(noted[i].answers, 1);
		assert_int_equal(noted[i].status, status);
		if (status == 0)
			assert_true(noted[i].durable_seq >= noted[i].waiter.seq);
	}
	sem_destroy(&answered);
}

/* A number that no batch has yet is refused: nothing says that there will ever be one. */
static void test_sync_of_the_future(void **state)
{
	struct fixture *fixture = *state;
	struct noted noted = {.kv = fixture->kv};
	sem_t answered;
	uint64_t seq;

	sem_init(&answered, 0, 0);
	assert_int_equal(kv_put(fixture->kv, HASHED, "a", 1, "value", 5, &seq), 0);
	assert_int_equal(kv_sync(fixture->kv, seq + 1), -EINVAL);
	noted.answered = &answered;
	noted.waiter = (struct kv_waiter){.seq = seq + 1, .done = note};
	kv_sync_notify(fixture->kv, &noted.waiter);
	sem_wait(&answered);
	assert_int_equal(noted.answers, 1);
	assert_int_equal(noted.status, -EINVAL);
	assert_int_equal(kv_sync(fixture->kv, seq), 0);
	sem_destroy(&answered);
}

static void test_callbacks(void **state)
{
	struct fixture *fixture = *state;

	notify_many(fixture, 0);
	/* Durable already: answered on the spot. */
	must_sync(fixture);
	notify_many(fixture, 0);
}

/* Waiters that are there when the store is closed get their answer. */
static void test_close_answers(void **state)
{
	struct fixture *fixture = *state;
	struct noted noted = {.kv = fixture->kv};
	sem_t answered;

	sem_init(&answered, 0, 0);
	noted.answered = &answered;
	noted.waiter.done = note;
	must_put(fixture, HASHED, "key", "value");
	noted.waiter.seq = kv_last_seq(fixture->kv);
	kv_sync_notify(fixture->kv, &noted.waiter);
	must_close(fixture);
	assert_int_equal(sem_trywait(&answered), 0);
	assert_int_equal(noted.answers, 1);
	assert_int_equal(noted.status, 0);
	sem_destroy(&answered);
}

/* ---- the commit interval --------------------------------------------------------------------- */

static void wait_until_durable(struct fixture *fixture, uint64_t seq)
{
	unsigned limit_ms = 120000;

	while (kv_durable_seq(fixture->kv) < seq && limit_ms-- > 0)
		usleep(1000);
	assert_true(kv_durable_seq(fixture->kv) >= seq);
}

static void test_commit_interval(void **state)
{
	struct fixture *fixture = *state;
	struct kv_open_options options = {.commit_interval_ms = 20};
	uint64_t seq = 0;

	must_close(fixture);
	/* By the operating system's clock: that of the simulated disk stands still. */
	sim_env_table(fixture->sim)->clock_us = env_system()->clock_us;
	assert_int_equal(kv_open(fixture->env, STORE_PATH, &options, &fixture->kv), 0);
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(kv_put(fixture->kv, HASHED, &i, sizeof(i), "x", 1, &seq), 0);
		wait_until_durable(fixture, seq);
	}
	must_crash(fixture, SIM_LOSS_ALL, 0);
	/* Where that took a second the store has sampled the clock as well. */
	assert_true(kv_last_seq(fixture->kv) >= seq);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(kv_contains(fixture->kv, HASHED, &i, sizeof(i)), 0);
}

/*
 * The thread looks for changes by itself for a while, and is woken by the first one that comes
 * later.
 */
static void test_commit_interval_after_rest(void **state)
{
	static const unsigned rests_us[] = {0, 20000, 200000, 0, 200000};
	struct fixture *fixture = *state;
	struct kv_open_options options = {.commit_interval_ms = 1};

	must_close(fixture);
	sim_env_table(fixture->sim)->clock_us = env_system()->clock_us;
	assert_int_equal(kv_open(fixture->env, STORE_PATH, &options, &fixture->kv), 0);
	for (unsigned i = 0; i < sizeof(rests_us) / sizeof(rests_us[0]); i++) {
		uint64_t seq;

		usleep(rests_us[i]);
		assert_int_equal(kv_put(fixture->kv, HASHED, &i, sizeof(i), "x", 1, &seq), 0);
		wait_until_durable(fixture, seq);
	}
}

/*
 * However short the interval: who has nothing to write sleeps until the next change, also while a
 * sample of the clock is to come.
 */
static void test_short_interval_rests(void **state)
{
	struct fixture *fixture = *state;
	struct kv_open_options options = {.commit_interval_ms = 1};
	unsigned limit_ms = 120000;
	uint64_t seq;
	bool rested;

	must_close(fixture);
	assert_int_equal(kv_open(fixture->env, STORE_PATH, &options, &fixture->kv), 0);
	assert_int_equal(kv_put(fixture->kv, HASHED, "a", 1, "x", 1, &seq), 0);
	/* The clock goes on only here: far enough for the interval, never for a sample. */
	for (unsigned i = 0; kv_durable_seq(fixture->kv) < seq && i < limit_ms; i++) {
		if (i < 100)
			sim_env_advance_us(fixture->sim, 1000);
		usleep(1000);
	}
	assert_true(kv_durable_seq(fixture->kv) >= seq);
	while (!(rested = atomic_load(&fixture->kv->sync.resting)) && limit_ms-- > 0)
		usleep(1000);
	assert_true(rested);
}

/* ---- when the disk fails --------------------------------------------------------------------- */

static void must_be_poisoned(struct fixture *fixture, uint64_t durable)
{
	struct kv_batch *batch;

	assert_true(fixture->errors > 0);
	assert_int_equal(kv_put(fixture->kv, HASHED, "more", 4, "x", 1, NULL), -EROFS);
	assert_int_equal(kv_delete(fixture->kv, HASHED, "synced", 6, NULL), -EROFS);
	assert_int_equal(kv_batch_new(fixture->kv, &batch), 0);
	assert_int_equal(kv_batch_put(batch, HASHED, "more", 4, "x", 1), 0);
	assert_int_equal(kv_commit(fixture->kv, batch, NULL), -EROFS);
	kv_batch_free(batch);
	assert_int_equal(kv_sync(fixture->kv, kv_last_seq(fixture->kv)), -EIO);
	assert_int_equal(kv_sync(fixture->kv, durable), 0);
	assert_int_equal(kv_durable_seq(fixture->kv), durable);
	must_have(fixture, HASHED, "synced", "value");
	must_have(fixture, HASHED, "lost", "value");
}

static void fail_and_recover(struct fixture *fixture, enum sim_fault fault)
{
	uint64_t durable;

	must_put(fixture, HASHED, "synced", "value");
	must_sync(fixture);
	durable = kv_durable_seq(fixture->kv);
	must_put(fixture, HASHED, "lost", "value");
	sim_env_fail(fixture->sim, fault, 1, 1, -EIO);
	assert_int_equal(kv_sync(fixture->kv, kv_last_seq(fixture->kv)), -EIO);
	must_be_poisoned(fixture, durable);
	notify_many(fixture, -EIO);
	assert_int_equal(kv_close(fixture->kv), -EIO);
	fixture->kv = NULL;
	assert_int_equal(sim_env_power_on(fixture->sim, SIM_LOSS_ANY), 0);
	must_open(fixture, 0);
	must_have(fixture, HASHED, "synced", "value");
	assert_true(kv_last_seq(fixture->kv) >= durable);
	must_put(fixture, HASHED, "more", "value");
	must_sync(fixture);
	must_check_clean(fixture);
}

static void *put_until_failure(void *arg)
{
	struct putter *worker = arg;
	struct kv *kv = worker->fixture->kv;
	uint64_t seq;

	for (worker->synced = 0;; worker->synced++) {
		unsigned key[2] = {worker->number, worker->synced};

		if (kv_put(kv, HASHED, key, sizeof(key), "value", 5, &seq) != 0 ||
			kv_sync(kv, seq) != 0)
			return NULL;
	}
}

/*
 * The flush that many wait for fails: each of them is told, and what was acknowledged before is
 * there.
 */
static void test_failed_sync_of_many(void **state)
{
	struct fixture *fixture = *state;
	struct putter workers[THREADS];

	sim_env_fail(fixture->sim, SIM_FAULT_SYNC, FAILING_SYNC, 1, -EIO);
	for (unsigned i = 0; i < THREADS; i++) {
		workers[i] = (struct putter){.fixture = fixture, .number = i};
		assert_int_equal(pthread_create(&workers[i].thread, NULL, put_until_failure,
					 &workers[i]),
			0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(workers[i].thread, NULL);
	assert_int_equal(kv_sync(fixture->kv, kv_last_seq(fixture->kv)), -EIO);
	must_crash(fixture, SIM_LOSS_ALL, 0);
	for (unsigned i = 0; i < THREADS; i++) {
		for (unsigned n = 0; n < workers[i].synced; n++) {
			unsigned key[2] = {i, n};

			assert_int_equal(kv_contains(fixture->kv, HASHED, key, sizeof(key)), 0);
		}
	}
	must_check_clean(fixture);
}

static void test_failed_sync(void **state)
{
	fail_and_recover(*state, SIM_FAULT_SYNC);
}

static void test_failed_write(void **state)
{
	fail_and_recover(*state, SIM_FAULT_WRITE);
}

#define OVERTAKING_SIZE 20000u /* some blocks */
#define OVERTAKING_SEEDS 20u

/* Puts something while the disk is busy with the first write that it is told of. */
static struct overtaking {
	struct fixture *fixture; /* NULL: it has */
	int (*write)(struct env_file *file, const void *data, size_t size, uint64_t position, bool sync);
} overtaking;

static int overtaken_write(
	struct env_file *file, const void *data, size_t size, uint64_t position, bool sync)
{
	struct fixture *fixture = overtaking.fixture;

	overtaking.fixture = NULL;
	if (fixture)
		must_put_filled(fixture, HASHED, "during", OVERTAKING_SIZE, 2);
	return overtaking.write(file, data, size, position, sync);
}

/*
 * What is appended while a flush is under way stands in front of the MARK that comes of it, and is
 * not durable. If the next sync fails, and only the page cache has it, who opens the store writes
 * that again as well.
 */
static void test_overtaken_flush(void **state)
{
	for (unsigned seed = 1; seed <= OVERTAKING_SEEDS; seed++) {
		struct fixture fixture = {0};

		assert_int_equal(sim_env_new(&(struct sim_options){.seed = seed}, &fixture.sim), 0);
		fixture.env = sim_env_table(fixture.sim);
		assert_int_equal(kv_create(fixture.env, STORE_PATH, &fixture_create_options,
					   fixture_hear, &fixture), 0);
		must_open(&fixture, KV_OPEN_INLINE);
		must_put_filled(&fixture, HASHED, "before", OVERTAKING_SIZE, 1);
		overtaking.fixture = &fixture;
		overtaking.write = fixture.env->file_write;
		fixture.env->file_write = overtaken_write;
		assert_int_equal(kv_sync(fixture.kv, 1), 0);
		must_put_filled(&fixture, HASHED, "behind", OVERTAKING_SIZE, 3);
		sim_env_fail(fixture.sim, SIM_FAULT_SYNC, 1, 1, -EIO);
		assert_int_equal(kv_sync(fixture.kv, kv_last_seq(fixture.kv)), -EIO);
		kv_close(fixture.kv);
		assert_int_equal(sim_env_power_on(fixture.sim, SIM_LOSS_NONE), 0);
		must_open(&fixture, KV_OPEN_INLINE);
		assert_int_equal(kv_durable_seq(fixture.kv), 3);
		fixture.errors = 0;
		must_crash(&fixture, SIM_LOSS_ALL, KV_OPEN_INLINE);
		assert_int_equal(fixture.errors, 0);
		must_have_filled(&fixture, HASHED, "before", OVERTAKING_SIZE, 1);
		must_have_filled(&fixture, HASHED, "during", OVERTAKING_SIZE, 2);
		must_have_filled(&fixture, HASHED, "behind", OVERTAKING_SIZE, 3);
		must_close(&fixture);
		sim_env_free(fixture.sim);
	}
}

/* The next segment cannot be made: the writer is told, nothing is lost, and it goes on when the
 * disk does. */
static void fail_next_segment(struct fixture *fixture, enum sim_fault fault)
{
	uint8_t *value = calloc(1, 100000);
	uint64_t seq = 0, last = 0;
	int result = 0;

	assert_non_null(value);
	must_sync(fixture);
	sim_env_fail(fixture->sim, fault, 1, UINT64_MAX, -EIO);
	for (unsigned i = 0; i < 40 && result == 0; i++) {
		last = seq;
		result = kv_put(fixture->kv, HASHED, &i, sizeof(i), value, 100000, &seq);
	}
	assert_true(result == -EIO || result == -EROFS);
	sim_env_fail(fixture->sim, fault, 0, 0, 0);
	free(value);
	kv_close(fixture->kv);
	fixture->kv = NULL;
	assert_int_equal(sim_env_power_on(fixture->sim, SIM_LOSS_NONE), 0);
	must_open(fixture, 0);
	assert_true(kv_last_seq(fixture->kv) <= last + 1);
	must_put_filled(fixture, HASHED, "more", 500000, 1);
	must_put_filled(fixture, HASHED, "and more", 500000, 1);
	must_check_clean(fixture);
}

static void test_failed_allocation(void **state)
{
	fail_next_segment(*state, SIM_FAULT_ALLOCATE);
}

static void test_failed_dir_sync(void **state)
{
	fail_next_segment(*state, SIM_FAULT_DIR_SYNC);
}

static void test_failed_rename(void **state)
{
	fail_next_segment(*state, SIM_FAULT_RENAME);
}

#define SIZE_LIVES 12u
#define SIZE_VALUE 50000u
#define SIZE_VALUES 30u /* more than a segment */

/*
 * The sync of a new segment's header fails, and loses with it, or not, that the file is as long as
 * a segment: then it is made so again before anything stands in it.
 */
static void test_lost_size(void **state)
{
	static uint8_t value[SIZE_VALUE];
	char key[16];

	for (unsigned life = 0; life < SIZE_LIVES; life++) {
		struct fixture *fixture = fixture_begin(state, life);
		unsigned failures = 0;

		sim_env_fail(fixture->sim, SIM_FAULT_SYNC, 1, 1, -EIO);
		for (unsigned i = 0; i < SIZE_VALUES; i++) {
			snprintf(key, sizeof(key), "key %u", i);
			fill_bytes(value, sizeof(value), i);
			while (kv_put(fixture->kv, HASHED, key, strlen(key), value, sizeof(value),
				NULL))
				assert_int_equal(failures++, 0);
		}
		assert_int_equal(failures, 1);
		must_sync(fixture);
		must_crash(fixture, SIM_LOSS_ALL, KV_OPEN_INLINE);
		assert_int_equal(fixture->errors, 0);
		for (unsigned i = 0; i < SIZE_VALUES; i++) {
			snprintf(key, sizeof(key), "key %u", i);
			must_have_filled(fixture, HASHED, key, sizeof(value), i);
		}
		assert_int_equal(fixture_teardown(state), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		INLINE_TEST(test_sync_survives),
		INLINE_TEST(test_full_segments_are_durable),
		FIXTURE_TEST(test_close_syncs),
		FIXTURE_TEST(test_threads_share_syncs),
		FIXTURE_TEST(test_sync_of_the_future),
		FIXTURE_TEST(test_callbacks),
		FIXTURE_TEST(test_close_answers),
		FIXTURE_TEST(test_commit_interval),
		FIXTURE_TEST(test_commit_interval_after_rest),
		FIXTURE_TEST(test_short_interval_rests),
		FIXTURE_TEST(test_failed_sync_of_many),
		FIXTURE_TEST(test_failed_sync),
		cmocka_unit_test(test_overtaken_flush),
		FIXTURE_TEST(test_failed_write),
		INLINE_TEST(test_failed_allocation),
		FIXTURE_TEST(test_failed_dir_sync),
		FIXTURE_TEST(test_failed_rename),
		cmocka_unit_test(test_lost_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * kv_expire_test.c - samples of the clock, kv_time_of and kv_expire: on a clock that the test sets.
 */
#include <pthread.h>

#include "kv_fixture.h"
#include "times.h"

#define SECOND ((uint64_t)1000000)
#define DAY (86400 * SECOND)
#define START (1700000000 * SECOND)

static uint64_t day_us; /* what the clock on the wall says */
static uint64_t run_us; /* and the one that nobody sets */

static void (*beside)(void); /* what another thread does when somebody has looked at the clock */

static uint64_t test_time(struct kv_env *env)
{
	void (*now)(void) = beside;
	uint64_t us = day_us;

	beside = NULL;
	if (now)
		now();
	return us;
}

static uint64_t test_clock(struct kv_env *env)
{
	return run_us;
}

static void pass_time(uint64_t us)
{
	day_us += us;
	run_us += us;
}

static int setup(void **state)
{
	struct fixture *fixture;
	int rc = fixture_setup_inline(state);

	if (rc)
		return rc;
	fixture = *state;
	day_us = START;
	run_us = SECOND;
	sim_env_table(fixture->sim)->time_us = test_time;
	sim_env_table(fixture->sim)->clock_us = test_clock;
	return 0;
}

static uint64_t put(struct fixture *fixture, unsigned keyspace, unsigned number)
{
	uint64_t seq;

	assert_int_equal(
		kv_put(fixture->kv, keyspace, &number, sizeof(number), "value", 5, &seq), 0);
	return seq;
}

static bool has(struct fixture *fixture, unsigned keyspace, unsigned number)
{
	return !kv_contains(fixture->kv, keyspace, &number, sizeof(number));
}

/* As the store's own thread does when a second has passed since the first change. */
static void sample(struct fixture *fixture)
{
	assert_int_not_equal(times_due_us(fixture->kv), UINT64_MAX);
	times_sample(fixture->kv);
	assert_int_equal(times_due_us(fixture->kv), UINT64_MAX);
}

static uint64_t expire(struct fixture *fixture, unsigned keyspace, uint64_t before_us)
{
	uint64_t expired = 77;

	assert_int_equal(kv_expire(fixture->kv, keyspace, before_us, NULL, NULL, &expired), 0);
	return expired;
}

static void test_nothing_known(void **state)
{
	struct fixture *fixture = *state;
	uint64_t after, before, seq;

	assert_int_equal(kv_time_of(fixture->kv, 0, &after, &before), -EINVAL);
	assert_int_equal(kv_time_of(fixture->kv, 1, &after, &before), -EINVAL);
	seq = put(fixture, HASHED, 1);
	assert_int_equal(kv_time_of(fixture->kv, seq, &after, &before), 0);
	assert_int_equal(after, 0);
	assert_int_equal(before, START);
	pass_time(DAY);
	/* Nobody noted when it was put: so it may be young. */
	assert_int_equal(expire(fixture, HASHED, START + DAY / 2), 0);
	assert_true(has(fixture, HASHED, 1));
	assert_int_equal(kv_expire(fixture->kv, 9, START, NULL, NULL, NULL), -EINVAL);
}

static void test_due(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(times_due_us(fixture->kv), UINT64_MAX);
	put(fixture, HASHED, 1);
	assert_int_equal(times_due_us(fixture->kv), SECOND);
	pass_time(SECOND / 4);
	put(fixture, HASHED, 2);
	assert_int_equal(times_due_us(fixture->kv), SECOND * 3 / 4);
	pass_time(SECOND);
	assert_int_equal(times_due_us(fixture->kv), 0);
	/* Without threads kv_sync takes it. */
	must_sync(fixture);
	assert_int_equal(times_due_us(fixture->kv), UINT64_MAX);
	assert_int_equal(kv_last_seq(fixture->kv), 3);
	pass_time(DAY);
	assert_int_equal(times_due_us(fixture->kv), UINT64_MAX);
}

/*
 * What is older goes, what is younger stays: of either kind of keyspace, also after opening again.
 */
static void test_expire(void **state)
{
	struct fixture *fixture = *state;
	unsigned keyspace, i;
	struct kv_stats stats;

	for (i = 0; i < 1000; i++) {
		put(fixture, HASHED, i);
		put(fixture, ORDERED, i);
	}
	sample(fixture);
	pass_time(10 * SECOND);
	for (i = 500; i < 1500; i++) {
		put(fixture, HASHED, i);
		put(fixture, ORDERED, i);
	}
	pass_time(10 * SECOND);
	sample(fixture);
	must_close(fixture);
	must_open(fixture, KV_OPEN_INLINE);
	for (keyspace = HASHED; keyspace <= ORDERED; keyspace++) {
		assert_int_equal(expire(fixture, keyspace, START - 1), 0);
		assert_int_equal(expire(fixture, keyspace, START + 15 * SECOND), 500);
		for (i = 0; i < 1500; i++)
			assert_int_equal(has(fixture, keyspace, i), i >= 500);
	}
	kv_stats(fixture->kv, &stats);
	assert_int_equal(stats.keys[HASHED], 1000);
	assert_int_equal(stats.keys[ORDERED], 1000);
	assert_int_equal(expire(fixture, HASHED, START + 20 * SECOND), 1000);
	assert_int_equal(expire(fixture, HASHED, START + 20 * SECOND), 0);
	must_check_clean(fixture);
}

/* A sample a second for a day, then one a day for years: all times are known as well as is said. */
static void test_precision(void **state)
{
	struct fixture *fixture = *state;
	enum { SECONDS = 20000, DAYS = 1200 };
	static uint64_t times[SECONDS + DAYS + 1], seqs[SECONDS + DAYS + 1];
	unsigned count = DAYS + (getenv("KVFS_TEST_QUICK") ? SECONDS / 5 : SECONDS);
	struct kv_stats stats;
	unsigned i;

	for (i = 0; i < count; i++) {
		times[i] = day_us;
		seqs[i] = put(fixture, HASHED, 1);
		/* Not where the log has no room at the moment: the next one makes up for it. */
		times_sample(fixture->kv);
		pass_time(i < DAYS ? DAY : SECOND);
	}
	for (i = 0; i < count; i++) {
		uint64_t after, before, age = day_us - times[i];

		assert_int_equal(kv_time_of(fixture->kv, seqs[i], &after, &before), 0);
		assert_true(after <= times[i] && times[i] <= before);
		if (i < DAYS && i > 0)
			assert_true(before - times[i] <= 2 * DAY + age / 16);
		else if (i >= DAYS)
			assert_true(before - times[i] <= 2 * SECOND + age / 16);
		if (i % 97 == 0)
			i += i >= DAYS ? 40 : 0;
	}
	kv_stats(fixture->kv, &stats);
	assert_true(stats.live_bytes < (uint64_t)TIMES_LEVELS * TIMES_PLACES * 48 + 4096);
}

/* A clock that is set back makes things look younger, never older. */
static void test_clock_set_back(void **state)
{
	struct fixture *fixture = *state;

	put(fixture, HASHED, 1);
	sample(fixture);
	pass_time(10 * DAY);
	put(fixture, HASHED, 2);
	sample(fixture);
	day_us -= 5 * DAY;
	put(fixture, HASHED, 3);
	sample(fixture);
	pass_time(8 * DAY); /* 13 days after the start */
	assert_int_equal(expire(fixture, HASHED, START + 7 * DAY), 1);
	assert_true(!has(fixture, HASHED, 1) && has(fixture, HASHED, 2) && has(fixture, HASHED, 3));
	assert_int_equal(expire(fixture, HASHED, START + 11 * DAY), 2);
}

static int stop_at_once(void *arg, uint64_t done, uint64_t total)
{
	assert_true(done <= total);
	++*(unsigned *)arg;
	return 1;
}

static void test_cancelled(void **state)
{
	struct fixture *fixture = *state;
	uint64_t expired = 0;
	unsigned calls = 0, i;

	for (i = 0; i < 5000; i++)
		put(fixture, HASHED, i);
	sample(fixture);
	pass_time(DAY);
	assert_int_equal(
		kv_expire(fixture->kv, HASHED, day_us, stop_at_once, &calls, &expired), -ECANCELED);
	assert_int_equal(calls, 1);
	assert_true(expired > 0 && expired < 5000);
	assert_int_equal(expire(fixture, HASHED, day_us), 5000 - expired);
}

/* Large values go with their pieces, long keys in batches that fit. */
static void test_large(void **state)
{
	struct fixture *fixture = *state;
	static uint8_t key[KV_KEY_SIZE_MAX];
	struct kv_stats stats;
	unsigned i;

	assert_int_equal(kv_write(fixture->kv, HASHED, "large", 5, 300000, "x", 1, NULL), 0);
	for (i = 0; i < 40; i++) {
		memcpy(key, &i, sizeof(i));
		assert_int_equal(kv_put(fixture->kv, ORDERED, key, sizeof(key), "v", 1, NULL), 0);
	}
	sample(fixture);
	pass_time(DAY);
	assert_int_equal(expire(fixture, HASHED, day_us), 1);
	assert_int_equal(expire(fixture, ORDERED, day_us), 40);
	assert_int_equal(kv_prune(fixture->kv, NULL, NULL, NULL, NULL), 0);
	kv_stats(fixture->kv, &stats);
	assert_int_equal(stats.pieces, 0);
	assert_int_equal(stats.keys[ORDERED], 0);
	must_check_clean(fixture);
}

/* ---- while a sample is taken ----------------------------------------------------------------- */

static struct fixture *overtaker;

static void overtake(void)
{
	pass_time(DAY);
	put(overtaker, HASHED, 2);
}

/* What is put behind the look at the clock is not said to be as old as that. */
static void test_overtaken_sample(void **state)
{
	struct fixture *fixture = *state;

	put(fixture, HASHED, 1);
	overtaker = fixture;
	beside = overtake;
	times_sample(fixture->kv);
	assert_null(beside);
	pass_time(DAY);
	/* The next one is for it, though nothing else is put. */
	sample(fixture);
	assert_int_equal(expire(fixture, HASHED, START + DAY / 2), 1);
	assert_true(!has(fixture, HASHED, 1) && has(fixture, HASHED, 2));
	assert_int_equal(expire(fixture, HASHED, START + 2 * DAY), 1);
	assert_false(has(fixture, HASHED, 2));
}

/* ---- beside writers -------------------------------------------------------------------------- */

#define CHANGED 2000u

static void *rewrite(void *arg)
{
	struct fixture *fixture = arg;

	for (unsigned i = 0; i < CHANGED; i++)
		put(fixture, HASHED, i);
	return NULL;
}

/* What is put while the old is being deleted stays. */
static void test_beside_writer(void **state)
{
	struct fixture *fixture = *state;
	pthread_t writer;
	unsigned i;

	for (i = 0; i < 3 * CHANGED; i++)
		put(fixture, HASHED, i);
	sample(fixture);
	pass_time(DAY);
	assert_int_equal(pthread_create(&writer, NULL, rewrite, fixture), 0);
	assert_true(expire(fixture, HASHED, day_us - 1) >= 2 * CHANGED);
	pthread_join(writer, NULL);
	for (i = 0; i < 3 * CHANGED; i++)
		assert_int_equal(has(fixture, HASHED, i), i < CHANGED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_nothing_known, setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_due, setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_expire, setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_precision, setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_clock_set_back, setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_overtaken_sample, setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_cancelled, setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_large, setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_beside_writer, setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * kv_threads_test.c - threads that cannot be started: a store opens without those that only make it
 * faster, and says so with an error where it needs one; then nothing stays open, and the next
 * opening finds all that there was. The linker leads pthread_create here (--wrap).
 */
#include "kv_fixture.h"

#include <pthread.h>
#include <stdatomic.h>

#define LARGE 20u /* values, for a log of several segments */
#define KEYS 2000u

static atomic_uint started, refuse_from, refuse_to; /* the calls from, to */

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
			  void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
			  void *arg);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
			  void *arg)
{
	unsigned call = atomic_fetch_add(&started, 1) + 1;

	if (call >= atomic_load(&refuse_from) && call < atomic_load(&refuse_to))
		return EAGAIN;
	return __real_pthread_create(thread, attr, run, arg);
}

/* `count` of them, from the nth on; 0: none. */
static void refuse(unsigned nth, unsigned count)
{
	atomic_store(&started, 0);
	atomic_store(&refuse_from, nth);
	atomic_store(&refuse_to, nth + count);
}

static void fill(struct fixture *fixture)
{
	char key[32];

	must_put_range(fixture, 0, KEYS, 1);
	assert_int_equal(kv_checkpoint(fixture->kv), 0);
	for (unsigned i = 0; i < LARGE; i++) {
		snprintf(key, sizeof(key), "large %u", i);
		must_put_filled(fixture, i % 2 ? ORDERED : HASHED, key, 300000, i);
	}
	must_sync(fixture);
}

static void must_have_all(struct fixture *fixture)
{
	char key[32];

	must_have_range(fixture, 0, KEYS, 1);
	for (unsigned i = 0; i < LARGE; i++) {
		snprintf(key, sizeof(key), "large %u", i);
		must_have_filled(fixture, i % 2 ? ORDERED : HASHED, key, 300000, i);
	}
}

/* The power fails, so that a log is replayed. Out: how many threads were asked for. */
static int open_refused(struct fixture *fixture, unsigned flags, unsigned nth, unsigned count,
			unsigned *asked)
{
	int error;

	sim_env_cut(fixture->sim);
	(void)kv_close(fixture->kv);
	fixture->kv = NULL;
	assert_int_equal(sim_env_power_on(fixture->sim, SIM_LOSS_NONE), 0);
	refuse(nth, count);
	error = fixture_open(fixture, flags);
	*asked = atomic_load(&started);
	if (!error)
		must_have_all(fixture);
	else
		fixture->kv = NULL;
	refuse(0, 0);
	if (error) {
		assert_int_equal(error, -EAGAIN);
		assert_true(fixture->errors > 0);
		assert_int_equal(sim_env_opens(fixture->sim), 0);
		must_open(fixture, flags);
		must_have_all(fixture);
	}
	return error;
}

/* Each alone, then all from each on. */
static void test_refused(void **state)
{
	struct fixture *fixture = *state;
	unsigned asked, failed = 0, opened = 0, nth = 0;

	fill(fixture);
	do {
		nth++;
		for (unsigned count = 1; count; count = count == 1 ? 1000 : 0) {
			if (open_refused(fixture, 0, nth, count, &asked))
				failed++;
			else
				opened += asked >= nth;
			must_put(fixture, HASHED, "new", "value");
			must_sync(fixture);
			must_check_clean(fixture);
		}
	} while (asked >= nth);
	/* the flushing thread and the maintainer; and others */
	assert_true(failed >= 2);
	assert_true(opened >= 1);
	must_close(fixture);
}

/* Who only reads needs none. */
static void test_read_only(void **state)
{
	struct fixture *fixture = *state;
	unsigned asked;

	fill(fixture);
	assert_int_equal(open_refused(fixture, KV_OPEN_READ_ONLY, 1, 1000, &asked), 0);
	assert_true(asked > 0);
	must_close(fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(test_refused),
		FIXTURE_TEST(test_read_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

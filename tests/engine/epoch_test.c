/* SPDX-License-Identifier: MIT */
/* epoch_test.c - a read section within another ends nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "epoch.h"

#define LOOKS 20
#define LOOK_US 1000

struct waiter {
	pthread_t thread;
	atomic_bool begun, over;
};

static void *wait_for_readers(void *arg)
{
	struct waiter *waiter = arg;

	atomic_store(&waiter->begun, true);
	epoch_wait();
	atomic_store(&waiter->over, true);
	return NULL;
}

static void begin(struct waiter *waiter)
{
	atomic_init(&waiter->begun, false);
	atomic_init(&waiter->over, false);
	assert_int_equal(pthread_create(&waiter->thread, NULL, wait_for_readers, waiter), 0);
	while (!atomic_load(&waiter->begun))
		usleep(LOOK_US);
}

/* However often that is asked. */
static void assert_waits(const struct waiter *waiter)
{
	for (int i = 0; i < LOOKS; i++) {
		assert_false(atomic_load(&waiter->over));
		usleep(LOOK_US);
	}
}

static void test_nested(void **state)
{
	struct waiter waiter;

	/* Twice: the thread's first section, and one of a thread that is known. */
	for (int round = 0; round < 2; round++) {
		epoch_enter();
		epoch_enter();
		epoch_enter();
		epoch_leave();
		begin(&waiter);
		assert_waits(&waiter);
		epoch_leave();
		assert_waits(&waiter);
		epoch_leave();
		assert_int_equal(pthread_join(waiter.thread, NULL), 0);
		assert_true(atomic_load(&waiter.over));
	}
	/* Nobody is left inside. */
	epoch_wait();
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_nested)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

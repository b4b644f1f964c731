/* SPDX-License-Identifier: MIT */
/* histogram_test.c - quantiles of values of every size, beside what sorting them says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "histogram.h"

#define VALUES 20000u
#define THREADS 4u

static struct histogram histogram;

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void test_empty(void **state)
{
	(void)state;
	memset(&histogram, 0, sizeof(histogram));
	assert_int_equal(histogram_count(&histogram), 0);
	assert_int_equal(histogram_quantile(&histogram, 500000), 0);
}

/* A value alone is every quantile, exactly: no bucket says more than the largest value. */
static void test_one(void **state)
{
	(void)state;
	for (unsigned shift = 0; shift < 64; shift++) {
		for (int add = -1; add <= 1; add++) {
			uint64_t value = ((uint64_t)1 << shift) + (uint64_t)(int64_t)add;

			memset(&histogram, 0, sizeof(histogram));
			histogram_add(&histogram, value);
			assert_int_equal(histogram_count(&histogram), 1);
			assert_int_equal(histogram_quantile(&histogram, 1), value);
			assert_int_equal(histogram_quantile(&histogram, 1000000), value);
		}
	}
}

/* Small values are exact. */
static void test_small(void **state)
{
	(void)state;
	memset(&histogram, 0, sizeof(histogram));
	for (uint64_t i = 0; i < 20; i++)
		histogram_add(&histogram, i);
	assert_int_equal(histogram_quantile(&histogram, 50000), 0);
	assert_int_equal(histogram_quantile(&histogram, 500000), 9);
	assert_int_equal(histogram_quantile(&histogram, 500001), 10);
	assert_int_equal(histogram_quantile(&histogram, 950000), 18);
	assert_int_equal(histogram_quantile(&histogram, 999999), 19);
}

static void test_quantiles(void **state)
{
	static const unsigned parts[] = {1, 10000, 250000, 500000, 900000, 990000, 999000, 1000000};
	static uint64_t values[VALUES];
	uint64_t random = 1;

	(void)state;
	memset(&histogram, 0, sizeof(histogram));
	for (unsigned i = 0; i < VALUES; i++) {
		random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
		values[i] = random >> 25 >> (random >> 3) % 38; /* of every size below 2^39 */
		histogram_add(&histogram, values[i]);
	}
	qsort(values, VALUES, sizeof(values[0]), compare);
	for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		size_t rank = (size_t)(((uint64_t)VALUES * parts[i] + 999999) / 1000000);
		uint64_t exact = values[rank ? rank - 1 : 0];
		uint64_t found = histogram_quantile(&histogram, parts[i]);

		assert_in_range(found, exact, exact + exact / 32);
	}
}

static void *add_thread(void *arg)
{
	for (uint64_t i = 0; i < VALUES; i++)
		histogram_add(arg, i);
	return NULL;
}

/* Nothing is lost when many add at once. */
static void test_threads(void **state)
{
	pthread_t threads[THREADS];

	(void)state;
	memset(&histogram, 0, sizeof(histogram));
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, add_thread, &histogram), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(histogram_count(&histogram), THREADS * VALUES);
	assert_int_equal(histogram_quantile(&histogram, 1000000), VALUES - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_one),
		cmocka_unit_test(test_small),
		cmocka_unit_test(test_quantiles),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

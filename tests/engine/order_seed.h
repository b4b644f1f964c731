/* SPDX-License-Identifier: MIT */
/*
 * order_seed.h - the random numbers of the ordered index's tests, and failures that say by which seed they come again
 *
 * Each test program has its own; `state` belongs to its main thread.
 */
#ifndef ORDER_SEED_H
#define ORDER_SEED_H

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

static uint64_t seed, state;

static inline uint64_t random_next(uint64_t *from)
{
	uint64_t x = *from += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

static inline unsigned below(unsigned bound)
{
	return (unsigned)(random_next(&state) % bound);
}

static inline void complain(void *arg, const char *message)
{
	print_message("%s\n", message);
}

/* A failure, on any thread, says which seed repeats it. */
static inline void check(bool good, const char *what, int line)
{
	if (!good) {
		fprintf(stderr, "seed %" PRIu64 ", line %d: %s\n", seed, line, what);
		abort();
	}
}

#define CHECK(what) check(what, #what, __LINE__)

/* KVFS_TEST_SEED in the environment, or another one each second. */
static inline void seed_take(void)
{
	const char *given = getenv("KVFS_TEST_SEED");

	seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
	state = seed;
	print_message("KVFS_TEST_SEED=%" PRIu64 "\n", seed);
}

#endif

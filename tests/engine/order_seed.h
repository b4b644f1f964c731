/* SPDX-License-Identifier: MIT */
/*
 * order_seed.h - the random numbers of the ordered index's tests, and failures that say by which
 * seed they come again.
 *
 * KVFS_TEST_SEED repeats a run, KVFS_TEST_QUICK takes fewer steps. `state` belongs to the main
 * thread; another one has a state of its own, and may fail a check.
 */
#ifndef ORDER_SEED_H
#define ORDER_SEED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

extern uint64_t seed, state;

/* KVFS_TEST_SEED in the environment, or another one each second. */
void seed_take(void);

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

/* Says what order_verify found. */
void complain(void *arg, const char *message);

/* A failure, on any thread, says which seed repeats it. */
void check(bool good, const char *what, const char *file, int line);

#define CHECK(what) check(what, #what, __FILE__, __LINE__)

#endif

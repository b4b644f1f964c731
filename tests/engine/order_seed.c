/* SPDX-License-Identifier: MIT */
/* order_seed.c - see order_seed.h. */
#include "order_seed.h"

#include <inttypes.h>
#include <time.h>

uint64_t seed, state;

void complain(void *arg, const char *message)
{
	print_message("%s\n", message);
}

void check(bool good, const char *what, const char *file, int line)
{
	if (!good) {
		fprintf(stderr, "seed %" PRIu64 ", %s:%d: %s\n", seed, file, line, what);
		abort();
	}
}

void seed_take(void)
{
	const char *given = getenv("KVFS_TEST_SEED");

	seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
	state = seed;
	print_message("KVFS_TEST_SEED=%" PRIu64 "\n", seed);
}

/* SPDX-License-Identifier: MIT */
/*
 * fixed.c - see fixed.h. The program's getrandom and clock_gettime stand before those of libc.
 */
#include "fixed.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define FIRST_SECOND 1700000000
#define NSEC_PER_SEC 1000000000ull
#define TICK_NS 1000000u

static atomic_bool fixed;
static atomic_ullong bytes_given, ticks;

void fixed_begin(uint64_t seed)
{
	atomic_store(&bytes_given, seed);
	atomic_store(&ticks, 0);
	atomic_store(&fixed, true);
}

void fixed_end(void)
{
	atomic_store(&fixed, false);
}

ssize_t getrandom(void *to, size_t size, unsigned flags)
{
	if (!atomic_load(&fixed))
		return syscall(SYS_getrandom, to, size, flags);
	/* An odd factor, of which the top byte depends on all of the count. */
	for (size_t i = 0; i < size; i++)
		((uint8_t *)to)[i] =
			(atomic_fetch_add(&bytes_given, 1) + 1) * 0x9e3779b97f4a7c15ull >> 56;
	return (ssize_t)size;
}

/* A loop until some time has passed ends, as each look is later than the last. */
int clock_gettime(clockid_t clock, struct timespec *time)
{
	unsigned long long ns;

	if (!atomic_load(&fixed) || clock != CLOCK_REALTIME)
		return (int)syscall(SYS_clock_gettime, clock, time);
	ns = (atomic_fetch_add(&ticks, 1) + 1) * TICK_NS;
	time->tv_sec = FIRST_SECOND + (time_t)(ns / NSEC_PER_SEC);
	time->tv_nsec = (long)(ns % NSEC_PER_SEC);
	return 0;
}

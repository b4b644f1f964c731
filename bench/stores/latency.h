/* SPDX-License-Identifier: MIT */
/*
 * latency.h - a clock that is cheap enough to be read at every operation, and a histogram of what
 * it says.
 *
 * Buckets are log-linear, as HdrHistogram's: 32 to each power of two, so a percentile is within 3%.
 * Ticks are the processor's time stamp counter where there is one, else nanoseconds. One histogram
 * per thread; they are added up afterwards.
 */
#ifndef LATENCY_H
#define LATENCY_H

#include <stdint.h>
#include <time.h>

#define LATENCY_FINE_BITS 5
#define LATENCY_BUCKETS ((64 - LATENCY_FINE_BITS + 1) << LATENCY_FINE_BITS)

struct latency {
	uint64_t count, max;
	uint64_t buckets[LATENCY_BUCKETS]; /* by ticks */
};

static inline uint64_t latency_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline uint64_t latency_ticks(void)
{
#ifdef __x86_64__
	return __builtin_ia32_rdtsc();
#else
	return latency_now_ns();
#endif
}

/* The same when all that stands before it is done, and nothing behind it has begun. */
static inline uint64_t latency_ticks_alone(void)
{
#ifdef __x86_64__
	uint64_t ticks;

	__builtin_ia32_lfence();
	ticks = latency_ticks();
	__builtin_ia32_lfence();
	return ticks;
#else
	return latency_ticks();
#endif
}

static inline void latency_add(struct latency *latency, uint64_t ticks)
{
	unsigned bucket = (unsigned)ticks;

	if (ticks >> LATENCY_FINE_BITS) {
		unsigned shift = 63u - LATENCY_FINE_BITS - (unsigned)__builtin_clzll(ticks);

		bucket = (shift << LATENCY_FINE_BITS) + (unsigned)(ticks >> shift);
	}
	latency->buckets[bucket]++;
	latency->count++;
	if (ticks > latency->max)
		latency->max = ticks;
}

/* Measures the length of a tick; takes some milliseconds, once. */
void latency_init(void);
double latency_ns(uint64_t ticks);
void latency_merge(struct latency *into, const struct latency *from);
/* The nanoseconds that `share` (0..1) of all operations did not exceed. */
double latency_percentile_ns(const struct latency *latency, double share);

#endif

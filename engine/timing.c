/* SPDX-License-Identifier: MIT */
/* timing.c - see timing.h. */
#include "timing.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#define STEP 128u /* operations from sample to sample, on average */

__thread unsigned timing_countdown[KV_OPERATIONS];

/*
 * Not the env's clock: what a simulated disk calls time says nothing about how long anything takes.
 */
static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int timing_init(struct timing *timing)
{
	timing->histograms = calloc(KV_OPERATIONS, sizeof(*timing->histograms));
	return timing->histograms ? 0 : -ENOMEM;
}

void timing_fini(struct timing *timing)
{
	free(timing->histograms);
}

uint64_t timing_begin_always(const struct timing *timing)
{
	return atomic_load_explicit(&timing->off, memory_order_relaxed) ? 0 : now_ns();
}

uint64_t timing_begin_sample(const struct timing *timing, enum kv_operation operation)
{
	static __thread uint32_t state;

	state = state * 1664525u + 1013904223u; /* the linear congruence of Numerical Recipes */
	timing_countdown[operation] = STEP / 2 + (state >> 16) % STEP;
	return timing_begin_always(timing);
}

void timing_end_timed(struct timing *timing, enum kv_operation operation, uint64_t begun_ns)
{
	histogram_add(&timing->histograms[operation], now_ns() - begun_ns);
}

void timing_summary(const struct timing *timing, enum kv_operation operation,
		     struct kv_latency *out)
{
	const struct histogram *histogram = &timing->histograms[operation];

	out->samples = histogram_count(histogram);
	out->p50_ns = histogram_quantile(histogram, 500000);
	out->p99_ns = histogram_quantile(histogram, 990000);
	out->p999_ns = histogram_quantile(histogram, 999000);
	out->max_ns = atomic_load_explicit(&histogram->max, memory_order_relaxed);
}

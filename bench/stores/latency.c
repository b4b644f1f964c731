/* SPDX-License-Identifier: MIT */
/* latency.c - reading the histograms; see latency.h. */
#include "latency.h"

#define CALIBRATION_NS 20000000u

static double tick_ns = 1;

void latency_init(void)
{
	uint64_t start_ns = latency_now_ns(), start = latency_ticks(), now_ns;

	do
		now_ns = latency_now_ns();
	while (now_ns - start_ns < CALIBRATION_NS);
	tick_ns = (double)(now_ns - start_ns) / (double)(latency_ticks() - start);
}

double latency_ns(uint64_t ticks)
{
	return (double)ticks * tick_ns;
}

void latency_merge(struct latency *into, const struct latency *from)
{
	for (unsigned i = 0; i < LATENCY_BUCKETS; i++)
		into->buckets[i] += from->buckets[i];
	into->count += from->count;
	if (from->max > into->max)
		into->max = from->max;
}

/* The upper end of a bucket, in ticks. */
static uint64_t bucket_end(unsigned bucket)
{
	unsigned shift = bucket >> LATENCY_FINE_BITS;

	if (shift < 2)
		return bucket;
	shift--;
	return ((uint64_t)(bucket - (shift << LATENCY_FINE_BITS) + 1) << shift) - 1;
}

double latency_percentile_ns(const struct latency *latency, double share)
{
	uint64_t wanted = (uint64_t)((double)latency->count * share), seen = 0;

	for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
		seen += latency->buckets[i];
		if (seen > wanted)
			return latency_ns(
				bucket_end(i) < latency->max ? bucket_end(i) : latency->max);
	}
	return latency_ns(latency->max);
}

/* SPDX-License-Identifier: MIT */
/* histogram.c - see histogram.h. */
#include "histogram.h"

#define PARTS 1000000u

/*
 * Values below 32 have a bucket each. Above, the leading bit says which row of 32, the five bits
 * behind it which bucket.
 */
static unsigned bucket_of(uint64_t value)
{
	unsigned shift;

	if (value < HISTOGRAM_FINE)
		return (unsigned)value;
	if (value >> HISTOGRAM_VALUE_BITS)
		return HISTOGRAM_BUCKETS - 1;
	shift = 63 - (unsigned)__builtin_clzll(value) - HISTOGRAM_FINE_BITS;
	return (shift + 1) * HISTOGRAM_FINE + (unsigned)(value >> shift) - HISTOGRAM_FINE;
}

/* The largest value of a bucket. */
static uint64_t bucket_end(unsigned bucket)
{
	unsigned shift = bucket / HISTOGRAM_FINE;

	if (!shift)
		return bucket;
	shift--;
	return ((uint64_t)(bucket % HISTOGRAM_FINE + HISTOGRAM_FINE + 1) << shift) - 1;
}

void histogram_add(struct histogram *histogram, uint64_t value)
{
	uint64_t max = atomic_load_explicit(&histogram->max, memory_order_relaxed);

	atomic_fetch_add_explicit(&histogram->counts[bucket_of(value)], 1, memory_order_relaxed);
	while (value > max && !atomic_compare_exchange_weak_explicit(&histogram->max, &max, value,
								     memory_order_relaxed,
								     memory_order_relaxed))
		;
}

uint64_t histogram_count(const struct histogram *histogram)
{
	uint64_t count = 0;
	unsigned i;

	for (i = 0; i < HISTOGRAM_BUCKETS; i++)
		count += atomic_load_explicit(&histogram->counts[i], memory_order_relaxed);
	return count;
}

uint64_t histogram_quantile(const struct histogram *histogram, unsigned part)
{
	uint64_t max = atomic_load_explicit(&histogram->max, memory_order_relaxed);
	uint64_t count = histogram_count(histogram), seen = 0, end;
	/* How many values are up to it, rounded up; without overflow for any count. */
	uint64_t wanted = count / PARTS * part + (count % PARTS * part + PARTS - 1) / PARTS;
	unsigned i;

	if (!count)
		return 0;
	for (i = 0; i < HISTOGRAM_BUCKETS - 1; i++) {
		seen += atomic_load_explicit(&histogram->counts[i], memory_order_relaxed);
		if (seen >= wanted && seen)
			break;
	}
	end = bucket_end(i);
	return end < max && i < HISTOGRAM_BUCKETS - 1 ? end : max;
}

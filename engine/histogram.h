/* SPDX-License-Identifier: MIT */
/*
 * histogram.h - how often values of which size came: a log-linear histogram, as HdrHistogram's (Gil
 * Tene): 32 buckets for each power of two, so that a quantile is right within 3%. Any value fits;
 * those from 2^40 on share a bucket.
 *
 * Threads: any, at once. A quantile that is asked for meanwhile counts some of what comes just
 * then.
 */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

#define HISTOGRAM_FINE_BITS 5u
#define HISTOGRAM_FINE (1u << HISTOGRAM_FINE_BITS)
#define HISTOGRAM_VALUE_BITS 40u
#define HISTOGRAM_BUCKETS (HISTOGRAM_FINE * (HISTOGRAM_VALUE_BITS - HISTOGRAM_FINE_BITS + 1))

struct histogram {
	_Atomic uint64_t counts[HISTOGRAM_BUCKETS];
	_Atomic uint64_t max;
};

void histogram_add(struct histogram *histogram, uint64_t value);
uint64_t histogram_count(const struct histogram *histogram);
/*
 * The value that `part` of 1,000,000 values do not exceed, to the bucket's upper end; 0 if there
 * are none.
 */
uint64_t histogram_quantile(const struct histogram *histogram, unsigned part);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * timing.h - how long operations take: a histogram for each kind, filled from samples. Of what
 * takes less than reading the clock costs many times over (gets, commits), each thread times about
 * one in 128, at uneven distances, so that no rhythm of the caller's is mistaken for all; what
 * waits for the disk is timed always.
 */
#ifndef TIMING_H
#define TIMING_H

#include <stdbool.h>

#include "histogram.h"
#include "kv.h"

struct timing {
	_Atomic bool off;
	struct histogram *histograms; /* [KV_OPERATIONS] */
};

int timing_init(struct timing *timing);
void timing_fini(struct timing *timing);
/* What is to be passed to timing_end: the time now, or 0 for one that is not timed. */
uint64_t timing_begin_always(const struct timing *timing);
uint64_t timing_begin_sample(const struct timing *timing, enum kv_operation operation);
void timing_end_timed(struct timing *timing, enum kv_operation operation, uint64_t begun_ns);
void timing_summary(const struct timing *timing, enum kv_operation operation,
		     struct kv_latency *out);

/* How many of the thread's operations are left until the next sample. */
extern __thread unsigned timing_countdown[KV_OPERATIONS]
	__attribute__((tls_model("initial-exec")));

/* Counts one; is it to be timed? Then timing_begin_sample says from when. */
static inline bool timing_is_due(enum kv_operation operation)
{
	return __builtin_expect(timing_countdown[operation]-- == 0, 0);
}

static inline uint64_t timing_begin(const struct timing *timing, enum kv_operation operation)
{
	/* The first is timed, whatever follows: 0 is where a thread begins. */
	return timing_is_due(operation) ? timing_begin_sample(timing, operation) : 0;
}

static inline void timing_end(struct timing *timing, enum kv_operation operation,
			       uint64_t begun_ns)
{
	if (__builtin_expect(begun_ns != 0, 0))
		timing_end_timed(timing, operation, begun_ns);
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * measure.h - runs one operation very often, on some threads, and prints what it took.
 *
 * Each result is a line "work TAB measure TAB value" on the standard output. Measures of a work:
 *	rate	    operations a second, of all threads together, to the end of the flush
 *	p50_ns, p99_ns, p999_ns, max_ns   of one operation (not of iterations)
 *	cpu_ns	    processor time of the whole process, its background threads too, per operation
 * and whatever a workload adds (seconds, bytes_per_key...).
 */
#ifndef MEASURE_H
#define MEASURE_H

#include "latency.h"
#include "store.h"

#include <pthread.h>

struct worker;

/* One operation, the `number`th of this worker. 0 or a negative errno, which ends the run. */
typedef int measure_step(struct worker *worker, uint64_t number);

struct measure {
	const char *work;
	measure_step *step;
	void *arg; /* the step's */
	unsigned threads; /* 0: 1 */
	uint64_t count; /* operations of all threads together */
	double seconds; /* stops after that; 0: does all */
	unsigned weight; /* entries that a step counts for; 0: 1 */
	bool reads; /* in read sections of MEASURE_SECTION operations */
	/*
	 * Of short ones: one in MEASURE_SAMPLE is timed, by itself, from when all before it is
	 * done. Timing takes as many instructions as much of a get, and the processor, which would
	 * begin the next one meanwhile, as a program's own would be begun, not so far ahead.
	 */
	bool sampled;
	bool flush; /* the flush belongs to the work */
};

#define MEASURE_SECTION 64u
#define MEASURE_SAMPLE 31u /* no multiple of a rhythm of the workloads' */

struct worker {
	const struct measure *measure;
	struct session *session;
	const struct store_ops *ops;
	pthread_barrier_t *barrier;
	uint64_t first, count; /* operations; first: of this worker in the whole */
	uint64_t done;
	unsigned untimed; /* operations before the next that is timed */
	uint64_t random; /* state */
	uint64_t sum; /* of what was read */
	int err;
	pthread_t thread;
	struct latency latency;
};

/*
 * Prints the results; the store has `threads` sessions opened for it, and closed, when more than
 * one.
 */
int measure_run(struct store *store, struct session *session, const struct measure *measure);
void measure_print(const char *work, const char *name, double value);
double measure_seconds_since(uint64_t start_ns);
/* Processor time of the process. */
uint64_t measure_cpu_ns(void);
/* Memory of the process that is not a file's. */
uint64_t measure_memory_bytes(void);

#endif

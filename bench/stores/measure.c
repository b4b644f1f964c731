/* SPDX-License-Identifier: MIT */
/*
 * measure.c - see measure.h. All workers start together, and the clock stops when the last is
 * through.
 */
#include "measure.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#define TIME_EVERY 256u /* operations between looks at the clock, where they are fast */

void measure_print(const char *work, const char *name, double value)
{
	printf("%s\t%s\t%.6g\n", work, name, value);
	fflush(stdout);
}

double measure_seconds_since(uint64_t start_ns)
{
	return (double)(latency_now_ns() - start_ns) / 1e9;
}

uint64_t measure_cpu_ns(void)
{
	struct rusage use;

	getrusage(RUSAGE_SELF, &use);
	return ((uint64_t)use.ru_utime.tv_sec + (uint64_t)use.ru_stime.tv_sec) * 1000000000u +
	       ((uint64_t)use.ru_utime.tv_usec + (uint64_t)use.ru_stime.tv_usec) * 1000u;
}

static bool out_of_time(const struct measure *measure, uint64_t ticks)
{
	return measure->seconds > 0 && latency_ns(ticks) > measure->seconds * 1e9;
}

/* One after the other: each ends where the next begins. */
static int step_timed(struct worker *worker, uint64_t *last)
{
	int err = worker->measure->step(worker, worker->done);
	uint64_t now = latency_ticks();

	latency_add(&worker->latency, now - *last);
	*last = now;
	return err;
}

static int step_sampled(struct worker *worker)
{
	uint64_t start;
	int err;

	if (worker->untimed--)
		return worker->measure->step(worker, worker->done);
	worker->untimed = MEASURE_SAMPLE - 1;
	start = latency_ticks_alone();
	err = worker->measure->step(worker, worker->done);
	latency_add(&worker->latency, latency_ticks_alone() - start);
	return err;
}

static int work_section(struct worker *worker, uint64_t *last)
{
	const struct measure *measure = worker->measure;
	bool section = measure->reads && worker->ops->read_begin;
	unsigned count = measure->reads ? MEASURE_SECTION : 1;
	int err = section ? worker->ops->read_begin(worker->session) : 0;

	for (; !err && count-- && worker->done < worker->count; worker->done++)
		err = measure->sampled ? step_sampled(worker) : step_timed(worker, last);
	if (section)
		worker->ops->read_end(worker->session);
	if (measure->sampled)
		*last = latency_ticks();
	return err;
}

static void *work(void *arg)
{
	struct worker *worker = arg;
	const struct measure *measure = worker->measure;
	uint64_t start, last, checked = 0;

	pthread_barrier_wait(worker->barrier);
	start = last = latency_ticks();
	while (!worker->err && worker->done < worker->count) {
		worker->err = work_section(worker, &last);
		/* slow operations look at the clock after each section */
		if (worker->done - checked >= TIME_EVERY || latency_ns(last - start) > 1e8) {
			checked = worker->done;
			if (out_of_time(measure, last - start))
				break;
		}
	}
	if (!worker->err && measure->flush)
		worker->err = worker->ops->flush(worker->session);
	return NULL;
}

static void worker_init(struct worker *worker, struct store *store, const struct measure *measure,
	unsigned number, unsigned threads, pthread_barrier_t *barrier)
{
	worker->measure = measure;
	worker->ops = store->ops;
	worker->barrier = barrier;
	worker->random = number + 1;
	worker->first = measure->count * number / threads;
	worker->count = measure->count * (number + 1) / threads - worker->first;
}

static int workers_run(struct worker *workers, unsigned threads, pthread_barrier_t *barrier,
	const struct measure *measure)
{
	struct latency *all = &workers[0].latency;
	uint64_t start_ns, cpu_ns, done = 0;
	unsigned weight = measure->weight ? measure->weight : 1;
	double seconds;
	int err = 0;

	for (unsigned i = 1; i < threads; i++)
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			abort();
	cpu_ns = measure_cpu_ns();
	start_ns = latency_now_ns();
	work(&workers[0]);
	for (unsigned i = 1; i < threads; i++)
		pthread_join(workers[i].thread, NULL);
	seconds = measure_seconds_since(start_ns);
	cpu_ns = measure_cpu_ns() - cpu_ns;
	for (unsigned i = 0; i < threads; i++) {
		done += workers[i].done * weight;
		if (workers[i].err)
			err = workers[i].err;
		if (i)
			latency_merge(all, &workers[i].latency);
	}
	if (err || !done) {
		fprintf(stderr, "%s: %s: error %d\n", workers[0].ops->name, measure->work, -err);
		return err ? err : -EIO;
	}
	measure_print(measure->work, "rate", (double)done / seconds);
	measure_print(measure->work, "p50_ns", latency_percentile_ns(all, 0.5));
	measure_print(measure->work, "p99_ns", latency_percentile_ns(all, 0.99));
	measure_print(measure->work, "p999_ns", latency_percentile_ns(all, 0.999));
	measure_print(measure->work, "max_ns", latency_ns(all->max));
	measure_print(measure->work, "cpu_ns", (double)cpu_ns / (double)done);
	return 0;
}

int measure_run(struct store *store, struct session *session, const struct measure *measure)
{
	unsigned threads = measure->threads ? measure->threads : 1, opened = 1;
	struct worker *workers = calloc(threads, sizeof(*workers));
	pthread_barrier_t barrier;
	int err = 0;

	if (!workers)
		return -ENOMEM;
	pthread_barrier_init(&barrier, NULL, threads);
	workers[0].session = session;
	for (; !err && opened < threads; opened += !err)
		err = store->ops->session_open(store, &workers[opened].session);
	for (unsigned i = 0; i < threads; i++)
		worker_init(&workers[i], store, measure, i, threads, &barrier);
	if (!err)
		err = workers_run(workers, threads, &barrier, measure);
	while (--opened)
		store->ops->session_close(workers[opened].session);
	pthread_barrier_destroy(&barrier);
	free(workers);
	return err;
}

uint64_t measure_memory_bytes(void)
{
	FILE *file = fopen("/proc/self/status", "r");
	char line[256];
	unsigned long long kib = 0;

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "RssAnon: %llu kB", &kib) == 1)
			break;
	if (file)
		fclose(file);
	return kib * 1024;
}

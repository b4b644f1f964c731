/* SPDX-License-Identifier: MIT */
/* worker.c - see worker.h. */
#include "worker.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

void worker_init(struct worker *worker)
{
	sem_init(&worker->kick, 0, 0);
}

void worker_fini(struct worker *worker)
{
	sem_destroy(&worker->kick);
}

/* Part of what it is made with: so the caller's own mask never changes, not for a moment. */
int worker_thread(pthread_t *thread, void *(*run)(void *arg), void *arg)
{
	pthread_attr_t attr;
	sigset_t blocked;
	int error;

	pthread_sigmask(SIG_SETMASK, NULL, &blocked);
	sigdelset(&blocked, SIGBUS);
	pthread_attr_init(&attr);
	error = pthread_attr_setsigmask_np(&attr, &blocked);
	if (!error)
		error = pthread_create(thread, &attr, run, arg);
	pthread_attr_destroy(&attr);
	return -error;
}

int worker_start(struct worker *worker, void *(*run)(void *arg), void *arg)
{
	int error = worker_thread(&worker->thread, run, arg);

	if (!error)
		worker->running = true;
	return error;
}

void worker_stop(struct worker *worker)
{
	if (!worker->running)
		return;
	atomic_store(&worker->stopping, true);
	sem_post(&worker->kick);
	pthread_join(worker->thread, NULL);
	worker->running = false;
}

void worker_kick(struct worker *worker)
{
	if (!atomic_load_explicit(&worker->kicked, memory_order_relaxed) &&
	    !atomic_exchange(&worker->kicked, true))
		sem_post(&worker->kick);
}

bool worker_sleep(struct worker *worker, uint64_t us)
{
	struct timespec deadline;

	if (us == UINT64_MAX) {
		while (sem_wait(&worker->kick) && errno == EINTR)
			;
	} else {
		clock_gettime(CLOCK_MONOTONIC, &deadline);
		deadline.tv_sec += (time_t)(us / 1000000);
		deadline.tv_nsec += (long)(us % 1000000) * 1000;
		if (deadline.tv_nsec >= 1000000000) {
			deadline.tv_nsec -= 1000000000;
			deadline.tv_sec++;
		}
		sem_clockwait(&worker->kick, CLOCK_MONOTONIC, &deadline);
	}
	/* Cleared before the work is looked for: what comes from here on kicks again. */
	return atomic_exchange(&worker->kicked, false);
}

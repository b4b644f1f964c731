/* SPDX-License-Identifier: MIT */
/*
 * worker.h - a thread of the store's own that sleeps until it is kicked, or a time is over. The
 * struct is in store.h.
 *
 * A kick that comes while it works is not lost: it works once more.
 */
#ifndef WORKER_H
#define WORKER_H

#include "store.h"

void worker_init(struct worker *worker);
void worker_fini(struct worker *worker);
/*
 * Every thread of the engine's begins here. They read maps, and a page that cannot be read must
 * come to the handler (env_map.h), whatever signals whoever opened the store has blocked. Of the
 * others they have blocked what the caller has. -errno of pthread_create.
 */
int worker_thread(pthread_t *thread, void *(*run)(void *arg), void *arg);
/* As worker_thread. */
int worker_start(struct worker *worker, void *(*run)(void *arg), void *arg);
/* Lets the work under way end, and waits for that. */
void worker_stop(struct worker *worker);

/* Any lock may be held. Costs a load when it was kicked already. */
void worker_kick(struct worker *worker);
/* The worker's: until a kick, at most so long; UINT64_MAX: without end. Was there a kick? */
bool worker_sleep(struct worker *worker, uint64_t us);

static inline bool worker_is_stopping(const struct worker *worker)
{
	return atomic_load(&worker->stopping);
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * reaper.c - see reaper.h.
 */
#include "reaper.h"

#include <stdlib.h>

void reaper_init(struct reaper *reaper, reaper_step_fn *step, void *arg)
{
	*reaper = (struct reaper){.step = step, .arg = arg};
	pthread_mutex_init(&reaper->lock, NULL);
	pthread_cond_init(&reaper->more, NULL);
}

/* The inode to go on with; false: it is the end. */
static bool reaper_next(struct reaper *reaper, uint64_t *ino)
{
	bool found;

	pthread_mutex_lock(&reaper->lock);
	while (!reaper->count && !reaper->stopping)
		pthread_cond_wait(&reaper->more, &reaper->lock);
	found = reaper->count > 0;
	if (found)
		*ino = reaper->inos[--reaper->count];
	pthread_mutex_unlock(&reaper->lock);
	return found;
}

static void *reaper_run(void *arg)
{
	struct reaper *reaper = arg;
	uint64_t ino;

	while (reaper_next(reaper, &ino)) {
		while (!reaper->step(reaper->arg, ino))
			;
	}
	return NULL;
}

void reaper_fini(struct reaper *reaper)
{
	pthread_mutex_lock(&reaper->lock);
	reaper->stopping = true;
	pthread_cond_signal(&reaper->more);
	pthread_mutex_unlock(&reaper->lock);
	if (reaper->running)
		pthread_join(reaper->thread, NULL);
	pthread_cond_destroy(&reaper->more);
	pthread_mutex_destroy(&reaper->lock);
	free(reaper->inos);
}

/* Room for one more. Called with the lock. */
static bool reaper_grow(struct reaper *reaper)
{
	size_t capacity = reaper->capacity ? reaper->capacity * 2 : 16;
	uint64_t *inos;

	if (reaper->count < reaper->capacity)
		return true;
	inos = realloc(reaper->inos, capacity * sizeof(*inos));
	if (!inos)
		return false;
	reaper->inos = inos;
	reaper->capacity = capacity;
	return true;
}

bool reaper_push(struct reaper *reaper, uint64_t ino)
{
	bool pushed;

	pthread_mutex_lock(&reaper->lock);
	pushed = reaper_grow(reaper);
	if (pushed && !reaper->running)
		pushed = reaper->running =
			!pthread_create(&reaper->thread, NULL, reaper_run, reaper);
	if (pushed)
		reaper->inos[reaper->count++] = ino;
	pthread_cond_signal(&reaper->more);
	pthread_mutex_unlock(&reaper->lock);
	return pushed;
}

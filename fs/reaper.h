/* SPDX-License-Identifier: MIT */
/*
 * reaper.h - frees very large files behind the back of whoever let go of them last, one batch at a
 * time, on a thread that is made when there is first something for it.
 *
 * What it has not freed is noted in the store (an orphan record): a crash loses nothing.
 */
#ifndef REAPER_H
#define REAPER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One batch of freeing; true if nothing is left to be freed of this inode. */
typedef bool reaper_step_fn(void *arg, uint64_t ino);

struct reaper {
	pthread_mutex_t lock;
	pthread_cond_t more; /* an inode came, or the end */
	uint64_t *inos;      /* protected by lock, as all below */
	size_t count, capacity;
	bool running, stopping;
	pthread_t thread;
	reaper_step_fn *step;
	void *arg;
};

void reaper_init(struct reaper *reaper, reaper_step_fn *step, void *arg);
/* Waits until all is freed. */
void reaper_fini(struct reaper *reaper);
/* False: there is no memory, or no thread; the caller frees it himself. */
bool reaper_push(struct reaper *reaper, uint64_t ino);

#endif

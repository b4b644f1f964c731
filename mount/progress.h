/* SPDX-License-Identifier: MIT */
/*
 * progress.h - a command that takes long: one line on the terminal that says how far it is, and
 * signals that end the work in order instead of the process.
 *
 * One at a time in a process. Not for threads.
 */
#ifndef KVFS_MOUNT_PROGRESS_H
#define KVFS_MOUNT_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
	const char *done; /* what has happened to so much of it: "checked" */
	bool shown;	  /* there is a terminal */
	bool line;	  /* and on it a line of ours */
	int64_t next_ms;
};

/*
 * From here on SIGINT, SIGTERM and SIGHUP are remembered and end nothing. Called before a store is
 * opened, so that it is closed as usual.
 */
void progress_catch_signals(void);

/* They are what they were before: what follows needs no end in order. Those that have come stay. */
void progress_release_signals(void);

/* One of them has come. */
bool progress_interrupted(void);

void progress_init(struct progress *progress, const char *done);

/* A kv_progress_fn whose argument is a struct progress: asks to stop after a signal. */
int progress_show(void *arg, uint64_t done_bytes, uint64_t total_bytes);

/* Takes the line away: something else is about to be printed. */
void progress_clear(struct progress *progress);

/* Milliseconds of a clock that nobody sets. */
int64_t progress_now_ms(void);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * fuse_gate.h - what all requests pass, so that they can be kept waiting: while the tree goes back
 * to a snapshot nobody may see it, or change it.
 *
 * Whoever serves a request is inside from before it looks at the tree until it has answered, or
 * given the answer to the store. To be inside costs two atomic operations on a cache line of the
 * thread's own.
 */
#ifndef FUSE_GATE_H
#define FUSE_GATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#define FUSE_GATE_SLOTS 64u

struct fuse_gate_slot {
	atomic_uint inside; /* threads that count here */
} __attribute__((aligned(64)));

struct fuse_gate {
	struct fuse_gate_slot slots[FUSE_GATE_SLOTS];
	atomic_bool closed; /* set under the lock; read after a slot's count has been raised */
	bool broken;	    /* protected by lock: who waits is to fail, and so is who comes later */
	pthread_mutex_t lock; /* a leaf */
	pthread_cond_t opened; /* or broken */
};

void fuse_gate_init(struct fuse_gate *gate);
void fuse_gate_fini(struct fuse_gate *gate);

/* Waits while it is closed. False: it is broken, and nobody is inside. */
bool fuse_gate_enter(struct fuse_gate *gate);
void fuse_gate_leave(struct fuse_gate *gate);

/* Returns when nobody is inside, and nobody comes in. One at a time. */
void fuse_gate_close(struct fuse_gate *gate);
void fuse_gate_open(struct fuse_gate *gate);
/* Instead of opening it: for good. */
void fuse_gate_break(struct fuse_gate *gate);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * fuse_gate.c - see fuse_gate.h. Who comes counts himself, then looks whether it is closed; who
 * closes it says so, then waits for the counts. One of the two sees the other, whatever the order,
 * as both are sequentially consistent.
 */
#include "fuse_gate.h"

#include <time.h>

#define PAUSE_NS 20000

static atomic_uint threads;
static _Thread_local
	__attribute__((tls_model("initial-exec"))) unsigned own_slot; /* plus one; 0: none yet */

static struct fuse_gate_slot *slot_of(struct fuse_gate *gate)
{
	if (__builtin_expect(!own_slot, 0))
		own_slot = atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed) %
				   FUSE_GATE_SLOTS + 1;
	return &gate->slots[own_slot - 1];
}

void fuse_gate_init(struct fuse_gate *gate)
{
	for (unsigned i = 0; i < FUSE_GATE_SLOTS; i++)
		atomic_init(&gate->slots[i].inside, 0);
	atomic_init(&gate->closed, false);
	gate->broken = false;
	pthread_mutex_init(&gate->lock, NULL);
	pthread_cond_init(&gate->opened, NULL);
}

void fuse_gate_fini(struct fuse_gate *gate)
{
	pthread_cond_destroy(&gate->opened);
	pthread_mutex_destroy(&gate->lock);
}

/* Until it is open or broken. */
static bool wait_outside(struct fuse_gate *gate)
{
	bool broken;

	pthread_mutex_lock(&gate->lock);
	while (atomic_load(&gate->closed) && !gate->broken)
		pthread_cond_wait(&gate->opened, &gate->lock);
	broken = gate->broken;
	pthread_mutex_unlock(&gate->lock);
	return !broken;
}

bool fuse_gate_enter(struct fuse_gate *gate)
{
	struct fuse_gate_slot *slot = slot_of(gate);

	for (;;) {
		atomic_fetch_add(&slot->inside, 1);
		if (__builtin_expect(!atomic_load(&gate->closed), 1))
			return true;
		fuse_gate_leave(gate);
		if (!wait_outside(gate))
			return false;
	}
}

void fuse_gate_leave(struct fuse_gate *gate)
{
	atomic_fetch_sub_explicit(&slot_of(gate)->inside, 1, memory_order_release);
}

void fuse_gate_close(struct fuse_gate *gate)
{
	const struct timespec pause = {.tv_nsec = PAUSE_NS};

	pthread_mutex_lock(&gate->lock);
	atomic_store(&gate->closed, true);
	pthread_mutex_unlock(&gate->lock);
	for (unsigned i = 0; i < FUSE_GATE_SLOTS; i++) {
		while (atomic_load(&gate->slots[i].inside))
			nanosleep(&pause, NULL);
	}
}

static void end(struct fuse_gate *gate, bool broken)
{
	pthread_mutex_lock(&gate->lock);
	gate->broken = broken;
	atomic_store(&gate->closed, broken);
	pthread_cond_broadcast(&gate->opened);
	pthread_mutex_unlock(&gate->lock);
}

void fuse_gate_open(struct fuse_gate *gate)
{
	end(gate, false);
}

void fuse_gate_break(struct fuse_gate *gate)
{
	end(gate, true);
}

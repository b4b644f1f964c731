/* SPDX-License-Identifier: MIT */
/*
 * order_gate.c - keeps readers and the writer of an ordered index apart.
 *
 * A reader announces itself in its lane and then looks whether the gate is closed; the writer
 * closes the gate and then looks at the lanes. Both do so in the one order of sequentially
 * consistent operations, so at least one of them sees the other. Lanes are on cache lines of their
 * own: readers on different processors do not disturb each other, and a writer without readers
 * finds all lines in its cache. A writer that comes waits only for the readers already inside; a
 * reader that was turned away comes in before the writer's next turn or the one after, because a
 * writer leaves the gate open between turns.
 */
#include <sched.h>
#include <time.h>

#include "order_node.h"

#define SPINS_MAX 200u
#define YIELDS_MAX 64u

/* Waits a moment, the longer the more often it has been called. */
static void gate_pause(unsigned *rounds)
{
	static const struct timespec nap = {.tv_nsec = 50000};

	(*rounds)++;
	if (*rounds < SPINS_MAX) {
#if defined(__x86_64__) || defined(__i386__)
		__builtin_ia32_pause();
#endif
	} else if (*rounds < SPINS_MAX + YIELDS_MAX) {
		sched_yield();
	} else {
		nanosleep(&nap, NULL);
	}
}

/* Threads that have been readers. It is raised before the thread enters its lane: part of that same
 * one order. */
static atomic_uint threads;

static unsigned gate_lane(void)
{
	static _Thread_local
		__attribute__((tls_model("initial-exec"))) unsigned lane; /* 0: none yet */

	if (!lane)
		lane = 1 + atomic_fetch_add(&threads, 1) % ORDER_GATE_LANES;
	return lane - 1;
}

unsigned order_gate_enter(struct order_gate *gate)
{
	unsigned lane = gate_lane(), rounds = 0;

	for (;;) {
		atomic_fetch_add(&gate->lanes[lane].readers, 1);
		if (!atomic_load(&gate->closed))
			return lane;
		atomic_fetch_sub(&gate->lanes[lane].readers, 1);
		while (atomic_load_explicit(&gate->closed, memory_order_relaxed))
			gate_pause(&rounds);
	}
}

void order_gate_leave(struct order_gate *gate, unsigned lane)
{
	atomic_fetch_sub_explicit(&gate->lanes[lane].readers, 1, memory_order_release);
}

void order_gate_close(struct order_gate *gate)
{
	unsigned lanes;

	atomic_store(&gate->closed, 1);
	lanes = atomic_load(&threads);
	if (lanes > ORDER_GATE_LANES)
		lanes = ORDER_GATE_LANES;
	for (unsigned i = 0; i < lanes; i++) {
		unsigned rounds = 0;

		while (atomic_load(&gate->lanes[i].readers))
			gate_pause(&rounds);
	}
}

void order_gate_open(struct order_gate *gate)
{
	atomic_store_explicit(&gate->closed, 0, memory_order_release);
}

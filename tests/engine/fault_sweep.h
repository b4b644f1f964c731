/* SPDX-License-Identifier: MIT */
/*
 * fault_sweep.h - one piece of work again and again, in each of which another call of the world
 * fails: the nth of every kind, with each error that such a call may give, once or from then on.
 *
 * With KVFS_TEST_LONG every n; else some of each kind, which follow from KVFS_TEST_SEED or are
 * drawn. The executable needs the linker's --wrap as crash_memory.h says.
 */
#ifndef FAULT_SWEEP_H
#define FAULT_SWEEP_H

#include "sim_env.h"

#define FAULT_MEMORY SIM_FAULTS /* malloc and its like */
#define FAULT_KINDS (SIM_FAULTS + 1u)

struct fault {
	unsigned kind; /* enum sim_fault, or FAULT_MEMORY */
	uint64_t nth;  /* 0: none fails, they are counted */
	int error;
	bool stays; /* and all that follow; not of memory */
};

/* From here to fault_end calls are counted, and the one fails. */
void fault_begin(struct sim_env *sim, const struct fault *fault);
/* Did it? */
bool fault_end(struct sim_env *sim, const struct fault *fault);

typedef void fault_try_fn(void *arg, const struct fault *fault);

/*
 * First without a fault, then with each; `work` comes by fault_begin and fault_end each time.
 * most: of each kind, error and whether it stays, but for KVFS_TEST_LONG. Returns how many failed.
 */
unsigned fault_sweep(const char *what, unsigned most, fault_try_fn *work, void *arg);

/* For cmocka, a teardown: says what was failing, if the test did. */
int fault_sweep_say(void **state);

#endif

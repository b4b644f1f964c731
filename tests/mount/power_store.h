/* SPDX-License-Identifier: MIT */
/*
 * power_store.h - a store that is changed step by step, and judged: it must be what it was after one of them.
 *
 * Step 1 makes the store, each later one is a batch and what else it brings: a sync, a snapshot, a prune, closing and opening again. All of
 * it follows from the seed and the step's number, so what the store must hold after any step can be worked out.
 */
#ifndef POWER_STORE_H
#define POWER_STORE_H

#include <stdint.h>

#include "power_disk.h"

/* Makes steps 1..steps in `path`, and leaves the store open. 0 or -1, said on stderr. */
int power_store_work(const char *path, uint64_t seed, uint64_t steps, struct power_marks *marks);
/*
 * Opens what a power failure left when `begun` steps had begun and `kept` were promised, compares all of it and every snapshot, checks
 * it, goes on for some steps and closes it. Out: the step that was found. 0 or -1, said on stderr.
 */
int power_store_judge(const char *path, uint64_t seed, uint64_t begun, uint64_t kept, uint64_t *found);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * soak_work.h - one life: a process that opens the store, verifies all of it against the model, and
 * works on it from many threads until it is killed, or asked to close.
 */
#ifndef SOAK_WORK_H
#define SOAK_WORK_H

#include "kv.h"
#include "soak_model.h"

struct soak_options {
	const char *directory;
	unsigned seconds;
	unsigned life_ms; /* not 0: longest life, and what happens now and then happens as often */
	bool steady;      /* one life without kills */
	unsigned writers;
	uint32_t pairs;
	uint64_t seed;
	uint32_t segment_bytes;
	enum kv_compress compress;
};

#define SOAK_WRITERS_MAX 32u

int soak_create(const struct soak_options *options);
/* In a process of its own; does not return. */
__attribute__((noreturn)) void soak_life(const struct soak_options *options,
					 struct soak_model *model, uint64_t life);
/*
 * One that nobody ends: it works for a third of the time, and for the rest of it. After each nobody
 * works, and what snapshots keep is given back; the process must have then what it had before. In a
 * process of its own; does not return.
 */
__attribute__((noreturn)) void soak_steady_life(const struct soak_options *options,
						struct soak_model *model);
/*
 * Opens it once more, and compares it with the model; then its own check, and what is on the disk at
 * rest. In a process of its own; does not return.
 */
__attribute__((noreturn)) void soak_finish(const struct soak_options *options,
					   struct soak_model *model);

#endif

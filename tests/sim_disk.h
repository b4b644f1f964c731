/* SPDX-License-Identifier: MIT */
/*
 * sim_disk.h - the state of the simulated disk, shared by the calls of env.h (sim_env.c) and the
 * test's own (sim_disk.c).
 *
 * Private to the two.
 */
#ifndef SIM_DISK_H
#define SIM_DISK_H

#include <pthread.h>

#include "sim_env.h"
#include "sim_names.h"

struct sim_fault_plan {
	uint64_t calls; /* so far */
	uint64_t first, times;
	int error;
};

struct sim_env {
	struct kv_env table;  /* first: a kv_env pointer is a sim_env pointer */
	pthread_mutex_t lock; /* protects all below */
	struct sim_random random;
	uint64_t capacity, file_size_max; /* bytes */
	uint64_t quota;	    /* bytes, of which dir_space says nothing; UINT64_MAX: none */
	unsigned opens_max; /* files and directories open at once */
	uint64_t steps, cut_at;
	bool cut;
	uint64_t now_us;
	uint64_t late_us; /* calls take up to that long; 0: no time */
	struct sim_fault_plan faults[SIM_FAULTS];

	char *path;     /* of the one directory; NULL: not made */
	unsigned opens; /* directories and files */
	struct sim_names names;
	struct sim_file **files; /* all that exist, named or not */
	size_t file_count, file_capacity;
};

enum sim_step {
	SIM_STEP_DONE, /* the call does its work */
	SIM_STEP_HALF, /* the power fails in it: it does its work, which may be undone, and returns
			  -EIO */
	SIM_STEP_REFUSED, /* the power is off, or fails before the call has done anything */
};

extern const struct kv_env sim_env_calls_table;

/* All of these: under sim->lock. */
enum sim_step sim_disk_step(struct sim_env *sim);
/* The error that this call of this kind is to fail with, or 0. */
int sim_disk_fault(struct sim_env *sim, enum sim_fault kind);
/* The same of opening a file or a directory, of which there may be too many. */
int sim_disk_open_fault(struct sim_env *sim);
uint64_t sim_disk_used(const struct sim_env *sim); /* bytes */
/* Bytes that can still be allocated. */
uint64_t sim_disk_room(const struct sim_env *sim);
/* May this file grow to `size`? -EFBIG, -ENOSPC, -EDQUOT */
int sim_disk_check_growth(const struct sim_env *sim, const struct sim_file *file, uint64_t size);
int sim_disk_add_file(struct sim_env *sim, const char *name, struct sim_file **out);
/* Forgets files that nobody can reach any more. */
void sim_disk_collect(struct sim_env *sim);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * crash.h - a program whose power fails at a chosen step, and what is asked of the store
 * afterwards.
 *
 * A subject is a store with a script of operations and a model that knows what the store must hold.
 * The run (crash_run.c) owns the disk and the power and knows nothing of stores; a subject
 * (crash_kv.c) knows nothing of the power but that any call may fail once it is gone.
 *
 * Threads: one.
 */
#ifndef CRASH_H
#define CRASH_H

#include "sim_env.h"

struct crash_subject {
	const char *name;
	bool excuses; /* `verify` tells an error that a call may give from a wrong answer */
	/* What a run starts with: nothing on the disk. `random` is the subject's for all its
	 * choices. */
	int (*new)(const void *script, struct kv_env *env, struct sim_random *random, void **out);
	void (*free)(void *subject);
	/* How much the disk holds, and how much of that a store may have. NULL: plenty for all scripts. */
	void (*limit)(const void *script, struct sim_options *options);
	/* Makes the store. */
	int (*create)(void *subject);
	/* Is this an answer of `open` that a store may give whose making was interrupted? */
	bool (*is_unmade)(int error);
	int (*open)(void *subject);
	/* Closes it in every case, open or not. */
	int (*close)(void *subject);
	/* The next operation: 0, 1 if the script is over, or the error that the store gave. */
	int (*act)(void *subject);
	/* At least so many more operations, by chance, when the script is over. */
	void (*extend)(void *subject, unsigned count);
	/*
	 * Compares what was opened after a crash with the model: it holds all that was acknowledged
	 * as durable, and nothing but a prefix of what was done. From then on the model is what was
	 * found. 0 or -1, said by crash_fail.
	 */
	int (*verify)(void *subject);
};

struct crash_point {
	const struct crash_subject *subject;
	const void *script; /* of the subject's own type */
	uint64_t seed;
	uint64_t step; /* at which the power fails first; 0: never */
};

#define CRASH_FAULT_MEMORY SIM_FAULTS /* malloc and its like (crash_memory.h) */
#define CRASH_FAULTS (SIM_FAULTS + 1)

/*
 * Instead of the power, one call fails: the nth of this kind since the store was opened, or of a
 * later opening.
 */
struct crash_fault {
	unsigned kind; /* enum sim_fault, or CRASH_FAULT_MEMORY */
	bool opening;  /* the store is opened after a crash, instead of living its script */
	bool stays;    /* and all that follow until the store is closed; not of memory */
	uint64_t nth;
	int error;
};

/* One whole life: until the step, through crashes of the recovery, on, and to the end. 0 or -1. */
int crash_run(const struct crash_point *point);
/*
 * One life in which a call fails: whoever sees the error stops, the store is closed, then the power fails; what comes
 * back is as after a crash, and goes on to the end. 1: the script has no such call any more. 0 or -1.
 */
int crash_run_fault(const struct crash_point *point, const struct crash_fault *fault);
/* How many calls of each kind a life has, or its opening, when nothing fails. */
void crash_count_calls(const struct crash_point *point, bool opening, uint64_t counts[CRASH_FAULTS]);
/* The steps of the script when nothing fails; 0: something did. */
uint64_t crash_count_steps(const struct crash_point *point);
/* What the runs so far went through. */
struct crash_totals {
	uint64_t runs, crashes, recoveries_cut, faults;
	/* Crashes while a hash index was growing; of them, those while a checkpoint was being
	 * written; openings in which the index grew. */
	uint64_t growing, growing_beside, openings_grown;
};
extern struct crash_totals crash_totals;

/* How often a life that is cut all along goes on: with fewer it is the same, only shorter. */
extern unsigned crash_lives_max;
/* Nobody counts calls: a store that only reads may have its threads. */
extern bool crash_may_have_threads;
/* A call has failed: what a store says when it is opened is its right. */
extern bool crash_may_complain;
/* A failure if the store has it that records were lost to damage, of which there is none. */
struct kv;
int crash_check_loss(struct kv *kv);
/* What was opened has not been compared: closing it well says nothing about the model. */
extern bool crash_unverified;

/* Says what is wrong. Always -1. */
__attribute__((format(printf, 1, 2))) int crash_fail(const char *format, ...);

extern const struct crash_subject crash_kv, crash_large, crash_fs;

#endif

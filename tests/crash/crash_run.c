/* SPDX-License-Identifier: MIT */
/*
 * crash_run.c - one life of a store: the power fails at a given step, often again while the store
 * recovers, and at random steps of what is done after that; each time what comes back is compared
 * with the model.
 *
 * Everything follows from the seed, the script and the step.
 */
#include "crash.h"
#include "crash_memory.h"
#include "fixed.h"
#include "kv.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LIVES_FEW 3u            /* crashes outside of recovery, at most */
#define RECOVERY_CRASHES_MAX 3u /* in a row */
#define EXTRA_ACTS 30u          /* after a recovery */
#define STEPS_LOG_MAX 5u        /* before the next crash: its logarithm */

struct crash_totals crash_totals;
bool crash_may_complain, crash_unverified, crash_may_have_threads;
unsigned crash_lives_max = 32;
static bool failed; /* crash_fail was called in this run */

int crash_check_loss(struct kv *kv)
{
	struct kv_stats stats;

	kv_stats(kv, &stats);
	return stats.records_lost && !crash_may_complain ? crash_fail("records are said to be lost") : 0;
}

struct life {
	const struct crash_subject *ops;
	struct sim_env *sim;
	struct sim_random random;
	void *subject;
};

int crash_fail(const char *format, ...)
{
	va_list args;

	failed = true;
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return -1;
}

static enum sim_loss choose_loss(struct life *life)
{
	switch (sim_random_below(&life->random, 8)) {
	case 0:
		return SIM_LOSS_ALL;
	case 1:
	case 2:
		return SIM_LOSS_NONE;
	default:
		return SIM_LOSS_ANY;
	}
}

static int power_cycle(struct life *life, enum sim_loss loss)
{
	unsigned open;

	life->ops->close(life->subject);
	open = sim_env_power_on(life->sim, loss);
	return open > 0 ? crash_fail("%u files or directories are still open after closing", open)
			: 0;
}

/* Acts until the power fails (1), the script is over (0) or the store gives an error that it has no
 * reason for (-1). */
static int live(struct life *life)
{
	int result = 0;

	while (result == 0 && !sim_env_is_cut(life->sim))
		result = life->ops->act(life->subject);
	if (sim_env_is_cut(life->sim))
		return 1;
	if (result < 0)
		return crash_fail("an operation failed without cause: %s", strerror(-result));
	result = life->ops->close(life->subject);
	if (sim_env_is_cut(life->sim))
		return 1;
	return result < 0 ? crash_fail("closing failed: %s", strerror(-result)) : 0;
}

/*
 * Two steps away at most, or four, and so on: a store is met young and old, and a recovery early
 * and late.
 */
static void cut_soon(struct life *life)
{
	uint64_t within = (uint64_t)2 << sim_random_below(&life->random, STEPS_LOG_MAX);
	uint64_t after = sim_random_below(&life->random, within);

	sim_env_cut_at(life->sim, sim_env_steps(life->sim) + 1 + after);
}

/* The power comes back, perhaps to fail again while the store is being opened; in the end it is
 * open. */
static int come_back(struct life *life)
{
	uint64_t failures = sim_random_below(&life->random, RECOVERY_CRASHES_MAX + 1);
	int result;

	crash_totals.crashes++;
	for (;;) {
		if (power_cycle(life, choose_loss(life)) < 0)
			return -1;
		if (failures-- > 0)
			cut_soon(life);
		else
			failures = 0;
		result = life->ops->open(life->subject);
		if (!sim_env_is_cut(life->sim))
			break;
		crash_totals.recoveries_cut++;
		/* The power may have failed behind all that opening needs: what is open is not the model. */
		crash_unverified = true;
	}
	crash_unverified = false;
	sim_env_cut_at(life->sim, 0);
	if (result < 0)
		return crash_fail("opening after a crash failed: %s", strerror(-result));
	return life->ops->verify(life->subject);
}

/* The power failed while the store was being made. 1: there is none */
static int come_back_unmade(struct life *life)
{
	int result;

	crash_totals.crashes++;
	if (power_cycle(life, choose_loss(life)) < 0)
		return -1;
	result = life->ops->open(life->subject);
	if (result == 0)
		return life->ops->verify(life->subject);
	return life->ops->is_unmade(result)
		       ? 1
		       : crash_fail(
				 "opening after a crash of making failed: %s", strerror(-result));
}

/* Closed in good order, nothing may be missing even if the disk forgets all that it may. */
static int end_well(struct life *life)
{
	int result;

	if (power_cycle(life, SIM_LOSS_ALL) < 0)
		return -1;
	result = life->ops->open(life->subject);
	if (result < 0)
		return crash_fail("opening after closing failed: %s", strerror(-result));
	if (life->ops->verify(life->subject) < 0)
		return -1;
	result = life->ops->close(life->subject);
	return result < 0 ? crash_fail("closing again failed: %s", strerror(-result)) : 0;
}

static int live_and_crash(struct life *life, bool many)
{
	unsigned lives = many ? crash_lives_max : LIVES_FEW;
	int result;

	while ((result = live(life)) > 0) {
		if (come_back(life) < 0)
			return -1;
		life->ops->extend(life->subject, EXTRA_ACTS);
		if (--lives > 0 && (many || sim_random_below(&life->random, 2) == 0))
			cut_soon(life);
	}
	return result;
}

/*
 * What has led to the step at which the power fails first has cost most of a life. So most lives
 * fail again and again from there on, the others a few times.
 */
static int life_run(struct life *life, uint64_t step)
{
	bool many = sim_random_below(&life->random, 4) > 0;
	int result;

	sim_env_cut_at(life->sim, step);
	result = life->ops->create(life->subject);
	if (sim_env_is_cut(life->sim)) {
		result = come_back_unmade(life);
		if (result)
			return result < 0 ? -1 : 0;
		cut_soon(life);
	} else {
		if (result < 0)
			return crash_fail("making the store failed: %s", strerror(-result));
		result = life->ops->open(life->subject);
		if (result < 0 && !sim_env_is_cut(life->sim))
			return crash_fail("opening a new store failed: %s", strerror(-result));
	}
	if (live_and_crash(life, many) < 0)
		return -1;
	return end_well(life);
}

/* ---- calls that fail ---------------------------------------------------------------------------
 */

static uint64_t calls_of(struct life *life, unsigned kind)
{
	return kind == CRASH_FAULT_MEMORY ? crash_memory_calls() : sim_env_calls(life->sim, kind);
}

static void arm(struct life *life, const struct crash_fault *fault)
{
	if (fault->kind == CRASH_FAULT_MEMORY)
		crash_memory_fail(fault->nth);
	else
		sim_env_fail(life->sim, fault->kind, fault->nth, fault->stays ? UINT64_MAX : 1,
			fault->error);
	crash_may_complain = true;
}

static void disarm(struct life *life, const struct crash_fault *fault)
{
	if (fault->kind == CRASH_FAULT_MEMORY)
		crash_memory_fail(0);
	else
		sim_env_fail(life->sim, fault->kind, 0, 0, 0);
	crash_may_complain = false;
}

/* Memory that was short for a moment ends nothing: what follows must be as if it had not been tried. */
static int act_on(struct life *life, bool for_good)
{
	bool short_of_memory = false;
	int result;

	do {
		result = life->ops->act(life->subject);
		if (result == -ENOMEM && !short_of_memory && !for_good) {
			short_of_memory = true;
			result = 0;
		}
	} while (result == 0);
	return short_of_memory && result > 0 ? -ENOMEM : result;
}

/* What crash_count_calls wants to know; NULL: nobody does. */
static uint64_t *counts_wanted;

/* To be called before and after. */
static void count_calls(struct life *life)
{
	for (unsigned kind = 0; counts_wanted && kind < CRASH_FAULTS; kind++)
		counts_wanted[kind] = calls_of(life, kind) - counts_wanted[kind];
}

/* Until somebody sees the fault, or the script is over. 1: the fault did not come */
static int live_with_fault(struct life *life, const struct crash_fault *fault)
{
	uint64_t last = calls_of(life, fault->kind) + fault->nth;
	bool came;
	int result;

	count_calls(life);
	arm(life, fault);
	result = act_on(life, fault->stays);
	came = calls_of(life, fault->kind) >= last;
	if (result < 0 && !came)
		crash_fail("an operation failed without cause: %s", strerror(-result));
	/* What the maintainer, or closing, met is theirs to tell. */
	if (!failed)
		result = life->ops->close(life->subject);
	came = calls_of(life, fault->kind) >= last;
	disarm(life, fault);
	count_calls(life);
	if (result < 0 && !came)
		crash_fail("closing failed without cause: %s", strerror(-result));
	return failed ? -1 : !came;
}

/* The script is over, the power fails, and whoever opens meets the fault. 1: it did not come */
static int open_with_fault(struct life *life, const struct crash_fault *fault)
{
	uint64_t last;
	bool came;
	int result;

	do
		result = life->ops->act(life->subject);
	while (result == 0);
	if (result < 0)
		return crash_fail("an operation failed without cause: %s", strerror(-result));
	sim_env_cut(life->sim);
	if (power_cycle(life, choose_loss(life)) < 0)
		return -1;
	last = calls_of(life, fault->kind) + fault->nth;
	count_calls(life);
	arm(life, fault);
	result = life->ops->open(life->subject);
	came = calls_of(life, fault->kind) >= last;
	disarm(life, fault);
	count_calls(life);
	if (result < 0 && !came)
		crash_fail("opening failed without cause: %s", strerror(-result));
	/* What could not be read, for want of a page or of memory, may be an error until it is opened again: but not missing. */
	crash_may_complain = true;
	crash_unverified = !life->ops->excuses && (fault->kind == SIM_FAULT_READ || fault->kind == CRASH_FAULT_MEMORY);
	if (result == 0 && !crash_unverified)
		(void)life->ops->verify(life->subject);
	if (!failed)
		(void)life->ops->close(life->subject);
	crash_may_complain = crash_unverified = false;
	return failed ? -1 : !came;
}

/*
 * Half of the time it is the program that ends and not the machine: what the next one reads is what
 * the page cache has, of which the disk may have refused a part for good.
 */
static enum sim_loss choose_loss_with_fault(struct life *life)
{
	return sim_random_below(&life->random, 2) ? SIM_LOSS_NONE : choose_loss(life);
}

static int life_with_fault(struct life *life, const struct crash_fault *fault)
{
	int came, result = life->ops->create(life->subject);

	if (result == 0)
		result = life->ops->open(life->subject);
	if (result < 0)
		return crash_fail("making or opening the store failed: %s", strerror(-result));
	came = fault->opening ? open_with_fault(life, fault) : live_with_fault(life, fault);
	if (came < 0)
		return -1;
	/* Up to the fault all lives of a seed are alike; what comes after it is its own. */
	life->random.state += fault->nth << 8 | fault->kind;
	if (power_cycle(life, choose_loss_with_fault(life)) < 0)
		return -1;
	result = life->ops->open(life->subject);
	if (result < 0)
		return crash_fail("opening after the fault failed: %s", strerror(-result));
	if (life->ops->verify(life->subject) < 0)
		return -1;
	life->ops->extend(life->subject, EXTRA_ACTS);
	if (sim_random_below(&life->random, 2))
		cut_soon(life);
	if (live_and_crash(life, false) < 0 || end_well(life) < 0)
		return -1;
	return came;
}

static uint64_t run(const struct crash_point *point, const struct crash_fault *fault, int *result)
{
	struct sim_options options = {.seed = point->seed * 0x10001u + point->step};
	struct life life = {.ops = point->subject, .random = {point->seed ^ point->step << 32}};
	struct sim_random subject_random = {point->seed};
	uint64_t steps;

	if (point->subject->limit)
		point->subject->limit(point->script, &options);
	failed = false;
	crash_may_have_threads = !fault;
	*result = sim_env_new(&options, &life.sim);
	if (*result < 0)
		return 0;
	fixed_begin(point->seed ^ point->step << 32);
	*result = life.ops->new (
		point->script, sim_env_table(life.sim), &subject_random, &life.subject);
	if (*result == 0) {
		*result = fault ? life_with_fault(&life, fault) : life_run(&life, point->step);
		life.ops->close(life.subject);
		life.ops->free(life.subject);
	}
	if (failed)
		*result = -1;
	steps = sim_env_steps(life.sim);
	sim_env_free(life.sim);
	fixed_end();
	crash_totals.runs++;
	return steps;
}

int crash_run(const struct crash_point *point)
{
	int result;

	run(point, NULL, &result);
	return result;
}

int crash_run_fault(const struct crash_point *point, const struct crash_fault *fault)
{
	int result;

	run(point, fault, &result);
	crash_totals.faults += result == 0;
	return result;
}

uint64_t crash_count_steps(const struct crash_point *point)
{
	struct crash_point whole = *point;
	uint64_t steps;
	int result;

	whole.step = 0;
	steps = run(&whole, NULL, &result);
	return result < 0 ? 0 : steps;
}

void crash_count_calls(const struct crash_point *point, bool opening, uint64_t counts[CRASH_FAULTS])
{
	struct crash_fault none = {.opening = opening};
	int result;

	memset(counts, 0, CRASH_FAULTS * sizeof(*counts));
	counts_wanted = counts;
	run(point, &none, &result);
	counts_wanted = NULL;
}

/* SPDX-License-Identifier: MIT */
/* fault_sweep.c - see fault_sweep.h. */
#include "fault_sweep.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "../crash/crash_memory.h"

#define ERRORS_MAX 3u

struct kind {
	const char *name;
	int errors[ERRORS_MAX]; /* that such a call may give; up to a 0 */
};

static const struct kind kinds[FAULT_KINDS] = {
	[SIM_FAULT_OPEN] = {"open", {-EIO, -EMFILE, -ENOSPC}},
	[SIM_FAULT_READ] = {"read", {-EIO}},
	[SIM_FAULT_WRITE] = {"write", {-EIO, -ENOSPC, -EDQUOT}},
	[SIM_FAULT_SYNC] = {"sync", {-EIO, -ENOSPC, -EDQUOT}},
	[SIM_FAULT_DIR_SYNC] = {"dir_sync", {-EIO, -ENOSPC}},
	[SIM_FAULT_ALLOCATE] = {"allocate", {-EIO, -ENOSPC, -EDQUOT}},
	[SIM_FAULT_RELEASE] = {"release", {-EIO, -EOPNOTSUPP}},
	[SIM_FAULT_MAP] = {"map", {-ENOMEM}},
	[SIM_FAULT_RENAME] = {"rename", {-EIO, -ENOSPC, -EDQUOT}},
	[SIM_FAULT_UNLINK] = {"unlink", {-EIO, -ENOSPC}},
	[SIM_FAULT_BUFFER] = {"buffer", {-ENOMEM}},
	[SIM_FAULT_TRUNCATE] = {"truncate", {-EIO, -ENOSPC}},
	[SIM_FAULT_DIR_CREATE] = {"dir_create", {-EIO, -ENOSPC, -EDQUOT}},
	[SIM_FAULT_DIR_LIST] = {"dir_list", {-EIO, -EMFILE}},
	[SIM_FAULT_DIR_SPACE] = {"dir_space", {-EIO}},
	[SIM_FAULT_SIZE] = {"size", {-EIO}},
	[SIM_FAULT_ALLOCATED] = {"allocated", {-EIO}},
	[SIM_FAULT_LOCK] = {"lock", {-EIO, -ENOLCK}},
	[SIM_FAULT_RANDOM] = {"random", {-EIO}},
	[FAULT_MEMORY] = {"memory", {-ENOMEM}},
};

/* The sweep that is under way, for fault_end, and for who has to repeat it. */
static struct {
	const char *what; /* NULL: none is */
	struct fault fault;
	uint64_t counts[FAULT_KINDS];
	uint64_t seed;
	uint64_t last; /* the call that fails */
	unsigned failed;
} sweep;

static uint64_t calls_of(struct sim_env *sim, unsigned kind)
{
	return kind == FAULT_MEMORY ? crash_memory_calls() : sim_env_calls(sim, kind);
}

void fault_begin(struct sim_env *sim, const struct fault *fault)
{
	for (unsigned kind = 0; kind < FAULT_KINDS && !fault->nth; kind++)
		sweep.counts[kind] = calls_of(sim, kind);
	sweep.last = calls_of(sim, fault->kind) + fault->nth;
	if (fault->nth && fault->kind == FAULT_MEMORY)
		crash_memory_fail(fault->nth);
	else if (fault->nth)
		sim_env_fail(sim, fault->kind, fault->nth, fault->stays ? UINT64_MAX : 1,
			fault->error);
}

bool fault_end(struct sim_env *sim, const struct fault *fault)
{
	bool came = fault->nth && calls_of(sim, fault->kind) >= sweep.last;

	for (unsigned kind = 0; kind < FAULT_KINDS && !fault->nth; kind++)
		sweep.counts[kind] = calls_of(sim, kind) - sweep.counts[kind];
	if (fault->kind == FAULT_MEMORY)
		crash_memory_fail(0);
	else
		sim_env_fail(sim, fault->kind, 0, 0, 0);
	sweep.failed += came;
	return came;
}

static void choose_seed(void)
{
	const char *given = getenv("KVFS_TEST_SEED");
	uint32_t drawn = 1;

	if (!given && getrandom(&drawn, sizeof(drawn), 0) != sizeof(drawn))
		fputs("no seed can be drawn\n", stderr);
	sweep.seed = given ? strtoull(given, NULL, 10) : drawn;
}

/* Each nth of one kind and error, or some, from the first or a later one on. */
static void run_kind(unsigned kind, int error, bool stays, unsigned most, fault_try_fn *work,
	void *arg)
{
	uint64_t count = sweep.counts[kind];
	uint64_t stride = getenv("KVFS_TEST_LONG") ? 1 : (count + most - 1) / most;

	for (uint64_t n = stride ? sweep.seed % stride : 0; n < count; n += stride) {
		sweep.fault = (struct fault){kind, n + 1, error, stays};
		work(arg, &sweep.fault);
	}
}

unsigned fault_sweep(const char *what, unsigned most, fault_try_fn *work, void *arg)
{
	choose_seed();
	sweep.what = what;
	sweep.failed = 0;
	sweep.fault = (struct fault){0};
	work(arg, &sweep.fault);
	for (unsigned kind = 0; kind < FAULT_KINDS; kind++) {
		for (unsigned i = 0; i < ERRORS_MAX && kinds[kind].errors[i]; i++) {
			run_kind(kind, kinds[kind].errors[i], false,
				kind == FAULT_MEMORY ? 6 * most : most, work, arg);
			if (kind != FAULT_MEMORY)
				run_kind(kind, kinds[kind].errors[i], true, most, work, arg);
		}
	}
	sweep.what = NULL; /* nothing failed */
	return sweep.failed;
}

int fault_sweep_say(void **state)
{
	const struct fault *fault = &sweep.fault;

	(void)state;
	if (sweep.what)
		fprintf(stderr, "KVFS_TEST_SEED=%" PRIu64 ": %s, %s %" PRIu64 ": %s%s\n",
			sweep.seed, sweep.what, kinds[fault->kind].name, fault->nth,
			strerror(-fault->error), fault->stays ? ", and all that follow" : "");
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * crash_sim.c - crashes stores at every step of every script, and at random steps of long lives.
 *
 *   crash_sim                                  one round of everything
 *   crash_sim --seconds N                      rounds with other seeds until the time is over; with
 *                                              KVFS_TEST_QUICK in the environment 7.5 s at most
 *   crash_sim --points N                       rounds until so many crashes and failed calls were
 *                                              survived; says after each how many there were
 *   crash_sim --seconds N --points-long M      with KVFS_TEST_LONG --points M, else --seconds N
 *   crash_sim --script NAME                    this script alone
 *   crash_sim --part K/N                       of each script one in N steps, or of its calls that
 *                                              fail, the Kth: all parts are all
 *   crash_sim --script NAME --seed S --step N  one life again, as a failure names it
 *   crash_sim --faults [...]                   no power failures, only calls that fail: each of
 *                                              each kind in turn, once and from then on
 *   crash_sim --faults --fault KIND [...]      one kind
 *   crash_sim --faults --long [...]            skipped without KVFS_TEST_LONG
 *   crash_sim ... --step N --fault KIND [--opening] [--stays]  one such life again
 *   crash_sim --list                           the scripts
 *
 * The seed is --seed, KVFS_TEST_SEED in the environment, or drawn; it is said first.
 *
 * SIGINT and SIGTERM end a run behind the life that it is at; what it came through is said as ever.
 *
 * crash_growth is the same with an engine in small (small.h) and other scripts.
 *
 * Exit code: 0 all is well, 1 a store broke its promise, 2 usage, 77 skipped.
 */
#include "crash.h"
#include "crash_scripts.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <malloc.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define SLICE_SECONDS 3.0 /* of the processor: each script's in a round of a long run */
#define FAULTS_DIVISOR 4  /* of the time: for calls that fail */
#define FAULTS_DIVISOR_LONG 12
#define LIVES_SHORT 6u
#define QUICK_SECONDS 7.5
#define SKIPPED 77 /* for Meson */

struct settings {
	const char *script;
	unsigned part, parts; /* of what each script has: 1 to parts */
	uint64_t seed, step;
	bool seed_given, step_given;
	bool faults_only, only_long, list;
	const char *fault; /* one kind; with a step it is the number of the call */
	bool opening;	   /* counted from a later opening on */
	bool stays;
	double seconds; /* 0: no limit */
	uint64_t points; /* 0: no limit */
	uint64_t points_long;
};

/*
 * Seconds of this clock limit a run. A long one gives each script the same share of the processor,
 * whatever else is going on.
 */
static clockid_t clock_used = CLOCK_MONOTONIC;

/* Somebody ends a long run: behind the life that it is at. */
static volatile sig_atomic_t stopping;

static void stop(int number)
{
	stopping = 1;
}

static double seconds_now(void)
{
	struct timespec now;

	clock_gettime(clock_used, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* None in no seconds. */
static double deadline_in(double seconds)
{
	return seconds > 0 ? seconds_now() + seconds : INFINITY;
}

static int run_one(const struct crash_point *point, const char *script)
{
	if (crash_run(point) == 0)
		return 0;
	fprintf(stderr,
		"repeat with: %s --script %s --seed %" PRIu64 " --step %" PRIu64 "\n",
		program_invocation_short_name, script, point->seed, point->step);
	return -1;
}

static uint64_t greatest_divisor(uint64_t a, uint64_t b)
{
	return b == 0 ? a : greatest_divisor(b, a % b);
}

/*
 * The part's steps of the script, or as many as there is time for, spread over all of it; one,
 * however slow the machine is.
 */
static int run_steps(const struct settings *settings, const struct crash_named *named,
		     uint64_t seed, double deadline)
{
	struct crash_point point = {named->subject, named->script, seed, 0};
	uint64_t steps = crash_count_steps(&point), first = settings->part - 1, stride;

	if (steps == 0)
		return run_one(&point, named->name);
	stride = steps * 5 / 8 + 1;
	while (greatest_divisor(stride, steps) != 1)
		stride++;
	for (uint64_t i = first; i < steps && !stopping; i += settings->parts) {
		if (i > first && seconds_now() >= deadline)
			break;
		point.step = 1 + (seed + i * stride) % steps;
		if (run_one(&point, named->name) < 0)
			return -1;
	}
	return 0;
}

static const char *const fault_names[CRASH_FAULTS] = {
	[SIM_FAULT_OPEN] = "open",
	[SIM_FAULT_READ] = "read",
	[SIM_FAULT_WRITE] = "write",
	[SIM_FAULT_SYNC] = "sync",
	[SIM_FAULT_DIR_SYNC] = "dir_sync",
	[SIM_FAULT_ALLOCATE] = "allocate",
	[SIM_FAULT_RELEASE] = "release",
	[SIM_FAULT_MAP] = "map",
	[SIM_FAULT_RENAME] = "rename",
	[SIM_FAULT_UNLINK] = "unlink",
	[SIM_FAULT_BUFFER] = "buffer",
	[SIM_FAULT_TRUNCATE] = "truncate",
	[SIM_FAULT_DIR_CREATE] = "dir_create",
	[SIM_FAULT_DIR_LIST] = "dir_list",
	[SIM_FAULT_DIR_SPACE] = "dir_space",
	[SIM_FAULT_SIZE] = "size",
	[SIM_FAULT_ALLOCATED] = "allocated",
	[SIM_FAULT_LOCK] = "lock",
	[SIM_FAULT_RANDOM] = "random",
	[CRASH_FAULT_MEMORY] = "memory",
};

/* The error that a call of this kind may well give. */
static int fault_error(unsigned kind, uint64_t number)
{
	bool odd = number % 2;

	switch (kind) {
	case SIM_FAULT_BUFFER:
	case SIM_FAULT_MAP:
		return -ENOMEM;
	case SIM_FAULT_RELEASE:
		return odd ? -EOPNOTSUPP : -EIO;
	case SIM_FAULT_ALLOCATE:
		return odd ? -ENOSPC : -EDQUOT;
	case SIM_FAULT_OPEN:
		return odd ? number % 4 == 1 ? -ENOSPC : -EMFILE : -EIO;
	case SIM_FAULT_DIR_LIST:
		return odd ? -EMFILE : -EIO;
	case SIM_FAULT_LOCK:
		return odd ? -ENOLCK : -EIO;
	case SIM_FAULT_READ:
	case SIM_FAULT_SIZE:
	case SIM_FAULT_ALLOCATED:
	case SIM_FAULT_DIR_SPACE:
	case SIM_FAULT_RANDOM:
		return -EIO;
	default:
		return odd ? -ENOSPC : -EIO;
	}
}

static int run_fault(const struct crash_named *named, uint64_t seed, unsigned kind, bool opening,
	bool stays, uint64_t nth)
{
	struct crash_point point = {named->subject, named->script, seed, 0};
	struct crash_fault fault = {kind, opening, stays, nth, fault_error(kind, nth)};
	int result = crash_run_fault(&point, &fault);

	if (result < 0)
		fprintf(stderr,
			"repeat with: %s --script %s --seed %" PRIu64
			" --fault %s%s%s --step %" PRIu64 "\n",
			program_invocation_short_name, named->name, seed, fault_names[kind], opening ? " --opening" : "",
			stays ? " --stays" : "", nth);
	return result;
}

/* Calls that may fail, numbered through all kinds of a list. */
struct fault_list {
	bool opening, stays;
	unsigned first, end; /* kinds */
	uint64_t counts[CRASH_FAULTS];
	uint64_t total, stride;
};

static void list_faults(const struct settings *settings, struct fault_list *list)
{
	for (unsigned kind = list->first; kind < list->end; kind++) {
		if (settings->fault && strcmp(settings->fault, fault_names[kind]) != 0)
			list->counts[kind] = 0;
		list->total += list->counts[kind];
	}
	list->stride = list->total * 5 / 8 + 1;
	while (list->total && greatest_divisor(list->stride, list->total) != 1)
		list->stride++;
}

static int run_nth_of_list(const struct crash_named *named, uint64_t seed, const struct fault_list *list, uint64_t n)
{
	uint64_t at = (seed + n * list->stride) % list->total;
	unsigned kind = list->first;

	while (at >= list->counts[kind])
		at -= list->counts[kind++];
	return run_fault(named, seed, kind, list->opening, list->stays, at + 1);
}

/*
 * The part's calls of every kind in turn, or as many as there is time for once they are counted, spread
 * over all: files' and memory's, living and opening, and a disk that stays broken or full; one of
 * each, however slow the machine is.
 */
static int run_faults(const struct settings *settings, const struct crash_named *named,
		      uint64_t seed, double seconds)
{
	struct fault_list lists[] = {
		{false, false, 0, SIM_FAULTS, {0}, 0, 0},
		{false, true, 0, SIM_FAULTS, {0}, 0, 0},
		{false, false, CRASH_FAULT_MEMORY, CRASH_FAULTS, {0}, 0, 0},
		{true, false, 0, SIM_FAULTS, {0}, 0, 0},
		{true, true, 0, SIM_FAULTS, {0}, 0, 0},
		{true, false, CRASH_FAULT_MEMORY, CRASH_FAULTS, {0}, 0, 0},
	};
	const unsigned count = sizeof(lists) / sizeof(lists[0]);
	struct crash_point point = {named->subject, named->script, seed, 0};
	uint64_t most = 0, first = settings->part - 1;
	double deadline;

	for (unsigned i = 0; i < count; i++) {
		if (i > 0 && lists[i].opening == lists[i - 1].opening)
			memcpy(lists[i].counts, lists[i - 1].counts, sizeof(lists[i].counts));
		else
			crash_count_calls(&point, lists[i].opening, lists[i].counts);
		list_faults(settings, &lists[i]);
		most = lists[i].total > most ? lists[i].total : most;
	}
	deadline = deadline_in(seconds);
	for (uint64_t n = first; n < most; n += settings->parts) {
		for (unsigned i = 0; i < count; i++) {
			if (stopping || (n > first && seconds_now() >= deadline))
				return 0;
			if (n < lists[i].total && run_nth_of_list(named, seed, &lists[i], n) < 0)
				return -1;
		}
	}
	return 0;
}

static bool is_wanted(const struct settings *settings, const struct crash_named *named)
{
	return !settings->script || strcmp(settings->script, named->name) == 0;
}

static unsigned count_scripts(const struct settings *settings)
{
	unsigned count = 0;

	for (const struct crash_named *named = crash_scripts; named->name; named++)
		count += is_wanted(settings, named);
	return count;
}

/* A crash during a recovery is not one of them: what is compared is what the next recovery finds. */
static uint64_t points_passed(void)
{
	return crash_totals.crashes + crash_totals.faults;
}

static void say_totals(uint64_t rounds, double seconds)
{
	printf("%" PRIu64 " rounds, %" PRIu64 " lives, %" PRIu64 " crashes, %" PRIu64
	       " more while recovering, %" PRIu64 " calls that failed, %.0f s\n",
		rounds, crash_totals.runs, crash_totals.crashes, crash_totals.recoveries_cut,
		crash_totals.faults, seconds);
	if (crash_totals.growing > 0)
		printf("an index was growing in %" PRIu64 " crashes, beside a checkpoint in %" PRIu64
		       " of them; it grew in %" PRIu64 " openings\n",
			crash_totals.growing, crash_totals.growing_beside,
			crash_totals.openings_grown);
	fflush(stdout);
}

/* Seconds that a script has in each round; 0: as many as one round of it takes. */
static double slice_of(const struct settings *settings)
{
	return settings->seconds > 0 ? settings->seconds / count_scripts(settings)
	       : settings->points > 0 ? SLICE_SECONDS
				      : 0;
}

/*
 * Calls that fail take six lives to count and try once. With KVFS_TEST_QUICK they are left to others
 * where the steps alone took more than the script's time.
 */
static bool is_late(double deadline)
{
	return getenv("KVFS_TEST_QUICK") && seconds_now() >= deadline;
}

static int run_round(const struct settings *settings, uint64_t seed)
{
	double slice = slice_of(settings);
	double faults = slice / (settings->seconds > 0 ? FAULTS_DIVISOR : FAULTS_DIVISOR_LONG);

	for (const struct crash_named *named = crash_scripts; named->name && !stopping; named++) {
		double deadline = deadline_in(slice - faults);

		if (!is_wanted(settings, named))
			continue;
		if (!settings->faults_only && run_steps(settings, named, seed, deadline) < 0)
			return -1;
		if (!stopping && !is_late(deadline + faults) &&
		    run_faults(settings, named, seed, faults) < 0)
			return -1;
	}
	return 0;
}

/* Without a limit, one round of everything. */
static int run_rounds(const struct settings *settings)
{
	double started = seconds_now(), passed;
	uint64_t round = 0;

	do {
		if (run_round(settings, settings->seed + round) < 0)
			return -1;
		round++;
		passed = seconds_now() - started;
		if (settings->points > 0)
			say_totals(round, passed);
	} while (!stopping && (passed < settings->seconds || points_passed() < settings->points));
	if (settings->points == 0)
		say_totals(round, passed);
	return points_passed() > 0 ? 0 : -1;
}

static int repeat(const struct settings *settings)
{
	for (const struct crash_named *named = crash_scripts; named->name; named++) {
		struct crash_point point = {
			named->subject, named->script, settings->seed, settings->step};

		if (strcmp(settings->script, named->name) != 0)
			continue;
		for (unsigned kind = 0; settings->fault && kind < CRASH_FAULTS; kind++) {
			if (strcmp(settings->fault, fault_names[kind]) == 0)
				return run_fault(named, settings->seed, kind, settings->opening,
					       settings->stays, settings->step) < 0 ? -1 : 0;
		}
		return run_one(&point, named->name);
	}
	fprintf(stderr, "crash_sim: no script %s (--list has them)\n", settings->script);
	return -1;
}

static void list(void)
{
	for (const struct crash_named *named = crash_scripts; named->name; named++)
		printf("%-16s %s\n", named->name, named->subject->name);
}

static int usage(void)
{
	fputs("usage: crash_sim [--seconds N [--points-long M] | --points N] [--seed S]\n"
	      "                 [--faults [--fault KIND]] [--long] [--part K/N] [--script NAME]\n"
	      "       crash_sim --script NAME --seed S --step N\n"
	      "                 [--fault KIND [--opening] [--stays]]\n"
	      "       crash_sim --list\n",
		stderr);
	return 2;
}

/* What a run is about that may be short, or take hours. */
static void choose_length(struct settings *settings)
{
	if (getenv("KVFS_TEST_LONG") && settings->points_long > 0) {
		settings->points = settings->points_long;
		settings->seconds = 0;
	} else if (getenv("KVFS_TEST_QUICK") && settings->seconds > QUICK_SECONDS) {
		settings->seconds = QUICK_SECONDS;
	}
}

static void choose_seed(struct settings *settings)
{
	const char *given = getenv("KVFS_TEST_SEED");
	uint32_t drawn = 1;

	if (settings->seed_given)
		return;
	if (!given && getrandom(&drawn, sizeof(drawn), 0) != sizeof(drawn))
		fputs("crash_sim: no seed can be drawn\n", stderr);
	settings->seed = given ? strtoull(given, NULL, 10) : drawn;
}

/* False: they make no sense. */
static bool read_options(int argc, char **argv, struct settings *settings)
{
	static const struct option options[] = {
		{"seconds", required_argument, NULL, 't'},
		{"points", required_argument, NULL, 'p'},
		{"seed", required_argument, NULL, 's'},
		{"script", required_argument, NULL, 'n'},
		{"step", required_argument, NULL, 'k'},
		{"fault", required_argument, NULL, 'f'},
		{"faults", no_argument, NULL, 'F'},
		{"opening", no_argument, NULL, 'o'},
		{"stays", no_argument, NULL, 'S'},
		{"part", required_argument, NULL, 'P'},
		{"points-long", required_argument, NULL, 'L'},
		{"long", no_argument, NULL, 'H'},
		{"list", no_argument, NULL, 'l'},
		{0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 't':
			settings->seconds = strtod(optarg, NULL);
			break;
		case 'p':
			settings->points = strtoull(optarg, NULL, 10);
			break;
		case 's':
			settings->seed = strtoull(optarg, NULL, 10);
			settings->seed_given = true;
			break;
		case 'n':
			settings->script = optarg;
			break;
		case 'k':
			settings->step = strtoull(optarg, NULL, 10);
			settings->step_given = true;
			break;
		case 'f':
			settings->fault = optarg;
			break;
		case 'F':
			settings->faults_only = true;
			break;
		case 'o':
			settings->opening = true;
			break;
		case 'S':
			settings->stays = true;
			break;
		case 'P':
			if (sscanf(optarg, "%u/%u", &settings->part, &settings->parts) != 2)
				return false;
			break;
		case 'L':
			settings->points_long = strtoull(optarg, NULL, 10);
			break;
		case 'H':
			settings->only_long = true;
			break;
		case 'l':
			settings->list = true;
			break;
		default:
			return false;
		}
	}
	return optind == argc && settings->part >= 1 && settings->part <= settings->parts &&
	       (!settings->step_given || (settings->script && settings->seed_given)) &&
	       count_scripts(settings) > 0;
}

/*
 * Buffers come and go with each life: the kernel need not clear them each time. Nor need tables be
 * cleared that are larger, and hardly used.
 */
static void keep_memory(void)
{
	mallopt(M_MMAP_THRESHOLD, 5 << 19);
	mallopt(M_TRIM_THRESHOLD, 256 << 20);
}

int main(int argc, char **argv)
{
	struct settings settings = {.part = 1, .parts = 1};

	if (!read_options(argc, argv, &settings))
		return usage();
	if (settings.list) {
		list();
		return 0;
	}
	if (settings.only_long && !getenv("KVFS_TEST_LONG")) {
		puts("# SKIP takes hours: only with KVFS_TEST_LONG");
		return SKIPPED;
	}
	choose_length(&settings);
	choose_seed(&settings);
	fprintf(stderr, "KVFS_TEST_SEED=%" PRIu64 "\n", settings.seed);
	/* Every script gets its turn, however slow the machine is. */
	if (settings.seconds > 0)
		crash_lives_max = LIVES_SHORT;
	if (settings.points > 0)
		clock_used = CLOCK_PROCESS_CPUTIME_ID;
	keep_memory();
	signal(SIGINT, stop);
	signal(SIGTERM, stop);
	return (settings.step_given ? repeat(&settings) : run_rounds(&settings)) < 0 ? 1 : 0;
}

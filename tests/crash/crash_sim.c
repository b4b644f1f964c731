/* SPDX-License-Identifier: MIT */
/*
 * crash_sim.c - crashes stores at every step of every script, and at random steps of long lives.
 *
 *   crash_sim [--seed S]                       one round of everything
 *   crash_sim --seconds N [--seed S]           rounds with other seeds until the time is over
 *   crash_sim --script NAME                    this script alone
 *   crash_sim --script NAME --seed S --step N  one life again, as a failure names it
 *   crash_sim --list                           the scripts
 *
 * Exit code: 0 all is well, 1 a store broke its promise, 2 usage.
 */
#include "crash.h"
#include "crash_scripts.h"

#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct settings {
	const char *script;
	uint64_t seed, step;
	bool step_given;
	double seconds; /* 0: no limit */
};

static double seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int run_one(const struct crash_point *point, const char *script)
{
	if (crash_run(point) == 0)
		return 0;
	fprintf(stderr,
		"repeat with: crash_sim --script %s --seed %" PRIu64 " --step %" PRIu64 "\n",
		script, point->seed, point->step);
	return -1;
}

static uint64_t greatest_divisor(uint64_t a, uint64_t b)
{
	return b == 0 ? a : greatest_divisor(b, a % b);
}

/* Every step of the script, or as many as there is time for, spread over all of it. */
static int run_steps(const struct crash_named *named, uint64_t seed, double deadline)
{
	struct crash_point point = {named->subject, named->script, seed, 0};
	uint64_t steps = crash_count_steps(&point), stride;

	if (steps == 0)
		return run_one(&point, named->name);
	stride = steps * 5 / 8 + 1;
	while (greatest_divisor(stride, steps) != 1)
		stride++;
	for (uint64_t i = 0; i < steps && seconds_now() < deadline; i++) {
		point.step = 1 + (seed + i * stride) % steps;
		if (run_one(&point, named->name) < 0)
			return -1;
	}
	return 0;
}

static unsigned count_scripts(const struct settings *settings)
{
	unsigned count = 0;

	for (const struct crash_named *named = crash_scripts; named->name; named++)
		count++;
	return settings->script ? 1 : count;
}

/* Without a limit, one round of everything. */
static int run_rounds(const struct settings *settings)
{
	double started = seconds_now(), share = settings->seconds / count_scripts(settings);
	uint64_t round = 0;

	do {
		for (const struct crash_named *named = crash_scripts; named->name; named++) {
			double deadline = settings->seconds > 0 ? seconds_now() + share : INFINITY;

			if (settings->script && strcmp(settings->script, named->name) != 0)
				continue;
			if (run_steps(named, settings->seed + round, deadline) < 0)
				return -1;
		}
		round++;
	} while (seconds_now() < started + settings->seconds);
	printf("%" PRIu64 " rounds, %" PRIu64 " lives, %" PRIu64 " crashes, %" PRIu64
	       " more while recovering\n",
		round, crash_totals.runs, crash_totals.crashes, crash_totals.recoveries_cut);
	return crash_totals.crashes > 0 ? 0 : -1;
}

static int repeat(const struct settings *settings)
{
	for (const struct crash_named *named = crash_scripts; named->name; named++) {
		struct crash_point point = {
			named->subject, named->script, settings->seed, settings->step};

		if (strcmp(settings->script, named->name) == 0)
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
	fputs("usage: crash_sim [--seconds N] [--seed S] [--script NAME [--step N]] | --list\n",
		stderr);
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"seconds", required_argument, NULL, 't'},
		{"seed", required_argument, NULL, 's'},
		{"script", required_argument, NULL, 'n'},
		{"step", required_argument, NULL, 'k'},
		{"list", no_argument, NULL, 'l'},
		{0},
	};
	struct settings settings = {.seed = 1};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 't':
			settings.seconds = strtod(optarg, NULL);
			break;
		case 's':
			settings.seed = strtoull(optarg, NULL, 10);
			break;
		case 'n':
			settings.script = optarg;
			break;
		case 'k':
			settings.step = strtoull(optarg, NULL, 10);
			settings.step_given = true;
			break;
		case 'l':
			list();
			return 0;
		default:
			return usage();
		}
	}
	if (optind < argc || (settings.step_given && !settings.script))
		return usage();
	return (settings.step_given ? repeat(&settings) : run_rounds(&settings)) < 0 ? 1 : 0;
}

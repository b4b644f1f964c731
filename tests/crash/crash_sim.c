/* SPDX-License-Identifier: MIT */
/*
 * crash_sim.c - crashes stores at every step of every script and at random steps of long random
 * lives.
 *
 *   crash_sim [--seconds N] [--seed S]         rounds of everything, each with another seed, until
 * the time is over crash_sim --script NAME --seed S --step N  one life again, as a failure names it
 *   crash_sim --list                           the scripts
 *
 * Exit code: 0 all is well, 1 a store broke its promise, 2 usage.
 */
#include "crash.h"
#include "crash_scripts.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct settings {
	const char *script;
	uint64_t seed, step;
	bool step_given;
	uint64_t seconds;
	struct timespec started;
};

static bool time_is_over(const struct settings *settings)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)(now.tv_sec - settings->started.tv_sec) >= settings->seconds;
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

/* Every step of the script, or for as long as there is time; the first round always in full. */
static int run_steps(const struct settings *settings, const struct crash_named *named,
	uint64_t seed, bool in_full)
{
	struct crash_point point = {named->subject, named->script, seed, 0};
	uint64_t steps = crash_count_steps(&point);
	uint64_t stride = named->sampled && in_full ? steps / 40 + 1 : 1;

	if (steps == 0)
		return run_one(&point, named->name);
	for (point.step = 1 + seed % stride; point.step <= steps; point.step += stride) {
		if (!in_full && time_is_over(settings))
			return 0;
		if (run_one(&point, named->name) < 0)
			return -1;
	}
	return 0;
}

static int run_rounds(const struct settings *settings)
{
	uint64_t round = 0;

	do {
		for (const struct crash_named *named = crash_scripts; named->name; named++) {
			if (settings->script && strcmp(settings->script, named->name) != 0)
				continue;
			if (run_steps(settings, named, settings->seed + round, round == 0) < 0)
				return -1;
		}
		round++;
	} while (!time_is_over(settings));
	printf("%" PRIu64 " rounds, %" PRIu64 " lives, %" PRIu64 " crashes, %" PRIu64
	       " of them followed by crashes of the recovery\n",
		round, crash_totals.runs, crash_totals.crashes, crash_totals.recoveries_cut);
	return 0;
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
			settings.seconds = strtoull(optarg, NULL, 10);
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
	clock_gettime(CLOCK_MONOTONIC, &settings.started);
	return (settings.step_given ? repeat(&settings) : run_rounds(&settings)) < 0 ? 1 : 0;
}

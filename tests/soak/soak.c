/* SPDX-License-Identifier: MIT */
/*
 * soak.c - works on a store for a long time, kills the process that does so again and again, and
 * compares all that the store holds with a model.
 *
 *	soak [-s SECONDS] [-t WRITERS] [-k PAIRS] [-r SEED] [-b SEGMENT_MIB]
 *	     [-c none|inline|background] [-l LIFE_MS] [-n] DIRECTORY
 *
 * A child opens the store, verifies everything, and then writes, overwrites, deletes, counts,
 * prunes and walks from many threads until the parent kills it, or one time in four asks it to
 * close (soak_work.h). Most lives are short; in a long run some last, to see whether memory,
 * descriptors and disk stay flat (soak_watch.h). With -l all are shorter than that, for many kills:
 * -k 800 -l 200. With -n there is one life without kills, and the process must have after all of it
 * what it had after a third, each time at rest: half a minute shows a leak then. At the end:
 * everything once more, the store's own check, and whether it gives back what it does not need. The
 * seed that is printed repeats what threads do, though not how they interleave. Exit status 1 if
 * anything was not as the model says.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "soak_large.h"
#include "soak_watch.h"
#include "soak_work.h"

#define LIFE_MS_MIN 300u
#define LIFE_MS_MAX 4000u
#define LONG_LIFE_EACH 16u /* lives */
#define LONG_LIFE_MS 60000u
#define LONG_RUN_S 120u /* has long lives */
#define EARLY_MS 200u
#define OPEN_MS_MAX 120000u
#define PROGRESS_MS 10000u

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Waits for a child that must have ended well, or by the kill. */
static bool ended(pid_t pid, bool killed, const struct soak_model *model)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		return false;
	if (atomic_load(&model->failed))
		return false;
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return true;
	if (killed && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		return true;
	fprintf(stderr, "soak: a process ended with status %x\n", (unsigned)status);
	return false;
}

/* Waits until the child works, or has failed. False: it takes too long. */
static bool begins_to_work(const struct soak_model *model)
{
	uint64_t begun_ms = now_ms();

	while (!atomic_load(&model->working) && !atomic_load(&model->failed)) {
		usleep(5000);
		if (now_ms() - begun_ms > OPEN_MS_MAX) {
			fprintf(stderr, "soak: opening and comparing takes too long\n");
			return false;
		}
	}
	return true;
}

/* Lets a child work for a while and ends it. */
static bool live(const struct soak_options *options, struct soak_model *model, uint64_t life,
	uint64_t *random, uint64_t until_ms, unsigned *kills)
{
	uint64_t ms = options->life_ms
		? soak_random(random) % options->life_ms
		: LIFE_MS_MIN + soak_random(random) % (LIFE_MS_MAX - LIFE_MS_MIN);
	bool cleanly = soak_random(random) % 4 == 0;
	bool early = soak_random(random) % 8 == 0; /* killed while it opens, or a little later */
	bool works = true;
	uint64_t now;
	pid_t pid;

	if (options->seconds >= LONG_RUN_S && !options->life_ms &&
		life % LONG_LIFE_EACH == LONG_LIFE_EACH / 2)
		ms = LONG_LIFE_MS;
	atomic_store(&model->stopping, false);
	atomic_store(&model->working, false);
	atomic_store(&model->sample_count, 0);
	pid = fork();
	if (pid < 0)
		return false;
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		soak_life(options, model, life);
	}
	if (early)
		ms = soak_random(random) % EARLY_MS;
	else
		works = begins_to_work(model);
	now = now_ms();
	if (now + ms > until_ms)
		ms = until_ms > now ? until_ms - now : 1;
	/* One that fails is not waited for. */
	while (now_ms() < now + ms && !atomic_load(&model->failed))
		usleep(ms < 50 ? (useconds_t)ms * 1000 : 50000);
	if (cleanly && works)
		atomic_store(&model->stopping, true);
	else
		kill(pid, SIGKILL);
	if (!ended(pid, !cleanly || !works, model))
		return false;
	*kills += !cleanly;
	return works;
}

static void say(const struct soak_model *model, const struct soak_watch *watch)
{
	const struct soak_sample *last = &watch->last;

	fprintf(stderr,
		"soak: %u lives, changes %llu pairs %llu counted (%llu conflicts) %llu large, "
		"%llu reads, %llu walks, %llu prunes, %llu snapshots (read %llu times); memory "
		"%llu MiB, %u descriptors, "
		"disk %llu MiB for %llu\n",
		watch->lives, (unsigned long long)atomic_load(&model->changes),
		(unsigned long long)atomic_load(&model->conditions),
		(unsigned long long)atomic_load(&model->conflicts),
		(unsigned long long)atomic_load(&model->large_changes),
		(unsigned long long)atomic_load(&model->reads),
		(unsigned long long)atomic_load(&model->walks),
		(unsigned long long)atomic_load(&model->prunes),
		(unsigned long long)atomic_load(&model->snapshots_taken),
		(unsigned long long)atomic_load(&model->snapshots_read),
		(unsigned long long)last->memory_bytes >> 20, last->descriptors,
		(unsigned long long)last->disk_bytes >> 20,
		(unsigned long long)last->needed_bytes >> 20);
}

static bool finish(const struct soak_options *options, struct soak_model *model)
{
	pid_t pid = fork();

	if (!pid)
		soak_finish(options, model);
	return pid > 0 && ended(pid, false, model);
}

static bool steady(const struct soak_options *options, struct soak_model *model)
{
	pid_t pid = fork();

	if (!pid)
		soak_steady_life(options, model);
	return pid > 0 && ended(pid, false, model) && finish(options, model);
}

static bool soak(const struct soak_options *options, struct soak_model *model)
{
	struct soak_watch watch = {
		.segment_bytes = options->segment_bytes, .is_short = options->seconds < LONG_RUN_S,
		.lives_are_short = options->life_ms};
	uint64_t until_ms = now_ms() + options->seconds * 1000ull, said_ms = now_ms();
	uint64_t random = options->seed, life;
	unsigned kills = 0;
	const char *wrong;

	for (life = 0; now_ms() < until_ms; life++) {
		if (!live(options, model, life, &random, until_ms, &kills))
			return false;
		wrong = soak_watch_judge(&watch, model);
		if (wrong) {
			fprintf(stderr, "soak: %s\n", wrong);
			return false;
		}
		if (now_ms() - said_ms < PROGRESS_MS)
			continue;
		said_ms = now_ms();
		say(model, &watch);
	}
	say(model, &watch);
	printf("%u kills; peaks: memory %llu MiB, %u descriptors, disk %llu MiB, %.1f times what "
	       "was needed\n",
		kills, (unsigned long long)watch.peak.memory_bytes >> 20, watch.peak.descriptors,
		(unsigned long long)watch.peak.disk_bytes >> 20, watch.amplification);
	return finish(options, model);
}

static int usage(void)
{
	fprintf(stderr,
		"usage: soak [-s SECONDS] [-t WRITERS] [-k PAIRS] [-r SEED] [-b SEGMENT_MIB] "
		"[-c none|inline|background] [-l LIFE_MS] [-n] DIRECTORY\n");
	return 2;
}

static int parse(int argc, char **argv, struct soak_options *options)
{
	static const char *const modes[] = {"none", "inline", "background"};
	int letter;

	while ((letter = getopt(argc, argv, "s:t:k:r:b:c:l:n")) != -1) {
		unsigned long long number = optarg ? strtoull(optarg, NULL, 10) : 0;
		unsigned mode = 0;

		switch (letter) {
		case 's':
			options->seconds = (unsigned)number;
			break;
		case 't':
			options->writers = (unsigned)number;
			break;
		case 'k':
			options->pairs = (uint32_t)number;
			break;
		case 'r':
			options->seed = number;
			break;
		case 'l':
			options->life_ms = (unsigned)number;
			break;
		case 'n':
			options->steady = true;
			break;
		case 'b':
			options->segment_bytes = (uint32_t)number << 20;
			break;
		case 'c':
			while (mode < 3 && strcmp(optarg, modes[mode]))
				mode++;
			if (mode == 3)
				return usage();
			options->compress = (enum kv_compress)mode;
			break;
		default:
			return usage();
		}
	}
	if (optind + 1 != argc || !options->seconds || !options->writers ||
		options->writers > SOAK_WRITERS_MAX || options->pairs < 8 * options->writers)
		return usage();
	options->directory = argv[optind];
	options->pairs -= options->pairs % (8 * options->writers);
	return 0;
}

int main(int argc, char **argv)
{
	struct soak_options options = {.seconds = 60,
		.writers = 3,
		.pairs = 20000,
		.segment_bytes = 2u << 20,
		.compress = KV_COMPRESS_BACKGROUND};
	struct soak_model *model;
	int error;

	options.seed = (uint64_t)time(NULL);
	error = parse(argc, argv, &options);
	if (error)
		return error;
	fprintf(stderr, "soak: seed %llu\n", (unsigned long long)options.seed);
	model = soak_model_new(options.pairs);
	if (!model)
		return 1;
	soak_large_init(model);
	error = soak_create(&options);
	if (error) {
		fprintf(stderr, "soak: %s: %s\n", options.directory, strerror(-error));
		return 1;
	}
	if (options.steady ? steady(&options, model) : soak(&options, model))
		return 0;
	fprintf(stderr, "soak: failed; seed %llu, the store is in %s\n",
		(unsigned long long)options.seed, options.directory);
	return 1;
}

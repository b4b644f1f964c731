/* SPDX-License-Identifier: MIT */
/* soak_watch.c - see soak_watch.h. */
#include "soak_watch.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#define EARLY_LIVES 30u          /* whose peaks later ones are compared with */
#define LONG_SAMPLES 150u        /* a life of so many is judged by itself */
#define GROWTH_MAX 1.6           /* of memory and disk */
#define GROWTH_SLACK (48u << 20) /* bytes */
/* beyond two for each file of the store: the file, and that without the page cache */
#define DESCRIPTORS_EXTRA 24u
/*
 * Disk bytes over what the head and snapshots need, at most: writers wait from 4 on, and files for
 * reuse are an eighth. And the segments that any store has: eight of log, spares, what was emptied
 * and waits for a checkpoint.
 */
#define AMPLIFICATION_MAX 5.0
#define SEGMENTS_ANY 32u

/* ---- sampling -------------------------------------------------------------------------------- */

/* Anonymous memory: maps of the log come and go with the kernel's cache. */
static uint64_t memory_bytes(void)
{
	unsigned long long kib = 0;
	char line[256];
	FILE *file = fopen("/proc/self/status", "r");

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "RssAnon: %llu", &kib) == 1)
			break;
	}
	if (file)
		fclose(file);
	return kib << 10;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint32_t entries_of(const char *path)
{
	DIR *dir = opendir(path);
	uint32_t count = 0;

	while (dir && readdir(dir))
		count++;
	if (dir)
		closedir(dir);
	return count;
}

void soak_watch_sample(struct soak_model *model, struct kv *kv, const char *directory)
{
	uint32_t count = atomic_load(&model->sample_count);
	struct kv_stats stats;

	if (count == SOAK_SAMPLES_MAX)
		return;
	kv_stats(kv, &stats);
	model->samples[count] = (struct soak_sample){
		.memory_bytes = memory_bytes(),
		.disk_bytes = stats.disk_bytes,
		.needed_bytes = stats.live_bytes - smaller(stats.condemned_bytes, stats.live_bytes),
		.descriptors = entries_of("/proc/self/fd"),
		.files = entries_of(directory),
	};
	atomic_store(&model->sample_count, count + 1);
}

/* ---- judging --------------------------------------------------------------------------------- */

static void raise(struct soak_sample *peak, const struct soak_sample *sample)
{
	peak->memory_bytes = larger(peak->memory_bytes, sample->memory_bytes);
	peak->disk_bytes = larger(peak->disk_bytes, sample->disk_bytes);
	peak->needed_bytes = larger(peak->needed_bytes, sample->needed_bytes);
	peak->descriptors = (uint32_t)larger(peak->descriptors, sample->descriptors);
	peak->files = (uint32_t)larger(peak->files, sample->files);
}

static struct soak_sample peak_of(const struct soak_model *model, uint32_t from, uint32_t to)
{
	struct soak_sample peak = {0};

	for (; from < to; from++)
		raise(&peak, &model->samples[from]);
	return peak;
}

static bool grew(uint64_t before, uint64_t after)
{
	return (double)after > GROWTH_MAX * (double)before + GROWTH_SLACK;
}

static const char *compare(
	const char *where, const struct soak_sample *before, const struct soak_sample *after)
{
	static char message[200];

	if (grew(before->memory_bytes, after->memory_bytes))
		snprintf(message, sizeof(message), "memory grew from %llu to %llu MiB %s",
			(unsigned long long)before->memory_bytes >> 20,
			(unsigned long long)after->memory_bytes >> 20, where);
	else if (grew(before->disk_bytes, after->disk_bytes))
		snprintf(message, sizeof(message), "the store grew from %llu to %llu MiB %s",
			(unsigned long long)before->disk_bytes >> 20,
			(unsigned long long)after->disk_bytes >> 20, where);
	else
		return NULL;
	return message;
}

/* What must hold at every moment. */
static const char *judge_samples(const struct soak_model *model, uint32_t count)
{
	static char message[200];
	uint32_t i;

	for (i = 0; i < count; i++) {
		const struct soak_sample *sample = &model->samples[i];

		if (sample->descriptors <= 2 * sample->files + DESCRIPTORS_EXTRA)
			continue;
		snprintf(message, sizeof(message), "%u descriptors for %u files",
			sample->descriptors, sample->files);
		return message;
	}
	return NULL;
}

/*
 * The most on the disk against the most that was needed, whenever each of them was: after a crash,
 * or a deletion, the one follows the other.
 */
static const char *judge_disk(struct soak_watch *watch)
{
	static char message[200];
	uint64_t disk = watch->peak.disk_bytes, needed = watch->peak.needed_bytes;
	uint64_t any = (uint64_t)SEGMENTS_ANY * watch->segment_bytes;

	watch->amplification = (double)disk / (double)(needed + 1);
	/*
	 * Writers are slowed down in small doses, but never stopped: in a short run on a busy
	 * machine that shows nothing.
	 */
	if (watch->is_short || (double)disk <= AMPLIFICATION_MAX * (double)needed + (double)any)
		return NULL;
	snprintf(message, sizeof(message), "%llu MiB on the disk for %llu MiB",
		(unsigned long long)disk >> 20, (unsigned long long)needed >> 20);
	return message;
}

const char *soak_watch_judge(struct soak_watch *watch, const struct soak_model *model)
{
	uint32_t count = atomic_load(&model->sample_count);
	const char *wrong = judge_samples(model, count);

	watch->lives++;
	if (!count)
		return NULL;
	watch->last = peak_of(model, 0, count);
	raise(&watch->peak, &watch->last);
	if (!wrong)
		wrong = judge_disk(watch);
	if (!wrong && count >= LONG_SAMPLES) {
		struct soak_sample before = peak_of(model, count / 4, count / 2);
		struct soak_sample after = peak_of(model, count - count / 4, count);

		wrong = compare("within a life", &before, &after);
	}
	if (watch->lives_are_short) /* the peaks of so little say nothing of later ones */
		return wrong;
	if (watch->lives <= EARLY_LIVES)
		raise(&watch->early, &watch->last);
	else if (!wrong)
		wrong = compare("over the lives", &watch->early, &watch->last);
	return wrong;
}

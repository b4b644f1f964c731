/* SPDX-License-Identifier: MIT */
/* soak_watch.c - see soak_watch.h. */
#include "soak_watch.h"

#include <dirent.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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
/*
 * At rest a store has what it needs, and a tail, spares, a reserve and a checkpoint besides; it goes
 * there within seconds.
 */
#define REST_SEGMENTS 6u
#define REST_WAIT_MS 60000u
/*
 * From one rest to another. The heap is flat but for a MiB, wherever threads ended; what it had at
 * most, buffers of the log and stacks that are kept for other threads make memory less so.
 */
#define REST_HEAP_MAX (3u << 20)
#define REST_MEMORY_MAX (40u << 20)
#define REST_DESCRIPTORS_MAX 3u

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define KEEPS_MEMORY 1 /* a sanitizer, of what was freed */
#else
#define KEEPS_MEMORY 0
#endif

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

/* What the files in a directory take. */
static uint64_t files_bytes(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	uint64_t bytes = 0;
	struct stat status;

	while (dir && (entry = readdir(dir))) {
		if (!fstatat(dirfd(dir), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) &&
			S_ISREG(status.st_mode))
			bytes += (uint64_t)status.st_blocks * 512;
	}
	if (dir)
		closedir(dir);
	return bytes;
}

static uint64_t needed_bytes(const struct kv_stats *stats)
{
	return stats->live_bytes - smaller(stats->condemned_bytes, stats->live_bytes);
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
		.needed_bytes = needed_bytes(&stats),
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

/* ---- at rest --------------------------------------------------------------------------------- */

static void rest_sample(struct kv *kv, const char *directory, struct soak_rest *out)
{
	struct mallinfo2 heap;
	struct kv_stats stats;

	malloc_trim(0);
	heap = mallinfo2();
	kv_stats(kv, &stats);
	*out = (struct soak_rest){
		.heap_bytes = heap.uordblks + heap.hblkhd,
		.memory_bytes = memory_bytes(),
		.disk_bytes = files_bytes(directory),
		.needed_bytes = needed_bytes(&stats) - smaller(stats.kept_bytes, needed_bytes(&stats)),
		.descriptors = entries_of("/proc/self/fd"),
		.files = entries_of(directory),
	};
}

const char *soak_watch_rest(struct kv *kv, const char *directory, uint32_t segment_bytes,
	struct soak_rest *out)
{
	static char message[200];
	unsigned ms;

	for (ms = 0; ms <= REST_WAIT_MS; ms += SOAK_SAMPLE_MS) {
		rest_sample(kv, directory, out);
		if (out->disk_bytes <= out->needed_bytes + REST_SEGMENTS * (uint64_t)segment_bytes)
			break;
		usleep(SOAK_SAMPLE_MS * 1000);
	}
	fprintf(stderr,
		"soak: at rest: heap %llu KiB, memory %llu MiB, %u descriptors, %u files of %llu KiB "
		"for %llu\n",
		(unsigned long long)out->heap_bytes >> 10,
		(unsigned long long)out->memory_bytes >> 20, out->descriptors, out->files,
		(unsigned long long)out->disk_bytes >> 10,
		(unsigned long long)out->needed_bytes >> 10);
	if (ms <= REST_WAIT_MS)
		return NULL;
	snprintf(message, sizeof(message), "%u files of %llu KiB are on the disk for %llu",
		out->files, (unsigned long long)out->disk_bytes >> 10,
		(unsigned long long)out->needed_bytes >> 10);
	return message;
}

const char *soak_watch_compare(const struct soak_rest *before, const struct soak_rest *after)
{
	uint32_t files = after->files > before->files ? after->files - before->files : 0;
	static char message[200];

	if (!KEEPS_MEMORY && after->heap_bytes > before->heap_bytes + REST_HEAP_MAX)
		snprintf(message, sizeof(message), "the heap grew from %llu to %llu KiB",
			(unsigned long long)before->heap_bytes >> 10,
			(unsigned long long)after->heap_bytes >> 10);
	else if (!KEEPS_MEMORY && after->memory_bytes > before->memory_bytes + REST_MEMORY_MAX)
		snprintf(message, sizeof(message), "memory grew from %llu to %llu MiB",
			(unsigned long long)before->memory_bytes >> 20,
			(unsigned long long)after->memory_bytes >> 20);
	else if (after->descriptors > before->descriptors + 2 * files + REST_DESCRIPTORS_MAX)
		snprintf(message, sizeof(message), "descriptors grew from %u to %u",
			before->descriptors, after->descriptors);
	else
		return NULL;
	return message;
}

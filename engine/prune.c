/* SPDX-License-Identifier: MIT */
/*
 * prune.c - kv_prune: compaction on demand, on the caller's thread.
 *
 * The caller takes the maintainer's place for a step at a time. Between two steps whoever waits for
 * a segment is served.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "checkpoint.h"
#include "compact.h"
#include "compact_pick.h"
#include "large.h"
#include "maintain.h"
#include "snapshot.h"
#include "sync.h"
#include "version.h"

#define GARBAGE_PERCENT_DEFAULT 10u
#define WAIT_NS 200000
#define WAITS_MAX 50000u  /* in a row */
#define PROGRESS_STEPS 8u

struct prune {
	struct kv *kv;
	unsigned garbage_permille;
	uint64_t born_max;
	uint64_t total_bytes;
	kv_progress_fn *progress;
	void *progress_arg;
};

static int say_progress(struct prune *prune, bool done)
{
	uint64_t left = 0;

	if (!prune->progress)
		return 0;
	if (!done) {
		pthread_mutex_lock(&prune->kv->maintain.lock);
		left = compact_sum_any(prune->kv, prune->garbage_permille, prune->born_max);
		pthread_mutex_unlock(&prune->kv->maintain.lock);
	}
	/* Others go on making garbage: the whole may grow. */
	if (left > prune->total_bytes)
		prune->total_bytes = left;
	return prune->progress(prune->progress_arg, prune->total_bytes - left, prune->total_bytes) ?
		       -ECANCELED :
		       0;
}

static int one_step(struct prune *prune)
{
	struct kv *kv = prune->kv;
	int result;

	/* First of all: what a writer may be waiting for. */
	if (atomic_load(&kv->log.spare_wanted))
		maintain_round(kv);
	pthread_mutex_lock(&kv->maintain.lock);
	result = compact_demand(kv, prune->garbage_permille, prune->born_max);
	checkpoint_step(kv);
	pthread_mutex_unlock(&kv->maintain.lock);
	return result;
}

/* There is no room for a copy at the log's end at the moment. */
static void wait_for_room(struct kv *kv)
{
	struct timespec nap = {0, WAIT_NS};

	maintain_round(kv);
	nanosleep(&nap, NULL);
}

static int run(struct prune *prune)
{
	unsigned steps = 0, waits = 0;
	int result = say_progress(prune, false);

	while (!result) {
		result = one_step(prune);
		if (result == -EAGAIN && ++waits < WAITS_MAX) {
			wait_for_room(prune->kv);
			result = 0;
			continue;
		}
		if (result <= 0)
			break;
		waits = 0;
		result = ++steps % PROGRESS_STEPS ? 0 : say_progress(prune, false);
	}
	if (!result)
		result = say_progress(prune, true);
	if (result != -EAGAIN)
		return result;
	result = atomic_load(&prune->kv->log.spare_error);
	return result ? result : -ENOSPC;
}

static void begin(struct prune *prune, struct kv_prune_report *report)
{
	struct kv *kv = prune->kv;

	report->segments = atomic_load(&kv->victims);
	report->copied_bytes = atomic_load(&kv->relocated_bytes);
	report->log_bytes = atomic_load(&kv->log_bytes);
	report->duration_us = kv->env->clock_us(kv->env);
	pthread_mutex_lock(&kv->maintain.lock);
	/* Whatever has failed before is tried again. */
	kv->compaction.retry_at_us = 0;
	prune->born_max = kv->segments.births;
	pthread_mutex_unlock(&kv->maintain.lock);
}

static void finish(const struct prune *prune, struct kv_prune_report *report)
{
	struct kv *kv = prune->kv;
	uint64_t log_bytes = atomic_load(&kv->log_bytes);

	report->segments = atomic_load(&kv->victims) - report->segments;
	report->copied_bytes = atomic_load(&kv->relocated_bytes) - report->copied_bytes;
	report->freed_bytes = report->log_bytes > log_bytes ? report->log_bytes - log_bytes : 0;
	report->log_bytes = log_bytes;
	report->duration_us = kv->env->clock_us(kv->env) - report->duration_us;
}

int kv_prune(struct kv *kv, const struct kv_prune_options *options, kv_progress_fn *progress,
	     void *progress_arg, struct kv_prune_report *report)
{
	unsigned percent = options && options->garbage_percent ? options->garbage_percent :
								 GARBAGE_PERCENT_DEFAULT;
	struct prune prune = {.kv = kv, .garbage_permille = percent * 10, .progress = progress,
			      .progress_arg = progress_arg};
	struct kv_prune_report own;
	int result;

	report = report ? report : &own;
	memset(report, 0, sizeof(*report));
	if (kv->info.read_only)
		return -EROFS;
	if (percent > 99)
		return -EINVAL;
	store_need_orders(kv);
	atomic_fetch_add(&kv->maintain.prunes, 1);
	begin(&prune, report);
	/* Deleted large values are garbage only when their pieces are. */
	large_free_all(kv);
	version_sweep_all(kv);
	/* Segments that were emptied and had to stay may go here. */
	pthread_mutex_lock(&kv->maintain.lock);
	(void)snapshots_save_all(kv);
	pthread_mutex_unlock(&kv->maintain.lock);
	/* Segments that are full become candidates once they are written. */
	result = sync_flush(kv);
	if (!result)
		result = run(&prune);
	checkpoint_release_kept(kv);
	finish(&prune, report);
	atomic_fetch_sub(&kv->maintain.prunes, 1);
	maintain_kick(kv);
	return result;
}

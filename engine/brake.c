/* SPDX-License-Identifier: MIT */
/* brake.c - see brake.h. */
#include "brake.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define LIMIT_FACTOR 4u		 /* of what is needed: compaction takes all of its time from a
				    factor of 3 on */
#define LIMIT_SEGMENTS 8u	 /* and so many more, of which small stores have mostly garbage */
#define FIRST_CREDIT ((uint64_t)256 << 10)
#define OVERDRAFT_MAX ((uint64_t)16 << 20) /* more is not asked back */
#define DOSE_US 5000u
#define DOSE_MAX_US 100000u
#define DOSE_BYTES ((uint64_t)1 << 20) /* overdrawn, for each further dose */
#define SHARE_BYTES ((uint64_t)64 << 10) /* appended at once: who appends more waits as often as
					    if it had been so many commits... */
#define SHARES_MAX 10u			 /* ...but a second at the most */

void brake_init(struct kv *kv)
{
	atomic_store(&kv->log.hot.appended_max, BRAKE_OFF);
}

static void doze(struct brake *brake, uint32_t word, uint64_t us)
{
	struct timespec timeout = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};

	atomic_fetch_add(&brake->sleepers, 1);
	syscall(SYS_futex, &brake->word, FUTEX_WAIT_PRIVATE, word, &timeout, NULL, 0);
	atomic_fetch_sub(&brake->sleepers, 1);
}

static uint64_t dose_of(uint64_t overdrawn, uint64_t bytes)
{
	uint64_t dose_us = DOSE_US * (1 + overdrawn / DOSE_BYTES), shares = 1 + bytes / SHARE_BYTES;

	return (dose_us < DOSE_MAX_US ? dose_us : DOSE_MAX_US) *
	       (shares < SHARES_MAX ? shares : SHARES_MAX);
}

void brake_wait(struct kv *kv, uint64_t bytes)
{
	struct brake *brake = &kv->brake;
	uint64_t begun_us, waited_us = 0;

	/* Callers do the work themselves. */
	if (kv->inline_maintenance)
		return;
	begun_us = kv->env->clock_us(kv->env);
	while (!atomic_load(&kv->failed)) {
		uint32_t word = atomic_load(&brake->word);
		uint64_t max = atomic_load(&kv->log.hot.appended_max);
		uint64_t appended = atomic_load(&kv->log.hot.appended_bytes), dose_us;

		if (appended < max)
			break;
		dose_us = dose_of(appended - max, bytes);
		if (waited_us >= dose_us)
			break;
		doze(brake, word, dose_us - waited_us);
		waited_us = kv->env->clock_us(kv->env) - begun_us;
	}
	atomic_fetch_add_explicit(&brake->waits, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&brake->waited_us, waited_us, memory_order_relaxed);
}

static bool is_over_limit(struct kv *kv)
{
	uint64_t log = atomic_load(&kv->log_bytes), needed = atomic_load(&kv->live_bytes);
	uint64_t condemned = atomic_load(&kv->large.condemned_bytes);

	/*
	 * A condemned value counts as live until it is deleted. Taken as needed here, it would let
	 * writers condemn faster than the maintainer deletes, without end.
	 */
	needed -= condemned < needed ? condemned : needed;
	/*
	 * Emptied segments that only wait for the next checkpoint are not for compaction to reduce.
	 */
	needed += atomic_load(&kv->compaction.kept_bytes) / LIMIT_FACTOR;
	pthread_mutex_lock(&kv->log.lock);
	needed += kv->tombstone_bytes;
	pthread_mutex_unlock(&kv->log.lock);
	return log > LIMIT_FACTOR * needed + (uint64_t)LIMIT_SEGMENTS * kv->segments.size;
}

static void set(struct kv *kv, uint64_t max)
{
	struct brake *brake = &kv->brake;

	atomic_store(&kv->log.hot.appended_max, max);
	atomic_fetch_add(&brake->word, 1);
	if (atomic_load(&brake->sleepers))
		syscall(SYS_futex, &brake->word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

bool brake_check(struct kv *kv)
{
	if (brake_is_on(kv))
		return true;
	if (!is_over_limit(kv))
		return false;
	set(kv, atomic_load(&kv->log.hot.appended_bytes) + FIRST_CREDIT);
	return true;
}

void brake_update(struct kv *kv, uint64_t gained_bytes)
{
	uint64_t appended = atomic_load(&kv->log.hot.appended_bytes), max;

	if (!gained_bytes || !is_over_limit(kv)) {
		if (brake_is_on(kv))
			set(kv, BRAKE_OFF);
		return;
	}
	if (!brake_is_on(kv)) {
		set(kv, appended + FIRST_CREDIT);
		return;
	}
	max = atomic_load(&kv->log.hot.appended_max) + gained_bytes / 4 * 3;
	if (appended > OVERDRAFT_MAX && max < appended - OVERDRAFT_MAX)
		max = appended - OVERDRAFT_MAX;
	set(kv, max);
}

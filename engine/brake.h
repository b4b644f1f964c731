/* SPDX-License-Identifier: MIT */
/*
 * brake.h - back-pressure: who commits waits in small doses while the log has far more garbage than
 * compaction can keep up with.
 *
 * Beyond the limit, a multiple of what is needed and some segments, writers live on credit: each
 * step of compaction lets them append three quarters of the garbage that it got rid of. So they go
 * at the pace of compaction, the log stays as large as it is, and the processor that writers do not
 * use is compaction's.
 *
 * A dose ends with the credit, or after DOSE_US at the latest, later the further the credit is
 * overdrawn, and the more was appended at once (else large values would go on growing the log while
 * small ones wait): whatever keeps compaction from going on - a full disk, views that need
 * everything - slows writers down but never stops them.
 *
 * Threads: brake_wait any that commits, without locks of the store; brake_update whoever holds the
 * maintainer's place.
 */
#ifndef BRAKE_H
#define BRAKE_H

#include "store.h"

#define BRAKE_OFF UINT64_MAX

void brake_init(struct kv *kv);

void brake_wait(struct kv *kv, uint64_t bytes);

static inline bool brake_is_on(const struct kv *kv)
{
	return atomic_load_explicit(&kv->log.hot.appended_max, memory_order_relaxed) != BRAKE_OFF;
}

/*
 * Called after each commit, of so many bytes, and costs two loads from a line that it has just
 * written.
 */
static inline void brake_feel(struct kv *kv, uint64_t bytes)
{
	const struct log_tail *tail = &kv->log.hot;

	if (__builtin_expect(
		    atomic_load_explicit(&tail->appended_bytes, memory_order_relaxed) >=
			    atomic_load_explicit(&tail->appended_max, memory_order_relaxed),
		    0))
		brake_wait(kv, bytes);
}

/* Has the log grown beyond the limit? Puts the brake on if so. */
bool brake_check(struct kv *kv);
/*
 * Compaction has got rid of so much garbage since the last call; 0: there is nothing more that it
 * can do, so that nobody need wait.
 */
void brake_update(struct kv *kv, uint64_t gained_bytes);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * limit.h - how much a store may hold: a limit of its own, below what the disk has.
 *
 * What counts is the log's bytes of live records (kv_live_bytes). A change that makes a file or a
 * directory larger is refused, with -ENOSPC, while the store holds more than the limit; all others
 * go on, so that what is over it can be reduced. The limit is overshot by at most one change per
 * thread.
 */
#ifndef LIMIT_H
#define LIMIT_H

#include "fs.h"

/* Reads the limit; in a read section. */
KV_MUST_CHECK int limit_load(struct kvfs *fs);

static inline bool limit_reached(const struct kvfs *fs)
{
	uint64_t limit = atomic_load_explicit(&fs->size_limit, memory_order_relaxed);

	return limit && kv_live_bytes(fs->kv) >= limit;
}

/* A file that somebody holds is losing its last name. */
void limit_orphaned(struct kvfs *fs);

/* The space that is left, and all there is, bounded by the limit. */
void limit_space(const struct kvfs *fs, uint64_t *avail_bytes, uint64_t *capacity_bytes);

#endif

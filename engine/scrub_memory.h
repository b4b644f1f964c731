/* SPDX-License-Identifier: MIT */
/*
 * scrub_memory.h - the part of the scrub that is about segments which are in memory: their files
 * are read by nobody until the store is opened again. What is not as it was written is written
 * again.
 *
 * Threads: whoever holds the maintainer's place.
 */
#ifndef SCRUB_MEMORY_H
#define SCRUB_MEMORY_H

#include "store.h"

/*
 * Compares [from, to) of a segment that has a buffer. From `settled` on, a multiple of a block, the
 * flusher may write at any time: that is left to him.
 */
void scrub_compare(struct kv *kv, struct segment *segment, uint32_t from, uint32_t to,
		   uint32_t settled);

#endif

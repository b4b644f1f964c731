/* SPDX-License-Identifier: MIT */
/*
 * compact_pick.h - which segment to empty next.
 *
 * By benefit over cost, as in "The Design and Implementation of a Log-Structured File System"
 * (Rosenblum and Ousterhout, 1992, section 3.6): a segment of which the share u is needed costs
 * reading it and writing u, gives 1 - u, and keeps what it gives the longer the older what it holds
 * is: (1 - u) * age / (1 + u). So what is cold is emptied at little garbage, and what is hot only
 * when most of it has died by itself. Age is counted in batches since the youngest record.
 *
 * The maintainer's, who alone enters and removes segments: no lock is held, but for a few numbers.
 */
#ifndef COMPACT_PICK_H
#define COMPACT_PICK_H

#include "store.h"

/* When the log has too much garbage, or NULL. */
struct segment *compact_pick(struct kv *kv);
/*
 * Any of which at least this share, in per mille, is garbage, of those that were there at
 * `born_max`.
 */
struct segment *compact_pick_any(struct kv *kv, unsigned garbage_permille, uint64_t born_max);
/*
 * The oldest of those that hold values as they were written, have been closed for so long, and are
 * perhaps worth compressing. NULL: none; *none: nor one that has not been closed for so long.
 */
struct segment *compact_pick_raw(struct kv *kv, uint64_t closed_us, uint64_t born_max, bool *none);
/* Bytes of all of which the two above may pick. */
uint64_t compact_sum_any(struct kv *kv, unsigned garbage_permille, uint64_t born_max);
/*
 * The one with the most garbage among those whose needed records fit into the log as it is, or
 * would with so many spare segments more; of those that were there at born_max.
 */
struct segment *compact_pick_for_space(struct kv *kv, unsigned more, uint64_t born_max);
/* One of which nothing is needed: it only has to be freed. */
struct segment *compact_pick_dead(struct kv *kv);
bool compact_is_dead(const struct segment *segment);
/* Does it hold values as they were written? */
bool compact_is_raw(const struct segment *segment);
bool compact_is_oldest(struct kv *kv, const struct segment *segment);

/* Is there so much garbage that small steps are too slow? */
bool compact_is_behind(const struct kv *kv);
/* How urgent it is: 0 (garbage is half of the log) to 1 (two thirds). */
double compact_pressure(const struct kv *kv);

/*
 * Amidst a stream of writes values are left as they are. The writers want the processors, and what
 * was compressed would soon be overwritten too. Not beside somebody who prunes, who would meet it
 * again and again, nor where space is what is wanted.
 */
bool compact_leaves_as_is(struct kv *kv);

#endif

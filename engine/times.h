/* SPDX-License-Identifier: MIT */
/*
 * times.h - when was a batch committed: samples that tie sequence numbers to the clock on the wall.
 *
 * A sample (seq, time) says that everything up to seq was committed at that time or before. They
 * are records of the engine's own keyspace like any others, so compaction, checkpoint, replay and
 * snapshots need to know nothing of them:
 *
 *     key      't', level, place
 *     value    seq, time: two 64-bit little-endian numbers, time in us since 1970
 *
 * Level n is a ring of TIMES_PLACES samples, each the first of a period of 4^n seconds; the
 * period's number picks the place. So what is a minute ago is known to the second, what is a year
 * ago to within 3 days, in 1,664 records at most, and nothing has to be kept in memory or thinned
 * out: a sample is put where the record of its place is of another period.
 *
 * A store that is not written to takes no samples. While it is written to: one a second, 1.3
 * records of 48 bytes.
 */
#ifndef TIMES_H
#define TIMES_H

#include "store.h"

#define TIMES_LEVELS 13u /* the last one's ring is 68 years */
#define TIMES_PLACES 128u
#define TIMES_KEY_SIZE 3u

/*
 * At opening everything has its sample, but for the last second before a crash: the next change's
 * sample is for that.
 */
void times_init(struct kv *kv);

/*
 * Microseconds until a sample is wanted; UINT64_MAX: nothing has changed since the last one. The
 * flushing thread's
 */
uint64_t times_due_us(struct kv *kv);
/*
 * Takes one. It commits: no lock may be held. Never waits; what does not work is tried again later.
 */
void times_sample(struct kv *kv);

/*
 * Out: the highest number up to which all was committed at `time_us` or before, as far as is known:
 * what is said to be old is old, though not everything that is old is said to be. 0: nothing. A
 * clock that was set back makes things look younger.
 */
int times_seq_before(struct kv *kv, uint64_t time_us, uint64_t *seq);

#endif

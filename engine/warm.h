/* SPDX-License-Identifier: MIT */
/*
 * warm.h - what is cold is read in again when nobody waits for the disk: of a store that was
 * opened, and what lost its buffer.
 *
 * The newest segments come into buffers (resident.h), what is behind them into maps of huge pages
 * (huge_map.h) where the log is small beside memory.
 *
 * Threads: the maintainer's, with its lock, or who opens the store.
 */
#ifndef WARM_H
#define WARM_H

#include "store.h"

/*
 * Decides, for a store that was just opened, which segments are to be read in, and how their maps
 * are read.
 */
void warm_begin(struct kv *kv);
/*
 * Reads in the newest cold segment, one at a time, while writers have all they want. In a stream of
 * writes not what can be written over without being read: it would be as much as is written, and
 * most of it is garbage before the stream ends.
 */
void warm_step(struct kv *kv);
/* Until the next step; UINT64_MAX: until there is a reason. */
uint64_t warm_pause_us(struct kv *kv);
/* Somebody appends, or may do so: the log's end, which rests, comes into its buffer. */
void warm_log(struct kv *kv);

#endif

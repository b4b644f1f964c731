/* SPDX-License-Identifier: MIT */
/*
 * scrub.h - reads the store through in the background, at a limited rate, and verifies the records
 * that nobody reads: so that damage is known while there still is a copy of them somewhere.
 *
 * A pass goes through the segments by rising id, from any of them on and around, and as far as they
 * are durable. It remembers a place, not a segment: compaction may free what it stands in, and then
 * it goes on with the next. Reads go through the maps, so what readers have in the page cache is not
 * read again, and nothing is driven out of it. What is no record is scrub_files.h's, the files of
 * what is in memory scrub_memory.h's.
 *
 * Threads: whoever holds the maintainer's place.
 */
#ifndef SCRUB_H
#define SCRUB_H

#include "store.h"

/* Options as in kv_open_options. */
void scrub_init(struct kv *kv, uint64_t rate, unsigned interval_s);
void scrub_fini(struct kv *kv);
/* A MiB, if it is time. */
void scrub_step(struct kv *kv);
/* How long the maintainer may sleep before the next one. */
uint64_t scrub_pause_us(const struct kv *kv);

#endif

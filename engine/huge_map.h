/* SPDX-License-Identifier: MIT */
/*
 * huge_map.h - segments that are read through maps of huge pages.
 *
 * A look-up in a map of small pages misses the TLB beside the cache; but in one of huge pages the
 * first that comes to such a page reads 2 MiB. So where the log takes no more than a small part of
 * memory, and will be there as a whole sooner or later.
 *
 * Threads: the maintainer's, with its lock, or who opens the store.
 */
#ifndef HUGE_MAP_H
#define HUGE_MAP_H

#include "store.h"

#define HUGE_MAP_SIZE (2u << 20)	  /* bytes that a fault reads */
#define HUGE_MAP_RECORD_MAX 2048u /* bytes of a record on average, for which they are well */

/* Does the log take no more than a small part of memory? */
bool huge_map_fits(const struct kv *kv);
/*
 * Has this map of a segment read in huge pages from now on, unless that has turned out not to do
 * well.
 */
void huge_map_make(struct kv *kv, const uint8_t *map);
/*
 * To be called now and then. Where the log has outgrown memory, or there is less of that than it
 * seemed, as what was read in is read in again and again: each page by itself from now on, in all
 * maps.
 */
void huge_map_watch(struct kv *kv);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * heads.h - headers and keys of a segment's large records, kept in memory when its buffer is given up.
 *
 * To put over a key or to delete it, the old record's key, number and length are needed and nothing of its value. In a map
 * these are a page that comes from the disk, one for every 64 KiB that are overwritten: slower than writing them. A head takes 64
 * bytes of memory, a thousandth of what it is for.
 *
 * Threads: made by the maintainer before readers meet the map (segment.heads, release and acquire), never changed, freed
 * when the segment is: see segment_release.
 */
#ifndef HEADS_H
#define HEADS_H

#include <stdlib.h>

#include "format.h"

#define HEAD_VALUE_MIN 16384u /* bytes; what is smaller is read in again as a whole */
#define HEAD_KEY_MAX 40u	 /* bytes; records with longer keys have none */

struct heads;

/*
 * Of the records in `bytes` from one offset to another. NULL if there are none, or no memory: everything works without.
 * `size_max`: bytes that they may take.
 */
struct heads *heads_new(const uint8_t *bytes, uint32_t from, uint32_t to, size_t size_max);
static inline void heads_free(struct heads *heads)
{
	free(heads);
}
size_t heads_size(const struct heads *heads);

/* The record that begins at this offset, of which header and key may be read, and no more. NULL: it has no head. */
const struct format_record *heads_find(const struct heads *heads, uint32_t offset);

#endif

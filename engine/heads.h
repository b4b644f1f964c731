/* SPDX-License-Identifier: MIT */
/*
 * heads.h - headers and keys of a segment's larger records, kept in memory when its buffer is given
 * up.
 *
 * To put over a key or to delete it, the old record's key, number and length are needed and nothing
 * of its value. In a map these are a page that comes from the disk, one for each block of a file
 * that is overwritten: slower than writing it. A head takes 68 bytes of memory, a thousandth of 64
 * KiB, a sixtieth of a block of 4 KiB.
 *
 * Where all of a segment's records have heads, compaction finds those that are still needed without
 * reading the others.
 *
 * Threads: made by the maintainer before readers meet the map (segment.heads, release and acquire),
 * never changed, freed when the segment is: see segment_release.
 */
#ifndef HEADS_H
#define HEADS_H

#include <stdbool.h>
#include <stdlib.h>

#include "format.h"

#define HEAD_VALUE_MIN 2048u /* bytes; of smaller ones a page holds several, and they are read in
				again as a whole */
#define HEAD_KEY_MAX 40u	 /* bytes; records with longer keys have none */

#define HEAD_AVERAGE_MIN 1536u /* bytes; where records are that long all of them have one */

struct heads;

/*
 * Of the records in `bytes` from one offset to another. NULL if there are none, or no memory:
 * everything works without. `size_max`: bytes that they may take.
 */
struct heads *heads_new(const uint8_t *bytes, uint32_t from, uint32_t to, size_t size_max);
static inline void heads_free(struct heads *heads)
{
	free(heads);
}
size_t heads_size(const struct heads *heads);

/*
 * The record that begins at this offset, of which header and key may be read, and no more. NULL: it
 * has no head.
 */
const struct format_record *heads_find(const struct heads *heads, uint32_t offset);

/* Has every record that has a key a head? */
bool heads_complete(const struct heads *heads);
/* The number of the first head whose record begins at this offset or behind it. */
uint32_t heads_from(const struct heads *heads, uint32_t offset);
/* The head with this number and where its record begins. NULL: there are not so many. */
const struct format_record *heads_get(const struct heads *heads, uint32_t number, uint32_t *offset);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * large_header.h - the record that stands for a large value in its key's own place, and the keys of
 * what belongs to it in the hidden keyspace. FORMAT.md says why. Pure functions over bytes;
 * decoders accept any.
 *
 * 0        8        16 17 18       24
 * +--------+--------+--+--+--------+-----------------------+
 * | id     | size   |sh|mp| zeros  | map, where mp is 1    |
 * +--------+--------+--+--+--------+-----------------------+
 * id: random, never used again; size: bytes of the value; sh: log2 of the size of its pieces; mp: 0
 * every piece is there, 1 the map has a bit for each, lowest bit first, without the zero bytes at
 * its end: a piece that is not there is a hole and reads as zeros. A piece record may be shorter
 * than its piece: the rest is zeros.
 */
#ifndef LARGE_HEADER_H
#define LARGE_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kv.h"

#define LARGE_HEADER_SIZE 24u /* without the map */
#define LARGE_SHIFT_MIN 14u
#define LARGE_SHIFT_MAX 20u
#define LARGE_SHIFT 16u /* of new values; DESIGN.md has the figures */

struct large_header {
	uint64_t id;
	uint64_t size; /* bytes of the value */
	unsigned shift;
	bool full;	    /* every piece is there; there is no map */
	const uint8_t *map; /* somebody else's */
	size_t map_size;    /* bytes; what is beyond is zeros */
};

static inline uint64_t large_piece_size(const struct large_header *header)
{
	return (uint64_t)1 << header->shift;
}

/* How many pieces a value of this size has, with its holes. */
static inline uint64_t large_pieces(const struct large_header *header)
{
	return (header->size + large_piece_size(header) - 1) >> header->shift;
}

static inline bool large_header_has(const struct large_header *header, uint64_t piece)
{
	if (header->full)
		return piece < large_pieces(header);
	return piece / 8 < header->map_size && (header->map[piece / 8] >> piece % 8 & 1);
}

/* How many pieces are there. */
uint64_t large_header_count(const struct large_header *header);
/* Decodes a header; the result points into the bytes. -EUCLEAN */
KV_MUST_CHECK int large_header_decode(const void *bytes, size_t size, struct large_header *out);
/* Writes LARGE_HEADER_SIZE + map_size bytes, and gives their number. */
size_t large_header_encode(const struct large_header *header, uint8_t *bytes);

/* ---- maps that change ------------------------------------------------------------------------ */

/* Bytes of a map of so many pieces. */
static inline size_t large_map_size(uint64_t pieces)
{
	return (size_t)(pieces + 7) / 8;
}

/*
 * The header's map in full, for `pieces` pieces, into large_map_size(pieces) bytes; those it does
 * not know are holes.
 */
void large_map_fill(const struct large_header *header, uint64_t pieces, uint8_t *map);
/* Makes it the header's, for as long as the memory stays. */
void large_map_use(struct large_header *header, const uint8_t *map);

/* ---- keys in the hidden keyspace ------------------------------------------------------------- */

/* A piece: 'p', id and number with the highest byte first, so that they stand in order. */
#define LARGE_PIECE_KEY_SIZE 13u
/*
 * An intent: 'i' and id: pieces of this id are not needed. With no value none of them is; else the
 * value is the keyspace (a byte) and the key of the header that says which are.
 */
#define LARGE_INTENT_KEY_SIZE 9u

void large_piece_key(uint64_t id, uint32_t piece, uint8_t key[LARGE_PIECE_KEY_SIZE]);
void large_intent_key(uint64_t id, uint8_t key[LARGE_INTENT_KEY_SIZE]);
/* Is this the key of a piece, of an intent? */
bool large_piece_decode(const void *key, size_t key_size, uint64_t *id, uint32_t *piece);
bool large_intent_decode(const void *key, size_t key_size, uint64_t *id);

#endif

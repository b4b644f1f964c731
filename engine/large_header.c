/* SPDX-License-Identifier: MIT */
/* large_header.c - see large_header.h. */
#include "large_header.h"

#include <errno.h>
#include <string.h>

#define MAP_NONE 0u
#define MAP_BITS 1u

#define KIND_PIECE 'p'
#define KIND_INTENT 'i'

/* A header as it stands in the record; integers are little-endian, as format.c makes sure. */
struct stored {
	uint64_t id;
	uint64_t size;
	uint8_t shift;
	uint8_t map_kind;
	uint8_t zeros[6];
};
_Static_assert(sizeof(struct stored) == LARGE_HEADER_SIZE, "large header size");

uint64_t large_header_count(const struct large_header *header)
{
	uint64_t count = 0;
	size_t i;

	if (header->full)
		return large_pieces(header);
	for (i = 0; i < header->map_size; i++)
		count += (unsigned)__builtin_popcount(header->map[i]);
	return count;
}

/* The map ends in a byte that says something, and says nothing about pieces behind the end. */
static bool map_valid(const struct large_header *header)
{
	uint64_t pieces = large_pieces(header);
	uint8_t last;

	if (header->full)
		return !header->map_size;
	if (!header->map_size)
		return true;
	last = header->map[header->map_size - 1];
	if (!last || header->map_size > large_map_size(pieces))
		return false;
	return header->map_size < large_map_size(pieces) || !(pieces % 8) || !(last >> pieces % 8);
}

int large_header_decode(const void *bytes, size_t size, struct large_header *out)
{
	static const uint8_t zeros[sizeof(((struct stored *)0)->zeros)];
	struct large_header header;
	struct stored stored;

	if (size < sizeof(stored))
		return -EUCLEAN;
	memcpy(&stored, bytes, sizeof(stored));
	header.id = stored.id;
	header.size = stored.size;
	header.shift = stored.shift;
	header.full = stored.map_kind == MAP_NONE;
	header.map = (const uint8_t *)bytes + sizeof(stored);
	header.map_size = size - sizeof(stored);
	if (stored.size > KV_LARGE_VALUE_SIZE_MAX || stored.shift < LARGE_SHIFT_MIN ||
	    stored.shift > LARGE_SHIFT_MAX || stored.map_kind > MAP_BITS ||
	    memcmp(stored.zeros, zeros, sizeof(zeros)) || !map_valid(&header))
		return -EUCLEAN;
	*out = header;
	return 0;
}

size_t large_header_encode(const struct large_header *header, uint8_t *bytes)
{
	struct stored stored = {.id = header->id, .size = header->size,
				.shift = (uint8_t)header->shift,
				.map_kind = header->full ? MAP_NONE : MAP_BITS};
	size_t map_size = header->full ? 0 : header->map_size;

	memcpy(bytes, &stored, sizeof(stored));
	if (map_size)
		memcpy(bytes + sizeof(stored), header->map, map_size);
	return sizeof(stored) + map_size;
}

/* ---- maps that change ------------------------------------------------------------------------ */

/* Sets the first `count` bits, clears the rest of the last byte. */
static void set_first(uint8_t *map, uint64_t count)
{
	memset(map, 0xff, (size_t)(count / 8));
	if (count % 8)
		map[count / 8] = (uint8_t)((1u << count % 8) - 1);
}

void large_map_fill(const struct large_header *header, uint64_t pieces, uint8_t *map)
{
	uint64_t known = large_pieces(header) < pieces ? large_pieces(header) : pieces;
	size_t size = large_map_size(pieces), used = large_map_size(known);

	memset(map, 0, size);
	if (header->full) {
		set_first(map, known);
		return;
	}
	memcpy(map, header->map, header->map_size < used ? header->map_size : used);
	if (known % 8)
		map[known / 8] &= (uint8_t)((1u << known % 8) - 1);
}

void large_map_use(struct large_header *header, const uint8_t *map)
{
	size_t size = large_map_size(large_pieces(header));

	header->full = false;
	while (size && !map[size - 1])
		size--;
	header->map = map;
	header->map_size = size;
	if (large_header_count(header) < large_pieces(header))
		return;
	header->full = true;
	header->map_size = 0;
}

/* ---- keys ------------------------------------------------------------------------------------ */

static void put_id(uint8_t *bytes, uint64_t id)
{
	id = __builtin_bswap64(id);
	memcpy(bytes, &id, sizeof(id));
}

static uint64_t get_id(const uint8_t *bytes)
{
	uint64_t id;

	memcpy(&id, bytes, sizeof(id));
	return __builtin_bswap64(id);
}

void large_piece_key(uint64_t id, uint32_t piece, uint8_t key[LARGE_PIECE_KEY_SIZE])
{
	key[0] = KIND_PIECE;
	put_id(key + 1, id);
	piece = __builtin_bswap32(piece);
	memcpy(key + 9, &piece, sizeof(piece));
}

void large_intent_key(uint64_t id, uint8_t key[LARGE_INTENT_KEY_SIZE])
{
	key[0] = KIND_INTENT;
	put_id(key + 1, id);
}

bool large_piece_decode(const void *key, size_t key_size, uint64_t *id, uint32_t *piece)
{
	const uint8_t *bytes = key;

	if (key_size != LARGE_PIECE_KEY_SIZE || bytes[0] != KIND_PIECE)
		return false;
	*id = get_id(bytes + 1);
	memcpy(piece, bytes + 9, sizeof(*piece));
	*piece = __builtin_bswap32(*piece);
	return true;
}

bool large_intent_decode(const void *key, size_t key_size, uint64_t *id)
{
	const uint8_t *bytes = key;

	if (key_size != LARGE_INTENT_KEY_SIZE || bytes[0] != KIND_INTENT)
		return false;
	*id = get_id(bytes + 1);
	return true;
}

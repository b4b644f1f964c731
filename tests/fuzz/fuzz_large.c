/* SPDX-License-Identifier: MIT */
/*
 * fuzz_large.c - headers of large values, their maps, and the keys of what belongs to them: any
 * bytes, and what becomes of a header that is changed.
 *
 * Input: two numbers of pieces and a piece, then the bytes.
 */
#include <stdlib.h>

#include "fuzz.h"
#include "large_header.h"

static void must(bool holds)
{
	if (!holds)
		abort();
}

/* What was decoded is encoded the same: there is one way to say it. */
static void encode_again(const struct large_header *header, const uint8_t *bytes, size_t size)
{
	uint8_t *again = malloc(LARGE_HEADER_SIZE + header->map_size);

	must(again != NULL);
	must(large_header_encode(header, again) == size);
	must(memcmp(again, bytes, size) == 0);
	free(again);
}

/* Of very many pieces only some are looked at. */
static uint64_t stride_of(uint64_t pieces)
{
	return 1 + pieces / 1024;
}

static void must_count(const struct large_header *header, uint64_t pieces)
{
	uint64_t present = 0;

	if (stride_of(pieces) > 1)
		return;
	for (uint64_t piece = 0; piece < pieces; piece++)
		present += large_header_has(header, piece);
	must(present == large_header_count(header));
}

/* To another number of pieces, and one of them written. */
static void change(const struct large_header *header, uint64_t pieces, uint64_t piece)
{
	struct large_header changed = *header, decoded;
	uint8_t *map = malloc(large_map_size(pieces) + 1), *bytes;
	size_t size;

	must(map != NULL);
	large_map_fill(header, pieces, map);
	for (uint64_t i = 0; i < pieces; i += stride_of(pieces))
		must((map[i / 8] >> i % 8 & 1) ==
			(i < large_pieces(header) && large_header_has(header, i)));
	if (piece < pieces)
		map[piece / 8] |= (uint8_t)(1u << piece % 8);
	changed.size = pieces << header->shift;
	large_map_use(&changed, map);
	bytes = malloc(LARGE_HEADER_SIZE + changed.map_size);
	must(bytes != NULL);
	size = large_header_encode(&changed, bytes);
	must(large_header_decode(bytes, size, &decoded) == 0);
	must(decoded.id == header->id && large_pieces(&decoded) == pieces);
	must(piece >= pieces || large_header_has(&decoded, piece));
	must_count(&decoded, pieces);
	free(bytes);
	free(map);
}

static void decode_keys(const uint8_t *bytes, size_t size)
{
	uint8_t key[LARGE_PIECE_KEY_SIZE];
	uint64_t id;
	uint32_t piece;

	if (large_piece_decode(bytes, size, &id, &piece)) {
		large_piece_key(id, piece, key);
		must(size == LARGE_PIECE_KEY_SIZE && memcmp(key, bytes, size) == 0);
	}
	if (large_intent_decode(bytes, size, &id)) {
		large_intent_key(id, key);
		must(size == LARGE_INTENT_KEY_SIZE && memcmp(key, bytes, size) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	struct large_header header;
	uint32_t pieces, piece;
	uint8_t *bytes;

	if (size > 65536)
		return 0;
	pieces = fuzz_u32(&input);
	piece = fuzz_u32(&input);
	/* Exactly as many bytes as there are, so that a read beyond them is seen. */
	bytes = malloc(input.left + 1);
	must(bytes != NULL);
	memcpy(bytes, input.data, input.left);
	decode_keys(bytes, input.left);
	if (large_header_decode(bytes, input.left, &header) == 0) {
		must(large_header_count(&header) <= large_pieces(&header));
		must(!large_header_has(&header, large_pieces(&header)));
		encode_again(&header, bytes, input.left);
		change(&header, pieces % ((KV_LARGE_VALUE_SIZE_MAX >> header.shift) + 1), piece);
	}
	free(bytes);
	return 0;
}

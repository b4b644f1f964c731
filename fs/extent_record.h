/* SPDX-License-Identifier: MIT */
/*
 * extent_record.h - a piece of a file's contents as it is stored.
 *
 *   key    0              8              16     17
 *          +--------------+--------------+------+
 *          | ino          | chunk        | slot |          big-endian
 *          +--------------+--------------+------+
 *   value  the bytes; those missing at the end are zeros
 *
 * Chunk n is the 64 KiB from offset n * 64 KiB. Slot 0 is the whole chunk, slot 1 + b its block b
 * of 4 KiB, which hides that part of the chunk's piece (also when it is empty: a hole). Slot 32
 * stands for the chunk's piece where that is shared: its value is a reference (share_record.h).
 */
#ifndef EXTENT_RECORD_H
#define EXTENT_RECORD_H

#include "kvfs.h"

#define EXTENT_KEY_SIZE 17u /* bytes */
#define EXTENT_CHUNK_SIZE 65536u
#define EXTENT_BLOCK_SIZE 4096u
#define EXTENT_BLOCKS (EXTENT_CHUNK_SIZE / EXTENT_BLOCK_SIZE) /* in a chunk */
#define EXTENT_SLOT_CHUNK 0u
#define EXTENT_SLOT_BLOCK 1u /* of block 0 */
#define EXTENT_SLOT_REFERENCE 32u
#define EXTENT_CHUNKS_MAX ((uint64_t)KVFS_FILE_SIZE_MAX / EXTENT_CHUNK_SIZE)

struct extent_place {
	uint64_t ino;
	uint64_t chunk;
	unsigned slot;
};

void extent_key_encode(struct extent_place place, uint8_t key[EXTENT_KEY_SIZE]);
/* -EIO: no such bytes are ever written. */
KV_MUST_CHECK int extent_key_decode(struct kv_slice key, struct extent_place *out);

/* The most bytes a piece in this slot has. */
static inline uint32_t extent_size_max(unsigned slot)
{
	return slot == EXTENT_SLOT_CHUNK || slot == EXTENT_SLOT_REFERENCE ? EXTENT_CHUNK_SIZE
									  : EXTENT_BLOCK_SIZE;
}

#endif

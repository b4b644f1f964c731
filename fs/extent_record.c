/* SPDX-License-Identifier: MIT */
/*
 * extent_record.c - encodes and validates the keys of pieces of contents.
 */
#include "extent_record.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "inode_record.h"

void extent_key_encode(struct extent_place place, uint8_t key[EXTENT_KEY_SIZE])
{
	uint64_t prefix[2] = {htobe64(place.ino), htobe64(place.chunk)};

	memcpy(key, prefix, sizeof(prefix));
	key[16] = (uint8_t)place.slot;
}

int extent_key_decode(struct kv_slice key, struct extent_place *out)
{
	const uint8_t *bytes = key.data;
	struct extent_place place;
	uint64_t prefix[2];

	if (key.size != EXTENT_KEY_SIZE)
		return -EIO;
	memcpy(prefix, bytes, sizeof(prefix));
	place.ino = be64toh(prefix[0]);
	place.chunk = be64toh(prefix[1]);
	place.slot = bytes[16];
	if (!place.ino || place.ino > INODE_INO_MAX || place.chunk >= EXTENT_CHUNKS_MAX ||
		(place.slot >= EXTENT_SLOT_BLOCK + EXTENT_BLOCKS &&
			place.slot != EXTENT_SLOT_REFERENCE))
		return -EIO;
	*out = place;
	return 0;
}

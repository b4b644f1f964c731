/* SPDX-License-Identifier: MIT */
/*
 * orphan_record.c - validates the notes of what is still to be freed.
 */
#include "orphan_record.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "inode_record.h"

int orphan_record_decode(struct kv_slice key, struct kv_slice value, uint64_t *out)
{
	uint64_t ino;

	if (key.size != INODE_KEY_SIZE || value.size != 1 ||
		*(const uint8_t *)value.data != ORPHAN_VALUE)
		return -EIO;
	memcpy(&ino, key.data, sizeof(ino));
	ino = be64toh(ino);
	if (!ino || ino > INODE_INO_MAX)
		return -EIO;
	*out = ino;
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * orphan_record.c - validates the records of what is still to be freed.
 */
#include "orphan_record.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "inode_record.h"

int orphan_key_decode(struct kv_slice key, uint64_t *out)
{
	uint64_t ino;

	if (key.size != INODE_KEY_SIZE)
		return -EIO;
	memcpy(&ino, key.data, sizeof(ino));
	ino = be64toh(ino);
	if (!ino || ino > INODE_INO_MAX)
		return -EIO;
	*out = ino;
	return 0;
}

int orphan_value_decode(struct kv_slice value, enum orphan_intent *out)
{
	const uint8_t *bytes = value.data;

	if (value.size != ORPHAN_VALUE_SIZE || (bytes[0] != ORPHAN_RELEASE && bytes[0] != ORPHAN_TRIM))
		return -EIO;
	*out = bytes[0];
	return 0;
}

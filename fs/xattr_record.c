/* SPDX-License-Identifier: MIT */
/*
 * xattr_record.c - encodes and validates the keys of extended attributes.
 */
#include "xattr_record.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "inode_record.h"

void xattr_key_encode(uint64_t ino, const char *name, size_t name_size, struct xattr_key *out)
{
	ino = htobe64(ino);
	memcpy(out->bytes, &ino, sizeof(ino));
	memcpy(out->bytes + XATTR_PREFIX_SIZE, name, name_size);
	out->size = XATTR_PREFIX_SIZE + name_size;
}

int xattr_key_decode(struct kv_slice key, uint64_t *out_ino, struct kv_slice *out_name)
{
	const uint8_t *bytes = key.data;
	struct kv_slice name;
	uint64_t ino;

	if (key.size <= XATTR_PREFIX_SIZE || key.size > XATTR_PREFIX_SIZE + KVFS_XATTR_NAME_MAX)
		return -EIO;
	memcpy(&ino, bytes, sizeof(ino));
	ino = be64toh(ino);
	name = (struct kv_slice){bytes + XATTR_PREFIX_SIZE, key.size - XATTR_PREFIX_SIZE};
	if (!ino || ino > INODE_INO_MAX || memchr(name.data, '\0', name.size))
		return -EIO;
	*out_ino = ino;
	*out_name = name;
	return 0;
}

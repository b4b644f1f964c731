/* SPDX-License-Identifier: MIT */
/*
 * xattr_record.h - an extended attribute as it is stored. Value: the attribute's bytes, up to 64
 * KiB. Key:
 *
 *   0              8
 *   +--------------+-- - -
 *   | ino          | name, 1..255 bytes with its prefix ("user." ...)          big-endian
 *   +--------------+-- - -
 */
#ifndef XATTR_RECORD_H
#define XATTR_RECORD_H

#include "kvfs.h"

#define XATTR_PREFIX_SIZE 8u /* bytes of a key before the name */

struct xattr_key {
	size_t size; /* bytes */
	uint8_t bytes[XATTR_PREFIX_SIZE + KVFS_XATTR_NAME_MAX];
};

/* name_size at most KVFS_XATTR_NAME_MAX; 0 makes the place before the inode's first attribute. */
void xattr_key_encode(uint64_t ino, const char *name, size_t name_size, struct xattr_key *out);
/* The name points into the key. -EIO: no such bytes are ever written. */
KV_MUST_CHECK int xattr_key_decode(struct kv_slice key, uint64_t *ino, struct kv_slice *name);

#endif

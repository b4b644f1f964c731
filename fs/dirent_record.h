/* SPDX-License-Identifier: MIT */
/*
 * dirent_record.h - a directory entry as it is stored.
 *
 *   key    0              8            16
 *          +--------------+------------+-- - -
 *          | parent ino   | hash       | name, 1..255 bytes      big-endian
 *          +--------------+------------+-- - -
 *   value  0              8      9
 *          +--------------+------+
 *          | ino          | type |                               little-endian; type as d_type
 *          +--------------+------+
 *
 * The hash of a name is what readdir's cookies are made of: 63 bits, from DIRENT_HASH_MIN up.
 */
#ifndef DIRENT_RECORD_H
#define DIRENT_RECORD_H

#include <string.h>

#include "kvfs.h"

#define DIRENT_HASH_MIN 3u /* below: the start, "." and ".." */
#define DIRENT_HASH_MAX (UINT64_MAX >> 1)
#define DIRENT_PARENT_SIZE 8u  /* bytes: what all keys of a directory start with */
#define DIRENT_PREFIX_SIZE 16u /* bytes of a key before the name */
#define DIRENT_VALUE_SIZE 9u   /* bytes */

struct dirent_key {
	size_t size; /* bytes */
	uint8_t bytes[DIRENT_PREFIX_SIZE + KVFS_NAME_MAX];
};

/* A key and its value, decoded. */
struct dirent {
	uint64_t parent;
	uint64_t hash;
	uint64_t ino;
	uint32_t type; /* as S_IFMT of mode */
	size_t name_size;
	const char *name; /* in the key: not terminated */
};

/* The name is valid (1..255 bytes). */
void dirent_key_encode(uint64_t secret, uint64_t parent, const char *name, size_t name_size,
	struct dirent_key *out);
/* The smallest key of a directory's entries from this hash on: a place to seek, not an entry's key.
 */
void dirent_key_place(uint64_t parent, uint64_t hash, struct dirent_key *out);
void dirent_value_encode(uint64_t ino, uint32_t mode, uint8_t value[DIRENT_VALUE_SIZE]);

/* -EIO: no such bytes are ever written. Fills in everything but ino and type. */
KV_MUST_CHECK int dirent_key_decode(struct kv_slice key, struct dirent *out);
/* Is the hash that of the name? */
bool dirent_hash_matches(uint64_t secret, const struct dirent *entry);
KV_MUST_CHECK int dirent_value_decode(struct kv_slice value, struct dirent *out);

/* The bytes that an entry adds to the size of its directory. */
static inline uint64_t dirent_size(size_t name_size)
{
	return DIRENT_PREFIX_SIZE + name_size + DIRENT_VALUE_SIZE;
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * dirent_record.c - encodes and validates directory entries.
 */
#include "dirent_record.h"

#include <endian.h>
#include <errno.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "inode_record.h"

_Static_assert(S_IFMT >> 12 == 15, "d_type is the type of a mode, shifted");

static uint64_t name_hash(uint64_t secret, const char *name, size_t name_size)
{
	uint64_t hash = XXH3_64bits_withSeed(name, name_size, secret) >> 1;

	return hash < DIRENT_HASH_MIN ? hash + DIRENT_HASH_MIN : hash;
}

void dirent_key_place(uint64_t parent, uint64_t hash, struct dirent_key *out)
{
	uint64_t prefix[2] = {htobe64(parent), htobe64(hash)};

	memcpy(out->bytes, prefix, sizeof(prefix));
	out->size = DIRENT_PREFIX_SIZE;
}

void dirent_key_encode(uint64_t secret, uint64_t parent, const char *name, size_t name_size,
	struct dirent_key *out)
{
	dirent_key_place(parent, name_hash(secret, name, name_size), out);
	memcpy(out->bytes + DIRENT_PREFIX_SIZE, name, name_size);
	out->size += name_size;
}

void dirent_value_encode(uint64_t ino, uint32_t mode, uint8_t value[DIRENT_VALUE_SIZE])
{
	ino = htole64(ino);
	memcpy(value, &ino, sizeof(ino));
	value[8] = (uint8_t)((mode & S_IFMT) >> 12);
}

/* Not 0 if one of the eight bytes is zero: there taking 1 away sets a top bit that was clear. */
static inline uint64_t zero_byte(uint64_t word)
{
	return (word - UINT64_C(0x0101010101010101)) & ~word & UINT64_C(0x8080808080808080);
}

/* Not 0 if one of the eight bytes is no part of a name. */
static inline uint64_t foreign_byte(const char *bytes)
{
	uint64_t word;

	memcpy(&word, bytes, sizeof(word));
	return zero_byte(word) | zero_byte(word ^ UINT64_C(0x0101010101010101) * '/');
}

/* No zero and no slash in it? */
static inline bool name_is_clean(const char *name, size_t size)
{
	if (__builtin_expect(size - 8 > 8, 0))
		return !memchr(name, '\0', size) && !memchr(name, '/', size);
	/* A usual name: two words that may overlap. */
	return !(foreign_byte(name) | foreign_byte(name + size - 8));
}

int dirent_key_decode(struct kv_slice key, struct dirent *out)
{
	uint64_t prefix[2];
	const char *name;
	size_t name_size;

	if (key.size <= DIRENT_PREFIX_SIZE || key.size > DIRENT_PREFIX_SIZE + KVFS_NAME_MAX)
		return -EIO;
	memcpy(prefix, key.data, sizeof(prefix));
	name = (const char *)key.data + DIRENT_PREFIX_SIZE;
	name_size = key.size - DIRENT_PREFIX_SIZE;
	if (!name_is_clean(name, name_size) ||
		(name[0] == '.' && (name_size == 1 || (name_size == 2 && name[1] == '.'))))
		return -EIO;
	out->parent = be64toh(prefix[0]);
	out->hash = be64toh(prefix[1]);
	if (!out->parent || out->parent > INODE_INO_MAX || out->hash < DIRENT_HASH_MIN ||
		out->hash > DIRENT_HASH_MAX)
		return -EIO;
	out->name = name;
	out->name_size = name_size;
	return 0;
}

bool dirent_hash_matches(uint64_t secret, const struct dirent *entry)
{
	return entry->hash == name_hash(secret, entry->name, entry->name_size);
}

int dirent_value_decode(struct kv_slice value, struct dirent *out)
{
	const uint8_t *bytes = value.data;
	uint64_t ino;

	if (value.size != DIRENT_VALUE_SIZE)
		return -EIO;
	memcpy(&ino, bytes, sizeof(ino));
	ino = le64toh(ino);
	if (!ino || ino > INODE_INO_MAX || !bytes[8] || bytes[8] > S_IFMT >> 12)
		return -EIO;
	out->ino = ino;
	out->type = (uint32_t)bytes[8] << 12;
	return 0;
}

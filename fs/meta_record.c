/* SPDX-License-Identifier: MIT */
/*
 * meta_record.c - encodes and validates the records about the file system itself.
 */
#include "meta_record.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "inode_record.h"

struct meta_format {
	uint32_t version;
	uint32_t reserved;
	uint64_t name_secret;
};
_Static_assert(sizeof(struct meta_format) == META_FORMAT_SIZE, "on disk");
_Static_assert(offsetof(struct meta_format, name_secret) == 8, "on disk");

void meta_format_encode(uint64_t name_secret, uint8_t value[META_FORMAT_SIZE])
{
	struct meta_format format = {
		.version = htole32(META_VERSION),
		.name_secret = htole64(name_secret),
	};

	memcpy(value, &format, sizeof(format));
}

int meta_format_decode(struct kv_slice value, uint64_t *name_secret)
{
	struct meta_format format;

	if (value.size != sizeof(format))
		return -EIO;
	memcpy(&format, value.data, sizeof(format));
	if (le32toh(format.version) > META_VERSION)
		return -EPROTONOSUPPORT;
	if (le32toh(format.version) != META_VERSION || format.reserved)
		return -EIO;
	*name_secret = le64toh(format.name_secret);
	return 0;
}

void meta_next_ino_encode(uint64_t next_ino, uint8_t value[META_NEXT_INO_SIZE])
{
	next_ino = htole64(next_ino);
	memcpy(value, &next_ino, sizeof(next_ino));
}

int meta_next_ino_decode(struct kv_slice value, uint64_t *next_ino)
{
	uint64_t number;

	if (value.size != sizeof(number))
		return -EIO;
	memcpy(&number, value.data, sizeof(number));
	number = le64toh(number);
	if (number <= KVFS_ROOT_INO || number > INODE_INO_MAX)
		return -EIO;
	*next_ino = number;
	return 0;
}

void meta_size_limit_encode(uint64_t limit, uint8_t value[META_SIZE_LIMIT_SIZE])
{
	limit = htole64(limit);
	memcpy(value, &limit, sizeof(limit));
}

int meta_size_limit_decode(struct kv_slice value, uint64_t *limit)
{
	uint64_t stored;

	if (value.size != sizeof(stored))
		return -EIO;
	memcpy(&stored, value.data, sizeof(stored));
	*limit = le64toh(stored);
	return 0;
}

int meta_rollback_decode(struct kv_slice value, char name[KV_SNAPSHOT_NAME_MAX + 1])
{
	if (!value.size || value.size > KV_SNAPSHOT_NAME_MAX || memchr(value.data, 0, value.size))
		return -EIO;
	memcpy(name, value.data, value.size);
	name[value.size] = '\0';
	return 0;
}

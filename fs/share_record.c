/* SPDX-License-Identifier: MIT */
/* share_record.c - encodes and validates references and what they refer to. */
#include "share_record.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "extent_record.h"
#include "inode_record.h"

void share_key_encode(uint64_t id, enum share_kind kind, uint8_t key[SHARE_KEY_SIZE])
{
	uint64_t number = htobe64(id);

	memcpy(key, &number, sizeof(number));
	key[8] = (uint8_t)kind;
}

void share_reference_encode(struct share_reference reference, uint8_t value[SHARE_REFERENCE_SIZE])
{
	uint64_t id = htole64(reference.id);
	uint32_t size = htole32(reference.size);

	memcpy(value, &id, sizeof(id));
	memcpy(value + 8, &size, sizeof(size));
}

int share_reference_decode(struct kv_slice value, struct share_reference *out)
{
	struct share_reference reference;

	if (value.size != SHARE_REFERENCE_SIZE)
		return -EIO;
	memcpy(&reference.id, value.data, sizeof(reference.id));
	memcpy(&reference.size, (const uint8_t *)value.data + 8, sizeof(reference.size));
	reference.id = le64toh(reference.id);
	reference.size = le32toh(reference.size);
	if (!reference.id || reference.id > INODE_INO_MAX || !reference.size ||
		reference.size > EXTENT_CHUNK_SIZE)
		return -EIO;
	*out = reference;
	return 0;
}

void share_count_encode(uint64_t count, uint8_t value[SHARE_COUNT_SIZE])
{
	count = htole64(count);
	memcpy(value, &count, sizeof(count));
}

int share_count_decode(struct kv_slice value, uint64_t *out)
{
	uint64_t count;

	if (value.size != SHARE_COUNT_SIZE)
		return -EIO;
	memcpy(&count, value.data, sizeof(count));
	if (!count)
		return -EIO;
	*out = le64toh(count);
	return 0;
}

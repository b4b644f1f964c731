/* SPDX-License-Identifier: MIT */
/*
 * clone_bytes.h - a clone on its way from one process to another: the new store's parameters, then
 * its records. All numbers are little-endian.
 *
 *	0         8       12        16      20             24            32
 *	+---------+-------+---------+-------+--------------+-------------+
 *	| kvfscln1| hash  | compress| level | segment size | total bytes |
 *	+---------+-------+---------+-------+--------------+-------------+
 *
 *	0          1          3            7
 *	+----------+----------+------------+-- - -
 *	| keyspace | key size | value size | key, value
 *	+----------+----------+------------+-- - -
 *
 * for each record, and in the end CLONE_END alone. It lives for as long as both processes do, which
 * may be of different versions: another layout gets another magic.
 */
#ifndef CLONE_BYTES_H
#define CLONE_BYTES_H

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "clone_store.h"

#define CLONE_MAGIC "kvfscln1"
#define CLONE_HEAD_SIZE 32u
#define CLONE_RECORD_HEAD_SIZE 7u
#define CLONE_END 0xffu

struct clone_record_head {
	enum keyspace keyspace;
	size_t key_size, value_size;
};

static inline void clone_head_encode(
	const struct clone_parameters *parameters, uint8_t out[CLONE_HEAD_SIZE])
{
	const uint32_t numbers[4] = {htole32(parameters->hash), htole32(parameters->compress),
		htole32((uint32_t)parameters->compress_level), htole32(parameters->segment_size)};
	const uint64_t total = htole64(parameters->total_bytes);

	memcpy(out, CLONE_MAGIC, 8);
	memcpy(out + 8, numbers, sizeof(numbers));
	memcpy(out + 24, &total, sizeof(total));
}

/* -EPROTONOSUPPORT. What the numbers mean is for kv_create to judge. */
KV_MUST_CHECK static inline int clone_head_decode(
	const uint8_t *bytes, struct clone_parameters *out)
{
	uint32_t numbers[4];
	uint64_t total;

	if (memcmp(bytes, CLONE_MAGIC, 8) != 0)
		return -EPROTONOSUPPORT;
	memcpy(numbers, bytes + 8, sizeof(numbers));
	memcpy(&total, bytes + 24, sizeof(total));
	*out = (struct clone_parameters){
		.hash = (enum kv_hash)le32toh(numbers[0]),
		.compress = (enum kv_compress)le32toh(numbers[1]),
		.compress_level = (int)le32toh(numbers[2]),
		.segment_size = le32toh(numbers[3]),
		.total_bytes = le64toh(total),
	};
	return 0;
}

static inline void clone_record_head_encode(
	const struct clone_record_head *head, uint8_t out[CLONE_RECORD_HEAD_SIZE])
{
	const uint16_t key_size = htole16((uint16_t)head->key_size);
	const uint32_t value_size = htole32((uint32_t)head->value_size);

	out[0] = (uint8_t)head->keyspace;
	memcpy(out + 1, &key_size, sizeof(key_size));
	memcpy(out + 3, &value_size, sizeof(value_size));
}

/* -EPROTO: no keyspace of ours, or no key */
KV_MUST_CHECK static inline int clone_record_head_decode(
	const uint8_t *bytes, struct clone_record_head *out)
{
	uint16_t key_size;
	uint32_t value_size;

	memcpy(&key_size, bytes + 1, sizeof(key_size));
	memcpy(&value_size, bytes + 3, sizeof(value_size));
	if (bytes[0] >= KEYSPACE_COUNT || !key_size)
		return -EPROTO;
	*out = (struct clone_record_head){
		(enum keyspace)bytes[0], le16toh(key_size), le32toh(value_size)};
	return 0;
}

#endif

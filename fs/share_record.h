/* SPDX-License-Identifier: MIT */
/*
 * share_record.h - contents that several files have, as they are stored.
 *
 * A reference stands for a chunk's piece (extent_record.h, EXTENT_SLOT_REFERENCE):
 *
 *   value  0      8      12
 *          +------+------+
 *          | id   | size |          little-endian: the first `size` bytes of the shared piece
 *          +------+------+
 *
 * A shared piece has two records in keyspace shared; its bytes never change.
 *
 *   key    0      8      9
 *          +------+------+
 *          | id   | kind |          id big-endian
 *          +------+------+
 *   value  kind 0: the bytes; kind 1: how many references there are, 8 bytes, little-endian, not 0
 *
 * Ids are numbers as inodes have them, from the same source: none is used twice.
 */
#ifndef SHARE_RECORD_H
#define SHARE_RECORD_H

#include "kvfs.h"

#define SHARE_REFERENCE_SIZE 12u /* bytes */
#define SHARE_KEY_SIZE 9u
#define SHARE_COUNT_SIZE 8u

enum share_kind { SHARE_BYTES = 0, SHARE_COUNT = 1 };

struct share_reference {
	uint64_t id;
	uint32_t size; /* bytes, 1..EXTENT_CHUNK_SIZE */
};

void share_key_encode(uint64_t id, enum share_kind kind, uint8_t key[SHARE_KEY_SIZE]);
void share_reference_encode(
	struct share_reference reference, uint8_t value[SHARE_REFERENCE_SIZE]);
/* -EIO: no such bytes are ever written. */
KV_MUST_CHECK int share_reference_decode(struct kv_slice value, struct share_reference *out);
void share_count_encode(uint64_t count, uint8_t value[SHARE_COUNT_SIZE]);
/* -EIO */
KV_MUST_CHECK int share_count_decode(struct kv_slice value, uint64_t *out);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * fs_model_bytes.h - the bytes that follow from a stamp: what a model and a store are both given.
 */
#ifndef FS_MODEL_BYTES_H
#define FS_MODEL_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "fs_model.h"

static inline void fs_bytes(uint8_t *bytes, size_t size, uint64_t stamp)
{
	for (size_t i = 0; i < size; i++) {
		/* A linear congruential generator; multiplier by Donald Knuth (MMIX) */
		stamp = stamp * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		bytes[i] = (uint8_t)(stamp >> 56);
	}
}

/* A symlink's target: a size that may be, and bytes that may be in it. */
static inline uint32_t fs_target_size(uint32_t size)
{
	return 1 + size % 4095;
}

static inline void fs_target(uint8_t *bytes, uint32_t size, uint64_t stamp)
{
	fs_bytes(bytes, fs_target_size(size), stamp);
	for (uint32_t i = 0; i < fs_target_size(size); i++)
		bytes[i] |= 1;
}

static inline uint32_t fs_xattr_size(uint32_t size)
{
	return 1 + size % 60000;
}

/*
 * What a copy of a file of `source_size` bytes is about; places are often the same within a chunk.
 * Size 0: nothing to do.
 */
struct fs_copy_range {
	uint64_t from, to, size;
};

static inline struct fs_copy_range fs_copy_range(const struct fs_op *op, uint64_t source_size)
{
	struct fs_copy_range range = {op->offset, 0, 4 * (uint64_t)op->size};

	if (op->stamp % 2)
		range.from -= range.from % 65536;
	range.to = range.from % 65536 + op->stamp / 2 % 3 * 65536 + (op->stamp % 7 ? 0 : 5000);
	if (range.from >= source_size)
		range.size = 0;
	else if (range.size > source_size - range.from)
		range.size = source_size - range.from;
	if (range.size > FS_MODEL_FILE_MAX - range.to)
		range.size = FS_MODEL_FILE_MAX - range.to;
	if (op->limit && range.size > op->limit)
		range.size = op->limit;
	return range;
}

static inline bool fs_copy_overlaps(struct fs_copy_range range)
{
	return range.from < range.to + range.size && range.to < range.from + range.size;
}

#endif

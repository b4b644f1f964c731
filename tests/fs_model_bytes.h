/* SPDX-License-Identifier: MIT */
/* fs_model_bytes.h - the bytes that follow from a stamp: what a model and a store are both given. */
#ifndef FS_MODEL_BYTES_H
#define FS_MODEL_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

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

#endif

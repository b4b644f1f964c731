/* SPDX-License-Identifier: MIT */
/*
 * checksum_avx2.c - see checksum_avx2.h. The same source as everybody's XXH3, compiled for another
 * processor: xxhash.h chooses its vectors by what the compiler may use, and here that is more.
 * Nothing but these functions is in this file, so that no such instruction gets where it was not
 * asked for.
 */
#include "checksum_avx2.h"

#ifdef CHECKSUM_AVX2
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC target("avx2")
#endif
#endif

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t checksum_avx2(const void *data, size_t size)
{
	return XXH3_64bits(data, size);
}

uint64_t checksum_split_avx2(const void *head, size_t head_size, const void *rest, size_t rest_size)
{
	XXH3_state_t state;

	XXH3_64bits_reset(&state);
	XXH3_64bits_update(&state, head, head_size);
	XXH3_64bits_update(&state, rest, rest_size);
	return XXH3_64bits_digest(&state);
}

#if defined(CHECKSUM_AVX2) && defined(__clang__)
#pragma clang attribute pop
#endif

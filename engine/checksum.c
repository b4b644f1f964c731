/* SPDX-License-Identifier: MIT */
/* checksum.c - see checksum.h: the choice, and what every processor can do. */
#include "checksum.h"
#include "checksum_avx2.h"

#include <stdbool.h>

#define XXH_STATIC_LINKING_ONLY /* the state on the stack */
#include <xxhash.h>

static inline bool use_avx2(size_t size)
{
#ifdef CHECKSUM_AVX2
	return size >= CHECKSUM_LONG_MIN && __builtin_cpu_supports("avx2");
#else
	(void)size;
	return false;
#endif
}

uint64_t checksum(const void *data, size_t size)
{
	return use_avx2(size) ? checksum_avx2(data, size) : XXH3_64bits(data, size);
}

uint64_t checksum_split(const void *head, size_t head_size, const void *rest, size_t rest_size)
{
	XXH3_state_t state;

	if (use_avx2(rest_size))
		return checksum_split_avx2(head, head_size, rest, rest_size);
	XXH3_64bits_reset(&state);
	XXH3_64bits_update(&state, head, head_size);
	XXH3_64bits_update(&state, rest, rest_size);
	return XXH3_64bits_digest(&state);
}

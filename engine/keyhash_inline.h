/* SPDX-License-Identifier: MIT */
/*
 * keyhash_inline.h - keyhash.h for the hot paths: a short key under XXH3 is hashed in place,
 * without a call.
 *
 * Apart, because xxhash.h as a whole is compiled wherever this is included.
 */
#ifndef KEYHASH_INLINE_H
#define KEYHASH_INLINE_H

#include <stdbool.h>

#include "keyhash.h"

static inline __attribute__((always_inline)) uint64_t
XXH_INLINE_XXH3_64bits_withSeed(const void *key, size_t key_size, uint64_t seed);

#define XXH_INLINE_ALL
#include <xxhash.h>

#define KEYHASH_SHORT_MIN 8u /* bytes; what is shorter is rare, and would need its own code */
#define KEYHASH_SHORT_MAX 16u

static inline bool keyhash_is_short(const struct keyhash *keyhash, size_t key_size)
{
	return key_size - KEYHASH_SHORT_MIN <= KEYHASH_SHORT_MAX - KEYHASH_SHORT_MIN &&
	       keyhash->kind != KV_HASH_BLAKE2B;
}

/*
 * As keyhash_of, in its caller's place: what is for other keys is left out. XXH3's own function is
 * declared to be inlined always, because `flatten` in the callers, with link-time optimisation,
 * takes in the whole engine.
 */
static inline __attribute__((always_inline)) uint64_t
keyhash_short(const struct keyhash *keyhash, unsigned keyspace, const void *key, size_t key_size)
{
	if (key_size - KEYHASH_SHORT_MIN > KEYHASH_SHORT_MAX - KEYHASH_SHORT_MIN)
		__builtin_unreachable();
	return XXH3_64bits_withSeed(key, key_size, keyhash->seeds[keyspace]);
}

#endif

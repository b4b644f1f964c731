/* SPDX-License-Identifier: MIT */
/* keyhash.c - see keyhash.h. */
#include "keyhash.h"

#include <blake2.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

void keyhash_init(struct keyhash *keyhash, enum kv_hash kind, const uint8_t secret[32])
{
	unsigned i;

	keyhash->kind = kind;
	memcpy(keyhash->secret, secret, sizeof(keyhash->secret));
	for (i = 0; i < FORMAT_KEYSPACES; i++)
		keyhash->seeds[i] = XXH3_64bits_withSeed(secret, 32, i);
}

static uint64_t blake2b_of(const struct keyhash *keyhash, unsigned keyspace, const void *key,
			   size_t key_size)
{
	uint8_t number = (uint8_t)keyspace;
	uint64_t hash;
	blake2b_state state;

	blake2b_init_key(&state, sizeof(hash), keyhash->secret, sizeof(keyhash->secret));
	blake2b_update(&state, &number, 1);
	blake2b_update(&state, key, key_size);
	blake2b_final(&state, (uint8_t *)&hash, sizeof(hash));
	return hash;
}

uint64_t keyhash_of(const struct keyhash *keyhash, unsigned keyspace, const void *key,
		    size_t key_size)
{
	if (keyhash->kind == KV_HASH_BLAKE2B)
		return blake2b_of(keyhash, keyspace, key, key_size);
	return XXH3_64bits_withSeed(key, key_size, keyhash->seeds[keyspace]);
}

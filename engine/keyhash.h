/* SPDX-License-Identifier: MIT */
/*
 * keyhash.h - a key's 64-bit hash, under the store's secret, so that nobody who does not know the
 * secret can choose keys that collide. XXH3 (7 ns for 16 bytes) or keyed BLAKE2b (176 ns), as the
 * superblock says.
 */
#ifndef KEYHASH_H
#define KEYHASH_H

#include <stdint.h>

#include "format.h"

struct keyhash {
	enum kv_hash kind;
	uint64_t seeds[FORMAT_KEYSPACES]; /* XXH3: one a keyspace */
	uint8_t secret[32];		  /* BLAKE2b's key */
};

void keyhash_init(struct keyhash *keyhash, enum kv_hash kind, const uint8_t secret[32]);
uint64_t keyhash_of(const struct keyhash *keyhash, unsigned keyspace, const void *key,
		    size_t key_size);

#endif

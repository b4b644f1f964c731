/* SPDX-License-Identifier: MIT */
/*
 * ordered.h - what an ordered set must offer to be measured as one: ours is an ordered keyspace,
 * its peers live in memory alone.
 *
 * Functions return 0 or a negative errno; NULL: it has no such thing. One thread.
 */
#ifndef ORDERED_H
#define ORDERED_H

#include "entry.h"

#ifdef __cplusplus
extern "C" {
#endif

struct ordered;

struct ordered_ops {
	const char *name;
	const char *about;
	int (*open)(const char *path, struct ordered **out);
	void (*close)(struct ordered *set);
	int (*insert)(struct ordered *set, const struct entry_key *key);
	/* Keys that ascend, behind all that are there. */
	int (*insert_bulk)(struct ordered *set, const struct entry_key *keys, unsigned count);
	int (*remove)(struct ordered *set, const struct entry_key *key);
	int (*rank)(struct ordered *set, const struct entry_key *key, uint64_t *rank);
	int (*select)(struct ordered *set, uint64_t position, struct entry_key *out);
	int (*first)(struct ordered *set, struct entry_key *out);
	int (*last)(struct ordered *set, struct entry_key *out);
	/* `count` keys from a position, from a key; sum: of what was seen */
	int (*range_by_position)(
		struct ordered *set, uint64_t position, unsigned count, uint64_t *sum);
	int (*range_by_key)(
		struct ordered *set, const struct entry_key *from, unsigned count, uint64_t *sum);
	/* Bytes that the index takes; 0: ask the process */
	uint64_t (*memory)(struct ordered *set);
	int slow_rank; /* rank and select walk */
};

extern const struct ordered_ops ordered_kv;
extern const struct ordered_ops ordered_set;
extern const struct ordered_ops ordered_counted;

static inline uint64_t ordered_see(const void *key)
{
	uint64_t tail;

	memcpy(&tail, (const char *)key + ENTRY_KEY_SIZE - 8, 8);
	return tail;
}

#ifdef __cplusplus
}
#endif
#endif

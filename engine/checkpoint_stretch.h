/* SPDX-License-Identifier: MIT */
/*
 * checkpoint_stretch.h - parts of an ordered index that come one by one, for checkpoint_order*.c
 * alone.
 */
#ifndef CHECKPOINT_STRETCH_H
#define CHECKPOINT_STRETCH_H

#include "checkpoint_order.h"

struct checkpoint_change {
	struct checkpoint_change *next;
	uint64_t address; /* 0: delete */
	uint16_t key_size;
	uint8_t key[];
};

enum stretch_state { STRETCH_ABSENT, STRETCH_CLAIMED, STRETCH_PRESENT };

struct checkpoint_stretch {
	const uint8_t *key; /* the first one of the section's part */
	uint16_t key_size;  /* 0: there is no part of the section */
	uint16_t offset;    /* of that part, in the chunk */
	uint32_t chunk;
	_Atomic uint8_t state; /* enum stretch_state; stored under the log's lock, present with
				  release */
	struct checkpoint_change *first, *last; /* that wait; protected by log.lock */
};

static inline int checkpoint_stretch_compare(const void *a, size_t a_size, const void *b,
					     size_t b_size)
{
	int order = memcmp(a, b, a_size < b_size ? a_size : b_size);

	return order ? order : (a_size > b_size) - (a_size < b_size);
}

/* The last one that begins at or before the key; else the first. */
static inline uint32_t checkpoint_stretch_find(const struct checkpoint_tree *tree, const void *key,
					       size_t key_size)
{
	uint32_t low = 1, high = tree->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		const struct checkpoint_stretch *stretch = &tree->stretches[middle];

		if (checkpoint_stretch_compare(stretch->key, stretch->key_size, key, key_size) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low - 1;
}

static inline bool checkpoint_stretch_is_present(const struct checkpoint_stretch *stretch)
{
	return atomic_load_explicit(&stretch->state, memory_order_acquire) == STRETCH_PRESENT;
}

/* The first change that waits is done, and goes. With the log's lock. */
int checkpoint_stretch_catch_up(struct checkpoint_orders *orders, struct order *order,
				struct checkpoint_stretch *stretch);

#endif

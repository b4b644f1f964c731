/* SPDX-License-Identifier: MIT */
/* ordered.c - positions and counts of keys: what the ordered index knows without walking. */
#include <errno.h>

#include "checkpoint.h"

static struct order *order_of(struct kv *kv, unsigned keyspace)
{
	return keyspace < kv->info.keyspace_count ? store_order(kv, keyspace) : NULL;
}

int kv_count(struct kv *kv, unsigned keyspace, uint64_t *count)
{
	if (keyspace >= kv->info.keyspace_count)
		return -EINVAL;
	*count = atomic_load_explicit(&kv->keys[keyspace], memory_order_relaxed);
	return 0;
}

int kv_rank(struct kv *kv, unsigned keyspace, const void *key, size_t key_size, uint64_t *rank)
{
	struct order *order = order_of(kv, keyspace);

	if (!order || !key_size || key_size > KV_KEY_SIZE_MAX)
		return -EINVAL;
	if (store_order_failed(kv, keyspace))
		return -EIO;
	*rank = order_rank(order, key, key_size);
	return 0;
}

int kv_count_range(struct kv *kv, unsigned keyspace, const void *from, size_t from_size,
		   const void *to, size_t to_size, uint64_t *count)
{
	struct order *order = order_of(kv, keyspace);
	uint64_t all, below;

	if (!order || from_size > KV_KEY_SIZE_MAX || to_size > KV_KEY_SIZE_MAX)
		return -EINVAL;
	if (store_order_failed(kv, keyspace))
		return -EIO;
	if (from_size && to_size) {
		*count = order_count_range(order, from, from_size, to, to_size);
	} else if (to_size) {
		*count = order_rank(order, to, to_size);
	} else {
		all = order_count(order);
		below = from_size ? order_rank(order, from, from_size) : 0;
		*count = all > below ? all - below : 0;
	}
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * order.c - the ordered index: what its writer does.
 *
 * The writer looks for the place of a key without the gate, for it alone changes the tree, gets the
 * memory that it may need, and then closes the gate for as long as it takes to change the nodes. It
 * remembers the way to the last leaf it came to, so that keys that come in order, or close
 * together, need no descent.
 */
#include <errno.h>
#include <stdlib.h>

#include "order_node.h"

#define STREAK 8u /* descents in vain until the last leaf is no longer tried first */

int order_new(struct order **out)
{
	struct order *order = aligned_alloc(64, (sizeof(*order) + 63) & ~(size_t)63);
	int ret = -ENOMEM;

	if (!order)
		return ret;
	memset(order, 0, sizeof(*order));
	order_pool_init(&order->pool);
	order->scratch = aligned_alloc(64, (sizeof(*order->scratch) + 63) & ~(size_t)63);
	if (!order->scratch)
		goto out;
	ret = order_pool_ensure(&order->pool, 1);
	if (ret)
		goto out;
	order->root = order_pool_take(&order->pool, 0);
	atomic_init(&order->first, order->root);
	atomic_init(&order->last, order->root);
	order_leaf_touch(order, order->root);
	*out = order;
out:
	if (ret)
		order_free(order);
	return ret;
}

void order_free(struct order *order)
{
	if (!order)
		return;
	order_pool_fini(&order->pool);
	free(order->scratch);
	free(order);
}

/* ---- finding the place -------------------------------------------------------------------- */

/* Is this the leaf for the key? If so, *index is its place. */
static bool is_in_leaf(
	const struct order *order, const uint8_t *key, size_t size, unsigned *index, bool *exact)
{
	const struct order_node *leaf = order->path[0].node;

	*index = order_page_find(leaf, key, size, exact);
	return *exact || (*index && (*index < leaf->count || leaf == order->last));
}

/* Fills the path, and returns where in the leaf the key is or belongs. */
static unsigned descend(struct order *order, const uint8_t *key, size_t size, bool *exact)
{
	struct order_node *node = order->root, *before = order->path[0].node;
	unsigned index;

	if (order->path_valid && order->streak) {
		if (is_in_leaf(order, key, size, &index, exact)) {
			order->streak = STREAK;
			return index;
		}
		order->streak--;
	}
	for (unsigned level = order->depth; level; level--) {
		unsigned child = order_branch_child(node, key, size);

		order->path[level].node = node;
		order->path[level].child = child;
		node = order_children(node)->nodes[child];
		order_prefetch(node);
	}
	if (order->path_valid && node == before)
		order->streak = STREAK;
	order->path[0].node = node;
	order->path_valid = true;
	return order_page_find(node, key, size, exact);
}

/* Adds to the counts of all branches on the path. */
static void count_path(struct order *order, int64_t change)
{
	for (unsigned level = order->depth; level; level--) {
		struct order_step *step = &order->path[level];

		order_children(step->node)->counts[step->child] += (uint64_t)change;
	}
	atomic_store_explicit(&order->count,
		atomic_load_explicit(&order->count, memory_order_relaxed) + (uint64_t)change,
		memory_order_relaxed);
}

static bool key_is_valid(size_t size)
{
	return size > 0 && size <= ORDER_KEY_SIZE_MAX;
}

/* ---- changing ----------------------------------------------------------------------------- */

static void set_address(struct order *order, unsigned index, uint64_t address)
{
	struct order_node *leaf = order->path[0].node;

	order_gate_close(&order->gate);
	order_item_set_address(order_item(leaf, index), address);
	order_leaf_touch(order, leaf);
	order_gate_open(&order->gate);
}

/* Keys that come one behind, or one before, the other make a run. */
static void note_run(struct order_node *leaf, unsigned index)
{
	if (leaf->count && index == leaf->last_insert + 1u)
		leaf->run = leaf->run > 0 ? leaf->run + (leaf->run < INT8_MAX) : 1;
	else if (leaf->count && index == leaf->last_insert)
		leaf->run = leaf->run < 0 ? leaf->run - (leaf->run > INT8_MIN) : -1;
	else
		leaf->run = 0;
	leaf->last_insert = (uint16_t)index;
}

static int insert(struct order *order, unsigned index, struct order_key *key, uint64_t address)
{
	struct order_node *leaf = order->path[0].node;
	bool fits = order_page_fits(leaf, key->bytes, key->size);

	if (!fits) {
		if (order->depth + 1 >= ORDER_DEPTH_MAX ||
			order_pool_ensure(&order->pool, order->depth + 2))
			return -ENOMEM;
		order_pool_touch(&order->pool); /* a page fault had better not happen in the gate */
	}
	if (key->size > ORDER_INLINE_MAX) {
		key->held = order_pool_long_new(&order->pool, key->bytes, key->size);
		if (!key->held)
			return -ENOMEM;
	}
	order_gate_close(&order->gate);
	count_path(order, 1);
	note_run(leaf, index);
	if (fits) {
		order_page_insert(leaf, index, key, address);
		order_leaf_touch(order, leaf);
	} else {
		order_leaf_overflow(order, index, key, address);
	}
	order_gate_open(&order->gate);
	return 0;
}

/*
 * Keys that come in order behind all others: where the last write's leaf is the last one, and has
 * room, nothing has to be looked for.
 */
static bool put_behind_all(struct order *order, const void *key, size_t size, uint64_t address)
{
	struct order_node *leaf = order->path[0].node;
	uint64_t head;

	if (!order->path_valid || leaf != order->last ||
	    !order_page_takes_behind(leaf, key, size, &head))
		return false;
	order->streak = STREAK;
	order_gate_close(&order->gate);
	count_path(order, 1);
	note_run(leaf, leaf->count);
	order_page_put_behind(leaf, key, size, head, address);
	order_leaf_touch(order, leaf);
	order_gate_open(&order->gate);
	return true;
}

int order_put(struct order *order, const void *key_bytes, size_t key_size, uint64_t address)
{
	struct order_key key = {key_bytes, key_size, NULL};
	unsigned index;
	bool exact;

	if (!key_is_valid(key_size) || address > ORDER_ADDRESS_MAX)
		return -EINVAL;
	if (put_behind_all(order, key_bytes, key_size, address))
		return 0;
	index = descend(order, key_bytes, key_size, &exact);
	if (!exact)
		return insert(order, index, &key, address);
	set_address(order, index, address);
	return 0;
}

int order_set_address(struct order *order, const void *key, size_t key_size, uint64_t old_address,
	uint64_t new_address)
{
	unsigned index;
	bool exact;

	if (new_address > ORDER_ADDRESS_MAX)
		return -EINVAL;
	if (!key_is_valid(key_size))
		return -ENOENT;
	index = descend(order, key, key_size, &exact);
	if (!exact)
		return -ENOENT;
	if (order_item_address(order_item(order->path[0].node, index)) != old_address)
		return -ESTALE;
	set_address(order, index, new_address);
	return 0;
}

int order_delete(struct order *order, const void *key, size_t key_size)
{
	struct order_node *leaf;
	unsigned index;
	bool exact;

	if (!key_is_valid(key_size))
		return -ENOENT;
	index = descend(order, key, key_size, &exact);
	if (!exact)
		return -ENOENT;
	leaf = order->path[0].node;
	order_gate_close(&order->gate);
	count_path(order, -1);
	order_pool_long_put(&order->pool, order_page_remove(leaf, index));
	leaf->run = 0;
	order_leaf_touch(order, leaf);
	order_leaf_shrink(order);
	order_gate_open(&order->gate);
	if (order->pool.dirty > 1)
		order_pool_trim(&order->pool);
	return 0;
}

int order_reserve(struct order *order, size_t count, size_t key_bytes)
{
	/* At the worst each put splits a leaf and a branch of each level, and the root grows. */
	size_t each = order->depth + 3;
	int ret;

	if (count > SIZE_MAX / ORDER_NODE_SIZE / each - 1)
		return -ENOMEM;
	ret = order_pool_ensure(&order->pool, (count + 1) * each);
	if (ret)
		return ret;
	return order_pool_ensure_long(&order->pool, count, key_bytes);
}

uint64_t order_count(const struct order *order)
{
	return atomic_load_explicit(&order->count, memory_order_relaxed);
}

uint64_t order_memory(const struct order *order)
{
	return sizeof(*order) + sizeof(*order->scratch) +
	       atomic_load_explicit(&order->pool.bytes, memory_order_relaxed);
}

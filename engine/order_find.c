/* SPDX-License-Identifier: MIT */
/*
 * order_find.c - places in the ordered index, and what is read without a walk: addresses, counts.
 *
 * Every read happens inside the gate, in which the tree stands still, and copies out what it found.
 * No leaf is empty but the root of an empty tree, so a neighbour is in the leaf where a key belongs
 * or the next one.
 */
#include <errno.h>

#include "order_node.h"

#define COUNT_GROUP 8u /* children */

static struct order_node *find_leaf(const struct order *order, const uint8_t *key, size_t size)
{
	struct order_node *node = order->root;

	while (node->level) {
		node = order_children(node)->nodes[order_branch_child(node, key, size)];
		order_prefetch(node);
	}
	return node;
}

/* One step back or forward when the index is beyond the leaf. */
static void place_settle(struct order_place *place)
{
	struct order_node *leaf = place->leaf;

	if (place->index < leaf->count)
		return;
	place->leaf = leaf->next;
	place->index = 0;
}

void order_find(const struct order *order, enum order_where where, const uint8_t *key, size_t size,
	struct order_place *out)
{
	struct order_node *leaf = find_leaf(order, key, size);
	bool exact;
	unsigned index = order_page_find(leaf, key, size, &exact);

	if (where == ORDER_BELOW) {
		out->leaf = index ? leaf : leaf->prev;
		out->index = index ? index - 1 : leaf->prev ? leaf->prev->count - 1u : 0;
		return;
	}
	out->leaf = leaf;
	out->index = index + (where == ORDER_ABOVE && exact);
	place_settle(out);
}

/*
 * The child that the position is in, and its place there. By groups: each step waits for the
 * comparison before it, the additions within a group do not.
 */
static unsigned child_at(const struct order_children *children, unsigned count, uint64_t *position)
{
	uint64_t left = *position, sum;
	unsigned child = 0, i;

	for (; child + COUNT_GROUP <= count; child += COUNT_GROUP, left -= sum) {
		for (sum = 0, i = 0; i < COUNT_GROUP; i++)
			sum += children->counts[child + i];
		if (left < sum)
			break;
	}
	while (child < count && left >= children->counts[child])
		left -= children->counts[child++];
	*position = left;
	return child;
}

void order_find_position(const struct order *order, uint64_t position, struct order_place *out)
{
	struct order_node *node = order->root;

	while (node->level) {
		const struct order_children *children = order_children(node);
		bool above_leaf = node->level == 1;

		node = children->nodes[child_at(children, node->count, &position)];
		if (above_leaf)
			order_prefetch(node);
	}
	out->leaf = position < node->count ? node : NULL;
	out->index = (unsigned)position;
}

static uint64_t find_rank(const struct order *order, const uint8_t *key, size_t size)
{
	struct order_node *node = order->root;
	uint64_t rank = 0;
	bool exact;

	while (node->level) {
		const struct order_children *children = order_children(node);
		unsigned child = order_branch_child(node, key, size);

		node = children->nodes[child];
		order_prefetch(node);
		for (unsigned i = 0; i < child; i++)
			rank += children->counts[i];
	}
	return rank + order_page_find(node, key, size, &exact);
}

/* ---- public ------------------------------------------------------------------------------- */

int order_get(struct order *order, const void *key, size_t key_size, uint64_t *address)
{
	unsigned lane = order_gate_enter(&order->gate), index;
	struct order_node *leaf = find_leaf(order, key, key_size);
	bool exact;

	index = order_page_find(leaf, key, key_size, &exact);
	if (exact)
		*address = order_item_address(order_item(leaf, index));
	order_gate_leave(&order->gate, lane);
	return exact ? 0 : -ENOENT;
}

uint64_t order_rank(struct order *order, const void *key, size_t key_size)
{
	unsigned lane = order_gate_enter(&order->gate);
	uint64_t rank = find_rank(order, key, key_size);

	order_gate_leave(&order->gate, lane);
	return rank;
}

uint64_t order_count_range(
	struct order *order, const void *from, size_t from_size, const void *to, size_t to_size)
{
	unsigned lane = order_gate_enter(&order->gate);
	uint64_t low = find_rank(order, from, from_size);
	uint64_t high = find_rank(order, to, to_size);

	order_gate_leave(&order->gate, lane);
	return high > low ? high - low : 0;
}

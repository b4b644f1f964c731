/* SPDX-License-Identifier: MIT */
/*
 * order_verify.c - proves the invariants of an ordered index, or says which are broken.
 *
 * One pass in key order: every key is above the one before it and within the separators of the
 * branches above it, every head and prefix is the key's own, the heap adds up, counts and depth
 * agree, leaves are linked in order, and every long key has as many references as there are entries
 * that share it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "order_node.h"

struct verify {
	const struct order *order;
	void (*report)(void *arg, const char *message);
	void *arg;
	uint64_t findings;
	struct order_node *leaf; /* the last one seen */
	uint64_t keys, long_refs, long_size;
	size_t before_size; /* of the key seen last; 0: none */
	uint8_t before[ORDER_KEY_SIZE_MAX + 1];
	uint8_t key[ORDER_KEY_SIZE_MAX + 1];
};

static void fail(struct verify *verify, const struct order_node *node, const char *what)
{
	char message[160];

	verify->findings++;
	snprintf(message, sizeof(message),
		"ordered index: %s (level %u, %u keys, behind %" PRIu64 " keys)", what, node->level,
		node->count, verify->keys);
	verify->report(verify->arg, message);
}

static int compare(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size)
{
	int order = memcmp(a, b, a_size < b_size ? a_size : b_size);

	return order ? order : (a_size > b_size) - (a_size < b_size);
}

/* The heap holds the items, the garbage, and nothing else. */
static void verify_page(struct verify *verify, const struct order_node *node)
{
	unsigned start = order_slots_start(node->prefix_size), slots_end = start + node->count * 8u;
	unsigned heap_end = order_heap_end(node->level), items = 0;

	if (node->heap_end != heap_end || node->heap > heap_end || slots_end > node->heap) {
		fail(verify, node, "slots and heap overlap");
		return;
	}
	for (unsigned i = 0; i < node->count; i++) {
		unsigned offset = (unsigned)(order_slots(node)[i] & 0xffff);
		size_t size;

		if (offset < node->heap || offset >= heap_end) {
			fail(verify, node, "an item is outside of the heap");
			continue;
		}
		size = order_page_key_size(node, i);
		items += order_cost(node->level, size, node->prefix_size) - 8;
		if (i && order_slots(node)[i] >> 16 < order_slots(node)[i - 1] >> 16)
			fail(verify, node, "heads are out of order");
		if (order_page_long(node, i)) {
			verify->long_refs++;
			if (size <= ORDER_INLINE_MAX ||
				memcmp(order_page_long(node, i)->bytes, node->bytes,
					node->prefix_size) ||
				order_slots(node)[i] >> 16 !=
					order_head(
						order_page_long(node, i)->bytes + node->prefix_size,
						size - node->prefix_size))
				fail(verify, node, "a long key is not what its slot says");
		}
	}
	if (items + node->garbage != heap_end - node->heap)
		fail(verify, node, "the heap does not add up");
}

/* A key, or a separator, comes next in order. A separator may be equal to the key behind it. */
static void verify_order(struct verify *verify, const struct order_node *node, unsigned index)
{
	size_t size = order_page_key(node, index, verify->key, ORDER_KEY_SIZE_MAX);
	int order = verify->before_size
			    ? compare(verify->before, verify->before_size, verify->key, size)
			    : -1;
	bool after_separator = !node->level && !index && node->prev;

	if (order > 0 || (order == 0 && !after_separator))
		fail(verify, node, "keys are out of order");
	memcpy(verify->before, verify->key, size);
	verify->before_size = size;
}

static void verify_leaf(struct verify *verify, const struct order_node *leaf)
{
	if (!leaf->count && leaf != verify->order->root)
		fail(verify, leaf, "an empty leaf");
	if (leaf->prev != verify->leaf ||
		(verify->leaf ? verify->leaf->next : verify->order->first) != leaf)
		fail(verify, leaf, "leaves are linked wrongly");
	for (unsigned i = 0; i < leaf->count; i++)
		verify_order(verify, leaf, i);
	verify->keys += leaf->count;
	verify->leaf = (struct order_node *)leaf;
}

static void verify_node(struct verify *verify, const struct order_node *node, unsigned level)
{
	const struct order_children *children = order_children(node);

	if (node->level != level) {
		fail(verify, node, "a node on the wrong level");
		return;
	}
	verify_page(verify, node);
	if (!level) {
		verify_leaf(verify, node);
		return;
	}
	if (node->count >= ORDER_CHILDREN_MAX) {
		fail(verify, node, "too many children");
		return;
	}
	for (unsigned i = 0; i <= node->count; i++) {
		uint64_t keys = verify->keys;

		if (i)
			verify_order(verify, node, i - 1);
		verify_node(verify, children->nodes[i], level - 1);
		if (verify->keys - keys != children->counts[i])
			fail(verify, node, "a child's count is wrong");
	}
}

static void verify_longs(struct verify *verify)
{
	uint64_t refs = 0;

	for (const struct order_long *held = verify->order->pool.longs; held; held = held->next)
		refs += held->refs;
	if (refs != verify->long_refs)
		fail(verify, verify->order->root, "long keys have lost or kept references");
}

int64_t order_verify(
	struct order *order, void (*report)(void *arg, const char *message), void *arg)
{
	struct verify *verify = calloc(1, sizeof(*verify));
	int64_t findings;
	unsigned lane;

	if (!verify)
		return -ENOMEM;
	verify->order = order;
	verify->report = report;
	verify->arg = arg;
	lane = order_gate_enter(&order->gate);
	if (order->root->level && !order->root->count)
		fail(verify, order->root, "a root of one child");
	verify_node(verify, order->root, order->depth);
	if (verify->leaf != order->last || order->last->next)
		fail(verify, order->last, "the last leaf is not the last");
	if (verify->keys != order_count(order))
		fail(verify, order->root, "the count of keys is wrong");
	verify_longs(verify);
	order_gate_leave(&order->gate, lane);
	findings = (int64_t)verify->findings;
	free(verify);
	return findings;
}

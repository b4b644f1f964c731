/* SPDX-License-Identifier: MIT */
/*
 * order_walk.c - walks through the ordered index, leaf by leaf, over private copies.
 *
 * A walk owns a copy of the leaf it stands in, with that leaf's version, and the key it stands on.
 * A step within the copy is right as long as the leaf's version, one atomic load, is still that of
 * the copy: versions never repeat, and a node's memory stays mapped as long as the tree lives,
 * whatever it is used for. Else, and at the ends of the copy, the walk enters the gate and goes to
 * the neighbour of its key in the tree as it then is: directly if its leaf has not changed, by a
 * descent if it has. A key that is not in its node is copied in the gate, always.
 */
#include <errno.h>
#include <stdlib.h>

#include "order_node.h"

/* Bytes that a key of a node may take where it is written in words. */
#define TAKE_ROOM (ORDER_INLINE_MAX + 16u)

struct order_walk {
	struct order *order;
	struct order_node *leaf; /* NULL: the walk is nowhere */
	uint64_t version;        /* of the leaf when it was copied */
	unsigned index;
	size_t key_size;
	uint64_t address;
	uint8_t *key;
	size_t key_room;
	union {
		struct order_node node;
		uint8_t bytes[ORDER_NODE_SIZE +
			      16]; /* the last item may be read 16 bytes at a time */
	} copy;
};

int order_walk_new(struct order *order, struct order_walk **out)
{
	struct order_walk *walk = calloc(1, sizeof(*walk));

	if (!walk)
		return -ENOMEM;
	walk->order = order;
	/* Enough for every key that is held in a node, and for copying it in words. */
	walk->key_room = ORDER_WALK_KEY_WORDS;
	walk->key = malloc(walk->key_room);
	if (!walk->key) {
		free(walk);
		return -ENOMEM;
	}
	*out = walk;
	return 0;
}

void order_walk_free(struct order_walk *walk)
{
	if (!walk)
		return;
	free(walk->key);
	free(walk);
}

/* What an item has of its key behind the head. Up to 16 bytes are written. */
static inline void copy_rest(uint8_t *to, const uint8_t *item)
{
	unsigned rest = item[0] - ORDER_HEAD_SIZE;
	const uint8_t *from = item + 1 + ORDER_ADDRESS_SIZE;

	if (rest <= 16)
		memcpy(to, from, 16);
	else
		memcpy(to, from, rest);
}

/* Makes the copy's key at an index the walk's own; its prefix is there already. False: it is not in
 * the node. */
static inline bool walk_decode(struct order_walk *walk, unsigned index)
{
	const struct order_node *node = &walk->copy.node;
	uint64_t slot = order_slots(node)[index], head = htobe64(slot);
	const uint8_t *item = (const uint8_t *)node + (slot & 0xffff);
	uint8_t *tail = walk->key + node->prefix_size;
	unsigned size = item[0];

	if (size == ORDER_LONG_MARK)
		return false;
	memcpy(tail, &head, sizeof(head));
	if (size > ORDER_HEAD_SIZE)
		copy_rest(tail + ORDER_HEAD_SIZE, item);
	walk->index = index;
	walk->key_size = node->prefix_size + size;
	walk->address = order_item_address(item);
	return true;
}

/* Takes the walk to a place in the tree. Inside the gate; false: there is no room for that key. */
static bool walk_load(struct order_walk *walk, const struct order_place *place, size_t *key_size)
{
	struct order_node *leaf = place->leaf;

	*key_size = order_page_key_size(leaf, place->index);
	if (*key_size > walk->key_room)
		return false;
	walk->leaf = leaf;
	walk->version = atomic_load_explicit(&leaf->version, memory_order_relaxed);
	order_page_copy(&walk->copy.node, leaf);
	memcpy(walk->key, leaf->bytes, leaf->prefix_size);
	if (!walk_decode(walk, place->index)) {
		order_page_key(leaf, place->index, walk->key, *key_size);
		walk->index = place->index;
		walk->key_size = *key_size;
		walk->address = order_item_address(order_item(leaf, place->index));
	}
	return true;
}

/* ---- moves -------------------------------------------------------------------------------- */

enum walk_to { WALK_FIRST, WALK_LAST, WALK_POSITION, WALK_KEY, WALK_NEXT, WALK_PREV };

struct walk_move {
	enum walk_to to;
	enum order_where where; /* WALK_KEY */
	const void *key;
	size_t key_size;
	uint64_t position; /* WALK_POSITION */
};

/* The neighbour of the walk's own entry. */
static void find_neighbour(const struct order_walk *walk, bool forward, struct order_place *place)
{
	struct order_node *leaf = walk->leaf;

	if (atomic_load_explicit(&leaf->version, memory_order_relaxed) != walk->version) {
		order_find(walk->order, forward ? ORDER_ABOVE : ORDER_BELOW, walk->key,
			walk->key_size, place);
		return;
	}
	place->leaf = leaf;
	place->index = forward ? walk->index + 1 : walk->index - 1;
	if (place->index < leaf->count)
		return;
	place->leaf = forward ? leaf->next : leaf->prev;
	place->index = forward || !place->leaf ? 0 : place->leaf->count - 1u;
	if (place->leaf && forward && place->leaf->next)
		__builtin_prefetch(place->leaf->next);
}

static void find_place(
	const struct order_walk *walk, const struct walk_move *move, struct order_place *place)
{
	const struct order *order = walk->order;

	place->index = 0;
	switch (move->to) {
	case WALK_FIRST:
		place->leaf = order->first;
		break;
	case WALK_LAST:
		place->leaf = order->last;
		place->index = order->last->count ? order->last->count - 1u : 0;
		break;
	case WALK_POSITION:
		order_find_position(order, move->position, place);
		break;
	case WALK_KEY:
		order_find(order, move->where, move->key, move->key_size, place);
		break;
	case WALK_NEXT:
	case WALK_PREV:
		find_neighbour(walk, move->to == WALK_NEXT, place);
		break;
	}
}

static int walk_grow(struct order_walk *walk, size_t key_size, struct walk_move *move)
{
	bool own = move->key == walk->key;
	uint8_t *key = realloc(walk->key, key_size);

	if (!key)
		return -ENOMEM;
	walk->key = key;
	walk->key_room = key_size;
	if (own)
		move->key = key;
	return 0;
}

static int walk_go(struct order_walk *walk, struct walk_move *move)
{
	for (;;) {
		struct order_place place;
		size_t key_size = 0;
		unsigned lane = order_gate_enter(&walk->order->gate);
		bool found, loaded = false;
		int ret;

		find_place(walk, move, &place);
		found = place.leaf && place.index < place.leaf->count;
		if (found)
			loaded = walk_load(walk, &place, &key_size);
		else
			walk->leaf = NULL;
		order_gate_leave(&walk->order->gate, lane);
		if (loaded)
			return 0;
		if (!found)
			return -ENOENT;
		ret = walk_grow(walk, key_size, move);
		if (ret)
			return ret;
	}
}

/* Is the copy still what the tree has? Pairs with the store in order_leaf_touch. */
static inline bool is_current(const struct order_walk *walk)
{
	return atomic_load_explicit(&walk->leaf->version, memory_order_acquire) == walk->version;
}

/*
 * Does the walk stand in the leaf at this end of the tree, with a copy that is still right? The end
 * is looked at first: as the leaf is unchanged after that, the copy was the tree's end then.
 */
static inline bool is_at(const struct order_walk *walk, _Atomic(struct order_node *) *end)
{
	return walk->leaf && atomic_load_explicit(end, memory_order_acquire) == walk->leaf &&
	       is_current(walk);
}

int order_walk_first(struct order_walk *walk)
{
	if (is_at(walk, &walk->order->first) && walk_decode(walk, 0))
		return 0;
	return walk_go(walk, &(struct walk_move){.to = WALK_FIRST});
}

int order_walk_last(struct order_walk *walk)
{
	if (is_at(walk, &walk->order->last) && walk_decode(walk, walk->copy.node.count - 1u))
		return 0;
	return walk_go(walk, &(struct walk_move){.to = WALK_LAST});
}

int order_walk_select(struct order_walk *walk, uint64_t position)
{
	return walk_go(walk, &(struct walk_move){.to = WALK_POSITION, .position = position});
}

static int walk_seek(
	struct order_walk *walk, enum order_where where, const void *key, size_t key_size)
{
	struct walk_move move = {.to = WALK_KEY, .where = where, .key = key, .key_size = key_size};

	return walk_go(walk, &move);
}

int order_walk_at_least(struct order_walk *walk, const void *key, size_t key_size)
{
	return walk_seek(walk, ORDER_AT_LEAST, key, key_size);
}

int order_walk_above(struct order_walk *walk, const void *key, size_t key_size)
{
	return walk_seek(walk, ORDER_ABOVE, key, key_size);
}

int order_walk_below(struct order_walk *walk, const void *key, size_t key_size)
{
	return walk_seek(walk, ORDER_BELOW, key, key_size);
}

int order_walk_next(struct order_walk *walk)
{
	if (!walk->leaf)
		return -ENOENT;
	if (walk->index + 1 < walk->copy.node.count && is_current(walk) &&
		walk_decode(walk, walk->index + 1))
		return 0;
	return walk_go(walk, &(struct walk_move){.to = WALK_NEXT});
}

int order_walk_prev(struct order_walk *walk)
{
	if (!walk->leaf)
		return -ENOENT;
	if (walk->index > 0 && is_current(walk) && walk_decode(walk, walk->index - 1))
		return 0;
	return walk_go(walk, &(struct walk_move){.to = WALK_PREV});
}

size_t order_walk_take(struct order_walk *walk, size_t max, uint8_t *keys, size_t room,
	size_t *starts, uint64_t *addresses)
{
	const struct order_node *node = &walk->copy.node;
	size_t prefix = node->prefix_size, taken = 0;

	if (!walk->leaf || !is_current(walk))
		return 0;
	while (taken < max && walk->index + taken < node->count) {
		uint64_t slot = order_slots(node)[walk->index + taken], head = htobe64(slot);
		const uint8_t *item = (const uint8_t *)node + (slot & 0xffff);
		uint8_t *key;

		if (item[0] == ORDER_LONG_MARK || starts[taken] + TAKE_ROOM > room)
			break;
		key = keys + starts[taken];
		if (prefix <= 16)
			memcpy(key, node->bytes, 16);
		else
			memcpy(key, node->bytes, prefix);
		memcpy(key + prefix, &head, sizeof(head));
		if (item[0] > ORDER_HEAD_SIZE)
			copy_rest(key + prefix + ORDER_HEAD_SIZE, item);
		addresses[taken] = order_item_address(item);
		starts[taken + 1] = starts[taken] + prefix + item[0];
		taken++;
	}
	if (taken > 1)
		(void)walk_decode(walk, walk->index + (unsigned)taken - 1);
	return taken;
}

const void *order_walk_key(const struct order_walk *walk, size_t *key_size)
{
	*key_size = walk->leaf ? walk->key_size : 0;
	return walk->leaf ? walk->key : NULL;
}

uint64_t order_walk_address(const struct order_walk *walk)
{
	return walk->leaf ? walk->address : 0;
}

bool order_walk_is_current(const struct order_walk *walk)
{
	return walk->leaf && is_current(walk);
}

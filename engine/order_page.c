/* SPDX-License-Identifier: MIT */
/*
 * order_page.c - the keys in a node (drawn in order_node.h): search, insert, remove, and building
 * pages anew.
 *
 * A page's prefix is common to all its keys and is only as long as it was when the page was built;
 * building it again with the longest prefix, and without the garbage that removals left in the
 * heap, is how room is regained. Slots are in key order; keys with equal heads are told apart by
 * the rest of the key. A head is padded with zeros, so that of two keys with equal heads of which
 * one ends within the head, the shorter is a prefix of the other, and less.
 */
#include "order_node.h"

/* Copies few bytes by two words that may overlap: most are fewer than a call of memcpy is worth. */
static inline void copy_few(uint8_t *to, const uint8_t *from, unsigned size)
{
	if (size > 32) {
		memcpy(to, from, size);
	} else if (size >= 16) {
		memcpy(to, from, 16);
		memcpy(to + size - 16, from + size - 16, 16);
	} else if (size >= 8) {
		memcpy(to, from, 8);
		memcpy(to + size - 8, from + size - 8, 8);
	} else if (size >= 4) {
		memcpy(to, from, 4);
		memcpy(to + size - 4, from + size - 4, 4);
	} else {
		for (unsigned i = 0; i < size; i++)
			to[i] = from[i];
	}
}

/* ---- reading ------------------------------------------------------------------------------ */

struct long_ref {
	struct order_long *held;
	uint16_t size; /* of the key, at most the long key's own: a separator shares a part of it */
};

static struct long_ref load_long(const uint8_t *at)
{
	struct long_ref ref;

	memcpy(&ref.held, at, sizeof(ref.held));
	memcpy(&ref.size, at + sizeof(ref.held), sizeof(ref.size));
	return ref;
}

/* The size of a key behind the prefix, and the bytes behind its head (if it is longer than the
 * head). */
static inline size_t item_tail(
	const struct order_node *node, const uint8_t *item, const uint8_t **rest)
{
	const uint8_t *payload = item + 1 + order_value_size(node->level);
	struct long_ref ref;

	if (item[0] != ORDER_LONG_MARK) {
		*rest = payload;
		return item[0];
	}
	ref = load_long(payload);
	*rest = ref.held->bytes + node->prefix_size + ORDER_HEAD_SIZE;
	return (size_t)ref.size - node->prefix_size;
}

/* Compares a key with one behind the prefix, when their heads are equal. */
static int compare_tail(
	const struct order_node *node, unsigned index, const uint8_t *tail, size_t tail_size)
{
	const uint8_t *rest;
	size_t size = item_tail(node, order_item(node, index), &rest);
	size_t shorter = size < tail_size ? size : tail_size;

	if (shorter > ORDER_HEAD_SIZE) {
		int order = memcmp(rest, tail + ORDER_HEAD_SIZE, shorter - ORDER_HEAD_SIZE);

		if (order)
			return order;
	}
	return size < tail_size ? -1 : size > tail_size;
}

/* The first slot that is not less than the bound. Compiles to conditional moves. */
static inline unsigned lower_bound(const uint64_t *slots, unsigned count, uint64_t bound)
{
	const uint64_t *base = slots;

	if (!count)
		return 0;
	while (count > 1) {
		unsigned half = count / 2;

		base = base[half - 1] < bound ? base + half : base;
		count -= half;
	}
	return (unsigned)(base - slots) + (*base < bound);
}

unsigned order_page_find(
	const struct order_node *node, const uint8_t *key, size_t size, bool *exact)
{
	const uint64_t *slots = order_slots(node);
	unsigned prefix = node->prefix_size, count = node->count, low, high;
	uint64_t head;

	*exact = false;
	if (prefix) {
		int order = memcmp(key, node->bytes, size < prefix ? size : prefix);

		if (order)
			return order < 0 ? 0 : count;
		if (size < prefix)
			return 0;
	}
	key += prefix;
	size -= prefix;
	head = order_head(key, size);
	/* Keys that come in order go behind all others. */
	if (count && slots[count - 1] >> 16 < head)
		return count;
	low = lower_bound(slots, count, head << 16);
	if (low == count || slots[low] >> 16 != head)
		return low;
	high = low + 1;
	if (high < count && slots[high] >> 16 == head)
		high = low + lower_bound(slots + low, count - low, head << 16 | 0xffff);
	while (low < high) {
		unsigned middle = (low + high) / 2;
		int order = compare_tail(node, middle, key, size);

		if (!order) {
			*exact = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

size_t order_page_key_size(const struct order_node *node, unsigned index)
{
	const uint8_t *rest;

	return node->prefix_size + item_tail(node, order_item(node, index), &rest);
}

struct order_long *order_page_long(const struct order_node *node, unsigned index)
{
	const uint8_t *item = order_item(node, index);

	if (item[0] != ORDER_LONG_MARK)
		return NULL;
	return load_long(item + 1 + order_value_size(node->level)).held;
}

size_t order_page_key(const struct order_node *node, unsigned index, uint8_t *out, size_t max)
{
	uint64_t slot = order_slots(node)[index], head = htobe64(slot >> 16 << 16);
	uint8_t short_key[ORDER_INLINE_MAX + 8];
	struct order_long *held = order_page_long(node, index);
	const uint8_t *rest, *from = short_key;
	size_t tail = item_tail(node, order_item(node, index), &rest);
	size_t size = node->prefix_size + tail;

	if (held) {
		from = held->bytes;
	} else {
		memcpy(short_key, node->bytes, node->prefix_size);
		memcpy(short_key + node->prefix_size, &head, 8);
		if (tail > ORDER_HEAD_SIZE)
			memcpy(short_key + node->prefix_size + ORDER_HEAD_SIZE, rest,
				tail - ORDER_HEAD_SIZE);
	}
	if (size > max)
		size = max;
	memcpy(out, from, size);
	return size;
}

/* ---- changing ----------------------------------------------------------------------------- */

void order_page_init(struct order_node *node, unsigned level, unsigned prefix_size)
{
	node->count = 0;
	node->prefix_size = (uint16_t)prefix_size;
	node->heap = node->heap_end = (uint16_t)order_heap_end(level);
	node->garbage = 0;
	node->level = (uint8_t)level;
	node->run = 0;
	node->last_insert = 0;
}

static unsigned page_room(const struct order_node *node)
{
	return node->heap - order_slots_start(node->prefix_size) -
	       node->count * (unsigned)sizeof(uint64_t);
}

unsigned order_page_used(const struct order_node *node)
{
	return node->heap_end - order_slots_start(0) - page_room(node) - node->garbage;
}

bool order_page_fits(const struct order_node *node, const uint8_t *key, size_t size)
{
	return size >= node->prefix_size && !memcmp(key, node->bytes, node->prefix_size) &&
	       order_cost(node->level, size, node->prefix_size) <= page_room(node);
}

static void store_slot(
	struct order_node *node, unsigned index, const uint8_t *tail, size_t tail_size)
{
	order_slots(node)[index] = order_head(tail, tail_size) << 16 | node->heap;
}

static void store_long(uint8_t *at, struct order_long *held, size_t size)
{
	uint16_t size16 = (uint16_t)size;

	memcpy(at, &held, sizeof(held));
	memcpy(at + sizeof(held), &size16, sizeof(size16));
}

void order_page_insert(
	struct order_node *node, unsigned index, const struct order_key *key, uint64_t address)
{
	unsigned prefix = node->prefix_size, value_size = order_value_size(node->level);
	const uint8_t *tail = key->bytes + prefix;
	size_t tail_size = key->size - prefix;
	uint64_t *slots = order_slots(node);
	uint8_t *item;

	node->heap -= (uint16_t)order_item_size(node->level, key->size, prefix);
	item = (uint8_t *)node + node->heap;
	if (value_size)
		order_item_set_address(item, address);
	if (key->held) {
		item[0] = ORDER_LONG_MARK;
		store_long(item + 1 + value_size, key->held, key->size);
	} else {
		item[0] = (uint8_t)tail_size;
		if (tail_size > ORDER_HEAD_SIZE)
			memcpy(item + 1 + value_size, tail + ORDER_HEAD_SIZE,
				tail_size - ORDER_HEAD_SIZE);
	}
	memmove(slots + index + 1, slots + index, (node->count - index) * sizeof(*slots));
	store_slot(node, index, tail, tail_size);
	node->count++;
}

/* As !memcmp, without a call for what is usual. */
static inline bool is_same(const uint8_t *a, const uint8_t *b, unsigned size)
{
	uint64_t a_first, a_last, b_first, b_last;

	if (size < 8 || size > 16)
		return !memcmp(a, b, size);
	memcpy(&a_first, a, 8);
	memcpy(&b_first, b, 8);
	memcpy(&a_last, a + size - 8, 8);
	memcpy(&b_last, b + size - 8, 8);
	return !((a_first ^ b_first) | (a_last ^ b_last));
}

bool order_page_takes_behind(
	const struct order_node *leaf, const uint8_t *key, size_t size, uint64_t *head)
{
	unsigned prefix = leaf->prefix_size, count = leaf->count;

	if (!count || size < prefix || size > ORDER_INLINE_MAX ||
	    !is_same(key, leaf->bytes, prefix))
		return false;
	*head = order_head(key + prefix, size - prefix);
	return order_slots(leaf)[count - 1] >> 16 < *head &&
	       order_cost(0, size, prefix) <= page_room(leaf);
}

void order_page_put_behind(struct order_node *leaf, const uint8_t *key, size_t size, uint64_t head,
	uint64_t address)
{
	unsigned prefix = leaf->prefix_size, tail_size = (unsigned)size - prefix;
	uint8_t *item;

	leaf->heap -= (uint16_t)order_item_size(0, size, prefix);
	item = (uint8_t *)leaf + leaf->heap;
	item[0] = (uint8_t)tail_size;
	order_item_set_address(item, address);
	if (tail_size > ORDER_HEAD_SIZE)
		copy_few(item + 1 + ORDER_ADDRESS_SIZE, key + prefix + ORDER_HEAD_SIZE,
			tail_size - ORDER_HEAD_SIZE);
	order_slots(leaf)[leaf->count++] = head << 16 | leaf->heap;
}

struct order_long *order_page_remove(struct order_node *node, unsigned index)
{
	uint64_t *slots = order_slots(node);
	unsigned offset = (unsigned)(slots[index] & 0xffff);
	struct order_long *held = order_page_long(node, index);
	unsigned size =
		order_item_size(node->level, order_page_key_size(node, index), node->prefix_size);

	node->count--;
	memmove(slots + index, slots + index + 1, (node->count - index) * sizeof(*slots));
	if (!node->count) {
		node->prefix_size = 0;
		node->heap = node->heap_end;
		node->garbage = 0;
	} else if (offset == node->heap) {
		node->heap += (uint16_t)size;
	} else {
		node->garbage += (uint16_t)size;
	}
	return held;
}

/* ---- building ----------------------------------------------------------------------------- */

unsigned order_page_common(const struct order_item_ref *first, const struct order_item_ref *last)
{
	uint8_t a[ORDER_INLINE_MAX], b[ORDER_INLINE_MAX];
	size_t a_size = order_page_key(first->node, first->index, a, sizeof(a));
	size_t b_size = order_page_key(last->node, last->index, b, sizeof(b));
	unsigned common = 0;

	while (common < a_size && common < b_size && a[common] == b[common])
		common++;
	return common;
}

static bool page_would_fit(unsigned level, const struct order_item_ref *items, unsigned count,
	unsigned spare, unsigned prefix)
{
	unsigned used = order_slots_start(prefix) + spare, end = order_heap_end(level);

	for (unsigned i = 0; i < count && used <= end; i++)
		used += order_cost(level, items[i].size, prefix);
	return used <= end;
}

bool order_page_choose(unsigned level, const struct order_item_ref *items, unsigned count,
	unsigned spare, unsigned *prefix)
{
	unsigned common = order_page_common(&items[0], &items[count - 1]);
	unsigned present = items[0].node->prefix_size;

	/*
	 * The longest is the best for keys that are in the page. Long keys, and one key alone, do
	 * not get smaller by it: what fits where it is must fit again, so try that prefix too.
	 */
	if (items[count - 1].node->prefix_size < present)
		present = items[count - 1].node->prefix_size;
	*prefix = common;
	if (page_would_fit(level, items, count, spare, common))
		return true;
	if (present >= common || !page_would_fit(level, items, count, spare, present))
		return false;
	*prefix = present;
	return true;
}

void order_page_gather(
	const struct order_node *node, unsigned from, unsigned to, struct order_item_ref *out)
{
	for (unsigned i = from; i < to; i++, out++) {
		out->node = node;
		out->index = (uint16_t)i;
		out->size = (uint16_t)order_page_key_size(node, i);
	}
}

/* Appends a copy of an item whose page has the same prefix, or whose key is a long one. */
static inline void page_append(
	struct order_node *node, const struct order_item_ref *ref, uint64_t head)
{
	unsigned size = order_item_size(node->level, ref->size, node->prefix_size);

	node->heap -= (uint16_t)size;
	copy_few((uint8_t *)node + node->heap, order_item(ref->node, ref->index), size);
	order_slots(node)[node->count++] = head << 16 | node->heap;
}

/* Appends a copy of an item whose page has another prefix: some of it goes over to the key, or
 * comes from there. */
static void page_recode(struct order_node *node, const struct order_item_ref *ref)
{
	uint8_t bytes[ORDER_INLINE_MAX + 16];
	const struct order_node *from = ref->node;
	unsigned shared = from->prefix_size, prefix = node->prefix_size, size = ref->size - prefix;
	unsigned fixed = 1 + order_value_size(node->level);
	const uint8_t *source = order_item(from, ref->index), *tail = bytes;
	uint64_t head = htobe64(order_slots(from)[ref->index]);
	uint8_t *item;

	if (prefix < shared)
		copy_few(bytes, from->bytes + prefix, shared - prefix);
	else
		tail += prefix - shared;
	item = bytes + (prefix < shared ? shared - prefix : 0);
	memcpy(item, &head, sizeof(head));
	if (source[0] > ORDER_HEAD_SIZE)
		copy_few(item + ORDER_HEAD_SIZE, source + fixed, source[0] - ORDER_HEAD_SIZE);
	node->heap -= (uint16_t)order_item_size(node->level, ref->size, prefix);
	item = (uint8_t *)node + node->heap;
	item[0] = (uint8_t)size;
	copy_few(item + 1, source + 1, fixed - 1);
	if (size > ORDER_HEAD_SIZE)
		copy_few(item + fixed, tail + ORDER_HEAD_SIZE, size - ORDER_HEAD_SIZE);
	order_slots(node)[node->count++] = order_head(tail, size) << 16 | node->heap;
}

void order_page_build(struct order_node *node, unsigned level, const struct order_item_ref *items,
	unsigned count, unsigned prefix_size)
{
	order_page_init(node, level, prefix_size);
	if (count)
		order_page_key(items[0].node, items[0].index, node->bytes, prefix_size);
	for (unsigned i = 0; i < count; i++) {
		const struct order_item_ref *ref = &items[i];
		struct order_long *held = NULL;

		if (ref->size > ORDER_INLINE_MAX)
			held = order_page_long(ref->node, ref->index);
		if (held)
			page_append(node, ref,
				order_head(held->bytes + prefix_size, ref->size - prefix_size));
		else if (ref->node->prefix_size == prefix_size)
			page_append(node, ref, order_slots(ref->node)[ref->index] >> 16);
		else
			page_recode(node, ref);
	}
}

void order_page_copy(struct order_node *dst, const struct order_node *src)
{
	size_t slots = src->count * sizeof(uint64_t);

	dst->count = src->count;
	dst->prefix_size = src->prefix_size;
	dst->heap = src->heap;
	dst->heap_end = src->heap_end;
	dst->garbage = src->garbage;
	dst->level = src->level;
	dst->run = src->run;
	dst->last_insert = src->last_insert;
	memcpy(dst->bytes, src->bytes, src->prefix_size);
	memcpy(order_slots(dst), order_slots(src), slots);
	memcpy((uint8_t *)dst + src->heap, (const uint8_t *)src + src->heap,
		src->heap_end - src->heap);
}

void order_page_separator(struct order_node *node, const struct order_item_ref *left,
	const struct order_item_ref *right)
{
	struct order_long *left_long = order_page_long(left->node, left->index);
	struct order_long *right_long = order_page_long(right->node, right->index);
	uint8_t bytes[ORDER_INLINE_MAX];
	struct order_key key = {bytes, order_page_common(left, right), NULL};

	/* Only two long keys can have more in common than a page's prefix can hold. */
	if (left_long && right_long) {
		while (key.size < left->size &&
			left_long->bytes[key.size] == right_long->bytes[key.size])
			key.size++;
	}
	key.size++; /* left < right: right goes on behind what they have in common */
	if (key.size > ORDER_INLINE_MAX) {
		key.held = right_long;
		key.bytes = right_long->bytes;
		right_long->refs++;
	} else {
		order_page_key(right->node, right->index, bytes, key.size);
	}
	order_page_init(node, 1, 0);
	order_page_insert(node, 0, &key, 0);
}

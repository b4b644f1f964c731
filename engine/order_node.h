/* SPDX-License-Identifier: MIT */
/*
 * order_node.h - inside the ordered index: nodes, the memory they live in, and the gate between
 * readers and the writer.
 *
 * Only the order_*.c files and their test include this. Ranks, each using only those before it:
 * gate, pool, page (the keys in a node), branch (children), order (leaves, put and delete); find,
 * walk and verify read.
 *
 * A node is 4 KiB. Its keys share a prefix, which is stored once; the 6 bytes behind it, the head,
 * sit in the key's slot above the offset of the rest, so that a search compares integers in one
 * array:
 *
 *   0         46               slots                   heap              heap_end     4096
 *   +---------+--------+- -----+--------+--------+-- --+------+------+---+-----------+
 *   | header  | prefix | pad 8 | slot 0 | slot 1 | ... | free | item | . | children  |
 *   +---------+--------+-------+--------+--------+-----+------+------+---+-----------+
 *   slot   head (48 bits, big-endian order, zero-padded) << 16 | offset of the item in the node
 *   item   size of the key behind the prefix (1), address (6, in leaves only), key behind the head
 *          or 255 (1), address (6, in leaves only), struct order_long * (8), key's size (2)
 *
 * Leaves use all of it (heap_end = 4096), branches keep the counts of and pointers to their
 * children behind heap_end: child i holds the keys k with key i-1 <= k < key i of the branch.
 */
#ifndef ORDER_NODE_H
#define ORDER_NODE_H

#include <endian.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "order.h"

#define ORDER_NODE_SIZE 4096u
#define ORDER_HEAD_SIZE 6u
#define ORDER_INLINE_MAX                                                                           \
	253u /* a longer key is held outside of the node; also the longest prefix */
#define ORDER_LONG_MARK 255u
#define ORDER_LONG_SIZE 10u /* bytes of a reference to a long key */
#define ORDER_ADDRESS_SIZE 6u
#ifndef ORDER_CHILDREN_MAX /* tests/crash/small.h */
#define ORDER_CHILDREN_MAX 128u
#endif
#define ORDER_PREFETCH_LINES 18u /* header and slots of a leaf of 140 keys */
#define ORDER_DEPTH_MAX 32u      /* levels of branches */
#define ORDER_LEAF_KEYS_MAX ((ORDER_NODE_SIZE - 48u) / (8u + 1u + ORDER_ADDRESS_SIZE))

/* ---- gate (order_gate.c) ------------------------------------------------------------------ */

#define ORDER_GATE_LANES 8u

/*
 * Readers count themselves in and out of a lane of their own, the writer closes the gate and waits
 * until all lanes are empty. Both sides stay inside for microseconds only: whoever has to wait
 * spins, then yields, then sleeps.
 */
struct order_gate {
	_Alignas(64) atomic_uint
		closed; /* pairs with the lanes: each side writes its own, then reads the other's */
	struct {
		_Alignas(64) atomic_uint readers;
	} lanes[ORDER_GATE_LANES];
};

unsigned order_gate_enter(struct order_gate *gate); /* the lane, for leave */
void order_gate_leave(struct order_gate *gate, unsigned lane);
void order_gate_close(struct order_gate *gate);
void order_gate_open(struct order_gate *gate);

/* ---- nodes -------------------------------------------------------------------------------- */

struct order_chunk;

/* A key that is too long for a node; leaves and branches share it. The writer's. */
struct order_long {
	struct order_long *prev, *next; /* all of the pool's */
	struct order_spare *spare;      /* what it was cut from; NULL: allocated alone */
	uint32_t refs;
	uint32_t size; /* bytes */
	uint8_t bytes[];
};

struct order_node {
	/*
	 * The version of the last change to this node, as a leaf: it never repeats, survives the
	 * node's reuse, and is read by walks without entering the gate.
	 */
	_Atomic uint64_t version;
	struct order_chunk *chunk;
	struct order_node *prev,
		*next;  /* leaf: its neighbours; free node: next is the next free one */
	uint16_t count; /* keys */
	uint16_t prefix_size;
	uint16_t heap, heap_end; /* offsets */
	uint16_t garbage;        /* bytes of removed items in the heap */
	uint8_t level;           /* 0: leaf */
	int8_t run; /* leaf: how many inserts in a row went behind (> 0) or before (< 0) the last
		       one */
	uint16_t last_insert; /* leaf: slot of the last insert */
	uint8_t bytes[];
};

struct order_children {
	uint64_t counts[ORDER_CHILDREN_MAX]; /* keys below the child */
	struct order_node *nodes[ORDER_CHILDREN_MAX];
};

#define ORDER_BRANCH_HEAP_END (ORDER_NODE_SIZE - (unsigned)sizeof(struct order_children))

_Static_assert(offsetof(struct order_node, bytes) == 46, "the drawing above");
_Static_assert(ORDER_NODE_SIZE < 65535, "an offset is 16 bits, 65535 is none");

static inline struct order_children *order_children(const struct order_node *node)
{
	return (struct order_children *)((uint8_t *)node + ORDER_BRANCH_HEAP_END);
}

static inline unsigned order_slots_start(unsigned prefix_size)
{
	return (unsigned)(offsetof(struct order_node, bytes) + prefix_size + 7) & ~7u;
}

static inline uint64_t *order_slots(const struct order_node *node)
{
	return (uint64_t *)((uint8_t *)node + order_slots_start(node->prefix_size));
}

static inline uint8_t *order_item(const struct order_node *node, unsigned index)
{
	return (uint8_t *)node + (order_slots(node)[index] & 0xffff);
}

/*
 * Asks for the lines of a node that a search may touch, all at once: a leaf is seldom in the cache,
 * and a binary search would wait for one line after the other.
 */
static inline void order_prefetch(const struct order_node *node)
{
	for (unsigned line = 0; line < ORDER_PREFETCH_LINES; line++)
		__builtin_prefetch((const uint8_t *)node + 64 * line);
}

static inline unsigned order_value_size(unsigned level)
{
	return level ? 0 : ORDER_ADDRESS_SIZE;
}

static inline unsigned order_heap_end(unsigned level)
{
	return level ? ORDER_BRANCH_HEAP_END : ORDER_NODE_SIZE;
}

/* The first 6 bytes as a number that compares as they do; missing ones are zero. */
static inline uint64_t order_head(const uint8_t *bytes, size_t size)
{
	uint64_t head = 0;
	uint32_t first, last;

	if (size >= 8) {
		memcpy(&head, bytes, 8);
		return be64toh(head) >> 16;
	}
	/* Two words that may overlap. */
	if (size >= 4) {
		memcpy(&first, bytes, 4);
		memcpy(&last, bytes + size - 4, 4);
		return ((uint64_t)be32toh(first) << 32 | (uint64_t)be32toh(last)
								 << (64 - 8 * size)) >>
		       16;
	}
	for (unsigned i = 0; i < ORDER_HEAD_SIZE; i++)
		head = head << 8 | (i < size ? bytes[i] : 0);
	return head;
}

/* Bytes that an item takes; `size` is the key's. */
static inline unsigned order_item_size(unsigned level, size_t size, unsigned prefix_size)
{
	unsigned fixed = 1 + order_value_size(level), head_end = prefix_size + ORDER_HEAD_SIZE;

	if (size > ORDER_INLINE_MAX)
		return fixed + ORDER_LONG_SIZE;
	return fixed + (size > head_end ? (unsigned)size - head_end : 0);
}

/* The room that it takes with its slot. */
static inline unsigned order_cost(unsigned level, size_t size, unsigned prefix_size)
{
	return (unsigned)sizeof(uint64_t) + order_item_size(level, size, prefix_size);
}

static inline uint64_t order_item_address(const uint8_t *item)
{
	uint32_t low;
	uint16_t high;

	memcpy(&low, item + 1, 4);
	memcpy(&high, item + 5, 2);
	return (uint64_t)high << 32 | low;
}

static inline void order_item_set_address(uint8_t *item, uint64_t address)
{
	uint32_t low = (uint32_t)address;
	uint16_t high = (uint16_t)(address >> 32);

	memcpy(item + 1, &low, 4);
	memcpy(item + 5, &high, 2);
}

/* ---- pool (order_pool.c) ------------------------------------------------------------------ */

struct order_chunk_list {
	struct order_chunk *first;
};

struct order_pool {
	/* Where memory comes from; tests put failing ones here. */
	void *(*map)(size_t size); /* zeroed, NULL */
	void *(*alloc)(size_t size);
	struct order_chunk_list partial, empty, full;
	size_t available;  /* nodes that can be taken without asking for memory */
	size_t chunk_size; /* bytes of the next chunk */
	unsigned dirty;    /* chunks that are empty but still have their memory */
	struct order_long *longs;
	struct order_spare *spare; /* for long keys when alloc fails */
	_Atomic uint64_t bytes;
};

void order_pool_init(struct order_pool *pool);
void order_pool_fini(struct order_pool *pool);
/* Makes `nodes` order_pool_take possible. -ENOMEM */
int order_pool_ensure(struct order_pool *pool, size_t nodes);
/* Has the system provide the page of the node that order_pool_take will return. One is available.
 */
void order_pool_touch(struct order_pool *pool);
/* A node for which order_pool_ensure made room: never fails. Its fields are undefined, but not its
 * version. */
struct order_node *order_pool_take(struct order_pool *pool, unsigned level);
void order_pool_give(struct order_pool *pool, struct order_node *node);
/* Gives the memory of chunks that became empty back to the system. */
void order_pool_trim(struct order_pool *pool);
int order_pool_ensure_long(struct order_pool *pool, size_t count, size_t key_bytes);
struct order_long *order_pool_long_new(struct order_pool *pool, const void *key, size_t size);
void order_pool_long_put(
	struct order_pool *pool, struct order_long *held); /* drops one reference */

/* ---- page (order_page.c) ------------------------------------------------------------------ */

/* A key to be stored; `held` if it is longer than ORDER_INLINE_MAX, and the page then owns one
 * reference. */
struct order_key {
	const uint8_t *bytes;
	size_t size;
	struct order_long *held;
};

/* A key that is already in a node. */
struct order_item_ref {
	const struct order_node *node;
	uint16_t index;
	uint16_t size; /* of the whole key */
};

/* An empty page; the prefix is to be filled in. */
void order_page_init(struct order_node *node, unsigned level, unsigned prefix_size);
/* The index of the first key that is not less. */
unsigned order_page_find(
	const struct order_node *node, const uint8_t *key, size_t size, bool *exact);
bool order_page_fits(const struct order_node *node, const uint8_t *key, size_t size);
void order_page_insert(
	struct order_node *node, unsigned index, const struct order_key *key, uint64_t address);
/*
 * The usual case of keys that come in order, in few steps: is a key greater than all in a leaf, by
 * its head already, and of a size and beginning for which there is room as the leaf is? Then it is
 * put behind them.
 */
bool order_page_takes_behind(
	const struct order_node *leaf, const uint8_t *key, size_t size, uint64_t *head);
void order_page_put_behind(struct order_node *leaf, const uint8_t *key, size_t size, uint64_t head,
	uint64_t address);
/* The reference to a long key is the caller's to drop: returned, NULL for others. */
struct order_long *order_page_remove(struct order_node *node, unsigned index);
unsigned order_page_used(const struct order_node *node);

size_t order_page_key_size(const struct order_node *node, unsigned index);
/* Copies the first `max` bytes of a key, returns how many. */
size_t order_page_key(const struct order_node *node, unsigned index, uint8_t *out, size_t max);
/* NULL unless the key is a long one. */
struct order_long *order_page_long(const struct order_node *node, unsigned index);

/* The longest prefix that a page of these keys could have. */
unsigned order_page_common(const struct order_item_ref *first, const struct order_item_ref *last);
/* A prefix with which a page of these keys has `spare` bytes left; false: there is none. */
bool order_page_choose(unsigned level, const struct order_item_ref *items, unsigned count,
	unsigned spare, unsigned *prefix);
void order_page_gather(
	const struct order_node *node, unsigned from, unsigned to, struct order_item_ref *out);
/* A page of these keys, which are in other nodes; they fit. References to long keys move with them.
 */
void order_page_build(struct order_node *node, unsigned level, const struct order_item_ref *items,
	unsigned count, unsigned prefix_size);
/* Makes dst's keys those of src. */
void order_page_copy(struct order_node *dst, const struct order_node *src);
/* A page with nothing but the shortest key s with left < s <= right. */
void order_page_separator(struct order_node *node, const struct order_item_ref *left,
	const struct order_item_ref *right);

/* ---- the tree ----------------------------------------------------------------------------- */

/* The way from the root to a leaf: at each level a branch and which of its children. */
struct order_step {
	struct order_node *node;
	unsigned child;
};

/* One thread's worth of working space; the writer's. */
struct order_scratch {
	struct order_item_ref items[2 * ORDER_LEAF_KEYS_MAX + 2];
	_Alignas(8) uint8_t pages[8][ORDER_NODE_SIZE];
};

struct order {
	struct order_gate gate;
	/* Guarded by the gate for readers; the writer, being alone, reads them freely. So are all
	 * nodes. The ends are atomic for walks that stand there and look without it. */
	struct order_node *root;
	_Atomic(struct order_node *) first, last;
	unsigned depth; /* levels of branches */
	_Atomic uint64_t count;

	/* The writer's own. */
	uint64_t version;
	struct order_pool pool;
	struct order_step
		path[ORDER_DEPTH_MAX + 1]; /* [level], of the last descent; [0] is the leaf */
	bool path_valid;                   /* no node has changed its place since */
	unsigned streak; /* above 0: writes keep coming to the same leaf, look there first */
	struct order_scratch *scratch;
};

static inline struct order_node *order_scratch_page(struct order *order, unsigned number)
{
	return (struct order_node *)order->scratch->pages[number];
}

/* Which pages of the scratch are for what. */
enum {
	ORDER_SCRATCH_KEY,
	ORDER_SCRATCH_SEPARATOR,
	ORDER_SCRATCH_PROMOTED = 3,
	ORDER_SCRATCH_OUT = 5
};

/* ---- branch (order_branch.c) -------------------------------------------------------------- */

/* Children [at, at + removed) of a branch become `nodes`; nodes[i] with i > 0 starts at
 * separators[i - 1]. */
struct order_edit {
	unsigned at, removed, added;
	struct order_node *nodes[3];
	const struct order_node *separators[2]; /* pages of one key */
};

/* The keys below a node. */
uint64_t order_subtree(const struct order_node *node);
/* Edits the branch at a level of the path (a new root beyond the last), splits it if need be. */
void order_branch_edit(struct order *order, unsigned level, const struct order_edit *edit);
/* After children went away: merges the branch at this level of the path with a sibling, if that
 * fits. */
void order_branch_shrink(struct order *order, unsigned level);
/* Removes the child at this level of the path. */
void order_branch_remove(struct order *order, unsigned level);
/* The child of a branch that has this key. */
unsigned order_branch_child(const struct order_node *node, const uint8_t *key, size_t size);

/* ---- leaf (order_leaf.c) ------------------------------------------------------------------ */

/* Inserts a key for which the leaf at the end of the path has no room, or the wrong prefix. Nodes
 * that it may need, depth + 2, are available. The counts above the leaf's parent are already right.
 */
void order_leaf_overflow(
	struct order *order, unsigned index, const struct order_key *key, uint64_t address);
/* After a removal from the leaf at the end of the path: merges it with a sibling if both are rather
 * empty. */
void order_leaf_shrink(struct order *order);
/* A leaf has changed: walks that hold a copy of it will see that. */
void order_leaf_touch(struct order *order, struct order_node *leaf);

/* ---- find (order_find.c) ------------------------------------------------------------------ */

/* Callers are inside the gate. A place in the tree; the leaf is NULL when there is none. */
struct order_place {
	struct order_node *leaf;
	unsigned index;
};

enum order_where { ORDER_AT_LEAST, ORDER_ABOVE, ORDER_BELOW };

void order_find(const struct order *order, enum order_where where, const uint8_t *key, size_t size,
	struct order_place *out);
void order_find_position(const struct order *order, uint64_t position, struct order_place *out);

#endif

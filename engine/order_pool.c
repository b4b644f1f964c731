/* SPDX-License-Identifier: MIT */
/*
 * order_pool.c - the memory of an ordered index: nodes from large aligned chunks, and keys too long
 * for a node.
 *
 * A chunk is a mapping cut into nodes. The first is 64 KiB, each next one twice as large up to 2
 * MiB, a huge page. Nodes are taken from partly used chunks first, so that others can become empty;
 * an empty chunk keeps its addresses (walks look at the version of nodes that may be gone) but
 * gives its memory back.
 *
 * What the store reserves must be there when it is needed: nodes are counted as available once they
 * are mapped, and for long keys, which normally come one by one from the allocator, a spare block
 * stands by for when the allocator fails. Only the writer comes here; `bytes` is read by anyone.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "order_node.h"

#define CHUNK_SIZE_MIN ((size_t)64 << 10)
#define CHUNK_SIZE_MAX ((size_t)2 << 20)

struct order_chunk {
	struct order_chunk *prev, *next;
	struct order_chunk_list *list;
	uint8_t *memory;
	size_t size;                 /* bytes */
	uint32_t nodes, fresh, used; /* in all, never taken yet from here on, taken now */
	struct order_node *free;     /* given back */
	bool dirty;                  /* empty, but its memory is still there */
};

static void spare_drop(struct order_pool *pool, struct order_spare *spare);

static void *pool_map(size_t size)
{
	size_t align = size < CHUNK_SIZE_MAX ? size : CHUNK_SIZE_MAX, lead;
	uint8_t *memory = mmap(NULL, size + align, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED)
		return NULL;
	lead = -(uintptr_t)memory & (align - 1);
	if (lead)
		munmap(memory, lead);
	if (align - lead)
		munmap(memory + lead + size, align - lead);
	if (size >= CHUNK_SIZE_MAX)
		madvise(memory + lead, size, MADV_HUGEPAGE);
	return memory + lead;
}

static void chunk_move(struct order_chunk *chunk, struct order_chunk_list *list)
{
	if (chunk->list) {
		if (chunk->prev)
			chunk->prev->next = chunk->next;
		else
			chunk->list->first = chunk->next;
		if (chunk->next)
			chunk->next->prev = chunk->prev;
	}
	chunk->list = list;
	chunk->prev = NULL;
	chunk->next = list->first;
	if (chunk->next)
		chunk->next->prev = chunk;
	list->first = chunk;
}

void order_pool_init(struct order_pool *pool)
{
	*pool = (struct order_pool){.map = pool_map, .alloc = malloc, .chunk_size = CHUNK_SIZE_MIN};
}

static void pool_free_list(struct order_chunk_list *list)
{
	struct order_chunk *chunk;

	while ((chunk = list->first)) {
		list->first = chunk->next;
		munmap(chunk->memory, chunk->size);
		free(chunk);
	}
}

void order_pool_fini(struct order_pool *pool)
{
	pool_free_list(&pool->partial);
	pool_free_list(&pool->empty);
	pool_free_list(&pool->full);
	while (pool->longs) {
		pool->longs->refs = 1;
		order_pool_long_put(pool, pool->longs);
	}
	spare_drop(pool, pool->spare);
}

/* ---- nodes -------------------------------------------------------------------------------- */

/* Cuts memory into chunks; what could not be made a chunk is given back. */
static int pool_add(struct order_pool *pool, uint8_t *memory, size_t size, size_t chunk_size)
{
	while (size) {
		struct order_chunk *chunk = pool->alloc(sizeof(*chunk));

		if (!chunk) {
			munmap(memory, size);
			return -ENOMEM;
		}
		*chunk = (struct order_chunk){.memory = memory,
			.size = chunk_size,
			.nodes = (uint32_t)(chunk_size / ORDER_NODE_SIZE)};
		chunk_move(chunk, &pool->empty);
		pool->available += chunk->nodes;
		memory += chunk_size;
		size -= chunk_size;
	}
	return 0;
}

int order_pool_ensure(struct order_pool *pool, size_t nodes)
{
	while (pool->available < nodes) {
		size_t missing = (nodes - pool->available) * ORDER_NODE_SIZE, chunk_size, size;
		uint8_t *memory;
		int ret;

		chunk_size = size = pool->chunk_size;
		if (size == CHUNK_SIZE_MAX && missing > size)
			size = (missing + CHUNK_SIZE_MAX - 1) & ~(CHUNK_SIZE_MAX - 1);
		memory = pool->map(size);
		if (!memory)
			return -ENOMEM;
		ret = pool_add(pool, memory, size, chunk_size);
		if (ret)
			return ret;
		if (pool->chunk_size < CHUNK_SIZE_MAX)
			pool->chunk_size *= 2;
	}
	return 0;
}

void order_pool_touch(struct order_pool *pool)
{
	struct order_chunk *chunk = pool->partial.first ? pool->partial.first : pool->empty.first;

	/* Not its version, which walks may be looking at. */
	if (!chunk->free)
		*(volatile uint8_t *)(chunk->memory + (size_t)chunk->fresh * ORDER_NODE_SIZE +
				      sizeof(struct order_node)) = 0;
}

struct order_node *order_pool_take(struct order_pool *pool, unsigned level)
{
	struct order_chunk *chunk = pool->partial.first ? pool->partial.first : pool->empty.first;
	struct order_node *node = chunk->free;

	if (node) {
		chunk->free = node->next;
	} else {
		node = (struct order_node *)(chunk->memory +
					     (size_t)chunk->fresh++ * ORDER_NODE_SIZE);
		node->chunk = chunk;
		atomic_fetch_add_explicit(&pool->bytes, ORDER_NODE_SIZE, memory_order_relaxed);
	}
	if (chunk->dirty) {
		chunk->dirty = false;
		pool->dirty--;
	}
	pool->available--;
	chunk->used++;
	chunk_move(chunk, chunk->used == chunk->nodes ? &pool->full : &pool->partial);
	order_page_init(node, level, 0);
	node->prev = node->next = NULL;
	return node;
}

void order_pool_give(struct order_pool *pool, struct order_node *node)
{
	struct order_chunk *chunk = node->chunk;

	node->next = chunk->free;
	chunk->free = node;
	chunk->used--;
	pool->available++;
	if (!chunk->used) {
		chunk->dirty = true;
		pool->dirty++;
		chunk_move(chunk, &pool->empty);
	} else if (chunk->list == &pool->full) {
		chunk_move(chunk, &pool->partial);
	}
}

void order_pool_trim(struct order_pool *pool)
{
	/* One stays as it is, so that a tree whose size wavers does not give and take all the time.
	 */
	for (struct order_chunk *chunk = pool->empty.first; chunk && pool->dirty > 1;
		chunk = chunk->next) {
		if (!chunk->dirty)
			continue;
		madvise(chunk->memory, chunk->size, MADV_DONTNEED);
		atomic_fetch_sub_explicit(&pool->bytes, (uint64_t)chunk->fresh * ORDER_NODE_SIZE,
			memory_order_relaxed);
		chunk->fresh = 0;
		chunk->free = NULL;
		chunk->dirty = false;
		pool->dirty--;
	}
}

/* ---- long keys ---------------------------------------------------------------------------- */

/* A block that long keys are cut from; the pool and each key in it hold a reference. */
struct order_spare {
	size_t refs, size, used; /* bytes */
	uint8_t bytes[];
};

static size_t long_size(size_t key_size)
{
	return (sizeof(struct order_long) + key_size + 7) & ~(size_t)7;
}

static void pool_count(struct order_pool *pool, uint64_t bytes)
{
	atomic_fetch_add_explicit(&pool->bytes, bytes, memory_order_relaxed);
}

static void spare_drop(struct order_pool *pool, struct order_spare *spare)
{
	if (!spare || --spare->refs)
		return;
	pool_count(pool, -(uint64_t)(sizeof(*spare) + spare->size));
	free(spare);
}

int order_pool_ensure_long(struct order_pool *pool, size_t count, size_t key_bytes)
{
	size_t longs = key_bytes / (ORDER_INLINE_MAX + 1), size;
	struct order_spare *spare = pool->spare;

	if (longs > count)
		longs = count;
	size = longs ? key_bytes + longs * (sizeof(struct order_long) + 8) : 0;
	if (!size || (spare && spare->size - spare->used >= size))
		return 0;
	spare = pool->alloc(sizeof(*spare) + size);
	if (!spare)
		return -ENOMEM;
	*spare = (struct order_spare){.refs = 1, .size = size};
	pool_count(pool, sizeof(*spare) + size);
	spare_drop(pool, pool->spare);
	pool->spare = spare;
	return 0;
}

struct order_long *order_pool_long_new(struct order_pool *pool, const void *key, size_t size)
{
	struct order_long *held = pool->alloc(long_size(size));
	struct order_spare *spare = NULL;

	if (held) {
		pool_count(pool, long_size(size));
	} else {
		spare = pool->spare;
		if (!spare || spare->size - spare->used < long_size(size))
			return NULL;
		held = (struct order_long *)(spare->bytes + spare->used);
		spare->used += long_size(size);
		spare->refs++;
	}
	*held = (struct order_long){
		.next = pool->longs, .spare = spare, .refs = 1, .size = (uint32_t)size};
	if (held->next)
		held->next->prev = held;
	pool->longs = held;
	memcpy(held->bytes, key, size);
	return held;
}

void order_pool_long_put(struct order_pool *pool, struct order_long *held)
{
	if (!held || --held->refs)
		return;
	if (held->prev)
		held->prev->next = held->next;
	else
		pool->longs = held->next;
	if (held->next)
		held->next->prev = held->prev;
	if (held->spare) {
		spare_drop(pool, held->spare);
		return;
	}
	pool_count(pool, -(uint64_t)long_size(held->size));
	free(held);
}

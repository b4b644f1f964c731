/* SPDX-License-Identifier: MIT */
/*
 * scratch.c - the pool that operations borrow from. A thread looks first in the slot where it found
 * one last, so each thread keeps its own, warm, without any thread having to be known here.
 */
#include "scratch.h"

#include <errno.h>
#include <stdlib.h>

static _Thread_local unsigned scratch_hint;

int scratch_pool_init(struct scratch_pool *pool, struct kv *kv)
{
	struct scratch *slots = aligned_alloc(64, SCRATCH_SLOTS * sizeof(*slots));

	if (!slots)
		return -ENOMEM;
	for (unsigned i = 0; i < SCRATCH_SLOTS; i++) {
		atomic_init(&slots[i].taken, false);
		slots[i].pooled = true;
		slots[i].kv = kv;
		slots[i].batch = NULL;
		for (unsigned k = 0; k < KEYSPACE_COUNT; k++)
			slots[i].cursors[k] = NULL;
	}
	pool->kv = kv;
	pool->slots = slots;
	return 0;
}

static void scratch_fini(struct scratch *scratch)
{
	kv_batch_free(scratch->batch);
	for (unsigned k = 0; k < KEYSPACE_COUNT; k++)
		if (scratch->cursors[k])
			kv_cursor_close(scratch->cursors[k]);
}

void scratch_pool_fini(struct scratch_pool *pool)
{
	if (!pool->slots)
		return;
	for (unsigned i = 0; i < SCRATCH_SLOTS; i++)
		scratch_fini(&pool->slots[i]);
	free(pool->slots);
}

/* More threads at once than slots. */
static int scratch_new(struct kv *kv, struct scratch **out)
{
	struct scratch *scratch = aligned_alloc(64, sizeof(*scratch));

	if (!scratch)
		return -ENOMEM;
	atomic_init(&scratch->taken, true);
	scratch->pooled = false;
	scratch->kv = kv;
	scratch->batch = NULL;
	for (unsigned k = 0; k < KEYSPACE_COUNT; k++)
		scratch->cursors[k] = NULL;
	*out = scratch;
	return 0;
}

int scratch_take(struct scratch_pool *pool, struct scratch **out)
{
	for (unsigned i = 0; i < SCRATCH_SLOTS; i++) {
		struct scratch *scratch = &pool->slots[(scratch_hint + i) % SCRATCH_SLOTS];

		if (atomic_load_explicit(&scratch->taken, memory_order_relaxed))
			continue;
		/* pairs with scratch_give */
		if (!atomic_exchange_explicit(&scratch->taken, true, memory_order_acquire)) {
			scratch_hint = (scratch_hint + i) % SCRATCH_SLOTS;
			*out = scratch;
			return 0;
		}
	}
	return scratch_new(pool->kv, out);
}

void scratch_give(struct scratch *scratch)
{
	if (scratch->batch)
		kv_batch_reset(scratch->batch);
	if (scratch->pooled) {
		/* pairs with scratch_take */
		atomic_store_explicit(&scratch->taken, false, memory_order_release);
		return;
	}
	scratch_fini(scratch);
	free(scratch);
}

int scratch_batch(struct scratch *scratch, struct kv_batch **out)
{
	int err = 0;

	if (!scratch->batch)
		err = kv_batch_new(scratch->kv, &scratch->batch);
	if (!err)
		*out = scratch->batch;
	return err;
}

int scratch_cursor(struct scratch *scratch, enum keyspace keyspace, struct kv_cursor **out)
{
	int err = 0;

	if (!scratch->cursors[keyspace])
		err = kv_cursor_open(scratch->kv, keyspace, &scratch->cursors[keyspace]);
	if (!err)
		err = kv_cursor_set_range(scratch->cursors[keyspace], NULL, 0, NULL, 0);
	if (!err)
		*out = scratch->cursors[keyspace];
	return err;
}

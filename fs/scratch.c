/* SPDX-License-Identifier: MIT */
/*
 * scratch.c - the pool that operations borrow from. A thread looks first in the slot where it found
 * one last, so each thread keeps its own, warm, without any thread having to be known here.
 */
#include "scratch.h"

#include <errno.h>
#include <stdlib.h>

static _Thread_local __attribute__((tls_model("initial-exec"))) unsigned scratch_hint;

static void scratch_init(const struct scratch_pool *pool, bool pooled, struct scratch *scratch)
{
	atomic_init(&scratch->taken, !pooled);
	scratch->pooled = pooled;
	scratch->kv = pool->kv;
	scratch->view = pool->view;
	scratch->batch = NULL;
	scratch->tallies = NULL;
	scratch->tally_count = scratch->tally_capacity = 0;
	for (unsigned k = 0; k < KEYSPACE_COUNT; k++)
		scratch->cursors[k] = NULL;
}

int scratch_pool_init(struct scratch_pool *pool, struct kv *kv, const struct kv_view *view)
{
	struct scratch *slots = NULL;

	pool->kv = kv;
	pool->view = view;
	if (!view) {
		slots = aligned_alloc(64, SCRATCH_SLOTS * sizeof(*slots));
		if (!slots)
			return -ENOMEM;
		for (unsigned i = 0; i < SCRATCH_SLOTS; i++)
			scratch_init(pool, true, &slots[i]);
	}
	pool->slots = slots;
	return 0;
}

static void scratch_fini(struct scratch *scratch)
{
	kv_batch_free(scratch->batch);
	free(scratch->tallies);
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

/* More threads at once than slots, or a view. */
static int scratch_new(const struct scratch_pool *pool, struct scratch **out)
{
	struct scratch *scratch = aligned_alloc(64, sizeof(*scratch));

	if (!scratch)
		return -ENOMEM;
	scratch_init(pool, false, scratch);
	*out = scratch;
	return 0;
}

int scratch_take(struct scratch_pool *pool, struct scratch **out)
{
	for (unsigned i = 0; pool->slots && i < SCRATCH_SLOTS; i++) {
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
	return scratch_new(pool, out);
}

void scratch_give(struct scratch *scratch)
{
	if (scratch->batch)
		kv_batch_reset(scratch->batch);
	scratch->tally_count = 0;
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
	struct kv_cursor **cursor = &scratch->cursors[keyspace];
	int err = 0;

	if (!*cursor && scratch->view)
		err = kv_cursor_open_view(scratch->view, keyspace, cursor);
	else if (!*cursor)
		err = kv_cursor_open(scratch->kv, keyspace, cursor);
	if (!err)
		err = kv_cursor_set_range(*cursor, NULL, 0, NULL, 0);
	if (!err)
		*out = *cursor;
	return err;
}

/* SPDX-License-Identifier: MIT */
/*
 * scratch.h - what an operation borrows while it runs: a batch, cursors, room for copies. Made
 * once, used again and again, so that the hot path allocates nothing.
 *
 * Any thread borrows from the pool; what is borrowed belongs to that thread until it gives it back.
 */
#ifndef SCRATCH_H
#define SCRATCH_H

#include <stdatomic.h>

#include "inode_record.h"
#include "keyspaces.h"

#define SCRATCH_SLOTS 32u /* more at once than this are made and freed each time */
#define SCRATCH_BODIES 4u /* inodes an operation changes */

/* How many references to a shared piece a change makes (share.h). */
struct share_tally {
	uint64_t id;
	int64_t difference;
};

struct scratch {
	_Atomic bool taken; /* acquired when taken, released when given back */
	bool pooled;
	struct kv *kv;
	const struct kv_view *view; /* that cursors are on; NULL: none */
	struct kv_batch *batch;                         /* NULL until asked for */
	struct kv_cursor *cursors[KEYSPACE_COUNT];      /* the same */
	struct share_tally *tallies; /* NULL until there is one */
	size_t tally_count, tally_capacity;
	uint8_t bodies[SCRATCH_BODIES][INODE_BODY_MAX]; /* copies of inline contents and targets */
} __attribute__((aligned(64)));

struct scratch_pool {
	struct kv *kv;
	const struct kv_view *view;
	struct scratch *slots; /* SCRATCH_SLOTS; NULL: nothing is kept */
};

/* With a view it is a pool for reading that, and keeps nothing ready: there may be many views. */
KV_MUST_CHECK int scratch_pool_init(
	struct scratch_pool *pool, struct kv *kv, const struct kv_view *view);
/* Everything has been given back. */
void scratch_pool_fini(struct scratch_pool *pool);

/* -ENOMEM */
KV_MUST_CHECK int scratch_take(struct scratch_pool *pool, struct scratch **out);
void scratch_give(struct scratch *scratch);

KV_MUST_CHECK int scratch_batch(struct scratch *scratch, struct kv_batch **out);
/* Without bounds, and nowhere. */
KV_MUST_CHECK int scratch_cursor(
	struct scratch *scratch, enum keyspace keyspace, struct kv_cursor **out);

#endif

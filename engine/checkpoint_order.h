/* SPDX-License-Identifier: MIT */
/*
 * checkpoint_order.h - the ordered indexes of a checkpoint, made again from their sections stretch
 * by stretch: those that somebody asks for when he does, the rest one after the other, the smallest
 * index first.
 *
 * A stretch is what stands from one fence to the next, and all keys between these two. Until it is
 * there, changes of its keys wait in a list: those that were made while it was saved, what replay
 * does, and what is committed meanwhile. They are done when it comes, and from then on its part of
 * the index is changed like any other. When all of them are there, the index's bit in
 * kv->orders_loading goes.
 *
 * Threads: stretches are loaded by any; an index that is not whole is changed under the log's lock
 * alone, or while nobody else is there.
 */
#ifndef CHECKPOINT_ORDER_H
#define CHECKPOINT_ORDER_H

#include "checkpoint_file.h"
#include "store.h"

struct checkpoint_change;
struct checkpoint_stretch;

/* An index on its way. */
struct checkpoint_tree {
	struct checkpoint_stretch *stretches; /* by rising keys; the first one begins before all
						 keys */
	uint32_t count;
	_Atomic bool failed; /* a stretch cannot be had: the whole is made anew */
	_Atomic unsigned busy; /* threads that load what they ask for */
};

struct checkpoint_orders {
	struct kv *kv;
	const struct checkpoint_file *file;
	const _Atomic bool *stopping;
	uint8_t *fences; /* that section */
	struct checkpoint_tree trees[FORMAT_KEYSPACES];
	_Atomic uint64_t changes_size; /* bytes of memory, of all that wait */
};

void checkpoint_orders_init(struct checkpoint_orders *orders, struct kv *kv,
			    const struct checkpoint_file *file, const _Atomic bool *stopping);
void checkpoint_orders_fini(struct checkpoint_orders *orders);
/* The fences, and the changes that were made while they were saved. -EUCLEAN, -ENOMEM */
int checkpoint_orders_read(struct checkpoint_orders *orders);
/*
 * The change is done, or waits. address 0: delete. With the log's lock, or alone. -ENOMEM, and what
 * order_put says
 */
int checkpoint_orders_change(struct checkpoint_orders *orders, unsigned keyspace, const void *key,
			     size_t key_size, uint64_t address);
/* Do so many changes wait that those who make more of them had better wait, too? */
bool checkpoint_orders_are_full(const struct checkpoint_orders *orders);
/*
 * Someone has moved from one key to another, forward or back; a key without size is the end in that
 * direction, or where he came from. 1: all between them was there; 0: the next part of it is now,
 * he may try again; an error: only the whole will do.
 */
int checkpoint_orders_need(struct checkpoint_orders *orders, unsigned keyspace,
			   struct kv_slice from, struct kv_slice to, bool forward);
/* The keyspace to be loaded next; false: all are there. */
bool checkpoint_orders_next(const struct checkpoint_orders *orders, unsigned *keyspace);
/* Makes one of them whole. -ECANCELED: stopped; -EIO and others: there is none. */
int checkpoint_orders_load(struct checkpoint_orders *orders, unsigned keyspace);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * checkpoint_order.h - the ordered indexes of a checkpoint, made again from their sections one after the other, the smallest
 * first.
 *
 * Until a keyspace's is there, its changes wait in a list: those that were made while it was saved, what replay does, and what
 * is committed meanwhile. They are done when it is there, and from then on (its bit in kv->orders_loading is gone) it is changed
 * like any other.
 *
 * Threads: the loader's; changes are deferred under the log's lock, or while nobody else is there.
 */
#ifndef CHECKPOINT_ORDER_H
#define CHECKPOINT_ORDER_H

#include "checkpoint_file.h"
#include "store.h"

struct checkpoint_change;

/* Changes of a keyspace that wait, in order. Protected by log.lock. */
struct checkpoint_changes {
	struct checkpoint_change *first, **end;
	unsigned count;
};

struct checkpoint_orders {
	struct kv *kv;
	const struct checkpoint_file *file;
	const _Atomic bool *stopping;
	struct checkpoint_changes changes[FORMAT_KEYSPACES];
	_Atomic uint64_t changes_size; /* bytes of memory, of all */
};

void checkpoint_orders_init(struct checkpoint_orders *orders, struct kv *kv,
			    const struct checkpoint_file *file, const _Atomic bool *stopping);
void checkpoint_orders_fini(struct checkpoint_orders *orders);
/* The changes that were made while they were saved. -EUCLEAN, -ENOMEM */
int checkpoint_orders_read(struct checkpoint_orders *orders);
/* address 0: delete. -ENOMEM */
int checkpoint_orders_defer(struct checkpoint_orders *orders, unsigned keyspace, const void *key,
			    size_t key_size, uint64_t address);
/* So many wait that who makes more of them had better wait, too. */
bool checkpoint_orders_are_full(const struct checkpoint_orders *orders);
/* The keyspace to be loaded next; false: all are there. */
bool checkpoint_orders_next(const struct checkpoint_orders *orders, unsigned *keyspace);
/* Makes one of them. -ECANCELED: stopped; -EIO and others: there is none. */
int checkpoint_orders_load(struct checkpoint_orders *orders, unsigned keyspace);

#endif

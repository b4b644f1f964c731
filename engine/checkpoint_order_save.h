/* SPDX-License-Identifier: MIT */
/*
 * checkpoint_order_save.h - the ordered indexes on their way into a checkpoint: each is walked
 * through beside everybody else, and what changes in it from then on is noted.
 *
 * Threads: whoever has maintain.lock.
 */
#ifndef CHECKPOINT_ORDER_SAVE_H
#define CHECKPOINT_ORDER_SAVE_H

#include "checkpoint_stream.h"
#include "journal.h"
#include "store.h"

struct order_saving {
	struct kv *kv;
	struct checkpoint_stream *stream;
	struct journal *changes;
	unsigned keyspace;
	struct order_walk *walk; /* NULL: none is under way */
	uint8_t *last;		 /* the key before */
	size_t last_size;
	uint32_t fenced; /* an entry began in the chunk before this one */
	uint8_t *fences;
	size_t fences_size, fences_room;
};

/* -ENOMEM */
int order_saving_init(struct order_saving *saving, struct kv *kv, struct checkpoint_stream *stream,
		      struct journal *changes);
void order_saving_fini(struct order_saving *saving);
/* Saves so many further chunks. 1: these were the last ones. */
int order_saving_step(struct order_saving *saving, unsigned chunks);

#endif

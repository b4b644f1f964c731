/* SPDX-License-Identifier: MIT */
/* cursor.h - struct kv_cursor, for those who move it. */
#ifndef CURSOR_H
#define CURSOR_H

#include "store.h"

/* A key that a cursor does not pass. */
struct cursor_bound {
	uint8_t *key;
	size_t size, room; /* bytes; size 0: no bound */
};

struct kv_cursor {
	struct kv *kv;
	unsigned keyspace;
	bool placed; /* stands on the walk's key; if not, it is nowhere */
	struct order_walk *walk;
	struct cursor_bound lower; /* the least key it comes to */
	struct cursor_bound upper; /* the least key beyond */
	/* Of kv_cursor_read: copies of keys, until the records that have them too are there. */
	uint8_t *keys;
	size_t keys_room; /* bytes */
};

#endif

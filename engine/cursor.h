/* SPDX-License-Identifier: MIT */
/* cursor.h - struct kv_cursor, for those who move it. */
#ifndef CURSOR_H
#define CURSOR_H

#include <errno.h>

#include "store.h"

/* A key that a cursor does not pass. */
struct cursor_bound {
	uint8_t *key;
	size_t size, room; /* bytes; size 0: no bound */
};

/* The part of a cursor that is on a view, beside the walk over the present keys. cursor_view.c */
struct cursor_view {
	const struct kv_view *view;
	struct order_walk *ghosts; /* over keys that have only versions; NULL: no tree of them
				      was there yet */
	uint64_t ghosts_added;	   /* when the walk was last placed */
	bool forward;		   /* the walks stand on the key, or ahead of it in this
				      direction... */
	bool ready;		   /* ...if they are still of use */
	bool on_walk, on_ghosts;   /* stand on an entry at all */
	uint64_t address;	   /* of the newest record of the key, true inside this read
				      section; 0: not known */
	struct cursor_bound here;  /* the cursor's key */
	struct cursor_bound next;  /* the one that it is about to go to */
};

struct kv_cursor {
	struct kv *kv;
	unsigned keyspace;
	bool placed; /* stands on a key; if not, it is nowhere */
	bool early;  /* the index was not all there: moves may have to load what they come upon */
	struct order_walk *walk;
	struct cursor_bound from; /* of such a move: where it began */
	struct cursor_view view; /* .view is NULL: on the store as it is */
	struct cursor_bound lower; /* the least key it comes to */
	struct cursor_bound upper; /* the least key beyond */
	/* For kv_cursor_read: copies of keys, until the records that have them too are there. */
	uint8_t *keys;
	size_t keys_room; /* bytes */
};

int cursor_set_bound(struct cursor_bound *bound, const void *key, size_t size);
/* Is the key less (negative), equal, or greater? */
int cursor_compare(struct kv_slice key, const struct cursor_bound *bound);

/* Where a cursor, or a walk of it, goes. */
enum cursor_to {
	CURSOR_FIRST,
	CURSOR_LAST,
	CURSOR_AT_LEAST, /* the key given */
	CURSOR_ABOVE,	 /* the key given */
	CURSOR_BELOW,	 /* the key given */
	CURSOR_NEXT,
	CURSOR_PREV,
};

static inline int cursor_move_walk(struct order_walk *walk, enum cursor_to to, const void *key,
				   size_t key_size)
{
	switch (to) {
	case CURSOR_FIRST:
		return order_walk_first(walk);
	case CURSOR_LAST:
		return order_walk_last(walk);
	case CURSOR_AT_LEAST:
		return order_walk_at_least(walk, key, key_size);
	case CURSOR_ABOVE:
		return order_walk_above(walk, key, key_size);
	case CURSOR_BELOW:
		return order_walk_below(walk, key, key_size);
	case CURSOR_NEXT:
		return order_walk_next(walk);
	case CURSOR_PREV:
		return order_walk_prev(walk);
	}
	return -EINVAL;
}

/* cursor_walk, for one that is early. */
int cursor_walk_early(struct kv_cursor *cursor, enum cursor_to to, const void *key,
		      size_t key_size);

/*
 * The result of a move from nowhere: -ENOENT, or -EIO where the index could not be loaded, so that
 * this is not taken for the end.
 */
int cursor_nowhere(const struct kv_cursor *cursor);

/* Moves the walk over the keys that there are now. As order_walk_*; -EIO too */
static inline int cursor_walk(struct kv_cursor *cursor, enum cursor_to to, const void *key,
			      size_t key_size)
{
	if (__builtin_expect(cursor->early, 0))
		return cursor_walk_early(cursor, to, key, key_size);
	return cursor_move_walk(cursor->walk, to, key, key_size);
}

/*
 * Moves a cursor on a view. any: also to a key that the view does not have, where that is found out
 * later. Inside a read section, for the sake of the address.
 */
int cursor_view_move(struct kv_cursor *cursor, enum cursor_to to, const void *key, size_t key_size,
		     bool any);
/* Leaves a key that the view does not have, in the direction of the last move. */
int cursor_view_settle(struct kv_cursor *cursor);
void cursor_view_fini(struct cursor_view *view);

#endif

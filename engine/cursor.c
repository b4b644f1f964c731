/* SPDX-License-Identifier: MIT */
/*
 * cursor.c - places in ordered keyspaces: a walk over the ordered index, and the hash index for the value, which is
 * always the newest one of the key.
 */
#include <errno.h>
#include <stdlib.h>

#include "store.h"

struct kv_cursor {
	struct kv *kv;
	unsigned keyspace;
	struct order_walk *walk;
};

int kv_cursor_open(struct kv *kv, unsigned keyspace, struct kv_cursor **out)
{
	struct kv_cursor *cursor;
	int error;

	if (keyspace >= kv->info.keyspace_count || !kv->orders[keyspace])
		return -EINVAL;
	cursor = calloc(1, sizeof(*cursor));
	if (!cursor)
		return -ENOMEM;
	cursor->kv = kv;
	cursor->keyspace = keyspace;
	error = order_walk_new(kv->orders[keyspace], &cursor->walk);
	if (error) {
		free(cursor);
		return error;
	}
	*out = cursor;
	return 0;
}

void kv_cursor_close(struct kv_cursor *cursor)
{
	if (!cursor)
		return;
	order_walk_free(cursor->walk);
	free(cursor);
}

int kv_cursor_first(struct kv_cursor *cursor)
{
	return order_walk_first(cursor->walk);
}

int kv_cursor_last(struct kv_cursor *cursor)
{
	return order_walk_last(cursor->walk);
}

int kv_cursor_seek(struct kv_cursor *cursor, const void *key, size_t key_size)
{
	return order_walk_at_least(cursor->walk, key, key_size);
}

int kv_cursor_next(struct kv_cursor *cursor)
{
	return order_walk_next(cursor->walk);
}

int kv_cursor_prev(struct kv_cursor *cursor)
{
	return order_walk_prev(cursor->walk);
}

struct kv_slice kv_cursor_key(const struct kv_cursor *cursor)
{
	struct kv_slice key = {NULL, 0};

	key.data = order_walk_key(cursor->walk, &key.size);
	return key;
}

int kv_cursor_value(struct kv_cursor *cursor, struct kv_slice *value)
{
	struct kv_slice key = kv_cursor_key(cursor);

	if (!key.data)
		return -ENOENT;
	return kv_get(cursor->kv, cursor->keyspace, key.data, key.size, value);
}

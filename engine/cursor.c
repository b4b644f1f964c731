/* SPDX-License-Identifier: MIT */
/*
 * cursor.c - places in ordered keyspaces: a walk over the ordered index, and the hash index for the
 * value, which is always the newest one of the key.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint.h"
#include "cursor.h"
#include "epoch.h"
#include "view.h"

int kv_cursor_open(struct kv *kv, unsigned keyspace, struct kv_cursor **out)
{
	struct kv_cursor *cursor;
	int error;

	if (keyspace >= kv->info.keyspace_count || !kv->order_of[keyspace])
		return -EINVAL;
	cursor = calloc(1, sizeof(*cursor));
	if (!cursor)
		return -ENOMEM;
	cursor->kv = kv;
	cursor->keyspace = keyspace;
	cursor->early =
		atomic_load_explicit(&kv->orders_loading, memory_order_acquire) & 1u << keyspace;
	error = order_walk_new(kv->order_of[keyspace], &cursor->walk);
	if (!error && store_order_failed(kv, keyspace))
		error = -EIO;
	if (error) {
		kv_cursor_close(cursor);
		return error;
	}
	*out = cursor;
	return 0;
}

int kv_cursor_open_view(const struct kv_view *view, unsigned keyspace, struct kv_cursor **out)
{
	int error = kv_cursor_open(view->kv, keyspace, out);

	if (!error)
		(*out)->view.view = view;
	return error;
}

void kv_cursor_close(struct kv_cursor *cursor)
{
	if (!cursor)
		return;
	order_walk_free(cursor->walk);
	cursor_view_fini(&cursor->view);
	free(cursor->from.key);
	free(cursor->lower.key);
	free(cursor->upper.key);
	free(cursor->keys);
	free(cursor);
}

/* ---- bounds ---------------------------------------------------------------------------------- */

int cursor_compare(struct kv_slice key, const struct cursor_bound *bound)
{
	size_t size = key.size < bound->size ? key.size : bound->size;
	int order = memcmp(key.data, bound->key, size);

	return order ? order : (key.size > bound->size) - (key.size < bound->size);
}

int cursor_set_bound(struct cursor_bound *bound, const void *key, size_t size)
{
	uint8_t *room;

	if (size > bound->room) {
		room = realloc(bound->key, size);
		if (!room)
			return -ENOMEM;
		bound->key = room;
		bound->room = size;
	}
	if (size)
		memcpy(bound->key, key, size);
	bound->size = size;
	return 0;
}

int kv_cursor_set_range(struct kv_cursor *cursor, const void *from, size_t from_size,
			const void *to, size_t to_size)
{
	int error;

	if (from_size > KV_KEY_SIZE_MAX || to_size > KV_KEY_SIZE_MAX)
		return -EINVAL;
	cursor->placed = false;
	error = cursor_set_bound(&cursor->lower, from, from_size);
	return error ? error : cursor_set_bound(&cursor->upper, to, to_size);
}

int kv_cursor_set_prefix(struct kv_cursor *cursor, const void *prefix, size_t prefix_size)
{
	const uint8_t *bytes = prefix;
	size_t size = prefix_size;
	int error;

	/*
	 * The first key behind all that start with the prefix: its last byte that can be raised is.
	 */
	while (size && bytes[size - 1] == 0xff)
		size--;
	error = kv_cursor_set_range(cursor, prefix, prefix_size, prefix, size);
	if (!error && size)
		cursor->upper.key[size - 1]++;
	return error;
}

/* ---- moves ----------------------------------------------------------------------------------- */

int cursor_walk_early(struct kv_cursor *cursor, enum cursor_to to, const void *key, size_t key_size)
{
	struct kv *kv = cursor->kv;
	bool forward = to != CURSOR_LAST && to != CURSOR_BELOW && to != CURSOR_PREV, loading;
	struct kv_slice from = {key, key_size}, here;
	int error;

	if (to == CURSOR_NEXT || to == CURSOR_PREV) {
		from.data = order_walk_key(cursor->walk, &from.size);
		to = forward ? CURSOR_ABOVE : CURSOR_BELOW;
		if (!from.data)
			return -ENOENT;
	}
	/* The bound given may be the walk's own key, so it is copied first. */
	error = cursor_set_bound(&cursor->from, from.data, from.size);
	if (error)
		return error;
	from.data = cursor->from.key;
	do {
		loading = atomic_load_explicit(&kv->orders_loading, memory_order_acquire) &
			  1u << cursor->keyspace;
		error = cursor_move_walk(cursor->walk, to, from.data, from.size);
		if (error && error != -ENOENT)
			return error;
		here.data = order_walk_key(cursor->walk, &here.size);
	} while (loading && checkpoint_need(kv, cursor->keyspace, from, here, forward));
	if (store_order_failed(kv, cursor->keyspace))
		return -EIO;
	cursor->early = loading;
	return error;
}

int cursor_nowhere(const struct kv_cursor *cursor)
{
	return cursor->early && store_order_failed(cursor->kv, cursor->keyspace) ? -EIO : -ENOENT;
}

/* After a move of the walk: decides where the cursor stands. */
static int settle(struct kv_cursor *cursor, int moved)
{
	struct kv_slice key;

	if (moved == -ENOMEM) /* the walk has not moved */
		return moved;
	cursor->placed = !moved;
	if (moved)
		return moved;
	key = kv_cursor_key(cursor);
	if ((cursor->upper.size && cursor_compare(key, &cursor->upper) >= 0) ||
	    (cursor->lower.size && cursor_compare(key, &cursor->lower) < 0))
		cursor->placed = false;
	return cursor->placed ? 0 : -ENOENT;
}

/* The same for a cursor on a view. */
static int move_in_view(struct kv_cursor *cursor, enum cursor_to to, const void *key,
			size_t key_size)
{
	int error;

	epoch_enter();
	error = cursor_view_move(cursor, to, key, key_size, false);
	epoch_leave();
	return error;
}

int kv_cursor_first(struct kv_cursor *cursor)
{
	const struct cursor_bound *lower = &cursor->lower;

	if (cursor->view.view)
		return move_in_view(cursor, lower->size ? CURSOR_AT_LEAST : CURSOR_FIRST,
				    lower->key, lower->size);
	return settle(cursor, cursor_walk(cursor, lower->size ? CURSOR_AT_LEAST : CURSOR_FIRST,
					  lower->key, lower->size));
}

int kv_cursor_last(struct kv_cursor *cursor)
{
	const struct cursor_bound *upper = &cursor->upper;

	if (cursor->view.view)
		return move_in_view(cursor, upper->size ? CURSOR_BELOW : CURSOR_LAST, upper->key,
				    upper->size);
	return settle(cursor, cursor_walk(cursor, upper->size ? CURSOR_BELOW : CURSOR_LAST,
					  upper->key, upper->size));
}

int kv_cursor_seek(struct kv_cursor *cursor, const void *key, size_t key_size)
{
	struct kv_slice sought = {key, key_size};

	if (cursor->lower.size && cursor_compare(sought, &cursor->lower) < 0)
		return kv_cursor_first(cursor);
	if (cursor->view.view)
		return move_in_view(cursor, CURSOR_AT_LEAST, key, key_size);
	return settle(cursor, cursor_walk(cursor, CURSOR_AT_LEAST, key, key_size));
}

/* A view's keys are not counted. */
static int walk_to(struct kv_cursor *cursor, uint64_t position)
{
	int error = kv_cursor_first(cursor);

	while (position-- && !error)
		error = kv_cursor_next(cursor);
	return error;
}

int kv_cursor_select(struct kv_cursor *cursor, uint64_t position)
{
	const struct cursor_bound *lower = &cursor->lower;
	struct order *order;

	if (cursor->view.view)
		return walk_to(cursor, position);
	/* Positions are counted: all of it has to be there. */
	order = store_order(cursor->kv, cursor->keyspace);
	if (store_order_failed(cursor->kv, cursor->keyspace))
		return settle(cursor, -EIO);
	if (lower->size)
		position += order_rank(order, lower->key, lower->size);
	return settle(cursor, order_walk_select(cursor->walk, position));
}

int kv_cursor_next(struct kv_cursor *cursor)
{
	if (cursor->view.view)
		return move_in_view(cursor, CURSOR_NEXT, NULL, 0);
	return cursor->placed ? settle(cursor, cursor_walk(cursor, CURSOR_NEXT, NULL, 0))
			      : cursor_nowhere(cursor);
}

int kv_cursor_prev(struct kv_cursor *cursor)
{
	if (cursor->view.view)
		return move_in_view(cursor, CURSOR_PREV, NULL, 0);
	return cursor->placed ? settle(cursor, cursor_walk(cursor, CURSOR_PREV, NULL, 0))
			      : cursor_nowhere(cursor);
}

struct kv_slice kv_cursor_key(const struct kv_cursor *cursor)
{
	struct kv_slice key = {NULL, 0};

	if (cursor->placed && cursor->view.view)
		return (struct kv_slice){cursor->view.here.key, cursor->view.here.size};
	if (cursor->placed)
		key.data = order_walk_key(cursor->walk, &key.size);
	return key;
}

int kv_cursor_value(struct kv_cursor *cursor, struct kv_slice *value)
{
	struct kv_slice key = kv_cursor_key(cursor);

	if (!key.data)
		return -ENOENT;
	if (cursor->view.view)
		return kv_view_get(cursor->view.view, cursor->keyspace, key.data, key.size, value);
	return kv_get(cursor->kv, cursor->keyspace, key.data, key.size, value);
}

/* SPDX-License-Identifier: MIT */
/*
 * cursor_view.c - cursors on views: two walks at once, over the keys that there are now and over
 * those of which only versions are left, and of what they come upon only what the view has.
 *
 * A key that is deleted is a ghost before it leaves the other index, so the walk over that one
 * always moves first: what it misses, the ghosts have by then. Each time a ghost was added the walk
 * over them is placed anew, behind the cursor's key. A walk that stands ahead stays good: between
 * the cursor's key and its own nothing can appear that the view has and that is not a ghost.
 */
#include <errno.h>
#include <stdlib.h>

#include "cursor.h"
#include "lookup.h"
#include "read.h"
#include "version.h"
#include "view.h"

void cursor_view_fini(struct cursor_view *view)
{
	order_walk_free(view->ghosts);
	free(view->here.key);
	free(view->next.key);
}

/* ---- the two walks --------------------------------------------------------------------------- */

static int move_walk(struct kv_cursor *cursor, struct order_walk *walk, enum cursor_to to,
		     const void *key, size_t key_size)
{
	return walk == cursor->walk ? cursor_walk(cursor, to, key, key_size) :
				      cursor_move_walk(walk, to, key, key_size);
}

/* 0, whether it stands somewhere or not; or -ENOMEM */
static int place_walk(struct kv_cursor *cursor, struct order_walk *walk, enum cursor_to to,
		      const void *key, size_t key_size, bool *stands)
{
	int error = move_walk(cursor, walk, to, key, key_size);

	if (error && error != -ENOENT)
		return error;
	*stands = !error;
	return 0;
}

/* Places the walk at the cursor's key. */
static int seek_from_here(struct kv_cursor *cursor, struct order_walk *walk, bool *stands)
{
	const struct cursor_bound *here = &cursor->view.here;
	int error = move_walk(cursor, walk, cursor->view.forward ? CURSOR_ABOVE : CURSOR_BELOW,
			      here->key, here->size);

	if (error && error != -ENOENT)
		return error;
	*stands = !error;
	return 0;
}

static bool stands_here(const struct kv_cursor *cursor, const struct order_walk *walk)
{
	struct kv_slice key;

	key.data = order_walk_key(walk, &key.size);
	return !cursor_compare(key, &cursor->view.here);
}

static int need_ghosts(struct kv_cursor *cursor)
{
	struct cursor_view *view = &cursor->view;
	struct order *ghosts;

	if (view->ghosts)
		return 0;
	ghosts = atomic_load_explicit(&cursor->kv->versions.ghosts[cursor->keyspace],
				      memory_order_acquire);
	return ghosts ? order_walk_new(ghosts, &view->ghosts) : 0;
}

/* Both anew. */
static int place(struct kv_cursor *cursor, enum cursor_to to, const void *key, size_t key_size)
{
	struct cursor_view *view = &cursor->view;
	int error;

	if (to == CURSOR_NEXT || to == CURSOR_PREV)
		error = seek_from_here(cursor, cursor->walk, &view->on_walk);
	else
		error = place_walk(cursor, cursor->walk, to, key, key_size, &view->on_walk);
	if (error)
		return error;
	view->ghosts_added = atomic_load(&cursor->kv->versions.ghosts_added);
	error = need_ghosts(cursor);
	view->on_ghosts = false;
	if (error || !view->ghosts)
		return error;
	if (to == CURSOR_NEXT || to == CURSOR_PREV)
		return seek_from_here(cursor, view->ghosts, &view->on_ghosts);
	return place_walk(cursor, view->ghosts, to, key, key_size, &view->on_ghosts);
}

/* Both on from the cursor's key, in the direction that they stand in. */
static int advance(struct kv_cursor *cursor)
{
	struct cursor_view *view = &cursor->view;
	enum cursor_to to = view->forward ? CURSOR_NEXT : CURSOR_PREV;
	uint64_t added;
	int error = 0;

	if (view->on_walk && stands_here(cursor, cursor->walk))
		error = place_walk(cursor, cursor->walk, to, NULL, 0, &view->on_walk);
	if (error)
		return error;
	added = atomic_load(&cursor->kv->versions.ghosts_added);
	if (added != view->ghosts_added) {
		view->ghosts_added = added;
		error = need_ghosts(cursor);
		return error || !view->ghosts ?
			       error :
			       seek_from_here(cursor, view->ghosts, &view->on_ghosts);
	}
	if (view->on_ghosts && stands_here(cursor, view->ghosts))
		error = place_walk(cursor, view->ghosts, to, NULL, 0, &view->on_ghosts);
	return error;
}

/* ---- what they come upon --------------------------------------------------------------------- */

/*
 * The nearer one of what the walks stand on becomes `next`, with its record's address if that is
 * known to be true.
 */
static int choose(struct kv_cursor *cursor)
{
	struct cursor_view *view = &cursor->view;
	struct kv_slice key = {NULL, 0}, ghost = {NULL, 0};
	int error;

	if (!view->on_walk && !view->on_ghosts)
		return -ENOENT;
	view->address = 0;
	if (view->on_walk)
		key.data = order_walk_key(cursor->walk, &key.size);
	if (view->on_ghosts)
		ghost.data = order_walk_key(view->ghosts, &ghost.size);
	error = cursor_set_bound(&view->next, view->on_walk ? key.data : ghost.data,
				 view->on_walk ? key.size : ghost.size);
	if (!error && view->on_walk && view->on_ghosts) {
		int order = cursor_compare(ghost, &view->next);

		if (view->forward ? order < 0 : order > 0)
			return cursor_set_bound(&view->next, ghost.data, ghost.size);
	}
	if (view->on_walk && order_walk_is_current(cursor->walk))
		view->address = order_walk_address(cursor->walk);
	return error;
}

static bool is_in_bounds(const struct kv_cursor *cursor)
{
	struct kv_slice key = {cursor->view.next.key, cursor->view.next.size};

	return (!cursor->upper.size || cursor_compare(key, &cursor->upper) < 0) &&
	       (!cursor->lower.size || cursor_compare(key, &cursor->lower) >= 0);
}

/*
 * Does the view have the key? One that cannot be read counts: whoever asks for its value is told.
 */
static bool is_there(const struct kv_cursor *cursor, const struct cursor_bound *key)
{
	const struct kv_view *view = cursor->view.view;
	struct kv *kv = cursor->kv;
	struct lookup lookup = {&kv->segments, key->key, key->size, cursor->keyspace, NULL, 0};
	const struct format_record *record;
	uint64_t address;

	if (cursor->view.address && lookup_match(&lookup, cursor->view.address) &&
	    lookup.record->seq <= view->seq)
		return true;
	return view_find(view, cursor->keyspace, key->key, key->size,
			 keyhash_of(&kv->keyhash, cursor->keyspace, key->key, key->size), &record,
			 &address) != -ENOENT;
}

/* The cursor's key is what `next` was. */
static void arrive(struct cursor_view *view)
{
	struct cursor_bound here = view->here;

	view->here = view->next;
	view->next = here;
}

/* ---- moves ----------------------------------------------------------------------------------- */

static int go(struct kv_cursor *cursor, enum cursor_to to, const void *key, size_t key_size,
	      bool any)
{
	struct cursor_view *view = &cursor->view;
	bool forward = to != CURSOR_LAST && to != CURSOR_BELOW && to != CURSOR_PREV;
	bool goes_on = (to == CURSOR_NEXT || to == CURSOR_PREV) && view->ready &&
		       view->forward == forward;
	int error;

	view->forward = forward;
	error = goes_on ? advance(cursor) : place(cursor, to, key, key_size);
	while (!error) {
		error = choose(cursor);
		if (!error && !is_in_bounds(cursor))
			error = -ENOENT;
		if (error)
			break;
		arrive(view);
		if (any || is_there(cursor, &view->here))
			break;
		error = advance(cursor);
	}
	return error;
}

int cursor_view_move(struct kv_cursor *cursor, enum cursor_to to, const void *key, size_t key_size,
		     bool any)
{
	int error;

	if ((to == CURSOR_NEXT || to == CURSOR_PREV) && !cursor->placed)
		return cursor_nowhere(cursor);
	error = go(cursor, to, key, key_size, any);
	cursor->view.ready = !error;
	/* Without memory it is where it was, or on a key that the view does not have. */
	if (error != -ENOMEM)
		cursor->placed = !error;
	return error;
}

int cursor_view_settle(struct kv_cursor *cursor)
{
	if (is_there(cursor, &cursor->view.here))
		return 0;
	return cursor_view_move(cursor, cursor->view.forward ? CURSOR_NEXT : CURSOR_PREV, NULL, 0,
				false);
}

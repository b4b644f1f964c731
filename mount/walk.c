/* SPDX-License-Identifier: MIT */
/* walk.c - see walk.h. */
#include "walk.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "page.h"

#define WHOLE_PAGES 64u /* levels that keep all of their pages: few trees are deeper */

/* A directory on the way to where the walk is. */
struct level {
	struct page *page;
	unsigned next;	  /* of the page's entries */
	bool cut;	  /* it has no room but for those */
	uint64_t ino;
	size_t path_size; /* bytes of the walk's path that are the directory's own */
};

struct state {
	const struct walk *walk;
	struct level *levels;
	size_t count, room;
	char *path; /* of the innermost directory, and of an entry in it */
	size_t path_room;
};

/* ---- the path -------------------------------------------------------------------------------- */

/* Puts `name` behind the first bytes of the path; NULL: no memory. */
static char *path_set(struct state *state, size_t before, const char *name)
{
	size_t at = before + (before > 0), size = at + strlen(name) + 1;

	if (state->path_room < size) {
		char *path = realloc(state->path, 2 * size);

		if (!path)
			return NULL;
		state->path = path;
		state->path_room = 2 * size;
	}
	if (before)
		state->path[before] = '/';
	return memcpy(state->path + at, name, size - at);
}

/* ---- levels ---------------------------------------------------------------------------------- */

/* What was given out of a page is not needed any more. */
static void level_cut(struct level *level)
{
	struct page *page = level->page;
	unsigned left = page->count - level->next;

	memmove(page->entries, page->entries + level->next, left * sizeof(page->entries[0]));
	page->count = left;
	level->next = 0;
	level->cut = true;
	page = realloc(page, offsetof(struct page, entries) + left * sizeof(page->entries[0]));
	if (page)
		level->page = page;
}

static int push(struct state *state, uint64_t ino, size_t path_size)
{
	struct level *level;

	if (state->count == state->room) {
		size_t room = 2 * state->room + 16;
		struct level *levels = realloc(state->levels, room * sizeof(*levels));

		if (!levels)
			return -ENOMEM;
		state->levels = levels;
		state->room = room;
	}
	if (state->count > WHOLE_PAGES)
		level_cut(&state->levels[state->count - 1]);
	level = &state->levels[state->count];
	*level = (struct level){.ino = ino, .path_size = path_size};
	level->page = calloc(1, sizeof(*level->page));
	if (!level->page)
		return -ENOMEM;
	state->count++;
	return 0;
}

/* Nothing is left of it, and it is told of its end, but not the one that the walk began with. */
static int pop(struct state *state)
{
	const struct walk *walk = state->walk;
	struct level *level = &state->levels[--state->count];
	struct walk_entry entry = {.path = state->path};
	size_t before;

	free(level->page);
	if (!state->count || !walk->leave)
		return 0;
	state->path[level->path_size] = '\0';
	before = level[-1].path_size;
	entry.name = state->path + before + (before > 0);
	entry.parent_ino = level[-1].ino;
	return walk->leave(walk->arg, &entry);
}

/* Reads on in the innermost directory. 0: there is an entry; 1: that was all */
static int read_on(struct state *state)
{
	const struct walk *walk = state->walk;
	struct level *level = &state->levels[state->count - 1];
	int rc;

	if (level->cut) {
		struct page *page = realloc(level->page, sizeof(*page));

		if (!page)
			return -ENOMEM;
		level->page = page;
		level->cut = false;
	}
	level->next = 0;
	rc = page_next(walk->fs, level->ino, walk->with_attr, level->page);
	if (!rc || level->page->count)
		return !level->page->count;
	state->path[level->path_size] = '\0';
	rc = walk->failed(walk->arg, state->path, rc);
	return rc ? rc : 1;
}

/* ---- the walk -------------------------------------------------------------------------------- */

/*
 * Goes down into the directory that the path leads to. One that says it is somewhere else has
 * several names, in a damaged store or a forged one, and the way through it might have no end.
 */
static int go_down(struct state *state, uint64_t parent_ino, uint64_t ino)
{
	const struct walk *walk = state->walk;
	struct kvfs_attr above;
	int rc = kvfs_lookup(walk->fs, ino, "..", &above);

	if (!rc && (above.ino != parent_ino || ino == KVFS_ROOT_INO || ino == state->levels[0].ino))
		rc = -EUCLEAN;
	return rc ? walk->failed(walk->arg, state->path, rc)
		  : push(state, ino, strlen(state->path));
}

/* Gives out the next entry, and goes down where it is a directory. */
static int visit_next(struct state *state)
{
	const struct walk *walk = state->walk;
	struct level *level = &state->levels[state->count - 1];
	struct kvfs_attr attr = level->page->entries[level->next].attr;
	struct walk_entry entry = {.parent_ino = level->ino, .attr = &attr};
	int rc;

	entry.name = path_set(
		state, level->path_size, level->page->entries[level->next].name);
	if (!entry.name)
		return -ENOMEM;
	entry.path = state->path;
	level->next++;
	rc = walk->visit(walk->arg, &entry);
	if (rc || !walk->recursive || !S_ISDIR(attr.mode))
		return rc;
	return go_down(state, entry.parent_ino, attr.ino);
}

static int step(struct state *state)
{
	const struct level *level = &state->levels[state->count - 1];
	int rc = level->next < level->page->count ? 0 : read_on(state);

	if (rc)
		return rc > 0 ? pop(state) : rc;
	return visit_next(state);
}

int walk(const struct walk *walk, const char *path, uint64_t ino)
{
	struct state state = {.walk = walk};
	int rc = path_set(&state, 0, path) ? push(&state, ino, strlen(path)) : -ENOMEM;

	while (!rc && state.count)
		rc = step(&state);
	while (state.count)
		free(state.levels[--state.count].page);
	free(state.levels);
	free(state.path);
	return rc;
}

/* SPDX-License-Identifier: MIT */
/* segment_file.c - see segment_file.h. */
#include "segment_file.h"

#include <errno.h>
#include <stdlib.h>

#define PAGE_TRIES 3u

int segment_file_open(struct segments *segments, uint32_t slot, bool listed, unsigned flags,
		      struct segment **out)
{
	struct segment *segment = calloc(1, sizeof(*segment));
	char name[FORMAT_SEGMENT_NAME_SIZE];
	int error;

	if (!segment)
		return -ENOMEM;
	segment->slot = slot;
	segment->hole = segments->size;
	segment->listed = listed;
	/* What is written stays in the buffer: a copy in the page cache would be a second one. */
	flags |= flags & ENV_READ_ONLY ? 0 : ENV_DIRECT;
	(listed ? format_segment_name : format_free_name)(slot, name);
	error = segments->env->file_open(segments->dir, name, flags, &segment->file);
	if (error) {
		free(segment);
		return error;
	}
	*out = segment;
	return 0;
}

void segment_file_close(struct segments *segments, struct segment *segment)
{
	if (!segment)
		return;
	segments->env->file_close(segment->file);
	free(segment);
}

void segment_file_enter(struct segments *segments, struct segment *segment)
{
	/* A free file under the same number gives way: it is of no use to anyone. */
	segment_file_close(segments, segments->table[segment->slot]);
	segments->table[segment->slot] = segment;
	if (segment->slot >= atomic_load(&segments->count))
		atomic_store(&segments->count, segment->slot + 1);
}

int segment_file_read_page(const struct kv_env *env, struct env_file *file, void *page)
{
	unsigned tries = 0;
	int error;

	do {
		error = env->file_read(file, page, FORMAT_SEGMENT_HEADER_SIZE, 0);
	} while (error == -EIO && ++tries < PAGE_TRIES);
	return error;
}

/* ---- names ----------------------------------------------------------------------------------- */

int segment_file_rename(struct segments *segments, struct segment *segment, bool listed)
{
	char segment_name[FORMAT_SEGMENT_NAME_SIZE], free_name[FORMAT_SEGMENT_NAME_SIZE];
	int error;

	format_segment_name(segment->slot, segment_name);
	format_free_name(segment->slot, free_name);
	error = segments->env->rename(segments->dir, listed ? free_name : segment_name,
				      listed ? segment_name : free_name);
	if (error)
		return error;
	segment->listed = listed;
	segment->rename = atomic_fetch_add(&segments->renames, 1) + 1;
	return 0;
}

int segments_sync_names(struct segments *segments)
{
	uint64_t renames = atomic_load(&segments->renames);
	uint64_t synced = atomic_load(&segments->renames_synced);
	int error;

	if (renames <= synced)
		return 0;
	error = segments->env->dir_sync(segments->dir);
	if (error)
		return error;
	/* Another thread may have synced more meanwhile. */
	while (synced < renames &&
	       !atomic_compare_exchange_weak(&segments->renames_synced, &synced, renames))
		;
	return 0;
}

int segment_sync_name(struct segments *segments, const struct segment *segment)
{
	if (segment->rename <= atomic_load(&segments->renames_synced))
		return 0;
	return segments_sync_names(segments);
}

int segment_erase(struct segments *segments, struct segment *segment)
{
	return segment_file_rename(segments, segment, false);
}

/* ---- free files ------------------------------------------------------------------------------ */

/* A new file, entered under the first slot that has none. */
static int slot_new(struct segments *segments, struct segment **out)
{
	uint32_t slot, count = atomic_load(&segments->count);
	int error;

	for (slot = 0; slot < segments->slots_max; slot++) {
		if (slot < count && segments->table[slot])
			continue;
		error = segment_file_open(segments, slot, false, ENV_CREATE, out);
		if (error == -EEXIST)
			continue;
		if (!error)
			segment_file_enter(segments, *out);
		/*
		 * The store's directory was removed; who puts a key shall not think that the key is
		 * missing.
		 */
		return error == -ENOENT ? -EIO : error;
	}
	return -ENOSPC;
}

static bool is_ready(const struct segments *segments, const struct segment *segment)
{
	return !segment->hole && !segment->listed &&
	       segment->rename <= atomic_load(&segments->renames_synced);
}

/*
 * A free file; one that can be used as it is, if there is one. Before all others one that a
 * preparation which failed half-way has left under a segment's name: its header has the number that
 * the next one gets.
 */
static struct segment *free_file(const struct segments *segments)
{
	uint32_t slot, count = atomic_load(&segments->count);
	struct segment *ready = NULL, *found = NULL;

	for (slot = 0; slot < count; slot++) {
		struct segment *segment = segments->table[slot];

		if (!segment || segment->id)
			continue;
		if (segment->listed)
			return segment;
		if (!ready && is_ready(segments, segment))
			ready = segment;
		if (!found || !segment->hole)
			found = segment;
	}
	return ready ? ready : found;
}

/* New files come last: reused ones sync faster. */
int segment_file_take(struct segments *segments, struct segment **out)
{
	struct segment *found = free_file(segments);
	int error;

	if (!found)
		return slot_new(segments, out);
	*out = found;
	error = found->listed ? segment_erase(segments, found) : 0;
	/* The log must not find the file under its old name once it is overwritten. */
	return error ? error : segment_sync_name(segments, found);
}

uint64_t segments_space(struct segments *segments, uint64_t *total_bytes)
{
	uint64_t avail, total;

	if (segments->env->dir_space(segments->dir, &avail, &total))
		avail = total = 0;
	if (total_bytes)
		*total_bytes = total;
	return segments->refused ? 0 : avail;
}

int segment_file_allocate(struct segments *segments, struct segment *segment)
{
	int error;

	if (!segment->hole)
		return 0;
	error = segments->env->file_allocate(segment->file, segments->size);
	if (!error)
		segment->hole = 0;
	if (!error || env_is_full(error))
		segments->refused = error != 0;
	return error;
}

int segment_file_release(struct segments *segments, struct segment *segment, uint32_t from)
{
	int error = segments->env->file_release(segment->file, from);

	/* What failed half-way has left no more. */
	if (error != -EOPNOTSUPP)
		segment->hole = segments->size - from;
	return error;
}

int segment_file_restore(struct segments *segments, struct segment *segment, uint32_t end)
{
	int error = segment->hole ? segments->env->file_restore(segment->file, end) : 0;

	segments->refused |= env_is_full(error);
	if (!error && segment->hole > segments->size - end)
		segment->hole = segments->size - end;
	return error;
}

void segment_file_give_back(struct segments *segments, struct segment *segment, uint32_t end)
{
	uint32_t hole = segment->hole, from;

	/* All of it: nobody knows what has space. */
	if (!hole || hole == segments->size)
		return;
	from = (segments->size - hole + ENV_DIRECT_ALIGN - 1) & ~(ENV_DIRECT_ALIGN - 1);
	if (from < end)
		from = end;
	if (from < segments->size)
		(void)segment_file_release(segments, segment, from);
}

uint32_t segments_count_unused(const struct segments *segments)
{
	uint32_t slot, count = atomic_load(&segments->count), unused = 0;

	for (slot = 0; slot < count; slot++)
		unused += segments->table[slot] && !segments->table[slot]->id;
	return unused;
}

uint32_t segments_count_free(const struct segments *segments)
{
	uint32_t slot, count = atomic_load(&segments->count), ready = 0;

	for (slot = 0; slot < count; slot++) {
		const struct segment *segment = segments->table[slot];

		ready += segment && !segment->id && !segment->hole;
	}
	return ready;
}

int segments_keep_free(struct segments *segments, uint32_t wanted)
{
	uint32_t slot, count = atomic_load(&segments->count), ready = segments_count_free(segments);
	struct segment *segment;
	int error = 0;

	for (slot = 0; slot < count && ready < wanted && !error; slot++) {
		segment = segments->table[slot];
		if (!segment || segment->id || !segment->hole)
			continue;
		error = segment_file_allocate(segments, segment);
		ready++;
	}
	for (; ready < wanted && !error; ready++) {
		error = slot_new(segments, &segment);
		if (!error)
			error = segment_file_allocate(segments, segment);
	}
	return error;
}

static bool has_its_space(const struct segments *segments, const struct segment *segment)
{
	uint64_t size, allocated;

	return !segments->env->file_size(segment->file, &size) && size == segments->size &&
	       !segments->env->file_allocated(segment->file, &allocated) && allocated >= size;
}

int segment_load_free(struct segments *segments, uint32_t slot, bool read_only)
{
	struct segment *segment;
	int error;

	if (slot >= segments->slots_max || segments->table[slot])
		return 0;
	error = segment_file_open(segments, slot, false, read_only ? ENV_READ_ONLY : 0, &segment);
	if (error)
		return error;
	if (has_its_space(segments, segment))
		segment->hole = 0;
	segment->size_unsure = true;
	segment_file_enter(segments, segment);
	return 0;
}

int segment_remove(struct segments *segments, struct segment *segment, pthread_mutex_t *lock)
{
	char name[FORMAT_SEGMENT_NAME_SIZE];
	int error;

	format_free_name(segment->slot, name);
	error = segments->env->unlink(segments->dir, name);
	if (error)
		return error;
	atomic_fetch_add(&segments->renames, 1);
	if (segment->hole < segments->size)
		segments->refused = false;
	pthread_mutex_lock(lock);
	segments->table[segment->slot] = NULL;
	pthread_mutex_unlock(lock);
	segment_file_close(segments, segment);
	return 0;
}

/* Has it space on the disk, but not all that it needs? */
static bool is_part(const struct segments *segments, const struct segment *segment)
{
	uint64_t allocated;

	return segment && !segment->id && !segment->listed && segment->hole &&
	       !segments->env->file_allocated(segment->file, &allocated) && allocated &&
	       allocated < segments->size;
}

unsigned segments_drop_parts(struct segments *segments, pthread_mutex_t *lock)
{
	uint32_t slot, count = atomic_load(&segments->count);
	unsigned dropped = 0;

	for (slot = 0; slot < count; slot++) {
		if (is_part(segments, segments->table[slot]) &&
		    !segment_remove(segments, segments->table[slot], lock))
			dropped++;
	}
	return dropped;
}

/*
 * Of `unused` free files, those that lack space, or have all of it; until no more than so many
 * stay. One that a preparation which failed half-way has left has another name, and is the next to
 * be used.
 */
static uint32_t drop_some(struct segments *segments, uint32_t unused, uint32_t keep, bool lack,
			  pthread_mutex_t *lock)
{
	uint32_t slot = atomic_load(&segments->count);

	while (slot-- > 0 && unused > keep) {
		struct segment *segment = segments->table[slot];

		if (!segment || segment->id || segment->listed || lack != (segment->hole > 0))
			continue;
		if (segment_remove(segments, segment, lock))
			break;
		unused--;
	}
	return unused;
}

void segments_drop_free(struct segments *segments, uint32_t keep, pthread_mutex_t *lock)
{
	uint32_t unused = segments_count_unused(segments);

	unused = drop_some(segments, unused, keep, true, lock);
	(void)drop_some(segments, unused, keep, false, lock);
}

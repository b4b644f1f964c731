/* SPDX-License-Identifier: MIT */
/*
 * cursor_read.c - many entries of an ordered keyspace at once.
 *
 * The ordered index knows where each key's record is, so the records of a group are asked for
 * together, and looked at when all are on their way. An address is trusted no further than that a
 * record is read there: its key must be the one that was sought, otherwise the hash index is asked.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cursor.h"
#include "fetch.h"
#include "lookup.h"
#include "read.h"
#include "value.h"
#include "version.h"
#include "view.h"

#define GROUP VERSION_FETCH_MAX
#define KEYS_ROOM_MIN 4096u

struct group {
	uint64_t addresses[GROUP]; /* 0: not known */
	uintptr_t records[GROUP];  /* as read_prefetch; 0: there is more to it than reading there */
	size_t starts[GROUP + 1];  /* of the keys in cursor->keys */
	size_t count;
};

/* Room for so many bytes of keys behind the first `start`. */
static int make_room(struct kv_cursor *cursor, size_t start, size_t size)
{
	size_t room = cursor->keys_room ? cursor->keys_room : KEYS_ROOM_MIN;
	uint8_t *keys;

	while (room - start < size)
		room *= 2;
	if (room > cursor->keys_room) {
		keys = realloc(cursor->keys, room);
		if (!keys)
			return -ENOMEM;
		cursor->keys = keys;
		cursor->keys_room = room;
	}
	return 0;
}

static inline int keep_key(struct kv_cursor *cursor, struct kv_slice key, size_t start)
{
	if (__builtin_expect(cursor->keys_room - start < key.size, 0) &&
	    make_room(cursor, start, key.size))
		return -ENOMEM;
	format_key_copy(cursor->keys + start, key.data, key.size);
	return 0;
}

/*
 * Is the key below the upper bound? Nearly always the first eight bytes say so: of two byte strings
 * that long, which differ there, they decide the order.
 */
static inline bool is_below_upper(const struct kv_cursor *cursor, struct kv_slice key)
{
	const struct cursor_bound *upper = &cursor->upper;
	uint64_t head, bound;

	if (!upper->size)
		return true;
	if (key.size >= sizeof(head) && upper->size >= sizeof(bound)) {
		memcpy(&head, key.data, sizeof(head));
		memcpy(&bound, upper->key, sizeof(bound));
		if (head != bound)
			return be64toh(head) < be64toh(bound);
	}
	return cursor_compare(key, upper) < 0;
}

/*
 * kv_cursor_next, of a cursor that is placed: forward from there only the upper bound can be
 * passed.
 */
static inline int step(struct kv_cursor *cursor)
{
	struct kv_slice key;
	int error;

	if (cursor->view.view)
		return cursor_view_move(cursor, CURSOR_NEXT, NULL, 0, true);
	error = cursor_walk(cursor, CURSOR_NEXT, NULL, 0);
	if (error == -ENOMEM) /* the cursor has not moved */
		return error;
	key.data = order_walk_key(cursor->walk, &key.size);
	cursor->placed = !error && is_below_upper(cursor, key);
	return error || cursor->placed ? error : -ENOENT;
}

static inline struct kv_slice group_key(const struct kv_cursor *cursor, const struct group *group,
					size_t i)
{
	size_t start = group->starts[i];

	return (struct kv_slice){cursor->keys + start, group->starts[i + 1] - start};
}

/*
 * Takes as many keys as the walk's leaf has, at once, and asks for their records. The last of them
 * says whether all are below the upper bound. Not on a view, nor where keys may have to be loaded.
 * Returns whether there were any; the walk stands on the last, or the cursor nowhere.
 */
static bool gather_leaf(struct kv_cursor *cursor, size_t max, struct group *group)
{
	const struct segments *segments = &cursor->kv->segments;
	size_t i = group->count;

	if (cursor->view.view || cursor->early)
		return false;
	group->count += order_walk_take(cursor->walk, max - i, cursor->keys, cursor->keys_room,
					&group->starts[i], &group->addresses[i]);
	if (group->count == i)
		return false;
	/* The first is, as the cursor stands there. */
	while (group->count > i + 1 &&
	       !is_below_upper(cursor, group_key(cursor, group, group->count - 1))) {
		group->count--;
		cursor->placed = false;
	}
	for (; i < group->count; i++)
		group->records[i] = group->addresses[i] ?
					    read_prefetch(segments, group->addresses[i]) : 0;
	return true;
}

/*
 * Takes up to `max` keys from the cursor's place on, and asks for their records. An address counts
 * if it was right at a moment inside this read section, so that the segment stays: that of the
 * first key may be older, the others' come with the step.
 */
static int gather(struct kv_cursor *cursor, size_t max, struct group *group)
{
	struct order_walk *walk = cursor->walk;
	bool viewed = cursor->view.view;
	uint64_t address = !viewed && order_walk_is_current(walk) ? order_walk_address(walk) : 0;
	int error = 0;

	group->count = 0;
	group->starts[0] = 0;
	while (!error && group->count < max && cursor->placed) {
		size_t i = group->count, start = group->starts[i];
		struct kv_slice key = {cursor->view.here.key, cursor->view.here.size};

		if (!gather_leaf(cursor, max, group)) {
			if (!viewed)
				key.data = order_walk_key(walk, &key.size);
			error = keep_key(cursor, key, start);
			if (error)
				break;
			group->addresses[i] = address;
			group->records[i] = 0;
			if (address && !viewed)
				group->records[i] =
					read_prefetch(&cursor->kv->segments, address);
			group->starts[i + 1] = start + key.size;
			group->count++;
		}
		if (cursor->placed)
			error = step(cursor);
		if (error == -ENOMEM) /* the cursor has not moved */
			group->count--;
		address = viewed ? cursor->view.address : order_walk_address(walk);
	}
	return error == -ENOENT || group->count ? 0 : error;
}

/* By the hash index. */
static int find(const struct kv_cursor *cursor, struct kv_slice key,
		const struct format_record **record, uint64_t *address)
{
	struct kv *kv = cursor->kv;
	uint64_t hash = keyhash_of(&kv->keyhash, cursor->keyspace, key.data, key.size);

	if (cursor->view.view)
		return view_find(cursor->view.view, cursor->keyspace, key.data, key.size, hash,
				 record, address);
	return read_find(kv, cursor->keyspace, key.data, key.size, hash, record, address);
}

/* On a view, for those that have changed since: the records that it sees are asked for. */
static void fetch_versions(const struct kv_cursor *cursor, const struct group *group)
{
	const struct kv_view *view = cursor->view.view;
	struct kv *kv = cursor->kv;
	uint64_t hashes[GROUP], behind[GROUP];
	size_t i, n = 0;

	if (!view || !atomic_load_explicit(&kv->versions.count, memory_order_relaxed))
		return;
	for (i = 0; i < group->count; i++) {
		if (!view_is_behind(view, group->addresses[i]))
			continue;
		hashes[n] = keyhash_of(&kv->keyhash, cursor->keyspace,
				       cursor->keys + group->starts[i],
				       group->starts[i + 1] - group->starts[i]);
		index_prefetch(&kv->index, hashes[n]);
		behind[n++] = 0;
	}
	version_fetch(kv, view->seq, hashes, behind, n);
}

/*
 * A record that is at hand, in one piece, with this key: no more than that is needed nearly always.
 * False: as resolve.
 */
static inline bool resolve_quickly(const struct kv_cursor *cursor, struct kv_slice key,
				   uintptr_t located, uint64_t address, struct kv_entry *entry)
{
	const struct format_record *record =
		(const struct format_record *)(located & ~SEGMENT_FLAGS);
	const struct segments *segments = &cursor->kv->segments;

	if (!located || (located & SEGMENT_FLAGS &&
			 !read_is_at_hand(segments, located, record,
					  segments_offset(segments, address), true)))
		return false;
	if (record->flags & (FORMAT_RECORD_ZSTD | FORMAT_RECORD_LARGE))
		return false;
	if (record->key_size != key.size || record->keyspace != cursor->keyspace ||
	    !lookup_same_key(record->key, key.data, key.size))
		return false;
	*entry = (struct kv_entry){
		.key = {record->key, key.size},
		.value = {format_record_value(record), record->value_size},
		.seq = record->seq,
	};
	return true;
}

/* Finds the entry for a key, given where its record should be. -ENOENT: the key is gone. */
static __attribute__((noinline)) int resolve(struct kv_cursor *cursor, struct kv_slice key,
					     uint64_t address, struct kv_entry *entry)
{
	struct kv *kv = cursor->kv;
	const struct kv_view *view = cursor->view.view;
	struct lookup lookup = {&kv->segments, key.data, key.size, cursor->keyspace, NULL, 0};
	const struct format_record *record;
	int error = 0;

	if (address && lookup_match(&lookup, address) &&
	    (!view || lookup.record->seq <= view->seq))
		record = lookup.record;
	else
		error = find(cursor, key, &record, &address);
	if (error == -ENOENT)
		return error;
	entry->key = key;
	if (!error) {
		entry->key.data = record->key;
		entry->seq = record->seq;
		error = view ? read_value_then(view, record, address, &entry->value) :
			       read_value(kv, record, address, &entry->value);
	}
	entry->status = error;
	return 0;
}

/* Out: entries, and whether all of them could be read. */
static size_t resolve_group(struct kv_cursor *cursor, const struct group *group,
			    struct kv_entry *entries, bool *sound)
{
	uint64_t begun_us = fetch_group(cursor->kv, group->addresses, group->count);
	size_t count = 0, i;

	fetch_versions(cursor, group);
	for (i = 0; i < group->count; i++) {
		struct kv_slice key = group_key(cursor, group, i);

		if (resolve_quickly(cursor, key, group->records[i], group->addresses[i],
				    &entries[count])) {
			count++;
			continue;
		}
		if (resolve(cursor, key, group->addresses[i], &entries[count]))
			continue;
		*sound = *sound && !entries[count].status;
		count++;
	}
	fetch_done(cursor->kv, begun_us, group->count);
	return count;
}

int kv_cursor_read(struct kv_cursor *cursor, struct kv_entry *entries, size_t max, size_t *count)
{
	struct group group;
	size_t done = 0;
	bool sound = true;
	int error = 0;

	value_forget();
	/*
	 * The key of an entry that cannot be read is ours alone, and the next group would overwrite
	 * it.
	 */
	while (done < max && sound && cursor->placed) {
		error = gather(cursor, max - done < GROUP ? max - done : GROUP, &group);
		if (error)
			break;
		done += resolve_group(cursor, &group, entries + done, &sound);
	}
	/* Nobody has looked yet at what the cursor stands on. */
	if (cursor->view.view && cursor->placed && cursor_view_settle(cursor) == -ENOMEM)
		cursor->placed = false;
	if (!done && max)
		return error ? error : cursor_nowhere(cursor);
	*count = done;
	return 0;
}

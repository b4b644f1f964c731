/* SPDX-License-Identifier: MIT */
/*
 * diff.c - what is different between two moments of one store: both list of entries, in the order
 * of their keys, side by side. An entry is the same in both or not; an inode that both have is
 * compared by its record, which every change of contents, entries or attributes changes. Paths are
 * made from the parents that directories know, for what is different alone.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dirent_record.h"
#include "inode.h"
#include "keyspaces.h"
#include "number_table.h"
#include "record.h"

#define DEPTH_MAX 4096u /* of a path */

struct side {
	struct kvfs *fs;
	struct scratch *scratch;
	struct kv_cursor *cursor;
	bool more; /* the cursor stands on an entry: */
	struct dirent entry;
	char *path; /* of `directory`, with a slash behind it unless it is the root */
	size_t path_size, path_room;
	uint64_t directory; /* 0: none yet */
	struct number_table hashes; /* of the names of directories, by inode; filled when first
				       needed */
	bool hashes_known;
};

struct diff {
	struct side from, to;
	kvfs_difference_fn *each;
	void *arg;
	char *text; /* a whole path */
	size_t text_room;
};

/* ---- paths ----------------------------------------------------------------------------------- */

static int need_room(char **text, size_t *room, size_t size)
{
	size_t more = *room ? *room : 256;
	char *longer;

	while (more < size)
		more *= 2;
	if (more == *room)
		return 0;
	longer = realloc(*text, more);
	if (!longer)
		return -ENOMEM;
	*text = longer;
	*room = more;
	return 0;
}

/* A cursor of its own: the scratch's is in use. */
static int open_cursor(struct side *side, struct kv_cursor **out)
{
	return side->fs->view ? kv_cursor_open_view(side->fs->view, KEYSPACE_DIRENT, out)
			      : kv_cursor_open(side->fs->kv, KEYSPACE_DIRENT, out);
}

/* Decodes the entry that a cursor stands on. */
static int read_entry(struct side *side, struct kv_cursor *cursor, struct dirent *out)
{
	struct kv_slice value;
	int err = kv_cursor_value(cursor, &value);

	if (!err && (dirent_key_decode(kv_cursor_key(cursor), out) ||
			    dirent_value_decode(value, out)))
		err = fs_damaged(side->fs, 0, "an entry makes no sense");
	return err;
}

/* In one pass, so that a path costs its depth, whatever the size of the directories in it. */
static int need_hashes(struct side *side)
{
	struct kv_cursor *cursor;
	struct dirent entry;
	uint64_t *hash;
	int err;

	if (side->hashes_known)
		return 0;
	err = open_cursor(side, &cursor);
	if (err)
		return err;
	for (err = kv_cursor_first(cursor); !err; err = kv_cursor_next(cursor)) {
		err = read_entry(side, cursor, &entry);
		if (err)
			break;
		if (entry.type != S_IFDIR)
			continue;
		hash = number_table_at(&side->hashes, entry.ino);
		if (!hash) {
			err = -ENOMEM;
			break;
		}
		*hash = entry.hash;
	}
	kv_cursor_close(cursor);
	side->hashes_known = err == -ENOENT;
	return side->hashes_known ? 0 : err;
}

/* The name by which a directory has the other goes in front of the path; in a read section. */
static int add_name(struct side *side, uint64_t parent, uint64_t child, struct dirent *out)
{
	const uint64_t *hash = number_table_find(&side->hashes, child);
	struct kv_cursor *cursor;
	struct dirent_key place;
	int err;

	if (!hash)
		return -ENOENT;
	err = open_cursor(side, &cursor);
	if (err)
		return err;
	dirent_key_place(parent, *hash, &place);
	err = kv_cursor_set_prefix(cursor, place.bytes, DIRENT_PARENT_SIZE);
	if (!err)
		err = kv_cursor_seek(cursor, place.bytes, place.size);
	/* Some names have the same hash. */
	while (!err) {
		err = read_entry(side, cursor, out);
		if (err || out->ino == child)
			break;
		err = kv_cursor_next(cursor);
	}
	if (!err) {
		side->path_size += out->name_size + 1;
		err = need_room(&side->path, &side->path_room, side->path_size);
	}
	if (!err) {
		memmove(side->path + out->name_size + 1, side->path,
			side->path_size - out->name_size - 1);
		memcpy(side->path, out->name, out->name_size);
		side->path[out->name_size] = '/';
	}
	kv_cursor_close(cursor);
	return err;
}

/* Makes side->path that of a directory. -ENOENT: there is no such directory. */
static int find_path(struct side *side, uint64_t directory)
{
	uint64_t child = directory;
	struct dirent name;
	struct inode inode;
	unsigned depth = 0;
	int err;

	if (side->directory == directory)
		return 0;
	err = need_hashes(side);
	side->directory = 0;
	side->path_size = 0;
	while (child != KVFS_ROOT_INO && !err) {
		err = inode_get(side->fs, child, &inode);
		if (err == -ENOENT && child == directory)
			return err;
		/* Or a cycle, which only damage makes. */
		if (!err && ++depth > DEPTH_MAX)
			err = -ENAMETOOLONG;
		if (!err)
			err = add_name(side, inode.parent, child, &name);
		child = inode.parent;
	}
	if (!err)
		side->directory = directory;
	return err == -ENOENT ? fs_damaged(side->fs, directory, "it has no path to the root") : err;
}

/*
 * Is the directory at the same place on both sides? If not, it went or came there, or something
 * above it did, and that is told of it. Out: side->path of both. In a read section.
 */
static int is_in_place(struct diff *diff, uint64_t directory, bool *in_place)
{
	int err = find_path(&diff->from, directory), err_to;

	if (err && err != -ENOENT)
		return err;
	err_to = find_path(&diff->to, directory);
	if (err_to && err_to != -ENOENT)
		return err_to;
	*in_place = !err && !err_to && diff->from.path_size == diff->to.path_size &&
		    (!diff->to.path_size ||
			    !memcmp(diff->from.path, diff->to.path, diff->to.path_size));
	return 0;
}

/* In a read section. */
static int tell(struct diff *diff, enum kvfs_difference what, struct side *side)
{
	const struct dirent *entry = &side->entry;
	bool in_place;
	int err = is_in_place(diff, entry->parent, &in_place);

	if (!err && !in_place)
		return 0;
	if (!err)
		err = need_room(&diff->text, &diff->text_room,
			side->path_size + entry->name_size + 1);
	if (err)
		return err;
	if (side->path_size)
		memcpy(diff->text, side->path, side->path_size);
	memcpy(diff->text + side->path_size, entry->name, entry->name_size);
	diff->text[side->path_size + entry->name_size] = '\0';
	return diff->each(diff->arg, what, diff->text, entry->type == S_IFDIR) ? -ECANCELED : 0;
}

/* ---- side by side ---------------------------------------------------------------------------- */

/*
 * Reads the entry that the cursor stands on after a move; -ENOENT from the move: this side is at
 * its end.
 */
static int arrive(struct side *side, int err)
{
	side->more = !err;
	if (err)
		return err == -ENOENT ? 0 : err;
	return read_entry(side, side->cursor, &side->entry);
}

static int compare_keys(const struct diff *diff)
{
	struct kv_slice from, to;
	int order;

	if (!diff->from.more || !diff->to.more)
		return diff->from.more ? -1 : 1;
	from = kv_cursor_key(diff->from.cursor);
	to = kv_cursor_key(diff->to.cursor);
	order = memcmp(from.data, to.data, from.size < to.size ? from.size : to.size);
	if (order)
		return order;
	return from.size < to.size ? -1 : from.size > to.size;
}

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* An inode that both have. Every change but reading sets its time of change. */
static int is_changed(struct diff *diff, uint64_t ino, bool *changed)
{
	struct timespec mtime, ctime;
	struct inode inode;
	uint64_t size;
	int err = inode_get(diff->from.fs, ino, &inode);

	if (err)
		return err;
	mtime = inode.mtime;
	ctime = inode.ctime;
	size = inode.size;
	err = inode_get(diff->to.fs, ino, &inode);
	if (!err)
		*changed = size != inode.size || !same_time(mtime, inode.mtime) ||
			   !same_time(ctime, inode.ctime);
	return err;
}

static int compare_same_key(struct diff *diff)
{
	const struct dirent *from = &diff->from.entry, *to = &diff->to.entry;
	bool changed = true;
	int err = 0;

	if (from->type != to->type || (from->ino != to->ino && to->type == S_IFDIR)) {
		err = tell(diff, KVFS_REMOVED, &diff->from);
		return err ? err : tell(diff, KVFS_ADDED, &diff->to);
	}
	if (from->ino == to->ino)
		err = is_changed(diff, to->ino, &changed);
	return err || !changed ? err : tell(diff, KVFS_CHANGED, &diff->to);
}

static int step(struct diff *diff)
{
	int order = compare_keys(diff), err;

	if (order < 0)
		err = tell(diff, KVFS_REMOVED, &diff->from);
	else if (order > 0)
		err = tell(diff, KVFS_ADDED, &diff->to);
	else
		err = compare_same_key(diff);
	if (!err && order <= 0)
		err = arrive(&diff->from, kv_cursor_next(diff->from.cursor));
	if (!err && order >= 0)
		err = arrive(&diff->to, kv_cursor_next(diff->to.cursor));
	return err;
}

static int side_init(struct side *side, struct kvfs *fs)
{
	int err = scratch_take(&fs->scratch, &side->scratch);

	side->fs = fs;
	if (err)
		return err;
	return scratch_cursor(side->scratch, KEYSPACE_DIRENT, &side->cursor);
}

static void side_fini(struct side *side)
{
	if (side->scratch)
		scratch_give(side->scratch);
	number_table_fini(&side->hashes);
	free(side->path);
}

int kvfs_diff(struct kvfs *from, struct kvfs *to, kvfs_difference_fn *each, void *arg)
{
	struct diff diff = {.each = each, .arg = arg};
	bool changed;
	int err = side_init(&diff.from, from);

	if (!err)
		err = side_init(&diff.to, to);
	if (err)
		goto out;
	kv_read_begin(from->kv);
	err = is_changed(&diff, KVFS_ROOT_INO, &changed);
	if (!err && changed)
		err = each(arg, KVFS_CHANGED, "", true) ? -ECANCELED : 0;
	if (!err)
		err = arrive(&diff.from, kv_cursor_first(diff.from.cursor));
	if (!err)
		err = arrive(&diff.to, kv_cursor_first(diff.to.cursor));
	kv_read_end(from->kv);
	while (!err && (diff.from.more || diff.to.more)) {
		kv_read_begin(from->kv);
		err = step(&diff);
		kv_read_end(from->kv);
	}
out:
	side_fini(&diff.from);
	side_fini(&diff.to);
	free(diff.text);
	return err;
}

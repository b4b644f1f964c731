/* SPDX-License-Identifier: MIT */
/*
 * diff.c - what is different between two moments of one store.
 *
 * The earlier moment is a view, and the store knows which of its records are not those of the later
 * one. Whatever changes about a file or a directory (contents, entries, attributes) changes its
 * inode's record in the same batch. So those inodes and entries are looked at, and what came is
 * found in the lists of directories that changed: it costs what changed, and the directories that
 * this is in, whatever the size of the tree.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "changed.h"
#include "diff_names.h"
#include "entry.h"
#include "inode.h"

/* Keys of entries, one behind the other, each behind its size (2 bytes). */
struct keys {
	uint8_t *bytes;
	size_t size, room;
};

struct diff {
	struct diff_names names;
	struct changed inodes;      /* of the earlier tree, with another record in the later one */
	struct changed directories; /* of these, what both have */
	struct keys entries;        /* of the earlier tree, likewise */
	enum kvfs_difference came, went;
	kvfs_difference_fn *each;
	void *arg;
	char *text; /* a whole path */
	size_t text_room;
};

/* ---- what has another record ----------------------------------------------------------------- */

static int on_inode(void *arg, struct kv_slice key)
{
	struct diff *diff = arg;
	uint64_t ino;

	if (inode_key_decode(key, &ino))
		return fs_damaged(diff->names.old, 0, "a record's key makes no sense");
	return changed_add(&diff->inodes, ino);
}

static int on_entry(void *arg, struct kv_slice key)
{
	struct keys *keys = &((struct diff *)arg)->entries;
	uint16_t key_size = (uint16_t)key.size;
	size_t size = keys->size + sizeof(key_size) + key.size, room = keys->room;
	uint8_t *bytes;

	while (room < size)
		room = room * 2 + 4096;
	if (room != keys->room) {
		bytes = realloc(keys->bytes, room);
		if (!bytes)
			return -ENOMEM;
		keys->bytes = bytes;
		keys->room = room;
	}
	memcpy(keys->bytes + keys->size, &key_size, sizeof(key_size));
	memcpy(keys->bytes + keys->size + sizeof(key_size), key.data, key.size);
	keys->size = size;
	return 0;
}

static int find_changes(struct diff *diff)
{
	const struct kv_view *old = diff->names.old->view, *new = diff->names.new->view;
	int err = kv_view_changes(old, new, KEYSPACE_INODE, on_inode, diff);

	return err ? err : kv_view_changes(old, new, KEYSPACE_DIRENT, on_entry, diff);
}

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/*
 * An inode of the earlier tree: notes what is to be told of it. One that has gone, or has no name
 * any more, is told by its directory. Every change but reading sets the time of change.
 */
static int note_inode(struct diff *diff, uint64_t ino)
{
	struct timespec mtime, ctime;
	struct inode inode;
	uint64_t size;
	bool is_directory;
	int err = inode_get(diff->names.old, ino, &inode);

	if (err)
		return err == -ENOENT ? fs_damaged(diff->names.old, ino, "it cannot be found")
				      : err;
	mtime = inode.mtime;
	ctime = inode.ctime;
	size = inode.size;
	err = inode_get(diff->names.new, ino, &inode);
	if (err || !inode.nlink)
		return err == -ENOENT ? 0 : err;
	is_directory = S_ISDIR(inode.mode);
	if (is_directory)
		err = changed_add(&diff->directories, ino);
	if (err || (size == inode.size && same_time(mtime, inode.mtime) &&
			   same_time(ctime, inode.ctime)))
		return err;
	if (ino == KVFS_ROOT_INO)
		return diff->each(diff->arg, KVFS_CHANGED, "", true) ? -ECANCELED : 0;
	return diff_names_want(
		&diff->names, ino, inode.parent, is_directory ? 1 : inode.nlink);
}

static int note_inodes(struct diff *diff)
{
	int err = 0;

	for (size_t i = 0; i < diff->inodes.count && !err; i++) {
		kv_read_begin(diff->names.old->kv);
		err = note_inode(diff, diff->inodes.inos[i]);
		kv_read_end(diff->names.old->kv);
	}
	return err;
}

/* ---- telling --------------------------------------------------------------------------------- */

/* Of an entry of a directory that is in its place, and was asked for last. In a read section. */
static int tell(struct diff *diff, enum kvfs_difference what, const struct dirent *entry)
{
	const struct diff_names *names = &diff->names;
	size_t room = names->path_size + entry->name_size + 1;
	char *text;

	if (diff->text_room < room) {
		text = realloc(diff->text, room * 2);
		if (!text)
			return -ENOMEM;
		diff->text = text;
		diff->text_room = room * 2;
	}
	if (names->path_size)
		memcpy(diff->text, names->path, names->path_size);
	memcpy(diff->text + names->path_size, entry->name, entry->name_size);
	diff->text[names->path_size + entry->name_size] = '\0';
	return diff->each(diff->arg, what, diff->text, entry->type == S_IFDIR) ? -ECANCELED : 0;
}

/* A name that the later tree has. In a read section. */
static int tell_name(struct diff *diff, const struct diff_name *name)
{
	struct dirent was, is;
	int err = diff_names_entry(&diff->names, name, &is);

	if (err)
		return err;
	err = diff_names_old_entry(&diff->names, &is, &was);
	if (err)
		return err == -ENOENT ? tell(diff, diff->came, &is) : err;
	if (was.type == is.type && (was.ino == is.ino || is.type != S_IFDIR))
		return was.ino != is.ino || diff_names_wants(&diff->names, is.ino)
			? tell(diff, KVFS_CHANGED, &is) : 0;
	err = tell(diff, diff->came, &is);
	if (err)
		return err;
	is.ino = was.ino;
	is.type = was.type;
	return tell(diff, diff->went, &is);
}

/* Those that are found meanwhile, for the sake of a path, come behind. */
static int tell_names(struct diff *diff)
{
	struct diff_names *names = &diff->names;
	int err = 0;

	for (size_t i = 0; i < names->count && !err; i++) {
		struct diff_name name = names->names[i];
		bool in_place;

		err = diff_names_place(names, name.parent, &in_place);
		if (err || !in_place)
			continue;
		kv_read_begin(names->new->kv);
		err = tell_name(diff, &name);
		kv_read_end(names->new->kv);
	}
	return err;
}

/* An entry of the earlier tree. If the later one has that name, it was told already. */
static int tell_gone(struct diff *diff, struct kv_slice key)
{
	struct diff_names *names = &diff->names;
	struct dirent_key same = {.size = key.size};
	struct dirent entry, now;
	bool in_place;
	int err;

	if (dirent_key_decode(key, &entry))
		return fs_damaged(names->old, 0, "an entry makes no sense");
	memcpy(same.bytes, key.data, key.size);
	err = diff_names_place(names, entry.parent, &in_place);
	if (err || !in_place)
		return err;
	kv_read_begin(names->old->kv);
	err = entry_get(names->new, &same, &now);
	if (err == -ENOENT) {
		err = entry_get(names->old, &same, &now);
		if (!err) {
			entry.type = now.type;
			err = tell(diff, diff->went, &entry);
		}
	}
	kv_read_end(names->old->kv);
	return err;
}

static int tell_all_gone(struct diff *diff)
{
	const struct keys *keys = &diff->entries;
	uint16_t size;
	size_t at;
	int err = 0;

	for (at = 0; at < keys->size && !err; at += sizeof(size) + size) {
		memcpy(&size, keys->bytes + at, sizeof(size));
		err = tell_gone(diff, (struct kv_slice){keys->bytes + at + sizeof(size), size});
	}
	return err;
}

/* What came stands in directories that changed. */
static int list_changed(struct diff *diff)
{
	bool in_place;
	int err = 0;

	for (size_t i = 0; i < diff->directories.count && !err; i++) {
		err = diff_names_place(&diff->names, diff->directories.inos[i], &in_place);
		if (!err && in_place)
			err = diff_names_list(&diff->names, diff->directories.inos[i]);
	}
	return err;
}

static int compare(struct diff *diff)
{
	int err = find_changes(diff);

	if (!err)
		err = note_inodes(diff);
	if (!err)
		err = list_changed(diff);
	if (!err)
		err = diff_names_find(&diff->names);
	if (!err)
		err = tell_names(diff);
	return err ? err : tell_all_gone(diff);
}

int kvfs_diff(struct kvfs *from, struct kvfs *to, kvfs_difference_fn *each, void *arg)
{
	struct diff diff = {.came = KVFS_ADDED, .went = KVFS_REMOVED, .each = each, .arg = arg};
	uint64_t from_seq = from->view ? kv_view_seq(from->view) : UINT64_MAX;
	uint64_t to_seq = to->view ? kv_view_seq(to->view) : UINT64_MAX;
	int err;

	if (from_seq == to_seq)
		return 0;
	if (from_seq > to_seq) {
		struct kvfs *later = from;

		from = to;
		to = later;
		diff.came = KVFS_REMOVED;
		diff.went = KVFS_ADDED;
	}
	err = diff_names_init(&diff.names, from, to);
	if (!err)
		err = compare(&diff);
	diff_names_fini(&diff.names);
	changed_fini(&diff.inodes);
	changed_fini(&diff.directories);
	free(diff.entries.bytes);
	free(diff.text);
	return err;
}

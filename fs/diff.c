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

#define STOP_STEPS 256u /* after which it is asked whether to stop */

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
	unsigned steps;
	/*
	 * What is to be told once the read section is over, as telling may take long: what, whether
	 * of a directory, and the path with a NUL, one behind the other.
	 */
	char *rows;
	size_t rows_size, rows_room;
};

/* ---- what is to be told ---------------------------------------------------------------------- */

static int note_row(struct diff *diff, enum kvfs_difference what, struct kv_slice path,
	struct kv_slice name, bool is_directory)
{
	size_t size = diff->rows_size + 2 + path.size + name.size + 1, room = diff->rows_room;
	char *rows, *row;

	while (room < size)
		room = room * 2 + 512;
	if (room != diff->rows_room) {
		rows = realloc(diff->rows, room);
		if (!rows)
			return -ENOMEM;
		diff->rows = rows;
		diff->rows_room = room;
	}
	row = diff->rows + diff->rows_size;
	row[0] = (char)what;
	row[1] = (char)is_directory;
	if (path.size)
		memcpy(row + 2, path.data, path.size);
	if (name.size)
		memcpy(row + 2 + path.size, name.data, name.size);
	diff->rows[size - 1] = '\0';
	diff->rows_size = size;
	return 0;
}

/* Outside of read sections. */
static int give_rows(struct diff *diff)
{
	size_t at = 0;

	while (at < diff->rows_size) {
		const char *row = diff->rows + at, *path = row + 2;

		if (diff->each(diff->arg, (enum kvfs_difference)row[0], path, row[1]))
			return -ECANCELED;
		at += 2 + strlen(path) + 1;
	}
	diff->rows_size = 0;
	return 0;
}

/* ---- what has another record ----------------------------------------------------------------- */

static int check_stop(struct diff *diff)
{
	return ++diff->steps % STOP_STEPS ? 0 : diff_names_stopped(&diff->names);
}

static int on_inode(void *arg, struct kv_slice key)
{
	struct diff *diff = arg;
	uint64_t ino;
	int err = check_stop(diff);

	if (err)
		return err;
	if (inode_key_decode(key, &ino))
		return fs_damaged(diff->names.old, 0, "a record's key makes no sense");
	return changed_add(&diff->inodes, ino);
}

static int on_entry(void *arg, struct kv_slice key)
{
	struct diff *diff = arg;
	struct keys *keys = &diff->entries;
	uint16_t key_size = (uint16_t)key.size;
	size_t size = keys->size + sizeof(key_size) + key.size, room = keys->room;
	uint8_t *bytes;
	int err = check_stop(diff);

	if (err)
		return err;
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
		return note_row(diff, KVFS_CHANGED, (struct kv_slice){0}, (struct kv_slice){0},
			true);
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
		if (!err)
			err = check_stop(diff);
	}
	return err ? err : give_rows(diff);
}

/* ---- telling --------------------------------------------------------------------------------- */

/* Of an entry of a directory that is in its place, and was asked for last. In a read section. */
static int tell(struct diff *diff, enum kvfs_difference what, const struct dirent *entry)
{
	const struct kv_slice path = {diff->names.path, diff->names.path_size};
	const struct kv_slice name = {entry->name, entry->name_size};

	return note_row(diff, what, path, name, entry->type == S_IFDIR);
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
		if (!err)
			err = check_stop(diff);
		if (err || !in_place)
			continue;
		kv_read_begin(names->new->kv);
		err = tell_name(diff, &name);
		kv_read_end(names->new->kv);
		if (!err)
			err = give_rows(diff);
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
	return err ? err : give_rows(diff);
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
		if (!err)
			err = check_stop(diff);
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

int kvfs_diff(struct kvfs *from, struct kvfs *to, kvfs_difference_fn *each, kvfs_stop_fn *stop,
	void *arg)
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
	diff.names.stop = stop;
	diff.names.stop_arg = arg;
	if (!err)
		err = compare(&diff);
	diff_names_fini(&diff.names);
	changed_fini(&diff.inodes);
	changed_fini(&diff.directories);
	free(diff.entries.bytes);
	free(diff.rows);
	return err;
}

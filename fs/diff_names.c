/* SPDX-License-Identifier: MIT */
/* diff_names.c - see diff_names.h. */
#include "diff_names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "entry.h"
#include "inode.h"
#include "record.h"

#define DEPTH_MAX 4096u /* of a path */
#define BATCH 64u       /* entries that are read at once */

int diff_names_init(struct diff_names *names, struct kvfs *old, struct kvfs *new)
{
	int err;

	*names = (struct diff_names){.old = old, .new = new, .old_seq = kv_view_seq(old->view)};
	err = scratch_take(&new->scratch, &names->scratch);
	if (err)
		return err;
	return scratch_cursor(names->scratch, KEYSPACE_DIRENT, &names->cursor);
}

void diff_names_fini(struct diff_names *names)
{
	if (names->scratch)
		scratch_give(names->scratch);
	changed_fini(&names->parents);
	number_table_fini(&names->wanted);
	number_table_fini(&names->hashes);
	number_table_fini(&names->listed);
	free(names->names);
	free(names->path);
}

int diff_names_stopped(const struct diff_names *names)
{
	return names->stop && names->stop(names->stop_arg) ? -ECANCELED : 0;
}

/* ---- lists of entries ------------------------------------------------------------------------ */

static int add_name(struct diff_names *names, struct diff_name name)
{
	size_t room = names->room * 2 + 64;
	struct diff_name *more;

	if (names->count == names->room) {
		more = realloc(names->names, room * sizeof(*more));
		if (!more)
			return -ENOMEM;
		names->names = more;
		names->room = room;
	}
	names->names[names->count++] = name;
	return 0;
}

static int note_directory(struct diff_names *names, const struct dirent *entry)
{
	uint64_t *hash = number_table_at(&names->hashes, entry->ino);

	if (!hash)
		return -ENOMEM;
	*hash = entry->hash;
	return 0;
}

/* In a read section. */
static int note_entry(struct diff_names *names, const struct kv_entry *found)
{
	struct dirent entry;
	uint64_t *left;
	int err = 0;

	if (found->status)
		return found->status;
	if (dirent_key_decode(found->key, &entry) || dirent_value_decode(found->value, &entry))
		return fs_damaged(names->new, 0, "an entry makes no sense");
	/* Of all lists, those that have been seen already. */
	if (number_set_has(&names->listed, entry.parent))
		return 0;
	if (entry.type == S_IFDIR)
		err = note_directory(names, &entry);
	left = number_table_find(&names->wanted, entry.ino);
	if (left && *left) {
		--*left;
		names->missing--;
	} else if (found->seq <= names->old_seq) {
		return err;
	}
	if (err)
		return err;
	return add_name(names, (struct diff_name){entry.ino, entry.parent, entry.hash});
}

/* The entries within the cursor's bounds. */
static int note_entries(struct diff_names *names)
{
	struct kv_entry found[BATCH];
	int err = kv_cursor_first(names->cursor);

	while (!err) {
		size_t count = 0;

		kv_read_begin(names->new->kv);
		err = kv_cursor_read(names->cursor, found, BATCH, &count);
		for (size_t i = 0; i < count && !err; i++)
			err = note_entry(names, &found[i]);
		kv_read_end(names->new->kv);
		if (!err)
			err = diff_names_stopped(names);
	}
	return err == -ENOENT ? 0 : err;
}

int diff_names_list(struct diff_names *names, uint64_t directory)
{
	struct dirent_key place;
	int err;

	if (names->all_listed || number_set_has(&names->listed, directory))
		return 0;
	dirent_key_place(directory, 0, &place);
	err = kv_cursor_set_prefix(names->cursor, place.bytes, DIRENT_PARENT_SIZE);
	if (!err)
		err = note_entries(names);
	if (!err)
		err = number_set_add(&names->listed, directory);
	return err < 0 ? err : 0;
}

static int list_all(struct diff_names *names)
{
	int err = kv_cursor_set_range(names->cursor, NULL, 0, NULL, 0);

	if (!err)
		err = note_entries(names);
	names->all_listed = !err;
	return err;
}

/* ---- what is wanted -------------------------------------------------------------------------- */

int diff_names_want(struct diff_names *names, uint64_t ino, uint64_t parent, uint64_t count)
{
	uint64_t *left = number_table_at(&names->wanted, ino);

	if (!left)
		return -ENOMEM;
	*left = count;
	names->missing += count;
	return parent ? changed_add(&names->parents, parent) : 0;
}

bool diff_names_wants(const struct diff_names *names, uint64_t ino)
{
	return number_table_find(&names->wanted, ino);
}

int diff_names_find(struct diff_names *names)
{
	int err = 0;

	for (size_t i = 0; i < names->parents.count && names->missing && !err; i++)
		err = diff_names_list(names, names->parents.inos[i]);
	return err || !names->missing || names->all_listed ? err : list_all(names);
}

/* ---- places ---------------------------------------------------------------------------------- */

/* Goes to an entry of the later tree, of which the name is not known. */
static int find_entry(struct diff_names *names, uint64_t parent, uint64_t hash, uint64_t ino,
	struct dirent *out)
{
	struct dirent_key place;
	struct kv_slice value;
	int err;

	dirent_key_place(parent, hash, &place);
	err = kv_cursor_set_prefix(names->cursor, place.bytes, DIRENT_PARENT_SIZE);
	if (!err)
		err = kv_cursor_seek(names->cursor, place.bytes, place.size);
	/* Some names have the same hash. */
	for (; !err; err = kv_cursor_next(names->cursor)) {
		err = record_error(kv_cursor_value(names->cursor, &value));
		if (!err && (dirent_key_decode(kv_cursor_key(names->cursor), out) ||
				    dirent_value_decode(value, out)))
			err = fs_damaged(names->new, parent, "one of its entries makes no sense");
		if (err || out->hash != hash)
			return err ? err : -ENOENT;
		if (out->ino == ino)
			return 0;
	}
	return err;
}

int diff_names_entry(
	struct diff_names *names, const struct diff_name *name, struct dirent *entry)
{
	return find_entry(names, name->parent, name->hash, name->ino, entry);
}

int diff_names_old_entry(
	const struct diff_names *names, const struct dirent *entry, struct dirent *out)
{
	struct dirent_key key;

	dirent_key_place(entry->parent, entry->hash, &key);
	memcpy(key.bytes + DIRENT_PREFIX_SIZE, entry->name, entry->name_size);
	key.size = DIRENT_PREFIX_SIZE + entry->name_size;
	return entry_get(names->old, &key, out);
}

static int need_room(struct diff_names *names, size_t size)
{
	size_t room = names->path_room ? names->path_room : 256;
	char *longer;

	while (room < size)
		room *= 2;
	if (room == names->path_room)
		return 0;
	longer = realloc(names->path, room);
	if (!longer)
		return -ENOMEM;
	names->path = longer;
	names->path_room = room;
	return 0;
}

/* The name goes in front of the path. */
static int prepend(struct diff_names *names, const struct dirent *entry)
{
	int err = need_room(names, names->path_size + entry->name_size + 1);

	if (err)
		return err;
	memmove(names->path + entry->name_size + 1, names->path, names->path_size);
	memcpy(names->path, entry->name, entry->name_size);
	names->path[entry->name_size] = '/';
	names->path_size += entry->name_size + 1;
	return 0;
}

/* The directory that another one is in, in the later tree; -ENOENT: in none, as it is gone. */
static int find_parent(struct diff_names *names, uint64_t ino, uint64_t *parent)
{
	struct inode inode;
	int err;

	kv_read_begin(names->new->kv);
	err = inode_get(names->new, ino, &inode);
	if (!err && !S_ISDIR(inode.mode))
		err = fs_damaged(names->new, ino, "it has entries but is no directory");
	/* It was removed, and what is left of it is kept for its holders, or is being freed. */
	if (!err && !inode.nlink)
		err = -ENOENT;
	if (!err)
		*parent = inode.parent;
	kv_read_end(names->new->kv);
	return err;
}

/*
 * One step towards the root: is the directory there in both trees, by the same name? Then that goes
 * in front of the path. In a read section.
 */
static int climb(struct diff_names *names, uint64_t parent, uint64_t child, bool *same)
{
	const uint64_t *hash = number_table_find(&names->hashes, child);
	struct dirent entry, was;
	int err = hash ? find_entry(names, parent, *hash, child, &entry) : -ENOENT;

	if (err == -ENOENT)
		return fs_damaged(names->new, child, "it has no path to the root");
	if (err)
		return err;
	err = diff_names_old_entry(names, &entry, &was);
	*same = !err && was.ino == child;
	if (err)
		return err == -ENOENT ? 0 : err;
	return *same ? prepend(names, &entry) : 0;
}

static int find_place(struct diff_names *names, uint64_t directory, bool *in_place)
{
	uint64_t child, parent;
	unsigned depth = 0;
	int err;

	names->path_size = 0;
	*in_place = true;
	for (child = directory; child != KVFS_ROOT_INO && *in_place; child = parent) {
		err = find_parent(names, child, &parent);
		*in_place = err != -ENOENT || child != directory;
		if (!*in_place)
			return 0;
		/* Or a cycle, which only damage makes. */
		if (!err && ++depth > DEPTH_MAX)
			err = -ENAMETOOLONG;
		if (!err)
			err = diff_names_list(names, parent);
		if (err)
			return err == -ENOENT
				? fs_damaged(names->new, child, "it has no path to the root") : err;
		kv_read_begin(names->new->kv);
		err = climb(names, parent, child, in_place);
		kv_read_end(names->new->kv);
		if (err)
			return err;
	}
	return 0;
}

int diff_names_place(struct diff_names *names, uint64_t directory, bool *in_place)
{
	int err = 0;

	if (names->directory != directory) {
		names->directory = 0;
		err = find_place(names, directory, &names->in_place);
	}
	if (err)
		return err;
	names->directory = directory;
	*in_place = names->in_place;
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * mend_names.c - repairs names: entries that name nothing go, records that something belongs to are
 * made anew, and what has no way from the root gets a name in lost+found.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "entry.h"
#include "extent_record.h"
#include "mend.h"
#include "orphan_record.h"
#include "record.h"
#include "xattr_record.h"

#define SHOWN_MAX (4 * KVFS_NAME_MAX + 1)

/* A copy of what the cursor is on, which outlives the change of it. */
struct found {
	struct dirent_key key;
	struct dirent entry; /* its name is in `key` */
	int status;	     /* of the value */
	bool sound;	     /* the key makes sense */
};

static const char *shown(const struct dirent *entry, char text[SHOWN_MAX])
{
	char *to = text;

	for (size_t i = 0; i < entry->name_size; i++) {
		unsigned char c = (unsigned char)entry->name[i];

		if (isprint(c) && c != '"' && c != '\\')
			*to++ = (char)c;
		else
			to += sprintf(to, "\\x%02x", c);
	}
	*to = '\0';
	return text;
}

/* ---- owners ---------------------------------------------------------------------------------- */

static int make_directory(struct mend *mend, uint64_t ino)
{
	struct inode inode = {
		.ino = ino, .mode = S_IFDIR | 0700, .nlink = 2, .parent = KVFS_ROOT_INO};

	mend_say(mend,
		"inode %llu: a directory whose attributes are lost; it is made anew with its entries",
		(unsigned long long)ino);
	return mend_make(mend, &inode);
}

/* Makes a file's record; mend_inodes finds size and blocks. */
static int make_file(struct mend *mend, uint64_t ino)
{
	struct inode inode = {.ino = ino,
		.mode = S_IFREG | 0600,
		.nlink = 1,
		.contents = INODE_EXTENTS,
		.flags = INODE_MIXED | INODE_SHARES};

	mend_say(mend,
		"inode %llu: a file whose attributes are lost; it is made anew with its contents",
		(unsigned long long)ino);
	return mend_make(mend, &inode);
}

/* All records of this keyspace whose keys begin with the number. */
static int delete_all(struct mend *mend, enum keyspace keyspace, uint64_t ino)
{
	uint8_t prefix[INODE_KEY_SIZE];
	struct kv_cursor *cursor;
	int err = scratch_cursor(mend->change.scratch, keyspace, &cursor);

	inode_key_encode(ino, prefix);
	if (!err)
		err = kv_cursor_set_prefix(cursor, prefix, sizeof(prefix));
	if (err)
		return err;
	for (err = kv_cursor_first(cursor); !err; err = kv_cursor_next(cursor)) {
		struct kv_slice key = kv_cursor_key(cursor);

		err = mend_delete(mend, keyspace, key.data, key.size);
		if (err)
			return err;
	}
	return err == -ENOENT ? 0 : err;
}

/* `ino` has something in this keyspace: does that fit what it is? */
static int mend_owner(struct mend *mend, enum keyspace keyspace, uint64_t ino)
{
	struct inode inode;
	int err = mend_look(mend, ino, &inode);

	if (err && err != -ENOENT)
		return err;
	if (keyspace == KEYSPACE_DIRENT)
		return err ? make_directory(mend, ino) : 0;
	if (keyspace == KEYSPACE_EXTENT && err)
		return make_file(mend, ino);
	if (keyspace == KEYSPACE_EXTENT && inode.contents == INODE_EXTENTS)
		return 0;
	if (keyspace == KEYSPACE_XATTR && !err)
		return 0;
	mend_say(mend, "inode %llu: %s, removed", (unsigned long long)ino,
		keyspace == KEYSPACE_XATTR ? "attributes of what is lost"
					   : "pieces of contents that it does not have");
	return delete_all(mend, keyspace, ino);
}

static bool is_sound(enum keyspace keyspace, struct kv_slice key, uint64_t *ino)
{
	struct extent_place place;
	struct dirent entry;
	struct kv_slice name;

	if (keyspace == KEYSPACE_XATTR)
		return !xattr_key_decode(key, ino, &name);
	if (keyspace == KEYSPACE_DIRENT) {
		if (dirent_key_decode(key, &entry))
			return false;
		*ino = entry.parent;
		return true;
	}
	if (extent_key_decode(key, &place))
		return false;
	*ino = place.ino;
	return true;
}

/* Looks at every key, and at each owner once. */
static int mend_owners_of(struct mend *mend, enum keyspace keyspace)
{
	struct kv_cursor *cursor;
	uint64_t ino, last = 0;
	int err = scratch_cursor(mend->scratch, keyspace, &cursor);

	if (!err)
		err = kv_cursor_first(cursor);
	while (!err) {
		struct kv_slice key = kv_cursor_key(cursor);

		if (!is_sound(keyspace, key, &ino)) {
			mend_say(mend, "a record whose key makes no sense, removed");
			err = mend_delete(mend, keyspace, key.data, key.size);
		} else if (ino != last) {
			err = mend_owner(mend, keyspace, ino);
			last = ino;
		}
		if (!err)
			err = kv_cursor_next(cursor);
	}
	return err == -ENOENT ? 0 : err;
}

int mend_owners(struct mend *mend)
{
	int err = mend_owners_of(mend, KEYSPACE_DIRENT);

	if (!err)
		err = mend_owners_of(mend, KEYSPACE_EXTENT);
	return err ? err : mend_owners_of(mend, KEYSPACE_XATTR);
}

/* ---- entries --------------------------------------------------------------------------------- */

static int remove_entry(struct mend *mend, const struct found *found, const char *why)
{
	char text[SHOWN_MAX];

	if (found->sound)
		mend_say(mend, "entry \"%s\" of directory %llu: %s; removed",
			shown(&found->entry, text), (unsigned long long)found->entry.parent, why);
	else
		mend_say(mend, "an entry whose key makes no sense; removed");
	return mend_delete(mend, KEYSPACE_DIRENT, found->key.bytes, found->key.size);
}

/* The right key, if that is free, and the right type. */
static int rewrite_entry(struct mend *mend, const struct found *found, uint32_t mode)
{
	uint8_t value[DIRENT_VALUE_SIZE];
	struct dirent_key key;
	char text[SHOWN_MAX];
	bool moved;
	int err;

	dirent_key_encode(mend->fs->name_secret, found->entry.parent, found->entry.name,
		found->entry.name_size, &key);
	moved = key.size != found->key.size || memcmp(key.bytes, found->key.bytes, key.size);
	if (moved && !record_exists(mend->fs, KEYSPACE_DIRENT, key.bytes, key.size))
		return remove_entry(mend, found, "there is another of this name");
	mend_say(mend, "entry \"%s\" of directory %llu: written anew", shown(&found->entry, text),
		(unsigned long long)found->entry.parent);
	dirent_value_encode(found->entry.ino, mode, value);
	/* The new one first: an interruption between the two leaves one too many, not none. */
	err = mend_put(mend, KEYSPACE_DIRENT, key.bytes, key.size, value, sizeof(value));
	return err || !moved
		       ? err
		       : mend_delete(mend, KEYSPACE_DIRENT, found->key.bytes, found->key.size);
}

static int count(struct number_table *table, uint64_t number, uint64_t more)
{
	uint64_t *at = number_table_at(table, number);

	if (!at)
		return -ENOMEM;
	*at += more;
	return 0;
}

static int count_entry(struct mend *mend, const struct dirent *entry, uint32_t mode)
{
	uint64_t *parent;
	int err = count(&mend->names, entry->ino, 1);

	if (!err)
		err = count(&mend->sizes, entry->parent, dirent_size(entry->name_size));
	if (err || !S_ISDIR(mode))
		return err;
	parent = number_table_at(&mend->parents, entry->ino);
	if (!parent)
		return -ENOMEM;
	*parent = entry->parent;
	return count(&mend->subdirs, entry->parent, 1);
}

static int mend_entry(struct mend *mend, const struct found *found)
{
	struct inode parent, inode;
	int err;

	if (!found->sound)
		return remove_entry(mend, found, "");
	if (found->status)
		return remove_entry(mend, found, "it cannot be read");
	err = mend_look(mend, found->entry.parent, &parent);
	if (!err && !S_ISDIR(parent.mode))
		err = -ENOENT;
	if (err == -ENOENT)
		return remove_entry(mend, found, "that is no directory");
	if (err)
		return err;
	err = mend_look(mend, found->entry.ino, &inode);
	if (err == -ENOENT)
		return remove_entry(mend, found, "what it names is lost");
	if (err)
		return err;
	if (S_ISDIR(inode.mode) &&
		(inode.ino == KVFS_ROOT_INO || number_table_find(&mend->parents, inode.ino)))
		return remove_entry(mend, found, "another name of a directory");
	if ((inode.mode & S_IFMT) != found->entry.type ||
		!dirent_hash_matches(mend->fs->name_secret, &found->entry)) {
		err = rewrite_entry(mend, found, inode.mode);
		if (err)
			return err;
		/* Under its right key it comes by in the next walk. */
		if (!dirent_hash_matches(mend->fs->name_secret, &found->entry)) {
			mend->any_moved = true;
			return 0;
		}
	}
	return count_entry(mend, &found->entry, inode.mode);
}

static void take_entry(struct mend *mend, struct kv_cursor *cursor, struct found *out)
{
	struct kv_slice key = kv_cursor_key(cursor), value;

	*out = (struct found){0};
	out->key.size = key.size < sizeof(out->key.bytes) ? key.size : sizeof(out->key.bytes);
	memcpy(out->key.bytes, key.data, out->key.size);
	key.data = out->key.bytes;
	out->sound = key.size == out->key.size && !dirent_key_decode(key, &out->entry);
	kv_read_begin(mend->fs->kv);
	out->status = kv_cursor_value(cursor, &value);
	if (!out->status)
		out->status = dirent_value_decode(value, &out->entry);
	kv_read_end(mend->fs->kv);
}

static int walk_entries(struct mend *mend)
{
	struct kv_cursor *cursor;
	struct found found;
	int err = scratch_cursor(mend->scratch, KEYSPACE_DIRENT, &cursor);

	if (err)
		return err;
	for (err = kv_cursor_first(cursor); !err; err = kv_cursor_next(cursor)) {
		take_entry(mend, cursor, &found);
		/* That is no damage. */
		err = found.status == -ENOMEM ? found.status : mend_entry(mend, &found);
		if (err)
			return err;
	}
	return err == -ENOENT ? 0 : err;
}

int mend_names(struct mend *mend)
{
	bool again;
	int err;

	/*
	 * An entry that was moved may be behind the walk, or before it: counted is when all are in
	 * their places.
	 */
	do {
		mend_forget_names(mend);
		mend->any_moved = false;
		err = walk_entries(mend);
		again = !err && mend->any_moved;
	} while (again);
	return err;
}

/* ---- what is lost ---------------------------------------------------------------------------- */

/* The entry of a directory that is on a way in circles: without it that one has no name. */
static int cut_circle(struct mend *mend, uint64_t ino, uint64_t parent)
{
	uint8_t prefix[DIRENT_PARENT_SIZE];
	struct kv_cursor *cursor;
	struct found found;
	int err = scratch_cursor(mend->scratch, KEYSPACE_DIRENT, &cursor);

	inode_key_encode(parent, prefix);
	if (!err)
		err = kv_cursor_set_prefix(cursor, prefix, sizeof(prefix));
	if (err)
		return err;
	for (err = kv_cursor_first(cursor); !err; err = kv_cursor_next(cursor)) {
		take_entry(mend, cursor, &found);
		if (found.sound && !found.status && found.entry.ino == ino)
			return remove_entry(mend, &found, "a directory inside itself");
	}
	return err == -ENOENT ? 0 : err;
}

/* Does the way up come back to `start`? */
static bool is_circle(const struct mend *mend, uint64_t start)
{
	uint64_t ino = start;

	for (size_t steps = 0; steps <= mend->parents.used; steps++) {
		const uint64_t *parent = number_table_find(&mend->parents, ino);

		if (!parent || !*parent || *parent == KVFS_ROOT_INO)
			return false;
		ino = *parent;
		if (ino == start)
			return true;
	}
	return false;
}

static int mend_circles(struct mend *mend)
{
	for (size_t i = 0; i < mend->parents.capacity; i++) {
		struct number_slot *slot = &mend->parents.slots[i];
		uint64_t ino = slot->key - 1, *names;
		int err;

		if (!slot->key || !is_circle(mend, ino))
			continue;
		err = cut_circle(mend, ino, slot->value);
		if (err)
			return err;
		slot->value = 0;
		names = number_table_find(&mend->names, ino);
		if (names)
			*names = 0;
	}
	return 0;
}

static int find_lost_and_found(struct mend *mend, uint64_t *ino)
{
	static const char name[] = "lost+found";
	static const struct kvfs_caller root = {0};
	struct kvfs_attr attr;
	int err = kvfs_lookup(mend->fs, KVFS_ROOT_INO, name, &attr);

	if (err == -ENOENT)
		err = kvfs_mkdir(mend->fs, &root, KVFS_ROOT_INO, name, 0700, &attr);
	if (!err && !S_ISDIR(attr.mode))
		err = -ENOTDIR;
	if (!err)
		*ino = attr.ino;
	return err;
}

static int give_name(struct mend *mend, const struct inode *inode, uint64_t *directory)
{
	uint8_t value[DIRENT_VALUE_SIZE];
	struct dirent_key key;
	char name[KVFS_NAME_MAX + 1];
	int err = *directory ? 0 : find_lost_and_found(mend, directory);

	if (err)
		return err;
	snprintf(name, sizeof(name), "#%llu", (unsigned long long)inode->ino);
	for (unsigned i = 1;; i++) {
		err = entry_key(mend->fs, *directory, name, &key);
		if (err)
			return err;
		err = record_exists(mend->fs, KEYSPACE_DIRENT, key.bytes, key.size);
		if (err)
			break;
		snprintf(name, sizeof(name), "#%llu.%u", (unsigned long long)inode->ino, i);
	}
	if (err != -ENOENT)
		return err;
	mend_say(mend, "inode %llu: it has no name; moved to \"lost+found/%s\"",
		(unsigned long long)inode->ino, name);
	dirent_value_encode(inode->ino, inode->mode, value);
	return mend_put(mend, KEYSPACE_DIRENT, key.bytes, key.size, value, sizeof(value));
}

/* Has no name, and nobody has noted that this is right. */
static int mend_nameless(struct mend *mend, uint64_t ino, uint64_t *directory)
{
	static const uint8_t note[] = {ORPHAN_VALUE};
	uint8_t key[INODE_KEY_SIZE];
	struct inode inode;
	int err = mend_look(mend, ino, &inode);

	inode_key_encode(ino, key);
	if (err == -ENOENT) {
		mend_say(mend, "inode %llu: its record cannot be read; removed",
			(unsigned long long)ino);
		return mend_delete(mend, KEYSPACE_INODE, key, sizeof(key));
	}
	if (err)
		return err;
	if (inode.nlink)
		return give_name(mend, &inode, directory);
	err = mend_find_note(mend, ino);
	if (err != -ENOENT)
		return err;
	mend_say(mend, "inode %llu: it was unlinked, and is freed", (unsigned long long)ino);
	return mend_put(mend, KEYSPACE_ORPHAN, key, sizeof(key), note, sizeof(note));
}

int mend_lost(struct mend *mend)
{
	uint64_t directory = 0;
	int err = mend_circles(mend);

	for (size_t i = 0; i < mend->inos.count && !err; i++) {
		uint64_t ino = mend->inos.inos[i], *names = number_table_find(&mend->names, ino);

		if (ino != KVFS_ROOT_INO && (!names || !*names))
			err = mend_nameless(mend, ino, &directory);
	}
	return err;
}

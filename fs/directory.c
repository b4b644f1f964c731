/* SPDX-License-Identifier: MIT */
/*
 * directory.c - listing directories: a walk over the entries in the order of their names' hashes,
 * which are the cookies. No state is kept between calls, and no lock is taken.
 */
#include <errno.h>

#include "entry.h"
#include "inode.h"
#include "keyspaces.h"

#define COOKIE_DOT 1
#define COOKIE_DOTDOT 2
_Static_assert(COOKIE_DOTDOT < DIRENT_HASH_MIN, "cookies of entries are hashes");

struct listing {
	struct kvfs *fs;
	uint64_t ino;
	bool want_attr;
	kvfs_entry_fn *entry;
	void *arg;
	struct kv_cursor *cursor;
};

/* An entry on its way to the caller. */
struct listed {
	uint64_t hash;
	struct kvfs_attr attr;
	char name[KVFS_NAME_MAX + 1];
};

/* In a read section. What is asked for about an inode: -ENOENT if it is gone by now. */
static int list_attr(
	const struct listing *listing, uint64_t ino, uint32_t type, struct kvfs_attr *out)
{
	struct inode inode;
	int err;

	if (!listing->want_attr) {
		*out = (struct kvfs_attr){.ino = ino, .mode = type};
		return 0;
	}
	err = inode_get(listing->fs, ino, &inode);
	if (!err)
		inode_attr(&inode, out);
	return err;
}

/* The entry under the cursor. -ENOENT: none of this directory; -EAGAIN: it is gone by now. */
static int list_current(const struct listing *listing, struct listed *out)
{
	struct dirent entry;
	struct kv_slice value;
	int err = dirent_key_decode(kv_cursor_key(listing->cursor), &entry);

	if (err)
		return fs_damaged(listing->fs, listing->ino, "one of its entries makes no sense");
	if (entry.parent != listing->ino)
		return -ENOENT;
	out->hash = entry.hash;
	memcpy(out->name, entry.name, entry.name_size);
	out->name[entry.name_size] = '\0';
	kv_read_begin(listing->fs->kv);
	err = kv_cursor_value(listing->cursor, &value);
	if (!err && dirent_value_decode(value, &entry))
		err = fs_damaged(listing->fs, listing->ino, "one of its entries makes no sense");
	if (!err)
		err = list_attr(listing, entry.ino, entry.type, &out->attr);
	kv_read_end(listing->fs->kv);
	return err == -ENOENT ? -EAGAIN : err;
}

/* The entry under the cursor, or the first one behind it that is there. Moves on. -ENOENT: no more.
 */
static int list_next(const struct listing *listing, struct listed *out)
{
	int err, moved;

	do {
		if (!kv_cursor_key(listing->cursor).data)
			return -ENOENT;
		err = list_current(listing, out);
		if (err && err != -EAGAIN)
			return err;
		moved = kv_cursor_next(listing->cursor);
		if (moved && moved != -ENOENT)
			return moved;
	} while (err == -EAGAIN && !moved);
	return err == -EAGAIN ? -ENOENT : err;
}

/* Entries of hash `from` and up. */
static int list_entries(const struct listing *listing, uint64_t from)
{
	struct listed entries[2]; /* the one to give out, and the one behind it */
	struct dirent_key place;
	int err;

	dirent_key_place(listing->ino, from, &place);
	err = kv_cursor_seek(listing->cursor, place.bytes, place.size);
	if (!err)
		err = list_next(listing, &entries[0]);
	for (unsigned i = 0; !err; i ^= 1) {
		struct listed *now = &entries[i], *behind = &entries[i ^ 1];
		uint64_t cookie = now->hash;

		err = list_next(listing, behind);
		if (err && err != -ENOENT)
			return err;
		/* A listing that stops among names of one hash comes back to the first of them. */
		if (!err && behind->hash == now->hash)
			cookie--;
		if (listing->entry(listing->arg, now->name, &now->attr, cookie))
			return 0;
	}
	return err == -ENOENT ? 0 : err;
}

/* "." and "..", as far as they come behind the cookie; `stop` if the caller has enough. */
static int list_dots(
	const struct listing *listing, uint64_t parent_ino, uint64_t cookie, bool *stop)
{
	const uint64_t inos[] = {listing->ino, parent_ino};
	static const char *const names[] = {".", ".."};

	*stop = false;
	for (uint64_t i = cookie; i < COOKIE_DOTDOT && !*stop; i++) {
		struct kvfs_attr attr;
		int err;

		kv_read_begin(listing->fs->kv);
		err = list_attr(listing, inos[i], S_IFDIR, &attr);
		kv_read_end(listing->fs->kv);
		if (err)
			return err;
		*stop = listing->entry(listing->arg, names[i], &attr, i + COOKIE_DOT);
	}
	return 0;
}

static int list(const struct listing *listing, const struct inode *directory, uint64_t cookie)
{
	bool stop;
	int err = list_dots(listing, directory->parent, cookie, &stop);

	if (err || stop)
		return err;
	return list_entries(listing, cookie < COOKIE_DOTDOT ? DIRENT_HASH_MIN : cookie + 1);
}

int kvfs_readdir(struct kvfs *fs, uint64_t ino, uint64_t cookie, bool want_attr,
	kvfs_entry_fn *entry, void *arg)
{
	struct listing listing = {fs, ino, want_attr, entry, arg, NULL};
	struct scratch *scratch;
	struct inode directory;
	int err;

	if (cookie > DIRENT_HASH_MAX)
		return -EINVAL;
	kv_read_begin(fs->kv);
	err = inode_get(fs, ino, &directory);
	kv_read_end(fs->kv);
	if (!err && !S_ISDIR(directory.mode))
		err = -ENOTDIR;
	if (!err)
		err = scratch_take(&fs->scratch, &scratch);
	if (err)
		return err;
	err = scratch_cursor(scratch, KEYSPACE_DIRENT, &listing.cursor);
	if (!err)
		err = list(&listing, &directory, cookie);
	scratch_give(scratch);
	if (!err && !cookie)
		inode_accessed(fs, &directory);
	return err;
}

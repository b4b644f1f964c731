/* SPDX-License-Identifier: MIT */
/*
 * directory.c - listing directories: a walk over the entries in the order of their names' hashes,
 * which are the cookies, some dozens at a time. No state is kept between calls, and no lock is
 * taken.
 */
#include <errno.h>

#include "entry.h"
#include "inode.h"
#include "keyspaces.h"

#define BATCH INODE_MANY_MAX /* entries looked up together */
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

/* Entries on their way to the caller, who may take his time: they are copies. */
struct listed {
	uint64_t hash;
	uint32_t type;
	uint32_t name; /* where it begins in `names` */
};

struct batch {
	struct listed entries[BATCH];
	struct kvfs_attr attrs[BATCH]; /* only if they are wanted; and so are their statuses */
	int statuses[BATCH];	       /* -ENOENT: the inode is gone by now */
	uint64_t inos[BATCH];
	unsigned count;
	uint32_t names_size;
	uint64_t behind; /* the hash of the entry behind them, or 0 */
	int err;	 /* why there are no more, if that is not their end */
	char names[BATCH * (KVFS_NAME_MAX + 1)]; /* one after the other, terminated */
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

/* As memcpy: what is as short as most names are, in two words that may overlap. */
static inline void name_copy(char *to, const char *from, size_t size)
{
	uint64_t first, last;

	if (__builtin_expect(size - 8 > 8, 0)) {
		memcpy(to, from, size);
		return;
	}
	memcpy(&first, from, 8);
	memcpy(&last, from + size - 8, 8);
	memcpy(to, &first, 8);
	memcpy(to + size - 8, &last, 8);
}

/* Adds an entry to the batch, all but its attributes. */
static int batch_add(
	const struct listing *listing, const struct kv_entry *found, struct batch *batch)
{
	struct listed *listed = &batch->entries[batch->count];
	struct dirent entry;

	if (found->status)
		return found->status;
	if (dirent_key_decode(found->key, &entry) || dirent_value_decode(found->value, &entry))
		return fs_damaged(listing->fs, listing->ino, "one of its entries makes no sense");
	listed->hash = entry.hash;
	listed->type = entry.type;
	listed->name = batch->names_size;
	name_copy(batch->names + listed->name, entry.name, entry.name_size);
	batch->names[listed->name + entry.name_size] = '\0';
	batch->names_size += (uint32_t)entry.name_size + 1;
	batch->inos[batch->count++] = entry.ino;
	return 0;
}

/* The next entries of the directory, from the cursor's place on. */
static void batch_fill(const struct listing *listing, struct batch *batch)
{
	struct kv_entry found[BATCH];
	struct dirent behind;
	size_t count = 0;
	int err;

	batch->count = 0;
	batch->names_size = 0;
	batch->behind = 0;
	kv_read_begin(listing->fs->kv);
	err = kv_cursor_read(listing->cursor, found, BATCH, &count);
	for (size_t i = 0; i < count && !err; i++)
		err = batch_add(listing, &found[i], batch);
	if (listing->want_attr)
		inode_get_attrs(listing->fs, batch->inos, batch->count, batch->attrs,
			batch->statuses);
	kv_read_end(listing->fs->kv);
	batch->err = err == -ENOENT ? 0 : err;
	if (!dirent_key_decode(kv_cursor_key(listing->cursor), &behind))
		batch->behind = behind.hash;
}

/* Gives the entries out. Non-zero: an error, or 1 when the caller has enough. */
static int batch_give(const struct listing *listing, const struct batch *batch)
{
	struct kvfs_attr bare = {.ino = 0};

	for (unsigned i = 0; i < batch->count; i++) {
		const struct listed *now = &batch->entries[i];
		uint64_t behind = i + 1 < batch->count ? now[1].hash : batch->behind;
		const struct kvfs_attr *attr = &bare;

		if (listing->want_attr) {
			if (batch->statuses[i] == -ENOENT)
				continue;
			if (batch->statuses[i])
				return batch->statuses[i];
			attr = &batch->attrs[i];
		} else {
			bare.ino = batch->inos[i];
			bare.mode = now->type;
		}
		/* A listing that stops among names of one hash comes back to the first of them. */
		if (listing->entry(listing->arg, batch->names + now->name, attr,
			    behind == now->hash ? now->hash - 1 : now->hash))
			return 1;
	}
	return batch->err;
}

/* Entries of hash `from` and up. */
static int list_entries(const struct listing *listing, uint64_t from)
{
	struct dirent_key place;
	struct batch batch;
	int err;

	dirent_key_place(listing->ino, from, &place);
	err = kv_cursor_set_prefix(listing->cursor, place.bytes, DIRENT_PARENT_SIZE);
	if (!err)
		err = kv_cursor_seek(listing->cursor, place.bytes, place.size);
	while (!err && kv_cursor_key(listing->cursor).data) {
		batch_fill(listing, &batch);
		err = batch_give(listing, &batch);
	}
	return err == -ENOENT || err == 1 ? 0 : err;
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

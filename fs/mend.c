/* SPDX-License-Identifier: MIT */
/* mend.c - a repair of a whole file system: its order, and what all of its parts use. */
#include "mend.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "doubt.h"
#include "orphan.h"
#include "share_record.h"

void mend_say(struct mend *mend, const char *format, ...)
{
	char message[1024];
	va_list args;

	mend->mended++;
	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	if (mend->report)
		mend->report(mend->report_arg, KV_WARNING, message);
}

int mend_put(struct mend *mend, enum keyspace keyspace, const void *key, size_t key_size,
	const void *value, size_t size)
{
	return kv_put(mend->fs->kv, keyspace, key, key_size, value, size, NULL);
}

int mend_delete(struct mend *mend, enum keyspace keyspace, const void *key, size_t key_size)
{
	return kv_delete(mend->fs->kv, keyspace, key, key_size, NULL);
}

int mend_look(struct mend *mend, uint64_t ino, struct inode *out)
{
	int err;

	kv_read_begin(mend->fs->kv);
	err = inode_get(mend->fs, ino, out);
	kv_read_end(mend->fs->kv);
	return err == -EIO ? -ENOENT : err;
}

int mend_make(struct mend *mend, struct inode *inode)
{
	int err;

	change_lock(&mend->change, &inode->ino, 1);
	inode->atime = inode->mtime = inode->ctime = inode->btime = mend->change.now;
	err = inode_put(&mend->change, inode);
	if (!err)
		err = change_commit(&mend->change);
	change_unlock(&mend->change);
	return err;
}

static int mend_root(struct mend *mend)
{
	struct inode root = {
		.ino = KVFS_ROOT_INO, .mode = S_IFDIR | 0755, .nlink = 2, .parent = KVFS_ROOT_INO};
	struct inode found;
	int err = mend_look(mend, KVFS_ROOT_INO, &found);

	if ((!err && S_ISDIR(found.mode)) || (err && err != -ENOENT))
		return err;
	mend_say(mend, "the root's attributes are lost; it is made anew");
	return mend_make(mend, &root);
}

void mend_forget_names(struct mend *mend)
{
	number_table_fini(&mend->names);
	number_table_fini(&mend->sizes);
	number_table_fini(&mend->subdirs);
	number_table_fini(&mend->parents);
	mend->names = mend->sizes = mend->subdirs = mend->parents = (struct number_table){0};
}

/* Keys, one behind the other, each behind its size (2 bytes). */
struct keys {
	uint8_t *bytes;
	size_t size, room;
};

static int keys_add(struct keys *keys, struct kv_slice key)
{
	uint16_t size = (uint16_t)key.size;
	size_t room = 2 * (keys->room + sizeof(size) + key.size);
	uint8_t *bytes;

	if (keys->room - keys->size < sizeof(size) + key.size) {
		bytes = realloc(keys->bytes, room);
		if (!bytes)
			return -ENOMEM;
		keys->bytes = bytes;
		keys->room = room;
	}
	memcpy(keys->bytes + keys->size, &size, sizeof(size));
	memcpy(keys->bytes + keys->size + sizeof(size), key.data, size);
	keys->size += sizeof(size) + size;
	return 0;
}

static bool is_key(enum keyspace keyspace, struct kv_slice key)
{
	const uint8_t *bytes = key.data;
	uint64_t number;

	if (keyspace == KEYSPACE_INODE)
		return !inode_key_decode(key, &number);
	return key.size == SHARE_KEY_SIZE &&
	       !inode_key_decode((struct kv_slice){bytes, INODE_KEY_SIZE}, &number) &&
	       (bytes[INODE_KEY_SIZE] == SHARE_BYTES || bytes[INODE_KEY_SIZE] == SHARE_COUNT);
}

/* The next entries' keys that make no sense. -ENOENT: that was all */
static int find_wrong_keys(struct mend *mend, enum keyspace keyspace, struct kv_iterator *iterator,
	struct keys *keys)
{
	const struct kv_entry *entries;
	size_t count;
	int err;

	kv_read_begin(mend->fs->kv);
	err = kv_iterator_read(iterator, &entries, &count);
	for (size_t i = 0; !err && i < count; i++)
		if (!entries[i].status && !is_key(keyspace, entries[i].key))
			err = keys_add(keys, entries[i].key);
	kv_read_end(mend->fs->kv);
	return err;
}

static int remove_keys(struct mend *mend, enum keyspace keyspace, const struct keys *keys)
{
	uint16_t size;
	int err = 0;

	for (size_t at = 0; at < keys->size && !err; at += sizeof(size) + size) {
		memcpy(&size, keys->bytes + at, sizeof(size));
		mend_say(mend, "%s whose key makes no sense; removed",
			keyspace == KEYSPACE_INODE ? "an inode" : "shared contents");
		err = mend_delete(mend, keyspace, keys->bytes + at + sizeof(size), size);
	}
	return err;
}

static int mend_keys(struct mend *mend, enum keyspace keyspace)
{
	struct kv_iterator *iterator;
	struct keys keys = {0};
	int err = kv_iterator_open(mend->fs->kv, keyspace, KV_ITERATE_KEYS, &iterator);

	if (err)
		return err;
	while (!err) {
		keys.size = 0;
		err = find_wrong_keys(mend, keyspace, iterator, &keys);
		if (!err)
			err = remove_keys(mend, keyspace, &keys);
	}
	kv_iterator_close(iterator);
	free(keys.bytes);
	return err == -ENOENT ? 0 : err;
}

static void note_most(struct mend *mend, const struct changed *numbers)
{
	for (size_t i = 0; i < numbers->count; i++)
		if (numbers->inos[i] > mend->most)
			mend->most = numbers->inos[i];
}

/* Which records there are. */
static int list_inodes(struct mend *mend)
{
	struct changed shares = {0};
	int err;

	changed_fini(&mend->inos);
	mend->inos = (struct changed){0};
	err = changed_find(mend->fs, KEYSPACE_INODE, 0, &mend->inos);
	if (!err)
		err = changed_find(mend->fs, KEYSPACE_SHARED, 0, &shares);
	note_most(mend, &mend->inos);
	note_most(mend, &shares);
	changed_fini(&shares);
	return err;
}

static int mend_all(struct mend *mend)
{
	int err = mend_meta(mend);

	if (!err)
		err = mend_root(mend);
	if (!err)
		err = mend_keys(mend, KEYSPACE_INODE);
	if (!err)
		err = mend_keys(mend, KEYSPACE_SHARED);
	if (!err)
		err = mend_owners(mend);
	if (!err)
		err = mend_names(mend);
	if (!err)
		err = list_inodes(mend);
	if (!err)
		err = mend_next_ino(mend);
	if (!err)
		err = mend_lost(mend);
	/* Lost inodes have names by then. */
	if (!err)
		err = mend_names(mend);
	if (!err)
		err = list_inodes(mend);
	if (!err)
		err = mend_shares(mend);
	/* Sharers are counted: from here on they can be counted off. */
	if (!err)
		mend->fs->doubtful = false;
	if (!err)
		err = mend_inodes(mend);
	return err ? err : mend_orphans(mend);
}

/* Records agree now: what they say is to be freed can be. */
static int settle(struct mend *mend, bool doubtful)
{
	struct kvfs *fs = mend->fs;
	int err = orphan_recover(fs);

	if (!err)
		err = kvfs_sync(fs);
	if (!err && doubtful)
		err = doubt_end(fs);
	if (!err && doubtful)
		mend_say(mend, "records were lost to damage; those that are left agree now");
	return err;
}

int kvfs_repair(struct kvfs *fs, kv_report_fn *report, void *report_arg, uint64_t *mended)
{
	struct mend mend = {.fs = fs, .report = report, .report_arg = report_arg};
	bool doubtful = fs->doubtful;
	int err = scratch_take(&fs->scratch, &mend.scratch);

	if (err)
		return err;
	err = change_begin(fs, &mend.change);
	if (!err) {
		err = mend_all(&mend);
		change_end(&mend.change);
	}
	scratch_give(mend.scratch);
	mend_forget_names(&mend);
	number_table_fini(&mend.users);
	changed_fini(&mend.inos);
	if (!err)
		err = settle(&mend, doubtful);
	fs->doubtful = err && doubtful;
	if (err)
		return err;
	fs->meta_lost = 0;
	*mended = mend.mended;
	return 0;
}

/* SPDX-License-Identifier: MIT */
/* mend.c - a repair of a whole file system: its order, and what all of its parts use. */
#include "mend.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "orphan.h"

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

int mend_put(struct mend *mend, enum keyspace keyspace, const void *key, size_t key_size, const void *value,
	size_t size)
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

/* Which records there are; and no number of these is given out again. */
static int list_inodes(struct mend *mend)
{
	uint64_t next = atomic_load(&mend->fs->numbers.next);
	int err;

	changed_fini(&mend->inos);
	mend->inos = (struct changed){0};
	err = changed_find(mend->fs, KEYSPACE_INODE, 0, &mend->inos);
	for (size_t i = 0; i < mend->inos.count && !err; i++)
		if (mend->inos.inos[i] >= next)
			next = mend->inos.inos[i] + 1;
	if (!err)
		atomic_store(&mend->fs->numbers.next, next);
	return err;
}

static int mend_all(struct mend *mend)
{
	int err = mend_meta(mend);

	if (!err)
		err = mend_root(mend);
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
	if (!err)
		err = mend_inodes(mend);
	return err ? err : mend_orphans(mend);
}

int kvfs_repair(struct kvfs *fs, kv_report_fn *report, void *report_arg, uint64_t *mended)
{
	struct mend mend = {.fs = fs, .report = report, .report_arg = report_arg};
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
		err = orphan_recover(fs);
	if (!err)
		err = kvfs_sync(fs);
	if (err)
		return err;
	fs->meta_lost = 0;
	*mended = mend.mended;
	return 0;
}

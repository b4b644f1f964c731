/* SPDX-License-Identifier: MIT */
/*
 * unlink.c - taking names away.
 */
#include <errno.h>

#include "entry.h"
#include "inode.h"
#include "orphan.h"

/*
 * Locks the directory and whatever the entry names, which is known only once the directory is
 * locked. Mostly nobody has that inode's stripe; else both are taken in their order, and what the
 * entry names is looked at again.
 */
static int lock_entry(struct change *change, uint64_t parent_ino, const struct dirent_key *key,
	struct dirent *out)
{
	uint64_t inos[2] = {parent_ino};
	unsigned count = 1;

	for (;;) {
		int err;

		change_lock(change, inos, count);
		err = entry_get(change->fs, key, out);
		if (err || (count == 2 && out->ino == inos[1]) ||
			(count == 1 && change_lock_more(change, &out->ino, 1)))
			return err;
		change_unlock(change);
		inos[1] = out->ino;
		count = 2;
	}
}

/* Is it the kind of file that is to be removed, and can it be? */
static int removable(const struct inode *inode, bool directory)
{
	if (!S_ISDIR(inode->mode))
		return directory ? -ENOTDIR : 0;
	if (!directory)
		return -EISDIR;
	if (inode->ino == KVFS_ROOT_INO)
		return -EBUSY;
	return inode->size ? -ENOTEMPTY : 0;
}

/* Fills the batch. */
static int remove_locked(struct change *change, struct inode *parent, const struct dirent_key *key,
	uint64_t ino, bool directory, enum orphan_fate *fate)
{
	struct inode inode;
	int err = inode_load_last(change, ino, &inode);

	if (err == -ENOENT)
		err = fs_damaged(change->fs, ino, "it has a name but no record");
	if (!err)
		err = removable(&inode, directory);
	if (err)
		return err;
	directory_changed(parent, -(int64_t)entry_cost(key), directory ? -1 : 0, change->now);
	err = entry_delete(change, key);
	if (!err)
		err = inode_put(change, parent);
	return err ? err : orphan_unlink(change, &inode, fate);
}

static int remove_entry(struct kvfs *fs, uint64_t parent_ino, const char *name, bool directory)
{
	enum orphan_fate fate = ORPHAN_NAMED;
	struct dirent entry = {.ino = 0};
	struct inode parent;
	struct change change;
	struct dirent_key key;
	int missing, err;

	err = entry_key(fs, parent_ino, name, &key);
	if (!err)
		err = change_begin(fs, &change);
	if (err)
		return err;
	missing = lock_entry(&change, parent_ino, &key, &entry);
	/* Why there is no such entry is for the directory to say first. */
	if (!missing || missing == -ENOENT)
		err = directory_load(&change, parent_ino, &parent);
	if (!err)
		err = missing;
	if (!err)
		err = remove_locked(&change, &parent, &key, entry.ino, directory, &fate);
	if (!err)
		err = change_commit(&change);
	orphan_settle(&change, entry.ino, fate, err);
	change_end(&change);
	return err;
}

int kvfs_unlink(struct kvfs *fs, uint64_t parent_ino, const char *name)
{
	if (name_is_dot(name) || name_is_dotdot(name))
		return -EISDIR;
	return remove_entry(fs, parent_ino, name, false);
}

int kvfs_rmdir(struct kvfs *fs, uint64_t parent_ino, const char *name)
{
	if (name_is_dot(name))
		return -EINVAL;
	if (name_is_dotdot(name))
		return -ENOTEMPTY;
	return remove_entry(fs, parent_ino, name, true);
}

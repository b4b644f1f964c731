/* SPDX-License-Identifier: MIT */
/*
 * rename.c - giving a file another name, in one batch, whatever had that name before.
 *
 * The directories are locked, what the two entries name is read, and locked as well if nobody has
 * it; else all are locked in their order and read again. A directory that gets another parent is
 * moved under rename_lock: the chain of parents cannot change while it is searched for a cycle.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "acl.h"
#include "entry.h"
#include "inode.h"
#include "orphan.h"

#define DEPTH_MAX (1u << 24) /* of directories: deeper is a cycle, which is damage */

struct rename {
	struct change change;
	const struct kvfs_caller *caller; /* owns what takes the old name */
	unsigned flags;
	uint64_t parents[2]; /* [0] of the old name, [1] of the new one; as all below */
	struct dirent_key keys[2];
	struct dirent entries[2];
	bool replaces;               /* entries[1] is there */
	bool tree_locked;            /* rename_lock is held */
	struct inode directories[2]; /* only [0] is used if both are the same */
	struct inode inodes[2];
	enum orphan_fate fate; /* of what is replaced */
	uint64_t whiteout_ino; /* of what takes the old name; 0: nothing does */
};

/* Reads both entries, under the directories' locks; what is missing is no error yet. */
static int find_entries(struct rename *rename)
{
	int err = 0;

	for (unsigned i = 0; !err && i < 2; i++) {
		struct dirent *entry = &rename->entries[i];

		entry->ino = 0;
		entry->type = 0;
		err = entry_get(rename->change.fs, &rename->keys[i], entry);
		if (err == -ENOENT)
			err = 0;
	}
	return err;
}

/* Does a directory get another parent? */
static bool moves_tree(const struct rename *rename)
{
	return rename->parents[0] != rename->parents[1] &&
	       (S_ISDIR(rename->entries[0].type) ||
		       (rename->flags & RENAME_EXCHANGE && S_ISDIR(rename->entries[1].type)));
}

/* The inodes that the entries name: one, two, or none. */
static unsigned entry_inos(const struct rename *rename, uint64_t inos[2])
{
	unsigned count = 0;

	for (unsigned i = 0; i < 2; i++)
		if (rename->entries[i].ino)
			inos[count++] = rename->entries[i].ino;
	return count;
}

/* Locks both directories and whatever the entries name. */
static int lock_entries(struct rename *rename)
{
	uint64_t inos[4] = {rename->parents[0], rename->parents[1]};
	unsigned count = 2;

	for (;;) {
		uint64_t found[2];
		unsigned found_count;
		int err;

		change_lock(&rename->change, inos, count);
		err = find_entries(rename);
		if (err)
			return err;
		found_count = entry_inos(rename, found);
		if (!moves_tree(rename) || rename->tree_locked) {
			if (count == 2 + found_count &&
				!memcmp(inos + 2, found, found_count * sizeof(*found)))
				return 0;
			if (count == 2 && change_lock_more(&rename->change, found, found_count))
				return 0;
		}
		change_unlock(&rename->change);
		if (moves_tree(rename) && !rename->tree_locked) {
			pthread_mutex_lock(&rename->change.fs->rename_lock);
			rename->tree_locked = true;
		}
		memcpy(inos + 2, found, sizeof(found));
		count = 2 + found_count;
	}
}

static struct inode *directory(struct rename *rename, unsigned which)
{
	return &rename->directories[rename->parents[0] == rename->parents[1] ? 0 : which];
}

static int load_directories(struct rename *rename)
{
	int err = directory_load(&rename->change, rename->parents[0], &rename->directories[0]);

	if (!err && rename->parents[0] != rename->parents[1])
		err = directory_load(&rename->change, rename->parents[1], &rename->directories[1]);
	return err;
}

/* Is `ino` this directory, or one above it? -EINVAL if so. */
static int below(struct kvfs *fs, uint64_t directory_ino, uint64_t ino)
{
	for (unsigned depth = 0; depth < DEPTH_MAX; depth++) {
		struct inode inode;
		int err;

		if (directory_ino == ino)
			return -EINVAL;
		if (directory_ino == KVFS_ROOT_INO)
			return 0;
		err = inode_get(fs, directory_ino, &inode);
		if (err)
			return err;
		if (!S_ISDIR(inode.mode))
			break;
		directory_ino = inode.parent;
	}
	return fs_damaged(fs, directory_ino, "its parents do not lead to the root");
}

/* May the one replace the other? */
static int replaceable(const struct inode *moved, const struct inode *replaced)
{
	if (S_ISDIR(moved->mode) && !S_ISDIR(replaced->mode))
		return -ENOTDIR;
	if (!S_ISDIR(moved->mode) && S_ISDIR(replaced->mode))
		return -EISDIR;
	return S_ISDIR(replaced->mode) && replaced->size ? -ENOTEMPTY : 0;
}

static int load_inodes(struct rename *rename)
{
	struct change *change = &rename->change;

	for (unsigned i = 0; i < 1u + rename->replaces; i++) {
		uint64_t ino = rename->entries[i].ino;
		struct inode *inode = &rename->inodes[i];
		/*
		 * What is replaced may have to be looked at further, to be freed, and a whiteout's
		 * directory for its default list.
		 */
		int err = rename->replaces || rename->whiteout_ino
				  ? inode_load(change, ino, inode)
				  : inode_load_last(change, ino, inode);

		if (err == -ENOENT)
			err = fs_damaged(change->fs, ino, "it has a name but no record");
		if (err)
			return err;
	}
	return 0;
}

/* Whether it can be done; `nothing` if both names are the same file's, so that nothing is to be. */
static int check(struct rename *rename, bool *nothing)
{
	bool exchange = rename->flags & RENAME_EXCHANGE;
	struct kvfs *fs = rename->change.fs;
	int err = load_directories(rename);

	if (err)
		return err;
	if (!rename->entries[0].ino || (exchange && !rename->entries[1].ino))
		return -ENOENT;
	rename->replaces = rename->entries[1].ino;
	if (rename->replaces && rename->flags & RENAME_NOREPLACE)
		return -EEXIST;
	*nothing = rename->entries[0].ino == rename->entries[1].ino;
	if (*nothing)
		return 0;
	if (rename->tree_locked && S_ISDIR(rename->entries[0].type))
		err = below(fs, rename->parents[1], rename->entries[0].ino);
	if (!err && rename->tree_locked && exchange && S_ISDIR(rename->entries[1].type))
		err = below(fs, rename->parents[0], rename->entries[1].ino);
	if (!err)
		err = load_inodes(rename);
	if (!err && rename->replaces && !exchange)
		err = replaceable(&rename->inodes[0], &rename->inodes[1]);
	return err;
}

/* Counts what the directories gain and lose. */
static int count(struct rename *rename)
{
	bool exchange = rename->flags & RENAME_EXCHANGE;
	int moved = S_ISDIR(rename->inodes[0].mode);
	int other = rename->replaces && S_ISDIR(rename->inodes[1].mode);
	int64_t lost = exchange || rename->whiteout_ino ? 0 : (int64_t)entry_cost(&rename->keys[0]);
	int64_t gained = rename->replaces ? 0 : (int64_t)entry_cost(&rename->keys[1]);
	struct timespec now = rename->change.now;

	if (rename->parents[0] != rename->parents[1] &&
		((moved > other && directory(rename, 1)->nlink >= KVFS_LINK_MAX) ||
			(exchange && other > moved &&
				directory(rename, 0)->nlink >= KVFS_LINK_MAX)))
		return -EMLINK;
	directory_changed(directory(rename, 0), -lost, (exchange ? other : 0) - moved, now);
	directory_changed(directory(rename, 1), gained, moved - other, now);
	return 0;
}

static int put_moved(struct rename *rename, unsigned which, unsigned to)
{
	struct inode *inode = &rename->inodes[which];

	inode->ctime = rename->change.now;
	inode->parent = rename->parents[to];
	return inode_put(&rename->change, inode);
}

/*
 * An overlay's mark that there is nothing under the old name: a character device 0, 0 that nobody
 * may open.
 */
static int put_whiteout(struct rename *rename)
{
	struct change *change = &rename->change;
	struct inode inode;
	int err;

	inode_init(&inode, rename->whiteout_ino, S_IFCHR, directory(rename, 0), rename->caller,
		change->now);
	change->grows = true;
	err = acl_inherit(change, directory(rename, 0), rename->caller->umask, &inode);
	if (!err)
		err = inode_put(change, &inode);
	return err ? err : entry_put(change, &rename->keys[0], &inode);
}

static int put_old_name(struct rename *rename)
{
	if (rename->flags & RENAME_EXCHANGE)
		return entry_put(&rename->change, &rename->keys[0], &rename->inodes[1]);
	return rename->whiteout_ino ? put_whiteout(rename)
				    : entry_delete(&rename->change, &rename->keys[0]);
}

/* Fills the batch: the new name first, so that no instant is without one. */
static int fill(struct rename *rename)
{
	struct change *change = &rename->change;
	bool exchange = rename->flags & RENAME_EXCHANGE;
	int err = count(rename);

	if (!err)
		err = entry_put(change, &rename->keys[1], &rename->inodes[0]);
	if (!err)
		err = put_old_name(rename);
	if (!err)
		err = put_moved(rename, 0, 1);
	if (!err)
		err = inode_put(change, directory(rename, 0));
	if (!err && directory(rename, 1) != directory(rename, 0))
		err = inode_put(change, directory(rename, 1));
	if (err || !rename->replaces)
		return err;
	return exchange ? put_moved(rename, 1, 0)
			: orphan_unlink(change, &rename->inodes[1], &rename->fate);
}

static int rename_locked(struct rename *rename)
{
	bool nothing;
	int err = check(rename, &nothing);

	if (err || nothing)
		return err;
	err = fill(rename);
	return err ? err : change_commit(&rename->change);
}

/* Fields that are not set here, more than a KiB, are written before they are read. */
static void rename_init(struct rename *rename, const struct kvfs_caller *caller,
	uint64_t parent_ino, uint64_t new_parent_ino, unsigned flags)
{
	rename->caller = caller;
	rename->flags = flags;
	rename->parents[0] = parent_ino;
	rename->parents[1] = new_parent_ino;
	rename->entries[0] = rename->entries[1] = (struct dirent){0};
	rename->replaces = false;
	rename->tree_locked = false;
	rename->fate = ORPHAN_NAMED;
	rename->whiteout_ino = 0;
}

int kvfs_rename(struct kvfs *fs, const struct kvfs_caller *caller, uint64_t parent_ino,
	const char *name, uint64_t new_parent_ino, const char *new_name, unsigned flags)
{
	struct rename rename;
	int err;

	if (flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT) ||
		(flags & RENAME_EXCHANGE && flags != RENAME_EXCHANGE) ||
		(flags & RENAME_WHITEOUT && !caller))
		return -EINVAL;
	if (name_is_dot(name) || name_is_dotdot(name) || name_is_dot(new_name) ||
		name_is_dotdot(new_name))
		return -EBUSY;
	rename_init(&rename, caller, parent_ino, new_parent_ino, flags);
	err = entry_key(fs, parent_ino, name, &rename.keys[0]);
	if (!err)
		err = entry_key(fs, new_parent_ino, new_name, &rename.keys[1]);
	if (!err)
		err = change_begin(fs, &rename.change);
	if (err)
		return err;
	if (flags & RENAME_WHITEOUT)
		err = number_next(&fs->numbers, &rename.whiteout_ino);
	if (!err)
		err = lock_entries(&rename);
	if (!err)
		err = rename_locked(&rename);
	if (rename.tree_locked)
		pthread_mutex_unlock(&fs->rename_lock);
	orphan_settle(&rename.change, rename.entries[1].ino, rename.fate, err);
	change_end(&rename.change);
	return err;
}

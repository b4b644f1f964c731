/* SPDX-License-Identifier: MIT */
/*
 * orphan.c - inodes whose last name is gone, and what else is still to be freed.
 *
 * Marking a held inode before the commit, and looking at its link count under its stripe before
 * freeing, make sure that exactly one of the unlink and the last release frees it (see DESIGN.md,
 * Holds).
 */
#include "orphan.h"

#include <errno.h>
#include <limits.h>

#include "keyspaces.h"
#include "limit.h"
#include "piece.h"
#include "size.h"
#include "xattr.h"

/*
 * Batches that the last one to let go of a file waits for: milliseconds. The reaper does the rest.
 */
#define RELEASE_STEPS 16u

int orphan_put(struct change *change, uint64_t ino)
{
	uint8_t key[INODE_KEY_SIZE];
	uint8_t value = ORPHAN_VALUE;

	inode_key_encode(ino, key);
	return kv_batch_put(
		change->batch, KEYSPACE_ORPHAN, key, sizeof(key), &value, sizeof(value));
}

int orphan_delete(struct change *change, uint64_t ino)
{
	uint8_t key[INODE_KEY_SIZE];

	inode_key_encode(ino, key);
	return kv_batch_delete(change->batch, KEYSPACE_ORPHAN, key, sizeof(key));
}

/* Frees pieces, as many as a batch should; `done` if none is left. */
static int erase_pieces(struct change *change, const struct inode *inode, bool *done)
{
	struct piece_walk walk;
	struct chunk chunk;
	unsigned count = 0;
	int err;

	*done = true;
	if (inode->contents != INODE_EXTENTS)
		return 0;
	err = piece_walk_start(change->fs, change->scratch, inode->ino, 0, true, &walk);
	while (!err && !(err = piece_walk_next(&walk, &chunk))) {
		if (count >= SIZE_STEP) {
			*done = false;
			return 0;
		}
		err = chunk_delete(change, inode->ino, &chunk);
		count += chunk_pieces(&chunk);
	}
	return err == -ENOENT ? 0 : err;
}

/* Frees an inode's pieces, and if these were all, its attributes and itself. */
static int erase_step(struct change *change, const struct inode *inode, bool *done)
{
	int err;

	kv_batch_set_frees(change->batch);
	err = erase_pieces(change, inode, done);
	if (err || !*done)
		return err;
	if (inode->xattr_list_size)
		err = xattr_erase(change, inode->ino);
	if (!err)
		err = inode_delete(change, inode->ino);
	return err;
}

/*
 * The kernel holds nearly everything that loses its name, and forgets it at once: what is one
 * record is gone from the store with its name and kept in memory for that moment.
 */
static bool keepable(const struct inode *inode)
{
	return inode->contents != INODE_EXTENTS && !inode->xattr_list_size &&
	       !(inode->flags & INODE_TRIM);
}

static int unlink_last(struct change *change, struct inode *inode, enum orphan_fate *fate)
{
	bool done = false, doubtful = change->fs->doubtful;
	int err = 0;

	inode->nlink = 0;
	*fate = ORPHAN_HELD;
	if (!doubtful && keepable(inode) && inode_keep(change->fs, inode))
		return inode_delete(change, inode->ino);
	if (!hold_mark(&change->fs->holds, inode->ino, true)) {
		if (!doubtful)
			err = erase_step(change, inode, &done);
		*fate = done ? ORPHAN_NAMED : ORPHAN_UNDONE;
	} else {
		limit_orphaned(change->fs);
	}
	if (!err && !done)
		err = orphan_put(change, inode->ino);
	if (!err && !done)
		err = inode_put(change, inode);
	else if (!err && inode->flags & INODE_TRIM)
		err = orphan_delete(change, inode->ino);
	return err;
}

int orphan_unlink(struct change *change, struct inode *inode, enum orphan_fate *fate)
{
	*fate = ORPHAN_NAMED;
	kv_batch_set_frees(change->batch);
	inode->ctime = change->now;
	if (S_ISDIR(inode->mode) || inode->nlink <= 1)
		return unlink_last(change, inode, fate);
	inode->nlink--;
	return inode_put(change, inode);
}

void orphan_settle(struct change *change, uint64_t ino, enum orphan_fate fate, int err)
{
	/* Still under the stripe, so that no other unlink comes between. */
	if (err && fate == ORPHAN_HELD) {
		hold_drop(&change->fs->holds, ino);
		(void)hold_mark(&change->fs->holds, ino, false);
	}
	change_unlock(change);
	if (!err && fate == ORPHAN_UNDONE)
		orphan_release(change->fs, ino);
}

/*
 * One batch of freeing; `done` if nothing is left to be freed now. In doubt an inode may have more
 * names than its record says, which a repair counts.
 */
static int release_step(struct change *change, uint64_t ino, bool *done)
{
	struct inode inode;
	int err = inode_load(change, ino, &inode);

	*done = true;
	if (err == -ENOENT)
		return 0;
	if (err || inode.nlink || change->fs->doubtful ||
		hold_is_held(&change->fs->holds, ino))
		return err;
	err = erase_step(change, &inode, done);
	if (!err && *done)
		err = orphan_delete(change, ino);
	return err ? err : change_commit(change);
}

/* Goes on for so many batches at most; between them others may use the stripe. */
static int release_some(struct change *change, uint64_t ino, unsigned steps, bool *done)
{
	int err = 0;

	*done = false;
	while (!err && !*done && steps--) {
		change_lock(change, &ino, 1);
		err = release_step(change, ino, done);
		change_unlock(change);
	}
	return err;
}

/*
 * True if nothing is left. Whatever fails is still noted in the store, and done at the next
 * opening.
 */
static bool release_batches(struct kvfs *fs, uint64_t ino, unsigned steps)
{
	struct change change;
	bool done;
	int err = change_begin(fs, &change);

	if (err)
		return true;
	err = release_some(&change, ino, steps, &done);
	change_end(&change);
	return err || done;
}

void orphan_release(struct kvfs *fs, uint64_t ino)
{
	if (!fs->frees_behind)
		(void)release_batches(fs, ino, UINT_MAX);
	else if (!release_batches(fs, ino, RELEASE_STEPS) && !reaper_push(&fs->reaper, ino))
		(void)release_batches(fs, ino, UINT_MAX);
}

bool orphan_reap(void *fs, uint64_t ino)
{
	return release_batches(fs, ino, 1);
}

void kvfs_hold(struct kvfs *fs, uint64_t ino, uint64_t count)
{
	hold_add(&fs->holds, ino, count);
}

bool kvfs_is_held(struct kvfs *fs, uint64_t ino)
{
	return hold_is_held(&fs->holds, ino);
}

void kvfs_release(struct kvfs *fs, uint64_t ino, uint64_t count)
{
	if (hold_remove(&fs->holds, ino, count))
		orphan_release(fs, ino);
}

/* The record alone, unless it went with the inode: a full disk has no room to delete it again. */
static int forget(struct change *change, uint64_t ino)
{
	uint8_t key[INODE_KEY_SIZE];
	int err;

	inode_key_encode(ino, key);
	err = kv_contains(change->fs->kv, KEYSPACE_ORPHAN, key, sizeof(key));
	if (err)
		return err == -ENOENT ? 0 : err;
	kv_batch_set_frees(change->batch);
	return orphan_delete(change, ino);
}

/* Does what one orphan record says, and deletes it. */
static int recover_one(struct change *change, uint64_t ino)
{
	struct inode inode;
	bool done;
	int err;

	err = release_some(change, ino, UINT_MAX, &done);
	if (err)
		return err;
	change_lock(change, &ino, 1);
	err = inode_load(change, ino, &inode);
	if (!err && inode.flags & INODE_TRIM)
		err = size_settle(change, &inode);
	else if (!err && !inode.nlink && hold_is_held(&change->fs->holds, ino))
		err = 0; /* its last holder frees it */
	else if (!err || err == -ENOENT)
		err = forget(change, ino);
	if (!err && kv_batch_count(change->batch))
		err = change_commit(change);
	change_unlock(change);
	return err;
}

/* The orphan under the cursor. */
static int recover_next(struct change *change, struct kv_cursor *cursor)
{
	struct kvfs *fs = change->fs;
	struct kv_slice value;
	uint64_t ino = 0;
	int err;

	kv_read_begin(fs->kv);
	err = kv_cursor_value(cursor, &value);
	if (!err)
		err = orphan_record_decode(kv_cursor_key(cursor), value, &ino);
	kv_read_end(fs->kv);
	if (!err)
		err = recover_one(change, ino);
	kv_batch_reset(change->batch);
	return err ? fs_damaged(fs, ino, "it is unlinked but could not be freed") : 0;
}

int orphan_recover(struct kvfs *fs)
{
	struct kv_cursor *cursor;
	struct kv_stats stats;
	struct change change;
	int err;

	/*
	 * Nearly always: and a cursor would wait until the ordered index of a large store is there.
	 */
	kv_stats(fs->kv, &stats);
	if (!stats.keys[KEYSPACE_ORPHAN])
		return 0;
	err = change_begin(fs, &change);
	if (err)
		return err;
	err = scratch_cursor(change.scratch, KEYSPACE_ORPHAN, &cursor);
	if (err)
		goto out;
	/*
	 * An orphan that is damaged, or for which a full disk has no room, does not keep the others
	 * from being freed.
	 */
	for (err = kv_cursor_first(cursor); !err; err = kv_cursor_next(cursor))
		(void)recover_next(&change, cursor);
	if (err == -ENOENT)
		err = 0;
out:
	change_end(&change);
	return err;
}

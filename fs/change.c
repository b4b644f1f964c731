/* SPDX-License-Identifier: MIT */
/*
 * change.c - an operation that changes the file system.
 */
#include "change.h"

#include <errno.h>

#include "limit.h"
#include "share.h"

int change_begin(struct kvfs *fs, struct change *out)
{
	struct change change = {.fs = fs};
	int err;

	if (fs->read_only)
		return -EROFS;
	err = scratch_take(&fs->scratch, &change.scratch);
	if (err)
		return err;
	err = scratch_batch(change.scratch, &change.batch);
	if (err)
		scratch_give(change.scratch);
	else
		*out = change;
	return err;
}

void change_lock(struct change *change, const uint64_t *inos, unsigned count)
{
	stripe_lock(change->fs->stripes, inos, count, &change->locked);
	clock_gettime(CLOCK_REALTIME, &change->now);
	change_continue(change);
}

bool change_lock_more(struct change *change, const uint64_t *inos, unsigned count)
{
	return stripe_extend(change->fs->stripes, inos, count, &change->locked);
}

static void change_stop_reading(struct change *change)
{
	if (change->reading)
		kv_read_end(change->fs->kv);
	change->reading = false;
}

void change_unlock(struct change *change)
{
	change_stop_reading(change);
	stripe_unlock(change->fs->stripes, &change->locked);
}

/* No commit of others comes between the counts that are read and those that are written. */
static int commit_shares(struct change *change)
{
	struct kvfs *fs = change->fs;
	int err;

	pthread_mutex_lock(&fs->share_lock);
	err = share_settle(change);
	if (!err)
		err = kv_commit(fs->kv, change->batch, NULL);
	pthread_mutex_unlock(&fs->share_lock);
	return err;
}

/* Inodes that were kept in memory have a record again, if the commit went well. */
static void settle_kept(struct change *change, int err)
{
	for (unsigned i = 0; i < change->kept_count && !err; i++)
		hold_drop(&change->fs->holds, change->kept_inos[i]);
	change->kept_count = 0;
}

int change_commit(struct change *change)
{
	int err;

	change_stop_reading(change);
	if (change->grows && limit_reached(change->fs))
		err = -ENOSPC;
	else if (change->scratch->tally_count)
		err = commit_shares(change);
	else
		err = kv_commit(change->fs->kv, change->batch, NULL);
	if (change->kept_count)
		settle_kept(change, err);
	return err;
}

void change_continue(struct change *change)
{
	kv_read_begin(change->fs->kv);
	change->reading = true;
	change->bodies = 0;
}

void change_end(struct change *change)
{
	change_unlock(change);
	scratch_give(change->scratch);
}

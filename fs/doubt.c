/* SPDX-License-Identifier: MIT */
/* doubt.c - see doubt.h. */
#include "doubt.h"

#include <errno.h>

#include "keyspaces.h"
#include "meta_record.h"
#include "record.h"

void doubt_look(struct kvfs *fs)
{
	struct kv_stats stats;

	kv_stats(fs->kv, &stats);
	fs->doubtful = stats.records_lost;
}

int doubt_was_before_repair(struct kvfs *fs, uint64_t seq, bool *before)
{
	uint64_t repaired;
	int err = record_seq(fs, KEYSPACE_META, META_REPAIRED_KEY, sizeof(META_REPAIRED_KEY) - 1,
		&repaired);

	/* One that cannot be read is of some time. */
	*before = err == -EIO || (!err && seq < repaired);
	return err == -EIO ? 0 : err;
}

int doubt_return(struct kvfs *fs, uint64_t seq)
{
	bool before;
	int err = doubt_was_before_repair(fs, seq, &before);

	if (err || fs->doubtful || !before)
		return err;
	err = kv_note_loss(fs->kv);
	if (!err)
		fs->doubtful = true;
	return err;
}

void doubt_take_back(struct kvfs *fs)
{
	if (fs->doubtful && !kv_forget_loss(fs->kv))
		fs->doubtful = false;
}

/* There is room for it on a full disk as well. */
static int note_repair(struct kvfs *fs)
{
	struct kv_batch *batch;
	uint64_t seq;
	int err = kv_batch_new(fs->kv, &batch);

	if (err)
		return err;
	kv_batch_set_frees(batch);
	err = kv_batch_put(batch, KEYSPACE_META, META_REPAIRED_KEY, sizeof(META_REPAIRED_KEY) - 1,
		NULL, 0);
	if (!err)
		err = kv_commit(fs->kv, batch, &seq);
	kv_batch_free(batch);
	return err ? err : kv_sync(fs->kv, seq);
}

int doubt_end(struct kvfs *fs)
{
	int err = note_repair(fs);

	if (!err)
		err = kv_forget_loss(fs->kv);
	if (!err)
		fs->doubtful = false;
	return err;
}

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

int doubt_return(struct kvfs *fs, uint64_t seq)
{
	uint64_t repaired;
	int err = record_seq(fs, KEYSPACE_META, META_REPAIRED_KEY, sizeof(META_REPAIRED_KEY) - 1,
		&repaired);

	if (err || fs->doubtful || seq > repaired)
		return err;
	err = kv_note_loss(fs->kv);
	if (!err)
		fs->doubtful = true;
	return err;
}

int doubt_end(struct kvfs *fs)
{
	uint64_t seq;
	int err = kv_put(fs->kv, KEYSPACE_META, META_REPAIRED_KEY, sizeof(META_REPAIRED_KEY) - 1,
		NULL, 0, &seq);

	if (!err)
		err = kv_sync(fs->kv, seq);
	/* On a full disk: snapshots of before are taken for what they were. */
	if (err == -ENOSPC || err == -EDQUOT)
		err = 0;
	if (!err)
		err = kv_forget_loss(fs->kv);
	if (!err)
		fs->doubtful = false;
	return err;
}

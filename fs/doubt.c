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

/* Of the last repair; 0: there was none, or it had nothing to do with lost records. */
static int repaired_seq(struct kvfs *fs, uint64_t *seq)
{
	struct kv_slice value;
	int err;

	*seq = 0;
	kv_read_begin(fs->kv);
	err = record_error(kv_get_seq(fs->kv, KEYSPACE_META, META_REPAIRED_KEY,
		sizeof(META_REPAIRED_KEY) - 1, &value, seq));
	kv_read_end(fs->kv);
	return err == -ENOENT ? 0 : err;
}

int doubt_return(struct kvfs *fs, uint64_t seq)
{
	uint64_t repaired;
	int err = fs->doubtful ? 0 : repaired_seq(fs, &repaired);

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

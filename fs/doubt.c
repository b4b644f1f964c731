/* SPDX-License-Identifier: MIT */
/* doubt.c - see doubt.h. */
#include "doubt.h"

#include <errno.h>

#include "keyspaces.h"
#include "meta_record.h"
#include "record.h"

bool doubt_is_noted(struct kvfs *fs)
{
	return !kv_contains(
		fs->kv, KEYSPACE_META, META_DOUBT_KEY, sizeof(META_DOUBT_KEY) - 1);
}

void doubt_look(struct kvfs *fs)
{
	bool noted = doubt_is_noted(fs);
	struct kv_stats stats;

	kv_stats(fs->kv, &stats);
	fs->doubtful = stats.records_lost || noted;
	if (noted && !stats.records_lost && fs->report)
		fs->report(fs->report_arg, KV_WARNING,
			"records were lost to damage earlier; kvfs check --repair makes what is "
			"left agree");
}

int doubt_note(struct kvfs *fs)
{
	uint64_t seq;
	int err;

	if (!fs->doubtful || doubt_is_noted(fs))
		return 0;
	err = kv_put(fs->kv, KEYSPACE_META, META_DOUBT_KEY, sizeof(META_DOUBT_KEY) - 1, NULL, 0,
		&seq);
	if (!err)
		err = kv_sync(fs->kv, seq);
	return err == -ENOSPC || err == -EDQUOT ? 0 : err;
}

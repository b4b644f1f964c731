/* SPDX-License-Identifier: MIT */
/*
 * rollback.c - see rollback.h. What becomes of the tree is decided by one commit; the work behind it can be done as
 * often as it takes.
 */
#include "rollback.h"

#include <stdio.h>
#include <string.h>

#include "limit.h"
#include "meta_record.h"
#include "orphan.h"
#include "record.h"
#include "restore.h"
#include "snapshot.h"

#define SPARE_BYTES (4u << 20) /* for the two records, tombstones and the ends of segments */

static void report(struct kvfs *fs, enum kv_severity severity, const char *what, const char *name)
{
	char message[KV_SNAPSHOT_NAME_MAX + 160];

	if (!fs->report)
		return;
	snprintf(message, sizeof(message), "going back to snapshot %s: %s", name, what);
	fs->report(fs->report_arg, severity, message);
}

/* -ENOENT: the tree is what it is. */
static int read_target(struct kvfs *fs, char name[KV_SNAPSHOT_NAME_MAX + 1])
{
	struct kv_slice value;
	int err;

	kv_read_begin(fs->kv);
	err = kv_get(fs->kv, KEYSPACE_META, META_ROLLBACK_KEY, sizeof(META_ROLLBACK_KEY) - 1, &value);
	if (!err)
		err = meta_rollback_decode(value, name);
	kv_read_end(fs->kv);
	return err;
}

static int decide(struct kvfs *fs, const char *name)
{
	uint64_t seq;
	int err = kv_put(fs->kv, KEYSPACE_META, META_ROLLBACK_KEY, sizeof(META_ROLLBACK_KEY) - 1,
		name, strlen(name), &seq);

	return err ? err : kv_sync(fs->kv, seq);
}

/* The record goes behind all else: where it is missing, the work is done. */
static int conclude(struct kvfs *fs)
{
	uint64_t seq;
	int err = kv_delete(
		fs->kv, KEYSPACE_META, META_ROLLBACK_KEY, sizeof(META_ROLLBACK_KEY) - 1, &seq);

	return err ? err : kv_sync(fs->kv, seq);
}

static int check_room(struct kvfs *fs, struct kvfs *snapshot)
{
	struct kv_stats stats;
	uint64_t bytes;
	int err = restore(fs, snapshot, &bytes);

	if (err)
		return err;
	kv_stats(fs->kv, &stats);
	limit_space(fs, &stats.avail_bytes, &stats.capacity_bytes);
	return bytes + SPARE_BYTES > stats.avail_bytes ? -ENOSPC : 0;
}

int kvfs_rollback(struct kvfs *fs, const char *name, const char *keep)
{
	struct kvfs *snapshot;
	int err;

	if (fs->read_only)
		return -EROFS;
	err = kvfs_snapshot_open(fs, name, &snapshot);
	if (err)
		return err;
	err = check_room(fs, snapshot);
	if (!err && keep)
		err = kvfs_snapshot_create(fs, keep);
	if (!err)
		err = decide(fs, name);
	if (!err)
		err = restore(fs, snapshot, NULL);
	if (!err)
		err = conclude(fs);
	snapshot_close(snapshot);
	return err ? err : orphan_recover(fs);
}

int rollback_finish(struct kvfs *fs)
{
	char name[KV_SNAPSHOT_NAME_MAX + 1];
	struct kvfs *snapshot;
	int err = read_target(fs, name);

	if (err)
		return err == -ENOENT ? 0 : err;
	report(fs, KV_INFO, "it was interrupted, and is finished now", name);
	err = kvfs_snapshot_open(fs, name, &snapshot);
	if (!err) {
		err = restore(fs, snapshot, NULL);
		if (!err)
			err = conclude(fs);
		snapshot_close(snapshot);
	}
	if (err)
		report(fs, KV_ERROR, "it was interrupted, and cannot be finished", name);
	return err == -ENOENT ? -EUCLEAN : err;
}

int rollback_show(struct kvfs *fs)
{
	char name[KV_SNAPSHOT_NAME_MAX + 1];
	int err = read_target(fs, name);

	if (err)
		return err == -ENOENT ? 0 : err;
	report(fs, KV_WARNING, "it was interrupted; shown is what it will be when finished", name);
	err = kv_snapshot_open(fs->kv, name, &fs->view);
	return err == -ENOENT ? -EUCLEAN : err;
}

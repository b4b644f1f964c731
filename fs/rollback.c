/* SPDX-License-Identifier: MIT */
/*
 * rollback.c - see rollback.h. What becomes of the tree is decided by one commit; the work behind
 * it can be done as often as it takes.
 */
#include "rollback.h"

#include <stdio.h>
#include <string.h>

#include "dirent_record.h"
#include "doubt.h"
#include "inode.h"
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
	err = record_error(kv_get(
		fs->kv, KEYSPACE_META, META_ROLLBACK_KEY, sizeof(META_ROLLBACK_KEY) - 1, &value));
	if (!err)
		err = meta_rollback_decode(value, name);
	kv_read_end(fs->kv);
	return err;
}

/* Puts one of the two records, and deletes the other. */
static int put_record(struct kvfs *fs, const char *name, const char *there, const char *gone)
{
	struct kv_batch *batch;
	uint64_t seq;
	int err = kv_batch_new(fs->kv, &batch);

	if (err)
		return err;
	err = kv_batch_put(batch, KEYSPACE_META, there, strlen(there), name, strlen(name));
	if (!err)
		err = kv_batch_delete(batch, KEYSPACE_META, gone, strlen(gone));
	if (!err)
		err = kv_commit(fs->kv, batch, &seq);
	kv_batch_free(batch);
	return err ? err : kv_sync(fs->kv, seq);
}

static int decide(struct kvfs *fs, const char *name, uint64_t snapshot_seq)
{
	bool doubtful = fs->doubtful;
	int err = doubt_return(fs, snapshot_seq);

	if (!err)
		err = put_record(fs, name, META_ROLLBACK_KEY, META_ROLLED_BACK_KEY);
	/* It was refused, so what is there is what it was. */
	if ((err == -ENOSPC || err == -EDQUOT) && !doubtful)
		doubt_take_back(fs);
	return err;
}

/* For this there is room on a full disk as well. */
static int remove_record(struct kvfs *fs)
{
	uint64_t seq;
	int err = kv_delete(
		fs->kv, KEYSPACE_META, META_ROLLBACK_KEY, sizeof(META_ROLLBACK_KEY) - 1, &seq);

	return err ? err : kv_sync(fs->kv, seq);
}

/*
 * The record goes behind all else: where it is missing, the work is done. If a power failure brings
 * it back, it has taken all that came after, and the same work is done again. If damage does, of
 * what deletes it, the other record tells.
 */
static int conclude(struct kvfs *fs, const char *name)
{
	int err = put_record(fs, name, META_ROLLED_BACK_KEY, META_ROLLBACK_KEY);

	return err == -ENOSPC || err == -EDQUOT ? remove_record(fs) : err;
}

/* ---- what is in the way ---------------------------------------------------------------------- */

struct survey {
	struct kvfs *fs;
	const struct kvfs_rollback_watch *watch;
	uint64_t busy; /* the last that was told of */
	bool refused;
};

static bool is_known(struct survey *survey, uint64_t ino)
{
	return ino == KVFS_ROOT_INO || hold_is_held(&survey->fs->holds, ino);
}

/*
 * Are the contents the same, as far as the inode's record has them, and nobody has written to them
 * since? (The kernel keeps the attributes that come with a new size however old they are:
 * fuse_attr.c.)
 */
static bool same_contents(const struct inode *old, const struct inode *new)
{
	return old->contents == new->contents && old->size == new->size &&
	       old->mtime.tv_sec == new->mtime.tv_sec && old->mtime.tv_nsec == new->mtime.tv_nsec &&
	       (old->contents != INODE_INLINE ||
		       (old->body.size == new->body.size &&
			       !memcmp(old->body.data, new->body.data, old->body.size)));
}

/*
 * Would who holds it see other contents, or none? `now` NULL: it is held without a name and kept in
 * memory, or is a directory that an earlier going back took away.
 */
static bool is_disturbed(struct survey *survey, uint64_t ino, const struct kv_slice *was,
	const struct kv_slice *now)
{
	struct inode old, new;

	if (!now && !hold_is_kept(&survey->fs->holds, ino))
		return false;
	if (!was || inode_record_decode(ino, *was, &old))
		return true;
	if (now ? inode_record_decode(ino, *now, &new) : inode_get(survey->fs, ino, &new))
		return true;
	return !same_contents(&old, &new);
}

/* A regular file that is held, or something that cannot be told from one. */
static int refuse(struct survey *survey, uint64_t ino)
{
	struct inode inode;

	if (!inode_get(survey->fs, ino, &inode) && !S_ISREG(inode.mode))
		return 0;
	survey->refused = true;
	if (survey->watch->busy && ino != survey->busy)
		survey->watch->busy(survey->watch->arg, ino);
	survey->busy = ino;
	return 0;
}

static int tell_changed(struct survey *survey, uint64_t ino, const char *name, size_t name_size)
{
	const struct kvfs_rollback_watch *watch = survey->watch;

	return watch->changed ? watch->changed(watch->arg, ino, name, name_size) : 0;
}

static int on_difference(void *arg, enum keyspace keyspace, struct kv_slice key,
	const struct kv_slice *was, const struct kv_slice *now)
{
	struct survey *survey = arg;
	struct dirent entry;
	uint64_t ino;

	if (keyspace == KEYSPACE_DIRENT && !dirent_key_decode(key, &entry))
		return is_known(survey, entry.parent)
			       ? tell_changed(survey, entry.parent, entry.name, entry.name_size)
			       : 0;
	if (keyspace != KEYSPACE_INODE && keyspace != KEYSPACE_EXTENT)
		return 0;
	if (key.size < INODE_KEY_SIZE ||
		inode_key_decode((struct kv_slice){key.data, INODE_KEY_SIZE}, &ino) ||
		!is_known(survey, ino))
		return 0;
	if (keyspace == KEYSPACE_EXTENT)
		return refuse(survey, ino);
	if (is_disturbed(survey, ino, was, now))
		(void)refuse(survey, ino);
	return tell_changed(survey, ino, NULL, 0);
}

/* Is there room, and nothing in the way? */
static int check(struct kvfs *fs, struct kvfs *snapshot, const struct kvfs_rollback_watch *watch)
{
	struct survey survey = {.fs = fs, .watch = watch};
	struct restore_survey restoring = {.differs = watch ? on_difference : NULL, .arg = &survey};
	struct kv_stats stats;
	int err = restore(fs, snapshot, &restoring);

	if (err)
		return err;
	if (survey.refused)
		return -EBUSY;
	kv_stats(fs->kv, &stats);
	limit_space(fs, &stats.avail_bytes, &stats.capacity_bytes);
	return restoring.bytes + SPARE_BYTES > stats.avail_bytes ? -ENOSPC : 0;
}

int kvfs_rollback_check(struct kvfs *fs, const char *name, const struct kvfs_rollback_watch *watch)
{
	struct kvfs *snapshot;
	int err;

	if (fs->read_only)
		return -EROFS;
	err = kvfs_snapshot_open(fs, name, &snapshot);
	if (err)
		return err;
	err = check(fs, snapshot, watch);
	snapshot_close(snapshot);
	return err;
}

/* ---- going back ------------------------------------------------------------------------------ */

static bool is_there(void *arg, uint64_t ino)
{
	struct kvfs *fs = arg;
	uint8_t key[INODE_KEY_SIZE];

	inode_key_encode(ino, key);
	return !kv_contains(fs->kv, KEYSPACE_INODE, key, sizeof(key));
}

static int roll_back(struct kvfs *fs, struct kvfs *snapshot, const char *name, const char *keep,
	struct kvfs_rollback_watch *watch)
{
	int err = check(fs, snapshot, watch);

	if (!err && keep)
		err = kvfs_snapshot_create(fs, keep);
	if (!err)
		err = decide(fs, name, kv_view_seq(snapshot->view));
	if (err)
		return err;
	if (watch)
		watch->begun = true;
	err = restore(fs, snapshot, NULL);
	/* A file that lost its name, and was kept in memory for its holders, may have it again. */
	if (!err)
		hold_drop_wrong(&fs->holds, is_there, fs);
	if (!err)
		err = conclude(fs, name);
	/*
	 * From the decision on the tree is the snapshot's, and after an error only opening the
	 * store anew can finish the work.
	 */
	fs->read_only = err;
	return err;
}

int kvfs_rollback_held(struct kvfs *fs, const char *name, const char *keep,
	struct kvfs_rollback_watch *watch)
{
	struct kvfs *snapshot;
	int err;

	if (watch)
		watch->begun = false;
	if (fs->read_only)
		return -EROFS;
	err = kvfs_snapshot_open(fs, name, &snapshot);
	if (err)
		return err;
	/* The reaper frees meanwhile. */
	stripe_pause(fs->stripes);
	err = roll_back(fs, snapshot, name, keep, watch);
	stripe_resume(fs->stripes);
	snapshot_close(snapshot);
	/* The rollback is done by then, whatever becomes of inodes without a name. */
	if (!err && !fs->doubtful && orphan_recover(fs))
		report(fs, KV_WARNING,
			"files without a name take room until the store is opened again", name);
	return err;
}

int kvfs_rollback(struct kvfs *fs, const char *name, const char *keep)
{
	return kvfs_rollback_held(fs, name, keep, NULL);
}

/* ---- when opening ---------------------------------------------------------------------------- */

/*
 * Is it known from the other record that it is done? Only from a newer one: an older one is back
 * itself, of which what deletes it was damaged.
 */
static int is_done(struct kvfs *fs, bool *done)
{
	uint64_t begun, ended = 0;
	int err = record_seq(fs, KEYSPACE_META, META_ROLLBACK_KEY, sizeof(META_ROLLBACK_KEY) - 1,
		&begun);

	if (!err)
		err = record_seq(fs, KEYSPACE_META, META_ROLLED_BACK_KEY,
			sizeof(META_ROLLED_BACK_KEY) - 1, &ended);
	*done = !err && ended > begun;
	return err;
}

/* In doubt: what there is becomes a snapshot, for who was not interrupted at all, long ago. */
static int keep_tree(struct kvfs *fs, const char *name)
{
	char keep[32], what[128];
	unsigned number = 0;
	int err;

	do {
		snprintf(keep, sizeof(keep), "before-rollback-%u", ++number);
		err = kvfs_snapshot_create(fs, keep);
	} while (err == -EEXIST);
	snprintf(what, sizeof(what), "what there was before it is finished %s snapshot %s",
		err ? "cannot be kept as" : "is", keep);
	report(fs, err ? KV_ERROR : KV_WARNING, what, name);
	return err;
}

static int finish(struct kvfs *fs, const char *name)
{
	struct kvfs *snapshot;
	int err = kvfs_snapshot_open(fs, name, &snapshot);

	if (err)
		return err;
	if (fs->doubtful)
		err = keep_tree(fs, name);
	if (!err)
		err = doubt_return(fs, kv_view_seq(snapshot->view));
	if (!err)
		err = restore(fs, snapshot, NULL);
	if (!err)
		err = conclude(fs, name);
	snapshot_close(snapshot);
	return err;
}

int rollback_finish(struct kvfs *fs)
{
	char name[KV_SNAPSHOT_NAME_MAX + 1];
	bool done;
	int err = read_target(fs, name);

	if (err)
		return err == -ENOENT ? 0 : err;
	err = is_done(fs, &done);
	if (done) {
		report(fs, KV_WARNING,
			"it was done long ago, but what says so was damaged; nothing changes", name);
		return remove_record(fs);
	}
	report(fs, KV_INFO, "it was interrupted, and is finished now", name);
	if (!err)
		err = finish(fs, name);
	if (err)
		report(fs, KV_ERROR, "it was interrupted, and cannot be finished", name);
	return err == -ENOENT ? -EUCLEAN : err;
}

int rollback_show(struct kvfs *fs)
{
	char name[KV_SNAPSHOT_NAME_MAX + 1];
	bool done;
	int err = read_target(fs, name);

	if (err)
		return err == -ENOENT ? 0 : err;
	err = is_done(fs, &done);
	if (err || done)
		return err;
	report(fs, KV_WARNING, "it was interrupted; shown is what it will be when finished", name);
	err = kv_snapshot_open(fs->kv, name, &fs->view);
	return err == -ENOENT ? -EUCLEAN : err;
}

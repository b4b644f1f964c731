/* SPDX-License-Identifier: MIT */
/*
 * fuse_snapshot.c - see fuse_snapshot.h.
 *
 * The table and the tree of names know every snapshot that there is from the first time that
 * anybody looks: nobody but the kernel makes or deletes any while the store is mounted, so they
 * stay true. A snapshot that is deleted leaves the tree at once, and the table when it is not held
 * any more.
 *
 * Cookies of the directory are the numbers: they stay what they are, whatever comes and goes.
 */
#include "fuse_snapshot.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define COOKIE_DOTS 2u /* cookies of "." and ".." come first, then those of numbers */

static int compare_names(const void *a, const void *b)
{
	return strcmp(
		((const struct fuse_snapshot *)a)->name, ((const struct fuse_snapshot *)b)->name);
}

static void snapshot_free(void *arg)
{
	struct fuse_snapshot *snapshot = arg;

	(void)kvfs_close(snapshot->fs);
	free(snapshot->name);
	free(snapshot);
}

/* ---- the table; all with its lock ------------------------------------------------------------ */

static struct fuse_snapshot *find(struct fuse_front *front, const char *name)
{
	struct fuse_snapshot key = {.name = (char *)name};
	struct fuse_snapshot **found = tfind(&key, &front->snapshots.names, compare_names);

	return found ? *found : NULL;
}

/* A number that none has, or 0. */
static unsigned free_number(struct fuse_snapshots *snapshots)
{
	for (unsigned tries = 1; tries < SNAPSHOTS_NUMBER; tries++) {
		snapshots->last = snapshots->last % (SNAPSHOTS_NUMBER - 1) + 1;
		if (!atomic_load_explicit(&snapshots->table[snapshots->last], memory_order_relaxed))
			return snapshots->last;
	}
	return 0;
}

static int snapshot_add(struct fuse_front *front, const char *name, struct timespec time)
{
	struct fuse_snapshots *snapshots = &front->snapshots;
	struct fuse_snapshot *snapshot = calloc(1, sizeof(*snapshot));
	int err = -ENOMEM;

	if (!snapshot)
		return err;
	snapshot->name = strdup(name);
	if (!snapshot->name)
		goto out;
	snapshot->time = time;
	snapshot->number = free_number(snapshots);
	err = -EMFILE;
	if (!snapshot->number)
		goto out;
	err = -ENOMEM;
	if (!tsearch(snapshot, &snapshots->names, compare_names))
		goto out;
	/* pairs with fuse_snapshot_of */
	atomic_store_explicit(
		&snapshots->table[snapshot->number], snapshot, memory_order_release);
	return 0;
out:
	snapshot_free(snapshot);
	return err;
}

static int meet(void *arg, const struct kvfs_snapshot *found)
{
	struct fuse_front *front = arg;

	return find(front, found->name) ? 0 : snapshot_add(front, found->name, found->time);
}

/* Makes the table know all that there are. Where they are not shown nobody can have asked. */
static int need_all(struct fuse_front *front)
{
	int err;

	if (!front->snapshots.table)
		return -ESTALE;
	if (front->snapshots.complete)
		return 0;
	err = kvfs_snapshot_list(front->fs, meet, front);
	front->snapshots.complete = !err;
	return err;
}

/* Closes it if nobody knows any of it any more; one that was deleted is then none. */
static void settle(struct fuse_front *front, struct fuse_snapshot *snapshot)
{
	if (atomic_load(&snapshot->holds))
		return;
	(void)kvfs_close(snapshot->fs);
	snapshot->fs = NULL;
	if (snapshot->deleted) {
		atomic_store(&front->snapshots.table[snapshot->number], NULL);
		snapshot_free(snapshot);
	}
}

/* Out: its root, held. */
static int snapshot_hold(struct fuse_front *front, const char *name, struct kvfs_attr *out)
{
	struct fuse_snapshot *snapshot;
	int err = need_all(front);

	if (err)
		return err;
	snapshot = find(front, name);
	if (!snapshot)
		return strnlen(name, KVFS_NAME_MAX + 1) > KVFS_NAME_MAX ? -ENAMETOOLONG : -ENOENT;
	if (!snapshot->fs)
		err = kvfs_snapshot_open(front->fs, name, &snapshot->fs);
	if (!err)
		err = kvfs_getattr(snapshot->fs, KVFS_ROOT_INO, out);
	if (!err)
		atomic_fetch_add(&snapshot->holds, 1);
	settle(front, snapshot);
	if (!err)
		out->ino |= (uint64_t)snapshot->number << FUSE_NODE_SHIFT;
	return err;
}

/* ---- life ------------------------------------------------------------------------------------ */

int fuse_snapshots_init(struct fuse_front *front, bool shown)
{
	struct fuse_snapshots *snapshots = &front->snapshots;

	pthread_mutex_init(&snapshots->lock, NULL);
	clock_gettime(CLOCK_REALTIME, &snapshots->changed);
	if (!shown)
		return 0;
	/* Pages of it that are not used are not there. */
	snapshots->table = calloc(SNAPSHOTS_NUMBER + 1, sizeof(*snapshots->table));
	return snapshots->table ? 0 : -ENOMEM;
}

static void forget_name(void *arg)
{
}

void fuse_snapshots_fini(struct fuse_front *front)
{
	struct fuse_snapshots *snapshots = &front->snapshots;

	tdestroy(snapshots->names, forget_name);
	for (unsigned i = 0; snapshots->table && i < SNAPSHOTS_NUMBER; i++) {
		if (snapshots->table[i])
			snapshot_free(snapshots->table[i]);
	}
	free(snapshots->table);
	pthread_mutex_destroy(&snapshots->lock);
}

/* ---- nodes ----------------------------------------------------------------------------------- */

void fuse_node_hold(struct fuse_front *front, uint64_t node, uint64_t count)
{
	struct fuse_snapshot *snapshot;

	if (node <= FUSE_NODE_INO_MAX) {
		kvfs_hold(front->fs, node, count);
		return;
	}
	snapshot = fuse_snapshot_of(front, node);
	if (snapshot)
		atomic_fetch_add_explicit(&snapshot->holds, count, memory_order_relaxed);
}

void fuse_node_release(struct fuse_front *front, uint64_t node, uint64_t count)
{
	struct fuse_snapshots *snapshots = &front->snapshots;
	struct fuse_snapshot *snapshot;

	if (node <= FUSE_NODE_INO_MAX) {
		kvfs_release(front->fs, node, count);
		return;
	}
	snapshot = fuse_snapshot_of(front, node);
	if (!snapshot || atomic_fetch_sub(&snapshot->holds, count) != count)
		return;
	pthread_mutex_lock(&snapshots->lock);
	/*
	 * Another thread may have come here first, or a lookup between: what the number means is
	 * looked at again.
	 */
	snapshot = fuse_snapshot_of(front, node);
	if (snapshot)
		settle(front, snapshot);
	pthread_mutex_unlock(&snapshots->lock);
}

struct kvfs *fuse_snapshots_keep(struct fuse_front *front, uint64_t node)
{
	struct fuse_snapshot *snapshot;
	struct kvfs *fs;

	pthread_mutex_lock(&front->snapshots.lock);
	snapshot = fuse_snapshot_of(front, node);
	fs = snapshot ? snapshot->fs : NULL;
	if (fs)
		atomic_fetch_add(&snapshot->holds, 1);
	pthread_mutex_unlock(&front->snapshots.lock);
	return fs;
}

/* ---- the directory --------------------------------------------------------------------------- */

bool fuse_snapshots_is_name(struct fuse_front *front, fuse_ino_t parent, const char *name)
{
	return parent == KVFS_ROOT_INO && front->snapshots.table && !strcmp(name, SNAPSHOTS_NAME);
}

/*
 * The root's owner may make and delete snapshots. One link, as of a directory that does not count.
 */
int fuse_snapshots_attr(struct fuse_front *front, struct kvfs_attr *out)
{
	struct kvfs_attr attr;
	int err = front->snapshots.table ? kvfs_getattr(front->fs, KVFS_ROOT_INO, &attr) : -ESTALE;

	if (err)
		return err;
	attr.ino = SNAPSHOTS_INO;
	attr.mode = S_IFDIR | 0755;
	attr.nlink = 1;
	attr.size = attr.blocks = 0;
	pthread_mutex_lock(&front->snapshots.lock);
	attr.atime = attr.mtime = attr.ctime = front->snapshots.changed;
	pthread_mutex_unlock(&front->snapshots.lock);
	*out = attr;
	return 0;
}

int fuse_snapshots_lookup(struct fuse_front *front, const char *name, struct kvfs_attr *out)
{
	int err;

	pthread_mutex_lock(&front->snapshots.lock);
	err = snapshot_hold(front, name, out);
	pthread_mutex_unlock(&front->snapshots.lock);
	return err;
}

int fuse_snapshots_create(struct fuse_front *front, const char *name, struct kvfs_attr *out)
{
	struct fuse_snapshots *snapshots = &front->snapshots;
	struct kvfs_snapshot made;
	bool full;
	int err;

	if (!snapshots->table)
		return -ESTALE;
	/* As many as there can be, and deleted ones that somebody knows. */
	pthread_mutex_lock(&snapshots->lock);
	full = snapshots->complete && !free_number(snapshots);
	pthread_mutex_unlock(&snapshots->lock);
	err = full ? -EMFILE : kvfs_snapshot_create(front->fs, name);
	if (err)
		return err;
	pthread_mutex_lock(&snapshots->lock);
	clock_gettime(CLOCK_REALTIME, &snapshots->changed);
	/* Where not all are known yet, it is met with the others. */
	if (snapshots->complete)
		err = kvfs_snapshot_stat(front->fs, name, &made);
	if (!err && snapshots->complete)
		err = meet(front, &made);
	snapshots->complete = snapshots->complete && !err;
	if (!err)
		err = snapshot_hold(front, name, out);
	pthread_mutex_unlock(&snapshots->lock);
	return err;
}

void fuse_snapshots_learn(struct fuse_front *front, const char *name)
{
	struct fuse_snapshots *snapshots = &front->snapshots;
	struct kvfs_snapshot made;

	if (!snapshots->table)
		return;
	pthread_mutex_lock(&snapshots->lock);
	clock_gettime(CLOCK_REALTIME, &snapshots->changed);
	/* A list that is not complete will meet the snapshot later. */
	snapshots->complete = snapshots->complete && !kvfs_snapshot_stat(front->fs, name, &made) &&
			      !meet(front, &made);
	pthread_mutex_unlock(&snapshots->lock);
	(void)fuse_lowlevel_notify_inval_entry(front->session, SNAPSHOTS_INO, name, strlen(name));
	(void)fuse_lowlevel_notify_inval_inode(front->session, SNAPSHOTS_INO, 0, 0);
}

int fuse_snapshots_delete(struct fuse_front *front, const char *name)
{
	struct fuse_snapshots *snapshots = &front->snapshots;
	struct fuse_snapshot *snapshot;
	int err;

	if (!snapshots->table)
		return -ESTALE;
	pthread_mutex_lock(&snapshots->lock);
	err = kvfs_snapshot_delete(front->fs, name);
	snapshot = err ? NULL : find(front, name);
	if (!err)
		clock_gettime(CLOCK_REALTIME, &snapshots->changed);
	if (snapshot) {
		tdelete(snapshot, &snapshots->names, compare_names);
		snapshot->deleted = true;
		settle(front, snapshot);
	}
	pthread_mutex_unlock(&snapshots->lock);
	return err;
}

int fuse_snapshots_readdir(
	struct fuse_front *front, uint64_t cookie, kvfs_entry_fn *entry, void *arg)
{
	static const uint64_t dots[COOKIE_DOTS] = {SNAPSHOTS_INO, KVFS_ROOT_INO};
	struct fuse_snapshots *snapshots = &front->snapshots;
	struct kvfs_attr attr = {.mode = S_IFDIR};
	int err;

	pthread_mutex_lock(&snapshots->lock);
	err = need_all(front);
	for (; !err && cookie < COOKIE_DOTS; cookie++) {
		attr.ino = dots[cookie];
		if (entry(arg, cookie ? ".." : ".", &attr, cookie + 1))
			goto out;
	}
	for (; !err && cookie - COOKIE_DOTS + 1 < SNAPSHOTS_NUMBER; cookie++) {
		struct fuse_snapshot *snapshot = snapshots->table[cookie - COOKIE_DOTS + 1];

		if (!snapshot || snapshot->deleted)
			continue;
		attr.ino = (uint64_t)snapshot->number << FUSE_NODE_SHIFT | KVFS_ROOT_INO;
		if (entry(arg, snapshot->name, &attr, cookie + 1))
			break;
	}
out:
	pthread_mutex_unlock(&snapshots->lock);
	return err;
}

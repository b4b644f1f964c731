/* SPDX-License-Identifier: MIT */
/*
 * snapshot.c - snapshots: the engine's, with names that can be those of directories, and file
 * systems that show one.
 *
 * Such a file system is a struct kvfs over a view. It owns the view and its scratch; the store, and
 * what describes it, is that of the file system it was opened from, which outlives it. Nothing in
 * it changes, so it has no locks, numbers, holds or reaper.
 */
#include "snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "doubt.h"
#include "entry.h"
#include "inode.h"

static bool is_name(const char *name)
{
	size_t size;

	return !name_valid(name, &size) && !name_is_dot(name) && !name_is_dotdot(name);
}

static int check_change(const struct kvfs *fs, const char *name)
{
	size_t size;
	int err = name_valid(name, &size);

	if (err)
		return err;
	if (!is_name(name))
		return -EINVAL;
	return fs->read_only ? -EROFS : 0;
}

int kvfs_snapshot_create(struct kvfs *fs, const char *name)
{
	int err = check_change(fs, name);

	return err ? err : kv_snapshot_create(fs->kv, name, NULL);
}

int kvfs_snapshot_delete(struct kvfs *fs, const char *name)
{
	int err = check_change(fs, name);

	return err ? err : kv_snapshot_delete(fs->kv, name, NULL);
}

struct listing {
	kvfs_snapshot_fn *each;
	void *arg;
};

static struct kvfs_snapshot snapshot_from(const struct kv_snapshot *snapshot)
{
	return (struct kvfs_snapshot){
		.name = snapshot->name,
		.time = {.tv_sec = (time_t)(snapshot->time_us / 1000000),
			.tv_nsec = (long)(snapshot->time_us % 1000000) * 1000},
	};
}

int kvfs_snapshot_stat(struct kvfs *fs, const char *name, struct kvfs_snapshot *out)
{
	struct kv_snapshot snapshot;
	int err = is_name(name) ? kv_snapshot_stat(fs->kv, name, &snapshot) : -ENOENT;

	if (!err)
		*out = snapshot_from(&snapshot);
	return err;
}

/* A program that uses the engine may give any names; those that are none here are not shown. */
static int list_one(void *arg, const struct kv_snapshot *snapshot)
{
	const struct listing *listing = arg;
	const struct kvfs_snapshot found = snapshot_from(snapshot);

	return is_name(snapshot->name) ? listing->each(listing->arg, &found) : 0;
}

int kvfs_snapshot_list(struct kvfs *fs, kvfs_snapshot_fn *each, void *arg)
{
	struct listing listing = {each, arg};

	return kv_snapshot_list(fs->kv, list_one, &listing);
}

/* The snapshot's root must be there, as it always is in a sound store. */
static int check_root(struct kvfs *fs)
{
	struct inode root;
	int err;

	kv_read_begin(fs->kv);
	err = inode_get(fs, KVFS_ROOT_INO, &root);
	kv_read_end(fs->kv);
	if (!err && !S_ISDIR(root.mode))
		err = -EIO;
	return err == -ENOENT ? fs_damaged(fs, KVFS_ROOT_INO, "a snapshot does not have it") : err;
}

/* Takes the view over, also where it fails. */
static int show(struct kvfs *fs, struct kv_view *view, struct kvfs **out)
{
	struct kvfs *shown = fs_new();
	bool doubtful;
	int err = shown ? doubt_was_before_repair(fs, kv_view_seq(view), &doubtful) : -ENOMEM;

	if (err) {
		free(shown);
		kv_view_close(view);
		return err;
	}
	shown->kv = fs->kv;
	shown->view = view;
	shown->name_secret = fs->name_secret;
	shown->atime = KVFS_NOATIME;
	shown->read_only = shown->borrows = true;
	shown->write_size_max = fs->write_size_max;
	shown->report = fs->report;
	shown->report_arg = fs->report_arg;
	atomic_init(&shown->size_limit, kvfs_size_limit(fs));
	hold_table_init(&shown->holds);
	shown->doubtful = fs->doubtful || doubtful;
	err = scratch_pool_init(&shown->scratch, shown->kv, shown->view);
	if (!err)
		err = check_root(shown);
	if (err)
		snapshot_close(shown);
	else
		*out = shown;
	return err;
}

int kvfs_snapshot_open(struct kvfs *fs, const char *name, struct kvfs **out)
{
	struct kv_view *view;
	int err;

	if (!is_name(name))
		return strnlen(name, KVFS_NAME_MAX + 1) > KVFS_NAME_MAX ? -ENAMETOOLONG : -ENOENT;
	err = kv_snapshot_open(fs->kv, name, &view);
	return err ? err : show(fs, view, out);
}

int kvfs_view_open(struct kvfs *fs, struct kvfs **out)
{
	struct kv_view *view;
	int err;

	if (fs->read_only)
		return -EROFS;
	err = kv_view_open(fs->kv, &view);
	return err ? err : show(fs, view, out);
}

void snapshot_close(struct kvfs *fs)
{
	scratch_pool_fini(&fs->scratch);
	hold_table_fini(&fs->holds);
	kv_view_close(fs->view);
	free(fs);
}

bool kvfs_is_snapshot(const struct kvfs *fs)
{
	return fs->borrows;
}

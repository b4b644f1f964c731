/* SPDX-License-Identifier: MIT */
/*
 * fuse_name.c - names: finding, making, moving and removing them, and the kernel's lookup counts.
 *
 * A FUSE node id is the inode number, for those of snapshots with a number above it
 * (fuse_snapshot.h). The kernel holds the directories' locks over each of these requests, and keeps
 * its own copies of what they change in step, so nothing needs to be invalidated.
 */
#include "fuse_caller.h"
#include "fuse_handlers.h"
#include "fuse_snapshot.h"

#include <errno.h>
#include <string.h>

void fuse_name_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_front *front = fuse_front_of(req);
	struct fuse_node node = fuse_node_of(req, parent);
	struct kvfs_attr attr;
	int rc;

	if (fuse_is_snapshots(parent)) {
		rc = fuse_snapshots_lookup(front, name, &attr);
		fuse_reply_held(req, rc, &attr);
		return;
	}
	if (fuse_snapshots_is_name(front, parent, name)) {
		rc = fuse_snapshots_attr(front, &attr);
	} else {
		/* "." is asked for by a handle, of any file */
		rc = strcmp(name, ".") ? kvfs_lookup(node.fs, node.ino, name, &attr)
				       : kvfs_getattr(node.fs, node.ino, &attr);
		if (!rc)
			attr.ino |= node.above;
	}
	fuse_reply_found(req, rc, &attr);
}

void fuse_name_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
	fuse_node_release(fuse_front_of(req), ino, count);
	fuse_reply_none(req);
}

void fuse_name_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	struct fuse_front *front = fuse_front_of(req);
	size_t i;

	for (i = 0; i < count; i++)
		fuse_node_release(front, forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

/*
 * Whether a name may be made in, or taken from, this directory: in .snapshots only by mkdir and
 * rmdir, which do not ask here; not the name .snapshots itself. Inside a snapshot the core says no.
 */
static int check_name(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	if (fuse_is_snapshots(parent))
		return -EPERM;
	return fuse_snapshots_is_name(fuse_front_of(req), parent, name) ? -EBUSY : 0;
}

void fuse_name_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct fuse_node node = fuse_node_of(req, parent);
	struct kvfs_caller caller = fuse_caller(req);
	struct kvfs_attr attr;
	unsigned tries = 0;
	int rc = check_name(req, parent, name);

	if (!rc) {
		do
			rc = kvfs_mknod(node.fs, &caller, node.ino, name, mode, rdev, &attr);
		while (fuse_try_again(req, rc, &tries));
	}
	fuse_reply_name_made(req, rc, &attr);
}

void fuse_name_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct fuse_node node = fuse_node_of(req, parent);
	struct kvfs_caller caller = fuse_caller(req);
	struct kvfs_attr attr;
	unsigned tries = 0;
	int rc;

	if (fuse_is_snapshots(parent)) {
		rc = fuse_snapshots_create(fuse_front_of(req), name, &attr);
		fuse_reply_held_made(req, rc, &attr);
		return;
	}
	rc = check_name(req, parent, name);
	if (!rc) {
		do
			rc = kvfs_mkdir(node.fs, &caller, node.ino, name, mode, &attr);
		while (fuse_try_again(req, rc, &tries));
	}
	fuse_reply_name_made(req, rc, &attr);
}

void fuse_name_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct fuse_node node = fuse_node_of(req, parent);
	struct kvfs_caller caller = fuse_caller(req);
	struct kvfs_attr attr;
	unsigned tries = 0;
	int rc = check_name(req, parent, name);

	if (!rc) {
		do
			rc = kvfs_symlink(node.fs, &caller, target, node.ino, name, &attr);
		while (fuse_try_again(req, rc, &tries));
	}
	fuse_reply_name_made(req, rc, &attr);
}

void fuse_name_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct fuse_node node = fuse_node_of(req, ino);
	char target[KVFS_SYMLINK_MAX + 1];
	ssize_t size = kvfs_readlink(node.fs, node.ino, target, KVFS_SYMLINK_MAX);

	if (size < 0) {
		fuse_reply_status(req, (int)size);
		return;
	}
	target[size] = '\0';
	fuse_reply_readlink(req, target);
}

void fuse_name_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	struct fuse_node node = fuse_node_of(req, ino), directory = fuse_node_of(req, parent);
	struct kvfs_attr attr;
	int rc = check_name(req, parent, name);

	/* A rename from a snapshot to the head is one between file systems. */
	if (!rc && node.above && !directory.above)
		rc = -EXDEV;
	if (!rc)
		rc = kvfs_link(directory.fs, node.ino, directory.ino, name, &attr);
	fuse_reply_name_made(req, rc, &attr);
}

void fuse_name_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_node node = fuse_node_of(req, parent);
	int rc = check_name(req, parent, name);

	fuse_reply_name_changed(req, rc ? rc : kvfs_unlink(node.fs, node.ino, name));
}

void fuse_name_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_node node = fuse_node_of(req, parent);
	int rc;

	if (fuse_is_snapshots(parent)) {
		fuse_reply_name_changed(req, fuse_snapshots_delete(fuse_front_of(req), name));
		return;
	}
	rc = check_name(req, parent, name);
	fuse_reply_name_changed(req, rc ? rc : kvfs_rmdir(node.fs, node.ino, name));
}

void fuse_name_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
	const char *new_name, unsigned flags)
{
	struct fuse_node from = fuse_node_of(req, parent), to = fuse_node_of(req, new_parent);
	struct kvfs_caller caller = fuse_caller(req);
	int rc = check_name(req, parent, name);

	if (!rc)
		rc = check_name(req, new_parent, new_name);
	/* -EXDEV would make mv copy what it then cannot remove. */
	if (!rc && (from.above || to.above))
		rc = -EROFS;
	if (!rc)
		rc = kvfs_rename(from.fs, &caller, from.ino, name, to.ino, new_name, flags);
	fuse_reply_name_changed(req, rc);
}

/* The core gives the file out held once: that is the kernel's lookup. */
void fuse_name_tmpfile(fuse_req_t req, fuse_ino_t parent, mode_t mode, struct fuse_file_info *fi)
{
	struct fuse_node node = fuse_node_of(req, parent);
	struct kvfs_caller caller = fuse_caller(req);
	struct fuse_entry_param entry;
	struct kvfs_attr attr;
	int rc = check_name(req, parent, "");

	if (!rc)
		rc = kvfs_tmpfile(node.fs, &caller, node.ino, mode, &attr);
	if (rc) {
		fuse_reply_status(req, rc);
		return;
	}
	fuse_entry_fill(&attr, &entry);
	fi->keep_cache = 1;
	if (fuse_reply_create(req, &entry, fi))
		kvfs_release(node.fs, attr.ino, 1);
}

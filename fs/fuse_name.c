/* SPDX-License-Identifier: MIT */
/*
 * fuse_name.c - names: finding, making, moving and removing them, and the kernel's lookup counts.
 *
 * A FUSE node id is the inode number. The kernel holds the directories' locks over each of these
 * requests, and keeps its own copies of what they change in step, so nothing needs to be
 * invalidated.
 */
#include "fuse_handlers.h"
#include "fuse_reply.h"

#include <errno.h>

void fuse_name_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct kvfs_attr attr;
	int rc = kvfs_lookup(fuse_front_of(req)->fs, parent, name, &attr);

	fuse_reply_found(req, rc, &attr);
}

void fuse_name_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
	kvfs_release(fuse_front_of(req)->fs, ino, count);
	fuse_reply_none(req);
}

void fuse_name_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	struct kvfs *fs = fuse_front_of(req)->fs;
	size_t i;

	for (i = 0; i < count; i++)
		kvfs_release(fs, forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

void fuse_name_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct kvfs_caller caller = fuse_caller(req);
	struct kvfs_attr attr;
	unsigned tries = 0;
	int rc;

	do
		rc = kvfs_mknod(fuse_front_of(req)->fs, &caller, parent, name, mode, rdev, &attr);
	while (fuse_try_again(req, rc, &tries));
	fuse_reply_name_made(req, rc, &attr);
}

void fuse_name_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct kvfs_caller caller = fuse_caller(req);
	struct kvfs_attr attr;
	unsigned tries = 0;
	int rc;

	do
		rc = kvfs_mkdir(fuse_front_of(req)->fs, &caller, parent, name, mode, &attr);
	while (fuse_try_again(req, rc, &tries));
	fuse_reply_name_made(req, rc, &attr);
}

void fuse_name_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct kvfs_caller caller = fuse_caller(req);
	struct kvfs_attr attr;
	unsigned tries = 0;
	int rc;

	do
		rc = kvfs_symlink(fuse_front_of(req)->fs, &caller, target, parent, name, &attr);
	while (fuse_try_again(req, rc, &tries));
	fuse_reply_name_made(req, rc, &attr);
}

void fuse_name_readlink(fuse_req_t req, fuse_ino_t ino)
{
	char target[KVFS_SYMLINK_MAX + 1];
	ssize_t size = kvfs_readlink(fuse_front_of(req)->fs, ino, target, KVFS_SYMLINK_MAX);

	if (size < 0) {
		fuse_reply_status(req, (int)size);
		return;
	}
	target[size] = '\0';
	fuse_reply_readlink(req, target);
}

void fuse_name_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	struct kvfs_attr attr;
	int rc = kvfs_link(fuse_front_of(req)->fs, ino, parent, name, &attr);

	fuse_reply_name_made(req, rc, &attr);
}

void fuse_name_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	fuse_reply_name_changed(req, kvfs_unlink(fuse_front_of(req)->fs, parent, name));
}

void fuse_name_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	fuse_reply_name_changed(req, kvfs_rmdir(fuse_front_of(req)->fs, parent, name));
}

void fuse_name_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
	const char *new_name, unsigned flags)
{
	struct kvfs *fs = fuse_front_of(req)->fs;

	fuse_reply_name_changed(req, kvfs_rename(fs, parent, name, new_parent, new_name, flags));
}

/* The core gives the file out held once: that is the kernel's lookup. */
void fuse_name_tmpfile(fuse_req_t req, fuse_ino_t parent, mode_t mode, struct fuse_file_info *fi)
{
	struct kvfs *fs = fuse_front_of(req)->fs;
	struct kvfs_caller caller = fuse_caller(req);
	struct fuse_entry_param entry;
	struct kvfs_attr attr;
	int rc = kvfs_tmpfile(fs, &caller, parent, mode, &attr);

	if (rc) {
		fuse_reply_status(req, rc);
		return;
	}
	fuse_entry_fill(&attr, &entry);
	fi->keep_cache = 1;
	if (fuse_reply_create(req, &entry, fi))
		kvfs_release(fs, attr.ino, 1);
}

/* SPDX-License-Identifier: MIT */
/*
 * fuse_attr.c - attributes of inodes, and of the file system.
 *
 * Permissions were checked by the kernel (default_permissions), which leaves to us what depends on
 * both the caller and the inode: clearing set-id bits (the capability HANDLE_KILLPRIV_V2).
 */
#include "fuse_caller.h"
#include "fuse_handlers.h"
#include "fuse_snapshot.h"

#include <errno.h>
#include <sys/sysmacros.h>

static int attr_of(fuse_req_t req, fuse_ino_t ino, struct kvfs_attr *out)
{
	struct fuse_node node = fuse_node_of(req, ino);
	int rc;

	if (fuse_is_snapshots(ino))
		return fuse_snapshots_attr(fuse_front_of(req), out);
	rc = kvfs_getattr(node.fs, node.ino, out);
	if (!rc)
		out->ino |= node.above;
	return rc;
}

void fuse_attr_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct kvfs_attr attr;
	int rc = attr_of(req, ino, &attr);

	fuse_reply_attr_found(req, rc, &attr);
}

#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
static struct statx_timestamp statx_time(struct timespec time)
{
	return (struct statx_timestamp){.tv_sec = time.tv_sec, .tv_nsec = (uint32_t)time.tv_nsec};
}

/* The kernel asks this way for the birth time. */
void fuse_attr_statx(fuse_req_t req, fuse_ino_t ino, int flags, int mask, struct fuse_file_info *fi)
{
	struct kvfs_attr attr;
	struct statx stx;
	int rc = attr_of(req, ino, &attr);

	if (rc) {
		fuse_reply_status(req, rc);
		return;
	}
	stx = (struct statx){
		.stx_mask = STATX_BASIC_STATS | STATX_BTIME,
		.stx_blksize = FUSE_BLOCK_SIZE,
		.stx_nlink = attr.nlink,
		.stx_uid = attr.uid,
		.stx_gid = attr.gid,
		.stx_mode = (uint16_t)attr.mode,
		.stx_ino = attr.ino,
		.stx_size = attr.size,
		.stx_blocks = attr.blocks,
		.stx_atime = statx_time(attr.atime),
		.stx_btime = statx_time(attr.btime),
		.stx_ctime = statx_time(attr.ctime),
		.stx_mtime = statx_time(attr.mtime),
		.stx_rdev_major = major(attr.rdev),
		.stx_rdev_minor = minor(attr.rdev),
	};
	fuse_reply_statx(req, 0, &stx, fuse_attr_timeout_s(&attr));
}
#endif

#define SET_KNOWN                                                                                  \
	(FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID | FUSE_SET_ATTR_SIZE |         \
		FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_CTIME)

/*
 * What a request clears that sets nothing at all. One comes before a write to a file with set-id
 * bits by an unprivileged caller, or to one with a capability by anybody; and it is chown(-1, -1),
 * which is the owner's and clears everything. There is no telling, but that root's write keeps
 * set-id bits. Nor is there from another who may not write by the file's mode: he may have it open
 * for writing all the same, but what he does then says itself what it clears.
 */
static unsigned cleared_by_nothing(fuse_req_t req, const struct kvfs_attr *attr)
{
	if (fuse_caller(req).privileged)
		return KVFS_KILL_CAPABILITY;
	return fuse_caller_may_write(req, attr) ? KVFS_KILL_SUIDGID : 0;
}

/* Set-id bits and capabilities that go with the change. Truncation by a caller without CAP_FSETID
 * says so. */
static unsigned cleared(fuse_req_t req, fuse_ino_t ino, int to_set)
{
	const int may_clear = FUSE_SET_ATTR_KILL_SUID | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID;
	struct fuse_node node = fuse_node_of(req, ino);
	struct kvfs_attr attr;
	unsigned set = 0;

	if ((to_set & SET_KNOWN && !(to_set & may_clear)) ||
		kvfs_getattr(node.fs, node.ino, &attr))
		return 0;
	if (to_set & FUSE_SET_ATTR_KILL_SUID)
		set = KVFS_KILL_SUIDGID;
	else if (!(to_set & SET_KNOWN))
		set = cleared_by_nothing(req, &attr);
	/* a change of owner clears the others without being told */
	return fuse_caller_loses_sgid(req, &attr) ? set | KVFS_KILL_SGID : set;
}

static unsigned set_mask(int to_set)
{
	unsigned set = 0;

	if (to_set & FUSE_SET_ATTR_MODE)
		set |= KVFS_SET_MODE;
	if (to_set & FUSE_SET_ATTR_UID)
		set |= KVFS_SET_UID;
	if (to_set & FUSE_SET_ATTR_GID)
		set |= KVFS_SET_GID;
	if (to_set & FUSE_SET_ATTR_SIZE)
		set |= KVFS_SET_SIZE;
	if (to_set & FUSE_SET_ATTR_ATIME_NOW)
		set |= KVFS_SET_ATIME_NOW;
	else if (to_set & FUSE_SET_ATTR_ATIME)
		set |= KVFS_SET_ATIME;
	if (to_set & FUSE_SET_ATTR_MTIME_NOW)
		set |= KVFS_SET_MTIME_NOW;
	else if (to_set & FUSE_SET_ATTR_MTIME)
		set |= KVFS_SET_MTIME;
	if (to_set & FUSE_SET_ATTR_CTIME)
		set |= KVFS_SET_CTIME;
	return set;
}

/*
 * Nothing to set, asked for by who may clear nothing either: not even a time changes. Before a write
 * by who is no member of the group it may be about a set-gid bit without execution by the group, of
 * which the write itself says nothing.
 */
static bool is_idle(fuse_req_t req, struct fuse_node node, int to_set, struct kvfs_attr *attr)
{
	return !node.above && !(to_set & (SET_KNOWN | FUSE_SET_ATTR_KILL_SUID)) &&
	       !kvfs_getattr(node.fs, node.ino, attr) && !fuse_caller_may_write(req, attr) &&
	       (attr->mode & S_IXGRP || !fuse_caller_loses_sgid(req, attr));
}

void fuse_attr_setattr(
	fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set, struct fuse_file_info *fi)
{
	struct kvfs_attr wanted = {
		.ino = ino,
		.mode = st->st_mode,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.size = (uint64_t)st->st_size,
		.atime = st->st_atim,
		.mtime = st->st_mtim,
		.ctime = st->st_ctim,
	};
	struct fuse_node node = fuse_node_of(req, ino);
	struct kvfs_attr attr;
	int rc = -EPERM;

	if (!fuse_is_snapshots(ino) && is_idle(req, node, to_set, &attr))
		rc = 0;
	else if (!fuse_is_snapshots(ino))
		rc = kvfs_setattr(node.fs, node.ino, &wanted,
			set_mask(to_set) | cleared(req, ino, to_set), &attr);
	fuse_reply_attr_changed(req, rc, &attr, to_set & FUSE_SET_ATTR_SIZE);
}

void fuse_attr_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct kvfs_statfs space;
	struct statvfs out;
	int rc = kvfs_statfs(fuse_front_of(req)->fs, &space);

	if (rc) {
		fuse_reply_status(req, rc);
		return;
	}
	out = (struct statvfs){
		.f_bsize = space.block_size,
		.f_frsize = space.block_size,
		.f_blocks = space.blocks,
		.f_bfree = space.blocks_free,
		.f_bavail = space.blocks_avail,
		.f_files = space.files,
		.f_ffree = space.files_free,
		.f_favail = space.files_free,
		.f_namemax = KVFS_NAME_MAX,
	};
	fuse_reply_statfs(req, &out);
}

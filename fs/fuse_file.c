/* SPDX-License-Identifier: MIT */
/*
 * fuse_file.c - contents of files: reading, writing, space, making durable.
 *
 * There are no handles: state hangs on the inode, so open needs no message. O_APPEND needs nothing
 * either: the kernel serialises writers and knows the size. After a write to a file that is open
 * with O_SYNC or O_DSYNC (or on a mount with -o sync) the kernel sends an fsync by itself.
 */
#include "fuse_buffer.h"
#include "fuse_caller.h"
#include "fuse_handlers.h"
#include "fuse_snapshot.h"

#include <errno.h>
#include <fcntl.h>

/*
 * Asked once per mount: ENOSYS tells the kernel that open always works and keeps the file's pages.
 * With strict times of access each opening is asked for and drops the pages, so that what is read
 * next is seen here.
 */
void fuse_file_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fuse_front *front = fuse_front_of(req);

	if (front->open_needless) {
		fuse_reply_err(req, ENOSYS);
		return;
	}
	if ((fi->flags & O_ACCMODE) != O_RDONLY && kvfs_is_snapshot(fuse_node_of(req, ino).fs)) {
		fuse_reply_err(req, EROFS);
		return;
	}
	fi->keep_cache = !front->options.strict_atime;
	fuse_reply_open(req, fi);
}

void fuse_file_read(
	fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	struct fuse_node node = fuse_node_of(req, ino);
	char *buffer = fuse_buffer_answer(req, size);
	ssize_t done;

	if (!buffer) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	if (fi->flags & O_NOATIME)
		done = kvfs_read_unseen(node.fs, node.ino, buffer, size, offset);
	else
		done = kvfs_read(node.fs, node.ino, buffer, size, offset);
	if (done < 0)
		fuse_reply_status(req, (int)done);
	else
		fuse_reply_buf(req, buffer, (size_t)done);
}

void fuse_file_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t offset,
	struct fuse_file_info *fi)
{
	struct fuse_node node = fuse_node_of(req, ino);
	unsigned flags = 0, tries = 0;
	ssize_t done;

#ifdef FUSE_CAP_HANDLE_KILLPRIV_V2
	if (fi->kill_suidgid)
		flags |= KVFS_WRITE_KILL_SUIDGID;
#endif
	do
		done = kvfs_write(node.fs, node.ino, data, size, offset, flags);
	while (fuse_try_again(req, done, &tries));
	if (done < 0)
		fuse_reply_status(req, (int)done);
	else
		fuse_reply_write(req, (size_t)done);
}

/* Also for directories: one log holds everything, so there is one kind of durability. */
void fuse_file_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	fuse_reply_when_durable(req);
}

/*
 * The kernel asks for set-id bits and capabilities to be cleared before these two as before a
 * write. But it does so in a way that chown(-1, -1) has as well (fuse_attr.c), where it counts only
 * from those who may write by the file's mode; who has it open may not any more.
 */
static int clear_rights(fuse_req_t req, struct fuse_node node)
{
	const unsigned set_ids = S_ISUID | S_ISGID;
	unsigned set = KVFS_KILL_SUIDGID;
	struct kvfs_attr attr;
	int rc;

	if (fuse_caller(req).privileged)
		return 0;
	rc = kvfs_getattr(node.fs, node.ino, &attr);
	if (rc || (!(attr.mode & set_ids) &&
		kvfs_getxattr(node.fs, node.ino, "security.capability", NULL, 0) < 0))
		return rc;
	if (fuse_caller_loses_sgid(req, &attr))
		set |= KVFS_KILL_SGID;
	return kvfs_setattr(node.fs, node.ino, &attr, set, &attr);
}

void fuse_file_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t size,
	struct fuse_file_info *fi)
{
	struct fuse_node node = fuse_node_of(req, ino);
	int rc = clear_rights(req, node);

	if (!rc)
		rc = kvfs_fallocate(node.fs, node.ino, mode, offset, size);
	fuse_reply_inode_changed(req, rc);
}

/*
 * By reference where that is possible; it ends short before a queue's thread is held up for long.
 */
void fuse_file_copy(fuse_req_t req, fuse_ino_t in_ino, off_t in_offset,
	struct fuse_file_info *in_fi, fuse_ino_t out_ino, off_t out_offset,
	struct fuse_file_info *out_fi, size_t size, int flags)
{
	struct fuse_node in = fuse_node_of(req, in_ino), out = fuse_node_of(req, out_ino);
	unsigned tries = 0;
	ssize_t done;

	if (flags) {
		fuse_reply_status(req, -EINVAL);
		return;
	}
	/* A snapshot is another file system: the kernel then copies. */
	if (in.fs != out.fs) {
		fuse_reply_status(req, -EXDEV);
		return;
	}
	done = clear_rights(req, out);
	if (done) {
		fuse_reply_status(req, (int)done);
		return;
	}
	do
		done = kvfs_copy(in.fs, in.ino, in_offset, out.ino, out_offset, size);
	while (fuse_try_again(req, done, &tries));
	if (done < 0)
		fuse_reply_status(req, (int)done);
	else
		fuse_reply_write(req, (size_t)done);
}

void fuse_file_lseek(
	fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, struct fuse_file_info *fi)
{
	struct fuse_node node = fuse_node_of(req, ino);
	int64_t found = kvfs_seek(node.fs, node.ino, offset, whence);

	if (found < 0)
		fuse_reply_status(req, (int)found);
	else
		fuse_reply_lseek(req, found);
}

/* SPDX-License-Identifier: MIT */
/*
 * fuse_front.c - the FUSE front end as a whole: its life, what it asks of the kernel, its handlers.
 *
 * What is not in the table is answered with ENOSYS by the library, and then not asked again: create
 * (the kernel uses mknod and open), flush (nothing is buffered here), access (default_permissions),
 * locks and ioctl. Release and releasedir have nothing to do.
 */
#include "fuse_front.h"

#include <errno.h>
#include <stdlib.h>

#include "fuse_handlers.h"
#include "fuse_snapshot.h"

static void front_init(void *userdata, struct fuse_conn_info *conn)
{
	struct fuse_front *front = userdata;

	session_negotiate(conn, SESSION_KILLPRIV);
	if (front->options.acl) {
		/* A directory's default list takes the place of the umask, so that is ours to apply. */
		session_want(conn, FUSE_CAP_POSIX_ACL);
		session_want(conn, FUSE_CAP_DONT_MASK);
	}
	/* a handle that a network file system keeps is an inode's number, which stays good for ever */
	session_want(conn, FUSE_CAP_EXPORT_SUPPORT);
	if (front->options.strict_atime)
		session_unwant(conn, FUSE_CAP_CACHE_SYMLINKS);
	front->open_needless =
		conn->capable & FUSE_CAP_NO_OPEN_SUPPORT && !front->options.strict_atime;
}

static const struct fuse_lowlevel_ops front_ops = {
	.init = front_init,
	.lookup = fuse_name_lookup,
	.forget = fuse_name_forget,
	.forget_multi = fuse_name_forget_multi,
	.mknod = fuse_name_mknod,
	.mkdir = fuse_name_mkdir,
	.symlink = fuse_name_symlink,
	.readlink = fuse_name_readlink,
	.link = fuse_name_link,
	.unlink = fuse_name_unlink,
	.rmdir = fuse_name_rmdir,
	.rename = fuse_name_rename,
	.getattr = fuse_attr_getattr,
	.setattr = fuse_attr_setattr,
	.statfs = fuse_attr_statfs,
	.open = fuse_file_open,
	.read = fuse_file_read,
	.write = fuse_file_write,
	.fsync = fuse_file_fsync,
	.fsyncdir = fuse_file_fsync,
	.fallocate = fuse_file_fallocate,
	.lseek = fuse_file_lseek,
	.copy_file_range = fuse_file_copy,
	.opendir = fuse_dir_opendir,
	.readdir = fuse_dir_readdir,
	.readdirplus = fuse_dir_readdirplus,
	.setxattr = fuse_xattr_set,
	.getxattr = fuse_xattr_get,
	.listxattr = fuse_xattr_list,
	.removexattr = fuse_xattr_remove,
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
	.tmpfile = fuse_name_tmpfile,
#endif
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
	.statx = fuse_attr_statx,
#endif
};

const struct fuse_lowlevel_ops *fuse_front_ops(void)
{
	return &front_ops;
}

int fuse_front_new(
	struct kvfs *fs, const struct fuse_front_options *options, struct fuse_front **out)
{
	struct fuse_front *front = calloc(1, sizeof(*front));
	int rc;

	if (!front)
		return -ENOMEM;
	front->fs = fs;
	front->options = *options;
	pthread_mutex_init(&front->deferred_lock, NULL);
	pthread_cond_init(&front->deferred_idle, NULL);
	rc = fuse_snapshots_init(front, options->snapshots && !kvfs_is_snapshot(fs));
	if (rc)
		fuse_front_free(front);
	else
		*out = front;
	return rc;
}

void fuse_front_free(struct fuse_front *front)
{
	if (!front)
		return;
	fuse_snapshots_fini(front);
	fuse_deferred_fini(front);
	pthread_cond_destroy(&front->deferred_idle);
	pthread_mutex_destroy(&front->deferred_lock);
	free(front);
}

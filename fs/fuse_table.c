/* SPDX-License-Identifier: MIT */
/*
 * fuse_table.c - the table of handlers that the session is given: each behind the gate
 * (fuse_gate.h), but those that the kernel forgets by.
 *
 * What is not in the table is answered with ENOSYS by the library, and then not asked again: create
 * (the kernel uses mknod and open), flush (nothing is buffered here), access (default_permissions),
 * locks and ioctl. Release and releasedir have nothing to do.
 */
#include <errno.h>

#include "fuse_handlers.h"
#include "fuse_reply.h"

static void front_init(void *userdata, struct fuse_conn_info *conn)
{
	struct fuse_front *front = userdata;

	session_negotiate(conn, SESSION_KILLPRIV);
	if (front->options.acl) {
		/*
		 * A directory's default list takes the place of the umask, so that is ours to
		 * apply.
		 */
		session_want(conn, FUSE_CAP_POSIX_ACL);
		session_want(conn, FUSE_CAP_DONT_MASK);
	}
	/*
	 * a handle that a network file system keeps is an inode's number, which stays good for ever
	 */
	session_want(conn, FUSE_CAP_EXPORT_SUPPORT);
	if (front->options.strict_atime)
		session_unwant(conn, FUSE_CAP_CACHE_SYMLINKS);
	front->open_needless =
		conn->capable & FUSE_CAP_NO_OPEN_SUPPORT && !front->options.strict_atime;
}

/* Each handler is called with what the library gave, by a function of the same signature. */
#define GATED(handler, parameters, arguments)                                                      \
	static void gated_##handler parameters                                                     \
	{                                                                                          \
		struct fuse_gate *gate = &fuse_front_of(req)->gate;                                \
                                                                                                   \
		if (!fuse_gate_enter(gate)) {                                                      \
			fuse_reply_err(req, EIO);                                                  \
			return;                                                                    \
		}                                                                                  \
		handler arguments;                                                                 \
		fuse_gate_leave(gate);                                                             \
	}

GATED(fuse_name_lookup, (fuse_req_t req, fuse_ino_t parent, const char *name), (req, parent,
	name))
GATED(fuse_name_mknod, (fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t
	rdev), (req, parent, name, mode, rdev))
GATED(fuse_name_mkdir, (fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode), (req,
	parent, name, mode))
GATED(fuse_name_symlink, (fuse_req_t req, const char *target, fuse_ino_t parent, const char
	*name), (req, target, parent, name))
GATED(fuse_name_readlink, (fuse_req_t req, fuse_ino_t ino), (req, ino))
GATED(fuse_name_link, (fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name), (req,
	ino, parent, name))
GATED(fuse_name_unlink, (fuse_req_t req, fuse_ino_t parent, const char *name), (req, parent,
	name))
GATED(fuse_name_rmdir, (fuse_req_t req, fuse_ino_t parent, const char *name), (req, parent, name))
GATED(fuse_name_rename, (fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t
	new_parent, const char *new_name, unsigned flags), (req, parent, name, new_parent, new_name,
	flags))
GATED(fuse_attr_getattr, (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi), (req, ino,
	fi))
GATED(fuse_attr_setattr, (fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set, struct
	fuse_file_info *fi), (req, ino, st, to_set, fi))
GATED(fuse_attr_statfs, (fuse_req_t req, fuse_ino_t ino), (req, ino))
GATED(fuse_file_open, (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi), (req, ino, fi))
GATED(fuse_file_read, (fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct
	fuse_file_info *fi), (req, ino, size, offset, fi))
GATED(fuse_file_write, (fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t
	offset, struct fuse_file_info *fi), (req, ino, data, size, offset, fi))
GATED(fuse_file_fsync, (fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi),
	(req, ino, datasync, fi))
GATED(fuse_file_fallocate, (fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t size,
	struct fuse_file_info *fi), (req, ino, mode, offset, size, fi))
GATED(fuse_file_lseek, (fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, struct
	fuse_file_info *fi), (req, ino, offset, whence, fi))
GATED(fuse_file_copy,
	(fuse_req_t req, fuse_ino_t in_ino, off_t in_offset, struct fuse_file_info *in_fi,
		fuse_ino_t out_ino, off_t out_offset, struct fuse_file_info *out_fi, size_t size,
		int flags),
	(req, in_ino, in_offset, in_fi, out_ino, out_offset, out_fi, size, flags))
GATED(fuse_dir_opendir, (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi), (req, ino,
	fi))
GATED(fuse_dir_readdir, (fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct
	fuse_file_info *fi), (req, ino, size, offset, fi))
GATED(fuse_dir_readdirplus, (fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct
	fuse_file_info *fi), (req, ino, size, offset, fi))
GATED(fuse_xattr_set, (fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t
	size, int flags), (req, ino, name, value, size, flags))
GATED(fuse_xattr_get, (fuse_req_t req, fuse_ino_t ino, const char *name, size_t size), (req, ino,
	name, size))
GATED(fuse_xattr_list, (fuse_req_t req, fuse_ino_t ino, size_t size), (req, ino, size))
GATED(fuse_xattr_remove, (fuse_req_t req, fuse_ino_t ino, const char *name), (req, ino, name))
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
GATED(fuse_name_tmpfile, (fuse_req_t req, fuse_ino_t parent, mode_t mode, struct fuse_file_info
	*fi), (req, parent, mode, fi))
#endif
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
GATED(fuse_attr_statx, (fuse_req_t req, fuse_ino_t ino, int flags, int mask, struct fuse_file_info
	*fi), (req, ino, flags, mask, fi))
#endif

static const struct fuse_lowlevel_ops front_ops = {
	.init = front_init,
	.lookup = gated_fuse_name_lookup,
	.forget = fuse_name_forget,
	.forget_multi = fuse_name_forget_multi,
	.mknod = gated_fuse_name_mknod,
	.mkdir = gated_fuse_name_mkdir,
	.symlink = gated_fuse_name_symlink,
	.readlink = gated_fuse_name_readlink,
	.link = gated_fuse_name_link,
	.unlink = gated_fuse_name_unlink,
	.rmdir = gated_fuse_name_rmdir,
	.rename = gated_fuse_name_rename,
	.getattr = gated_fuse_attr_getattr,
	.setattr = gated_fuse_attr_setattr,
	.statfs = gated_fuse_attr_statfs,
	.open = gated_fuse_file_open,
	.read = gated_fuse_file_read,
	.write = gated_fuse_file_write,
	.fsync = gated_fuse_file_fsync,
	.fsyncdir = gated_fuse_file_fsync,
	.fallocate = gated_fuse_file_fallocate,
	.lseek = gated_fuse_file_lseek,
	.copy_file_range = gated_fuse_file_copy,
	.opendir = gated_fuse_dir_opendir,
	.readdir = gated_fuse_dir_readdir,
	.readdirplus = gated_fuse_dir_readdirplus,
	.setxattr = gated_fuse_xattr_set,
	.getxattr = gated_fuse_xattr_get,
	.listxattr = gated_fuse_xattr_list,
	.removexattr = gated_fuse_xattr_remove,
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
	.tmpfile = gated_fuse_name_tmpfile,
#endif
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
	.statx = gated_fuse_attr_statx,
#endif
};

const struct fuse_lowlevel_ops *fuse_front_ops(void)
{
	return &front_ops;
}

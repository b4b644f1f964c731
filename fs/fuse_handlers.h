/* SPDX-License-Identifier: MIT */
/*
 * fuse_handlers.h - the handlers of the FUSE front end, one file a noun; fuse_table.c registers
 * them. Each has the signature of its member of struct fuse_lowlevel_ops, and runs on a serving
 * thread.
 */
#ifndef FUSE_HANDLERS_H
#define FUSE_HANDLERS_H

#include "session.h"

/* fuse_name.c */
void fuse_name_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void fuse_name_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count);
void fuse_name_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void fuse_name_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void fuse_name_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void fuse_name_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name);
void fuse_name_readlink(fuse_req_t req, fuse_ino_t ino);
void fuse_name_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name);
void fuse_name_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void fuse_name_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void fuse_name_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
	const char *new_name, unsigned flags);
void fuse_name_tmpfile(fuse_req_t req, fuse_ino_t parent, mode_t mode, struct fuse_file_info *fi);

/* fuse_attr.c */
void fuse_attr_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fuse_attr_setattr(
	fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set, struct fuse_file_info *fi);
void fuse_attr_statfs(fuse_req_t req, fuse_ino_t ino);
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
void fuse_attr_statx(
	fuse_req_t req, fuse_ino_t ino, int flags, int mask, struct fuse_file_info *fi);
#endif

/* fuse_file.c */
void fuse_file_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fuse_file_read(
	fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi);
void fuse_file_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t offset,
	struct fuse_file_info *fi);
void fuse_file_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void fuse_file_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t size,
	struct fuse_file_info *fi);
void fuse_file_lseek(
	fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, struct fuse_file_info *fi);
void fuse_file_copy(fuse_req_t req, fuse_ino_t in_ino, off_t in_offset,
	struct fuse_file_info *in_fi, fuse_ino_t out_ino, off_t out_offset,
	struct fuse_file_info *out_fi, size_t size, int flags);

/* fuse_dir.c */
void fuse_dir_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fuse_dir_readdir(
	fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi);
void fuse_dir_readdirplus(
	fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi);

/* fuse_xattr.c */
void fuse_xattr_set(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
	size_t size, int flags);
void fuse_xattr_get(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void fuse_xattr_list(fuse_req_t req, fuse_ino_t ino, size_t size);
void fuse_xattr_remove(fuse_req_t req, fuse_ino_t ino, const char *name);

#endif

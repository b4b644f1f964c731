/* SPDX-License-Identifier: MIT */
/*
 * xattr.h - what other operations do to extended attributes.
 */
#ifndef XATTR_H
#define XATTR_H

#include "inode.h"

/* Adds the deletion of all attributes of an inode that goes. */
KV_MUST_CHECK int xattr_erase(struct change *change, uint64_t ino);

/* An attribute's value, inside a read section. -ENODATA: there is none. */
KV_MUST_CHECK int xattr_value(
	struct kvfs *fs, uint64_t ino, const char *name, struct kv_slice *value);

/* Sets an attribute; changes inode->xattr_list_size. Fills the batch, but for the inode. */
KV_MUST_CHECK int xattr_put(
	struct change *change, struct inode *inode, const char *name, struct kv_slice value);

/* Removes the file capabilities; changes inode->xattr_list_size. */
KV_MUST_CHECK int xattr_drop_capability(struct change *change, struct inode *inode);

#endif

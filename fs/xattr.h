/* SPDX-License-Identifier: MIT */
/*
 * xattr.h - what other operations do to extended attributes.
 */
#ifndef XATTR_H
#define XATTR_H

#include "inode.h"

/* Adds the deletion of all attributes of an inode that goes. */
KV_MUST_CHECK int xattr_erase(struct change *change, uint64_t ino);

/* Removes the file capabilities; changes inode->xattr_list_size. */
KV_MUST_CHECK int xattr_drop_capability(struct change *change, struct inode *inode);

#endif

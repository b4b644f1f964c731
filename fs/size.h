/* SPDX-License-Identifier: MIT */
/*
 * size.h - changing a file's size, and freeing what lies beyond it.
 */
#ifndef SIZE_H
#define SIZE_H

#include "inode.h"

/* Pieces that one batch frees at most, about. */
#define SIZE_STEP 1024u

/*
 * Sets a regular file's size in `inode` and adds to the batch what goes with it, but for the inode
 * itself: call size_commit for that. If more is to be freed than fits a batch, the inode gets
 * INODE_TRIM.
 */
KV_MUST_CHECK int size_set(struct change *change, struct inode *inode, uint64_t size);

/* Puts the inode, commits, and then frees the rest beyond its size if there is any. Locks stay. */
KV_MUST_CHECK int size_commit(struct change *change, struct inode *inode);

/*
 * Finishes an earlier size_commit that could not: needed before contents change. Commits, if there
 * is anything to do, with the batch empty before and after.
 */
KV_MUST_CHECK int size_settle(struct change *change, struct inode *inode);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * fuse_tree.h - a tree that stays what it is while a thread reads it beside the requests: a
 * snapshot, which cannot be closed meanwhile, or the store as it is at the moment.
 */
#ifndef FUSE_TREE_H
#define FUSE_TREE_H

#include "fuse_reply.h"

struct fuse_tree {
	struct fuse_front *front;
	uint64_t root; /* its node */
	struct kvfs *fs;
};

/*
 * Inside the gate, so that no rollback is half done. -EINVAL not a root, -ENOENT not one of a
 * snapshot that the kernel knows, -ENOMEM, -EIO
 */
int fuse_tree_open(struct fuse_front *front, uint64_t root, struct fuse_tree *out)
	__attribute__((warn_unused_result));
/* Nothing, for one that is all zeros. */
void fuse_tree_close(struct fuse_tree *tree);

#endif

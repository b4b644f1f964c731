/* SPDX-License-Identifier: MIT */
/* fuse_clone.h - what a clone of a tree is made of, told by a stream (fuse_front.h). */
#ifndef FUSE_CLONE_H
#define FUSE_CLONE_H

#include "fuse_reply.h"

/* Node `root` is that of the tree. As fuse_tree_open and fuse_stream_begin */
int fuse_clone_begin(struct fuse_front *front, uint64_t token, uint64_t unused, uint64_t root)
	__attribute__((warn_unused_result));

#endif

/* SPDX-License-Identifier: MIT */
/* fuse_diff.h - what is different between two trees, told by a stream (fuse_front.h). */
#ifndef FUSE_DIFF_H
#define FUSE_DIFF_H

#include "fuse_reply.h"

/* Node `from` is the root of another tree. As fuse_tree_open and fuse_stream_begin */
int fuse_diff_begin(struct fuse_front *front, uint64_t token, uint64_t from, uint64_t to)
	__attribute__((warn_unused_result));

#endif

/* SPDX-License-Identifier: MIT */
/* fuse_clone.c - see fuse_clone.h. */
#include "fuse_clone.h"

#include <errno.h>
#include <stdlib.h>

#include "fuse_tree.h"

static int give(void *arg, const void *bytes, size_t size)
{
	return fuse_stream_put(arg, bytes, size);
}

static int clone_make(void *arg, struct fuse_stream *stream)
{
	const struct fuse_tree *tree = arg;

	return kvfs_send(tree->fs, give, stream);
}

static void clone_free(void *arg)
{
	fuse_tree_close(arg);
	free(arg);
}

static const struct fuse_stream_kind clone_kind = {
	clone_make, clone_free, .count_max = FUSE_STREAMS};

int fuse_clone_begin(struct fuse_front *front, uint64_t token, uint64_t unused, uint64_t root)
{
	struct fuse_tree *tree;
	int err;

	if (!fuse_stream_has_room(&front->streams, &clone_kind))
		return -EBUSY;
	tree = calloc(1, sizeof(*tree));
	if (!tree)
		return -ENOMEM;
	err = fuse_tree_open(front, root, tree);
	if (!err)
		err = fuse_stream_begin(&front->streams, token, &clone_kind, tree);
	if (err)
		clone_free(tree);
	return err;
}

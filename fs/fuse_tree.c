/* SPDX-License-Identifier: MIT */
/* fuse_tree.c - see fuse_tree.h. */
#include "fuse_tree.h"

#include <errno.h>

#include "fuse_snapshot.h"

int fuse_tree_open(struct fuse_front *front, uint64_t root, struct fuse_tree *out)
{
	struct kvfs *fs = front->fs;
	int err = 0;

	if ((root & FUSE_NODE_INO_MAX) != KVFS_ROOT_INO || fuse_is_snapshots(root))
		return -EINVAL;
	if (root != KVFS_ROOT_INO) {
		fs = fuse_snapshots_keep(front, root);
		err = fs ? 0 : -ENOENT;
	} else {
		err = kvfs_view_open(front->fs, &fs);
		/* What is open for reading stays what it is by itself. */
		if (err == -EROFS)
			err = 0;
	}
	if (!err)
		*out = (struct fuse_tree){front, root, fs};
	return err;
}

void fuse_tree_close(struct fuse_tree *tree)
{
	if (!tree->fs)
		return;
	if (tree->root != KVFS_ROOT_INO)
		fuse_node_release(tree->front, tree->root, 1);
	else if (tree->fs != tree->front->fs)
		(void)kvfs_close(tree->fs);
	tree->fs = NULL;
}

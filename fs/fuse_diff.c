/* SPDX-License-Identifier: MIT */
/* fuse_diff.c - see fuse_diff.h. */
#include "fuse_diff.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fuse_tree.h"

struct diff {
	struct fuse_tree from, to;
	struct fuse_stream *stream;
};

static int put_row(void *arg, enum kvfs_difference what, const char *path, bool is_directory)
{
	static const char signs[] = {
		[KVFS_ADDED] = '+', [KVFS_REMOVED] = '-', [KVFS_CHANGED] = 'M'};
	const char head[2] = {signs[what], is_directory ? '/' : ' '};
	const struct diff *diff = arg;
	int err = fuse_stream_put(diff->stream, head, sizeof(head));

	return err ? err : fuse_stream_put(diff->stream, path, strlen(path) + 1);
}

static bool is_over(void *arg)
{
	const struct diff *diff = arg;

	return fuse_stream_is_over(diff->stream);
}

static int diff_make(void *arg, struct fuse_stream *stream)
{
	struct diff *diff = arg;

	diff->stream = stream;
	return kvfs_diff(diff->from.fs, diff->to.fs, put_row, is_over, diff);
}

static void diff_free(void *arg)
{
	struct diff *diff = arg;

	fuse_tree_close(&diff->from);
	fuse_tree_close(&diff->to);
	free(diff);
}

/* One at once: it remembers all that differs. */
static const struct fuse_stream_kind diff_kind = {diff_make, diff_free, .count_max = 1};

int fuse_diff_begin(struct fuse_front *front, uint64_t token, uint64_t from, uint64_t to)
{
	struct diff *diff;
	int err;

	if (!fuse_stream_has_room(&front->streams, &diff_kind))
		return -EBUSY;
	diff = calloc(1, sizeof(*diff));
	if (!diff)
		return -ENOMEM;
	err = fuse_tree_open(front, from, &diff->from);
	if (!err)
		err = fuse_tree_open(front, to, &diff->to);
	if (!err)
		err = fuse_stream_begin(&front->streams, token, &diff_kind, diff);
	if (err)
		diff_free(diff);
	return err;
}

/* SPDX-License-Identifier: MIT */
/*
 * snapshot_diff.c - kvfs snapshot diff: what is different between a snapshot and the tree, or
 * another snapshot.
 *
 * The core says it: of a store here, of a mount in the process that serves it. That one tells root
 * and whom it belongs to, as paths are told of directories that are closed to others; for these,
 * and where it has not the memory, both trees are walked.
 */
#include "snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "diff_rows.h"
#include "diff_stream.h"
#include "diff_walk.h"
#include "fuse_front.h"
#include "message.h"
#include "mount_stream.h"
#include "options.h"
#include "progress.h"
#include "store.h"

/* ---- a store --------------------------------------------------------------------------------- */

static int on_difference(void *arg, enum kvfs_difference what, const char *path, bool is_directory)
{
	static const char signs[] = {
		[KVFS_ADDED] = '+', [KVFS_REMOVED] = '-', [KVFS_CHANGED] = 'M'};

	return diff_rows_add(arg, signs[what], path, is_directory);
}

/* With `to` NULL, the tree as it is. What is wrong is said. */
static int diff_open(const char *path, struct kvfs *fs, const char *from, const char *to,
	struct diff_rows *rows)
{
	struct kvfs *old = NULL, *new = NULL;
	const char *name = from;
	int rc = kvfs_snapshot_open(fs, from, &old);

	if (!rc && to) {
		name = to;
		rc = kvfs_snapshot_open(fs, to, &new);
	}
	if (!rc)
		rc = kvfs_diff(old, to ? new : fs, on_difference, NULL, rows);
	if (rc)
		snapshot_explain(path, name, rc);
	(void)kvfs_close(new);
	(void)kvfs_close(old);
	return rc;
}

static int diff_store(const char *path, const char *from, const char *to, struct diff_rows *rows)
{
	struct kvfs *fs;
	int rc;

	rc = store_open_confined(path, true, &fs);
	if (rc)
		return rc;
	rc = diff_open(path, fs, from, to, rows);
	return store_close(path, fs) ? -EIO : rc;
}

/* ---- a mount --------------------------------------------------------------------------------- */

/*
 * Of the server. is_head: `to` is the mount's root. -EPERM, -EOPNOTSUPP: not from this one, or not
 * to this caller
 */
static int ask(int from, int to, bool is_head, struct diff_rows *rows)
{
	struct mount_stream *stream;
	struct stat root;
	int rc = mount_stream_may_open(to, FUSE_FRONT_DIFF_XATTR);

	if (!rc && fstat(from, &root))
		rc = -errno;
	/* What was stored into maps of files is in the kernel alone. */
	if (!rc && is_head && syncfs(to))
		rc = -errno;
	if (!rc)
		rc = mount_stream_open(to, FUSE_FRONT_DIFF_XATTR, root.st_ino, &stream);
	if (rc)
		return rc;
	rc = diff_stream_read(stream, rows);
	mount_stream_close(stream);
	return rc;
}

static int open_tree(const struct snapshot_place *place, const char *name, int *fd)
{
	char *path;

	if (asprintf(&path, "%s/%s", name ? place->directory : place->root, name ? name : "") < 0)
		return -ENOMEM;
	*fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	free(path);
	if (*fd >= 0)
		return 0;
	snapshot_explain(place->path, name ? name : "", -errno);
	return -ENOENT;
}

static int diff_mount(const struct snapshot_place *place, const char *from, const char *to,
	struct diff_rows *rows)
{
	int from_fd, to_fd, rc = open_tree(place, from, &from_fd);

	if (rc)
		return rc;
	rc = open_tree(place, to, &to_fd);
	if (rc)
		goto out;
	progress_catch_signals();
	rc = ask(from_fd, to_fd, !to, rows);
	if (rc == -EPERM || rc == -EOPNOTSUPP || rc == -ENOMEM) {
		diff_rows_fini(rows);
		rc = diff_walk(from_fd, to_fd, rows);
	}
	/* One that comes while rows are printed ends the command, as it does of a store. */
	progress_release_signals();
	if (!rc && progress_interrupted())
		rc = -ECANCELED;
	if (rc == -ECANCELED)
		message(KV_ERROR, "%s: interrupted", place->path);
	else if (rc == -ENODATA)
		message(KV_ERROR,
			"%s: the server has given this up, as nothing was asked for too long",
			place->path);
	else if (rc)
		message(KV_ERROR, "%s: %s", place->path, message_error(rc));
	close(to_fd);
out:
	close(from_fd);
	return rc;
}

/* ---- the command ----------------------------------------------------------------------------- */

static int diff_run(int argc, char **argv)
{
	static const struct option names[] = {
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	struct diff_rows rows = {NULL, 0, 0};
	struct snapshot_place place;
	const char *from, *to;
	int code;

	while (options_next(&snapshot_diff_command, argc, argv, ":h", names) != -1)
		;
	options_arguments(&snapshot_diff_command, argc, 2, 3);
	from = argv[optind + 1];
	to = argv[optind + 2];
	if (snapshot_check_name(from) || (to && snapshot_check_name(to)) ||
		snapshot_place_find(argv[optind], &place))
		return 1;
	code = place.root ? diff_mount(&place, from, to, &rows)
			  : diff_store(argv[optind], from, to, &rows);
	code = code || diff_rows_print(&rows) ? 1 : 0;
	diff_rows_fini(&rows);
	snapshot_place_fini(&place);
	return code;
}

const struct command snapshot_diff_command = {
	.name = "snapshot diff",
	.arguments = "STORE|DIR NAME [NAME]",
	.summary = "Shows what changed since a snapshot, or between two",
	.details =
		"  + came, - went, M changed; a directory that came or went stands for all in it.\n"
		"  What was moved went and came.\n",
	.usage_code = 2,
	.run = diff_run,
};

/* SPDX-License-Identifier: MIT */
/*
 * snapshot_clone.c - kvfs snapshot clone: a new store with what a snapshot has.
 *
 * Its records are copied: out of a store that is opened here, or as the server of a mount gives
 * them. That one gives them to root and whom it belongs to, as they hold what permissions hide;
 * others read the tree.
 */
#include "snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clone_walk.h"
#include "fuse_front.h"
#include "message.h"
#include "mount_stream.h"
#include "options.h"
#include "progress.h"
#include "store.h"

void snapshot_explain_clone(const char *target, int rc)
{
	if (rc == -EEXIST || rc == -ENOTEMPTY)
		message(KV_ERROR, "%s: there is something already; choose another place", target);
	else if (rc == -ECANCELED)
		message(KV_ERROR, "%s: interrupted; nothing was made", target);
	else if (rc == -ENODATA)
		message(KV_ERROR,
			"%s: the server has given this up, as nothing was asked for too long; "
			"nothing was made",
			target);
	else if (rc == -EUCLEAN)
		message(KV_ERROR,
			"%s: the store has lost records to damage, and in a clone nobody would know: "
			"repair it first (kvfs check --repair), or, of a snapshot from before that, "
			"copy the files; nothing was made",
			target);
	else if (rc)
		message(KV_ERROR, "%s: %s", target, message_error(rc));
}

/* ---- the place of the new store -------------------------------------------------------------- */

/* The directory above it is durable. */
static int sync_parent(const char *target)
{
	char *copy = strdup(target);
	int parent, rc;

	if (!copy)
		return -ENOMEM;
	parent = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	rc = parent < 0 || fsync(parent) ? -errno : 0;
	if (parent >= 0)
		close(parent);
	free(copy);
	return rc;
}

/* Where nothing came into it, nothing stays, if this process may still take it away. */
static void remove_directory(const char *target)
{
	if (unlinkat(AT_FDCWD, target, AT_REMOVEDIR) && errno != ENOTEMPTY && errno != EEXIST &&
	    errno != ENOENT)
		message(KV_WARNING, "%s: the empty directory stays: %s", target,
			message_error(-errno));
}

/*
 * Makes the directory that the new store comes to stand in, for good, and with the mode that it
 * has whatever the umask. -EEXIST: there is one, which may be empty.
 */
static int make_directory(const char *target)
{
	int made = mkdir(target, 0700) ? -errno : 0, rc;

	if (made && made != -EEXIST)
		return made;
	rc = !made && chmod(target, 0700) ? -errno : sync_parent(target);
	/* Who was given a directory may have no right to look at where it stands. */
	if (made && rc == -EACCES)
		rc = 0;
	if (rc && !made)
		remove_directory(target);
	return rc ? rc : made;
}

/* *made: 0, it was made here. A failure was said. */
static int prepare_directory(const char *target, int *made)
{
	int rc;

	*made = make_directory(target);
	rc = *made == -EEXIST ? store_check_empty(target) : *made;
	snapshot_explain_clone(target, rc);
	return rc;
}

/*
 * What came of a store that could not be made whole. The directory was empty; with these errors,
 * another has made a store in it meanwhile.
 */
static void remove_half(const char *target, int rc)
{
	if (rc && rc != -EEXIST && rc != -EBUSY)
		store_remove(target, false);
}

/* ---- a mount --------------------------------------------------------------------------------- */

static ssize_t next_part(void *arg, const char **part)
{
	return mount_stream_next(arg, part);
}

/* Of what comes nothing was looked at before the process is confined. A failure was said. */
static int receive(struct mount_stream *stream, const char *target)
{
	struct progress progress;
	const struct kvfs_receive_options options = {
		.next = next_part,
		.next_arg = stream,
		.report = message_report,
		.report_arg = (void *)target,
		.progress = progress_show,
		.progress_arg = &progress,
	};
	int made, rc = prepare_directory(target, &made);

	if (rc)
		return rc;
	rc = store_confine(target, target);
	if (!rc) {
		progress_init(&progress, "copied");
		rc = kvfs_receive(NULL, target, &options);
		progress_clear(&progress);
		snapshot_explain_clone(target, rc);
		remove_half(target, rc);
	}
	if (rc && !made)
		remove_directory(target);
	return rc;
}

static int clone_tree(const char *root, int tree, const char *target)
{
	struct mount_stream *stream;
	int rc = mount_stream_open(tree, FUSE_FRONT_CLONE_XATTR, 0, &stream);

	if (rc == -EPERM || rc == -EOPNOTSUPP)
		return clone_walk(root, tree, target);
	if (rc) {
		snapshot_explain_clone(target, rc);
		return rc;
	}
	rc = receive(stream, target);
	mount_stream_close(stream);
	return rc;
}

static int clone_mount(const struct snapshot_place *place, const char *name, const char *target)
{
	char *path;
	int tree, rc;

	if (asprintf(&path, "%s/%s", place->directory, name) < 0)
		return 1;
	tree = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	rc = tree < 0 ? -errno : 0;
	free(path);
	if (rc) {
		snapshot_explain(place->path, name, rc);
		return 1;
	}
	rc = clone_tree(place->root, tree, target);
	close(tree);
	return rc ? 1 : 0;
}

/* ---- a store --------------------------------------------------------------------------------- */

/* A failure was said. */
static int clone_shown(const char *path, struct kvfs *fs, const char *name, const char *target)
{
	struct progress progress;
	struct kvfs *snapshot;
	int rc = kvfs_snapshot_open(fs, name, &snapshot);

	if (rc) {
		snapshot_explain(path, name, rc);
		return rc;
	}
	progress_init(&progress, "copied");
	rc = kvfs_clone(snapshot, NULL, target, progress_show, &progress);
	progress_clear(&progress);
	(void)kvfs_close(snapshot);
	snapshot_explain_clone(target, rc);
	remove_half(target, rc);
	return rc;
}

static int clone_store(const char *path, const char *name, const char *target)
{
	struct kvfs_open_options options;
	struct kvfs *fs;
	int made, rc = prepare_directory(target, &made);

	if (rc)
		return 1;
	store_options(path, true, &options);
	rc = store_confine(path, target);
	if (!rc)
		rc = store_open(path, &options, &fs);
	if (!rc) {
		rc = clone_shown(path, fs, name, target);
		if (store_close(path, fs))
			rc = -EIO;
	}
	if (rc && !made)
		remove_directory(target);
	return rc ? 1 : 0;
}

/* ---- the command ----------------------------------------------------------------------------- */

static int clone_run(int argc, char **argv)
{
	static const struct option names[] = {
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	struct snapshot_place place;
	const char *name, *target;
	int code;

	while (options_next(&snapshot_clone_command, argc, argv, ":h", names) != -1)
		;
	options_arguments(&snapshot_clone_command, argc, 3, 3);
	name = argv[optind + 1];
	store_trim(argv[optind + 2]);
	target = argv[optind + 2];
	if (snapshot_check_name(name) || snapshot_place_find(argv[optind], &place))
		return 1;
	progress_catch_signals();
	code = place.root ? clone_mount(&place, name, target)
			  : clone_store(argv[optind], name, target);
	snapshot_place_fini(&place);
	return code;
}

const struct command snapshot_clone_command = {
	.name = "snapshot clone",
	.arguments = "STORE|DIR NAME NEW-STORE",
	.summary = "Makes a new store with what a snapshot has",
	.details = "  Needs neither the old one nor its snapshots.\n",
	.usage_code = 2,
	.run = clone_run,
};

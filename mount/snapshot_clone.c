/* SPDX-License-Identifier: MIT */
/*
 * snapshot_clone.c - kvfs snapshot clone: a new store with what a snapshot has.
 */
#include "snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fuse_front.h"
#include "message.h"
#include "options.h"
#include "progress.h"
#include "status.h"
#include "store.h"
#include "tree_copy.h"

#define UNFINISHED ".unfinished"

static void explain(const char *target, int rc)
{
	if (rc == -EEXIST || rc == -ENOTEMPTY)
		message(KV_ERROR, "%s: there is something already; choose another place", target);
	else if (rc == -ECANCELED)
		message(KV_ERROR, "%s: interrupted; nothing was made", target);
	else if (rc)
		message(KV_ERROR, "%s: %s", target, message_error(rc));
}

/* ---- a mount --------------------------------------------------------------------------------- */

/* A line's value, terminated where the line ends; NULL: there is none. */
static const char *value_of(char *lines, const char *name)
{
	size_t length = strlen(name);
	char *line, *save = NULL;

	for (line = strtok_r(lines, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (!strncmp(line, name, length) && line[length] == ' ')
			return line + length + 1;
	}
	return NULL;
}

/* A store like the one that is mounted. */
static int read_options(const char *root, struct kvfs_create_options *out, uint64_t *live_bytes)
{
	char lines[FUSE_FRONT_STATUS_SIZE_MAX + 1], copy[FUSE_FRONT_STATUS_SIZE_MAX + 1], text[24];
	ssize_t size = status_read_mount(root, lines, sizeof(lines));
	const char *value;
	uint64_t number;

	if (size < 0)
		return (int)size;
	*out = (struct kvfs_create_options){.compress = KV_COMPRESS_NONE};
	if (status_number(lines, "segment_bytes", &number))
		out->segment_size = (uint32_t)number;
	if (!status_number(lines, "live_bytes", live_bytes))
		*live_bytes = 0;
	value = value_of(strcpy(copy, lines), "hash");
	out->hash = value && !strcmp(value, "blake2b") ? KV_HASH_BLAKE2B : KV_HASH_XXH3;
	value = value_of(strcpy(copy, lines), "compress");
	if (value && strcmp(value, "none")) {
		out->compress = *value == 'i' ? KV_COMPRESS_INLINE : KV_COMPRESS_BACKGROUND;
		out->compress_level = atoi(strchr(value, ':') ? strchr(value, ':') + 1 : "0");
	}
	size = getxattr(root, FUSE_FRONT_LIMIT_XATTR, text, sizeof(text) - 1);
	text[size > 0 ? size : 0] = '\0';
	out->size_limit = strtoull(text, NULL, 10);
	return 0;
}

/* In a new store, which is closed again. */
static int copy_into(const char *path, int tree, struct tree_copy *copy)
{
	struct kvfs_open_options options;
	int rc, rc_close;

	store_options(path, false, &options);
	options.atime = KVFS_NOATIME;
	rc = kvfs_open(NULL, path, &options, &copy->to);
	if (rc)
		return rc;
	rc = tree_copy(copy, tree);
	rc_close = kvfs_close(copy->to);
	return rc ? rc : rc_close;
}

/* Into the new store at `path`, which gets its name once it is whole, or goes again. */
static int copy_and_rename(const char *path, int tree, struct tree_copy *copy, const char *target)
{
	struct progress progress;
	int rc;

	copy->progress = progress_show;
	copy->progress_arg = &progress;
	progress_init(&progress, "copied");
	rc = copy_into(path, tree, copy);
	progress_clear(&progress);
	if (rc && copy->at)
		message(KV_ERROR, "%s: %s", copy->at, message_error(rc));
	if (!rc && renameat2(AT_FDCWD, path, AT_FDCWD, target, RENAME_NOREPLACE))
		rc = -errno;
	if (rc)
		store_remove(path, true);
	explain(target, rc);
	return rc;
}

/* Under another name, until it is whole. A failure was said. */
static int copy_tree(const char *root, int tree, const char *target)
{
	struct tree_copy copy = {0};
	struct kvfs_create_options create;
	struct stat st;
	char *path;
	int rc = read_options(root, &create, &copy.total_bytes);

	if (!rc && !lstat(target, &st))
		rc = -EEXIST;
	if (!rc && asprintf(&path, "%s" UNFINISHED, target) < 0)
		rc = -ENOMEM;
	if (rc) {
		explain(target, rc);
		return rc;
	}
	rc = store_create(path, &create, message_report, path);
	if (rc == -EEXIST)
		message(KV_ERROR,
			"%s: there is something already, as of a clone that is being made or was "
			"killed; remove it or choose another place",
			path);
	else if (rc)
		explain(rc == -ENOTDIR ? path : target, rc);
	else
		rc = copy_and_rename(path, tree, &copy, target);
	free(path);
	return rc;
}

/*
 * The snapshot's directory, with all that is in it. Inode numbers and times of birth are new ones.
 */
static int clone_mount(const struct snapshot_place *place, const char *name, const char *target)
{
	char *path;
	int tree, rc = 0;

	if (asprintf(&path, "%s/%s", place->directory, name) < 0)
		return 1;
	tree = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (tree < 0) {
		snapshot_explain(place->path, name, -errno);
		rc = -errno;
	} else {
		rc = copy_tree(place->root, tree, target);
		close(tree);
	}
	free(path);
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
	explain(target, rc);
	/* The directory was empty; with these, another has made a store in it meanwhile. */
	if (rc && rc != -EEXIST && rc != -EBUSY)
		store_remove(target, false);
	return rc;
}

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

static int clone_store(const char *path, const char *name, const char *target)
{
	struct kvfs_open_options options;
	struct kvfs *fs;
	int made = make_directory(target);
	int rc = made == -EEXIST ? store_check_empty(target) : made;

	if (rc) {
		explain(target, rc);
		return 1;
	}
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

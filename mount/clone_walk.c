/* SPDX-License-Identifier: MIT */
/* clone_walk.c - see clone_walk.h. */
#include "clone_walk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fuse_front.h"
#include "message.h"
#include "progress.h"
#include "snapshot.h"
#include "status.h"
#include "store.h"
#include "tree_copy.h"

#define UNFINISHED ".unfinished"

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
	snapshot_explain_clone(target, rc);
	return rc;
}

int clone_walk(const char *root, int tree, const char *target)
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
		snapshot_explain_clone(target, rc);
		return rc;
	}
	rc = store_create(path, &create, message_report, path);
	if (rc == -EEXIST)
		message(KV_ERROR,
			"%s: there is something already, as of a clone that is being made or was "
			"killed; remove it or choose another place",
			path);
	else if (rc)
		snapshot_explain_clone(rc == -ENOTDIR ? path : target, rc);
	else
		rc = copy_and_rename(path, tree, &copy, target);
	free(path);
	return rc;
}

/* SPDX-License-Identifier: MIT */
/*
 * path.c - walking paths, for programs without a mount. The kernel does this itself for the mount.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "entry.h"

#define SYMLINKS_MAX 40u

/* A walk: where it is, and what is still to be walked. */
struct path {
	struct kvfs *fs;
	struct kvfs_attr at;
	unsigned symlinks; /* followed so far */
	bool follow_last;
	const struct kvfs_caller *make; /* NULL, or who makes the directories that are missing */
	const char *rest;
	char buffer[PATH_MAX + 1]; /* `rest` is in here once a symlink was followed */
};

static int path_init(struct path *path, struct kvfs *fs, const char *string)
{
	path->fs = fs;
	path->symlinks = 0;
	path->follow_last = true;
	path->make = NULL;
	path->rest = string;
	return kvfs_getattr(fs, KVFS_ROOT_INO, &path->at);
}

static const char *skip_slashes(const char *string)
{
	return string + strspn(string, "/");
}

/* Takes the next component off the rest, which has one. */
static int path_component(struct path *path, char name[KVFS_NAME_MAX + 1])
{
	const char *start = path->rest;
	size_t size = strcspn(start, "/");

	if (size > KVFS_NAME_MAX)
		return -ENAMETOOLONG;
	memcpy(name, start, size);
	name[size] = '\0';
	path->rest = skip_slashes(start + size);
	return 0;
}

/* The rest of the path is put behind the symlink's target. */
static int path_follow(struct path *path, uint64_t ino)
{
	char joined[PATH_MAX + 1];
	size_t rest_size = strlen(path->rest);
	ssize_t size;

	if (path->symlinks++ >= SYMLINKS_MAX)
		return -ELOOP;
	size = kvfs_readlink(path->fs, ino, joined, KVFS_SYMLINK_MAX);
	if (size < 0)
		return (int)size;
	if ((size_t)size + 1 + rest_size > PATH_MAX)
		return -ENAMETOOLONG;
	joined[size] = '/';
	memcpy(joined + size + 1, path->rest, rest_size + 1);
	memcpy(path->buffer, joined, (size_t)size + 1 + rest_size + 1);
	path->rest = skip_slashes(path->buffer);
	return joined[0] == '/' ? kvfs_getattr(path->fs, KVFS_ROOT_INO, &path->at) : 0;
}

/* Looks a component up, or makes it. */
static int path_enter(struct path *path, const char *name, struct kvfs_attr *out)
{
	int err = kvfs_lookup(path->fs, path->at.ino, name, out);

	if (err != -ENOENT || !path->make)
		return err;
	err = kvfs_mkdir(path->fs, path->make, path->at.ino, name, 0777, out);
	/* Somebody else was faster. */
	return err == -EEXIST ? kvfs_lookup(path->fs, path->at.ino, name, out) : err;
}

/* One step from where the walk is. */
static int path_step(struct path *path, const char *name)
{
	struct kvfs_attr next;
	int err;

	if (!S_ISDIR(path->at.mode))
		return -ENOTDIR;
	err = path_enter(path, name, &next);
	if (err)
		return err;
	if (S_ISLNK(next.mode) && (*path->rest || path->follow_last))
		return path_follow(path, next.ino);
	path->at = next;
	return 0;
}

/* All that is left. */
static int path_walk(struct path *path)
{
	char name[KVFS_NAME_MAX + 1];
	int err = 0;

	path->rest = skip_slashes(path->rest);
	while (!err && *path->rest) {
		err = path_component(path, name);
		if (!err)
			err = path_step(path, name);
	}
	return err;
}

int kvfs_resolve(struct kvfs *fs, const char *string, bool follow_last, struct kvfs_attr *out)
{
	struct path path;
	int err = path_init(&path, fs, string);

	path.follow_last = follow_last;
	if (!err)
		err = path_walk(&path);
	if (!err)
		*out = path.at;
	return err;
}

/* Splits the last component off; what is before it has so many bytes. */
static int path_split(const char *string, char name[KVFS_NAME_MAX + 1], size_t *before)
{
	size_t end = strlen(string);
	size_t start;

	while (end && string[end - 1] == '/')
		end--;
	start = end;
	while (start && string[start - 1] != '/')
		start--;
	if (end - start > KVFS_NAME_MAX || start > PATH_MAX)
		return -ENAMETOOLONG;
	memcpy(name, string + start, end - start);
	name[end - start] = '\0';
	if (!name[0] || name_is_dot(name) || name_is_dotdot(name))
		return -EINVAL;
	*before = start;
	return 0;
}

int kvfs_resolve_parent(struct kvfs *fs, const char *string, const struct kvfs_caller *make_parents,
	struct kvfs_attr *parent, char name[KVFS_NAME_MAX + 1])
{
	char last[KVFS_NAME_MAX + 1];
	struct path path;
	size_t before;
	int err = path_split(string, last, &before);

	if (err)
		return err;
	err = path_init(&path, fs, path.buffer);
	if (err)
		return err;
	memcpy(path.buffer, string, before);
	path.buffer[before] = '\0';
	path.make = make_parents;
	err = path_walk(&path);
	if (!err && !S_ISDIR(path.at.mode))
		err = -ENOTDIR;
	if (err)
		return err;
	*parent = path.at;
	memcpy(name, last, sizeof(last));
	return 0;
}

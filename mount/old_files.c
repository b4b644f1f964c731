/* SPDX-License-Identifier: MIT */
#include "old_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "directory.h"
#include "message.h"
#include "progress.h"
#include "walk.h"

int old_files_age(const char *text, struct timespec *before)
{
	static const struct {
		char letter;
		int64_t seconds;
	} units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 7 * 86400},
		{'y', 365 * 86400}};
	unsigned i;
	char *end;
	long long number;
	int64_t seconds;

	errno = 0;
	number = strtoll(text, &end, 10);
	if (end == text || number < 0 || !*end || end[1])
		return -EINVAL;
	for (i = 0; i < sizeof(units) / sizeof(units[0]) && units[i].letter != *end; i++)
		;
	if (i == sizeof(units) / sizeof(units[0]))
		return -EINVAL;
	if (errno || __builtin_mul_overflow((int64_t)number, units[i].seconds, &seconds))
		return -ERANGE;
	clock_gettime(CLOCK_REALTIME, before);
	before->tv_sec -= seconds;
	return 0;
}

static bool is_old(const struct old_files *old, mode_t mode, const struct timespec *mtime)
{
	return S_ISREG(mode) && (mtime->tv_sec < old->before.tv_sec ||
					(mtime->tv_sec == old->before.tv_sec &&
						mtime->tv_nsec < old->before.tv_nsec));
}

static void say_failed(struct old_files *old, const char *path, int error)
{
	message(KV_ERROR, "%s: %s", *path ? path : "/", message_error(error));
	old->failed++;
}

/* Accounts for a file that was removed, would be, or could not be. */
static void account(struct old_files *old, const char *path, uint64_t bytes, int error)
{
	if (error) {
		say_failed(old, path, error);
		return;
	}
	old->count++;
	old->bytes += bytes;
	if (old->dry_run)
		puts(path);
}

/* ---- a store --------------------------------------------------------------------------------- */

struct old_walk {
	struct old_files *old;
	struct kvfs *fs;
};

static int visit_store(void *arg, const struct walk_entry *entry)
{
	const struct old_walk *at = arg;

	if (is_old(at->old, entry->attr->mode, &entry->attr->mtime))
		account(at->old, entry->path, entry->attr->size,
			at->old->dry_run ? 0
					 : kvfs_unlink(at->fs, entry->parent_ino, entry->name));
	return progress_interrupted() ? -ECANCELED : 0;
}

static int on_unreadable(void *arg, const char *path, int rc)
{
	say_failed(((struct old_walk *)arg)->old, path, rc);
	return 0;
}

static int walk_store(struct old_files *old, struct kvfs *fs, const char *path, uint64_t ino)
{
	struct old_walk at = {old, fs};
	const struct walk all = {
		.fs = fs,
		.with_attr = true,
		.recursive = true,
		.visit = visit_store,
		.failed = on_unreadable,
		.arg = &at,
	};

	return walk(&all, path, ino);
}

int old_files_in_store(struct old_files *old, struct kvfs *fs, const char *path)
{
	char name[KVFS_NAME_MAX + 1];
	struct kvfs_attr parent, attr;
	int rc = kvfs_resolve(fs, path, false, &attr);

	while (*path == '/')
		path++;
	if (!rc && S_ISDIR(attr.mode))
		return walk_store(old, fs, path, attr.ino);
	if (!rc)
		rc = kvfs_resolve_parent(fs, path, NULL, &parent, name);
	if (!rc && is_old(old, attr.mode, &attr.mtime))
		account(old, path, attr.size,
			old->dry_run ? 0 : kvfs_unlink(fs, parent.ino, name));
	return rc;
}

/* ---- a mount --------------------------------------------------------------------------------- */

/* Puts `name` behind the first bytes of the path, which grows as it must. */
static int path_set(struct old_files *old, size_t before, const char *name)
{
	size_t at = before + (before > 0), size = at + strlen(name) + 1;

	if (old->path_room < size) {
		char *path = realloc(old->path, 2 * size);

		if (!path)
			return -ENOMEM;
		old->path = path;
		old->path_room = 2 * size;
	}
	if (before)
		old->path[before] = '/';
	memcpy(old->path + at, name, size - at);
	return 0;
}

static int visit_mount(struct old_files *old, dev_t device, int parent, const char *name);

/* Of the directory that the path leads to, and leads to again at the end. Takes the descriptor. */
static int walk_mount(struct old_files *old, dev_t device, int descriptor)
{
	DIR *directory = fdopendir(descriptor);
	size_t length = strlen(old->path);
	struct dirent *entry;
	int rc = 0, error = 0;

	if (!directory) {
		say_failed(old, old->path, -errno);
		close(descriptor);
		return 0;
	}
	while (!rc) {
		errno = 0;
		entry = readdir(directory);
		if (!entry) {
			error = -errno;
			break;
		}
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") ||
			(entry->d_type != DT_DIR && entry->d_type != DT_REG &&
				entry->d_type != DT_UNKNOWN))
			continue;
		rc = path_set(old, length, entry->d_name);
		if (!rc)
			rc = visit_mount(old, device, descriptor, entry->d_name);
		if (!rc && progress_interrupted())
			rc = -ECANCELED;
	}
	old->path[length] = '\0';
	if (error)
		say_failed(old, old->path, error);
	closedir(directory);
	return rc;
}

static int go_down(struct old_files *old, dev_t device, int parent, const char *name)
{
	int descriptor, rc;

	if (old->depth == DIRECTORY_DEPTH_MAX) {
		say_failed(old, old->path, -ENAMETOOLONG);
		return 0;
	}
	descriptor = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (descriptor < 0) {
		say_failed(old, old->path, -errno);
		return 0;
	}
	old->depth++;
	rc = walk_mount(old, device, descriptor);
	old->depth--;
	return rc;
}

/*
 * What the path leads to. A directory that is gone meanwhile is nobody's failure, and what is
 * mounted there is not ours.
 */
static int visit_mount(struct old_files *old, dev_t device, int parent, const char *name)
{
	struct stat status;
	int error = 0;

	if (fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW)) {
		if (errno != ENOENT)
			say_failed(old, old->path, -errno);
		return 0;
	}
	if (status.st_dev != device)
		return 0;
	if (S_ISDIR(status.st_mode))
		return go_down(old, device, parent, name);
	if (!is_old(old, status.st_mode, &status.st_mtim))
		return 0;
	if (!old->dry_run && unlinkat(parent, name, 0))
		error = -errno;
	if (error != -ENOENT)
		account(old, old->path, (uint64_t)status.st_size, error);
	return 0;
}

int old_files_in_mount(struct old_files *old, const char *directory, const char *path)
{
	int root = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;
	struct stat status;

	while (*path == '/')
		path++;
	if (root < 0 || fstat(root, &status) ||
		(*path && faccessat(root, path, F_OK, AT_SYMLINK_NOFOLLOW)))
		rc = -errno;
	else
		rc = path_set(old, 0, path);
	if (!rc && *path) {
		rc = visit_mount(old, status.st_dev, root, path);
	} else if (!rc) {
		rc = walk_mount(old, status.st_dev, root);
		root = -1;
	}
	if (root >= 0)
		close(root);
	free(old->path);
	old->path = NULL;
	old->path_room = 0;
	return rc;
}

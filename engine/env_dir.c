/* SPDX-License-Identifier: MIT */
/*
 * env_dir.c - see env_dir.h.
 *
 * The store's own directory is opened without following a symlink in its last component; which way
 * leads there is the caller's affair.
 */
#include "env_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define DIR_MODE 0700

/* A copy without trailing slashes, which would make the kernel follow a symlink; NULL: no memory.
 */
static char *path_trimmed(const char *path)
{
	size_t length = strlen(path);

	while (length > 1 && path[length - 1] == '/')
		length--;
	return strndup(path, length);
}

static int fd_sync(int fd)
{
	return fsync(fd) < 0 ? -errno : 0;
}

static int parent_sync(char *path)
{
	char *slash = strrchr(path, '/');
	const char *parent = ".";
	int result;
	int fd;

	if (slash == path) {
		parent = "/";
	} else if (slash) {
		*slash = '\0';
		parent = path;
	}
	fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	result = fd_sync(fd);
	close(fd);
	return result;
}

int env_dir_create(struct kv_env *env, const char *path)
{
	char *trimmed = path_trimmed(path);
	int result;

	if (!trimmed)
		return -ENOMEM;
	result = mkdir(trimmed, DIR_MODE) < 0 ? -errno : 0;
	if (result == 0 && fchmodat(AT_FDCWD, trimmed, DIR_MODE, 0) < 0)
		result = -errno;
	if (result == 0)
		result = parent_sync(trimmed);
	free(trimmed);
	return result;
}

int env_dir_open(struct kv_env *env, const char *path, struct env_dir **out)
{
	char *trimmed = path_trimmed(path);
	struct env_dir *dir = malloc(sizeof(*dir));
	int result = -ENOMEM;

	if (!trimmed || !dir)
		goto out;
	dir->fd = open(trimmed, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	result = dir->fd < 0 ? -errno : 0;
out:
	free(trimmed);
	if (result < 0)
		free(dir);
	else
		*out = dir;
	return result;
}

void env_dir_close(struct env_dir *dir)
{
	if (!dir)
		return;
	close(dir->fd);
	free(dir);
}

int env_dir_sync(struct env_dir *dir)
{
	return fd_sync(dir->fd);
}

int env_dir_list(
	struct env_dir *dir, int (*entry)(void *arg, const char *name), void *arg)
{
	int fd = openat(dir->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *found;
	int result = 0;
	DIR *stream;

	if (fd < 0)
		return -errno;
	stream = fdopendir(fd);
	if (!stream) {
		result = -errno;
		close(fd);
		return result;
	}
	while (result == 0) {
		errno = 0;
		found = readdir(stream);
		if (!found) {
			result = -errno;
			break;
		}
		if (strcmp(found->d_name, ".") != 0 && strcmp(found->d_name, "..") != 0)
			result = entry(arg, found->d_name);
	}
	closedir(stream);
	return result;
}

int env_dir_space(struct env_dir *dir, uint64_t *avail_bytes, uint64_t *total_bytes)
{
	struct statvfs space;

	if (fstatvfs(dir->fd, &space) < 0)
		return -errno;
	*avail_bytes = (uint64_t)space.f_bavail * space.f_frsize;
	*total_bytes = (uint64_t)space.f_blocks * space.f_frsize;
	return 0;
}

bool env_name_is_valid(const char *name)
{
	return name[0] != '\0' && !strchr(name, '/') && strcmp(name, ".") != 0 &&
	       strcmp(name, "..") != 0;
}

int env_rename(struct env_dir *dir, const char *from, const char *to)
{
	if (!env_name_is_valid(from) || !env_name_is_valid(to))
		return -EINVAL;
	return renameat(dir->fd, from, dir->fd, to) < 0 ? -errno : 0;
}

int env_unlink(struct env_dir *dir, const char *name)
{
	if (!env_name_is_valid(name))
		return -EINVAL;
	return unlinkat(dir->fd, name, 0) < 0 ? -errno : 0;
}

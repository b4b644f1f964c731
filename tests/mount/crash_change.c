/* SPDX-License-Identifier: MIT */
/*
 * crash_change.c - each change is one system call, or several of which only the last can be seen by
 * name
 */
#include "crash_change.h"
#include "pattern.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

/* Closes it, and keeps the first error. */
static int closed(int fd, int result)
{
	int error = errno;

	if (close(fd) && !result)
		return -1;
	errno = error;
	return result;
}

static int write_pattern(int fd, const struct model *model, const struct change *change)
{
	static unsigned char bytes[MODEL_WRITE_SIZE_MAX];
	ssize_t written;

	pattern_fill(bytes, change->size, model_bytes_seed(model, change), change->position);
	if (change->kind == CHANGE_APPEND)
		written = write(fd, bytes, change->size);
	else
		written = pwrite(fd, bytes, change->size, change->position);
	if (written >= 0 && (size_t)written != change->size)
		errx(1, "wrote %zd of %zu bytes", written, change->size);
	return written < 0 ? -1 : 0;
}

static int write_bytes(const struct model *model, const struct change *change, const char *path)
{
	int flags = O_WRONLY | (change->durable ? O_SYNC : 0);
	int fd = open(path, flags | (change->kind == CHANGE_APPEND ? O_APPEND : 0));

	return fd < 0 ? -1 : closed(fd, write_pattern(fd, model, change));
}

static int make_unnamed(const struct model *model, const struct change *change, const char *path)
{
	int result, fd = open(".", O_TMPFILE | O_RDWR, 0644);
	char link[32];

	if (fd < 0)
		return -1;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	result = write_pattern(fd, model, change);
	if (!result)
		result = linkat(AT_FDCWD, link, AT_FDCWD, path, AT_SYMLINK_FOLLOW);
	return closed(fd, result);
}

static int copy_file(size_t size, const char *path, const char *other)
{
	int in = open(path, O_RDONLY), out = open(other, O_WRONLY);
	ssize_t copied = -1;

	if (in >= 0 && out >= 0)
		copied = copy_file_range(in, NULL, out, NULL, size, 0);
	if (copied >= 0 && (size_t)copied != size)
		errx(1, "%s: copied %zd of %zu bytes", path, copied, size);
	if (out >= 0)
		copied = closed(out, copied < 0 ? -1 : 0);
	return in < 0 ? -1 : closed(in, copied < 0 ? -1 : 0);
}

static int allocate(const char *path, int mode, const struct change *change)
{
	int fd = open(path, O_RDWR);

	return fd < 0 ? -1 : closed(fd, fallocate(fd, mode, change->position, change->size));
}

/* One of the ways to have it on the disk. */
static int sync_something(const struct change *change, const char *path)
{
	int fd = open(path, O_RDONLY);

	if (fd < 0 && errno == ENOENT)
		fd = open(".", O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return -1;
	return closed(fd, change->other % 4 ? fsync(fd) : fdatasync(fd));
}

static int create_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);

	return fd < 0 ? -1 : close(fd);
}

static int toggle(bool is_there, unsigned number)
{
	char path[32];

	model_toggle_path(number, path);
	return is_there ? rmdir(path) : mkdir(path, 0755);
}

int change_make(const struct model *model, const struct change *change)
{
	char path[32], other[32];
	uint64_t mark = change->number + 1;

	model_file_path(change->file, path);
	model_file_path(change->other, other);
	switch (change->kind) {
	case CHANGE_CREATE:
		return create_file(path);
	case CHANGE_WRITE:
	case CHANGE_APPEND:
		return write_bytes(model, change, path);
	case CHANGE_TRUNCATE:
		return truncate(path, change->position);
	case CHANGE_RENAME:
		return rename(path, other);
	case CHANGE_EXCHANGE:
		return renameat2(AT_FDCWD, path, AT_FDCWD, other, RENAME_EXCHANGE);
	case CHANGE_UNLINK:
		return unlink(path);
	case CHANGE_LINK:
		return link(path, other);
	case CHANGE_UNNAMED:
		return make_unnamed(model, change, path);
	case CHANGE_COPY:
		return copy_file(model->names[change->file]->size, path, other);
	case CHANGE_PUNCH:
		return allocate(path, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, change);
	case CHANGE_ZERO:
		return allocate(path, FALLOC_FL_ZERO_RANGE, change);
	case CHANGE_EXTEND:
		return allocate(path, 0, change);
	case CHANGE_MARK:
		return setxattr(path, MODEL_MARK, &mark, sizeof(mark), 0);
	case CHANGE_TOGGLE:
		return toggle(model->toggles[change->file % MODEL_TOGGLES],
			change->file % MODEL_TOGGLES);
	case CHANGE_SYNC:
		return sync_something(change, path);
	}
	return -1;
}

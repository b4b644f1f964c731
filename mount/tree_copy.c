/* SPDX-License-Identifier: MIT */
/*
 * tree_copy.c - see tree_copy.h. A directory's attributes are set behind its entries, so that these
 * inherit nothing, and its times stay.
 */
#include "tree_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "directory.h"

#define PIECE_SIZE (1u << 20)
#define ATTRIBUTES (KVFS_SET_MODE | KVFS_SET_UID | KVFS_SET_GID)
#define TIMES (KVFS_SET_ATIME | KVFS_SET_MTIME | KVFS_SET_CTIME)

static const struct kvfs_caller maker = {.privileged = true};

static bool is_stopped(struct tree_copy *copy)
{
	return copy->progress &&
	       copy->progress(copy->progress_arg, copy->done_bytes, copy->total_bytes);
}

/* ---- attributes ------------------------------------------------------------------------------ */

/* Copies one attribute of what `path` leads to, without following a link at its end. */
static int copy_attribute(struct tree_copy *copy, const char *path, const char *name, uint64_t ino)
{
	char *value = copy->buffer;
	ssize_t size = lgetxattr(path, name, value, PIECE_SIZE);

	if (size < 0)
		return -errno;
	return kvfs_setxattr(copy->to, ino, name, value, (size_t)size, 0);
}

static int copy_listed(struct tree_copy *copy, const char *path, uint64_t ino)
{
	ssize_t size = llistxattr(path, NULL, 0);
	char *list, *name;
	int rc = 0;

	if (size <= 0)
		return size ? -errno : 0;
	list = malloc((size_t)size);
	if (!list)
		return -ENOMEM;
	size = llistxattr(path, list, (size_t)size);
	if (size < 0)
		rc = -errno;
	for (name = list; !rc && name < list + size; name = strchr(name, '\0') + 1)
		rc = copy_attribute(copy, path, name, ino);
	free(list);
	return rc;
}

/*
 * Owner first, as that takes rights away; lists before the mode, which they share bits with; times
 * last.
 */
static int copy_attributes(struct tree_copy *copy, int directory, const char *name,
	const struct stat *st, uint64_t ino)
{
	struct kvfs_attr attr = {
		.mode = st->st_mode & 07777,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.atime = st->st_atim,
		.mtime = st->st_mtim,
		.ctime = st->st_ctim,
	};
	char path[64 + KVFS_NAME_MAX];
	struct kvfs_attr now;
	unsigned rights = S_ISLNK(st->st_mode) ? ATTRIBUTES & ~KVFS_SET_MODE : ATTRIBUTES;
	int rc = kvfs_setattr(copy->to, ino, &attr, rights, &now);

	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", directory, name);
	if (!rc)
		rc = copy_listed(copy, path, ino);
	return rc ? rc : kvfs_setattr(copy->to, ino, &attr, TIMES, &now);
}

/* ---- contents -------------------------------------------------------------------------------- */

/* Copies from `offset` to where the data end. */
static int copy_data(struct tree_copy *copy, int fd, uint64_t ino, off_t offset, off_t end)
{
	while (offset < end) {
		size_t want = end - offset < PIECE_SIZE ? (size_t)(end - offset) : PIECE_SIZE;
		ssize_t size = pread(fd, copy->buffer, want, offset), done;

		if (size <= 0)
			return size ? -errno : 0;
		done = kvfs_write(copy->to, ino, copy->buffer, (size_t)size, offset, 0);
		if (done < 0)
			return (int)done;
		offset += done;
		copy->done_bytes += (uint64_t)done;
		if (is_stopped(copy))
			return -ECANCELED;
	}
	return 0;
}

static int copy_extents(struct tree_copy *copy, int fd, uint64_t ino, off_t size)
{
	off_t data = 0, hole;
	int rc = 0;

	while (!rc && data < size) {
		data = lseek(fd, data, SEEK_DATA);
		if (data < 0)
			return errno == ENXIO ? 0 : -errno;
		hole = lseek(fd, data, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		rc = copy_data(copy, fd, ino, data, hole);
		data = hole;
	}
	return rc;
}

static int copy_contents(
	struct tree_copy *copy, int directory, const char *name, uint64_t ino, off_t size)
{
	const struct kvfs_attr wanted = {.size = (uint64_t)size};
	struct kvfs_attr attr;
	int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	int rc;

	if (fd < 0)
		return -errno;
	rc = copy_extents(copy, fd, ino, size);
	close(fd);
	return rc ? rc : kvfs_setattr(copy->to, ino, &wanted, KVFS_SET_SIZE, &attr);
}

/* ---- files with several names ---------------------------------------------------------------- */

struct link {
	uint64_t from, to;
};

static int compare_links(const void *a, const void *b)
{
	const struct link *left = a, *right = b;

	return left->from < right->from ? -1 : left->from > right->from;
}

/* The inode that another name of it has, or 0. */
static uint64_t link_find(struct tree_copy *copy, uint64_t from)
{
	const struct link key = {.from = from};
	struct link **found = tfind(&key, &copy->links, compare_links);

	return found ? (*found)->to : 0;
}

static int link_add(struct tree_copy *copy, uint64_t from, uint64_t to)
{
	struct link *link = malloc(sizeof(*link));

	if (!link)
		return -ENOMEM;
	*link = (struct link){from, to};
	if (tsearch(link, &copy->links, compare_links))
		return 0;
	free(link);
	return -ENOMEM;
}

/* ---- the tree -------------------------------------------------------------------------------- */

static int copy_directory(struct tree_copy *copy, int directory, uint64_t ino);

static int copy_below(struct tree_copy *copy, int directory, const char *name, uint64_t ino)
{
	int fd, rc;

	if (copy->depth == DIRECTORY_DEPTH_MAX)
		return -ENAMETOOLONG;
	fd = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	copy->depth++;
	rc = copy_directory(copy, fd, ino);
	copy->depth--;
	close(fd);
	return rc;
}

static int make(struct tree_copy *copy, int directory, const char *name, const struct stat *st,
	uint64_t parent, struct kvfs_attr *out)
{
	char *target = copy->buffer; /* not on the stack, of which each level takes its part */
	ssize_t size;

	if (S_ISDIR(st->st_mode))
		return kvfs_mkdir(copy->to, &maker, parent, name, 0700, out);
	if (!S_ISLNK(st->st_mode))
		return kvfs_mknod(copy->to, &maker, parent, name, (st->st_mode & S_IFMT) | 0600,
			st->st_rdev, out);
	size = readlinkat(directory, name, target, KVFS_SYMLINK_MAX);
	if (size < 0)
		return -errno;
	target[size] = '\0';
	return kvfs_symlink(copy->to, &maker, target, parent, name, out);
}

static int copy_entry(struct tree_copy *copy, int directory, const char *name, uint64_t parent)
{
	struct kvfs_attr attr;
	struct stat st;
	uint64_t other;
	int rc;

	if (is_stopped(copy))
		return -ECANCELED;
	if (fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW))
		return -errno;
	other = S_ISDIR(st.st_mode) || st.st_nlink < 2 ? 0 : link_find(copy, st.st_ino);
	if (other) {
		/* whose time of change that moves */
		rc = kvfs_link(copy->to, other, parent, name, &attr);
		attr.ctime = st.st_ctim;
		return rc ? rc : kvfs_setattr(copy->to, other, &attr, KVFS_SET_CTIME, &attr);
	}
	rc = make(copy, directory, name, &st, parent, &attr);
	if (!rc && !S_ISDIR(st.st_mode) && st.st_nlink > 1)
		rc = link_add(copy, st.st_ino, attr.ino);
	if (!rc && S_ISDIR(st.st_mode))
		rc = copy_below(copy, directory, name, attr.ino);
	else if (!rc && S_ISREG(st.st_mode))
		rc = copy_contents(copy, directory, name, attr.ino, st.st_size);
	return rc ? rc : copy_attributes(copy, directory, name, &st, attr.ino);
}

struct copied_directory {
	struct tree_copy *copy;
	int fd;
	uint64_t ino; /* of the copy */
};

/* The innermost name is what is told of a failure. */
static int copy_name(void *arg, const char *name)
{
	const struct copied_directory *to = arg;
	int rc = copy_entry(to->copy, to->fd, name, to->ino);

	if (rc && rc != -ECANCELED && !to->copy->at) {
		snprintf(to->copy->name, sizeof(to->copy->name), "%s", name);
		to->copy->at = to->copy->name;
	}
	return rc;
}

static int copy_directory(struct tree_copy *copy, int directory, uint64_t ino)
{
	struct copied_directory to = {.copy = copy, .fd = directory, .ino = ino};

	return directory_each(directory, copy_name, &to);
}

int tree_copy(struct tree_copy *copy, int directory)
{
	struct stat st;
	int rc = 0;

	copy->at = NULL;
	copy->links = NULL;
	copy->depth = 0;
	copy->buffer = malloc(PIECE_SIZE);
	if (!copy->buffer)
		return -ENOMEM;
	if (fstat(directory, &st))
		rc = -errno;
	if (!rc)
		rc = copy_directory(copy, directory, KVFS_ROOT_INO);
	if (!rc)
		rc = copy_attributes(copy, directory, ".", &st, KVFS_ROOT_INO);
	tdestroy(copy->links, free);
	free(copy->buffer);
	return rc;
}

/* SPDX-License-Identifier: MIT */
/*
 * diff_walk.c - see diff_walk.h. A directory that came or went stands for all that is in it.
 */
#include "diff_walk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "directory.h"
#include "progress.h"

#define INO_MASK ((UINT64_C(1) << 48) - 1) /* what is above is the snapshot's */
#define OWN_NAME ".snapshots"

/* A directory that is open in both trees, and its path in them with a slash behind it. */
struct pair {
	int from, to;
	const char *path;
	struct diff_rows *rows;
};

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
	       a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static int walk(const struct pair *pair);

static int walk_below(const struct pair *pair, const char *name, const char *path)
{
	struct pair below = {.rows = pair->rows};
	char *with_slash;
	int rc = -ENOMEM;

	if (asprintf(&with_slash, "%s/", path) < 0)
		return rc;
	below.path = with_slash;
	below.from = openat(pair->from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	below.to = openat(pair->to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	rc = below.from < 0 || below.to < 0 ? -errno : walk(&below);
	if (below.from >= 0)
		close(below.from);
	if (below.to >= 0)
		close(below.to);
	free(with_slash);
	return rc;
}

/* A name that both have. */
static int compare_entry(const struct pair *pair, const char *name, const char *path,
	const struct stat *from, const struct stat *to)
{
	bool is_directory = S_ISDIR(to->st_mode);
	bool same_inode = (from->st_ino & INO_MASK) == (to->st_ino & INO_MASK);
	int rc = 0;

	if ((from->st_mode & S_IFMT) != (to->st_mode & S_IFMT) || (!same_inode && is_directory)) {
		rc = diff_rows_add(pair->rows, '-', path, S_ISDIR(from->st_mode));
		return rc ? rc : diff_rows_add(pair->rows, '+', path, is_directory);
	}
	if (!same_inode || !is_same(from, to))
		rc = diff_rows_add(pair->rows, 'M', path, is_directory);
	return rc || !is_directory ? rc : walk_below(pair, name, path);
}

static int compare_name(const struct pair *pair, const char *name, bool in_from)
{
	struct stat here, there;
	char *path;
	int rc = 0;

	if (progress_interrupted())
		return -ECANCELED;
	if (asprintf(&path, "%s%s", pair->path, name) < 0)
		return -ENOMEM;
	if (fstatat(in_from ? pair->from : pair->to, name, &here, AT_SYMLINK_NOFOLLOW))
		rc = errno == ENOENT ? 0 : -errno; /* it went meanwhile */
	else if (!fstatat(in_from ? pair->to : pair->from, name, &there, AT_SYMLINK_NOFOLLOW))
		rc = in_from ? compare_entry(pair, name, path, &here, &there) : 0;
	else if (errno != ENOENT)
		rc = -errno;
	else
		rc = diff_rows_add(
			pair->rows, in_from ? '-' : '+', path, S_ISDIR(here.st_mode));
	free(path);
	return rc;
}

struct side {
	const struct pair *pair;
	bool in_from;
};

/* In the roots, a name of a file that the directory of snapshots hides is not looked at. */
static int compare_in_side(void *arg, const char *name)
{
	const struct side *side = arg;

	if (!*side->pair->path && !strcmp(name, OWN_NAME))
		return 0;
	return compare_name(side->pair, name, side->in_from);
}

/* The names of one of the two. */
static int walk_names(const struct pair *pair, bool in_from)
{
	struct side side = {.pair = pair, .in_from = in_from};

	return directory_each(in_from ? pair->from : pair->to, compare_in_side, &side);
}

static int walk(const struct pair *pair)
{
	int rc = walk_names(pair, true);

	return rc ? rc : walk_names(pair, false);
}

int diff_walk(int from, int to, struct diff_rows *rows)
{
	struct pair pair = {from, to, "", rows};
	struct stat old, new;
	int rc = 0;

	if (fstat(from, &old) || fstat(to, &new))
		return -errno;
	if (!is_same(&old, &new))
		rc = diff_rows_add(rows, 'M', "", true);
	return rc ? rc : walk(&pair);
}

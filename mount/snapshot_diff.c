/* SPDX-License-Identifier: MIT */
/*
 * snapshot_diff.c - kvfs snapshot diff: what is different between a snapshot and the tree, or
 * another snapshot.
 *
 * Of a store the core says it. Under a mount both trees are walked, and what is found is what the
 * core would say: a directory that came or went stands for all that is in it.
 */
#include "snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "directory.h"
#include "message.h"
#include "options.h"
#include "store.h"

#define INO_MASK ((UINT64_C(1) << 48) - 1) /* what is above is the snapshot's */
#define OWN_NAME ".snapshots"

struct row {
	char *path;
	char sign;
	bool is_directory;
};

struct rows {
	struct row *rows;
	size_t count, room;
};

static int add(struct rows *rows, char sign, const char *path, bool is_directory)
{
	struct row row = {strdup(path), sign, is_directory};

	if (row.path && rows->count == rows->room) {
		size_t room = rows->room * 2 + 64;
		struct row *more = realloc(rows->rows, room * sizeof(*more));

		if (more) {
			rows->rows = more;
			rows->room = room;
		}
	}
	if (!row.path || rows->count == rows->room) {
		free(row.path);
		return -ENOMEM;
	}
	rows->rows[rows->count++] = row;
	return 0;
}

/* ---- a store --------------------------------------------------------------------------------- */

static int on_difference(void *arg, enum kvfs_difference what, const char *path, bool is_directory)
{
	static const char signs[] = {
		[KVFS_ADDED] = '+', [KVFS_REMOVED] = '-', [KVFS_CHANGED] = 'M'};

	return add(arg, signs[what], path, is_directory);
}

/* With `to` NULL, the tree as it is. What is wrong is said. */
static int diff_open(const char *path, struct kvfs *fs, const char *from, const char *to,
	struct rows *rows)
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

static int diff_store(const char *path, const char *from, const char *to, struct rows *rows)
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

/* A directory that is open in both trees, and its path in them with a slash behind it. */
struct pair {
	int from, to;
	const char *path;
	struct rows *rows;
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
	int rc;

	if ((from->st_mode & S_IFMT) != (to->st_mode & S_IFMT) || (!same_inode && is_directory)) {
		rc = add(pair->rows, '-', path, S_ISDIR(from->st_mode));
		return rc ? rc : add(pair->rows, '+', path, is_directory);
	}
	rc = same_inode && is_same(from, to) ? 0 : add(pair->rows, 'M', path, is_directory);
	return rc || !is_directory ? rc : walk_below(pair, name, path);
}

static int compare_name(const struct pair *pair, const char *name, bool in_from)
{
	struct stat here, there;
	char *path;
	int rc = 0;

	if (asprintf(&path, "%s%s", pair->path, name) < 0)
		return -ENOMEM;
	if (fstatat(in_from ? pair->from : pair->to, name, &here, AT_SYMLINK_NOFOLLOW))
		rc = errno == ENOENT ? 0 : -errno; /* it went meanwhile */
	else if (!fstatat(in_from ? pair->to : pair->from, name, &there, AT_SYMLINK_NOFOLLOW))
		rc = in_from ? compare_entry(pair, name, path, &here, &there) : 0;
	else
		rc = errno == ENOENT
			     ? add(pair->rows, in_from ? '-' : '+', path, S_ISDIR(here.st_mode))
			     : -errno;
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

static int diff_mount(
	const struct snapshot_place *place, const char *from, const char *to, struct rows *rows)
{
	struct pair pair = {-1, -1, "", rows};
	struct stat old, new;
	int rc = open_tree(place, from, &pair.from);

	if (rc)
		return rc;
	rc = open_tree(place, to, &pair.to);
	if (rc)
		goto out;
	if (fstat(pair.from, &old) || fstat(pair.to, &new))
		rc = -errno;
	else if (!is_same(&old, &new))
		rc = add(rows, 'M', "", true);
	if (!rc)
		rc = walk(&pair);
	if (rc)
		message(KV_ERROR, "%s: %s", place->path, message_error(rc));
	close(pair.to);
out:
	close(pair.from);
	return rc;
}

/* ---- the command ----------------------------------------------------------------------------- */

static int compare_rows(const void *a, const void *b)
{
	const struct row *left = a, *right = b;
	int order = strcmp(left->path, right->path);

	return order ? order : (left->sign == '+') - (right->sign == '+');
}

static int print_rows(struct rows *rows)
{
	size_t i;

	if (rows->count)
		qsort(rows->rows, rows->count, sizeof(*rows->rows), compare_rows);
	for (i = 0; i < rows->count; i++) {
		printf("%c ", rows->rows[i].sign);
		snapshot_print_name(rows->rows[i].path);
		puts(rows->rows[i].is_directory ? "/" : "");
	}
	return fflush(stdout) ? 1 : 0;
}

static int diff_run(int argc, char **argv)
{
	static const struct option names[] = {
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	struct rows rows = {NULL, 0, 0};
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
	code = code || print_rows(&rows) ? 1 : 0;
	while (rows.count)
		free(rows.rows[--rows.count].path);
	free(rows.rows);
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

/* SPDX-License-Identifier: MIT */
/*
 * tree_compare.c - are two directory trees the same to the last bit?
 *
 *	tree_compare [--no-owner] [--no-times] A B
 *
 * Compares the set of names, and of each: type, mode, owner, link count, size, modification time to
 *the nanosecond, contents, target of a symlink, device number, extended attributes (ACLs among
 *them), and which names are links to one inode. Prints a line per difference (twenty at most) and
 *ends with 1 if there is any. The sizes of directories and the room files take are the file
 *system's own business.
 */
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define DIFFERENCES_MAX 20
#define PIECE_SIZE (1 << 16) /* bytes */

/* One inode with several names: its number in each tree. */
struct twin {
	ino_t ino_a, ino_b;
};

static bool compare_owner = true;
static bool compare_times = true;
static unsigned differences;
static struct twin *twins;
static size_t twin_count;

static void differ(const char *path, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void differ(const char *path, const char *format, ...)
{
	va_list args;

	if (++differences > DIFFERENCES_MAX)
		return;
	va_start(args, format);
	printf("%s: ", *path ? path : ".");
	vprintf(format, args);
	printf("\n");
	va_end(args);
}

static int name_order(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names in a directory, sorted, without "." and ".."; the caller frees each and the array. */
static char **names_read(int fd, size_t *count)
{
	char **names = NULL;
	struct dirent *entry;
	DIR *dir = fdopendir(fd);

	if (!dir)
		err(2, "fdopendir");
	*count = 0;
	while ((errno = 0, entry = readdir(dir))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		names = reallocarray(names, *count + 1, sizeof(*names));
		if (!names)
			err(2, "memory");
		names[(*count)++] = strdup(entry->d_name);
	}
	if (errno)
		err(2, "readdir");
	closedir(dir);
	if (*count)
		qsort(names, *count, sizeof(*names), name_order);
	return names;
}

static ssize_t piece_read(int fd, char *piece)
{
	ssize_t done = 0, n;

	while (done < PIECE_SIZE && (n = read(fd, piece + done, PIECE_SIZE - done)) != 0) {
		if (n < 0)
			return -1;
		done += n;
	}
	return done;
}

static void compare_contents(int dir_a, int dir_b, const char *name, const char *path)
{
	static char a[PIECE_SIZE], b[PIECE_SIZE];
	int fd_a = openat(dir_a, name, O_RDONLY | O_NOFOLLOW);
	int fd_b = openat(dir_b, name, O_RDONLY | O_NOFOLLOW);
	long long position = 0;
	ssize_t size_a, size_b, i;

	if (fd_a < 0 || fd_b < 0) {
		differ(path, "cannot open: %s", strerror(errno));
		goto out;
	}
	do {
		size_a = piece_read(fd_a, a);
		size_b = piece_read(fd_b, b);
		if (size_a < 0 || size_b < 0) {
			differ(path, "cannot read at %lld: %s", position, strerror(errno));
			break;
		}
		if (size_a == size_b && !memcmp(a, b, size_a)) {
			position += size_a;
			continue;
		}
		for (i = 0; i < size_a && i < size_b && a[i] == b[i]; i++)
			;
		differ(path, "contents differ from byte %lld", position + i);
		break;
	} while (size_a);
out:
	if (fd_a >= 0)
		close(fd_a);
	if (fd_b >= 0)
		close(fd_b);
}

static void compare_targets(int dir_a, int dir_b, const char *name, const char *path)
{
	char a[4096], b[4096];
	ssize_t size_a = readlinkat(dir_a, name, a, sizeof(a));
	ssize_t size_b = readlinkat(dir_b, name, b, sizeof(b));

	if (size_a < 0 || size_a != size_b || memcmp(a, b, size_a))
		differ(path, "target \"%.*s\", not \"%.*s\"", (int)(size_b < 0 ? 0 : size_b), b,
			(int)(size_a < 0 ? 0 : size_a), a);
}

/* What the kernel offers for names by directory descriptor: none; so by way of /proc. */
static void xattr_path(int dir, const char *name, char path[512])
{
	snprintf(path, 512, "/proc/self/fd/%d/%s", dir, name);
}

static bool xattr_has(const char *names, ssize_t size, const char *wanted)
{
	const char *name;

	for (name = names; name < names + size; name += strlen(name) + 1)
		if (!strcmp(name, wanted))
			return true;
	return false;
}

static void compare_xattrs(int dir_a, int dir_b, const char *name, const char *path)
{
	static char names_a[65536], names_b[65536], value_a[65536], value_b[65536];
	char path_a[512], path_b[512];
	ssize_t size_a, size_b, value_size_a, value_size_b;
	const char *key;

	xattr_path(dir_a, name, path_a);
	xattr_path(dir_b, name, path_b);
	size_a = llistxattr(path_a, names_a, sizeof(names_a));
	size_b = llistxattr(path_b, names_b, sizeof(names_b));
	if (size_a < 0 || size_b < 0) {
		if (size_a != size_b)
			differ(path, "cannot list xattrs: %s", strerror(errno));
		return;
	}
	for (key = names_b; key < names_b + size_b; key += strlen(key) + 1)
		if (!xattr_has(names_a, size_a, key))
			differ(path, "xattr %s is too many", key);
	for (key = names_a; key < names_a + size_a; key += strlen(key) + 1) {
		if (!xattr_has(names_b, size_b, key)) {
			differ(path, "xattr %s is missing", key);
			continue;
		}
		value_size_a = lgetxattr(path_a, key, value_a, sizeof(value_a));
		value_size_b = lgetxattr(path_b, key, value_b, sizeof(value_b));
		if (value_size_a < 0 || value_size_a != value_size_b ||
			memcmp(value_a, value_b, value_size_a))
			differ(path, "xattr %s differs", key);
	}
}

/* The names of one inode on one side must be the names of one inode on the other. */
static void compare_twins(ino_t ino_a, ino_t ino_b, const char *path)
{
	size_t i;

	for (i = 0; i < twin_count; i++) {
		if ((twins[i].ino_a == ino_a) != (twins[i].ino_b == ino_b))
			differ(path, "is linked to other names");
		if (twins[i].ino_a == ino_a || twins[i].ino_b == ino_b)
			return;
	}
	twins = reallocarray(twins, twin_count + 1, sizeof(*twins));
	if (!twins)
		err(2, "memory");
	twins[twin_count++] = (struct twin){ino_a, ino_b};
}

static void compare_attributes(const struct stat *a, const struct stat *b, const char *path)
{
	if (a->st_mode != b->st_mode)
		differ(path, "mode %o, not %o", b->st_mode, a->st_mode);
	if (compare_owner && (a->st_uid != b->st_uid || a->st_gid != b->st_gid))
		differ(path, "owner %u:%u, not %u:%u", b->st_uid, b->st_gid, a->st_uid, a->st_gid);
	if (a->st_nlink != b->st_nlink)
		differ(path, "%lu links, not %lu", (unsigned long)b->st_nlink,
			(unsigned long)a->st_nlink);
	if (!S_ISDIR(a->st_mode) && a->st_size != b->st_size)
		differ(path, "size %lld, not %lld", (long long)b->st_size, (long long)a->st_size);
	if (compare_times && (a->st_mtim.tv_sec != b->st_mtim.tv_sec ||
				     a->st_mtim.tv_nsec != b->st_mtim.tv_nsec))
		differ(path, "mtime %lld.%09ld, not %lld.%09ld", (long long)b->st_mtim.tv_sec,
			b->st_mtim.tv_nsec, (long long)a->st_mtim.tv_sec, a->st_mtim.tv_nsec);
	if ((S_ISCHR(a->st_mode) || S_ISBLK(a->st_mode)) && a->st_rdev != b->st_rdev)
		differ(path, "device %lx, not %lx", (unsigned long)b->st_rdev,
			(unsigned long)a->st_rdev);
	if (!S_ISDIR(a->st_mode) && a->st_nlink > 1)
		compare_twins(a->st_ino, b->st_ino, path);
}

static void compare_directories(int dir_a, int dir_b, const char *path);

static void compare_entry(int dir_a, int dir_b, const char *name, const char *path)
{
	struct stat a, b;
	int sub_a, sub_b;

	if (fstatat(dir_a, name, &a, AT_SYMLINK_NOFOLLOW) ||
		fstatat(dir_b, name, &b, AT_SYMLINK_NOFOLLOW)) {
		differ(path, "cannot stat: %s", strerror(errno));
		return;
	}
	compare_attributes(&a, &b, path);
	compare_xattrs(dir_a, dir_b, name, path);
	if ((a.st_mode & S_IFMT) != (b.st_mode & S_IFMT))
		return;
	if (S_ISREG(a.st_mode))
		compare_contents(dir_a, dir_b, name, path);
	if (S_ISLNK(a.st_mode))
		compare_targets(dir_a, dir_b, name, path);
	if (!S_ISDIR(a.st_mode))
		return;
	sub_a = openat(dir_a, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	sub_b = openat(dir_b, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	if (sub_a < 0 || sub_b < 0)
		differ(path, "cannot open: %s", strerror(errno));
	else
		compare_directories(sub_a, sub_b, path);
	if (sub_a >= 0)
		close(sub_a);
	if (sub_b >= 0)
		close(sub_b);
}

static void compare_directories(int dir_a, int dir_b, const char *path)
{
	size_t count_a, count_b, a = 0, b = 0;
	char **names_a = names_read(dup(dir_a), &count_a);
	char **names_b = names_read(dup(dir_b), &count_b);
	char *below;
	int order;

	while (a < count_a || b < count_b) {
		if (a == count_a)
			order = 1;
		else if (b == count_b)
			order = -1;
		else
			order = strcmp(names_a[a], names_b[b]);
		if (asprintf(&below, "%s%s%s", path, *path ? "/" : "",
			    order > 0 ? names_b[b] : names_a[a]) < 0)
			err(2, "memory");
		if (order < 0)
			differ(below, "is missing");
		else if (order > 0)
			differ(below, "is too many");
		else
			compare_entry(dir_a, dir_b, names_a[a], below);
		if (order <= 0)
			free(names_a[a++]);
		if (order >= 0)
			free(names_b[b++]);
		free(below);
	}
	free(names_a);
	free(names_b);
}

int main(int argc, char **argv)
{
	int fd_a, fd_b;

	for (; argc > 3; argc--, argv++) {
		if (!strcmp(argv[1], "--no-owner"))
			compare_owner = false;
		else if (!strcmp(argv[1], "--no-times"))
			compare_times = false;
		else
			errx(2, "unknown option %s", argv[1]);
	}
	if (argc != 3)
		errx(2, "usage: tree_compare [--no-owner] [--no-times] A B");
	fd_a = open(argv[1], O_RDONLY | O_DIRECTORY);
	if (fd_a < 0)
		err(2, "%s", argv[1]);
	fd_b = open(argv[2], O_RDONLY | O_DIRECTORY);
	if (fd_b < 0)
		err(2, "%s", argv[2]);
	compare_directories(fd_a, fd_b, "");
	if (differences > DIFFERENCES_MAX)
		printf("... and %u more\n", differences - DIFFERENCES_MAX);
	free(twins);
	return differences != 0;
}

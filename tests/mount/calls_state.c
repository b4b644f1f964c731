/* SPDX-License-Identifier: MIT */
/*
 * calls_state.c - all that there is in a directory and in the open files, and what of it has
 * changed
 *
 * A file is told from others by its inode number only between one look and the next, as a number
 * may be given again. Of times it is said which have moved, and what they are where they were set
 * to something long ago. Not said are: sizes of directories, blocks, times of access.
 */
#include "calls.h"

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define FILES_MAX 2000
#define PATH_SIZE 4000
#define WHOLE_MAX (1 << 20) /* of a larger file only both ends are read */
#define END_SIZE (1 << 16)
#define LONG_AGO 1600000000 /* seconds: before this nothing was written by itself */
#define FAR_AHEAD 4000000000

struct file {
	char *name;
	char text[400];
	bool is_directory;
	ino_t ino;
	struct statx_timestamp modified, changed, born;
};

struct state {
	struct file *files;
	size_t count;
};

static struct state before, now;
static unsigned char buffer[WHOLE_MAX];

static uint64_t sum_range(int fd, off_t from, size_t size, uint64_t sum)
{
	ssize_t there = pread(fd, buffer, size, from);

	return bytes_sum(buffer, there > 0 ? (size_t)there : 0, sum);
}

static uint64_t sum_contents(int fd, off_t size)
{
	uint64_t sum;

	if (size <= WHOLE_MAX)
		return sum_range(fd, 0, (size_t)size, 0);
	sum = sum_range(fd, 0, END_SIZE, 0);
	return sum_range(fd, size - END_SIZE, END_SIZE, sum);
}

/* Names and values, whatever order they come in. */
static uint64_t sum_xattrs(const char *path)
{
	static char names[65536], value[65536];
	ssize_t size = llistxattr(path, names, sizeof(names));
	uint64_t sum = 0;
	char *name;

	for (name = names; size > 0 && name < names + size; name += strlen(name) + 1) {
		ssize_t there = lgetxattr(path, name, value, sizeof(value));

		sum += bytes_sum(
			value, there > 0 ? (size_t)there : 0, bytes_sum(name, strlen(name), 1));
	}
	return sum;
}

static void text_add(struct file *file, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void text_add(struct file *file, const char *format, ...)
{
	size_t used = strlen(file->text);
	va_list args;

	va_start(args, format);
	vsnprintf(file->text + used, sizeof(file->text) - used, format, args);
	va_end(args);
}

/* The file of this name, which is a path from the root, or that of a slot. */
static struct file *file_add(const char *name, const struct statx *stx)
{
	struct file *file;

	if (now.count == FILES_MAX)
		errx(2, "too many files");
	file = &now.files[now.count++];
	memset(file, 0, sizeof(*file));
	file->name = strdup(name);
	file->is_directory = S_ISDIR(stx->stx_mode);
	file->ino = stx->stx_ino;
	/* what is written to a fifo a file system behind FUSE does not get to know */
	if (!S_ISFIFO(stx->stx_mode)) {
		file->modified = stx->stx_mtime;
		file->changed = stx->stx_ctime;
	}
	file->born = stx->stx_btime;
	snprintf(file->text, sizeof(file->text), "%06o %u %u:%u", stx->stx_mode, stx->stx_nlink,
		stx->stx_uid, stx->stx_gid);
	if (!S_ISDIR(stx->stx_mode))
		text_add(file, " %llu", (unsigned long long)stx->stx_size);
	if (S_ISCHR(stx->stx_mode) || S_ISBLK(stx->stx_mode))
		text_add(file, " %u,%u", stx->stx_rdev_major, stx->stx_rdev_minor);
	if (!S_ISFIFO(stx->stx_mode) &&
		(stx->stx_mtime.tv_sec < LONG_AGO || stx->stx_mtime.tv_sec > FAR_AHEAD))
		text_add(file, " m%lld.%u", (long long)stx->stx_mtime.tv_sec,
			stx->stx_mtime.tv_nsec);
	return file;
}

static void add_contents(struct file *file, int directory, const char *path, off_t size)
{
	int fd = openat(directory, path, O_RDONLY | O_NOATIME);

	if (fd < 0) {
		text_add(file, " %s", strerrorname_np(errno));
		return;
	}
	text_add(file, " %llx", (unsigned long long)sum_contents(fd, size));
	close(fd);
}

static void look_at_name(int directory, const char *name, const char *path)
{
	struct file *file;
	struct statx stx;

	if (statx(directory, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, &stx)) {
		printf("  %s: %s\n", path, strerrorname_np(errno));
		return;
	}
	file = file_add(path, &stx);
	text_add(file, " %llx", (unsigned long long)sum_xattrs(path));
	if (S_ISREG(stx.stx_mode)) {
		add_contents(file, directory, name, (off_t)stx.stx_size);
	} else if (S_ISLNK(stx.stx_mode)) {
		char target[4096];
		ssize_t size = readlinkat(directory, name, target, sizeof(target));

		text_add(file, " to %.*s", (int)(size < 60 ? size : 60), target);
	}
}

static void look_at_slot(unsigned slot)
{
	char name[32], path[32];
	struct file *file;
	struct statx stx;

	if (slots[slot] < 0)
		return;
	snprintf(name, sizeof(name), "slot %u", slot);
	if (statx(slots[slot], "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &stx)) {
		printf("  %s: %s\n", name, strerrorname_np(errno));
		return;
	}
	file = file_add(name, &stx);
	if (!S_ISREG(stx.stx_mode))
		return;
	text_add(file, " at %lld", (long long)lseek(slots[slot], 0, SEEK_CUR));
	snprintf(path, sizeof(path), "self/fd/%d", slots[slot]);
	add_contents(file, proc, path, (off_t)stx.stx_size);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct file *)a)->name, ((const struct file *)b)->name);
}

/* Fills in `path`, of which `used` bytes are that of the directory; closes that. */
static void walk(int directory, char *path, size_t used)
{
	struct dirent *entry;
	DIR *dir = fdopendir(directory);

	if (!dir)
		err(2, "fdopendir %s", path);
	while ((entry = readdir(dir))) {
		int below;

		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (used + strlen(entry->d_name) + 2 > PATH_SIZE)
			continue;
		sprintf(path + used, "/%s", entry->d_name);
		look_at_name(directory, entry->d_name, path);
		if (entry->d_type != DT_DIR)
			continue;
		below = openat(
			directory, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NOATIME);
		if (below < 0)
			printf("  %s: %s\n", path, strerrorname_np(errno));
		else
			walk(below, path, used + strlen(entry->d_name) + 1);
	}
	closedir(dir);
}

static void state_take(void)
{
	char path[PATH_SIZE] = "";
	struct state old = before;
	int root;

	before = now;
	now = old;
	if (!now.files)
		now.files = calloc(FILES_MAX, sizeof(*now.files));
	if (!now.files)
		err(2, "calloc");
	while (now.count)
		free(now.files[--now.count].name);
	look_at_name(AT_FDCWD, "/", "/");
	root = open("/", O_RDONLY | O_DIRECTORY | O_NOATIME);
	if (root < 0)
		err(2, "/");
	walk(root, path, 0);
	for (unsigned slot = 0; slot < SLOTS; slot++)
		look_at_slot(slot);
	qsort(now.files, now.count, sizeof(*now.files), by_name);
}

static bool moved(struct statx_timestamp from, struct statx_timestamp to)
{
	return from.tv_sec != to.tv_sec || from.tv_nsec != to.tv_nsec;
}

/* The same inode at the last look, by whatever name. */
static const struct file *file_before(const struct file *file)
{
	for (size_t i = 0; i < before.count; i++)
		if (before.files[i].ino == file->ino)
			return &before.files[i];
	return NULL;
}

/* Which times have moved, in letters; or that the file is new. */
static const char *times_moved(const struct file *file)
{
	static char text[8];
	const struct file *old = file_before(file);

	if (!old)
		return " new";
	snprintf(text, sizeof(text), "%s%s%s", moved(old->modified, file->modified) ? " M" : "",
		moved(old->changed, file->changed) ? " C" : "",
		moved(old->born, file->born) ? " B" : "");
	return text;
}

void state_print_changes(bool with_times)
{
	size_t i, j;

	state_take();
	for (i = j = 0; i < before.count || j < now.count;) {
		const char *times = "";
		int order;

		if (i == before.count)
			order = 1;
		else if (j == now.count)
			order = -1;
		else
			order = strcmp(before.files[i].name, now.files[j].name);
		if (order < 0) {
			printf("  - %.60s\n", before.files[i++].name);
			continue;
		}
		if (with_times)
			times = times_moved(&now.files[j]);
		if (order > 0 || *times || strcmp(before.files[i].text, now.files[j].text))
			printf("  %s%.60s %s%s\n", order > 0 ? "+ " : "", now.files[j].name,
				now.files[j].text, times);
		i += order == 0;
		j++;
	}
}

const char *state_path(unsigned which, bool directory)
{
	size_t i, count = 0;

	for (i = 0; i < now.count; i++)
		count += now.files[i].name[0] == '/' && (!directory || now.files[i].is_directory);
	if (!count)
		return NULL;
	count = which % count;
	for (i = 0; i < now.count; i++)
		if (now.files[i].name[0] == '/' && (!directory || now.files[i].is_directory) &&
			!count--)
			break;
	return now.files[i].name;
}

void state_print(void)
{
	state_take();
	for (size_t i = 0; i < now.count; i++)
		printf("  %s %s\n", now.files[i].name, now.files[i].text);
}

/* By descriptors, as paths may have become too long, and in an order that is no file system's own.
 */
static void remove_below(int directory)
{
	struct dirent **entries;
	int i, below, count = scandirat(directory, ".", &entries, NULL, alphasort);

	for (i = 0; i < count; i++) {
		const char *name = entries[i]->d_name;

		if (!strcmp(name, ".") || !strcmp(name, "..") || !unlinkat(directory, name, 0))
			continue;
		below = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
		if (below >= 0) {
			remove_below(below);
			close(below);
		}
		if (unlinkat(directory, name, AT_REMOVEDIR))
			printf("  cannot remove %s: %s\n", name, strerrorname_np(errno));
	}
	for (i = 0; i < count; i++)
		free(entries[i]);
	free(entries);
}

void state_clear(void)
{
	int root = open("/", O_RDONLY | O_DIRECTORY);

	if (root < 0)
		err(2, "/");
	remove_below(root);
	close(root);
}

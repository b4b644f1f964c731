/* SPDX-License-Identifier: MIT */
/*
 * crowd.c - very many names: makes them, in a store by the library or anywhere by its path, and
 * looks at them again
 *
 *	crowd store STORE DIRECTORY COUNT	a directory of that many files in the root of a store
 *	crowd tree STORE DIRECTORY COUNT	the same files in directories of a hundred
 *	crowd deep STORE DIRECTORY COUNT	so many directories, one in the other, and two files in each
 *	crowd snapshots STORE PREFIX COUNT	snapshots PREFIX0, PREFIX1, ...
 *	crowd make DIRECTORY COUNT		the files only, by mknod(2)
 *	crowd list DIRECTORY COUNT		reads it: each name once, in constant memory
 *	crowd seek DIRECTORY COUNT		places in a listing stay good while the directory changes
 *	crowd look DIRECTORY COUNT		finds names that are there, and none that is not
 *
 * Names are f0, f1, ... Ends with 1 and a message if anything is wrong.
 */
#include <kvfs.h>

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pattern.h"

#define TREE_FILES 100 /* of each directory of a tree */
#define PLACES 1000
#define LISTING_MEMORY_MAX (4l << 20) /* bytes, above the bitmap */

static const char *directory;
static unsigned long count;

static void name_of(unsigned long number, char name[32])
{
	snprintf(name, 32, "f%lu", number);
}

/* The number in a name, or `count` for "." and ".." */
static unsigned long number_of(const char *name)
{
	unsigned long number;
	char *end;

	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return count;
	number = strtoul(name + 1, &end, 10);
	if (name[0] != 'f' || *end || number >= count)
		errx(1, "%s was never made", name);
	return number;
}

/* ---- making ---------------------------------------------------------------------------------- */

static void check(int rc, const char *what)
{
	if (rc)
		errx(1, "%s: %s", what, strerror(-rc));
}

static void make_in_store(const char *store, bool tree)
{
	const struct kvfs_caller caller = {.privileged = true};
	struct kvfs_open_options options = {0};
	struct kvfs_attr top, parent, attr;
	struct kvfs *fs;
	unsigned long i;
	char name[32];

	check(kvfs_open(NULL, store, &options, &fs), store);
	check(kvfs_mkdir(fs, &caller, KVFS_ROOT_INO, directory, 0755, &top), directory);
	parent = top;
	for (i = 0; i < count; i++) {
		if (tree && i % TREE_FILES == 0) {
			snprintf(name, sizeof(name), "d%lu", i / TREE_FILES);
			check(kvfs_mkdir(fs, &caller, top.ino, name, 0755, &parent), name);
		}
		name_of(i, name);
		check(kvfs_mknod(fs, &caller, parent.ino, name, S_IFREG | 0644, 0, &attr), name);
	}
	check(kvfs_close(fs), store);
}

static void make_deep(const char *store)
{
	const struct kvfs_caller caller = {.privileged = true};
	struct kvfs_open_options options = {0};
	struct kvfs_attr at, attr;
	struct kvfs *fs;
	unsigned long i;

	check(kvfs_open(NULL, store, &options, &fs), store);
	check(kvfs_mkdir(fs, &caller, KVFS_ROOT_INO, directory, 0755, &at), directory);
	for (i = 0; i < count; i++) {
		check(kvfs_mknod(fs, &caller, at.ino, "f0", S_IFREG | 0644, 0, &attr), "f0");
		check(kvfs_mknod(fs, &caller, at.ino, "f1", S_IFREG | 0644, 0, &attr), "f1");
		check(kvfs_mkdir(fs, &caller, at.ino, "d", 0755, &at), "d");
	}
	check(kvfs_close(fs), store);
}

static void make_snapshots(const char *store)
{
	struct kvfs_open_options options = {0};
	struct kvfs *fs;
	unsigned long i;
	char name[64];

	check(kvfs_open(NULL, store, &options, &fs), store);
	for (i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "%s%lu", directory, i);
		check(kvfs_snapshot_create(fs, name), name);
	}
	check(kvfs_close(fs), store);
}

static void make_by_path(void)
{
	unsigned long i;
	char name[32];

	if (chdir(directory))
		err(1, "%s", directory);
	for (i = 0; i < count; i++) {
		name_of(i, name);
		if (mknod(name, S_IFREG | 0644, 0))
			err(1, "%s", name);
	}
}

/* ---- looking --------------------------------------------------------------------------------- */

static DIR *directory_open(void)
{
	DIR *dir = opendir(directory);

	if (!dir)
		err(1, "%s", directory);
	return dir;
}

static struct dirent *next(DIR *dir)
{
	struct dirent *entry;

	errno = 0;
	entry = readdir(dir);
	if (!entry && errno)
		err(1, "readdir");
	return entry;
}

/* Bytes of memory of its own that this process has in use. */
static long memory_used(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	long pages, resident, shared;

	if (!file || fscanf(file, "%ld %ld %ld", &pages, &resident, &shared) != 3)
		err(1, "/proc/self/statm");
	fclose(file);
	return (resident - shared) * sysconf(_SC_PAGESIZE);
}

static void list(void)
{
	unsigned char *seen = calloc(count / 8 + 1, 1);
	unsigned long number, found = 0;
	struct dirent *entry;
	long before, after;
	DIR *dir;

	if (!seen)
		err(1, "calloc");
	memset(seen, 1, count / 8 + 1);
	memset(seen, 0, count / 8 + 1); /* touched, so that it does not count below */
	dir = directory_open();
	before = memory_used();
	while ((entry = next(dir))) {
		number = number_of(entry->d_name);
		if (number == count)
			continue;
		if (seen[number / 8] & 1 << number % 8)
			errx(1, "%s listed twice", entry->d_name);
		seen[number / 8] |= 1 << number % 8;
		found++;
	}
	after = memory_used();
	closedir(dir);
	free(seen);
	if (found != count)
		errx(1, "%lu names of %lu listed", found, count);
	if (after - before > LISTING_MEMORY_MAX)
		errx(1, "listing took %ld bytes of memory", after - before);
}

struct place {
	long position; /* telldir: before the entry */
	unsigned long number; /* of the entry */
};

/* Takes names away that are not at one of the places, in odd rounds, and puts them back in even ones. */
static void change(int fd, const struct place *places, unsigned round)
{
	unsigned long number;
	char name[32];
	unsigned i, j;

	for (i = 0; i < PLACES; i++) {
		number = pattern_number((round + 1) / 2, i) % count;
		for (j = 0; j < PLACES && places[j].number != number; j++)
			;
		if (j < PLACES)
			continue;
		name_of(number, name);
		if (round % 2 ? unlinkat(fd, name, 0) : mknodat(fd, name, S_IFREG | 0644, 0))
			if (errno != ENOENT && errno != EEXIST)
				err(1, "%s", name);
	}
}

static void seek(void)
{
	unsigned long i = 0, step = count / (PLACES + 2); /* some may be the dots */
	static struct place places[PLACES];
	struct dirent *entry;
	DIR *dir = directory_open();
	unsigned used = 0, round, pick;
	long position;

	if (count < 2 * PLACES)
		errx(2, "too few names for this");
	while (used < PLACES) {
		position = telldir(dir);
		entry = next(dir);
		if (!entry)
			errx(1, "the listing ended after %lu names", i);
		if (i++ % step == 0 && number_of(entry->d_name) != count)
			places[used++] = (struct place){position, number_of(entry->d_name)};
	}
	for (round = 1; round <= 4; round++) {
		change(dirfd(dir), places, round);
		for (i = 0; i < PLACES; i++) {
			pick = pattern_number(round + 100, i) % PLACES;
			seekdir(dir, places[pick].position);
			entry = next(dir);
			if (!entry || number_of(entry->d_name) != places[pick].number)
				errx(1, "at a place comes %s, expected f%lu",
					entry ? entry->d_name : "the end", places[pick].number);
		}
	}
	closedir(dir);
}

static void look(void)
{
	struct stat st;
	unsigned long i;
	char name[40];

	if (chdir(directory))
		err(1, "%s", directory);
	for (i = 0; i < 20000; i++) {
		name_of(pattern_number(1, i) % count, name);
		if (lstat(name, &st))
			err(1, "%s", name);
		strcat(name, "x");
		if (!lstat(name, &st) || errno != ENOENT)
			errx(1, "%s is there", name);
	}
}

int main(int argc, char **argv)
{
	const char *command = argc > 1 ? argv[1] : "";
	bool in_store = !strcmp(command, "store") || !strcmp(command, "tree") ||
			!strcmp(command, "deep") || !strcmp(command, "snapshots");

	if (argc != (in_store ? 5 : 4))
		errx(2, "usage: crowd store|tree|deep|snapshots STORE DIRECTORY COUNT\n"
			"       crowd make|list|seek|look DIRECTORY COUNT");
	directory = argv[argc - 2];
	count = strtoul(argv[argc - 1], NULL, 10);
	if (!count)
		errx(2, "how many?");
	if (!strcmp(command, "deep"))
		make_deep(argv[2]);
	else if (!strcmp(command, "snapshots"))
		make_snapshots(argv[2]);
	else if (in_store)
		make_in_store(argv[2], !strcmp(command, "tree"));
	else if (!strcmp(command, "make"))
		make_by_path();
	else if (!strcmp(command, "list"))
		list();
	else if (!strcmp(command, "seek"))
		seek();
	else if (!strcmp(command, "look"))
		look();
	else
		errx(2, "no command %s", command);
	return 0;
}
